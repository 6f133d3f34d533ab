"""What is known of the cluster, as slim records, with the look-ups that the engine needs.

Filled by the watch and by the answers to our own writes. Nothing here holds a Secret's bytes or a
whole body: 1.2 KiB an ExternalSecret instead of the 10 KiB that a body takes as a dictionary.

Refused: kopf's indices, whose start-up time is quadratic in the number of objects.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from syncret.api.clusterexternalsecret import ClusterExternalSecret, Stamped
from syncret.api.data import Query
from syncret.api.externalsecret import ExternalSecret
from syncret.api.generated import GeneratedState
from syncret.api.health import Health
from syncret.api.keys import ObjectKey
from syncret.api.remote import words
from syncret.api.secret import ManagedSecret
from syncret.api.selector import Namespace
from syncret.api.store import Store
from syncret.api.workload import Workload, WorkloadKey, names_of

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Table(Generic[K, V]):
    """A dictionary with named secondary look-ups, kept in step by :meth:`put` and :meth:`drop`."""

    def __init__(self, **indices: Callable[[V], Iterable[Hashable]]) -> None:
        self._records: dict[K, V] = {}
        self._terms = indices
        self._indices: dict[str, dict[Hashable, set[K]]] = {name: {} for name in indices}

    def put(self, key: K, record: V) -> V | None:
        """Stores the record; returns the one it replaced."""
        old = self.drop(key)
        self._records[key] = record
        for name, terms in self._terms.items():
            for term in terms(record):
                self._indices[name].setdefault(term, set()).add(key)
        return old

    def drop(self, key: K) -> V | None:
        """Removes and returns the record, if there is one."""
        old = self._records.pop(key, None)
        if old is None:
            return None
        for name, terms in self._terms.items():
            index = self._indices[name]
            for term in terms(old):
                keys = index.get(term)
                if keys is not None:
                    keys.discard(key)
                    if not keys:
                        del index[term]
        return old

    def get(self, key: K) -> V | None:
        return self._records.get(key)

    def by(self, index: str, term: Hashable) -> list[V]:
        """The records that an index lists under a term. Safe in any thread: it copies first."""
        keys = tuple(self._indices[index].get(term, ()))
        return [record for key in keys if (record := self._records.get(key)) is not None]

    def count(self, index: str, term: Hashable) -> int:
        """How many records an index lists under a term."""
        return len(self._indices[index].get(term, ()))

    def __contains__(self, key: K) -> bool:
        return key in self._records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[V]:
        return iter(self._records.values())


class Cache:
    """The tables, and how they refer to each other.

    ``by_word``: with the look-up by which events of stores find who reads a key. It costs memory
    for each key, so it is there only where there are sources of events.
    """

    def __init__(self, *, by_word: bool = False) -> None:
        #: by "store": the key of each store read from; by "target": (namespace, Secret), also of
        #: the Secrets that it has still to leave; by "template": (kind, namespace, name) of each
        #: object that templates are taken from; by "rolls": the namespace, if it names what rolls;
        #: by "word": each word of each key that it reads; by "search": True of those that search.
        self.external_secrets: Table[ObjectKey, ExternalSecret] = Table(
            store=lambda es: es.stores,
            target=lambda es: [
                (es.key.namespace, name)
                for name in dict.fromkeys((es.target, *es.status.former_secrets))
            ],
            template=lambda es: [
                (kind, es.key.namespace, name) for kind, name in es.template.sources
            ],
            rolls=lambda es: (es.key.namespace,) if es.rollout.mode == "Targets" else (),
            word=_words if by_word else lambda _: (),
            search=_searches if by_word else lambda _: (),
        )
        self.stores: Table[ObjectKey, Store] = Table()
        self.cluster_external_secrets: Table[ObjectKey, ClusterExternalSecret] = Table()
        #: What is known besides of ExternalSecrets that a ClusterExternalSecret made; by "owner":
        #: its uid.
        self.stamped: Table[ObjectKey, Stamped] = Table(owner=lambda one: (one.owner_uid,))
        #: Empty until the labels of namespaces matter; by name.
        self.namespaces: Table[str, Namespace] = Table()
        #: by (namespace, name); by "claim": (namespace, ExternalSecret) of those that share it.
        self.secrets: Table[tuple[str, str], ManagedSecret] = Table(
            claim=lambda secret: [(secret.namespace, name) for name in secret.claims],
        )
        #: What generators made, by the uid of the ExternalSecret; and what was known last of that
        #: whose Secret is gone. by "owner": namespace and name of the ExternalSecret.
        self.generated: Table[str, GeneratedState] = Table(owner=_owner)
        self.lost: Table[str, GeneratedState] = Table(owner=_owner)
        #: Secrets without our label under the name of a target, in a word that changes with what
        #: matters of them; by (namespace, name).
        self.unmanaged: Table[tuple[str, str], str] = Table()
        #: by "secret": every (namespace, Secret) that its pods read; by "pulls": the same, of those
        #: that its images are pulled with; by "named": those that only our annotation names; by
        #: "namespace"; by "reload": the namespace, if it has annotations of Reloader's that count;
        #: by "rolling", True: those that we restarted and that are not complete.
        self.workloads: Table[WorkloadKey, Workload] = Table(
            secret=lambda workload: [
                (workload.key.namespace, secret) for secret in workload.consumes
            ],
            pulls=lambda workload: [(workload.key.namespace, secret) for secret in workload.pulls],
            named=lambda workload: [
                (workload.key.namespace, secret)
                for secret in names_of(workload.checksum)
                if secret not in workload.consumes
            ],
            namespace=lambda workload: (workload.key.namespace,),
            reload=lambda workload: (workload.key.namespace,) if workload.reload else (),
            rolling=lambda workload: (
                (True,) if workload.rolled_at and workload.health is Health.ROLLING else ()
            ),
        )

    def reloads(self) -> list[str]:
        """The namespaces with workloads that have annotations of Reloader's."""
        return sorted({one.key.namespace for one in self.workloads if one.reload is not None})

    def namespace(self, name: str) -> Namespace:
        """What is known of a namespace: at least its name."""
        return self.namespaces.get(name) or Namespace(name)


def _owner(state: GeneratedState) -> Iterable[tuple[str, str]]:
    return ((state.namespace, state.owner),)


def _words(external_secret: ExternalSecret) -> Iterable[str]:
    keys = {entry.remote.key for entry in external_secret.data}
    keys |= {
        one.source.key for one in external_secret.data_from if not isinstance(one.source, Query)
    }
    return {word for key in keys for word in words(key)}


def _searches(external_secret: ExternalSecret) -> Iterable[bool]:
    return {True for one in external_secret.data_from if isinstance(one.source, Query)}
