"""ClusterExternalSecret, and what is known of the ExternalSecrets that were made from one.

The ExternalSecret that is stamped into namespaces is kept as the API server gave it: it is written
on as it is, and only the ExternalSecrets made from it are read.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from syncret.api.externalsecret import Condition, parse_ready
from syncret.api.keys import ObjectKey
from syncret.api.selector import NamespaceSelector, parse_label_selector
from syncret.constants import FORCE_SYNC_ANNOTATION, STAMP_ANNOTATION
from syncret.errors import SpecInvalid

KIND: Final = "ClusterExternalSecret"


@dataclass(frozen=True, slots=True)
class Failure:
    """A namespace in which the ExternalSecret is not as it should be, and why."""

    namespace: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ClusterExternalSecretStatus:
    """What was reported last."""

    ready: Condition | None = None
    provisioned: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterExternalSecret:
    """One ClusterExternalSecret.

    ``name``: of the ExternalSecrets. ``annotations`` are those it asks for, with the request for a
    sync that was put on itself. ``stamp``: a digest of all that is written. ``store``: the
    ClusterSecretStore that the ExternalSecret names, if it does.
    """

    key: ObjectKey
    uid: str
    generation: int
    name: str
    namespaces: NamespaceSelector
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Mapping[str, Any]
    spec_digest: str
    stamp: str
    store: ObjectKey | None
    deleting: bool = False
    problem: str = ""
    status: ClusterExternalSecretStatus = field(
        default=ClusterExternalSecretStatus(), compare=False
    )


@dataclass(frozen=True, slots=True)
class Stamped:
    """What is known of an ExternalSecret that a ClusterExternalSecret controls."""

    key: ObjectKey
    uid: str
    owner_uid: str
    owner: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec_digest: str
    deleting: bool = False

    def is_as_wanted(self, wanted: ClusterExternalSecret) -> bool:
        """Whether nothing has to be written."""
        return (
            self.spec_digest == wanted.spec_digest
            and self.annotations.get(STAMP_ANNOTATION) == wanted.stamp
            and wanted.labels.items() <= self.labels.items()
            and wanted.annotations.items() <= self.annotations.items()
        )


def parse_stamped(body: Mapping[str, Any]) -> Stamped | None:
    """The record of an ExternalSecret's body; None if no ClusterExternalSecret controls it."""
    meta = body["metadata"]
    owner = controller_of(meta)
    if owner is None:
        return None
    return Stamped(
        key=ObjectKey("ExternalSecret", meta["namespace"], meta["name"]),
        uid=meta["uid"],
        owner_uid=owner["uid"],
        owner=owner["name"],
        labels=dict(meta.get("labels") or {}),
        annotations=dict(meta.get("annotations") or {}),
        spec_digest=digest_of(body.get("spec") or {}),
        deleting="deletionTimestamp" in meta,
    )


def controller_of(meta: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The owner reference of the ClusterExternalSecret that controls an object, if one does."""
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == KIND:
            return dict(owner)
    return None


def parse_cluster_external_secret(body: Mapping[str, Any]) -> ClusterExternalSecret:
    """The record of a body; what cannot be read is told in ``problem``, never raised."""
    meta = body["metadata"]
    spec = body.get("spec") or {}
    namespaces, problem = NamespaceSelector(), ""
    embedded = spec.get("externalSecretSpec") or {}
    metadata = spec.get("externalSecretMetadata") or {}
    try:
        namespaces = _namespaces(spec)
        if namespaces.empty:
            problem = "spec.namespaces and spec.namespaceSelectors are both empty: name namespaces"
    except SpecInvalid as error:
        problem = error.message
    except (KeyError, TypeError, AttributeError) as error:
        problem = (
            "the spec does not have the form that this version reads "
            f"({type(error).__name__}): apply the CRDs of this version and the manifest again"
        )
    annotations = dict(metadata.get("annotations") or {})
    force = (meta.get("annotations") or {}).get(FORCE_SYNC_ANNOTATION)
    if force is not None:
        annotations[FORCE_SYNC_ANNOTATION] = force
    labels = dict(metadata.get("labels") or {})
    name = spec.get("externalSecretName") or meta["name"]
    reference = embedded.get("secretStoreRef") or {}
    return ClusterExternalSecret(
        key=ObjectKey(KIND, "", meta["name"]),
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        name=name,
        namespaces=namespaces,
        labels=labels,
        annotations=annotations,
        spec=embedded,
        spec_digest=digest_of(embedded),
        stamp=digest_of([embedded, labels, annotations]),
        store=ObjectKey("ClusterSecretStore", "", reference.get("name") or "")
        if reference.get("kind") == "ClusterSecretStore"
        else None,
        deleting="deletionTimestamp" in meta,
        problem=problem,
        status=_parse_status(body.get("status") or {}),
    )


def digest_of(value: Any) -> str:
    """A digest of a part of a manifest. It holds no secret, so no key is needed."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _namespaces(spec: Mapping[str, Any]) -> NamespaceSelector:
    return NamespaceSelector(
        names=frozenset(spec.get("namespaces") or ()),
        labels=tuple(
            parse_label_selector(selector, f"spec.namespaceSelectors[{index}]")
            for index, selector in enumerate(spec.get("namespaceSelectors") or ())
        ),
    )


def _parse_status(status: Mapping[str, Any]) -> ClusterExternalSecretStatus:
    """The status as we wrote it; anything else counts as never written."""
    try:
        return ClusterExternalSecretStatus(
            ready=parse_ready(status),
            provisioned=tuple(status.get("provisionedNamespaces") or ()),
            failed=tuple(
                Failure(one["namespace"], one.get("reason") or "", one.get("message") or "")
                for one in status.get("failedNamespaces") or ()
            ),
        )
    except (KeyError, TypeError, AttributeError):
        return ClusterExternalSecretStatus()
