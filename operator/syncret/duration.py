"""Durations as Go writes them, because that is how Kubernetes users write them: "1h30m", "500ms".

The grammar is that of Go's ``time.ParseDuration``: one or more decimal numbers, each with a unit,
in any order; "0" needs no unit. Negative durations are refused, as nothing here can wait for one.
The arithmetic is exact, in whole nanoseconds like Go's, and has Go's limit (about 292 years).

Refused: the ``durationpy`` package, which comes along with the Kubernetes client. It computes in
floats and accepts what Go does not (days, weeks), so a manifest would mean one thing to the CRD's
own rule, which is Go, and another to the operator.
"""

import re
from typing import Final

from syncret.errors import SpecInvalid

_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, the micro sign
    "μs": 1_000,  # U+03BC, the Greek letter: Go takes both
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_SECOND: Final = _UNITS["s"]
_MAX_NANOSECONDS: Final = 2**63 - 1

#: Characters. Longer ones mean nothing, and the cost of reading digits grows with their square.
_MAX_LENGTH: Final = 200

_TERM: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(text: str) -> float:
    """The seconds of a Go duration. Raises SpecInvalid, with what was given and what is right."""
    if len(text) > _MAX_LENGTH:
        raise _invalid(text)
    rest = text.removeprefix("+")
    if rest == "0":
        return 0.0
    total = position = 0
    while position < len(rest):
        term = _TERM.match(rest, position)
        if term is None:
            raise _invalid(text)
        whole, fraction, unit = term.group(1), term.group(2) or "", _UNITS[term.group(3)]
        if not whole and not fraction:
            raise _invalid(text)
        total += int(whole or 0) * unit
        total += int(fraction or 0) * unit // 10 ** len(fraction)  # Go too cuts below 1 ns
        position = term.end()
    if not rest:
        raise _invalid(text)
    if total > _MAX_NANOSECONDS:
        raise SpecInvalid(
            f'"{_cut(text)}" is too long for a duration: the limit is about 292 years'
        )
    return total / _SECOND


def format_duration(seconds: float) -> str:
    """The shortest usual way to write a duration: "1h", "1h30m", "1m0.5s", "250ms", "0s"."""
    nanoseconds = round(seconds * _SECOND)
    if nanoseconds < 0:
        raise ValueError("a duration is not negative")
    if 0 < nanoseconds < _SECOND:
        unit = next(unit for unit in ("ms", "us", "ns") if nanoseconds >= _UNITS[unit])
        return f"{_decimal(nanoseconds, _UNITS[unit])}{unit.replace('u', 'µ')}"
    hours, rest = divmod(nanoseconds, _UNITS["h"])
    minutes, rest = divmod(rest, _UNITS["m"])
    parts = [f"{hours}h"] if hours else []
    if minutes:
        parts.append(f"{minutes}m")
    if rest or not parts:
        parts.append(f"{_decimal(rest, _SECOND)}s")
    return "".join(parts)


def _decimal(nanoseconds: int, unit: int) -> str:
    whole, fraction = divmod(nanoseconds, unit)
    digits = f"{fraction:0{len(str(unit)) - 1}d}".rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)


def _invalid(text: str) -> SpecInvalid:
    return SpecInvalid(
        f'"{_cut(text)}" is not a duration: write numbers with the units h, m, s, ms, us or ns, '
        'such as "30s", "15m" or "1h30m"'
    )


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
