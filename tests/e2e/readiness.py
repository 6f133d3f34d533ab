"""Watches how many pods are Ready, from event to event, so that no short gap is missed."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from testbed.cluster import Cluster


@dataclass
class ReadyPods:
    """The numbers of Ready pods that were seen, in order, from the first complete one on.

    A pod that is being deleted does not count: it is on its way out whatever its condition says.
    """

    wanted: int
    counts: list[int] = field(default_factory=list)
    _ready: dict[str, bool] = field(default_factory=dict)

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
    """Watches the selected pods while the block runs."""
    command = [
        *(str(cluster.tools["kubectl"]), f"--kubeconfig={cluster.kubeconfig}", "get", "pods"),
        *("-n", namespace, "-l", selector, "--watch", "--output-watch-events", "-o", "json"),
    ]
    seen = ReadyPods(wanted)
    complete = threading.Event()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0)
    assert process.stdout is not None
    reader = threading.Thread(target=_read, args=(process.stdout, seen, complete), daemon=True)
    reader.start()
    try:
        assert complete.wait(30), f"the watch did not show {wanted} Ready pods"
        yield seen
        assert process.poll() is None, "the watch ended early: what came after it was not seen"
    finally:
        process.terminate()
        process.wait()
        reader.join()


def _read(stream: IO[str], seen: ReadyPods, complete: threading.Event) -> None:
    """kubectl writes one JSON document after the other, over many lines each."""
    decoder = json.JSONDecoder()
    text = ""
    for line in stream:
        text += line
        if line.rstrip() != "}":  # a document ends with a brace in the first column
            continue
        event, end = decoder.raw_decode(text.lstrip())
        text = text.lstrip()[end:]
        seen.see(event)
        if seen.counts:
            complete.set()
