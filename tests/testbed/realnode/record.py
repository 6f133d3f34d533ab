"""What a node makes on the machine, written down before it is made.

A run that is killed cannot clean up; the next one does it by this record. One node at a time: the
lock is held as long as the process that started it lives, and the kernel lets go of it then.
"""

import fcntl
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Final

from testbed.processes import started

#: On a file system that is empty after a reboot, as all that is recorded is gone by then.
PLACE: Final = Path("/run/syncret-realnode")
_RECORD: Final = PLACE / "record.json"
PROCESSES: Final = PLACE / "processes.json"
#: How a person calls this package, from the repository's root: to be copied as it stands.
COMMAND: Final = "PYTHONPATH=tests .venv/bin/python -m testbed.realnode"

#: What the kubelet sets to its own liking, and what comes back when the node goes.
_SYSCTLS: Final = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)


#: What the kubelet makes at places it cannot be told to change; what was not there before goes.
KUBELET_SOCKET: Final = Path("/var/lib/kubelet/device-plugins/kubelet.sock")
_PLACES: Final = (
    "/var/lib/kubelet",
    str(KUBELET_SOCKET.parent),
    str(KUBELET_SOCKET),
    "/var/log/containers",
)


class BusyError(Exception):
    """Another node runs on this machine; the text says whose."""


@dataclass(frozen=True, slots=True)
class Record:
    """Where a node lives, and what the machine was like before."""

    directory: str
    containerd_socket: str
    sysctls: dict[str, str] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)

    @classmethod
    def write(cls, directory: Path, *, containerd_socket: Path) -> "Record":
        settings = {name: (Path("/proc/sys") / name).read_text().strip() for name in _SYSCTLS}
        absent = [place for place in _PLACES if not Path(place).exists()]
        record = cls(str(directory), str(containerd_socket), settings, absent)
        _RECORD.write_text(json.dumps(asdict(record), indent=1))
        return record

    @staticmethod
    def read() -> "Record | None":
        return Record(**json.loads(_RECORD.read_text())) if _RECORD.exists() else None

    @staticmethod
    def forget() -> None:
        _RECORD.unlink(missing_ok=True)


def refuse_kept() -> None:
    """Raises BusyError if a node runs that outlives its starter, as no other node does."""
    rows = json.loads(PROCESSES.read_text()) if PROCESSES.exists() else []
    if any(started(row["pid"]) == row["started"] for row in rows):
        raise BusyError(
            f"A real node that was kept runs on this machine; this ends it: {COMMAND} cleanup"
        )


def lock() -> IO[str]:
    """Takes the machine's only place for a node; closing the file gives it back."""
    PLACE.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (PLACE / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise BusyError(
            f"Another real node runs on this machine (process {owner}); one at a time can."
        ) from None
    file.truncate(0)
    return file
