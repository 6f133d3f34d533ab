"""Removes all that a node left on the machine, whoever stopped it and how.

Everything is found by the node's record, by its own cgroup, or by the fixed names of its network:
never by the name of a program, because other containerds and kubelets may run here.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from testbed.processes import started, stop_written
from testbed.realnode import cgroups, network
from testbed.realnode.record import PROCESSES, Record

_SHIM_TIMEOUT: Final = 10.0
_CONTAINER_LOGS: Final = Path("/var/log/containers")  # the kubelet knows no other place


def sweep() -> list[str]:
    """Removes what is left of a node; returns what it was, in words. Repeatable."""
    record = Record.read()
    removed = [f"process {name}" for name in stop_written(PROCESSES)]
    removed += cgroups.remove()
    if record is not None:
        removed += _end_shims(record)
        removed += _unmount(Path(record.directory))
        removed += _remove_links(Path(record.directory))
        removed += _remove_files(Path(record.directory))
        _restore(record)
    removed += network.remove()
    Record.forget()
    return removed


def mounts_below(folder: Path) -> list[Path]:
    """The mounts below a folder, the last made first."""
    places = [
        Path(line.split(" ")[4].encode().decode("unicode_escape"))
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
    ]
    return [place for place in reversed(places) if place.is_relative_to(folder)]


def shims_of(containerd_socket: str) -> list[int]:
    """The shims that were started for this containerd: its address is among their arguments."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            program = Path(os.fsdecode(arguments[0])).name
            if program.startswith("containerd-shim") and containerd_socket.encode() in arguments:
                found.append(int(folder.name))
    return found


def _end_shims(record: Record) -> list[str]:
    ended = []
    # Their own sockets are in a folder that all containerds share; the state names each.
    sockets = [
        Path(file.read_text().strip().removeprefix("unix://"))
        for file in Path(record.directory).glob(
            "containerd/state/io.containerd.runtime.v2.task/*/*/address"
        )
    ]
    shims = {pid: started(pid) for pid in shims_of(record.containerd_socket)}
    for pid in shims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            ended.append(f"shim {pid}")
    deadline = time.monotonic() + _SHIM_TIMEOUT
    while (
        any(started(pid) == begun for pid, begun in shims.items()) and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    for socket in sockets:
        socket.unlink(missing_ok=True)
    return ended


def _unmount(folder: Path) -> list[str]:
    unmounted = []
    for place in mounts_below(folder):
        for options in ([], ["-l"]):  # lazily where something still looks into it
            done = subprocess.run(
                ["umount", *options, str(place)], capture_output=True, check=False
            )
            if done.returncode == 0:
                unmounted.append(f"mount {place}")
                break
    return unmounted


def _remove_links(folder: Path) -> list[str]:
    removed = []
    for link in _CONTAINER_LOGS.glob("*") if _CONTAINER_LOGS.is_dir() else ():
        if link.is_symlink() and link.readlink().is_relative_to(folder):
            link.unlink()
            removed.append(str(link))
    return removed


def _remove_files(folder: Path) -> list[str]:
    """Removes what containerd kept, a gigabyte; the node's logs stay for whoever wants them."""
    files = folder / "containerd"
    if not files.exists() or mounts_below(folder):
        return []
    shutil.rmtree(files, ignore_errors=True)
    return [f"images and containers in {files}"]


def _restore(record: Record) -> None:
    for place in map(Path, reversed(record.places)):
        with contextlib.suppress(OSError):  # not there, or not empty
            place.rmdir() if place.is_dir() else place.unlink()
    for name, value in record.sysctls.items():
        file = Path("/proc/sys") / name
        if file.read_text().strip() != value:
            file.write_text(value)
