"""Bodies and records for tests, with every value plainly fake."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from syncret.api.externalsecret import ExternalSecret, parse_external_secret
from syncret.constants import CHECKSUM_ANNOTATION, MANAGED_LABEL, MANAGED_VALUE, OWNER_ANNOTATION


def external_secret_body(
    name: str = "db",
    *,
    namespace: str = "payments",
    uid: str = "uid-1",
    generation: int = 1,
    status: dict[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """An ExternalSecret as the API server gives it; keywords are fields of its spec."""
    body: dict[str, Any] = {
        "apiVersion": "syncret.io/v1alpha1",
        "kind": "ExternalSecret",
        "metadata": {"name": name, "namespace": namespace, "uid": uid, "generation": generation},
        "spec": {"secretStoreRef": {"name": "aws"}, **spec},
    }
    if status is not None:
        body["status"] = status
    return body


def external_secret(name: str = "db", **arguments: Any) -> ExternalSecret:
    """The record of :func:`external_secret_body`; without data it extracts ``app/db``."""
    if "data" not in arguments and "dataFrom" not in arguments:
        arguments["dataFrom"] = [{"extract": {"key": "app/db"}}]
    return parse_external_secret(external_secret_body(name, **arguments))


def store_body(
    name: str = "aws",
    *,
    namespace: str = "payments",
    uid: str = "store-1",
    generation: int = 1,
    ready: str = "",
    namespaces: tuple[str, ...] = (),
    conditions: tuple[dict[str, Any], ...] = (),
    **provider: Any,
) -> dict[str, Any]:
    """A SecretStore, or with namespace "" a ClusterSecretStore; keywords: the memory provider's."""
    kind = "SecretStore" if namespace else "ClusterSecretStore"
    body: dict[str, Any] = {
        "apiVersion": "syncret.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "uid": uid, "generation": generation},
        "spec": {"provider": {"memory": provider}},
    }
    if namespace:
        body["metadata"]["namespace"] = namespace
    if namespaces or conditions:
        named = [{"namespaces": list(namespaces)}] if namespaces else []
        body["spec"]["conditions"] = [*named, *conditions]
    if ready:
        body["status"] = {
            "conditions": [{"type": "Ready", "status": ready, "observedGeneration": generation}]
        }
    return body


def cluster_external_secret_body(
    name: str = "everywhere",
    *,
    spec: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """A ClusterExternalSecret; ``spec``: of the ExternalSecret, keywords: further fields."""
    embedded = {
        "secretStoreRef": {"name": "aws", "kind": "ClusterSecretStore"},
        "dataFrom": [{"extract": {"key": "app/db"}}],
        **(spec or {}),
    }
    return {
        "apiVersion": "syncret.io/v1alpha1",
        "kind": "ClusterExternalSecret",
        "metadata": {"name": name, "annotations": dict(annotations or {})},
        "spec": {"externalSecretSpec": embedded, **fields},
    }


def namespace_body(name: str, **labels: str) -> dict[str, Any]:
    """A namespace; keywords are its labels."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {**labels, "kubernetes.io/metadata.name": name}},
    }


def workload_body(
    name: str = "api",
    *,
    kind: str = "Deployment",
    namespace: str = "payments",
    uid: str = "workload-1",
    reads: tuple[str, ...] = ("db",),
    checksum: str = "",
) -> dict[str, Any]:
    """A workload whose container takes all keys of some Secrets as its environment."""
    template: dict[str, Any] = {
        "metadata": {"annotations": {"app": "theirs"}},
        "spec": {
            "containers": [
                {"name": "app", "envFrom": [{"secretRef": {"name": secret}} for secret in reads]}
            ]
        },
    }
    if checksum:
        template["metadata"]["annotations"][CHECKSUM_ANNOTATION] = checksum
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "uid": uid, "generation": 1},
        "spec": {"replicas": 2, "template": template},
    }


def secret_body(
    name: str = "db",
    data: Mapping[str, bytes] | None = None,
    *,
    namespace: str = "payments",
    uid: str = "secret-1",
    version: int = 1,
    owner: str = "uid-1",
    owner_name: str = "",
    managed: bool = True,
    immutable: bool = False,
) -> dict[str, Any]:
    """A Secret as the API server gives it.

    ``owner``: the uid of its ExternalSecret, "": none; ``owner_name``: its name, "db" that of the
    usual one.
    """
    meta: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "uid": uid,
        "resourceVersion": str(version),
    }
    if managed:
        meta["labels"] = {MANAGED_LABEL: MANAGED_VALUE}
    owner_name = owner_name or ("db" if owner == "uid-1" else "another")
    if owner:
        meta["annotations"] = {OWNER_ANNOTATION: owner_name}
        meta["ownerReferences"] = [
            {
                "apiVersion": "syncret.io/v1alpha1",
                "kind": "ExternalSecret",
                "name": owner_name,
                "uid": owner,
                "controller": True,
            }
        ]
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": meta,
        "data": {key: b64encode(value).decode() for key, value in (data or {}).items()},
    }
    if immutable:
        body["immutable"] = True
    return body
