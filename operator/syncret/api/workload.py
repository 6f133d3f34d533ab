"""A workload, reduced to what a rolling restart is decided on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

WorkloadKind = Literal["Deployment", "StatefulSet", "DaemonSet"]
WORKLOAD_KINDS: Final[tuple[WorkloadKind, ...]] = ("Deployment", "StatefulSet", "DaemonSet")

#: The keys of a Secret that a pod reads; None: all of them, whichever they are.
ConsumedKeys = frozenset[str] | None


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
