"""``spec.rotation``: how old what is read may become; and ages as people write them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, cast

from syncret.duration import format_duration, parse_duration
from syncret.errors import SpecInvalid

RotationClass = Literal[
    "database", "apiKey", "encryptionKey", "tlsCertificate", "serviceAccount", "oauthClient"
]

DAY: Final = 86_400.0

#: Seconds after which a credential of a class is to be replaced, unless ``maxAge`` says otherwise.
CLASS_AGES: Final[Mapping[RotationClass, float]] = {
    "database": 90 * DAY,
    "apiKey": 90 * DAY,
    "encryptionKey": 365 * DAY,
    "tlsCertificate": 90 * DAY,
    "serviceAccount": 90 * DAY,
    "oauthClient": 365 * DAY,
}

#: Seconds. The shortest is for those who try it out.
MIN_AGE: Final = 1.0
MAX_AGE: Final = 3650 * DAY

#: Seconds: how long a former credential is left to live at most.
MAX_REVOKE_AFTER: Final = 30 * DAY

_DAYS: Final = re.compile(r"[0-9]{1,5}d")


@dataclass(frozen=True, slots=True)
class Rotation:
    """``max_age`` in seconds. ``kind``: the class, "" where only an age was given."""

    kind: RotationClass | Literal[""]
    max_age: float

    def __str__(self) -> str:
        said = f" (class {self.kind})" if self.kind else ""
        return f"every {format_age(self.max_age)}{said}"


def parse_rotation(spec: Mapping[str, Any]) -> Rotation | None:
    """The policy of a spec, if it has one. Raises SpecInvalid for what the CRD's rules refuse."""
    rotation = spec.get("rotation")
    if rotation is None:
        return None
    kind, age = rotation.get("class") or "", rotation.get("maxAge") or ""
    if kind and kind not in CLASS_AGES:
        raise SpecInvalid(f"spec.rotation.class must be one of {', '.join(CLASS_AGES)}")
    if not kind and not age:
        if rotation.get("revokeAfter"):
            return None
        raise SpecInvalid("spec.rotation needs a class or a maxAge: name one of them")
    seconds = (
        parse_age(age, "spec.rotation.maxAge") if age else CLASS_AGES[cast("RotationClass", kind)]
    )
    return _rotation(kind, seconds)


def parse_revoke_after(spec: Mapping[str, Any]) -> float | None:
    """``spec.rotation.revokeAfter`` in seconds, if it is given. Raises SpecInvalid."""
    text = (spec.get("rotation") or {}).get("revokeAfter")
    if text is None:
        return None
    seconds = int(text[:-1]) * DAY if _DAYS.fullmatch(text) else parse_duration(text)
    if not 0 <= seconds <= MAX_REVOKE_AFTER:
        raise SpecInvalid(f'spec.rotation.revokeAfter is "{text}": write a time from 0s to 30d')
    return seconds


def parse_age(text: str, path: str) -> float:
    """Seconds of days ("90d") or of a Go duration ("36h"). Raises SpecInvalid."""
    seconds = int(text[:-1]) * DAY if _DAYS.fullmatch(text) else parse_duration(text)
    if not MIN_AGE <= seconds <= MAX_AGE:
        raise SpecInvalid(f'{path} is "{text}": write a time from 1s to 3650d')
    return seconds


def format_age(seconds: float) -> str:
    """As :func:`parse_age` reads it, but that days are written out: "90 days", "36h"."""
    days, rest = divmod(seconds, DAY)
    if days and not rest:
        return "1 day" if days == 1 else f"{days:.0f} days"
    return format_duration(seconds)


@lru_cache(maxsize=64)
def _rotation(kind: str, max_age: float) -> Rotation:
    """One record for all ExternalSecrets that say the same."""
    return Rotation(cast("RotationClass", kind), max_age)
