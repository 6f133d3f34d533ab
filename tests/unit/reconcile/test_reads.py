"""Reads are shared and batched; nobody gets a value that is older than the wish for it."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from support.clock import FakeClock
from syncret.errors import AccessDenied, ProviderError, ProviderUnavailable, Throttled
from syncret.providers.base import (
    NOTHING_KNOWN,
    Found,
    Known,
    Limits,
    NotFound,
    Outcome,
    Query,
    Ref,
    SecretValue,
    Unchanged,
)
from syncret.reconcile.limits import Breaker, Rate
from syncret.reconcile.reads import CROWDED, GATHER, KEEP, LOOK, PATIENCE, Reads

BATCH = 4

#: The version of every value.
CURRENT = "current"


@dataclass
class Store:
    """A store whose answers wait until the test lets them go."""

    limits: Limits = field(default_factory=lambda: Limits(batch=BATCH, concurrency=2, rate=1000))
    values: dict[str, bytes] = field(default_factory=dict)
    failures: list[ProviderError] = field(default_factory=list)
    calls: list[list[str]] = field(default_factory=list)
    held: asyncio.Event | None = None
    most_at_once: int = 0
    running: int = 0
    closed: bool = False

    async def fetch(
        self, refs: Collection[Ref], *, known: Known = NOTHING_KNOWN
    ) -> Mapping[Ref, Outcome]:
        self.calls.append([ref.key for ref in refs])
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            if self.held is not None:
                await self.held.wait()
            if self.failures:
                raise self.failures.pop(0)
            return {ref: self.outcome(ref, known.get(ref, "")) for ref in refs}
        finally:
            self.running -= 1

    def outcome(self, ref: Ref, known: str) -> Outcome:
        if ref.key not in self.values:
            return NotFound()
        if known == CURRENT:
            return Unchanged(CURRENT)
        return SecretValue(self.values[ref.key])

    async def find(self, query: Query, *, page: str = "") -> Found:
        raise AssertionError(f"not searched here: {query} {page}")

    async def check(self) -> None: ...

    async def close(self) -> None:
        self.closed = True


class World:
    """Reads of a store, and a clock that moves by hand."""

    def __init__(self, *, rate: float = 1000.0, burst: int = 100) -> None:
        self.clock = FakeClock()
        self.store = Store(values={f"k{number}": b"v%d" % number for number in range(50)})
        self.breaker = Breaker()
        self.trips = 0
        self.crowd = 0
        self.reads = Reads(
            self.store,
            clock=self.clock,
            rate=Rate(self.clock, rate=rate, burst=burst),
            breaker=self.breaker,
            timeout=10.0,
            tripped=self._tripped,
            crowd=lambda: self.crowd,
        )

    def _tripped(self) -> None:
        self.trips += 1

    def ask(
        self,
        *keys: str,
        patient: bool = False,
        asked_at: float | None = None,
        known: str = "",
    ) -> "asyncio.Task[dict[Ref, Outcome]]":
        refs = [Ref(key) for key in keys]
        when = self.clock.now if asked_at is None else asked_at
        versions = {ref: known for ref in refs if known}
        return asyncio.create_task(
            self.reads.fetch(refs, asked_at=when, patient=patient, known=versions)
        )

    async def pass_time(self, seconds: float = GATHER) -> None:
        """Lets what is ready run, moves the clock, and lets run what became ready."""
        await _settle()
        self.clock.advance(seconds)
        await _settle()


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def world() -> World:
    return World()


async def test_many_readers_of_one_key_make_one_call(world: World) -> None:
    readers = [world.ask("k1") for _ in range(100)]
    await world.pass_time()
    assert [task.result() for task in readers] == [{Ref("k1"): SecretValue(b"v1")}] * 100
    assert world.store.calls == [["k1"]]


async def test_distinct_keys_ride_in_full_batches(world: World) -> None:
    world.store.held = asyncio.Event()
    readers = [world.ask(f"k{number}") for number in range(10)]
    await world.pass_time()
    world.store.held.set()
    await _settle()
    assert all(task.done() for task in readers)
    assert [len(call) for call in world.store.calls] == [4, 4, 2]
    assert world.store.most_at_once == world.store.limits.concurrency


async def test_refreshes_wait_for_a_full_batch_and_not_for_ever(world: World) -> None:
    patient = [world.ask(f"k{number}", patient=True) for number in range(BATCH - 1)]
    await world.pass_time(PATIENCE / 2)
    assert world.store.calls == []
    last = world.ask("k9", patient=True)
    await world.pass_time(0)
    assert all(task.done() for task in (*patient, last))
    assert len(world.store.calls) == 1

    lonely = world.ask("k1", patient=True)
    await world.pass_time(PATIENCE)
    assert lonely.done()


async def test_in_a_crowd_an_urgent_read_waits_for_a_full_batch_and_not_for_ever(
    world: World,
) -> None:
    world.crowd = 1
    first = [world.ask(f"k{number}") for number in range(BATCH - 1)]
    await world.pass_time(GATHER)
    await world.pass_time(LOOK)
    assert world.store.calls == []
    last = world.ask("k9")
    await world.pass_time(0)
    assert all(task.done() for task in (*first, last))
    assert [len(call) for call in world.store.calls] == [BATCH]

    lonely = world.ask("k1")
    await world.pass_time(GATHER)
    for _ in range(round(CROWDED / LOOK) + 1):
        await world.pass_time(LOOK)
    assert lonely.done()


async def test_when_the_crowd_has_gone_what_waits_waits_no_longer(world: World) -> None:
    world.crowd = 1
    reader = world.ask("k1")
    await world.pass_time(GATHER)
    world.crowd = 0
    await world.pass_time(LOOK)
    assert reader.done()


async def test_readers_that_wait_for_one_read_do_not_wait_for_each_other(world: World) -> None:
    world.crowd = 100
    readers = [world.ask("k1") for _ in range(BATCH)]
    await world.pass_time(GATHER)
    assert all(task.done() for task in readers)
    assert world.store.calls == [["k1"]]


async def test_an_urgent_reader_takes_the_patient_ones_along(world: World) -> None:
    patient = world.ask("k1", patient=True)
    await world.pass_time(0)
    urgent = world.ask("k2")
    await world.pass_time(GATHER)
    assert patient.done()
    assert urgent.done()
    assert world.store.calls == [["k1", "k2"]]


async def test_a_read_that_began_before_the_wish_is_not_shared(world: World) -> None:
    world.store.held = asyncio.Event()
    early = world.ask("k1")
    await world.pass_time()
    await world.pass_time(1.0)
    world.store.values["k1"] = b"new"
    late = world.ask("k1")
    await world.pass_time(1.0)
    world.store.held.set()
    await _settle()
    assert late.result() == {Ref("k1"): SecretValue(b"new")}
    assert early.done()
    assert len(world.store.calls) == 2


async def test_a_value_that_several_wanted_serves_those_that_come_later_with_an_older_wish(
    world: World,
) -> None:
    wish = world.clock.now
    first, second = world.ask("k1"), world.ask("k1")
    await world.pass_time()
    assert first.done()
    assert second.done()
    late = world.ask("k1", asked_at=wish)
    await world.pass_time(0)
    assert late.done()
    assert len(world.store.calls) == 1

    await world.pass_time(0.1)
    newer = world.ask("k1")
    await world.pass_time()
    assert newer.done()
    assert len(world.store.calls) == 2


async def test_a_kept_value_goes_in_time_and_one_that_a_single_reader_wanted_at_once(
    world: World,
) -> None:
    wish = world.clock.now
    world.ask("k1"), world.ask("k1"), world.ask("k2")
    await world.pass_time()
    assert list(world.reads._reads) == [Ref("k1")]
    await world.pass_time(KEEP)
    assert not world.reads._reads
    again = world.ask("k1", asked_at=wish)
    await world.pass_time()
    assert again.done()
    assert len(world.store.calls) == 2


async def test_what_is_kept_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncret.reconcile.reads.KEEP_BYTES", 100)
    world.store.values.update({f"big{number}": b"x" * 60 for number in range(4)})
    for number in range(4):
        world.ask(f"big{number}"), world.ask(f"big{number}")
        await world.pass_time()
        assert len(world.reads._reads) == 1


async def test_a_failure_of_the_call_is_every_readers_and_each_has_its_own(world: World) -> None:
    world.store.failures = [ProviderUnavailable("The store is down.")]
    readers = [world.ask("k1"), world.ask("k2")]
    await world.pass_time()
    errors = [task.exception() for task in readers]
    assert [type(error) for error in errors] == [ProviderUnavailable] * 2
    assert errors[0] is not errors[1]


async def test_a_cancelled_reader_leaves_the_read_to_the_others(world: World) -> None:
    world.store.held = asyncio.Event()
    one, other = world.ask("k1"), world.ask("k1")
    await world.pass_time()
    one.cancel()
    world.store.held.set()
    await _settle()
    assert other.result() == {Ref("k1"): SecretValue(b"v1")}


async def test_a_dead_store_is_not_asked_again_until_a_check_says_so(world: World) -> None:
    for _ in range(3):
        world.store.failures = [ProviderUnavailable("The store is down.")]
        task = world.ask("k1")
        await world.pass_time()
        assert isinstance(task.exception(), ProviderUnavailable)
    assert world.trips == 1
    calls = len(world.store.calls)
    refused = [world.ask(f"k{number}") for number in range(20)]
    await world.pass_time(100.0)
    assert {str(task.exception()) for task in refused} == {"The store is down."}
    assert len(world.store.calls) == calls
    world.breaker.reset()
    task = world.ask("k1")
    await world.pass_time()
    assert task.result()


async def test_refused_credentials_open_the_breaker_at_once(world: World) -> None:
    world.store.failures = [AccessDenied("Renew the credentials.")]
    task = world.ask("k1")
    await world.pass_time()
    assert isinstance(task.exception(), AccessDenied)
    assert world.breaker.open


async def test_a_throttled_call_is_made_again_when_the_store_wants_it(world: World) -> None:
    world.store.failures = [Throttled("Slower.", retry_after=3.0)]
    task = world.ask("k1")
    await world.pass_time()
    assert len(world.store.calls) == 1
    await world.pass_time(2.9)
    assert len(world.store.calls) == 1
    await world.pass_time(0.2)
    assert task.result() == {Ref("k1"): SecretValue(b"v1")}


async def test_a_long_throttle_is_told_instead_of_waited_for(world: World) -> None:
    world.store.failures = [Throttled("Slower.", retry_after=60.0)]
    task = world.ask("k1")
    await world.pass_time()
    error = task.exception()
    assert isinstance(error, Throttled)
    assert error.retry_after == pytest.approx(60.0)


async def test_no_more_calls_in_a_second_than_the_store_takes() -> None:
    world = World(rate=2.0, burst=1)
    tasks = [world.ask(f"k{number}") for number in range(5 * BATCH)]
    await world.pass_time()
    for second in range(1, 6):
        assert len(world.store.calls) <= 1 + 2 * second
        await world.pass_time(0.5)
        await world.pass_time(0.5)
    assert all(task.done() for task in tasks)


async def test_who_knows_the_version_needs_no_value(world: World) -> None:
    knows, has_an_older = world.ask("k1", known=CURRENT), world.ask("k2", known="older")
    await world.pass_time()
    assert knows.result() == {Ref("k1"): Unchanged(CURRENT)}
    assert has_an_older.result() == {Ref("k2"): SecretValue(b"v2")}
    assert len(world.store.calls) == 1


@pytest.mark.parametrize(
    "others", [["", CURRENT], [CURRENT, ""], [CURRENT, "older"], ["older", CURRENT, ""]]
)
async def test_readers_that_know_different_versions_share_the_value(
    world: World, others: list[str]
) -> None:
    tasks = [world.ask("k1", known=known) for known in others]
    await world.pass_time()
    value = SecretValue(b"v1")
    assert [task.result()[Ref("k1")] for task in tasks] == [value] * len(tasks)
    assert world.store.calls == [["k1"]]


async def test_a_value_that_is_wanted_while_a_version_is_asked_for_is_read(world: World) -> None:
    world.store.held = asyncio.Event()
    asked_at = world.clock.now
    first = world.ask("k1", known=CURRENT, asked_at=asked_at)
    await world.pass_time()
    second = world.ask("k1", asked_at=asked_at)
    third = world.ask("k1", known=CURRENT, asked_at=asked_at)
    await world.pass_time()
    world.store.held.set()
    await world.pass_time()
    assert first.result() == {Ref("k1"): Unchanged(CURRENT)}
    assert second.result() == third.result() == {Ref("k1"): SecretValue(b"v1")}
    assert world.store.calls == [["k1"], ["k1"]]


async def test_closing_ends_what_waits(world: World) -> None:
    world.store.held = asyncio.Event()
    task = world.ask("k1")
    await world.pass_time()
    await world.reads.close()
    await _settle()
    assert isinstance(task.exception(), ProviderError)
    assert world.store.closed
