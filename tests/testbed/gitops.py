"""What the GitOps tools that run here share: permissive CRDs, manifests, an environment."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from testbed.cluster import Cluster

Body = dict[str, Any]
_INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR")


def wait_established(cluster: Cluster, name: str) -> None:
    """Until the API server serves the kind. Raises CommandError."""
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=60s")


def environment() -> dict[str, str]:
    """What a tool inherits; nothing that names credentials or a cluster."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def plural_of(kind: str) -> str:
    """The kind's name in paths."""
    lower = kind.lower()
    return f"{lower[:-1]}ies" if lower.endswith("y") else f"{lower}s"


def crd(group: str, version: str, kind: str, *, status: bool) -> Body:
    """A CRD that takes anything: the tools bring their own schemas, which are not the point."""
    plural = plural_of(kind)
    served: Body = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        },
    }
    if status:
        served["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [served],
        },
    }


def documents(bodies: Sequence[Mapping[str, Any]]) -> str:
    """The bodies as a YAML file of several documents."""
    return "\n---\n".join(json.dumps(body) for body in bodies)
