"""What is seen: in the cluster, and of the operator's rights. Nothing is changed here."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from demo.declared import DEPLOYMENT, NAMESPACE, SECRET
from testbed.cluster import Cluster
from testbed.operator import Operator


@dataclass(frozen=True, slots=True)
class Rights:
    """Who the operator is for the API server, and two answers about what it may do."""

    user: str
    everything: bool
    delete_secrets: bool


def rights(operator: Operator) -> Rights:
    """Asks the API server, with the kubeconfig that the operator's process was started with."""
    option = "--kubeconfig="
    arguments = Path(f"/proc/{operator.running.process.pid}/cmdline").read_text().split("\0")
    (kubeconfig,) = (
        argument.removeprefix(option) for argument in arguments if argument.startswith(option)
    )
    as_operator = replace(operator.cluster, kubeconfig=Path(kubeconfig))

    def may(verb: str, group: str, resource: str) -> bool:
        attributes = {"verb": verb, "group": group, "resource": resource}
        return bool(
            _review(
                as_operator,
                api="authorization.k8s.io/v1",
                kind="SelfSubjectAccessReview",
                spec={"resourceAttributes": attributes},
            )["allowed"]
        )

    told = _review(as_operator, api="authentication.k8s.io/v1", kind="SelfSubjectReview")
    return Rights(
        user=told["userInfo"]["username"],
        everything=may("*", "*", "*"),
        delete_secrets=may("delete", "", "secrets"),
    )


def password(cluster: Cluster) -> str:
    """The password that the Secret holds; "" where there is no Secret."""
    return (cluster.secret(SECRET, NAMESPACE) or {}).get("password", "")


def deployment(cluster: Cluster) -> dict[str, Any]:
    """The Deployment; {} where there is none."""
    return cluster.get("deployment", DEPLOYMENT, NAMESPACE) or {}


def ready_message(cluster: Cluster, kind: str, name: str) -> str:
    """The message of the condition Ready if it is True, else ""."""
    for condition in _status(cluster, kind, name).get("conditions", ()):
        if (condition["type"], condition["status"]) == ("Ready", "True"):
            return str(condition["message"])
    return ""


def is_known_consumer(cluster: Cluster) -> bool:
    """Whether the ExternalSecret's status names the Deployment as a user of the Secret."""
    targets = _status(cluster, "externalsecret", SECRET).get("rollout", {}).get("targets", ())
    return ("Deployment", DEPLOYMENT) in {(target["kind"], target["name"]) for target in targets}


def everything_but_secrets(cluster: Cluster) -> str:
    """The objects and Events of the demo's namespace, Secrets left out."""
    kinds = "externalsecrets,secretstores,deployments,replicasets,pods,events,configmaps"
    return cluster.kubectl("get", kinds, "-n", NAMESPACE, "-o", "json")


def situation(cluster: Cluster) -> str:
    """The same for a person to read."""
    kinds = "externalsecrets,secretstores,deployments,pods,events"
    return cluster.kubectl("get", kinds, "-n", NAMESPACE)


def _status(cluster: Cluster, kind: str, name: str) -> dict[str, Any]:
    status: dict[str, Any] = (cluster.get(kind, name, NAMESPACE) or {}).get("status", {})
    return status


def _review(
    cluster: Cluster, *, api: str, kind: str, spec: dict[str, Any] | None = None
) -> dict[str, Any]:
    body = {"apiVersion": api, "kind": kind, **({"spec": spec} if spec else {})}
    # kubectl's own validation wants to read CRDs, which the operator may not.
    command = ("create", "--validate=false", "-f", "-", "-o", "json")
    answer = cluster.kubectl(*command, stdin=json.dumps(body))
    status: dict[str, Any] = json.loads(answer)["status"]
    return status
