"""When periodic refreshes, or rollouts, are allowed: windows, in their time zones. Pure.

With windows of the kind Allow, it is done only in one of them; in a window of the kind Deny, never.
A window begins when its schedule says so on the clocks of its time zone, and lasts for its duration
in real time, its end excluded.

Where clocks change, as in Debian's cron: a time that is left out is made up for when the clocks
have changed, one that comes twice counts the first time. The library's own look back does not see
a time that comes twice, so near such a change starts are looked for in the wider surroundings.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from cronsim import CronSim

from syncret.api.window import SyncWindow, time_zone

#: Edges of windows that one look goes past. Minutely windows have more; it is looked again, then.
_MOST_EDGES: Final = 32

#: Seconds around a change of clocks in which what the library says is not relied on.
_NEAR: Final = 3 * 3600.0


def open_at(windows: Sequence[SyncWindow], when: float) -> bool:
    """Whether it is allowed at a time, in wall seconds."""
    allowing = [window for window in windows if window.allow]
    if allowing and not any(_within(window, when) for window in allowing):
        return False
    return not any(_within(window, when) for window in windows if not window.allow)


def opening_after(windows: Sequence[SyncWindow], when: float) -> float:
    """The first time, not before ``when``, at which it is allowed; infinite if none comes.

    Or a time before which it is not, at which to look again.
    """
    if open_at(windows, when):
        return when
    at = when
    for _ in range(_MOST_EDGES):
        at = min((_next_edge(window, at) for window in windows), default=float("inf"))
        if at == float("inf") or open_at(windows, at):
            return at
    return at


def _within(window: SyncWindow, when: float) -> bool:
    start = _start_before(window, when)
    return start is not None and when < start + window.duration


def _next_edge(window: SyncWindow, when: float) -> float:
    """When a time of the window next begins or ends, after ``when``."""
    last = _start_before(window, when)
    ends = last + window.duration if last is not None else float("-inf")
    begins = _start_after(window, when)
    edges = [edge for edge in (ends, begins) if edge is not None and edge > when]
    return min(edges, default=float("inf"))


def _start_before(window: SyncWindow, when: float) -> float | None:
    """When a time of the window last began, at ``when`` at the latest."""
    second = float(int(when)) + 1.0
    begin = second + _NEAR if _clocks_change(window, second) else second
    for start in _starts(window, begin, reverse=True):
        if start <= when:
            return start
    return None


def _start_after(window: SyncWindow, when: float) -> float | None:
    begin = when - _NEAR if _clocks_change(window, when) else when
    for start in _starts(window, begin, reverse=False):
        if start > when:
            return start
    return None


def _starts(window: SyncWindow, begin: float, *, reverse: bool) -> Iterator[float]:
    zone = time_zone(window.time_zone)
    found = CronSim(window.schedule, datetime.fromtimestamp(begin, zone), reverse=reverse)
    # Minutely ones that are passed over: three hours on both sides, and the hour that comes twice.
    return (start.timestamp() for start in islice(found, 500))


def _clocks_change(window: SyncWindow, when: float) -> bool:
    minute, hour, *_ = window.schedule.split()
    if minute.startswith("*") or hour.startswith("*"):
        return False  # the library goes through these in real time
    zone = time_zone(window.time_zone)
    before, after = (
        datetime.fromtimestamp(when + shift, zone).utcoffset() for shift in (-_NEAR, _NEAR)
    )
    return before != after
