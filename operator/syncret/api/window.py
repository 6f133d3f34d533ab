"""Windows: times that begin as a cron schedule says, in a time zone. For refreshes and rollouts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from syncret.duration import parse_duration
from syncret.errors import SpecInvalid

#: Seconds. A shorter window may close before the batch that a refresh waits for is full.
MIN_WINDOW: Final = 60.0
MAX_WINDOW: Final = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class SyncWindow:
    """Times that begin as a cron schedule says, in a time zone, and last ``duration`` seconds.

    ``allow``: what they are for is done in such times; otherwise, it is not.
    """

    allow: bool
    schedule: str
    duration: float
    time_zone: str = "UTC"


def parse_windows(windows: Iterable[Mapping[str, Any]] | None, path: str) -> tuple[SyncWindow, ...]:
    """The windows of a list of the spec at ``path``. Raises SpecInvalid."""
    return tuple(_window(window, f"{path}[{index}]") for index, window in enumerate(windows or ()))


@lru_cache(maxsize=256)
def time_zone(name: str) -> ZoneInfo:
    """Raises SpecInvalid."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the last: the name of a directory
        raise SpecInvalid(
            f'"{name[:80]}" is not a time zone of the IANA database: write one such as '
            "Europe/Berlin, or leave timeZone out for UTC."
        ) from None


def _window(window: Mapping[str, Any], path: str) -> SyncWindow:
    schedule, duration = window["schedule"], parse_duration(window["duration"])
    if not MIN_WINDOW <= duration <= MAX_WINDOW:
        raise SpecInvalid(
            f'{path}.duration is "{window["duration"]}": a window lasts from 1m to 168h (a week).'
        )
    zone = window.get("timeZone") or "UTC"
    try:
        time_zone(zone)
    except SpecInvalid as error:
        raise SpecInvalid(f"{path}.timeZone: {error.message}") from None
    _check_schedule(schedule, path)
    return SyncWindow(
        allow=window["kind"] == "Allow",
        schedule=intern(schedule),
        duration=duration,
        time_zone=intern(zone),
    )


@lru_cache(maxsize=256)
def _check_schedule(schedule: str, path: str) -> None:
    if not _comes(schedule):
        raise SpecInvalid(
            f'{path}.schedule is "{schedule[:80]}": write the five fields of cron (minute, hour, '
            'day of month, month, day of week) for a time that comes, such as "0 2 * * 1-5".'
        )


def _comes(schedule: str) -> bool:
    if len(schedule.split()) != 5:  # the library would take a sixth field, of seconds
        return False
    try:
        return next(CronSim(schedule, datetime(2026, 1, 1, tzinfo=UTC)), None) is not None
    except CronSimError:
        return False
