"""How the estimate is printed."""

import json
from collections.abc import Sequence
from typing import Any, Final

from syncret.cost.estimate import Line

_HEAD: Final = (
    "STORE",
    "KIND",
    "SECRETS",
    "READS/MONTH",
    "CALLS/MONTH",
    "$/MONTH",
    "ESO CALLS/MONTH",
    "ESO $/MONTH",
)
_NOTES: Final = """
Calls of refreshes by the clock; list prices of 2026 without free tiers. Left out: logins, checks of
stores, what changed and what was tried again. "ESO" is External Secrets Operator with the same
manifests.
"""


def as_text(lines: Sequence[Line]) -> str:
    """A table for people, with a total."""
    rows = [_HEAD, *(_row(line) for line in lines)]
    if len(lines) > 1:
        # Of a store that is not known, nothing is known of what it charges either.
        more = "" if all(map(_priced, lines)) else " + ?"
        calls, eso = sum(line.calls for line in lines), sum(line.eso_calls for line in lines)
        rows.append(
            (
                "total",
                "",
                f"{sum(line.secrets for line in lines):,}",
                f"{sum(line.reads for line in lines):,.0f}",
                f"{calls:,.0f}",
                _dollars(sum(line.dollars for line in lines)) + more,
                f"{eso:,.0f}",
                _dollars(sum(line.eso_dollars for line in lines)) + more,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    text = "".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        + "\n"
        for row in rows
    )
    storage = sum(line.storage for line in lines)
    if storage:
        text += (
            f"\nKeeping these secrets costs {_dollars(storage)} a month more, whoever reads them."
        )
    return f"{text}{_NOTES}"


def as_json(lines: Sequence[Line], remarks: Sequence[str] = ()) -> str:
    """The same for programs; dollars are not rounded, and 0 where ``priced`` is false."""
    stores = [_fields(line) for line in lines]
    total = {
        name: sum(store[name] for store in stores)
        for name in ("secrets", "reads", "calls", "dollars", "esoCalls", "esoDollars", "storage")
    }
    told = {"stores": stores, "total": total, "remarks": list(remarks)}
    return json.dumps(told, indent=2) + "\n"


def _row(line: Line) -> tuple[str, ...]:
    known = _priced(line)
    return (
        str(line.store),
        line.price.title,
        f"{line.secrets:,}",
        f"{line.reads:,.0f}",
        f"{line.calls:,.0f}",
        _dollars(line.dollars) if known else "?",
        f"{line.eso_calls:,.0f}",
        _dollars(line.eso_dollars) if known else "?",
    )


def _fields(line: Line) -> dict[str, Any]:
    return {
        "store": str(line.store),
        "kind": line.price.title,
        "priced": _priced(line),
        "secrets": line.secrets,
        "reads": round(line.reads),
        "calls": round(line.calls),
        "dollars": line.dollars,
        "esoCalls": round(line.eso_calls),
        "esoDollars": line.eso_dollars,
        "storage": line.storage,
    }


def _priced(line: Line) -> bool:
    return line.price.title != "unknown"


def _dollars(amount: float) -> str:
    return f"{amount:,.2f}"
