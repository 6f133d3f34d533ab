"""The table at the end, and the JSON file: every figure, its target, and whether it was met."""

import json
import math
import os
import platform
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

_HEAD: Final = ("scenario", "what", "target", "measured", "ratio", "met")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. Without a target it only informs; ``least``: more is better."""

    scenario: str
    what: str
    measured: float
    unit: str = ""
    target: float | None = None
    least: bool = False

    @property
    def ratio(self) -> float | None:
        """How much of the target was used up; 1 or less is met.

        A target of nothing knows only met and not met.
        """
        if not self.target:
            return None
        return self.target / self.measured if self.least else self.measured / self.target

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.measured >= self.target if self.least else self.measured <= self.target

    def cells(self) -> tuple[str, ...]:
        target = (
            ""
            if self.target is None
            else f"{'≥' if self.least else '≤'} {_number(self.target)} {self.unit}".rstrip()
        )
        known = self.ratio is not None and math.isfinite(self.ratio)
        ratio = f"{self.ratio:.2f}" if known else ""
        met = {None: "", True: "yes", False: "NO"}[self.met]
        unit = self.unit if math.isfinite(self.measured) else ""
        measured = f"{_number(self.measured)} {unit}".rstrip()
        return self.scenario, self.what, target.rstrip(), measured, ratio, met


@dataclass
class Report:
    """What was measured so far."""

    rows: list[Row] = field(default_factory=list)
    #: Further figures by scenario, for the JSON file.
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        scenario: str,
        what: str,
        measured: float,
        unit: str = "",
        *,
        target: float | None = None,
        least: bool = False,
    ) -> None:
        self.rows.append(Row(scenario, what, measured, unit, target, least))

    def detail(self, scenario: str, **figures: Any) -> None:
        self.details.setdefault(scenario, {}).update(figures)

    @property
    def met(self) -> bool:
        return not self.failures and all(row.met is not False for row in self.rows)

    def table(self) -> str:
        cells = [_HEAD, *(row.cells() for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(_HEAD))]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        lines.insert(1, "  ".join("─" * width for width in widths))
        lines += [f"{name} failed: {text}" for name, text in self.failures.items()]
        return "\n".join(lines)

    def write(self, path: Path, *, arguments: list[str]) -> None:
        body = {
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "commit": _commit(),
            "arguments": arguments,
            "machine": {
                "cpus": os.cpu_count(),
                "kernel": platform.release(),
                "python": platform.python_version(),
            },
            "rows": [
                {
                    **{k: _plain(v) for k, v in asdict(row).items()},
                    "ratio": _plain(row.ratio),
                    "met": row.met,
                }
                for row in self.rows
            ],
            "failures": self.failures,
            "details": self.details,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(body, indent=1) + "\n")


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "never"
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _plain(value: Any) -> Any:
    """What JSON can hold: it has no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return said.stdout.strip()
