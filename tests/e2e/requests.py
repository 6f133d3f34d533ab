"""Requests to the pods of a Service while something is done to them: who answers, and who does not.

Each round asks every pod that the Service's EndpointSlices call ready at that moment, as something
that balances load would. The requests go through the API server's proxy, which reaches pods where
this machine may not.
"""

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from testbed.cluster import Cluster
from testbed.processes import tied

_TIMEOUT: Final = 5.0
_PAUSE: Final = 0.02


@dataclass
class Answers:
    """``counts``: how many pods answered, for each round; ``failed``: what went wrong."""

    counts: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    pods: set[str] = field(default_factory=set)


@contextmanager
def requested(cluster: Cluster, namespace: str, service: str, *, port: int) -> Iterator[Answers]:
    """Asks the pods of a Service on and on while the block runs."""
    kubectl = [str(cluster.tools["kubectl"]), f"--kubeconfig={cluster.kubeconfig}"]
    proxy = tied([*kubectl, "proxy", "--port=0"], stdout=subprocess.PIPE)
    assert proxy.stdout is not None
    address = proxy.stdout.readline().decode().rsplit(" ", 1)[-1].strip()
    answers, ended = Answers(), threading.Event()

    def ask_on() -> None:
        while not ended.is_set():
            _round(f"http://{address}", namespace, service, port, answers)
            time.sleep(_PAUSE)

    asking = threading.Thread(target=ask_on, daemon=True)
    asking.start()
    try:
        yield answers
    finally:
        ended.set()
        asking.join()
        proxy.terminate()
        proxy.wait()


def _round(server: str, namespace: str, service: str, port: int, answers: Answers) -> None:
    selector = f"labelSelector=kubernetes.io/service-name%3D{service}"
    slices = f"{server}/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?{selector}"
    found = json.loads(_get(slices))["items"]
    ready = [
        endpoint["targetRef"]["name"]
        for one in found
        for endpoint in one["endpoints"] or ()
        if endpoint["conditions"]["ready"]
    ]
    answered = 0
    for pod in ready:
        try:
            _get(f"{server}/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/")
        except OSError as error:
            answers.failed.append(f"{pod}: {error}")
        else:
            answered += 1
            answers.pods.add(pod)
    answers.counts.append(answered)


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310 - our own proxy
        body: bytes = answer.read()
    return body
