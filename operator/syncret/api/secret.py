"""A Secret that Syncret manages, reduced to digests: its bytes are dropped on arrival."""

import base64
import binascii
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any, Final

from syncret.api.claims import NO_CLAIMS, Claims, parse_claims
from syncret.api.previous import NO_PREVIOUS, Previous, parse_previous
from syncret.constants import (
    GROUP,
    KEYS_ANNOTATION,
    MANAGED_LABEL,
    MANAGED_VALUE,
    METADATA_ANNOTATION,
    OWNER_ANNOTATION,
    PREVIOUS_ANNOTATION,
)
from syncret.digest import Digester

#: The type of a Secret that says nothing else.
DEFAULT_TYPE: Final = "Opaque"


@dataclass(frozen=True, slots=True)
class OwnMetadata:
    """Labels and annotations of a Secret that a template gave it, by name.

    ``present`` stands for what they are now; ``intact``: as they were written.
    """

    labels: tuple[str, ...]
    annotations: tuple[str, ...]
    present: str
    intact: bool

    def same_as(self, other: "OwnMetadata") -> bool:
        """Whether the same names have the same values."""
        return (
            (self.present, self.intact) == (other.present, other.intact)
            and set(self.labels) == set(other.labels)
            and set(self.annotations) == set(other.annotations)
        )


@dataclass(frozen=True, slots=True)
class ManagedSecret:
    """What the cache keeps of a Secret that carries our label.

    ``digests`` has one keyed digest per key of ``.data`` (see ``syncret.digest``), without those of
    ``previous``: the values before a rotation, which are nothing that was synced. ``owner_uid``
    is the uid of the controlling owner reference, "" without one, and ``owner_name`` its name if
    it is an ExternalSecret. ``labelled``: it has our label, without which the watch does not see
    it. ``marked``: the ExternalSecret that our annotation names as its owner. ``claims``: the keys
    of those that share it. ``held``: it is being deleted, or a finalizer would keep it.
    ``metadata``: None if no template gave it any.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    owner_uid: str
    digests: Mapping[str, bytes]
    immutable: bool = False
    labelled: bool = True
    owner_name: str = ""
    marked: str = ""
    claims: Claims = field(default_factory=lambda: NO_CLAIMS)
    type: str = DEFAULT_TYPE
    held: bool = False
    metadata: OwnMetadata | None = None
    previous: Previous = NO_PREVIOUS

    def older_than(self, other: "ManagedSecret") -> bool:
        """Whether this shows an earlier state of the same Secret.

        Resource versions of one object may be compared as numbers (KEP-5504); an API server that
        has others gives no comparison, and the answer is no.
        """
        if self.uid != other.uid:
            return False
        try:
            return int(self.resource_version) < int(other.resource_version)
        except ValueError:
            return False

    @property
    def standing(self) -> str:
        """Which Secret it is, and who shares it."""
        shares = (f"{name}={','.join(claim.keys)}" for name, claim in sorted(self.claims.items()))
        return " ".join((self.uid, *shares))

    def holds(self, keys: Collection[str], published: str, digester: Digester) -> bool:
        """Whether it holds, under these keys, what ``status.dataHash`` published."""
        digests = self.digests
        if len(keys) != len(digests):
            digests = {key: digests[key] for key in keys if key in digests}
            if len(digests) != len(keys):
                return False
        return publish_data(digester, self.namespace, self.name, digests) == published


def publish_data(
    digester: Digester, namespace: str, name: str, digests: Mapping[str, bytes]
) -> str:
    """The one published digest of a Secret's data."""
    return digester.publish(f"data/{namespace}/{name}", digests)


def parse_secret(body: Mapping[str, Any], digester: Digester) -> ManagedSecret:
    """The record of a Secret's body."""
    meta = body["metadata"]
    annotations = meta.get("annotations") or {}
    digests = {
        intern(key): digester.value(_decode(value))
        for key, value in (body.get("data") or {}).items()
    }
    previous = parse_previous(
        annotations.get(PREVIOUS_ANNOTATION) or "",
        namespace=meta["namespace"],
        secret=meta["name"],
        present=digests,
        digester=digester,
    )
    for key in previous.values:
        digests.pop(key, None)
    return ManagedSecret(
        namespace=intern(meta["namespace"]),
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        owner_uid=controller_uid(meta),
        digests=digests,
        immutable=bool(body.get("immutable")),
        labelled=(meta.get("labels") or {}).get(MANAGED_LABEL) == MANAGED_VALUE,
        owner_name=_owner_name(meta),
        marked=annotations.get(OWNER_ANNOTATION) or "",
        claims=parse_claims(
            annotations.get(KEYS_ANNOTATION) or "",
            namespace=meta["namespace"],
            secret=meta["name"],
        ),
        type=intern(body.get("type") or DEFAULT_TYPE),
        held="deletionTimestamp" in meta or bool(meta.get("finalizers")),
        metadata=parse_metadata(meta, digester),
        previous=previous,
    )


def parse_metadata(meta: Mapping[str, Any], digester: Digester) -> OwnMetadata | None:
    """What our annotation says of a Secret's metadata, held against what they are."""
    annotations = meta.get("annotations") or {}
    text = annotations.get(METADATA_ANNOTATION)
    if text is None:
        return None
    try:
        said = json.loads(text)
        ours = {
            part: tuple(intern(str(name)) for name in said.get(part) or ())
            for part in ("labels", "annotations")
        }
        written = str(said.get("digest"))
    except (ValueError, TypeError, AttributeError, RecursionError):
        ours, written = {"labels": (), "annotations": ()}, ""  # somebody changed it
    labels = meta.get("labels") or {}
    present = metadata_digest(
        digester,
        meta["namespace"],
        meta["name"],
        labels={name: labels[name] for name in ours["labels"] if name in labels},
        annotations={
            name: annotations[name] for name in ours["annotations"] if name in annotations
        },
    )
    return OwnMetadata(ours["labels"], ours["annotations"], present, intact=present == written)


def metadata_digest(
    digester: Digester,
    namespace: str,
    name: str,
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
) -> str:
    """The one digest of labels and annotations of a Secret."""
    return digester.publish(
        f"metadata/{namespace}/{name}",
        {
            **{f"label {key}": digester.value(value.encode()) for key, value in labels.items()},
            **{
                f"annotation {key}": digester.value(value.encode())
                for key, value in annotations.items()
            },
        },
    )


def metadata_annotation(labels: Iterable[str], annotations: Iterable[str], digest: str) -> str:
    """The value of our annotation."""
    said = {"labels": sorted(labels), "annotations": sorted(annotations), "digest": digest}
    return json.dumps({key: value for key, value in said.items() if value}, separators=(",", ":"))


def controller_uid(meta: Mapping[str, Any]) -> str:
    """The uid of the controlling owner in an object's metadata, "" without one."""
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return ""


def is_external_secret(reference: Mapping[str, Any]) -> bool:
    """Whether an owner reference is one to an ExternalSecret of ours."""
    group = str(reference.get("apiVersion") or "").partition("/")[0]
    return reference.get("kind") == "ExternalSecret" and group == GROUP


def _owner_name(meta: Mapping[str, Any]) -> str:
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner.get("name") or "") if is_external_secret(owner) else ""
    return ""


def _decode(value: str | None) -> bytes:
    try:
        return base64.b64decode(value or "")
    except binascii.Error:  # the API server does not let it happen; a digest of the text will do
        return (value or "").encode()
