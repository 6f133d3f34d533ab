"""Where the figures come from: the kernel, the audit log, the operator's own probe.

- CPU and memory: ``/proc/<pid>`` of the operator's process. CPU is user and system time of all its
  threads, in ticks of 10 ms; memory is VmRSS, the peak VmHWM.
- Requests to the API server: its audit log, which it writes before it answers. The operator is told
  apart by its ServiceAccount.
- Stalls of the event loop: ``/healthz`` is answered by that loop, so it is asked by a thread, 50 ms
  after each answer, and the time to the answer counts. It includes waiting for a CPU, and misses at
  most 50 ms of a stall. Each answer costs the operator about 0.3 ms of CPU: one percent of a cold
  sync, and too much beside refreshes, whose CPU is counted without them.
"""

import http.client
import json
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_MIB: Final = 1024.0
_BEAT: Final = 0.05
_READS: Final = frozenset({"get", "list"})
#: Seconds. A longer answer than this is kept in the list of stalls.
STALL: Final = 0.2


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed; infinite values count."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass(frozen=True, slots=True)
class Process:
    """A running process, by its number."""

    pid: int

    @property
    def cpu(self) -> float:
        """Seconds of CPU since its start, of all threads, ended ones included."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(self._stat()[19]) / _TICKS

    @property
    def started(self) -> float:
        """Its start in seconds since 1970."""
        return time.time() - self.age

    @property
    def rss(self) -> float:
        """MiB of memory in use now."""
        return self._status("VmRSS")

    @property
    def peak(self) -> float:
        """The most MiB that were in use at any time."""
        return self._status("VmHWM")

    def _stat(self) -> list[str]:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()

    def _status(self, name: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / _MIB
        raise ValueError(name)


class Requests:
    """What a user asked of the API server since the last :meth:`reset`.

    The API server starts a new file after each 100 MB; the former one is renamed, and read to its
    end.
    """

    def __init__(self, log: Path, user: str) -> None:
        self._log = log
        self._user = f'"username":"{user}"'.encode()
        self._offsets: dict[int, int] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        #: Those that were refused, which are among the counts as well.
        self.refused: Counter[tuple[str, str, int]] = Counter()
        self._last: dict[tuple[str, str], str] = {}

    def reset(self) -> None:
        """What was asked until now does not count."""
        self.poll()
        self.counts.clear()
        self.refused.clear()
        self._last.clear()

    def poll(self) -> None:
        """Reads on."""
        former = sorted(self._log.parent.glob(f"{self._log.stem}-*{self._log.suffix}"))
        for path in (*former, self._log):
            with path.open("rb") as log:
                inode = os.fstat(log.fileno()).st_ino
                log.seek(self._offsets.get(inode, 0))
                for line in log:
                    if not line.endswith(b"\n"):
                        break
                    self._offsets[inode] = self._offsets.get(inode, 0) + len(line)
                    if self._user in line:
                        self._count(json.loads(line))

    def succeeded(self, verb: str, resource: str) -> int:
        refused = sum(n for (v, r, _), n in self.refused.items() if (v, r) == (verb, resource))
        return self.counts[verb, resource] - refused

    @property
    def writes(self) -> int:
        """Everything but reads, and but what keeps a Lease."""
        return sum(n for (verb, what), n in self.counts.items() if _writes(verb, what))

    @property
    def reads(self) -> int:
        """Every GET and LIST, but those of Leases. Watches are no reads: they are always there."""
        return sum(
            n for (verb, what), n in self.counts.items() if verb in _READS and what != "leases"
        )

    def rollouts(self) -> int:
        kinds = {"deployments", "statefulsets", "daemonsets"}
        return sum(
            n for (verb, what), n in self.counts.items() if what in kinds and _writes(verb, what)
        )

    def last(self, verb: str, resource: str) -> float:
        """When the last such request was answered, in seconds since 1970."""
        return datetime.fromisoformat(self._last[verb, resource]).timestamp()

    def table(self) -> dict[str, int]:
        """For people: the counts by words."""
        return {f"{verb} {what}": n for (verb, what), n in sorted(self.counts.items())}

    def _count(self, event: dict[str, Any]) -> None:
        ref = event.get("objectRef") or {}
        resource = ref.get("resource", event["requestURI"])
        if "subresource" in ref:
            resource = f"{resource}/{ref['subresource']}"
        key = (event["verb"], resource)
        self.counts[key] += 1
        self._last[key] = event["stageTimestamp"]
        code = (event.get("responseStatus") or {}).get("code", 0)
        if code >= 400:
            self.refused[(*key, code)] += 1


def _writes(verb: str, resource: str) -> bool:
    return verb not in _READS and verb != "watch" and resource != "leases"


@dataclass
class Stalls:
    """How long the operator's event loop took to answer. ``longest`` in seconds."""

    port: int
    longest: float = 0.0
    #: When (seconds since the first answer) and how long, of answers beyond STALL.
    seen: list[tuple[float, float]] = field(default_factory=list)
    answers: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watched(self) -> Any:
        """Asks for as long as the block lasts; questions that nobody answers do not count."""
        thread = threading.Thread(target=self._ask_all, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _ask_all(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        first = 0.0
        while not self._ended.wait(_BEAT):
            asked = time.monotonic()
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
            except TimeoutError:
                self._note(first, asked)
                connection.close()
            except (OSError, http.client.HTTPException):
                connection.close()  # not started yet, or stopped
            else:
                first = first or asked
                self._note(first, asked)
        connection.close()

    def _note(self, first: float, asked: float) -> None:
        seconds = time.monotonic() - asked
        self.answers += 1
        self.longest = max(self.longest, seconds)
        if seconds > STALL:
            self.seen.append((round(asked - first, 2), round(seconds, 3)))
