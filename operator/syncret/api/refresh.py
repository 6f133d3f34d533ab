"""When an ExternalSecret is refreshed: policy, interval, sync windows, and the wish of a person."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
from typing import Any, Final, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from syncret.constants import FORCE_SYNC_ANNOTATION
from syncret.duration import parse_duration
from syncret.errors import SpecInvalid

RefreshPolicy = Literal["Periodic", "OnChange", "CreatedOnce"]

DEFAULT_REFRESH_INTERVAL: Final = 3600.0
MIN_REFRESH_INTERVAL: Final = 1.0

#: Seconds. A shorter window may close before the batch that a refresh waits for is full.
MIN_WINDOW: Final = 60.0
MAX_WINDOW: Final = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class SyncWindow:
    """Times that begin as a cron schedule says, in a time zone, and last ``duration`` seconds.

    ``allow``: periodic refreshes are made in such times; otherwise, they are not.
    """

    allow: bool
    schedule: str
    duration: float
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Refresh:
    """``interval`` in seconds; 0: nothing is refreshed by the clock."""

    policy: RefreshPolicy = "Periodic"
    interval: float = DEFAULT_REFRESH_INTERVAL
    windows: tuple[SyncWindow, ...] = ()

    @property
    def periodic(self) -> bool:
        """Whether the clock makes refreshes due."""
        return self.policy == "Periodic" and self.interval > 0


def parse_refresh(spec: Mapping[str, Any]) -> Refresh:
    """What a spec says of refreshes. Raises SpecInvalid, or what a body of another form raises."""
    return Refresh(
        policy=cast("RefreshPolicy", intern(spec.get("refreshPolicy") or "Periodic")),
        interval=_interval(spec),
        windows=tuple(
            _window(window, f"spec.syncWindows[{index}]")
            for index, window in enumerate(spec.get("syncWindows") or ())
        ),
    )


def parse_force_sync(meta: Mapping[str, Any]) -> str:
    """A digest of what the annotation says; "" without it. Another one asks for a refresh.

    A digest, because the annotation may be long; what it holds is nothing secret.
    """
    value = (meta.get("annotations") or {}).get(FORCE_SYNC_ANNOTATION)
    if value is None:
        return ""
    return hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


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


def _interval(spec: Mapping[str, Any]) -> float:
    text = spec.get("refreshInterval")
    if text is None:
        return DEFAULT_REFRESH_INTERVAL
    seconds = parse_duration(text)
    if 0 < seconds < MIN_REFRESH_INTERVAL:
        raise SpecInvalid(f'spec.refreshInterval is "{text}": the shortest interval is 1s')
    return seconds


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
