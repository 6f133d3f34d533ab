"""The operator as a process of its own, under the chart's ServiceAccount and with its rights.

The chart is installed with no replicas: everything but the pod is what a user gets, and a verb
that is missing in its ClusterRole is missing here too.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from testbed.cluster import Cluster
from testbed.controlplane import free_ports
from testbed.processes import Child, Processes, wait_for

REPOSITORY: Final = Path(__file__).resolve().parents[2]
CHART: Final = REPOSITORY / "helm" / "syncret"
NAMESPACE: Final = "syncret"
SERVICE_ACCOUNT: Final = "syncret"
READY_TIMEOUT: Final = 30.0

#: What the operator inherits. Nothing that names credentials or a cluster may come along.
_INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR")

Metrics = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


def install_chart(cluster: Cluster, *values: str) -> None:
    """Installs the CRDs and the chart with Helm, without a pod. Raises CommandError.

    ``values``: as ``--set`` takes them.
    """
    cluster.helm(
        *("upgrade", "--install", "syncret", str(CHART)),
        *("--namespace", NAMESPACE, "--create-namespace"),
        *(f"--set={value}" for value in ("replicas=0", *values)),
    )


@dataclass
class Operator:
    """A running operator. ``start`` again after ``kill`` or ``stop`` starts another one."""

    cluster: Cluster
    processes: Processes
    arguments: Sequence[str] = (
        "--log-level=debug",
        "--log-format=json",
        "--lease-duration=5s",  # a killed one keeps its successor waiting for as long
    )
    env: Mapping[str, str] = field(default_factory=dict)
    name: str = "operator"
    service_account: str = SERVICE_ACCOUNT
    port: int = 0
    child: Child | None = None

    def start(self, *, ready: bool = True) -> "Operator":
        """Starts it; ``ready``: returns when /readyz says so. Raises StartError."""
        if not self.port:
            (self.port,) = free_ports(1)
        self.child = self.processes.start(
            self.name,
            [
                *(sys.executable, "-m", "syncret", "run"),
                f"--kubeconfig={self.cluster.kubeconfig_as(NAMESPACE, self.service_account)}",
                f"--http-address=127.0.0.1:{self.port}",
                *self.arguments,
            ],
            env={
                **{name: os.environ[name] for name in _INHERITED if name in os.environ},
                "POD_NAMESPACE": NAMESPACE,
                "POD_NAME": self.name,
                "AWS_EC2_METADATA_DISABLED": "true",
                **self.env,
            },
        )
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Returns when /readyz says so. Raises StartError if it ends, or takes too long."""
        wait_for(self.is_ready, self.running, timeout=READY_TIMEOUT, what="it is ready")

    @property
    def running(self) -> Child:
        if self.child is None:
            raise RuntimeError("the operator was not started")
        return self.child

    @property
    def log(self) -> str:
        """Everything it and its predecessors have logged."""
        return self.running.log.read_text(errors="replace")

    def is_ready(self) -> bool:
        return self.probe("/readyz")[0] == 200

    def probe(self, path: str) -> tuple[int, str]:
        """The status and the text of one of its pages; 0 where nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (urllib.error.URLError, OSError):
            return 0, ""

    def metrics(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample by its name and its sorted labels."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.probe("/metrics")[1])
            for sample in family.samples
        }

    def metric(self, name: str, /, **labels: str) -> float:
        """The sum of the samples of that name that have (at least) these labels."""
        wanted = labels.items()
        return sum(
            value
            for (sample, having), value in self.metrics().items()
            if sample == name and wanted <= dict(having).items()
        )

    def log_records(self) -> list[dict[str, object]]:
        """Its log lines, parsed. A line that is no JSON fails the caller."""
        return [json.loads(line) for line in self.log.splitlines() if line]

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        return self.running.stop()

    def kill(self) -> None:
        """SIGKILL, and waits until it is gone."""
        self.running.process.kill()
        self.running.process.wait()
