"""Hints: storms coalesce, and who gave one learns when it was followed."""

import asyncio

import pytest

from support.clock import FakeClock
from syncret.api.keys import ObjectKey
from syncret.hints import GAP, Hints

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
    assert bed.asked == [(KEY, 0.0), (KEY, pytest.approx(GAP))]
    bed.hints.give(OTHER)
    assert bed.asked[-1] == (OTHER, 0.0)


def test_looks_are_a_gap_apart_for_as_long_as_it_storms(bed: Bed) -> None:
    for _ in range(100):
        bed.hints.give(KEY)
        bed.clock.advance(GAP / 10)
    times = len(bed.asked)
    assert 10 <= times <= 12
    bed.clock.advance(10 * GAP)
    bed.hints.give(KEY)
    assert bed.asked[-1] == (KEY, 0.0)


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
