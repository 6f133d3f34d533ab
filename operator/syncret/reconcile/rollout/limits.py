"""How often a workload is restarted at most, and how many roll in the whole cluster.

Health alone is no limit: new data is worth a restart of a workload that is still rolling, because
it may be what mends it. So two that fight over one value, or a store that rotates every second,
would make a ReplicaSet each time (80,000 of them were seen elsewhere). The first restarts are free,
and then each has to wait twice as long as the one before; a quiet hour makes them free again.

The history is this process's. What a process before it did is known by the time of the last
restart, which the API server notes: it keeps a process that crashes in a loop from restarting
anything faster than :data:`FLOOR`.
"""

from collections.abc import Iterable
from typing import Final

from syncret.api.health import Health
from syncret.api.workload import Workload

#: Restarts that need not wait for each other, but for the floor.
FREE: Final = 3
#: Seconds that the next one waits; doubled with each further one, up to the most. That is 288
#: restarts a day for what never comes to rest, and the longest that the last value waits, which
#: may be the only one that still lets in.
GAP: Final = 30.0
MOST: Final = 300.0
#: Seconds between any two.
FLOOR: Final = 1.0
#: Seconds after which a restart does not count any more.
QUIET: Final = 3600.0

#: Seconds after a restart that could not be made, doubled with each further one up to the most.
RETRY: Final = 1.0
RETRY_MOST: Final = 300.0

#: Workloads whose history is kept.
_KEPT: Final = 10_000


class RollHistory:
    """When workloads were restarted by this process, by their uid. Times in wall seconds."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}
        #: How often in a row it could not be restarted, and when that was last.
        self._failures: dict[str, tuple[int, float]] = {}

    def failed(self, uid: str, now: float) -> None:
        """One could not be restarted."""
        failures, _ = self._failures.pop(uid, (0, 0.0))
        self._failures[uid] = (failures + 1, now)
        if len(self._failures) > _KEPT:
            del self._failures[next(iter(self._failures))]

    def written(self, uid: str) -> None:
        """One could be written, whether or not that is a restart."""
        self._failures.pop(uid, None)

    def rolled(self, uid: str, now: float) -> None:
        """One was restarted."""
        self.written(uid)
        times = [*self._recent(uid, now), now]
        self._times.pop(uid, None)
        self._times[uid] = times[-64:]
        if len(self._times) > _KEPT:
            del self._times[next(iter(self._times))]

    def earliest(self, workload: Workload, now: float) -> float:
        """When it may be restarted again."""
        times = self._recent(workload.uid, now)
        last = times[-1] if times else workload.rolled_at
        if last > now:  # another clock
            last = now if times else 0.0
        gap = FLOOR
        if len(times) >= FREE:
            gap = min(MOST, GAP * 2.0 ** min(len(times) - FREE, 30))
        return max(last + gap, self.retry(workload.uid))

    def retry(self, uid: str) -> float:
        """When one that could not be written may be tried again; 0: nothing failed."""
        failures, at = self._failures.get(uid, (0, 0.0))
        return at + min(RETRY_MOST, RETRY * 2.0 ** min(failures - 1, 30)) if failures else 0.0

    def _recent(self, uid: str, now: float) -> list[float]:
        return [time for time in self._times.get(uid, ()) if time > now - QUIET]


def rolling_now(workloads: Iterable[Workload], *, now: float, timeout: float) -> int:
    """How many of these roll because of us; one that has taken longer counts no more."""
    return sum(
        one.health is Health.ROLLING and not one.held and one.rolled_at > now - timeout
        for one in workloads
    )
