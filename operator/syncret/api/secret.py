"""A Secret that Syncret manages, reduced to digests: its bytes are dropped on arrival."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any

from syncret.constants import MANAGED_LABEL, MANAGED_VALUE
from syncret.digest import Digester


@dataclass(frozen=True, slots=True)
class ManagedSecret:
    """What the cache keeps of a Secret that carries our label.

    ``digests`` has one keyed digest per key of ``.data`` (see ``syncret.digest``). ``owner_uid``
    is the uid of the controlling owner reference, "" without one. ``labelled``: it has our label,
    without which the watch does not see it.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    owner_uid: str
    digests: Mapping[str, bytes]
    immutable: bool = False
    labelled: bool = True

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

    def published(self, digester: Digester) -> str:
        """The digest of all of its data, as ``status.dataHash`` shows it."""
        return publish_data(digester, self.namespace, self.name, self.digests)


def publish_data(
    digester: Digester, namespace: str, name: str, digests: Mapping[str, bytes]
) -> str:
    """The one published digest of a Secret's data."""
    return digester.publish(f"data/{namespace}/{name}", digests)


def parse_secret(body: Mapping[str, Any], digester: Digester) -> ManagedSecret:
    """The record of a Secret's body."""
    meta = body["metadata"]
    return ManagedSecret(
        namespace=intern(meta["namespace"]),
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        owner_uid=controller_uid(meta),
        digests={
            intern(key): digester.value(_decode(value))
            for key, value in (body.get("data") or {}).items()
        },
        immutable=bool(body.get("immutable")),
        labelled=(meta.get("labels") or {}).get(MANAGED_LABEL) == MANAGED_VALUE,
    )


def controller_uid(meta: Mapping[str, Any]) -> str:
    """The uid of the controlling owner in an object's metadata, "" without one."""
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return ""


def _decode(value: str | None) -> bytes:
    try:
        return base64.b64decode(value or "")
    except binascii.Error:  # the API server does not let it happen; a digest of the text will do
        return (value or "").encode()
