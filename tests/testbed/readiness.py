"""The pods of a Deployment: how many are Ready, and whether a rollout has ended.

How many are Ready is watched from event to event, so that no short gap is missed.
"""

import json
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from testbed.cluster import Cluster
from testbed.processes import tied
from testbed.waiting import wait_until

_TIMEOUT: Final = 30.0


class WatchError(Exception):
    """The watch did not see what it is for; the text says what is missing."""


@dataclass
class ReadyPods:
    """The numbers of Ready pods that were seen, in order, from the first complete one on.

    A pod that is being deleted does not count: it is on its way out whatever its condition says.
    """

    wanted: int
    counts: list[int] = field(default_factory=list)
    _ready: dict[str, bool] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """The pods that are there, as far as the watch has come."""
        return set(self._ready)

    @property
    def course(self) -> list[int]:
        """The counts without repetitions."""
        return [count for count, _ in groupby(self.counts)]

    def see(self, event: dict[str, Any]) -> None:
        """Takes in one event of the watch."""
        pod = event["object"]
        name = pod["metadata"]["name"]
        if event["type"] == "DELETED":
            self._ready.pop(name, None)
        else:
            conditions = pod.get("status", {}).get("conditions", [])
            self._ready[name] = "deletionTimestamp" not in pod["metadata"] and any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in conditions
            )
        count = sum(self._ready.values())
        if self.counts or count >= self.wanted:
            self.counts.append(count)


@contextmanager
def watched(cluster: Cluster, namespace: str, selector: str, *, wanted: int) -> Iterator[ReadyPods]:
    """Watches the selected pods while the block runs. Raises WatchError."""
    command = [
        *(str(cluster.tools["kubectl"]), f"--kubeconfig={cluster.kubeconfig}", "get", "pods"),
        *("-n", namespace, "-l", selector, "--watch", "--output-watch-events", "-o", "json"),
    ]
    seen = ReadyPods(wanted)
    complete = threading.Event()
    process = tied(command, stdout=subprocess.PIPE)
    reader = threading.Thread(target=_read, args=(process, seen, complete), daemon=True)
    reader.start()
    try:
        if not complete.wait(_TIMEOUT):
            raise WatchError(
                f"The watch of the pods did not show {wanted} Ready pods in {_TIMEOUT:.0f} s."
            )
        yield seen
        if process.poll() is not None:
            raise WatchError("The watch of the pods ended early: what came after it was not seen.")
    finally:
        process.terminate()
        process.wait()
        reader.join()


def pods(cluster: Cluster, namespace: str, selector: str) -> list[dict[str, Any]]:
    """The selected pods, those on their way out included."""
    said = cluster.kubectl("get", "pods", "-n", namespace, "-l", selector, "-o", "json")
    items: list[dict[str, Any]] = json.loads(said)["items"]
    return items


def staying(bodies: Iterable[dict[str, Any]]) -> set[str]:
    """The names of the pods that are not on their way out."""
    return {
        body["metadata"]["name"] for body in bodies if "deletionTimestamp" not in body["metadata"]
    }


def wait_for_rollout(
    cluster: Cluster, namespace: str, deployment: str, selector: str, *, timeout: float = 120.0
) -> None:
    """Until the Deployment is rolled out and its former pods are gone.

    Raises CommandError, NotSeenError.
    """
    cluster.kubectl(
        *("rollout", "status", "-n", namespace, f"deployment/{deployment}"),
        f"--timeout={timeout:.0f}s",
        timeout=timeout + 10,
    )
    wait_until(
        lambda: len(found := pods(cluster, namespace, selector)) == len(staying(found)),
        f"the former pods of the Deployment {deployment} are gone",
        timeout=timeout,
    )


def _read(process: "subprocess.Popen[bytes]", seen: ReadyPods, complete: threading.Event) -> None:
    """kubectl writes one JSON document after the other, each on one line or on many."""
    decoder = json.JSONDecoder()
    text = ""
    for line in process.stdout or ():
        text += line.decode()
        # The first and the last line of a document begin with a brace, the others with a space.
        if line[:1] not in b"{}" or not line.rstrip().endswith(b"}"):
            continue
        event, end = decoder.raw_decode(text.lstrip())
        text = text.lstrip()[end:]
        seen.see(event)
        if seen.counts:
            complete.set()
