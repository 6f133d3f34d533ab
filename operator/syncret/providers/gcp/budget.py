"""How many reads of metadata are made to save reads of values. Pure.

Reading the metadata of a version costs nothing, and reading its value $0.03 for 10,000. But a
project has 600 reads of metadata in a minute, which Terraform, consoles and other operators need as
well, and 90,000 reads of values. So metadata are read as far as :data:`PER_MINUTE` reaches, and
values beyond it:

- 1,000 secrets every hour are 17 a minute: all refreshes are free, $2.16 a month are saved.
- 1,000 secrets every minute: 180 of them are free and 820 paid, $106 instead of $130 a month.

The calls that tell times and labels (:mod:`syncret.providers.gcp.facts`) come out of it as well.

Each process has this budget for each project, so three replicas stay below the quota together. If
it is exceeded all the same, Secret Manager says so, and metadata are left alone for :data:`PAUSE`
seconds: nothing fails for want of what was only to save money.
"""

from collections.abc import Callable
from typing import Final

#: Reads of metadata in a minute, and how many of them may come at once.
PER_MINUTE: Final = 180
BURST: Final = 60

#: Seconds without, after the quota was exceeded: quotas are counted by the minute.
PAUSE: Final = 60.0


class Budget:
    """A token bucket that does not wait. ``now``: seconds of a monotonic clock."""

    def __init__(
        self, now: Callable[[], float], *, per_minute: int = PER_MINUTE, burst: int = BURST
    ) -> None:
        self._now = now
        self._rate = per_minute / 60
        self._burst = float(burst)
        self._left = float(burst)
        self._at = now()
        self._paused_until = float("-inf")

    def take(self) -> bool:
        """Whether one more read may be made now; it is counted then."""
        self._fill()
        if self._left < 1 or self._now() < self._paused_until:
            return False
        self._left -= 1
        return True

    def spend(self) -> None:
        """Counts a read that has to be made."""
        self._fill()
        self._left = max(-self._burst, self._left - 1)

    def pause(self) -> None:
        """The quota is exceeded."""
        self._paused_until = self._now() + PAUSE

    def _fill(self) -> None:
        now = self._now()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
