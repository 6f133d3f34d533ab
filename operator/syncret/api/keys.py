"""The name of an object of ours: the key of caches and of the work queue."""

from typing import Literal, NamedTuple

Kind = Literal["ExternalSecret", "SecretStore", "ClusterSecretStore", "ClusterExternalSecret"]


class ObjectKey(NamedTuple):
    """Kind, namespace ("" for cluster-scoped kinds) and name; a tuple, for speed as a key.

    A ClusterSecretStore with a namespace is that store as it is opened for the namespace, with a
    credential that is kept there.
    """

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"
