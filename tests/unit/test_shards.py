"""Every object has one shard, shards are about equally large, and more shards move little."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from syncret.shards import fair_share, shard_of

NAMESPACES = [f"team-{number}" for number in range(3000)]


def test_shards_are_about_equally_large() -> None:
    sizes = Counter(shard_of(namespace, 3) for namespace in NAMESPACES)
    assert set(sizes) == {0, 1, 2}
    assert all(900 < size < 1100 for size in sizes.values())


def test_one_more_shard_takes_its_part_and_moves_nothing_else() -> None:
    moved = {
        (shard_of(namespace, 3), shard_of(namespace, 4))
        for namespace in NAMESPACES
        if shard_of(namespace, 3) != shard_of(namespace, 4)
    }
    assert moved
    assert {new for _, new in moved} == {3}


@given(st.text(), st.integers(1, 16))
def test_a_shard_is_one_of_those_there_are_and_always_the_same(namespace: str, count: int) -> None:
    shard = shard_of(namespace, count)
    assert 0 <= shard < count
    shard_of.cache_clear()
    assert shard_of(namespace, count) == shard


@given(st.integers(1, 100), st.integers(0, 100))
def test_shares_cover_every_shard_and_no_replica_has_two_more_than_another(
    shards: int, replicas: int
) -> None:
    share = fair_share(shards, replicas)
    assert share * max(1, replicas) >= shards
    assert (share - 1) * max(1, replicas) < shards
