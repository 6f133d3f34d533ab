"""A real control plane on loopback: etcd, API server, controller manager, scheduler.

Ready in about four seconds. The audit log, at Metadata level, is the truth about who read and
wrote what.
"""

import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from testbed.kubeconfig import write_kubeconfig
from testbed.pki import Authority, Pair
from testbed.processes import Child, Processes, StartError, wait_for

_READY_TIMEOUT: Final = 60.0
_SERVICE_RANGE: Final = "10.96.0.0/16"

# Everything that a cluster without cloud, volumes and real nodes has no use for.
_UNNEEDED_CONTROLLERS: Final = (
    "bootstrap-signer-controller",
    "certificatesigningrequest-cleaner-controller",
    "clusterrole-aggregation-controller",
    "node-ipam-controller",
    "node-lifecycle-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-expander-controller",
    "persistentvolume-protection-controller",
    "token-cleaner-controller",
)


def free_ports(count: int) -> list[int]:
    """Ports that are free now; held open together so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclass
class ControlPlane:
    """A running control plane."""

    directory: Path
    binaries: Mapping[str, Path]
    processes: Processes
    server: str = ""
    authority: Authority = field(init=False)
    _apiserver: tuple[str, ...] = ()
    _apiserver_child: Child | None = None

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        binaries: Mapping[str, Path],
        record: Path | None = None,
        controllers: bool = True,
    ) -> "ControlPlane":
        """Starts everything and returns when the API server is ready. Raises StartError.

        ``record``: it outlives us, and its processes are written down there. Without
        ``controllers`` there are the API server and etcd only.
        """
        processes = Processes(directory / "logs", detached=record is not None, record=record)
        plane = cls(directory, binaries, processes)
        plane.authority = Authority(directory / "pki")
        try:
            plane._start(controllers=controllers)
        except BaseException:
            plane.stop()
            raise
        return plane

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.directory / "audit.log"

    def audit(self) -> Iterator[dict[str, Any]]:
        """The audit events so far, at the stage of the complete response."""
        with self.audit_log.open() as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)

    def kubeconfig_for(self, name: str, *, token: str) -> Path:
        """A kubeconfig that authenticates with a token."""
        return write_kubeconfig(
            self.directory / f"{name}.kubeconfig",
            server=self.server,
            ca=self.authority.ca,
            token=token,
        )

    def restart_apiserver(self) -> None:
        """Stops the API server and starts it again on the same port and data."""
        if self._apiserver_child is not None:
            self._apiserver_child.stop()
        self._start_apiserver()

    def stop(self) -> None:
        self.processes.stop()

    def _start(self, *, controllers: bool) -> None:
        # Another process may take a port between our look and the server's bind.
        for attempt in range(3):
            etcd, peer, api = free_ports(3)
            try:
                self._start_etcd(etcd, peer)
                self._apiserver = self._apiserver_command(etcd, api)
                self.server = f"https://127.0.0.1:{api}"
                self._start_apiserver()
                break
            except StartError as error:
                self.processes.stop()
                if attempt == 2 or "address already in use" not in str(error):
                    raise
        admin = self.authority.client("admin", "admin", "system:masters")
        write_kubeconfig(self.kubeconfig, server=self.server, ca=self.authority.ca, client=admin)
        if controllers:
            self._start_controllers()

    def _start_etcd(self, port: int, peer: int) -> None:
        url, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        child = self.processes.start(
            "etcd",
            [
                str(self.binaries["etcd"]),
                f"--data-dir={self.directory / 'etcd'}",
                *(f"--listen-client-urls={url}", f"--advertise-client-urls={url}"),
                *(f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"),
                f"--initial-cluster=default={peers}",
                "--unsafe-no-fsync",  # the data live as long as the test
                "--log-level=warn",
            ],
        )
        wait_for(lambda: _answers(f"{url}/health"), child, timeout=30, what="etcd is healthy")

    def _apiserver_command(self, etcd: int, port: int) -> tuple[str, ...]:
        serving = self.authority.server("apiserver")
        tokens = self.authority.signing_keys("service-account")
        # For logs and exec on a real node, whose kubelet lets in nobody else.
        kubelets = self.authority.client("kubelet-client", "kubelet-client", "system:masters")
        policy = self.directory / "audit-policy.yaml"
        policy.write_text(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n"
            "rules: [{level: Metadata}]\n"
        )
        return (
            str(self.binaries["kube-apiserver"]),
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            *("--bind-address=127.0.0.1", f"--secure-port={port}"),
            f"--tls-cert-file={serving.cert}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self.authority.ca}",
            f"--service-account-key-file={tokens.cert}",
            f"--service-account-signing-key-file={tokens.key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={_SERVICE_RANGE}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--endpoint-reconciler-type=none",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={kubelets.cert}",
            f"--kubelet-client-key={kubelets.key}",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-mode=blocking",
            "--v=1",
        )

    def _start_apiserver(self) -> None:
        child = self.processes.start("kube-apiserver", self._apiserver)
        self._apiserver_child = child
        wait_for(
            lambda: _answers(f"{self.server}/readyz", ca=self.authority.ca),
            child,
            timeout=_READY_TIMEOUT,
            what="the API server is ready",
        )

    def _start_controllers(self) -> None:
        ca, key = self.authority.ca, self.directory / "pki" / "service-account.key"
        manager = self._component("kube-controller-manager")
        scheduler = self._component("kube-scheduler")
        off = [f"-{controller}" for controller in _UNNEEDED_CONTROLLERS]
        self.processes.start(
            "kube-controller-manager",
            [
                str(self.binaries["kube-controller-manager"]),
                f"--kubeconfig={manager}",
                "--use-service-account-credentials",
                f"--root-ca-file={ca}",
                f"--service-account-private-key-file={key}",
                f"--controllers={','.join(['*', *off])}",
                *("--secure-port=0", "--leader-elect=false"),
            ],
        )
        self.processes.start(
            "kube-scheduler",
            [
                str(self.binaries["kube-scheduler"]),
                f"--kubeconfig={scheduler}",
                *("--secure-port=0", "--leader-elect=false"),
            ],
        )

    def _component(self, name: str) -> Path:
        client: Pair = self.authority.client(name, f"system:{name}")
        return write_kubeconfig(
            self.directory / f"{name}.kubeconfig",
            server=self.server,
            ca=self.authority.ca,
            client=client,
        )


def _answers(url: str, *, ca: Path | None = None) -> bool:
    context = ssl.create_default_context(cafile=str(ca)) if ca is not None else None
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False
