"""A real node that joins a control plane of the test bed."""

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from testbed.binaries import ensure
from testbed.controlplane import ControlPlane, free_ports
from testbed.processes import Processes, StartError, wait_for
from testbed.progress import Progress
from testbed.realnode import cgroups
from testbed.realnode.containerd import Containerd, ContainerdError
from testbed.realnode.images import PAUSE, Images
from testbed.realnode.kubelet import start_kubelet
from testbed.realnode.network import Network
from testbed.realnode.record import PROCESSES, Record, lock, refuse_kept
from testbed.realnode.requirements import cni_folder, missing_requirements
from testbed.realnode.sweep import sweep

NODE: Final = "real"
_READY_TIMEOUT: Final = 90.0
_DELETE_TIMEOUT: Final = 30.0
_NOT_READY: Final = "node.kubernetes.io/not-ready"


@dataclass
class RealNode:
    """A running node. Its pods run, and see this machine's ports that were opened for them."""

    plane: ControlPlane
    directory: Path
    network: Network
    containerd: Containerd
    kubectl: Path
    _processes: Processes
    _lock: IO[str] = field(repr=False)

    @classmethod
    def start(
        cls,
        plane: ControlPlane,
        directory: Path,
        *,
        progress: Progress,
        images: Images,
        detached: bool = False,
    ) -> "RealNode":
        """Starts a node and returns when it is Ready.

        ``detached``: it outlives this process, until :func:`testbed.realnode.sweep.sweep`.
        Raises StartError, BusyError, BuildError, ImageError, NetworkError.
        """
        missing = missing_requirements()
        plugins = cni_folder()
        if missing or plugins is None:
            raise StartError(" ".join(missing))
        held = lock()
        try:
            held.write(str(os.getpid()))
            held.flush()
            refuse_kept()
            left = sweep()
            if left:
                progress.say(f"  Removed what an earlier node had left: {len(left)} things.")
            binaries = ensure(["kubelet", "kubectl"], progress=progress)
            pause = images.busybox(progress=progress)
            processes = Processes(directory / "logs", detached=detached)
            try:
                with progress.step(
                    "starting containerd and the kubelet",
                    done=lambda: "the node is Ready",
                    estimate=12,
                ):
                    return cls._start(plane, directory, processes, held, plugins, binaries, pause)
            except BaseException:
                processes.stop()
                sweep()
                raise
        except BaseException:
            held.close()
            raise

    @classmethod
    def _start(
        cls,
        plane: ControlPlane,
        directory: Path,
        processes: Processes,
        held: IO[str],
        plugins: Path,
        binaries: dict[str, Path],
        pause: Path,
    ) -> "RealNode":
        directory.mkdir(parents=True, exist_ok=True)
        socket = directory / "containerd.sock"
        Record.write(directory, containerd_socket=socket)
        cgroups.create()
        network = Network.create(directory / "cni")
        containerd = Containerd.start(
            processes,
            directory / "containerd",
            socket=socket,
            cni=directory / "cni",
            plugins=plugins,
            pause=PAUSE,
        )
        node = cls(plane, directory, network, containerd, binaries["kubectl"], processes, held)
        node.import_image(pause)
        (port,) = free_ports(1)
        network.open_to_host(port=port)
        node._open_api()
        kubelet = start_kubelet(
            processes,
            directory / "kubelet",
            plane=plane,
            binary=binaries["kubelet"],
            socket=socket,
            name=NODE,
            address=network.gateway,
            port=port,
        )
        processes.write_state(PROCESSES)
        wait_for(node._ready, kubelet, timeout=_READY_TIMEOUT, what="the node is Ready")
        # Put on every new node at admission; the controller that takes it away is switched off.
        node._kubectl("taint", "node", NODE, f"{_NOT_READY}-")
        return node

    def import_image(self, archive: Path) -> None:
        """Makes an image known to the node, under the name that the OCI archive has for it."""
        self.containerd.ctr("images", "import", str(archive))

    def address_for_pods(self, port: int) -> str:
        """Lets pods reach 127.0.0.1:``port`` of this machine; returns host:port as they see it."""
        self.network.open_to_pods(address=self.network.gateway, port=port, local_port=port)
        return f"{self.network.gateway}:{port}"

    def stop(self) -> None:
        """Deletes the pods, stops the node, and leaves nothing of it on the machine."""
        try:
            if self.containerd.child.alive:
                self._delete_pods()
        finally:
            self._processes.stop()
            PROCESSES.unlink(missing_ok=True)
            sweep()
            self._lock.close()

    def _open_api(self) -> None:
        """The address that every pod is given for the API server leads to it."""
        service = self._kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
        self.network.open_to_pods(
            address=service.strip(), port=443, local_port=int(self.plane.server.rpartition(":")[2])
        )

    def _ready(self) -> bool:
        said = self._kubectl("get", "nodes", "-o", "json")
        return any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for node in json.loads(said)["items"]
            if node["metadata"]["name"] == NODE
            for condition in node["status"].get("conditions", [])
        )

    def _delete_pods(self) -> None:
        """In order, so that the runtime and the network plugin clean up; what fails is swept."""
        try:
            self._kubectl("cordon", NODE)
            self._kubectl("delete", "pods", "-A", "--all", "--grace-period=1", "--wait=false")
            deadline = time.monotonic() + _DELETE_TIMEOUT
            while time.monotonic() < deadline and (self._pods() or self._tasks()):
                time.sleep(0.2)
        except (subprocess.SubprocessError, StartError, ContainerdError):
            return

    def _pods(self) -> bool:
        """Whether the API knows pods of this node."""
        selector = f"--field-selector=spec.nodeName={NODE}"
        return bool(self._kubectl("get", "pods", "-A", selector, "-o", "name").strip())

    def _tasks(self) -> bool:
        """Whether anything runs; what has ended is still listed as a container for a minute."""
        return bool(self.containerd.ctr("tasks", "ls", "-q").strip())

    def _kubectl(self, *arguments: str) -> str:
        command = [str(self.kubectl), f"--kubeconfig={self.plane.kubeconfig}", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, process_group=0
        )
        if done.returncode:
            raise StartError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout
