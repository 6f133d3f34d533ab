"""Flux: its kustomize-controller, with the rights of the administrator, as it mostly has.

Its source-controller is not built: what that would fetch from Git is served by us, as the artifact
of a GitRepository whose status we write.
"""

import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Mapping, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from testbed.binaries import ensure
from testbed.cluster import Cluster
from testbed.controlplane import free_ports
from testbed.gitops import crd, documents, environment, plural_of, wait_established
from testbed.processes import Processes
from testbed.progress import Progress


class Flux:
    """A running kustomize-controller, and the server of artifacts."""

    def __init__(self, cluster: Cluster, processes: Processes) -> None:
        """Builds it where it is not in the cache. Raises BuildError, StartError, CommandError."""
        (program,) = ensure(["kustomize-controller"], progress=Progress(sys.stderr)).values()
        self._cluster = cluster
        self._folder = processes.logs / "flux"
        self._folder.mkdir(parents=True)
        source = "source.toolkit.fluxcd.io"
        sources = ("GitRepository", "Bucket", "OCIRepository", "ExternalArtifact")
        cluster.apply(
            crd("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", status=True),
            *(crd(source, "v1", kind, status=True) for kind in sources),
        )
        wait_established(cluster, "kustomizations.kustomize.toolkit.fluxcd.io")
        for kind in sources:
            wait_established(cluster, f"{plural_of(kind)}.{source}")
        metrics, health = free_ports(2)
        processes.start(
            "kustomize-controller",
            [
                str(program),
                f"--metrics-addr=127.0.0.1:{metrics}",
                f"--health-addr=127.0.0.1:{health}",
                "--watch-all-namespaces=true",
                "--log-level=debug",
            ],
            env={
                **environment(),
                "KUBECONFIG": str(cluster.kubeconfig),
                "RUNTIME_NAMESPACE": "default",
            },
        )
        handler = partial(_Quiet, directory=str(self._folder))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        Thread(target=self._server.serve_forever, daemon=True).start()

    def publish(self, namespace: str, bodies: Sequence[Mapping[str, Any]]) -> None:
        """Makes the bodies what the GitRepository ``app`` of a namespace has."""
        content = _archive({"app.yaml": documents(bodies)})
        digest = hashlib.sha256(content).hexdigest()
        path = f"{namespace}-{digest[:12]}.tar.gz"
        (self._folder / path).write_bytes(content)
        meta = {"name": "app", "namespace": namespace}
        self._cluster.apply(
            {
                "apiVersion": "source.toolkit.fluxcd.io/v1",
                "kind": "GitRepository",
                "metadata": meta,
                "spec": {"interval": "1h", "url": "https://git.invalid/app"},
            }
        )
        repository = self._cluster.get("gitrepository", "app", namespace)
        assert repository is not None
        status = {
            "observedGeneration": repository["metadata"]["generation"],
            "artifact": {
                "url": f"http://127.0.0.1:{self._server.server_port}/{path}",
                "path": path,
                "revision": f"main@sha1:{digest[:40]}",
                "digest": f"sha256:{digest}",
                "size": len(content),
                "lastUpdateTime": "2026-01-01T00:00:00Z",
            },
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "Succeeded",
                    "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ],
        }
        self._cluster.kubectl(
            *("patch", "gitrepository", "app", "-n", namespace, "--subresource=status"),
            *("--type=merge", "-p", json.dumps({"status": status})),
        )

    def close(self) -> None:
        """Ends the server of artifacts; the controller ends with the other processes."""
        self._server.shutdown()
        self._server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has there
        """Nothing: the controller logs what it fetches."""


def _archive(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
