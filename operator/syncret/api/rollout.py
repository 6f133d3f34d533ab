"""What restarts when the data of a Secret changed: ``spec.rollout``, and ``status.rollout``."""

from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Final, Literal, cast

from syncret.api.window import SyncWindow, parse_windows
from syncret.api.workload import Workload, WorkloadKind
from syncret.duration import parse_duration
from syncret.errors import SpecInvalid

RolloutMode = Literal["Auto", "Targets", "None"]

DEFAULT_DEBOUNCE: Final = 1.0
MAX_DEBOUNCE: Final = 3600.0
DEFAULT_TIMEOUT: Final = 600.0
MIN_TIMEOUT: Final = 1.0
MAX_TIMEOUT: Final = 86_400.0

#: How a workload stands to the Secret.
Phase = Literal[
    "Current",  # its pods were started with what the Secret holds
    "Pending",  # it is to be restarted
    "RollingOut",  # it was restarted, and not all of its pods are replaced and available yet
    "Failed",  # the same, and that takes too long
    "Paused",  # it is to be restarted, or was, and is paused
    "OnDelete",  # its template was changed, and its pods are replaced as somebody deletes them
    "Reverted",  # somebody put the former template back while it was rolling out
    "Excluded",  # it is not to be restarted
    "NextRun",  # a CronJob: its next run reads what the Secret then holds
    "Running",  # a Job that began with other data: it is left to end
    "NotRead",  # its pods do not read the Secret any more; kept while its annotation names it
]


@dataclass(frozen=True, slots=True)
class TargetRef:
    """A workload that is named."""

    kind: WorkloadKind
    name: str


@dataclass(frozen=True, slots=True)
class TargetSelector:
    """Workloads that have these labels."""

    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Rollout:
    """The spec. Times in seconds."""

    mode: RolloutMode = "Auto"
    targets: tuple[TargetRef | TargetSelector, ...] = ()
    debounce: float = DEFAULT_DEBOUNCE
    max_concurrent: int = 1
    timeout: float = DEFAULT_TIMEOUT
    windows: tuple[SyncWindow, ...] = ()

    def names(self, workload: Workload) -> bool:
        """Whether one of the targets is this workload."""
        return any(
            (target.kind, target.name) == (workload.key.kind, workload.key.name)
            if isinstance(target, TargetRef)
            else all(workload.labels.get(key) == value for key, value in target.labels)
            for target in self.targets
        )


@dataclass(frozen=True, slots=True)
class RolloutTarget:
    """What is remembered of one workload; the status has it.

    Attributes:
        checksum: The entry for what its pods were started with; "" if they do not read the Secret.
        sequence: The highest number of our annotation that was seen on it.
        template: A keyed digest of the pod template that was seen last.
        former: The same of the one before our last restart, while that is under way.
        wanted: The entry for what it waits to be restarted with.
    """

    kind: str
    name: str
    uid: str
    checksum: str
    last_rollout_time: str = ""
    phase: Phase = "Current"
    sequence: int = 0
    template: str = ""
    former: str = ""
    wanted: str = ""


def parse_rollout(spec: Mapping[str, Any]) -> Rollout:
    """What a spec says. Raises SpecInvalid, or what a body of another form raises."""
    rollout = spec.get("rollout") or {}
    return Rollout(
        mode=cast("RolloutMode", intern(rollout.get("mode") or "Auto")),
        targets=tuple(_target(target) for target in rollout.get("targets") or ()),
        debounce=_seconds(rollout, "debounce", DEFAULT_DEBOUNCE, least=0.0, most=MAX_DEBOUNCE),
        max_concurrent=max(1, int(rollout.get("maxConcurrent") or 1)),
        timeout=_seconds(rollout, "timeout", DEFAULT_TIMEOUT, least=MIN_TIMEOUT, most=MAX_TIMEOUT),
        windows=parse_windows(rollout.get("windows"), "spec.rollout.windows"),
    )


def parse_targets(rollout: Mapping[str, Any]) -> tuple[RolloutTarget, ...]:
    """The targets of ``status.rollout``. Raises what a body of another form raises."""
    return tuple(
        RolloutTarget(
            kind=intern(target["kind"]),
            name=target["name"],
            uid=target["uid"],
            checksum=target.get("checksum") or "",
            last_rollout_time=target.get("lastRolloutTime") or "",
            phase=cast("Phase", intern(target.get("phase") or "Current")),
            sequence=int(target.get("sequence") or 0),
            template=target.get("template") or "",
            former=target.get("formerTemplate") or "",
            wanted=target.get("wantedChecksum") or "",
        )
        for target in rollout.get("targets") or ()
    )


def target_body(target: RolloutTarget) -> dict[str, Any]:
    """A target as the status has it."""
    body = {
        "kind": target.kind,
        "name": target.name,
        "uid": target.uid,
        "phase": target.phase,
        "checksum": target.checksum,
        "wantedChecksum": target.wanted,
        "sequence": target.sequence,
        "template": target.template,
        "formerTemplate": target.former,
        "lastRolloutTime": target.last_rollout_time,
    }
    return {name: value for name, value in body.items() if value}


def _target(target: Mapping[str, Any]) -> TargetRef | TargetSelector:
    if (selector := target.get("selector")) is not None:
        labels = tuple(sorted(selector["matchLabels"].items()))
        if not labels:
            raise SpecInvalid("spec.rollout.targets: a selector names at least one label")
        return TargetSelector(labels)
    return TargetRef(cast("WorkloadKind", intern(target["kind"])), target["name"])


def _seconds(
    rollout: Mapping[str, Any], name: str, otherwise: float, *, least: float, most: float
) -> float:
    text = rollout.get(name)
    if text is None:
        return otherwise
    seconds = parse_duration(text)
    if not least <= seconds <= most:
        raise SpecInvalid(
            f'spec.rollout.{name} is "{text}": it is between {least:.0f}s and {most:.0f}s'
        )
    return seconds
