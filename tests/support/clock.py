"""A clock that only moves when a test says so."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class _Timer:
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class FakeClock:
    """Monotonic time starts at 1,000 s, wall time in 2026. Timers fire in ``advance``."""

    now: float = 1000.0
    epoch: float = 1_790_000_000.0
    _timers: list[tuple[float, int, _Timer]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.epoch + self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> _Timer:
        timer = _Timer(callback)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    @property
    def due(self) -> float | None:
        """When the next timer fires; None if there is none."""
        return min((when for when, _, timer in self._timers if not timer.cancelled), default=None)

    def advance(self, seconds: float) -> None:
        """Moves on, firing every timer at its time."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not timer.cancelled:
                timer.callback()
        self.now = end
