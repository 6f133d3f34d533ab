"""Which shard an object belongs to, and how many shards a replica should hold. Pure.

Rendezvous hashing: every shard scores every namespace, the best score wins. All replicas agree
without talking to each other, and changing the number of shards from n to n + 1 moves one
namespace in n + 1, and none between the other shards.

A namespace is the unit, because what is in it belongs together: a store, its readers, the Secrets
and the workloads that use them.
"""

import hashlib
from functools import lru_cache

#: Namespaces whose shard is remembered; beyond, it is computed anew (a microsecond for each shard).
_REMEMBERED = 65_536


@lru_cache(maxsize=_REMEMBERED)
def shard_of(namespace: str, count: int) -> int:
    """The shard, 0 to ``count`` - 1, of what is in a namespace."""
    if count == 1:
        return 0
    return max(range(count), key=lambda shard: _score(shard, namespace))


def fair_share(shards: int, replicas: int) -> int:
    """How many shards one of so many live replicas holds at most, when all hold their part."""
    return -(-shards // max(1, replicas))


def _score(shard: int, namespace: str) -> bytes:
    return hashlib.blake2b(f"{shard}/{namespace}".encode(), digest_size=8).digest()
