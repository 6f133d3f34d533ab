"""A store is asked no more often than it takes, and not at all while it is dead."""

import asyncio

import pytest

from support.clock import FakeClock
from syncret.errors import (
    AccessDenied,
    KeyNotFound,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    StoreInvalid,
    SyncretError,
    Throttled,
)
from syncret.reconcile.limits import TRIP_AFTER, Breaker, Rate


async def _takes_at(rate: Rate, clock: FakeClock, count: int, *, step: float = 0.1) -> list[float]:
    """When each of so many calls got through, in seconds from now."""
    start = clock.now
    times: list[float] = []

    async def one() -> None:
        await rate.take()
        times.append(round(clock.now - start, 3))

    tasks = [asyncio.create_task(one()) for _ in range(count)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        clock.advance(step)
    return times


async def test_a_burst_and_then_the_rate() -> None:
    clock = FakeClock()
    times = await _takes_at(Rate(clock, rate=2.0, burst=3), clock, 7)
    assert times[:3] == [0.0, 0.0, 0.0]
    assert times[3:] == pytest.approx([0.5, 1.0, 1.5, 2.0], abs=0.11)


async def test_a_pause_holds_for_as_long_as_it_was_asked_for() -> None:
    clock = FakeClock()
    rate = Rate(clock, rate=100.0, burst=10)
    rate.pause(Throttled("Slower.", retry_after=7.0))
    rate.refuse(7.0)
    with pytest.raises(Throttled, match="Slower") as caught:
        rate.refuse(6.9)
    assert caught.value.retry_after == 7.0
    times = await _takes_at(rate, clock, 1)
    assert times[0] >= 7.0


async def test_pauses_without_a_length_grow_until_a_call_goes_well() -> None:
    clock = FakeClock()
    rate = Rate(clock, rate=1.0, burst=1)
    pauses = []
    for number in range(8):
        if number == 7:
            rate.went_well()
        rate.pause(Throttled("Slower."))
        pauses.append(rate._paused_until - clock.now)
        clock.advance(pauses[-1])
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 1.0]


def test_failures_in_a_row_open_the_breaker_and_one_success_starts_the_count_anew() -> None:
    breaker = Breaker()
    down = ProviderUnavailable("Down.")
    for _ in range(TRIP_AFTER - 1):
        assert not breaker.failed(down)
    breaker.reset()
    for _ in range(TRIP_AFTER - 1):
        assert not breaker.failed(down)
    assert not breaker.open
    assert breaker.failed(down), "it opens now, and says so once"
    assert not breaker.failed(ProviderTimeout("Slow."))
    with pytest.raises(ProviderUnavailable, match="Down") as one:
        breaker.refuse()
    with pytest.raises(ProviderUnavailable) as other:
        breaker.refuse()
    assert one.value is not other.value
    breaker.reset()
    breaker.refuse()


@pytest.mark.parametrize("error", [AccessDenied("No."), StoreInvalid("No.")])
def test_what_no_retry_helps_against_opens_it_at_once(error: SyncretError) -> None:
    breaker = Breaker()
    assert breaker.failed(error) or breaker.trip(error)
    assert breaker.open


@pytest.mark.parametrize("error", [KeyNotFound("No such key."), ProviderRejected("Malformed.")])
def test_the_trouble_of_one_key_is_not_the_stores(error: SyncretError) -> None:
    breaker = Breaker()
    for _ in range(10 * TRIP_AFTER):
        assert not breaker.failed(error)
    assert not breaker.open


def test_a_store_is_doubtful_until_it_answers_and_after_a_failure() -> None:
    breaker, slow = Breaker(), ProviderTimeout("Slow.")
    said = [breaker.answers]
    for happens in (
        breaker.reset,
        lambda: breaker.failed(slow),
        breaker.reset,
        lambda: breaker.failed(ProviderRejected("Says nothing about the store.")),
        lambda: breaker.trip(slow),
    ):
        happens()
        said.append(breaker.answers)
    assert said == [False, True, False, True, True, False]
