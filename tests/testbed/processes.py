"""Child processes that cannot outlive us.

Each child asks the kernel to be killed when its parent dies (``PR_SET_PDEATHSIG``), so not even
``kill -9`` of a test run leaves a server behind. The kernel means the *thread* that made the
child: children are therefore made by the thread that lives as long as the process, the main one.

``detached`` children are for ``KEEP=1``: they live on in a session of their own and are written
down, with their start time, so that a later stop ends exactly them and never a process that has
got the same number since. With a ``record`` that happens as soon as they run, so that not even a
``kill -9`` of us makes them forgotten.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from testbed.signals import deferred

_PR_SET_PDEATHSIG: Final = 1
_STOP_TIMEOUT: Final = 10.0
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class StartError(Exception):
    """A process did not come up; the text ends with the tail of its log."""


@dataclass
class Child:
    """A running process and where it logs."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def tail(self, lines: int = 20) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def signal(self, number: signal.Signals) -> None:
        if self.alive:
            self.process.send_signal(number)

    def stop(self, timeout: float = _STOP_TIMEOUT) -> int:
        """SIGTERM, then SIGKILL after the timeout; returns the exit code."""
        self.signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@dataclass
class Processes:
    """Children that are stopped together, last started first.

    ``record``: the file that each is written down in when it is started. Several may share one.
    """

    logs: Path
    detached: bool = False
    record: Path | None = None
    _children: list[Child] = field(default_factory=list)

    def start(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> Child:
        """Starts a child that logs to ``<logs>/<name>.log``."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        if not self.detached and threading.current_thread() is not threading.main_thread():
            raise RuntimeError("children are made by the main thread: they die with their thread")
        with log.open("ab") as output, deferred():
            if self.detached:
                process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(env) if env is not None else None,
                    start_new_session=True,
                )
            else:
                process = tied(command, stdout=output, stderr=subprocess.STDOUT, env=env)
            child = Child(name, process, log)
            self._children.append(child)
            if self.record is not None:
                _write_rows(self.record, [*_read_rows(self.record), _row(child)])
        return child

    def stop(self) -> None:
        """Stops all, in the reverse order of their start."""
        while self._children:
            self._children[-1].stop()
            self._children.pop()

    def write_state(self, path: Path) -> None:
        """Writes down what runs, for :func:`stop_written`."""
        _write_rows(path, [_row(child) for child in self._children])


def tied(
    command: Sequence[str],
    *,
    stdout: int | IO[bytes],
    stderr: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Starts a child that dies with the thread that starts it."""
    parent = os.getpid()
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=dict(env) if env is not None else None,
        cwd=cwd,
        process_group=0,  # Ctrl-C goes to us, and we stop it in order
        preexec_fn=lambda: _die_with(parent),  # noqa: PLW1509
    )


def stop_written(path: Path) -> list[str]:
    """Stops the processes that a state file names, if they are still those; returns their names."""
    stopped = []
    for row in reversed(_read_rows(path)):
        if started(row["pid"]) != row["started"]:
            continue
        stopped.append(row["name"])
        _kill(row["pid"], signal.SIGTERM)
        deadline = time.monotonic() + _STOP_TIMEOUT
        while started(row["pid"]) == row["started"] and time.monotonic() < deadline:
            time.sleep(0.05)
        if started(row["pid"]) == row["started"]:
            _kill(row["pid"], signal.SIGKILL)
    path.unlink(missing_ok=True)
    return stopped


def started(pid: int) -> str:
    """When a process was started, in the kernel's ticks; "" if there is none, or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def wait_for(ready: Callable[[], bool], child: Child, *, timeout: float, what: str) -> None:
    """Waits until a child is ready. Raises StartError if it ends or takes too long."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if not child.alive:
            raise StartError(
                f"{child.name} ended with exit code {child.process.returncode} before {what}; "
                f"the end of {child.log}:\n{child.tail()}"
            )
        if ready():
            return
        time.sleep(0.05)
    raise StartError(
        f"{child.name}: {what} did not happen in {timeout:.0f} s; the end of {child.log}:\n"
        f"{child.tail()}"
    )


def _row(child: Child) -> dict[str, Any]:
    pid = child.process.pid
    return {"name": child.name, "pid": pid, "started": started(pid)}


def _read_rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text())
    except FileNotFoundError:
        return []
    return rows


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(json.dumps(rows, indent=1))
    unfinished.replace(path)


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
        os.kill(pid, number)


def _die_with(parent: int) -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel knew our wish
        os._exit(1)
