"""So many calls in a second, and a few of them at once.

The engine counts what it asks a client for. Where that takes more calls than one, because one
parameter of ten may not be read, a quota that a whole account shares is not to be used up by it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable


class Pace:
    """Turns for calls; used from one event loop."""

    def __init__(
        self,
        rate: float,
        *,
        burst: int,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``rate``: calls in a second on average; ``burst``: how many at once after a pause."""
        self._every = 1.0 / rate
        self._ahead = burst * self._every
        self._monotonic = monotonic
        self._sleep = sleep
        self._next = 0.0

    async def turn(self) -> None:
        """Waits until one more call may begin."""
        now = self._monotonic()
        self._next = max(self._next, now - self._ahead) + self._every
        if self._next > now:
            await self._sleep(self._next - now)
