"""Everything the demo plays in, and the end of it all.

Whatever happens (the end of the story, an error, a signal), what was started is stopped and what
was made is removed. That is one piece of work which no signal cuts in two. Only a demo that was
told well and is to be kept goes on.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo import kept
from demo.footprint import Footprint
from testbed.cluster import Cluster, find_cluster
from testbed.moto import Moto
from testbed.operator import Operator
from testbed.processes import Processes, stop_written
from testbed.progress import Progress
from testbed.signals import deferred


class BusyError(Exception):
    """A demo that was left running is in the way."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A cluster, AWS, and an operator that is still to be started."""

    cluster: Cluster
    moto: Moto
    operator: Operator
    footprint: Footprint


@contextmanager
def stage(progress: Progress, *, keep: bool) -> Iterator[Stage]:
    """The stage; stopped and removed at the end of the block, unless it ends well and is kept."""
    undo = ExitStack()
    kept_on = False
    try:
        try:
            with deferred():
                place = _kept_folder() if keep else Path(tempfile.mkdtemp(prefix="syncret-demo-"))
                undo.callback(shutil.rmtree, place)
            yield _set(progress, place, undo, keep=keep)
            kept_on = keep
        finally:
            if not kept_on:
                _close(undo, progress)
    finally:
        if not kept_on:
            undo.close()  # nothing is left to do, unless a signal came right before the line above


def _set(progress: Progress, place: Path, undo: ExitStack, *, keep: bool) -> Stage:
    record = kept.processes_of(place) if keep else None
    if record is not None:
        undo.callback(stop_written, record)
    cluster = find_cluster(progress=progress, directory=place, record=record)
    undo.callback(cluster.stop)
    footprint = Footprint.claim(cluster)
    if keep:
        kept.write(footprint)
    undo.callback(footprint.remove)
    processes = Processes(place / "logs", detached=keep, record=record)
    undo.callback(processes.stop)
    with progress.step(
        "starting AWS Secrets Manager (a moto server)",
        done=lambda: f"AWS Secrets Manager, played by a moto server, answers at {moto.endpoint}",
        estimate=3,
    ):
        moto = Moto(processes)
    return Stage(cluster, moto, Operator(cluster, processes), footprint)


def _close(undo: ExitStack, progress: Progress) -> None:
    with (
        deferred(),
        progress.step(
            "stopping what was started, removing what was made",
            done=lambda: "everything that was started is stopped, what was made is removed",
            estimate=2,
        ),
    ):
        undo.close()


def _kept_folder() -> Path:
    place = kept.folder()
    try:
        place.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        raise BusyError(
            "A demo was left running already; `make demo-stop` stops it, then begin again."
        ) from None
    return place
