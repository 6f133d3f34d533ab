"""The resources of the Kubernetes API that the operator reads or writes, and their paths.

Only what is used is listed: the chart's RBAC can be held against this file. No discovery: the
versions below have been served since Kubernetes 1.21, and a CRD that is missing is told apart by
its 404 anyway.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from syncret.api.keys import Kind
from syncret.constants import GROUP, VERSION
from syncret.errors import KubeInvalid


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource type. ``group`` is "" for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """As ``apiVersion`` of a body has it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def name(self) -> str:
        """As RBAC and ``kubectl`` name it: ``deployments.apps``, ``secrets``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of the collection, of one object, or of its subresource.

        Without a namespace it is the collection over all namespaces. A name that could lead out of
        its path is refused with KubeInvalid before anything is sent, because names reach us from
        specs; asking for an object of the wrong scope is a mistake in the code: ValueError.
        """
        if namespace and not self.namespaced:
            raise ValueError(f"{self.name} is cluster-scoped")
        if name and self.namespaced and not namespace:
            raise ValueError(f"an object of {self.name} is named with its namespace")
        if subresource and not name:
            raise ValueError("a subresource belongs to a named object")
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace:
            parts += ["namespaces", _segment(namespace)]
        parts.append(self.plural)
        if name:
            parts.append(_segment(name))
        if subresource:
            parts.append(subresource)
        return "/" + "/".join(parts)

    def __str__(self) -> str:
        return self.name


def _segment(name: str) -> str:
    # The API server's own rule for names in paths (apimachinery, IsValidPathSegmentName). Quoting
    # alone would not do: a URL library folds "." and ".." away.
    if name in {".", ".."} or "/" in name or "%" in name:
        raise KubeInvalid(f'"{name[:64]}" is not a name that a Kubernetes object can have.')
    return quote(name, safe="")


SECRETS: Final = Resource("", "v1", "secrets", "Secret", namespaced=True)
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
SERVICE_ACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event", namespaced=True)
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
STATEFUL_SETS: Final = Resource("apps", "v1", "statefulsets", "StatefulSet", namespaced=True)
DAEMON_SETS: Final = Resource("apps", "v1", "daemonsets", "DaemonSet", namespaced=True)
JOBS: Final = Resource("batch", "v1", "jobs", "Job", namespaced=True)
CRON_JOBS: Final = Resource("batch", "v1", "cronjobs", "CronJob", namespaced=True)
ARGO_ROLLOUTS: Final = Resource("argoproj.io", "v1alpha1", "rollouts", "Rollout", namespaced=True)
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True)
EXTERNAL_SECRETS: Final = Resource(
    GROUP, VERSION, "externalsecrets", "ExternalSecret", namespaced=True
)
SECRET_STORES: Final = Resource(GROUP, VERSION, "secretstores", "SecretStore", namespaced=True)
CLUSTER_SECRET_STORES: Final = Resource(
    GROUP, VERSION, "clustersecretstores", "ClusterSecretStore", namespaced=False
)
GENERATORS: Final = Resource(GROUP, VERSION, "generators", "Generator", namespaced=True)
CLUSTER_GENERATORS: Final = Resource(
    GROUP, VERSION, "clustergenerators", "ClusterGenerator", namespaced=False
)
CLUSTER_EXTERNAL_SECRETS: Final = Resource(
    GROUP, VERSION, "clusterexternalsecrets", "ClusterExternalSecret", namespaced=False
)

#: What ExternalSecrets read from, by kind.
STORES: Final[Mapping[Kind, Resource]] = {
    "SecretStore": SECRET_STORES,
    "ClusterSecretStore": CLUSTER_SECRET_STORES,
    "Generator": GENERATORS,
    "ClusterGenerator": CLUSTER_GENERATORS,
}
