"""The kubelet: joins the control plane as a node with a certificate of its own.

It listens on loopback and lets in whom the control plane's authority has signed: the API server,
for logs and exec. The node's address is the bridge's, and the machine's own connections to the
kubelet's port there are led to loopback.
"""

import json
from pathlib import Path
from typing import Final

from testbed.controlplane import ControlPlane
from testbed.kubeconfig import write_kubeconfig
from testbed.processes import Child, Processes
from testbed.realnode import cgroups

#: A file that is mounted into a pod follows its Secret within this time (the kubelet's own is 1 m).
_SYNC: Final = "5s"


def start_kubelet(
    processes: Processes,
    folder: Path,
    *,
    plane: ControlPlane,
    binary: Path,
    socket: Path,
    name: str,
    address: str,
    port: int,
) -> Child:
    """Starts the kubelet of node ``name``, listening on 127.0.0.1:``port``."""
    folder.mkdir(parents=True, exist_ok=True)
    client = plane.authority.client(f"kubelet-{name}", f"system:node:{name}", "system:nodes")
    kubeconfig = write_kubeconfig(
        folder / "kubeconfig", server=plane.server, ca=plane.authority.ca, client=client
    )
    config = folder / "config.json"
    config.write_text(json.dumps(_config(folder, plane=plane, socket=socket, port=port), indent=1))
    return processes.start(
        "kubelet",
        [
            str(binary),
            f"--config={config}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={name}",
            f"--node-ip={address}",
            f"--root-dir={folder / 'root'}",
            f"--cert-dir={folder / 'pki'}",
            "--v=2",
        ],
    )


def _config(folder: Path, *, plane: ControlPlane, socket: Path, port: int) -> dict[str, object]:
    endpoint = f"unix://{socket}"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": endpoint,
        "imageServiceEndpoint": endpoint,
        "address": "127.0.0.1",
        "port": port,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(plane.authority.ca)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.ROOT,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        # A test machine may be nearly full, and images that are used later must stay.
        "evictionHard": dict.fromkeys(
            ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available"), "0%"
        ),
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": False,
        "localStorageCapacityIsolation": False,
        "podLogsDir": str(folder / "pod-logs"),
        "volumePluginDir": str(folder / "volume-plugins"),
        "registerNode": True,
        "syncFrequency": _SYNC,
        "nodeStatusUpdateFrequency": "5s",
        "shutdownGracePeriod": "0s",
        "serializeImagePulls": False,
    }
