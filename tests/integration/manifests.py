"""The bodies that tests apply: stores, ExternalSecrets, workloads, as people write them."""

from collections.abc import Mapping, Sequence
from typing import Any

from testbed.moto import ACCESS_KEY, REGION, SECRET_KEY

Body = dict[str, Any]

API = "syncret.io/v1alpha1"


def credentials(namespace: str, name: str = "aws", **values: str) -> Body:
    """The Secret that stores authenticate with."""
    keys = {"id": ACCESS_KEY, "key": SECRET_KEY, **values}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": keys,
    }


def store(namespace: str, endpoint: str, *, name: str = "aws", secret: str = "aws") -> Body:  # noqa: S107 - a name
    return {
        "apiVersion": API,
        "kind": "SecretStore",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"provider": {"aws": _aws(endpoint, {"name": secret})}},
    }


def cluster_store(
    name: str,
    endpoint: str,
    *,
    credentials_in: str,
    namespaces: Sequence[str] = (),
    conditions: Sequence[Body] = (),
    **more: Any,
) -> Body:
    """A ClusterSecretStore; its credentials are the Secret ``aws`` of one namespace, "": of each.

    ``more``: further fields of the spec.
    """
    where = {"namespace": credentials_in} if credentials_in else {}
    spec: Body = {"provider": {"aws": _aws(endpoint, {"name": "aws", **where})}, **more}
    named = [{"namespaces": list(namespaces)}] if namespaces else []
    if named or conditions:
        spec["conditions"] = [*named, *conditions]
    return {
        "apiVersion": API,
        "kind": "ClusterSecretStore",
        "metadata": {"name": name},
        "spec": spec,
    }


def _aws(endpoint: str, secret: Mapping[str, str]) -> Body:
    reference = {
        "accessKeyIDSecretRef": {**secret, "key": "id"},
        "secretAccessKeySecretRef": {**secret, "key": "key"},
    }
    return {
        "service": "SecretsManager",
        "region": REGION,
        "endpoint": endpoint,
        "auth": {"secretRef": reference},
    }


def remote(key: str, property: str = "", version: str = "") -> Body:  # noqa: A002 - the field
    """A reference to a secret of the store."""
    fields = {"key": key, "property": property, "version": version}
    return {name: value for name, value in fields.items() if value}


def entry(secret_key: str, key: str, property: str = "", version: str = "") -> Body:  # noqa: A002
    """An entry of ``spec.data``."""
    return {"secretKey": secret_key, "remoteRef": remote(key, property, version)}


def external_secret(
    namespace: str,
    name: str = "app",
    *,
    data: Sequence[Body] = (),
    extract: Sequence[Body] = (),
    interval: str = "1s",
    store: str = "aws",
    **spec: Any,
) -> Body:
    """``spec``: further fields of the spec, as they are."""
    body: Body = {"refreshInterval": interval, "secretStoreRef": {"name": store}, **spec}
    if data:
        body["data"] = list(data)
    if extract:
        body["dataFrom"] = [{"extract": reference} for reference in extract]
    return {
        "apiVersion": API,
        "kind": "ExternalSecret",
        "metadata": {"name": name, "namespace": namespace},
        "spec": body,
    }


def generator(
    name: str, namespace: str = "", *, conditions: Sequence[Body] = (), **kind: Any
) -> Body:
    """A Generator, or without a namespace a ClusterGenerator; ``kind``: its ``spec.generator``."""
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    spec: Body = {"generator": kind} | ({"conditions": list(conditions)} if conditions else {})
    return {
        "apiVersion": API,
        "kind": "Generator" if namespace else "ClusterGenerator",
        "metadata": meta,
        "spec": spec,
    }


def cluster_external_secret(
    name: str, *, spec: Mapping[str, Any], labels: Mapping[str, str] | None = None, **more: Any
) -> Body:
    """``spec``: of the ExternalSecrets; ``labels``: of the namespaces; ``more``: further fields."""
    if labels is not None:
        more["namespaceSelectors"] = [{"matchLabels": dict(labels)}]
    return {
        "apiVersion": API,
        "kind": "ClusterExternalSecret",
        "metadata": {"name": name},
        "spec": {"externalSecretSpec": dict(spec), **more},
    }


def env(secret: str, key: str, variable: str = "PASSWORD") -> Body:
    """A container that gets one key as a variable."""
    return {
        "env": [{"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}]
    }


def env_from(secret: str) -> Body:
    """A container that gets every key as a variable."""
    return {"envFrom": [{"secretRef": {"name": secret}}]}


def workload(
    namespace: str,
    name: str,
    *,
    kind: str = "Deployment",
    container: Mapping[str, Any] | None = None,
    init: Mapping[str, Any] | None = None,
    volumes: Sequence[Body] = (),
) -> Body:
    """A workload of one pod; ``container`` and ``init`` say what the containers have besides."""
    labels = {"app": name}
    pod: Body = {
        "containers": [_container("main", volumes, container or {})],
        "terminationGracePeriodSeconds": 1,
    }
    if init is not None:
        pod["initContainers"] = [_container("init", (), init)]
    if volumes:
        pod["volumes"] = list(volumes)
    spec: Body = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _container(name: str, volumes: Sequence[Body], more: Mapping[str, Any]) -> Body:
    mounts = [{"name": v["name"], "mountPath": f"/etc/{v['name']}"} for v in volumes]
    container: Body = {"name": name, "image": "registry.invalid/app:1", **more}
    if mounts:
        container["volumeMounts"] = mounts
    return container


def rollout(namespace: str, name: str, **spec: Any) -> Body:
    """An Argo Rollout; see :func:`workload`."""
    body = workload(namespace, name, **spec)
    return {**body, "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}


def rollout_crd() -> Body:
    """The CRD of Argo Rollouts, as far as it matters to us. No controller comes with it."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "rollouts.argoproj.io"},
        "spec": {
            "group": "argoproj.io",
            "scope": "Namespaced",
            "names": {"plural": "rollouts", "singular": "rollout", "kind": "Rollout"},
            "versions": [version],
        },
    }


def refusing(
    name: str,
    namespace: str,
    *,
    group: str,
    resources: Sequence[str],
    message: str,
    version: str = "v1",
) -> list[Body]:
    """An admission policy that refuses every write of some resources in a namespace.

    ``message``: a CEL expression of what is said; it sees the object.
    """
    rule = {
        "apiGroups": [group],
        "apiVersions": [version],
        "operations": ["CREATE", "UPDATE"],
        "resources": list(resources),
    }
    validation = {
        "expression": "object == null",
        "messageExpression": message,
        "reason": "Forbidden",
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    api_version = "admissionregistration.k8s.io/v1"
    return [
        {
            "apiVersion": api_version,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [validation],
            },
        },
        {
            "apiVersion": api_version,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": selector},
            },
        },
    ]
