"""The work queue: which object is reconciled next.

A key is waiting in one place at most, however often it is added, and is never handed to two
workers at once: added while it runs, it runs once more afterwards. Keys with a delay lie in a heap
until they are due and then join the lane of their priority. The urgent lane (new and changed
objects) goes first, but one take in :data:`FAIR_SHARE` serves the periodic lane, so that a storm
of edits slows refreshes instead of stopping them.

A worker that takes a key answers for everything that was asked of it before: an older, later-due
entry of the same key is dropped with the take, because the reconcile says anew when it wants to
run again.

Refused: ``asyncio.PriorityQueue`` (no deduplication, no delay), and one timer task per key (50,000
tasks and their memory, where one timer for the earliest entry does).
"""

import asyncio
import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Hashable
from enum import IntEnum
from typing import Final, Generic, TypeVar

from syncret.clock import Clock, TimerHandle

K = TypeVar("K", bound=Hashable)

#: While both lanes have work, one take of this many comes from the periodic lane.
FAIR_SHARE: Final = 8


class Priority(IntEnum):
    """The lanes, most urgent first."""

    URGENT = 0
    PERIODIC = 1


class QueueClosed(Exception):
    """The queue was closed: the worker that waits on it ends."""


class Queue(Generic[K]):
    """A keyed, deduplicating, delaying queue for one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Ordered dictionaries, because a key leaves the middle of a lane when it becomes urgent.
        self._lanes: dict[Priority, OrderedDict[K, None]] = {
            lane: OrderedDict() for lane in Priority
        }
        self._ready: dict[K, Priority] = {}
        self._delayed: dict[K, tuple[float, Priority, int]] = {}
        # Entries are dropped lazily: one counts only while _delayed still holds its number.
        self._heap: list[tuple[float, int, K]] = []
        self._numbers = itertools.count()
        self._running: set[K] = set()
        self._again: dict[K, tuple[float, Priority]] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: TimerHandle | None = None
        self._timer_due = float("inf")
        self._takes = 0
        self._closed = False

    def add(self, key: K, *, priority: Priority = Priority.URGENT, delay: float = 0.0) -> None:
        """Asks for the key to be run once ``delay`` seconds have passed.

        The earliest of several requests wins; of two that are due, the more urgent.
        """
        if self._closed:
            return
        due = self._clock.monotonic() + delay if delay > 0 else 0.0
        if key in self._running:
            known = self._again.get(key)
            self._again[key] = _earlier(known, (due, priority)) if known else (due, priority)
        else:
            self._put(key, due=due, priority=priority)

    async def take(self) -> K:
        """Waits for the next key and marks it as running, until :meth:`done` is called for it.

        Raises :class:`QueueClosed` when the queue is closed.
        """
        while True:
            if self._closed:
                raise QueueClosed
            self._promote()
            lane = self._next_lane()
            if lane is not None:
                return self._pop(lane)
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # the wake-up that this worker cannot use goes to another
                else:
                    self._waiters.remove(waiter)
                raise

    def done(self, key: K) -> None:
        """Ends the run of a key; what was asked of it meanwhile joins the queue."""
        self._running.discard(key)
        again = self._again.pop(key, None)
        if again is not None and not self._closed:
            self._put(key, due=again[0], priority=again[1])

    def forget(self, key: K) -> None:
        """Drops what is waiting for a key. A run in progress goes on."""
        self._delayed.pop(key, None)
        self._again.pop(key, None)
        lane = self._ready.pop(key, None)
        if lane is not None:
            del self._lanes[lane][key]

    def close(self) -> None:
        """Ends every :meth:`take`, now and later. Runs in progress go on."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._waiters:
            self._wake()

    @property
    def closed(self) -> bool:
        return self._closed

    def depth(self) -> dict[str, int]:
        """How many keys wait in each lane, are delayed, and run."""
        return {
            **{lane.name.lower(): len(keys) for lane, keys in self._lanes.items()},
            "delayed": len(self._delayed),
            "running": len(self._running),
        }

    def _put(self, key: K, *, due: float, priority: Priority) -> None:
        if due <= self._clock.monotonic():
            self._delayed.pop(key, None)
            lane = self._ready.get(key)
            if lane is not None and lane <= priority:
                return
            if lane is not None:
                del self._lanes[lane][key]
            self._ready[key] = priority
            self._lanes[priority][key] = None
            self._wake()
            return
        if key in self._ready:
            return
        known = self._delayed.get(key)
        if known is not None and known[:2] == _earlier(known[:2], (due, priority)):
            return
        number = next(self._numbers)
        self._delayed[key] = (due, priority, number)
        heapq.heappush(self._heap, (due, number, key))
        if len(self._heap) > 2 * len(self._delayed) + 64:
            self._compact()
        self._arm()

    def _promote(self) -> None:
        """Moves what is due from the heap to its lane, and arms the timer for what is not."""
        now = self._clock.monotonic()
        while self._heap and (self._heap[0][0] <= now or not self._counts(self._heap[0])):
            entry = heapq.heappop(self._heap)
            if self._counts(entry):
                due, priority, _ = self._delayed[entry[2]]
                self._put(entry[2], due=due, priority=priority)
        self._arm()

    def _arm(self) -> None:
        if not self._heap or self._closed:
            return
        due = self._heap[0][0]
        if self._timer is not None and self._timer_due <= due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._clock.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_due = None, float("inf")
        self._promote()

    def _counts(self, entry: tuple[float, int, K]) -> bool:
        known = self._delayed.get(entry[2])
        return known is not None and known[2] == entry[1]

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if self._counts(entry)]
        heapq.heapify(self._heap)

    def _next_lane(self) -> Priority | None:
        busy = [lane for lane in Priority if self._lanes[lane]]
        if not busy:
            return None
        fair = self._takes % FAIR_SHARE == FAIR_SHARE - 1
        return busy[-1] if fair else busy[0]

    def _pop(self, lane: Priority) -> K:
        self._takes += 1
        key, _ = self._lanes[lane].popitem(last=False)
        del self._ready[key]
        self._delayed.pop(key, None)
        self._running.add(key)
        return key

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


def _earlier(one: tuple[float, Priority], other: tuple[float, Priority]) -> tuple[float, Priority]:
    """The earlier due; of two that are due at once (0.0 is now), the more urgent."""
    return min(one, other)
