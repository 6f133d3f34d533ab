"""The names of objects: the key of caches and of the work queue, and which object had a name."""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

Kind = Literal[
    "ExternalSecret",
    "SecretStore",
    "ClusterSecretStore",
    "ClusterExternalSecret",
    "Generator",
    "ClusterGenerator",
    "Reload",  # of no object: the workloads of a namespace that have Reloader's annotations
]

#: What makes credentials. To the engine, such a thing is a store.
GENERATORS: Final[frozenset[Kind]] = frozenset({"Generator", "ClusterGenerator"})

#: What an ExternalSecret reads from that belongs to no namespace.
CLUSTER_STORES: Final[frozenset[Kind]] = frozenset({"ClusterSecretStore", "ClusterGenerator"})

#: Namespace, name and uid of an object of any kind.
Identity = tuple[str, str, str]


def identity_of(meta: Mapping[str, Any]) -> Identity:
    """The identity in an object's metadata; the namespace is "" for cluster-scoped kinds."""
    return meta.get("namespace", ""), meta["name"], meta["uid"]


class ObjectKey(NamedTuple):
    """Kind, namespace ("" for cluster-scoped kinds) and name; a tuple, for speed as a key.

    A ClusterSecretStore or ClusterGenerator with a namespace is that store as it is opened for the
    namespace, with a credential that is kept there.
    """

    kind: Kind
    namespace: str
    name: str

    @property
    def store(self) -> "ObjectKey":
        """Of a store that is opened for a namespace, the store itself; of anything else, itself."""
        return self._replace(namespace="") if self.kind in CLUSTER_STORES else self

    @property
    def generates(self) -> bool:
        """Whether it is a generator's."""
        return self.kind in GENERATORS

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"
