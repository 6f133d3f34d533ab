"""What every scenario gets: the options, a place for its figures, and a bed to run on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from load.bed import Bed, open_bed
from load.measure import STALL, Stalls
from load.report import Report
from testbed.progress import Progress

#: Files of a run: the operator's logs.
LOGS: Final = Path("build") / "bench"

MEMORY_10K: Final = 200.0
MEMORY_50K: Final = 500.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """As chosen on the command line. ``size`` 0: each scenario's own."""

    size: int = 0
    seconds: float = 120.0
    interval: float = 30.0
    probes: int = 120
    operator: tuple[str, ...] = ()
    source: Path | None = None


@dataclass
class Bench:
    """One run of the benchmark."""

    options: Options
    progress: Progress
    report: Report = field(default_factory=Report)

    def size(self, default: int) -> int:
        return self.options.size or default

    @asynccontextmanager
    async def bed(
        self, scenario: str, *, arguments: tuple[str, ...] = (), latency: float = 0.005
    ) -> AsyncIterator[Bed]:
        """``latency``: seconds of a call to the stand-in."""
        async with open_bed(
            self.progress,
            arguments=(*arguments, *self.options.operator),
            latency=latency,
            source=self.options.source,
            logs=LOGS / f"{scenario}.operator.log",
        ) as bed:
            yield bed

    async def stalls(self, scenario: str, bed: Bed, stalls: Stalls) -> None:
        """Reports how long the event loop stood still, by our probe and by the operator's gauge.

        The gauge holds the most of ten beats, one each second: it sees long stalls only.
        """
        gauge = await bed.metric("syncret_event_loop_lag_seconds")
        self.report.add(
            scenario, "event loop, longest answer", stalls.longest * 1000, "ms", target=STALL * 1000
        )
        self.report.detail(
            scenario,
            stalls=stalls.seen,
            stall_answers=stalls.answers,
            event_loop_lag_seconds=gauge,
        )
