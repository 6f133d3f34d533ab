"""The node's own cgroup: every container is below it, so what is in there is ours to end."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: As the kubelet names it; below it come its own ``kubepods``.
ROOT: Final = "/syncret-testbed"
_KILL_TIMEOUT: Final = 10.0


def create() -> None:
    """Makes the cgroup in every hierarchy."""
    for hierarchy in _hierarchies():
        (hierarchy / ROOT.lstrip("/")).mkdir(exist_ok=True)
        offered = hierarchy / "cgroup.controllers"
        if offered.exists():  # version 2: what children may use has to be passed on
            for controller in offered.read_text().split():
                with contextlib.suppress(OSError):  # some can be used at the top only
                    (hierarchy / "cgroup.subtree_control").write_text(f"+{controller}")


def remove() -> list[str]:
    """Ends what runs in the cgroup and removes it; returns what was ended."""
    ended = []
    deadline = time.monotonic() + _KILL_TIMEOUT
    while (members := _members()) and time.monotonic() < deadline:
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                ended.append(f"container process {pid}")
        time.sleep(0.05)
    for hierarchy in _hierarchies():
        top = hierarchy / ROOT.lstrip("/")
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(FileNotFoundError):
                Path(folder).rmdir()
    return list(dict.fromkeys(ended))


def _members() -> set[int]:
    files = (
        file
        for hierarchy in _hierarchies()
        for file in (hierarchy / ROOT.lstrip("/")).rglob("cgroup.procs")
    )
    found: set[int] = set()
    for file in files:
        with contextlib.suppress(OSError):
            found.update(int(line) for line in file.read_text().split())
    return found


def _hierarchies() -> Iterator[Path]:
    """The top of the one hierarchy of version 2, or of each of version 1 (and of 2 beside them)."""
    seen: set[Path] = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind = after.split(" ")[0]
        place = Path(before.split(" ")[4])
        if kind in ("cgroup", "cgroup2") and place not in seen:
            seen.add(place)
            yield place
