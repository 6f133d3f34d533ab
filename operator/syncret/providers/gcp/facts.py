"""What is known of secrets beside their values: when they expire, and their labels. Pure.

A value comes with neither. GetSecret tells both, for nothing, out of the project's small quota of
reads of metadata (:mod:`syncret.providers.gcp.budget`). So it is asked with a value that is read
for the first time or has changed, and of unchanged ones once a day, or once an hour where there is
an expiry that could be put off. Of 10,000 secrets without an expiry that is 7 calls in a minute,
beside the 167 looks that refreshing them every hour takes.
"""

import datetime as dt
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

#: Seconds for which what is known is told again: with a value that was read, of an unchanged
#: secret, and of an unchanged one that has an expiry.
RECENT: Final = 60.0
DAILY: Final = 86_400.0
HOURLY: Final = 3600.0

#: Seconds for which nothing is asked that a permission was missing for.
DENIED: Final = 3600.0

#: Secrets of a store that something is remembered of: half a KiB each.
_MOST: Final = 10_000

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one secret; ``at``: when it was asked, by the monotonic clock."""

    expires: dt.datetime | None
    labels: Mapping[str, str]
    at: float


class Remembered:
    """The facts of a store's secrets. ``now``: seconds of a monotonic clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._facts: OrderedDict[str, Facts] = OrderedDict()

    def get(self, secret: str) -> Facts | None:
        """What was told last, however long ago."""
        return self._facts.get(secret)

    def due(self, secret: str, *, unchanged: bool) -> bool:
        """Whether it is time to ask."""
        facts = self._facts.get(secret)
        if facts is None:
            return True
        lasts = RECENT if not unchanged else HOURLY if facts.expires is not None else DAILY
        return self._now() - facts.at >= lasts

    def put(self, secret: str, answer: Any) -> Facts:
        """Remembers an answer of GetSecret."""
        expires = answer.expire_time.ToDatetime(dt.UTC) if answer.HasField("expire_time") else None
        labels = dict(answer.labels)
        facts = Facts(expires, MappingProxyType(labels) if labels else _NONE, self._now())
        self._facts[secret] = facts
        self._facts.move_to_end(secret)
        if len(self._facts) > _MOST:
            self._facts.popitem(last=False)
        return facts


class Permission:
    """One that a store does well without. Its want is told once, and it is tried again later."""

    def __init__(self, now: Callable[[], float], tell: Callable[[], None]) -> None:
        """``tell``: is called whenever the permission turns out to be missing."""
        self._now = now
        self._tell = tell
        self._from = float("-inf")

    @property
    def worth_a_try(self) -> bool:
        """Whether it is not known to be missing."""
        return self._now() >= self._from

    def denied(self) -> None:
        """It is missing; nothing is asked for :data:`DENIED` seconds."""
        self._from = self._now() + DENIED
        self._tell()
