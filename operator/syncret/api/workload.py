"""A workload, reduced to what a rolling restart is decided on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from sys import intern
from typing import Any, Final, Literal

import orjson

from syncret.api.consumers import (
    ConsumedKeys,
    consumed_config_maps,
    consumed_secrets,
    pull_secrets,
)
from syncret.api.health import Health, Held, progress
from syncret.api.reloader import Reloader, parse_reloader
from syncret.clock import parse_rfc3339
from syncret.constants import (
    CHECKSUM_ANNOTATION,
    RELOAD_ANNOTATION,
    RELOAD_FIELD_MANAGER,
    ROLLOUT_ANNOTATION,
    ROLLOUT_FIELD_MANAGER,
)

__all__ = [
    "RUNS",
    "WORKLOAD_KINDS",
    "ConsumedKeys",
    "Workload",
    "WorkloadKey",
    "WorkloadKind",
    "names_of",
    "parse_workload",
]

WorkloadKind = Literal["Deployment", "StatefulSet", "DaemonSet", "Rollout", "CronJob", "Job"]
WORKLOAD_KINDS: Final[tuple[WorkloadKind, ...]] = (
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "Rollout",
    "CronJob",
    "Job",
)

#: Those that run to an end: never restarted, only told of.
RUNS: Final = frozenset({"CronJob", "Job"})

_MANAGERS: Final = frozenset({ROLLOUT_FIELD_MANAGER, RELOAD_FIELD_MANAGER})

#: Different sets of labels that are shared; a workload beyond them has its own copy.
_SHARED: Final = 4096


@dataclass(frozen=True, slots=True, order=True)
class WorkloadKey:
    """What names a workload."""

    namespace: str
    kind: WorkloadKind
    name: str


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload of the kinds above.

    Attributes:
        consumes: The name of each Secret that its pods read, with the keys read from it.
        pulls: Names of Secrets that its images are pulled with. No process reads those.
        checksum: The raw value of our annotation, "" where there is none.
        template: A digest of the pod template, not to be published as it is.
        labels: Of the workload itself.
        rolled_at: When we last restarted it, in wall seconds, as the API server noted it; 0:
            never. Of a Job, when it began.
        wish: What its annotation ``syncret.io/rollout`` says; None: nothing.
        owner: Kind and name of the object that controls it, "" without one.
        health, held: How far the update to the present template is.
        reload: What annotations of Reloader's say; None: nothing, or they are not asked for.
    """

    key: WorkloadKey
    uid: str
    consumes: Mapping[str, ConsumedKeys]
    checksum: str = ""
    pulls: tuple[str, ...] = ()
    template: bytes = b""
    labels: Mapping[str, str] = field(default_factory=dict)
    rolled_at: float = 0.0
    wish: bool | None = None
    owner: str = ""
    health: Health = Health.COMPLETE
    held: Held = ""
    reload: "Reload | None" = None


@dataclass(frozen=True, slots=True)
class Reload:
    """What a workload with Reloader's annotations has besides.

    Attributes:
        config_maps: The ConfigMaps that its pods read, with the keys.
        checksum: Our annotation of the workload itself: what its pods were started with.
        started: The same on its pod template, as our last restart left it.
    """

    rules: Reloader
    config_maps: Mapping[str, ConsumedKeys]
    checksum: str
    started: str


def parse_workload(
    kind: WorkloadKind, body: Mapping[str, Any], *, reloader: bool = False
) -> Workload | None:
    """The record of a body; None if nothing of it can be restarted or told of.

    That is one that is being deleted (it waits for its dependents to go), a Job that has ended,
    and an Argo Rollout whose pods are described elsewhere. Never raises: a body without the
    fields that the API server always gives is no workload. ``reloader``: whether annotations of
    Reloader's count.
    """
    try:
        meta, spec = body["metadata"], body["spec"]
        if "deletionTimestamp" in meta or (kind == "Job" and _ended(body)):
            return None
        template = (spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)["template"]
        pod = template["spec"]
        annotations = meta.get("annotations") or {}
        # The restart of an Argo Rollout is a field beside its template, and so is what tells of it.
        marked = annotations if kind == "Rollout" else _mapping(template, "metadata", "annotations")
        health, held = progress(kind, body)
        return Workload(
            key=WorkloadKey(intern(meta["namespace"]), kind, meta["name"]),
            uid=meta["uid"],
            consumes=consumed_secrets(pod),
            checksum=_text(marked.get(CHECKSUM_ANNOTATION)),
            pulls=pull_secrets(pod),
            template=_digest(template, marked if kind == "Rollout" else None, spec),
            labels=_labels(tuple(sorted((meta.get("labels") or {}).items()))),
            rolled_at=_began(body) if kind == "Job" else _rolled_at(meta),
            wish={"true": True, "false": False}.get(_text(annotations.get(ROLLOUT_ANNOTATION))),
            owner=_owner(meta),
            health=health,
            held=held,
            reload=_reload(kind, annotations, template) if reloader else None,
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        return None


def names_of(checksum: str) -> tuple[str, ...]:
    """The names of Secrets in our annotation, or what stands in their place."""
    return tuple(
        intern(name) for part in checksum.split(",") if (name := part.partition("=")[0].strip())
    )


def _digest(template: Any, marked: Mapping[str, Any] | None, spec: Mapping[str, Any]) -> bytes:
    told: list[Any] = [template]
    if marked is not None:
        told += [spec.get("restartAt"), marked.get(CHECKSUM_ANNOTATION)]
    return hashlib.blake2b(orjson.dumps(told, option=orjson.OPT_SORT_KEYS), digest_size=8).digest()


def _reload(
    kind: WorkloadKind, annotations: Mapping[str, Any], template: Mapping[str, Any]
) -> Reload | None:
    if kind in RUNS:
        return None
    inner = _mapping(template, "metadata", "annotations")
    rules = parse_reloader(annotations, inner)
    if rules is None:
        return None
    return Reload(
        rules=rules,
        config_maps=consumed_config_maps(template["spec"]),
        checksum=_text(annotations.get(RELOAD_ANNOTATION)),
        started=_text(inner.get(RELOAD_ANNOTATION)),
    )


def _rolled_at(meta: Mapping[str, Any]) -> float:
    """The API server notes when each field manager last changed something."""
    return max(
        (
            parse_rfc3339(entry["time"])
            for entry in meta.get("managedFields") or ()
            if entry.get("manager") in _MANAGERS and entry.get("time")
        ),
        default=0.0,
    )


def _began(body: Mapping[str, Any]) -> float:
    text = (body.get("status") or {}).get("startTime") or body["metadata"].get("creationTimestamp")
    return parse_rfc3339(text) if text else 0.0


def _ended(body: Mapping[str, Any]) -> bool:
    return any(
        condition.get("type") in {"Complete", "Failed"} and condition.get("status") == "True"
        for condition in (body.get("status") or {}).get("conditions") or ()
    )


def _owner(meta: Mapping[str, Any]) -> str:
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            return f'{owner["kind"]} "{owner["name"]}"'
    return ""


@lru_cache(maxsize=_SHARED)
def _labels(pairs: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return dict(pairs)


def _mapping(value: Any, *path: str) -> Mapping[str, Any]:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
