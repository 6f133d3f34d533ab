"""Where the pods run: kind where a Docker engine works, else a real node of our own.

Both end in the same few facts: a cluster, the images it knows, and AWS (played by moto on this
machine) with the address that its pods reach it at.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testbed import cluster as clusters
from testbed.binaries import CONTROL_PLANE, ensure
from testbed.cluster import Cluster
from testbed.controlplane import ControlPlane
from testbed.moto import Moto
from testbed.processes import Processes
from testbed.progress import Progress
from testbed.realnode import Images, RealNode, missing_requirements
from testbed.realnode.images import BUSYBOX, OPERATOR, build_secrets

REPOSITORY: Final = Path(__file__).resolve().parents[2]
_PUBLIC_BUSYBOX: Final = "docker.io/library/busybox:1.37"
_BUILD_TIMEOUT: Final = 1200.0


@dataclass(frozen=True, slots=True)
class Environment:
    """A cluster whose pods run, and AWS.

    Attributes:
        cluster: The cluster, with kubectl and helm.
        secrets_manager: A boto3 client of AWS, as a person outside the cluster has one.
        endpoint: The URL of AWS as pods see it.
        operator_image: The operator's image, which the cluster's nodes have.
        busybox_image: An image with a shell, which they have as well.
        dns_policy: What pods need here: on the real node there is no cluster DNS.
    """

    cluster: Cluster
    secrets_manager: Any
    endpoint: str
    operator_image: str
    busybox_image: str
    dns_policy: str


def why_not_here() -> tuple[str, list[str]]:
    """Why kind cannot be used ("" if it can), and what is missing for a real node."""
    return clusters._why_no_kind(), missing_requirements()


@contextmanager
def running(progress: Progress, *, keep_logs: Callable[[], bool]) -> Iterator[Environment]:
    """The first environment that can run here, and its end."""
    no_kind = clusters._why_no_kind()
    folder = Path(tempfile.mkdtemp(prefix="syncret-e2e-"))
    try:
        if no_kind:
            progress.say(
                f"Using a real node of our own: containerd and a kubelet (kind: {no_kind})."
            )
            with _on_real_node(folder, progress) as environment:
                yield environment
        else:
            progress.say("Using kind.")
            with _on_kind(folder, progress) as environment:
                yield environment
    except BaseException:
        progress.say(f"The logs are in {folder}.")
        raise
    if keep_logs():
        progress.say(f"The logs are in {folder}.")
    else:
        shutil.rmtree(folder)


@contextmanager
def _on_real_node(folder: Path, progress: Progress) -> Iterator[Environment]:
    with ExitStack() as stack:
        tools = ensure([*CONTROL_PLANE, "kubelet"], progress=progress)
        images = Images(folder / "images")
        operator = images.operator(REPOSITORY, progress=progress)
        with progress.step("starting the control plane", estimate=5):
            plane = ControlPlane.start(folder / "plane", binaries=tools)
        stack.callback(plane.stop)
        node = RealNode.start(plane, folder / "node", progress=progress, images=images)
        stack.callback(node.stop)
        with progress.step("bringing the operator's image to the node", estimate=4):
            node.import_image(operator)
        processes = Processes(folder / "logs")
        stack.callback(processes.stop)
        moto = Moto(processes)
        yield Environment(
            cluster=Cluster(
                kind="built",
                description="the control plane built from source, with a real node",
                kubeconfig=plane.kubeconfig,
                directory=folder,
                tools=tools,
                real_pods=True,
            ),
            secrets_manager=moto.client("secretsmanager"),
            endpoint=f"http://{node.address_for_pods(int(moto.endpoint.rpartition(':')[2]))}",
            operator_image=OPERATOR,
            busybox_image=BUSYBOX,
            dns_policy="Default",
        )


@contextmanager
def _on_kind(folder: Path, progress: Progress) -> Iterator[Environment]:
    """Not seen to run where this was written: no Docker engine there."""
    with ExitStack() as stack:
        with progress.step("building the operator's image from the Dockerfile", estimate=90):
            secrets = build_secrets(folder)
            named = [f"--secret=id={name},src={file}" for name, file in secrets.items()]
            _docker("build", "--quiet", "--tag", OPERATOR, *named, str(REPOSITORY))
        _docker("pull", "--quiet", _PUBLIC_BUSYBOX)
        cluster = clusters._kind(folder, progress)
        stack.callback(cluster.stop)
        with progress.step("bringing the images to the node", estimate=20):
            for image in (OPERATOR, _PUBLIC_BUSYBOX):
                cluster._kind_cluster.load_docker_image(image)
        processes = Processes(folder / "logs")
        stack.callback(processes.stop)
        # Pods of kind cannot reach this machine's loopback. Docker's own bridge is the next
        # closest: nothing beyond this machine can reach it either.
        gateways = "{{range .IPAM.Config}}{{.Gateway}} {{end}}"
        known = _docker("network", "inspect", "kind", "--format", gateways).split()
        moto = Moto(processes, host=next(gateway for gateway in known if "." in gateway))
        yield Environment(
            cluster=cluster,
            secrets_manager=moto.client("secretsmanager"),
            endpoint=moto.endpoint,
            operator_image=OPERATOR,
            busybox_image=_PUBLIC_BUSYBOX,
            dns_policy="ClusterFirst",
        )


def _docker(*arguments: str) -> str:
    done = subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=_BUILD_TIMEOUT,
        process_group=0,
    )
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-25:])
        raise clusters.CommandError(f"docker {' '.join(arguments)}:\n{tail}")
    return done.stdout
