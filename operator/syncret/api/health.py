"""How far a rolling update of a workload is, as ``kubectl rollout status`` sees it.

Only what the controller says of the present spec counts: a status of an older generation is that of
an update that has not begun.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal, NamedTuple


class Health(Enum):
    """What the controller says of the update to the present template."""

    COMPLETE = "complete"  # every pod is of the present template, and available
    ROLLING = "rolling"
    STUCK = "stuck"  # the controller itself says that it does not get on


#: Why no update runs although the template changed: Paused, nothing is done; OnDelete and
#: Partition, pods are replaced only as somebody deletes them, or lowers the partition.
Held = Literal["", "Paused", "OnDelete", "Partition"]


class Progress(NamedTuple):
    """Both together."""

    health: Health
    held: Held = ""


_COMPLETE: Final = Progress(Health.COMPLETE)


def progress(kind: str, body: Mapping[str, Any]) -> Progress:
    """The progress of a workload. Raises KeyError, TypeError or ValueError for what is none."""
    look = _LOOKS.get(kind)
    return look(body) if look is not None else _COMPLETE


def _deployment(body: Mapping[str, Any]) -> Progress:
    spec, status = body["spec"], body.get("status") or {}
    held: Held = "Paused" if spec.get("paused") is True else ""
    if not _observed(body, status):
        return Progress(Health.ROLLING, held)
    for condition in status.get("conditions") or ():
        if (
            condition.get("type") == "Progressing"
            and condition.get("reason") == "ProgressDeadlineExceeded"
        ):
            return Progress(Health.STUCK, held)
    wanted, updated = _number(spec, "replicas", 1), _number(status, "updatedReplicas")
    done = (
        updated >= wanted
        and _number(status, "replicas") <= updated
        and _number(status, "availableReplicas") >= wanted
    )
    return Progress(Health.COMPLETE if done else Health.ROLLING, held)


def _stateful_set(body: Mapping[str, Any]) -> Progress:
    spec, status = body["spec"], body.get("status") or {}
    strategy = spec.get("updateStrategy") or {}
    wanted, updated = _number(spec, "replicas", 1), _number(status, "updatedReplicas")
    partition = _number(strategy.get("rollingUpdate") or {}, "partition")
    held: Held = ""
    if strategy.get("type") == "OnDelete":
        held = "OnDelete"
    elif partition > 0:
        held = "Partition"
    done = (
        _observed(body, status)
        and updated >= wanted
        and _number(status, "availableReplicas", _number(status, "readyReplicas")) >= wanted
    )
    if done:
        return Progress(Health.COMPLETE, held)
    if held == "Partition" and updated < wanted - partition:
        held = ""  # the part that is rolled out by itself is still under way
    return Progress(Health.ROLLING, held)


def _daemon_set(body: Mapping[str, Any]) -> Progress:
    spec, status = body["spec"], body.get("status") or {}
    held: Held = "OnDelete" if (spec.get("updateStrategy") or {}).get("type") == "OnDelete" else ""
    wanted = _number(status, "desiredNumberScheduled")
    done = (
        _observed(body, status)
        and _number(status, "updatedNumberScheduled") >= wanted
        and _number(status, "numberAvailable") >= wanted
    )
    return Progress(Health.COMPLETE if done else Health.ROLLING, held)


def _rollout(body: Mapping[str, Any]) -> Progress:
    """An Argo Rollout: restarted in place, so its own phase and ``restartedAt`` tell."""
    spec, status = body["spec"], body.get("status") or {}
    held: Held = "Paused" if spec.get("paused") is True else ""
    asked, made = spec.get("restartAt"), status.get("restartedAt")
    if asked and (not made or _time(made) < _time(asked)):
        return Progress(Health.ROLLING, held)
    observed = status.get("observedGeneration")  # a text there
    if observed is not None and str(observed) != str(body["metadata"].get("generation")):
        return Progress(Health.ROLLING, held)
    match status.get("phase"):
        case "Degraded":
            return Progress(Health.STUCK, held)
        case "Healthy" | "Paused":  # a canary that waits for a person is none of a restart
            return Progress(Health.COMPLETE, held)
        case _:
            return Progress(Health.ROLLING, held)


_LOOKS: Final = {
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Rollout": _rollout,
}


def _observed(body: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    return _number(status, "observedGeneration") >= _number(body["metadata"], "generation")


def _number(mapping: Mapping[str, Any], name: str, otherwise: int = 0) -> int:
    value = mapping.get(name)
    return value if isinstance(value, int) else otherwise


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
