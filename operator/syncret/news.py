"""What of an event is news. Pure."""

from collections.abc import Mapping
from typing import Any, Protocol

from syncret.api.secret import ManagedSecret
from syncret.api.store import Store
from syncret.api.workload import Workload, names_of


class _Known(Protocol):
    """A record of the cache."""

    @property
    def uid(self) -> str: ...


def replaced(known: _Known | None, deleted: Mapping[str, Any]) -> bool:
    """Whether what was deleted had been replaced under its name already.

    kopf handles the events of each uid in a task of its own, so those of two objects that had one
    name after the other may change places; and our own writes are known before their events.
    """
    return known is not None and known.uid != deleted["uid"]


def differs(old: Store | None, new: Store) -> bool:
    """Whether a store is another one, or has another spec."""
    return old is None or (old.uid, old.generation) != (new.uid, new.generation)


def content(record: ManagedSecret) -> tuple[Any, ...]:
    """What of a Secret is news to whoever it is of; its version alone is none."""
    return (
        record.uid,
        record.owner_uid,
        record.digests,
        record.previous,
        record.immutable,
        record.labelled,
        record.marked,
        record.claims,
        record.type,
        record.metadata,
    )


def consumed(workload: Workload | None) -> frozenset[str]:
    """The Secrets that a workload reads, or started with."""
    if workload is None:
        return frozenset()
    return frozenset((*workload.consumes, *names_of(workload.checksum)))
