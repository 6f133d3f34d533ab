"""The work queue: which object is reconciled next.

A key is waiting in one place at most, however often it is added, and is never handed to two
workers at once: added while it runs, it runs once more afterwards. Keys with a delay lie in a heap
until they are due and then join the lane of their priority. More urgent lanes go first, but one
take in :data:`FAIR_SHARE` serves the least urgent one, so that a storm of edits slows refreshes
instead of stopping them; and a part of the workers takes no refreshes at all, so that refreshes
that wait for something never hold up an edit.

Keys belong to groups (those that read from one store), to several where they read from several. In
a lane, groups take turns, and no group has more than its limit of runs at the same time: a store
with ten thousand readers, or one that hangs, leaves the workers to the others. Doubtful groups (of
a store that has not answered yet, or not the last time) have a lower limit, each and together.
Within a group tenants (namespaces) take turns, so that what one of them floods a store with keeps
no other waiting.

A worker that takes a key answers for everything that was asked of it before: an older, later-due
entry of the same key is dropped with the take, because the reconcile says anew when it wants to
run again.

Refused: ``asyncio.PriorityQueue`` (no deduplication, no delay), and one timer task per key (50,000
tasks and their memory, where one timer for the earliest entry does).
"""

import asyncio
import heapq
import itertools
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from enum import IntEnum
from typing import Final, Generic, NamedTuple, TypeVar

from syncret.clock import Clock, TimerHandle

K = TypeVar("K", bound=Hashable)

#: The groups of one key, each once.
Groups = tuple[Hashable, ...]

#: While several lanes have work, one take of this many comes from the least urgent of them.
FAIR_SHARE: Final = 8

_UNLIMITED: Final = 1 << 30


class Priority(IntEnum):
    """The lanes, most urgent first."""

    URGENT = 0  # new or edited
    FORCED = 1  # asked for by a person, or because something it depends on changed
    PERIODIC = 2


class QueueClosed(Exception):
    """The queue was closed: the worker that waits on it ends."""


class _Wish(NamedTuple):
    """What is asked for a key: from when on, how urgently, and since when (monotonic seconds).

    ``due`` is 0.0 for at once, so that wishes compare by what has to come first.
    """

    due: float
    priority: Priority
    since: float

    def and_(self, other: "_Wish | None") -> "_Wish":
        """Both in one: the earlier due; of two that are due at once, the more urgent.

        It is as new as the newer of them, because the run has to answer both.
        """
        if other is None:
            return self
        first = min(self, other)
        return first._replace(since=max(self.since, other.since))


class _Lane(Generic[K]):
    """The keys of one priority that are ready; their groups take turns, and in them tenants."""

    __slots__ = ("_groups", "_sizes", "size")

    def __init__(self) -> None:
        self._groups: OrderedDict[Groups, OrderedDict[Hashable, OrderedDict[K, None]]]
        self._groups = OrderedDict()
        #: Of each single group.
        self._sizes: Counter[Hashable] = Counter()
        self.size = 0

    def add(self, key: K, groups: Groups, tenant: Hashable) -> None:
        tenants = self._groups.setdefault(groups, OrderedDict())
        tenants.setdefault(tenant, OrderedDict())[key] = None
        self._sizes.update(groups)
        self.size += 1

    def remove(self, key: K, groups: Groups, tenant: Hashable) -> None:
        tenants = self._groups[groups]
        del tenants[tenant][key]
        if not tenants[tenant]:
            del tenants[tenant]
        if not tenants:
            del self._groups[groups]
        _subtract(self._sizes, groups)
        self.size -= 1

    def ready(self, group: Hashable) -> int:
        return self._sizes[group]

    def next(self, admits: Callable[[Groups], bool]) -> K | None:
        """The key whose turn it is; groups that are not admitted keep their turn."""
        for groups, tenants in self._groups.items():
            if admits(groups):
                tenant, keys = next(iter(tenants.items()))
                tenants.move_to_end(tenant)
                self._groups.move_to_end(groups)
                return next(iter(keys))
        return None


class _Ready(NamedTuple):
    """Where a key waits."""

    lane: Priority
    groups: Groups
    tenant: Hashable
    since: float


class Queue(Generic[K]):
    """A keyed, deduplicating, delaying queue for one event loop."""

    def __init__(
        self,
        clock: Clock,
        *,
        groups_of: Callable[[K], Groups] = lambda _: (None,),
        tenant_of: Callable[[K], Hashable] = lambda _: None,
        group_limit: int = _UNLIMITED,
        doubtful: Callable[[Hashable], bool] = lambda _: False,
        doubtful_limit: int = _UNLIMITED,
        doubtful_limit_together: int = _UNLIMITED,
        periodic_limit: int = _UNLIMITED,
    ) -> None:
        """``groups_of`` is asked when a key becomes ready. Limits are of runs at the same time."""
        self._tenant_of = tenant_of
        self._doubtful = doubtful
        self._doubtful_limit = doubtful_limit
        self._doubtful_limit_together = doubtful_limit_together
        self._clock = clock
        self._groups_of = groups_of
        self._group_limit = group_limit
        self._periodic_limit = periodic_limit
        self._lanes: dict[Priority, _Lane[K]] = {lane: _Lane() for lane in Priority}
        self._ready: dict[K, _Ready] = {}
        self._delayed: dict[K, tuple[_Wish, int]] = {}
        # Entries are dropped lazily: one counts only while _delayed still holds its number.
        self._heap: list[tuple[float, int, K]] = []
        self._numbers = itertools.count()
        self._running: dict[K, _Ready] = {}
        self._running_groups: Counter[Hashable] = Counter()
        self._running_periodic = 0
        self._again: dict[K, _Wish] = {}
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
        now = self._clock.monotonic()
        wish = _Wish(now + delay if delay > 0 else 0.0, priority, now + max(0.0, delay))
        if key in self._running:
            self._again[key] = wish.and_(self._again.get(key))
        else:
            self._put(key, wish)

    async def take(self) -> K:
        """Waits for the next key and marks it as running, until :meth:`done` is called for it.

        Raises :class:`QueueClosed` when the queue is closed.
        """
        while True:
            if self._closed:
                raise QueueClosed
            self._promote()
            key = self._pop()
            if key is not None:
                return key
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

    def asked_at(self, key: K) -> float:
        """Since when the run in progress of a key was wanted, in monotonic seconds."""
        return self._running[key].since

    def running(self) -> Iterable[K]:
        """The keys that run now."""
        return tuple(self._running)

    def done(self, key: K) -> None:
        """Ends the run of a key; what was asked of it meanwhile joins the queue."""
        run = self._running.pop(key)
        _subtract(self._running_groups, run.groups)
        self._running_periodic -= run.lane is Priority.PERIODIC
        again = self._again.pop(key, None)
        if again is not None and not self._closed:
            self._put(key, again)
        if self._ready:  # what was kept back by a limit may run now
            self._wake()

    def forget(self, key: K) -> None:
        """Drops what is waiting for a key. A run in progress goes on."""
        self._delayed.pop(key, None)
        self._again.pop(key, None)
        self._unready(key)

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

    def crowd(self, group: Hashable) -> int:
        """How many keys of a group are ready to run, refreshes not among them."""
        return sum(
            self._lanes[lane].ready(group) for lane in Priority if lane is not Priority.PERIODIC
        )

    def depth(self) -> dict[str, int]:
        """How many keys wait in each lane, are delayed, and run."""
        return {
            **{lane.name.lower(): keys.size for lane, keys in self._lanes.items()},
            "delayed": len(self._delayed),
            "running": len(self._running),
        }

    def _put(self, key: K, wish: _Wish) -> None:
        ready = self._ready.get(key)
        known = self._delayed.get(key)
        if wish.due > self._clock.monotonic():
            if ready is not None:
                return
            wish = wish.and_(known[0] if known is not None else None)
            if known is not None and wish == known[0]:
                return
            number = next(self._numbers)
            self._delayed[key] = wish, number
            heapq.heappush(self._heap, (wish.due, number, key))
            if len(self._heap) > 2 * len(self._delayed) + 64:
                self._compact()
            self._arm()
            return
        self._delayed.pop(key, None)
        lane, since = wish.priority, wish.since
        if ready is not None:
            lane, since = min(lane, ready.lane), max(since, ready.since)
        if ready is not None and ready.lane is lane:
            self._ready[key] = ready._replace(since=since)
            return
        self._unready(key)
        groups, tenant = self._groups_of(key), self._tenant_of(key)
        self._ready[key] = _Ready(lane, groups, tenant, since)
        self._lanes[lane].add(key, groups, tenant)
        self._wake()

    def _unready(self, key: K) -> None:
        ready = self._ready.pop(key, None)
        if ready is not None:
            self._lanes[ready.lane].remove(key, ready.groups, ready.tenant)

    def _promote(self) -> None:
        """Moves what is due from the heap to its lane, and arms the timer for what is not."""
        now = self._clock.monotonic()
        while self._heap and (self._heap[0][0] <= now or not self._counts(self._heap[0])):
            entry = heapq.heappop(self._heap)
            if self._counts(entry):
                wish, _ = self._delayed[entry[2]]
                self._put(entry[2], wish)
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
        return known is not None and known[1] == entry[1]

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if self._counts(entry)]
        heapq.heapify(self._heap)

    def _pop(self) -> K | None:
        fair = self._takes % FAIR_SHARE == FAIR_SHARE - 1
        for lane in sorted(Priority, reverse=fair):
            if lane is Priority.PERIODIC and self._running_periodic >= self._periodic_limit:
                continue
            found = self._lanes[lane].next(self._admits)
            if found is not None:
                return self._run(found)
        return None

    def _run(self, key: K) -> K:
        self._takes += 1
        ready = self._ready[key]
        self._unready(key)
        self._delayed.pop(key, None)
        self._running[key] = ready
        self._running_groups.update(ready.groups)
        self._running_periodic += ready.lane is Priority.PERIODIC
        return key

    def _admits(self, groups: Groups) -> bool:
        return all(map(self._has_room, groups))

    def _has_room(self, group: Hashable) -> bool:
        running = self._running_groups[group]
        if not self._doubtful(group):
            return running < self._group_limit
        if running >= self._doubtful_limit:
            return False
        together = sum(n for one, n in self._running_groups.items() if self._doubtful(one))
        return together < self._doubtful_limit_together

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


def _subtract(counts: Counter[Hashable], groups: Groups) -> None:
    """Takes one off each; what is 0 then goes, so that what is counted stays few."""
    for group in groups:
        counts[group] -= 1
        if not counts[group]:
            del counts[group]
