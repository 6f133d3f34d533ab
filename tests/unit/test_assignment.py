"""What a replica works on: the objects of its shards, until the last run of each has ended."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest

from support.clock import FakeClock
from support.objects import external_secret_body, secret_body, store_body
from syncret.api.claims import Claim, render_claims
from syncret.api.externalsecret import parse_external_secret
from syncret.api.keys import ObjectKey
from syncret.api.secret import parse_secret
from syncret.api.store import parse_store
from syncret.assignment import Assignment
from syncret.cache import Cache
from syncret.constants import KEYS_ANNOTATION
from syncret.digest import Digester
from syncret.keeper import Keeper
from syncret.queue import Queue
from syncret.shards import shard_of

SHARDS = 2
MINE = "payments"
THEIRS = next(
    name
    for name in map("ns-{}".format, range(100))
    if shard_of(name, SHARDS) != shard_of(MINE, SHARDS)
)


@dataclass
class Held:
    """What is asked of the keeper."""

    held: set[int] = field(default_factory=set)
    until: dict[int, float] = field(default_factory=dict)

    def worked_until(self, shard: int) -> float | None:
        return self.until.get(shard)


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cache = Cache()
        self.queue: Queue[ObjectKey] = Queue(self.clock)
        self.forgotten: list[str] = []
        self.assignment = Assignment(
            cache=self.cache,
            queue=self.queue,
            clock=self.clock,
            shards=SHARDS,
            forget=lambda theirs: self.forgotten.extend(filter(theirs, (MINE, THEIRS))),
        )
        self.keeper = Held()
        self.assignment.keeper = cast("Keeper", self.keeper)
        self.keys = {}
        for namespace in (MINE, THEIRS):
            body = external_secret_body()
            body["metadata"]["namespace"] = namespace
            record = parse_external_secret(body)
            self.cache.external_secrets.put(record.key, record)
            self.keys[namespace] = record.key
        shared = parse_store("ClusterSecretStore", store_body(kind="ClusterSecretStore"))
        self.cache.stores.put(shared.key, shared)
        self.shared = shared.key

    def leave_keys(self, namespace: str, name: str) -> ObjectKey:
        """A Secret has keys of an ExternalSecret that is gone."""
        body = secret_body("app", {"a": b"x"}, namespace=namespace, owner="")
        claims = render_claims({name: Claim(("a",))}, namespace=namespace, secret="app")
        body["metadata"]["annotations"] = {KEYS_ANNOTATION: claims}
        record = parse_secret(body, Digester(b"k" * 32))
        self.cache.secrets.put((namespace, "app"), record)
        return ObjectKey("ExternalSecret", namespace, name)

    async def take_all(self) -> set[ObjectKey]:
        depth = self.queue.depth()
        return {await self.queue.take() for _ in range(depth["urgent"])}


@pytest.fixture
def world() -> World:
    return World()


def test_it_works_on_its_shards_and_on_shared_stores_while_it_has_one(world: World) -> None:
    works_on = world.assignment.works_on
    assert (works_on(MINE), works_on(THEIRS), works_on("")) == (False, False, False)
    world.keeper.held = {shard_of(MINE, SHARDS)}
    assert (works_on(MINE), works_on(THEIRS), works_on("")) == (True, False, True)


def test_one_replica_tells_of_a_shared_store(world: World) -> None:
    told = 0
    for shard in range(SHARDS):
        world.keeper.held = {shard}
        told += world.assignment.reports(world.shared)
    assert told == 1


def test_until_when_a_namespace_was_worked_on_is_its_shards(world: World) -> None:
    world.keeper.until = {shard_of(MINE, SHARDS): 7.0}
    assert world.assignment.worked_until(MINE) == 7.0
    assert world.assignment.worked_until(THEIRS) is None


async def test_a_shard_that_is_gained_brings_all_of_its_objects_and_shared_stores(
    world: World,
) -> None:
    world.assignment.gained(shard_of(MINE, SHARDS))
    assert await world.take_all() == {world.keys[MINE], world.shared}


async def test_a_shard_is_empty_when_its_last_run_has_ended(world: World) -> None:
    for key in world.keys.values():
        world.queue.add(key)
    running = await world.queue.take()
    world.queue.add(running)  # it is to run once more
    other = MINE if running.namespace == THEIRS else THEIRS
    emptying = asyncio.create_task(world.assignment.emptied(shard_of(running.namespace, SHARDS)))
    for _ in range(3):
        await asyncio.sleep(0)
        world.clock.advance(1.0)
    assert not emptying.done()
    assert world.forgotten == []

    world.queue.done(running)
    for _ in range(3):
        await asyncio.sleep(0)
        world.clock.advance(1.0)
    assert emptying.done()
    assert world.forgotten == [running.namespace]
    assert await world.take_all() == {world.keys[other]}, "nothing of the other shard is lost"


async def test_those_that_are_gone_and_left_keys_behind_are_worked_on_as_well() -> None:
    world = World()
    gone = world.leave_keys(MINE, "gone")
    world.leave_keys(THEIRS, "gone")
    shard = shard_of(MINE, SHARDS)
    world.keeper.held.add(shard)
    world.assignment.gained(shard)
    assert await world.take_all() == {world.keys[MINE], gone, world.shared}
