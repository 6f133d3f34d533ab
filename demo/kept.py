"""A demo that goes on after its command has ended (``KEEP=1``), and how it is stopped.

Everything that such a demo needs is in one folder of the user's, so that there is one at a time,
and so that ``make demo-stop`` finds it from any terminal. The folder goes when the demo is stopped.
"""

import json
import os
import shutil
from pathlib import Path

from demo.footprint import Footprint, RemovalError
from testbed.cluster import Cluster, reopened
from testbed.processes import stop_written
from testbed.progress import Progress
from testbed.signals import deferred


def folder() -> Path:
    """Where it is: under ``XDG_STATE_HOME``, or ``~/.local/state``."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "syncret" / "demo"


def processes_of(place: Path) -> Path:
    """The file in which the processes are written down."""
    return place / "processes.json"


def write(footprint: Footprint) -> None:
    """Writes down what is needed to stop it."""
    cluster = footprint.cluster
    body = {
        "kind": cluster.kind,
        "kubeconfig": str(cluster.kubeconfig),
        "tools": {name: str(path) for name, path in cluster.tools.items()},
        "crds": footprint.crds,
    }
    _file(cluster.directory).write_text(json.dumps(body, indent=1))


def stop(progress: Progress) -> None:
    """Stops the demo that was left running, if there is one. Raises RemovalError."""
    place = folder()
    if not place.exists():
        progress.say("No demo was left running.")
        return
    stopped: list[str] = []
    with (
        deferred(),
        progress.step(
            "stopping the demo that was left running",
            done=lambda: f"stopped, with all that it had made ({', '.join(stopped)})",
        ),
    ):
        footprint = _read(place)
        stopped += stop_written(processes_of(place))
        if footprint is not None:
            try:
                footprint.remove()
            except RemovalError as error:
                raise RemovalError(
                    f"{error}\nTry again, or delete {place} to have it forgotten."
                ) from None
            footprint.cluster.stop()
        shutil.rmtree(place)


def _file(place: Path) -> Path:
    return place / "kept.json"


def _read(place: Path) -> Footprint | None:
    """What was written; None where it was ended before there was anything to write."""
    try:
        body = json.loads(_file(place).read_text())
    except FileNotFoundError:
        return None
    cluster: Cluster = reopened(
        kind=body["kind"],
        kubeconfig=Path(body["kubeconfig"]),
        directory=place,
        tools={name: Path(path) for name, path in body["tools"].items()},
    )
    return Footprint(cluster, crds=body["crds"])
