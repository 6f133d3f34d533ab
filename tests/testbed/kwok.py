"""Nodes and pods that only exist in the API: kwok plays the kubelet, by our own stages.

Deployments really roll: the controllers and the scheduler are real, only the containers are not.
A pod with the label ``testbed/never-ready: "true"`` starts and never becomes Ready, one with
``testbed/breaks: "true"`` not after its workload was restarted for a Secret.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from testbed.processes import Processes

_NOT_READY: Final = "node.kubernetes.io/not-ready:NoSchedule"
_STAGES: Final = Path(__file__).parent / "stages"


def start_kwok(
    processes: Processes, *, binaries: Mapping[str, Path], kubeconfig: Path, nodes: int = 1
) -> None:
    """Starts kwok and makes the nodes."""
    stages = [f"--config={stage}" for stage in sorted(_STAGES.glob("*.yaml"))]
    processes.start(
        "kwok",
        [
            str(binaries["kwok"]),
            f"--kubeconfig={kubeconfig}",
            "--manage-all-nodes=true",
            "--node-lease-duration-seconds=40",
            "--cidr=10.20.0.0/16",
            "--server-address=",
            *stages,
        ],
    )
    kubectl = [str(binaries["kubectl"]), f"--kubeconfig={kubeconfig}"]
    items = [_node(f"fake-{number}") for number in range(nodes)]
    subprocess.run(
        [*kubectl, "create", "-f", "-"],
        input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}),
        text=True,
        check=True,
        capture_output=True,
    )
    # Put on every new node at admission; the controller that takes it away is switched off.
    subprocess.run(
        [*kubectl, "taint", "nodes", "--all", f"{_NOT_READY}-"], check=True, capture_output=True
    )


def _node(name: str) -> dict[str, object]:
    size = {"cpu": "64", "memory": "256Gi", "pods": "1000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
        },
        "status": {"allocatable": size, "capacity": size},
    }
