"""Shards: every namespace is one replica's, together they do everything once, and none is left."""

from collections import Counter
from collections.abc import Sequence

import pytest

from integration.audit import Audit
from integration.conftest import StartAlone
from integration.manifests import entry
from integration.world import World, Worlds, wait_until
from testbed.operator import Operator

COUNT = 3
NAMESPACES = 9


@pytest.fixture
def replicas(alone: StartAlone) -> list[Operator]:
    """Three, with a shard each."""
    started = [alone(f"--shards={COUNT}", name=f"replica-{n}", ready=False) for n in range(COUNT)]
    for replica in started:
        replica.wait_ready()
    wait_until(lambda: shares(started) == [1] * COUNT, "each has one shard", tell=str)
    return started


def shares(replicas: Sequence[Operator]) -> list[float]:
    return sorted(replica.metric("syncret_shards") for replica in replicas)


def workers(replicas: Sequence[Operator], world: World) -> list[Operator]:
    """Who has synced something of the namespace since its start."""
    name = "syncret_externalsecret_last_success_timestamp_seconds"
    return [replica for replica in replicas if replica.metric(name, namespace=world.namespace)]


@pytest.fixture
def fleet(replicas: list[Operator], worlds: Worlds) -> list[World]:
    """Namespaces with a Secret each, in sync."""
    made = [worlds.new("shard") for _ in range(NAMESPACES)]
    for world in made:
        world.operator = replicas[0]
        world.put("k", "first")
        world.external_secret(data=[entry("k", world.key("k"))], interval="1s")
    for world in made:
        world.wait_data({"k": b"first"})
        world.wait_ready()
    return made


def test_everything_is_done_once_by_one_of_them(
    replicas: list[Operator], fleet: list[World], audit: Audit
) -> None:
    for world in fleet:
        assert len(workers(replicas, world)) == 1, world.namespace
    assert {one.name for world in fleet for one in workers(replicas, world)} == {
        replica.name for replica in replicas
    }, "the namespaces are spread"
    made = Counter(
        (one.namespace, one.code)
        for one in audit.requests()
        if (one.verb, one.resource) == ("create", "secrets")
    )
    assert {code: made[world.namespace, code] for world in fleet for code in (201, 409)} == {
        201: 1,
        409: 0,
    }


def test_the_shards_of_one_that_is_killed_are_taken_over(
    replicas: list[Operator], fleet: list[World]
) -> None:
    dead, *left = replicas
    dead.kill()
    wait_until(lambda: sum(shares(left)) == COUNT, "every shard is worked on", tell=str)
    for world in fleet:
        world.put("k", "second")
    for world in fleet:
        world.wait_data({"k": b"second"})
        assert len(workers(left, world)) == 1


def test_one_that_comes_back_gets_its_part_and_the_other_stops_working_on_it(
    replicas: list[Operator], fleet: list[World]
) -> None:
    first, *others = replicas
    assert first.stop() == 0
    wait_until(lambda: sum(shares(others)) == COUNT, "every shard is worked on", tell=str)
    first.start()
    wait_until(lambda: shares(replicas) == [1] * COUNT, "each has one shard", tell=str)
    for world in fleet:
        world.put("k", "second")
    for world in fleet:
        world.wait_data({"k": b"second"})
        wait_until(
            lambda world=world: len(workers(replicas, world)) == 1,  # type: ignore[misc]
            f"one works on {world.namespace}",
        )
