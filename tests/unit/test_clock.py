"""Time as Kubernetes writes it, and timers on the machine's clock."""

import asyncio
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import FakeClock
from syncret.clock import SystemClock, rfc3339, sleep


@pytest.mark.parametrize(
    ("wall", "text"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (1_790_000_000.999, "2026-09-21T14:13:20Z"),
        (1_709_164_800.0, "2024-02-29T00:00:00Z"),
    ],
)
def test_whole_seconds_in_utc(wall: float, text: str) -> None:
    assert rfc3339(wall) == text


@given(st.integers(0, 253_402_300_799))  # until the end of 9999
def test_what_is_written_is_the_time(wall: int) -> None:
    assert datetime.fromisoformat(rfc3339(wall)) == datetime.fromtimestamp(wall, UTC)


def test_the_machines_clocks() -> None:
    clock = SystemClock()
    assert abs(clock.wall() - time.time()) < 5
    assert clock.monotonic() <= clock.monotonic()


async def test_a_timer_calls_back_when_it_is_due_and_not_before() -> None:
    clock, called = SystemClock(), asyncio.Event()
    due = clock.monotonic() + 0.005
    clock.call_at(due, called.set)
    await asyncio.wait_for(called.wait(), 5)
    assert clock.monotonic() >= due - 0.002  # the loop's resolution


async def test_one_that_is_late_already_is_called_soon_and_not_at_once() -> None:
    clock, called = SystemClock(), asyncio.Event()
    clock.call_at(clock.monotonic() - 60, called.set)
    assert not called.is_set()
    await asyncio.wait_for(called.wait(), 5)


async def test_a_cancelled_timer_does_not_call() -> None:
    clock, called, later = SystemClock(), asyncio.Event(), asyncio.Event()
    clock.call_at(clock.monotonic() + 0.001, called.set).cancel()
    clock.call_at(clock.monotonic() + 0.003, later.set)
    await asyncio.wait_for(later.wait(), 5)
    assert not called.is_set()


async def test_sleeping_is_by_the_given_clock(clock: FakeClock) -> None:
    sleeper = asyncio.create_task(sleep(clock, 3600))
    await asyncio.sleep(0)
    clock.advance(3599)
    await asyncio.sleep(0)
    assert not sleeper.done()
    clock.advance(1)
    await asyncio.wait_for(sleeper, 5)


async def test_a_sleeper_that_is_cancelled_is_not_woken(clock: FakeClock) -> None:
    sleeper = asyncio.create_task(sleep(clock, 1))
    await asyncio.sleep(0)
    sleeper.cancel()
    await asyncio.wait([sleeper])
    clock.advance(1)
    assert sleeper.cancelled()
