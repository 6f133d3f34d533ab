"""Shards: every namespace is one replica's, together they do everything once, and none is left."""

from collections import Counter
from collections.abc import Sequence

import pytest

from integration.audit import Audit
from integration.conftest import StartAlone
from integration.manifests import entry, env_from
from integration.world import World, Worlds, is_complete, wait_until
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


def test_all_of_them_together_roll_no_more_than_may_roll(alone: StartAlone, worlds: Worlds) -> None:
    """They begin at the same moment, when none can know of the others' restarts yet."""
    limit, count = 4, 2
    arguments = (f"--shards={count}", f"--max-concurrent-rollouts={limit}")
    replicas = [alone(*arguments, name=f"rolling-{n}", ready=False) for n in range(count)]
    for replica in replicas:
        replica.wait_ready()
    wait_until(lambda: shares(replicas) == [1] * count, "each has one shard", tell=str)
    made = [worlds.new("rolling") for _ in range(6)]
    for world in made:
        world.operator = replicas[0]
        world.put("k", "first")
        for name in "ab":
            world.workload(name, container=env_from("app"))
        data = [entry("k", world.key("k"))]
        world.external_secret(data=data, interval="1s", rollout={"maxConcurrent": 2})
    for world in made:
        world.wait_ready()
        world.wait(lambda world=world: targets(world) == {"Current"}, "they are known")  # type: ignore[misc]
    assert {one.name for world in made for one in workers(replicas, world)} == {
        replica.name for replica in replicas
    }, "both have some of the namespaces"
    for world in made:
        world.put("k", "second")
    most = 0

    def all_rolled() -> bool:
        nonlocal most
        bodies = [
            body
            for world in made
            for body in world.api.list("Deployment", world.namespace)
            if body["metadata"]["generation"] > 1
        ]
        most = max(most, sum(not is_complete(body) for body in bodies))
        return len(bodies) == 2 * len(made) and all(map(is_complete, bodies))

    wait_until(all_rolled, "all were restarted", tell=str)
    assert 1 < most <= limit
    for world in made:
        assert [world.generation(name) for name in "ab"] == [2, 2]
        world.clear()


def targets(world: World) -> set[str]:
    return {one["phase"] for one in world.status().get("rollout", {}).get("targets", ())}
