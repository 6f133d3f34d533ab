"""Replicas share shards: each has one holder, none is left alone, and work ends before it moves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import aiohttp
import pytest

from support.apiserver import FakeApiServer, Refusal, serving
from support.clock import FakeClock
from syncret.errors import LeadershipLost, NotLeading
from syncret.keeper import STEPS, Keeper
from syncret.kube.client import KubeClient
from syncret.kube.resources import SECRETS

NAMESPACE = "syncret"
DURATION = 15.0
STEP = DURATION / STEPS


@dataclass
class Replica:
    """A process: dead ones take no steps any more."""

    keeper: Keeper
    clock: FakeClock
    gained: list[int]
    emptying: dict[int, asyncio.Event] = field(default_factory=dict)
    slow_to_empty: bool = False
    alive: bool = True
    lost: bool = False

    async def step(self) -> None:
        if not self.alive:
            return
        try:
            await self.keeper._step()
        except LeadershipLost:
            self.alive, self.lost = False, True
        await asyncio.sleep(0)


@dataclass
class World:
    """Replicas of one installation on one API server."""

    api: FakeApiServer
    session: aiohttp.ClientSession
    shards: int = 1
    replicas: list[Replica] = field(default_factory=list)

    def start(self) -> Replica:
        clock, gained = FakeClock(), list[int]()
        name = f"pod-{len(self.replicas)}"

        async def emptied(shard: int) -> None:
            replica.emptying[shard] = asyncio.Event()
            if replica.slow_to_empty:
                await replica.emptying[shard].wait()

        keeper = Keeper(
            KubeClient(self.session, self.api.url),
            namespace=NAMESPACE,
            prefix="syncret",
            identity=name,
            shards=self.shards,
            duration=DURATION,
            clock=clock,
            gained=gained.append,
            emptied=emptied,
        )
        replica = Replica(keeper, clock, gained)
        self.replicas.append(replica)
        return replica

    async def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> float:
        """Lets everybody step for that long; returns the seconds that it took until ``until``."""
        for passed in range(round(seconds / STEP)):
            if until():
                return passed * STEP
            for replica in self.replicas:
                await replica.step()
                replica.clock.advance(STEP)
            self.check()
        return seconds

    def check(self) -> None:
        """No shard is worked on by two that both may write."""
        holders = [
            shard
            for replica in self.replicas
            if replica.keeper.may_write()
            for shard in replica.keeper.held
        ]
        assert len(holders) == len(set(holders)), f"held twice: {holders}"

    @property
    def held(self) -> list[set[int]]:
        return [set(replica.keeper.held) for replica in self.replicas if replica.alive]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with serving() as api, aiohttp.ClientSession() as session:
        yield World(api, session)


async def test_one_leads_and_goes_on_leading(world: World) -> None:
    world.start(), world.start()
    await world.run(60.0)
    assert world.held == [{0}, set()]
    assert world.replicas[0].gained == [0]
    assert [replica.keeper.may_write() for replica in world.replicas] == [True, False]


async def test_a_killed_leader_is_replaced_within_the_duration_and_two_seconds(
    world: World,
) -> None:
    leader, standby = world.start(), world.start()
    await world.run(33.0)
    leader.alive = False
    took = await world.run(60.0, until=standby.keeper.may_write)
    assert took <= DURATION + 2.0
    assert standby.keeper.worked_until(0) is not None


async def test_a_leader_that_ends_well_is_replaced_at_once(world: World) -> None:
    leader, standby = world.start(), world.start()
    await world.run(10.0)
    await leader.keeper.release()
    leader.alive = False
    assert await world.run(60.0, until=standby.keeper.may_write) <= 2 * STEP


async def test_a_paused_leader_may_not_write_and_ends(world: World) -> None:
    leader, standby = world.start(), world.start()
    await world.run(10.0)
    leader.alive = False  # SIGSTOP
    await world.run(DURATION + 2.0)
    assert standby.keeper.may_write()
    leader.alive = True  # SIGCONT
    assert not leader.keeper.may_write()
    await leader.step()
    assert leader.lost
    assert standby.keeper.may_write()


async def test_a_client_that_may_not_write_sends_nothing(world: World) -> None:
    leader = world.start()
    await world.run(5.0)
    kube = KubeClient(world.session, world.api.url, may_write=leader.keeper.may_write)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}}
    await kube.create(SECRETS, secret, namespace="n", field_manager="syncret")
    leader.clock.advance(DURATION)
    with pytest.raises(NotLeading):
        await kube.merge_patch(
            SECRETS, {"data": {}}, name="s", namespace="n", field_manager="syncret"
        )
    assert [call.method for call in world.api.calls if call.place.plural == "secrets"] == ["POST"]
    assert await kube.get(SECRETS, name="s", namespace="n")


async def test_an_api_server_that_fails_for_a_while_ends_nothing(world: World) -> None:
    leader = world.start()
    await world.run(10.0)
    world.api.intercept("PATCH", "leases", Refusal(503), times=4)
    world.api.intercept("GET", "leases", Refusal(503), times=4)
    await world.run(30.0)
    assert leader.alive
    assert leader.keeper.may_write()


async def test_an_api_server_that_fails_for_longer_ends_the_process_before_the_lease(
    world: World,
) -> None:
    leader = world.start()
    await world.run(10.0)
    world.api.intercept("PATCH", "leases", Refusal(503), times=1000)
    took = await world.run(60.0, until=lambda: leader.lost)
    assert took < DURATION


@pytest.mark.parametrize(("shards", "replicas"), [(3, 1), (3, 2), (3, 3), (2, 3), (5, 3)])
async def test_shards_are_shared_evenly(world: World, shards: int, replicas: int) -> None:
    world.shards = shards
    for _ in range(replicas):
        world.start()
    await world.run(60.0)
    assert sorted(shard for held in world.held for shard in held) == list(range(shards))
    assert max(map(len, world.held)) == -(-shards // replicas)


async def test_a_new_replica_gets_its_part_after_the_work_has_ended(world: World) -> None:
    world.shards = 2
    first = world.start()
    await world.run(20.0)
    assert world.held == [{0, 1}]
    first.slow_to_empty = True
    world.start()
    await world.run(40.0)
    assert world.held == [{0}, set()]
    assert first.keeper.may_write(), "it renews while it empties the other shard"
    first.emptying[1].set()
    await world.run(5.0)
    assert world.held == [{0}, {1}]


async def test_the_shards_of_a_lost_replica_are_taken_over(world: World) -> None:
    world.shards = 3
    for _ in range(3):
        world.start()
    await world.run(40.0)
    dead = world.replicas[1]
    lost = set(dead.keeper.held)
    dead.alive = False
    took = await world.run(
        60.0, until=lambda: sum(map(len, world.held)) == 3 and lost <= set().union(*world.held)
    )
    assert took <= DURATION + 4.0


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
async def test_replicas_that_divide_otherwise_are_waited_for(
    world: World, before: int, after: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A rolling update that changes --shards: nobody works on what another still works on."""
    world.shards = before
    old = world.start()
    await world.run(40.0)
    world.shards = after
    world.start()
    await world.run(40.0)
    assert world.held == [set(range(before)), set()]
    assert sum("another --shards" in record.message for record in caplog.records) == 1
    await old.keeper.release()
    old.alive = False
    await world.run(20.0)
    assert world.held == [set(range(after))]
