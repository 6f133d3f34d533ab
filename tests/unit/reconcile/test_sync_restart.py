"""The operator's own end, at any moment: the next life goes on, and does nothing twice."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from support.apiserver import Call, FakeApiServer, Place, Refusal, serving
from support.clock import FakeClock
from support.engine import living
from support.provider import MemoryProvider
from syncret.errors import AccessDenied
from unit.reconcile.payments import (
    NAMESPACE,
    NEW_PASSWORD,
    populate,
    ready,
    remote,
    restarts,
    status,
    writes,
)

MINUTES = 72.0  # later than any slot of a refresh interval of one minute


async def _live(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock, *, seconds: float = 0.0
) -> None:
    """One life that comes to rest, and does so again after some time."""
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        if seconds:
            await engine.advance(seconds)


async def _die(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock, *, write: int, after: bool
) -> bool:
    """A life that ends at its so-manieth write, before or after it took effect; False: none did."""
    async with living(world, provider=provider, clock=clock) as engine:
        working = asyncio.ensure_future(engine.settle())
        count = 0

        def kill(_call: Call) -> Refusal | None:
            nonlocal count
            count += 1
            if count < write:
                return None
            working.cancel()
            return Refusal(500)

        world.intercept_writes(kill, times=write, after=after)
        await asyncio.wait([working])
        return working.cancelled()


async def test_a_restart_reads_nothing_and_writes_nothing(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    await _live(world, provider, clock)
    calls, reads = len(world.calls), provider.reads
    for _ in range(3):
        await _live(world, provider, clock)
    assert world.calls[calls:] == []
    assert provider.reads == reads
    await _live(world, provider, clock, seconds=MINUTES)
    assert provider.reads > reads, "the refresh comes at its time"
    assert writes(world) == sum(call.writes for call in world.calls[:calls])


async def test_a_failure_that_was_told_is_not_told_again_by_the_next_life(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    await _live(world, provider, clock)
    provider.failure = AccessDenied("The store refuses the credentials.")
    await _live(world, provider, clock, seconds=MINUTES)
    before = writes(world)
    await _live(world, provider, clock, seconds=MINUTES)
    assert ready(world)["reason"] == "AccessDenied"
    assert writes(world) == before


async def test_what_changed_while_nobody_looked_is_caught_up_once(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    await _live(world, provider, clock)
    provider.values["app/db"] = remote(NEW_PASSWORD)
    clock.advance(86_400)
    await _live(world, provider, clock, seconds=MINUTES)
    assert world.secret(NAMESPACE, "db")["password"] == NEW_PASSWORD.encode()
    assert restarts(world) == 1
    await _live(world, provider, clock, seconds=MINUTES)
    assert restarts(world) == 1


async def test_an_owned_secret_that_the_status_does_not_know_yet_is_taken_as_it_is(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    """As after a restore of the cluster in which statuses were lost."""
    await _live(world, provider, clock)
    secret = world.get("secrets", NAMESPACE, "db")
    del world.objects[Place("externalsecrets", NAMESPACE, "db")]["status"]
    await _live(world, provider, clock)
    assert world.get("secrets", NAMESPACE, "db") == secret
    assert ready(world)["status"] == "True"
    assert restarts(world) == 0


@dataclass
class Story:
    """A cluster with a past, and what has to be done in it."""

    world: FakeApiServer
    provider: MemoryProvider
    clock: FakeClock

    async def live(self) -> None:
        await _live(self.world, self.provider, self.clock)

    def outcome(self) -> dict[str, Any]:
        """All that counts: not how many writes it took, nor which Events were posted."""
        kept = {}
        for place, body in self.world.objects.items():
            if place.plural != "events":
                meta = {**body["metadata"], "resourceVersion": "", "managedFields": []}
                kept["/".join(place)] = {**body, "metadata": meta}
        return kept


@asynccontextmanager
async def _first_sync() -> AsyncIterator[Story]:
    async with serving() as world:
        populate(world)
        yield Story(world, MemoryProvider(values={"app/db": remote()}), FakeClock())


@asynccontextmanager
async def _rotation() -> AsyncIterator[Story]:
    """The password was changed, another field was added, and the ExternalSecret was edited."""
    async with _first_sync() as story:
        await story.live()
        story.provider.values["app/db"] = remote(NEW_PASSWORD, more="x")
        patch = {"spec": {"refreshInterval": "2m"}}
        story.world.edit("externalsecrets", NAMESPACE, "db", patch)
        story.clock.advance(10)
        yield story


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", [1, 2, 3])
@pytest.mark.parametrize("history", [_first_sync, _rotation])
async def test_a_crash_at_any_write_ends_in_the_same_state(
    history: Callable[[], AbstractAsyncContextManager[Story]], write: int, after: bool
) -> None:
    async with history() as calm:
        await calm.live()
        expected = calm.outcome()
        assert restarts(calm.world) == (history is _rotation)
    async with history() as story:
        assert await _die(story.world, story.provider, story.clock, write=write, after=after)
        await story.live()
        assert story.outcome() == expected
        before = writes(story.world)
        await story.live()
        assert writes(story.world) == before, "nothing is left to do"


async def test_crashes_without_end(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    """A life for each write, and none that gets to its end."""
    await _live(world, provider, clock)
    provider.values["app/db"] = remote(NEW_PASSWORD)
    clock.advance(MINUTES)
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"refreshInterval": "2m"}})
    lives = 0
    while await _die(world, provider, clock, write=1, after=True):
        lives += 1
        assert lives < 10
    assert world.secret(NAMESPACE, "db")["password"] == NEW_PASSWORD.encode()
    assert restarts(world) == 1
    assert status(world)["syncedGeneration"] == 2


async def test_a_store_that_changes_after_a_restart_is_read(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    await _live(world, provider, clock)
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        reads = provider.reads
        world.edit("secretstores", NAMESPACE, "aws", {"spec": {"provider": {"memory": {"a": "b"}}}})
        await engine.settle()
        assert provider.reads == reads + 1


async def test_a_digest_key_that_was_lost_is_no_change(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    """What cannot be compared is looked at once more, and found to be as it was."""
    await _live(world, provider, clock)
    before, secret = status(world), world.get("secrets", NAMESPACE, "db")
    clock.advance(1)
    async with living(world, provider=provider, clock=clock, digest_key=b"n" * 32) as engine:
        await engine.settle()
    after = status(world)
    assert after["dataHash"] != before["dataHash"]
    assert after["lastChangeTime"] == before["lastChangeTime"]
    assert world.get("secrets", NAMESPACE, "db") == secret
    assert restarts(world) == 0
