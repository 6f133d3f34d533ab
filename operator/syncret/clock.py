"""Time as a parameter, so that a day of refreshes runs in milliseconds under test.

Two kinds of time are kept apart. *Monotonic* seconds measure delays and durations and never jump.
*Wall* seconds (since the epoch) place refresh slots and status times, which have to mean the same
after a restart on another machine.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class TimerHandle(Protocol):
    """A callback that is due later, until it is cancelled."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """What the engine knows of time."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        ...

    def wall(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        """Calls back in the event loop's thread when ``monotonic()`` has reached ``when``."""
        ...


class SystemClock:
    """The machine's clocks and the running event loop's timers."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        # The loop's own clock may have another origin than time.monotonic() (uvloop caches it).
        return asyncio.get_running_loop().call_later(max(0.0, when - time.monotonic()), callback)


async def sleep(clock: Clock, seconds: float) -> None:
    """Waits that long by the clock."""
    awake = asyncio.get_running_loop().create_future()
    timer = clock.call_at(
        clock.monotonic() + seconds, lambda: None if awake.done() else awake.set_result(None)
    )
    try:
        await awake
    finally:
        timer.cancel()


def rfc3339(wall: float) -> str:
    """A wall time as Kubernetes writes it: UTC, whole seconds, "Z"."""
    return datetime.fromtimestamp(int(wall), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str) -> float:
    """The wall seconds of such a time; 0 for anything else."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
