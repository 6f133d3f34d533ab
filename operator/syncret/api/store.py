"""SecretStore and ClusterSecretStore: one record for both, told apart by the kind of the key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from syncret.api.externalsecret import Condition, parse_condition
from syncret.api.keys import Kind, ObjectKey


@dataclass(frozen=True, slots=True)
class Store:
    """A store. ``provider`` is the raw ``spec.provider``; only the provider itself parses it.

    ``namespaces``: the namespaces that may use a ClusterSecretStore; a SecretStore serves its own.
    """

    key: ObjectKey
    uid: str
    generation: int
    provider: Mapping[str, Any]
    namespaces: frozenset[str] = frozenset()
    ready: Condition | None = field(default=None, compare=False)

    @property
    def cluster_scoped(self) -> bool:
        return self.key.kind == "ClusterSecretStore"

    @property
    def ready_status(self) -> str:
        """The status of the condition Ready: True, False, Unknown, or "" while there is none."""
        return self.ready.status if self.ready is not None else ""

    def allows(self, namespace: str) -> bool:
        """Whether an ExternalSecret of that namespace may read from this store."""
        if self.cluster_scoped:
            return namespace in self.namespaces
        return namespace == self.key.namespace


def parse_store(kind: Kind, body: Mapping[str, Any]) -> Store:
    """The record of a body of either kind."""
    meta = body["metadata"]
    spec = body.get("spec") or {}
    return Store(
        key=ObjectKey(kind, meta.get("namespace") or "", meta["name"]),
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        provider=spec.get("provider") or {},
        namespaces=frozenset(
            namespace
            for condition in spec.get("conditions") or ()
            for namespace in condition.get("namespaces") or ()
        ),
        ready=parse_condition(body.get("status") or {}, "Ready"),
    )
