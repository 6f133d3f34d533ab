"""Searches are shared, paged and bounded; nobody gets one that is older than the wish for it."""

import asyncio
from dataclasses import dataclass, field

import pytest

from support.clock import FakeClock
from syncret.errors import ProviderError, ProviderUnavailable, Throttled, TooManyFound
from syncret.providers.base import Found, Limits, Outcome, Query, Ref
from syncret.reconcile.finds import KEEP, KEEP_MOST, MAX_PAGES
from syncret.reconcile.limits import TRIP_AFTER, Breaker, Rate
from syncret.reconcile.reads import GATHER, PATIENCE, Reads

APP = Query(path="app/")


@dataclass
class Store:
    """A store of pages; what it answers may wait until the test lets it go."""

    limits: Limits = field(default_factory=lambda: Limits(batch=4, concurrency=2, rate=1000))
    pages: list[tuple[str, ...]] = field(default_factory=lambda: [("b", "a"), (), ("c", "a")])
    failures: list[ProviderError] = field(default_factory=list)
    calls: list[tuple[Query, str]] = field(default_factory=list)
    held: asyncio.Event | None = None

    async def find(self, query: Query, *, page: str = "") -> Found:
        self.calls.append((query, page))
        if self.held is not None:
            await self.held.wait()
        if self.failures:
            raise self.failures.pop(0)
        number = int(page or 0)
        more = str(number + 1) if number + 1 < len(self.pages) else ""
        return Found(self.pages[number], more)

    async def fetch(self, refs: object, *, known: object = None) -> dict[Ref, Outcome]:
        raise AssertionError(refs, known)

    async def check(self) -> None: ...

    async def close(self) -> None: ...


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = Store()
        self.breaker = Breaker()
        self.trips = 0
        self.reads = Reads(
            self.store,
            clock=self.clock,
            rate=Rate(self.clock, rate=1000.0, burst=1000),
            breaker=self.breaker,
            timeout=10.0,
            tripped=self._tripped,
        )

    def _tripped(self) -> None:
        self.trips += 1

    def ask(
        self, query: Query = APP, *, patient: bool = False, asked_at: float | None = None
    ) -> "asyncio.Task[tuple[str, ...]]":
        when = self.clock.now if asked_at is None else asked_at
        return asyncio.create_task(self.reads.find(query, asked_at=when, patient=patient))

    async def pass_time(self, seconds: float = GATHER) -> None:
        await _settle()
        self.clock.advance(seconds)
        await _settle()


async def _settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
def world() -> World:
    return World()


async def test_pages_are_followed_and_names_come_once_in_order(world: World) -> None:
    asked = world.ask()
    await world.pass_time()
    assert asked.result() == ("a", "b", "c")
    assert world.store.calls == [(APP, ""), (APP, "1"), (APP, "2")]


async def test_many_who_look_for_the_same_make_one_search(world: World) -> None:
    asked = [world.ask(Query(path="app/")) for _ in range(50)]
    other = world.ask(Query(path="other/"))
    await world.pass_time()
    assert {task.result() for task in (*asked, other)} == {("a", "b", "c")}
    assert [page for query, page in world.store.calls if query == APP] == ["", "1", "2"]
    assert len(world.store.calls) == 6


async def test_refreshes_wait_for_company(world: World) -> None:
    first = world.ask(patient=True)
    await world.pass_time(PATIENCE / 2)
    assert world.store.calls == []
    second = world.ask(patient=True)
    await world.pass_time(PATIENCE / 2)
    assert first.result() == second.result()
    assert len(world.store.calls) == 3


async def test_a_search_that_began_before_the_wish_is_not_good_enough(world: World) -> None:
    world.store.held = asyncio.Event()
    first = world.ask()
    await world.pass_time()
    assert len(world.store.calls) == 1
    world.clock.advance(1.0)
    late = world.ask()
    earlier = world.ask(asked_at=world.clock.now - 1.5)
    await world.pass_time()
    world.store.held.set()
    await world.pass_time()
    assert first.result() == late.result() == earlier.result()
    assert [page for _, page in world.store.calls].count("") == 2


async def test_what_was_found_is_kept_for_a_moment(world: World) -> None:
    first = world.ask()
    await world.pass_time()
    again = world.ask(asked_at=world.clock.now - 1.0)
    await world.pass_time()
    assert again.result() == first.result()
    assert len(world.store.calls) == 3
    world.clock.advance(KEEP)
    late = world.ask(asked_at=world.clock.now - KEEP - 1.0)
    await world.pass_time()
    assert late.result() == first.result()
    assert len(world.store.calls) == 6


async def test_no_more_than_some_are_kept(world: World) -> None:
    for number in range(3 * KEEP_MOST):
        world.ask(Query(path=str(number)))
        await world.pass_time()
    assert len(world.reads._finds._searches) <= KEEP_MOST + 1


async def test_a_failure_is_told_to_all_and_not_kept(world: World) -> None:
    world.store.failures = [ProviderUnavailable("Down.")]
    asked = [world.ask() for _ in range(3)]
    await world.pass_time()
    errors = [task.exception() for task in asked]
    assert all(isinstance(error, ProviderUnavailable) for error in errors)
    assert len({id(error) for error in errors}) == 3, "each has a traceback of its own"
    again = world.ask(asked_at=0.0)
    await world.pass_time()
    assert again.result() == ("a", "b", "c")


async def test_failures_open_the_breaker(world: World) -> None:
    world.store.failures = [ProviderUnavailable("Down.") for _ in range(TRIP_AFTER)]
    for _ in range(TRIP_AFTER):
        asked = world.ask()
        await world.pass_time()
        assert isinstance(asked.exception(), ProviderUnavailable)
    assert (world.trips, world.breaker.open) == (1, True)
    refused = world.ask()
    await world.pass_time()
    assert isinstance(refused.exception(), ProviderUnavailable)
    assert len(world.store.calls) == TRIP_AFTER


async def test_a_throttled_page_is_asked_for_again(world: World) -> None:
    world.store.failures = [Throttled("Slower.", retry_after=2.0)]
    asked = world.ask()
    await world.pass_time()
    assert not asked.done()
    await world.pass_time(2.0)
    assert asked.result() == ("a", "b", "c")


async def test_what_finds_too_much_ends(world: World) -> None:
    world.store.pages = [tuple(f"{page}-{number}" for number in range(400)) for page in range(9)]
    asked = world.ask()
    await world.pass_time()
    assert isinstance(asked.exception(), TooManyFound)
    assert len(world.store.calls) == 3


async def test_pages_without_end_end(world: World) -> None:
    world.store.pages = [()] * (MAX_PAGES + 50)
    asked = world.ask()
    for _ in range(20):
        await world.pass_time()
    assert isinstance(asked.exception(), TooManyFound)
    assert len(world.store.calls) == MAX_PAGES


async def test_one_who_is_cancelled_leaves_the_search_to_the_others(world: World) -> None:
    world.store.held = asyncio.Event()
    first, second = world.ask(), world.ask()
    await world.pass_time()
    first.cancel()
    await _settle()
    world.store.held.set()
    await world.pass_time()
    assert first.cancelled()
    assert second.result() == ("a", "b", "c")


async def test_closing_ends_what_is_under_way(world: World) -> None:
    world.store.held = asyncio.Event()
    asked = world.ask()
    await world.pass_time()
    await world.reads.close()
    await _settle()
    assert isinstance(asked.exception(), ProviderError)
