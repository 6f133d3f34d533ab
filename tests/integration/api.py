"""The cluster's API as the administrator sees it, a few verbs on dictionaries.

Through ``kubectl proxy`` on a socket in a folder of our own: whatever way the cluster's kubeconfig
authenticates, a request then costs a millisecond instead of a process.
"""

import http.client
import json
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from testbed.cluster import Cluster
from testbed.processes import Processes, wait_for

Body = dict[str, Any]

#: Group and version, plural, and whether it has a namespace, of every kind that tests touch.
_KINDS: Final[Mapping[str, tuple[str, str, bool]]] = {
    "Namespace": ("v1", "namespaces", False),
    "ConfigMap": ("v1", "configmaps", True),
    "Secret": ("v1", "secrets", True),
    "ServiceAccount": ("v1", "serviceaccounts", True),
    "ResourceQuota": ("v1", "resourcequotas", True),
    "Pod": ("v1", "pods", True),
    "Event": ("events.k8s.io/v1", "events", True),
    "Deployment": ("apps/v1", "deployments", True),
    "StatefulSet": ("apps/v1", "statefulsets", True),
    "DaemonSet": ("apps/v1", "daemonsets", True),
    "ReplicaSet": ("apps/v1", "replicasets", True),
    "Job": ("batch/v1", "jobs", True),
    "CronJob": ("batch/v1", "cronjobs", True),
    "CustomResourceDefinition": ("apiextensions.k8s.io/v1", "customresourcedefinitions", False),
    "Rollout": ("argoproj.io/v1alpha1", "rollouts", True),
    "ClusterRole": ("rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "Role": ("rbac.authorization.k8s.io/v1", "roles", True),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings", True),
    "ValidatingAdmissionPolicy": (
        "admissionregistration.k8s.io/v1",
        "validatingadmissionpolicies",
        False,
    ),
    "ValidatingAdmissionPolicyBinding": (
        "admissionregistration.k8s.io/v1",
        "validatingadmissionpolicybindings",
        False,
    ),
    "ExternalSecret": ("syncret.io/v1alpha1", "externalsecrets", True),
    "SecretStore": ("syncret.io/v1alpha1", "secretstores", True),
    "ClusterExternalSecret": ("syncret.io/v1alpha1", "clusterexternalsecrets", False),
    "ClusterSecretStore": ("syncret.io/v1alpha1", "clustersecretstores", False),
    "Generator": ("syncret.io/v1alpha1", "generators", True),
    "ClusterGenerator": ("syncret.io/v1alpha1", "clustergenerators", False),
}


class ApiError(Exception):
    """The API server refused; the text is what it said."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}")
        self.status = status


class Api:
    """The verbs. A field that a kind does not know is an error, never dropped."""

    def __init__(self, cluster: Cluster, processes: Processes) -> None:
        self._socket = cluster.directory / "api.sock"
        child = processes.start(
            "kubectl-proxy",
            [
                str(cluster.tools["kubectl"]),
                f"--kubeconfig={cluster.kubeconfig}",
                "proxy",
                f"--unix-socket={self._socket}",
            ],
        )
        wait_for(self._answers, child, timeout=30, what="the API answers")

    def get(self, kind: str, name: str, namespace: str = "") -> Body | None:
        """An object, or None."""
        try:
            return self.request("GET", path_of(kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str = "") -> list[Body]:
        items: list[Body] = self.request("GET", path_of(kind, namespace))["items"]
        return items

    def create(self, body: Mapping[str, Any]) -> Body:
        meta = body["metadata"]
        path = path_of(body["kind"], meta.get("namespace", ""))
        return self.request("POST", f"{path}?fieldValidation=Strict", body, "application/json")

    def apply(self, *bodies: Mapping[str, Any], manager: str = "tests", force: bool = True) -> None:
        """Server-side apply, as GitOps tools do it."""
        for body in bodies:
            meta = body["metadata"]
            path = path_of(body["kind"], meta.get("namespace", ""), meta["name"])
            query = f"fieldManager={manager}&force={str(force).lower()}&fieldValidation=Strict"
            self.request("PATCH", f"{path}?{query}", body, "application/apply-patch+yaml")

    def patch(
        self, kind: str, name: str, body: Mapping[str, Any], *, namespace: str = "", query: str = ""
    ) -> Body:
        """A JSON merge patch, as people's ``kubectl patch`` and ``edit`` make it."""
        path = path_of(kind, namespace, name)
        return self.request("PATCH", f"{path}?{query}", body, "application/merge-patch+json")

    def delete(self, kind: str, name: str, namespace: str = "", *, how: str = "Background") -> None:
        """Deletes it; nothing if it is not there. ``how``: the propagation policy."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": how}
        try:
            self.request("DELETE", path_of(kind, namespace, name), options, "application/json")
        except ApiError as error:
            if error.status != 404:
                raise

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content: str = ""
    ) -> Body:
        """Any request. Raises ApiError."""
        status, data = self._send(method, path, body, content)
        if status >= 300:
            raise ApiError(status, data.decode(errors="replace"))
        answer: Body = json.loads(data)
        return answer

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content: str = ""
    ) -> tuple[int, bytes]:
        connection = _SocketConnection(self._socket)
        try:
            data = json.dumps(body).encode() if body is not None else None
            headers = {"Content-Type": content} if content else {}
            connection.request(method, path, body=data, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            return self._send("GET", "/readyz")[0] == 200
        except OSError:
            return False


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))


def path_of(kind: str, namespace: str = "", name: str = "") -> str:
    """Where the API has an object, or all of its kind."""
    version, plural, namespaced = _KINDS[kind]
    root = "api" if "/" not in version else "apis"
    scope: Iterable[str] = ("namespaces", namespace) if namespaced and namespace else ()
    return "/" + "/".join((root, version, *scope, plural, *((name,) if name else ())))
