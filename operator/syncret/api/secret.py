"""A Secret that Syncret manages, reduced to digests: its bytes are dropped on arrival."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ManagedSecret:
    """What the cache keeps of a Secret that carries our label.

    ``digests`` has one keyed digest per key of ``.data`` (see ``syncret.digest``). ``owner_uid``
    is the uid of the controlling owner reference, "" without one.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    owner_uid: str
    digests: Mapping[str, bytes]
    immutable: bool = False
