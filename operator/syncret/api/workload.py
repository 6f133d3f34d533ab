"""A workload, reduced to what a rolling restart is decided on."""

from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Final, Literal

from syncret.api.consumers import ConsumedKeys, consumed_secrets
from syncret.constants import CHECKSUM_ANNOTATION

__all__ = [
    "WORKLOAD_KINDS",
    "ConsumedKeys",
    "Workload",
    "WorkloadKey",
    "WorkloadKind",
    "parse_workload",
]

WorkloadKind = Literal["Deployment", "StatefulSet", "DaemonSet"]
WORKLOAD_KINDS: Final[tuple[WorkloadKind, ...]] = ("Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True, slots=True, order=True)
class WorkloadKey:
    """What names a workload."""

    namespace: str
    kind: WorkloadKind
    name: str


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, StatefulSet or DaemonSet whose pods read at least one Secret.

    ``consumes`` maps the name of a Secret to the keys read from it. ``checksum`` is the raw value
    of our annotation on the pod template, "" where there is none.
    """

    key: WorkloadKey
    uid: str
    consumes: Mapping[str, ConsumedKeys]
    checksum: str = ""


def parse_workload(kind: WorkloadKind, body: Mapping[str, Any]) -> Workload | None:
    """The record of a body; None if its pods read no Secret, or if it is being deleted.

    Never raises: a body without the fields that the API server always gives is no workload.
    """
    try:
        template = body["spec"]["template"]
        consumes = consumed_secrets(template["spec"])
        if not consumes:
            return None
        meta = body["metadata"]
        if "deletionTimestamp" in meta:
            return None  # waits for its dependents to go: there is nothing left to restart
        key = WorkloadKey(intern(meta["namespace"]), kind, meta["name"])
        uid = meta["uid"]
    except (KeyError, TypeError):
        return None
    return Workload(key=key, uid=uid, consumes=consumes, checksum=_checksum(template))


def _checksum(template: Mapping[str, Any]) -> str:
    try:
        value = template["metadata"]["annotations"][CHECKSUM_ANNOTATION]
    except (KeyError, TypeError):
        return ""
    return value if isinstance(value, str) else ""
