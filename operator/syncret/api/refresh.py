"""When an ExternalSecret is refreshed: policy, interval, sync windows, and the wish of a person."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Final, Literal, cast

from syncret.api.window import SyncWindow, parse_windows
from syncret.constants import FORCE_SYNC_ANNOTATION
from syncret.duration import parse_duration
from syncret.errors import SpecInvalid

RefreshPolicy = Literal["Periodic", "OnChange", "CreatedOnce"]

DEFAULT_REFRESH_INTERVAL: Final = 3600.0
MIN_REFRESH_INTERVAL: Final = 1.0


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
        windows=parse_windows(spec.get("syncWindows"), "spec.syncWindows"),
    )


def parse_force_sync(meta: Mapping[str, Any]) -> str:
    """A digest of what the annotation says; "" without it. Another one asks for a refresh.

    A digest, because the annotation may be long; what it holds is nothing secret.
    """
    value = (meta.get("annotations") or {}).get(FORCE_SYNC_ANNOTATION)
    if value is None:
        return ""
    return hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _interval(spec: Mapping[str, Any]) -> float:
    text = spec.get("refreshInterval")
    if text is None:
        return DEFAULT_REFRESH_INTERVAL
    seconds = parse_duration(text)
    if 0 < seconds < MIN_REFRESH_INTERVAL:
        raise SpecInvalid(f'spec.refreshInterval is "{text}": the shortest interval is 1s')
    return seconds
