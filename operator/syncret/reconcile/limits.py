"""What keeps one store from being asked too much: a rate, and a breaker.

Both belong to one store and are used from one event loop; time is passed in.
"""

import copy
from typing import Final

from syncret.clock import Clock, sleep
from syncret.errors import (
    AccessDenied,
    KubeError,
    ProviderTimeout,
    ProviderUnavailable,
    StoreError,
    SyncretError,
    Throttled,
)

#: Failed calls in a row, with none that went well between them, after which a store counts as dead.
TRIP_AFTER: Final = 3

#: Seconds that a store is left alone that asks for fewer requests without saying for how long;
#: doubled each time in a row, at most the second.
_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


class Rate:
    """A token bucket: ``rate`` calls per second on average, ``burst`` at once.

    A store that throttles pauses the bucket for as long as it asks.
    """

    def __init__(self, clock: Clock, *, rate: float, burst: int) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = clock.monotonic()
        self._paused_until = 0.0
        self._throttled = 0
        self._message = ""

    async def take(self) -> None:
        """Waits until one more call may be made."""
        while (wait := self._try()) > 0:
            await sleep(self._clock, wait)

    def pause(self, error: Throttled) -> None:
        """Lets no call through for as long as the store asks.

        If it does not say how long, for longer each time in a row.
        """
        self._throttled += 1
        seconds = error.retry_after
        if seconds is None:
            seconds = min(_LONGEST_PAUSE, _PAUSE * 2.0 ** (self._throttled - 1))
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)
        self._message = error.message

    def refuse(self, longest: float) -> None:
        """Raises Throttled if the pause lasts for more than so many seconds: nobody waits then."""
        left = self._paused_until - self._clock.monotonic()
        if left > longest:
            raise Throttled(self._message, retry_after=left)

    def went_well(self) -> None:
        """A call was answered: the next pause is a short one again."""
        self._throttled = 0

    def _try(self) -> float:
        """Takes a token; the seconds to wait for one if there is none."""
        now = self._clock.monotonic()
        if now < self._paused_until:
            return self._paused_until - now
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._rate


class Breaker:
    """Whether a store is worth asking.

    It opens after :data:`TRIP_AFTER` calls in a row that failed as a whole, and at once when the
    store cannot even be opened. While it is open its readers fail with what it was opened by,
    without a call. It does not close by the clock: a check of the store does that, a single call
    where ten thousand readers would make as many.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._error: SyncretError | None = None
        #: The last that was heard of the store was good.
        self.answers = False
        #: Calls that went well, to see whether there were any since one last looked.
        self.successes = 0

    @property
    def open(self) -> bool:
        return self._error is not None

    def refuse(self) -> None:
        """Raises what the store failed with, while it is open."""
        if self._error is not None:
            # A copy: whoever raises one writes a traceback into it.
            raise copy.copy(self._error).with_traceback(None)

    def failed(self, error: SyncretError) -> bool:
        """A call failed as a whole. True if the breaker opens by it."""
        if self.open or not store_wide(error):
            return False
        self.answers = False
        self._failures += 1
        if isinstance(error, AccessDenied) or self._failures >= TRIP_AFTER:
            return self.trip(error)
        return False

    def trip(self, error: SyncretError) -> bool:
        """Opens it. True if it was closed."""
        self.answers = False
        was_open, self._error = self.open, error.with_traceback(None)
        return not was_open

    def reset(self) -> None:
        """A call went well, or a check did: closed."""
        self._failures = 0
        self._error = None
        self.answers = True
        self.successes += 1


def store_wide(error: SyncretError) -> bool:
    """Whether an error that ended a whole call says something about the store, not about a key."""
    return isinstance(
        error,
        AccessDenied | Throttled | ProviderTimeout | ProviderUnavailable | StoreError | KubeError,
    )
