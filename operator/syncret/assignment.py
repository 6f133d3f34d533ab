"""What of the cluster this replica works on, and how work moves between replicas.

Every replica's caches have everything. The queue gets only the keys of the shards that are held
here; a shard that is gained brings all of its keys at once, and one that is given away takes them
out and lets what runs come to its end.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Final

from syncret.api.clusterexternalsecret import KIND as CLUSTER_EXTERNAL_SECRET
from syncret.api.externalsecret import KIND as EXTERNAL_SECRET
from syncret.api.keys import ObjectKey
from syncret.cache import Cache
from syncret.clock import Clock, sleep
from syncret.keeper import Keeper
from syncret.queue import Queue
from syncret.shards import shard_of

#: Seconds between two looks at whether the last run of a shard has ended.
_POLL: Final = 0.1


class Assignment:
    """The shards of this replica, in terms of objects. ``keeper`` is given once it is made."""

    keeper: Keeper

    def __init__(
        self,
        *,
        cache: Cache,
        queue: Queue[ObjectKey],
        clock: Clock,
        shards: int,
        forget: Callable[[Callable[[str], bool]], None],
    ) -> None:
        """``forget`` drops what is remembered of the namespaces that its argument tells."""
        self._cache = cache
        self._queue = queue
        self._clock = clock
        self._shards = shards
        self._forget = forget

    def works_on(self, namespace: str) -> bool:
        """Whether objects of a namespace are worked on here.

        Stores of the whole cluster ("") are checked wherever anything is; other objects of the
        whole cluster are worked on where they are reported of.
        """
        if not namespace:
            return bool(self.keeper.held)
        return shard_of(namespace, self._shards) in self.keeper.held

    def reports(self, key: ObjectKey) -> bool:
        """Whether this replica is the one that writes the status of an object."""
        return shard_of(key.namespace, self._shards) in self.keeper.held

    def worked_until(self, namespace: str) -> float | None:
        """The wall time until which a former holder did the work for a namespace, if known."""
        return self.keeper.worked_until(shard_of(namespace, self._shards))

    def gained(self, shard: int) -> None:
        """Everything of the shard gets a round, in which what is in order costs nothing."""
        for key in self._keys():
            if self._is_of(shard, key) or not key.namespace:
                self._queue.add(key)

    async def emptied(self, shard: int) -> None:
        """Returns when nothing of the shard waits or runs any more."""
        for key in self._keys():
            if self._is_of(shard, key):
                self._queue.forget(key)
        while any(self._is_of(shard, key) for key in self._queue.running()):
            await sleep(self._clock, _POLL)
        self._forget(lambda namespace: shard_of(namespace, self._shards) == shard)

    def _keys(self) -> Iterator[ObjectKey]:
        records: Iterable[ObjectKey] = chain(
            (store.key for store in self._cache.stores),
            (external_secret.key for external_secret in self._cache.external_secrets),
            (one.key for one in self._cache.cluster_external_secrets),
            (ObjectKey("Reload", namespace, "") for namespace in self._cache.reloads()),
            # Those that are gone and have left keys behind; most have a record above as well.
            (
                ObjectKey(EXTERNAL_SECRET, secret.namespace, name)
                for secret in self._cache.secrets
                for name in secret.claims
            ),
        )
        return iter(list(records))

    def _is_of(self, shard: int, key: ObjectKey) -> bool:
        if not key.namespace and key.kind != CLUSTER_EXTERNAL_SECRET:
            return False  # a store of the whole cluster: everybody's
        return shard_of(key.namespace, self._shards) == shard
