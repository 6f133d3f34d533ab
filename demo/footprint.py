"""What the demo makes in a cluster that it does not own: first refused, in the end removed.

Nothing that was there before is touched. So the demo does not begin where its namespaces, a
release of Syncret or objects of Syncret exist, and what it removes can only be its own.
"""

import json
from dataclasses import dataclass
from typing import Final

import yaml

from demo.declared import NAMESPACE
from testbed.cluster import Cluster, CommandError
from testbed.operator import NAMESPACE as OPERATOR_NAMESPACE
from testbed.operator import REPOSITORY

_RELEASE: Final = "syncret"
_KINDS: Final = "externalsecrets,secretstores,clustersecretstores,clusterexternalsecrets"
_STOP_TIMEOUT: Final = 120


class RefusedError(Exception):
    """The cluster holds something that the demo might touch; the text says what."""


class RemovalError(Exception):
    """Something that the demo has made could not be removed; the text says what."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the demo makes in the cluster. ``crds``: whether the CRDs are among it."""

    cluster: Cluster
    crds: bool = True

    @classmethod
    def claim(cls, cluster: Cluster) -> "Footprint":
        """Makes sure that what the demo is about to make is not there yet. Raises RefusedError."""
        if cluster.kind != "given":
            return cls(cluster)  # it was made for the demo
        _refuse_release(cluster)
        for namespace in (NAMESPACE, OPERATOR_NAMESPACE):
            if cluster.get("namespace", namespace) is not None:
                raise RefusedError(
                    f'The cluster has a namespace "{namespace}" already. The demo makes one of '
                    "that name and removes it at the end, so it does not begin. (Left by "
                    "`make demo KEEP=1`? Then `make demo-stop` removes it.)"
                )
        wanted = crd_names()
        found = [name for name in wanted if cluster.get("crd", name) is not None]
        if found and len(found) < len(wanted):
            raise RefusedError(
                f"The cluster has some CRDs of Syncret ({', '.join(found)}) and lacks others: "
                "complete or remove them first."
            )
        if found:
            _refuse_objects(cluster)
        return cls(cluster, crds=not found)

    def remove(self) -> None:
        """Removes all of it, as far as it is there. Raises RemovalError."""
        if self.cluster.kind != "given":
            return  # it goes with the cluster
        timeout = f"--timeout={_STOP_TIMEOUT}s"
        uninstall = ("uninstall", _RELEASE, "-n", OPERATOR_NAMESPACE, "--ignore-not-found")
        delete = ("delete", "--ignore-not-found", timeout)
        problems = [
            *self._tried("kubectl", *delete, "namespace", NAMESPACE),
            *self._tried("helm", *uninstall),
            *self._tried("kubectl", *delete, "namespace", OPERATOR_NAMESPACE),
        ]
        if self.crds:
            problems += self._tried("kubectl", *delete, "crd", *crd_names())
        if problems:
            raise RemovalError("Not everything was removed:\n" + "\n".join(problems))

    def _tried(self, tool: str, *arguments: str) -> list[str]:
        run = self.cluster.kubectl if tool == "kubectl" else self.cluster.helm
        try:
            run(*arguments, timeout=_STOP_TIMEOUT + 10)
        except CommandError as error:
            return [str(error)]
        return []


def crd_names() -> list[str]:
    """The names of Syncret's CRDs."""
    return [
        yaml.safe_load(file.read_text())["metadata"]["name"]
        for file in sorted((REPOSITORY / "crds").glob("*.yaml"))
    ]


def _refuse_release(cluster: Cluster) -> None:
    releases = json.loads(cluster.helm("list", "--all-namespaces", "-o", "json"))
    found = [
        f'release "{release["name"]}" in namespace "{release["namespace"]}"'
        for release in releases
        if release["name"] == _RELEASE or str(release["chart"]).startswith(f"{_RELEASE}-")
    ]
    if found:
        raise RefusedError(
            f"Syncret is installed in the cluster already ({', '.join(found)}). The demo installs "
            "it itself, and two operators would do everything twice, so it does not begin."
        )


def _refuse_objects(cluster: Cluster) -> None:
    found = cluster.kubectl("get", _KINDS, "--all-namespaces", "-o", "name").split()
    if found:
        raise RefusedError(
            f"The cluster has {len(found)} objects of Syncret already ({found[0]}, …). The demo's "
            "operator would work on them as well, so it does not begin."
        )
