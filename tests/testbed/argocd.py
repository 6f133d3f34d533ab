"""Argo CD: its application controller and repo server, with a Redis, on a real Git repository.

It has the rights of the administrator, as it mostly has. Its API server and user interface are not
built.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from testbed.binaries import ensure
from testbed.cluster import Cluster
from testbed.controlplane import free_ports
from testbed.gitops import crd, documents, environment, plural_of, wait_established
from testbed.processes import Processes
from testbed.progress import Progress

#: The namespace that it and its Applications are in.
NAMESPACE: Final = "argocd"


class ArgoCD:
    """A running Argo CD without API server and user interface."""

    def __init__(
        self, cluster: Cluster, processes: Processes, *, settings: Mapping[str, str]
    ) -> None:
        """Builds it where it is not in the cache. Raises BuildError, StartError, CommandError.

        ``settings``: the data of argocd-cm.
        """
        (program,) = ensure(["argocd"], progress=Progress(sys.stderr)).values()
        self._cluster = cluster
        self._folder = processes.logs / "argocd"
        self._folder.mkdir(parents=True)
        part = {"app.kubernetes.io/part-of": NAMESPACE}
        group = "argoproj.io"
        kinds = ("Application", "AppProject", "ApplicationSet")
        cluster.apply(
            *(crd(group, "v1alpha1", kind, status=False) for kind in kinds),
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        )
        for kind in kinds:
            wait_established(cluster, f"{plural_of(kind)}.{group}")
        everything = [{"group": "*", "kind": "*"}]
        cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "argocd-cm", "namespace": NAMESPACE, "labels": part},
                "data": dict(settings),
            },
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "argocd-secret", "namespace": NAMESPACE, "labels": part},
            },
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "AppProject",
                "metadata": {"name": "default", "namespace": NAMESPACE},
                "spec": {
                    "sourceRepos": ["*"],
                    "destinations": [{"namespace": "*", "server": "*"}],
                    "clusterResourceWhitelist": everything,
                },
            },
        )
        redis, repository, *metrics = free_ports(4)
        scratch = self._folder / "scratch"
        scratch.mkdir()
        env = {
            **environment(),
            "TMPDIR": str(scratch),
            # "https://kubernetes.default.svc" is the cluster of the kubeconfig.
            "ARGOCD_FAKE_IN_CLUSTER": "true",
            "KUBECONFIG": str(cluster.kubeconfig),
            "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_ASK_PASS_SOCK": str(scratch / "ask.sock"),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        common = [f"--redis=127.0.0.1:{redis}", f"--kubeconfig={cluster.kubeconfig}"]
        processes.start("argocd-redis", [str(program), "redis", f"127.0.0.1:{redis}"], env=env)
        processes.start(
            "argocd-repo-server",
            [
                *(str(program), "repo-server", common[0], "--disable-tls"),
                *("--address=127.0.0.1", f"--port={repository}"),
                *("--metrics-address=127.0.0.1", f"--metrics-port={metrics[0]}"),
            ],
            env=env,
        )
        processes.start(
            "argocd-application-controller",
            [
                *(str(program), "application-controller", *common, f"--namespace={NAMESPACE}"),
                *(f"--repo-server=127.0.0.1:{repository}", "--repo-server-plaintext"),
                *("--app-resync=5", "--app-resync-jitter=0", f"--metrics-port={metrics[1]}"),
                "--loglevel=debug",
            ],
            env=env,
        )

    def repository(self, name: str, bodies: Sequence[Mapping[str, Any]]) -> str:
        """A Git repository with the bodies; returns its URL."""
        folder = self._folder / name
        folder.mkdir()
        (folder / "app.yaml").write_text(documents(bodies))
        who = ("-c", "user.name=tests", "-c", "user.email=tests@example.com")
        for arguments in (
            ("init", "--quiet", "--initial-branch=main"),
            ("add", "."),
            (*who, "commit", "--quiet", "--message=app"),
        ):
            subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)
        return f"file://{folder}"
