"""Hints: storms coalesce, and who gave one learns when it was followed."""

import asyncio

import pytest

from support.clock import FakeClock
from syncret.api.keys import ObjectKey
from syncret.hints import GAP, Hints
from syncret.queue import Queue

KEY = ObjectKey("ExternalSecret", "shop", "db")
OTHER = KEY._replace(name="other")


class Bed:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.asked: list[tuple[ObjectKey, float]] = []
        self.hints = Hints(self.clock, enqueue=lambda *asked: self.asked.append(asked))


@pytest.fixture
def bed() -> Bed:
    return Bed()


def test_the_first_is_followed_at_once_and_a_storm_once_more_after_a_while(bed: Bed) -> None:
    numbers = [bed.hints.give(KEY) for _ in range(1000)]
    assert numbers == list(range(1, 1001))
    assert bed.asked == [(KEY, 0.0)], "one round for all of them"
    assert bed.hints.begin(KEY) == 1000
    for _ in range(1000):
        bed.hints.give(KEY)
    assert bed.asked == [(KEY, 0.0), (KEY, pytest.approx(GAP))]
    bed.hints.give(OTHER)
    assert bed.asked[-1] == (OTHER, 0.0)


async def test_looks_are_a_gap_apart_for_as_long_as_it_storms(bed: Bed) -> None:
    queue: Queue[ObjectKey] = Queue(bed.clock)
    hints = Hints(bed.clock, enqueue=lambda key, delay: queue.add(key, delay=delay))
    looks = 0
    for _ in range(100):
        hints.give(KEY)
        looks += await run(queue, hints) > 0
        bed.clock.advance(GAP / 10)
    assert 10 <= looks <= 12
    bed.clock.advance(10 * GAP)
    hints.give(KEY)
    assert await run(queue, hints) == 101


async def run(queue: Queue[ObjectKey], hints: Hints) -> int:
    """A round of what is ready, if anything is; the last hint that it knows."""
    if queue.depth()["urgent"] == 0:
        return 0
    key = await queue.take()
    number = hints.begin(key)
    hints.followed(key, number)
    queue.done(key)
    return number


@pytest.mark.parametrize("before", [1, 2, 10])
async def test_the_last_hint_is_always_followed(bed: Bed, before: int) -> None:
    """Also one that comes soon after the round that served several before it."""
    queue: Queue[ObjectKey] = Queue(bed.clock)
    hints = Hints(bed.clock, enqueue=lambda key, delay: queue.add(key, delay=delay))
    for _ in range(before):  # a batch of messages, before any worker had its turn
        hints.give(KEY)
    assert await run(queue, hints) == before
    bed.clock.advance(GAP / 3)
    last = hints.give(KEY)
    assert await run(queue, hints) == 0, "not before its time"
    bed.clock.advance(GAP)
    assert await run(queue, hints) == last


async def test_a_hint_during_a_round_is_followed_by_another(bed: Bed) -> None:
    queue: Queue[ObjectKey] = Queue(bed.clock)
    hints = Hints(bed.clock, enqueue=lambda key, delay: queue.add(key, delay=delay))
    first = hints.give(KEY)
    await queue.take()
    assert hints.begin(KEY) == first
    last = hints.give(KEY)
    hints.followed(KEY, first)
    queue.add(KEY, delay=3600.0)  # the next by the clock
    queue.done(KEY)
    bed.clock.advance(GAP)
    assert await run(queue, hints) == last


async def test_who_waits_is_told_when_a_round_that_knew_has_ended(bed: Bed) -> None:
    first, second = bed.hints.give(KEY), bed.hints.give(KEY)
    early = asyncio.create_task(bed.hints.wait([(KEY, first)], timeout=5))
    late = asyncio.create_task(bed.hints.wait([(KEY, second)], timeout=5))
    await asyncio.sleep(0)
    bed.hints.followed(KEY, first)
    assert await early
    assert not late.done()
    bed.hints.followed(KEY, second)
    assert await late
    assert await bed.hints.wait([(KEY, second)], timeout=5), "it was followed before"


async def test_nobody_waits_for_ever_or_for_what_is_gone(bed: Bed) -> None:
    assert await bed.hints.wait([], timeout=0)
    given = bed.hints.give(KEY)
    assert not await bed.hints.wait([(KEY, given)], timeout=0.01)
    waiting = asyncio.create_task(bed.hints.wait([(KEY, given)], timeout=5))
    await asyncio.sleep(0)
    bed.hints.forget(KEY)
    assert await waiting
    assert bed.hints.number(KEY) == 0
    assert await bed.hints.wait([(KEY, given)], timeout=5)
