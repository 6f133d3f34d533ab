"""Which cluster the tests and the demo use, and the few ways they talk to it.

Looked for in this order: the one that ``KUBECONFIG`` names; kind, through pytest-kind, where a
Docker engine runs; the control plane that is built from source, with kwok's nodes. Which one it
is, and why not an earlier one, is said in :attr:`Cluster.description`.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from testbed.binaries import CONTROL_PLANE, ensure
from testbed.controlplane import ControlPlane
from testbed.kwok import start_kwok
from testbed.processes import Processes
from testbed.progress import Progress

Kind = Literal["given", "kind", "built"]
_KIND_CLUSTER: Final = "syncret-testbed"
_KIND_DESCRIPTION: Final = "a kind cluster of our own (KUBECONFIG is not set)"


class CommandError(Exception):
    """kubectl or helm failed; the text has the command and what it said."""


@dataclass
class Cluster:
    """A cluster to work in. ``real_pods``: its pods run."""

    kind: Kind
    description: str
    kubeconfig: Path
    directory: Path
    tools: Mapping[str, Path]
    real_pods: bool
    plane: ControlPlane | None = None
    processes: Processes | None = None
    _kind_cluster: Any = field(default=None, repr=False)

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Runs kubectl as the administrator. Raises CommandError."""
        return self._run("kubectl", arguments, stdin=stdin, timeout=timeout)

    def helm(self, *arguments: str, timeout: float = 120) -> str:
        """Runs helm as the administrator. Raises CommandError."""
        return self._run("helm", arguments, stdin=None, timeout=timeout)

    def apply(self, *bodies: Mapping[str, Any]) -> None:
        """Applies objects."""
        self.kubectl("apply", "-f", "-", stdin=_list(bodies))

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        """An object, or None."""
        scope = ["-n", namespace] if namespace else []
        said = self.kubectl("get", kind, name, *scope, "-o", "json", "--ignore-not-found")
        body: dict[str, Any] | None = json.loads(said) if said.strip() else None
        return body

    def secret(self, name: str, namespace: str) -> dict[str, str] | None:
        """What a Secret of text values holds, or None."""
        body = self.get("secret", name, namespace)
        if body is None:
            return None
        return {key: base64.b64decode(value).decode() for key, value in body["data"].items()}

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return self.kubectl(
            "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"
        )

    def kubeconfig_as(self, namespace: str, service_account: str) -> Path:
        """A kubeconfig that authenticates as a ServiceAccount, with its rights and no more."""
        token = self.kubectl(
            "create", "token", service_account, "-n", namespace, "--duration=8h"
        ).strip()
        path = self.directory / f"{namespace}-{service_account}.kubeconfig"
        view = json.loads(
            self.kubectl("config", "view", "--minify", "--raw", "--flatten", "-o", "json")
        )
        view["users"][0]["user"] = {"token": token}
        path.touch(mode=0o600)
        path.write_text(json.dumps(view))
        return path

    def stop(self) -> None:
        """Ends what was started for this cluster; a given cluster stays as it is."""
        if self.processes is not None:
            self.processes.stop()
        if self.plane is not None:
            self.plane.stop()
        if self._kind_cluster is not None:
            self._kind_cluster.delete()

    def _run(
        self, tool: str, arguments: tuple[str, ...], *, stdin: str | None, timeout: float
    ) -> str:
        command = [str(self.tools[tool]), f"--kubeconfig={self.kubeconfig}", *arguments]
        try:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                env={**os.environ, **_helm_folders(self.directory)},
                process_group=0,  # Ctrl-C is ours to handle
            )
        except subprocess.TimeoutExpired:
            raise CommandError(
                f"{tool} {' '.join(arguments)}: no end after {timeout:.0f} s"
            ) from None
        if done.returncode:
            raise CommandError(f"{tool} {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def find_cluster(
    *, progress: Progress, directory: Path | None = None, record: Path | None = None
) -> Cluster:
    """The first cluster that there is; says which. Raises BuildError, StartError, CommandError.

    ``record``: what is started outlives us, and its processes are written down there.
    """
    folder = directory or Path(tempfile.mkdtemp(prefix="syncret-testbed-"))
    folder.mkdir(parents=True, exist_ok=True)
    given = os.environ.get("KUBECONFIG", "")
    if given:
        description = f"the cluster that KUBECONFIG names ({given})"
        _say(progress, description)
        return _given(given, folder, progress, description)
    no_kind = _why_no_kind()
    if not no_kind:
        _say(progress, _KIND_DESCRIPTION)
        return _kind(folder, progress)
    description = (
        "a control plane built from source; kwok plays its nodes, so pods exist in the API and no "
        f"container runs (KUBECONFIG is not set; kind: {no_kind})"
    )
    _say(progress, description)
    return _built(folder, progress, description, record=record)


def _say(progress: Progress, description: str) -> None:
    progress.say(textwrap.fill(f"Using {description}.", width=100))


def reopened(
    *, kind: Kind, kubeconfig: Path, directory: Path, tools: Mapping[str, Path]
) -> Cluster:
    """A cluster that an earlier process found, to be looked at and stopped.

    The processes of a built one are not among what it stops: those are in their record.
    """
    return Cluster(
        kind=kind,
        description=f"the {kind} cluster of an earlier run",
        kubeconfig=kubeconfig,
        directory=directory,
        tools=tools,
        real_pods=kind != "built",
        _kind_cluster=_pytest_kind(kubeconfig, tools) if kind == "kind" else None,
    )


def _given(kubeconfig: str, folder: Path, progress: Progress, description: str) -> Cluster:
    if os.pathsep in kubeconfig:
        raise CommandError(
            "KUBECONFIG names several files; set it to one: "
            "kubectl config view --raw --minify --flatten > one.kubeconfig"
        )
    cluster = Cluster(
        kind="given",
        description=description,
        kubeconfig=Path(kubeconfig).absolute(),
        directory=folder,
        tools=_tools(progress),
        real_pods=True,
    )
    cluster.kubectl("get", "--raw", "/readyz")
    return cluster


def _why_no_kind() -> str:
    """Why kind cannot be used; "" if it can."""
    docker = shutil.which("docker")
    if docker is None:
        return "no docker command"
    try:
        subprocess.run([docker, "info"], capture_output=True, timeout=20, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError):
        return "no Docker engine runs"
    if shutil.which("kind") is None:
        return "a Docker engine runs, but there is no kind command"
    return ""


def _kind(folder: Path, progress: Progress) -> Cluster:
    """A kind cluster of our own. Not seen to run where this was written: no Docker engine there."""
    tools = _tools(progress)
    command = shutil.which("kind") or "kind"
    known = subprocess.run([command, "get", "clusters"], capture_output=True, text=True, check=True)
    if _KIND_CLUSTER in known.stdout.split():
        raise CommandError(
            f"A kind cluster {_KIND_CLUSTER} is there already, of another run or left by a killed "
            f"one; this removes it: kind delete cluster --name={_KIND_CLUSTER}"
        )
    kubeconfig = folder / "kind.kubeconfig"
    kind = _pytest_kind(kubeconfig, tools)
    with progress.step("creating a kind cluster", estimate=90):
        try:
            kind.create()
        except BaseException:
            kind.delete()
            raise
    return Cluster(
        kind="kind",
        description=_KIND_DESCRIPTION,
        kubeconfig=kubeconfig,
        directory=folder,
        tools=tools,
        real_pods=True,
        _kind_cluster=kind,
    )


def _pytest_kind(kubeconfig: Path, tools: Mapping[str, Path]) -> Any:
    from pytest_kind import KindCluster

    return KindCluster(
        _KIND_CLUSTER,
        kubeconfig=kubeconfig,
        kind_path=Path(shutil.which("kind") or "kind"),
        kubectl_path=tools["kubectl"],
    )


def _built(folder: Path, progress: Progress, description: str, *, record: Path | None) -> Cluster:
    tools = ensure(CONTROL_PLANE, progress=progress)
    with progress.step(
        "starting etcd, API server, controller manager, scheduler and kwok",
        done=lambda: "the control plane is ready",
        estimate=5,
    ):
        plane = ControlPlane.start(folder, binaries=tools, record=record)
        processes = Processes(folder / "logs", detached=record is not None, record=record)
        try:
            start_kwok(processes, binaries=tools, kubeconfig=plane.kubeconfig)
        except BaseException:
            processes.stop()
            plane.stop()
            raise
    return Cluster(
        kind="built",
        description=description,
        kubeconfig=plane.kubeconfig,
        directory=folder,
        tools=tools,
        real_pods=False,
        plane=plane,
        processes=processes,
    )


def _tools(progress: Progress) -> dict[str, Path]:
    """kubectl and helm: the machine's own, or built."""
    found = {name: shutil.which(name) for name in ("kubectl", "helm")}
    built = ensure([name for name, path in found.items() if path is None], progress=progress)
    return built | {name: Path(path) for name, path in found.items() if path is not None}


def _helm_folders(folder: Path) -> dict[str, str]:
    """helm's own folders, away from the user's."""
    return {
        "HELM_CACHE_HOME": str(folder / "helm" / "cache"),
        "HELM_CONFIG_HOME": str(folder / "helm" / "config"),
        "HELM_DATA_HOME": str(folder / "helm" / "data"),
    }


def _list(bodies: tuple[Mapping[str, Any], ...]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(bodies)})
