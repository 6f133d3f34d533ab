"""Who consumes a secret of a store, and which of their pods still have its old value. Pure.

A pod that started before its Secret last changed has the old value: in its environment for as long
as it lives; in its files until the kubelet renews them, and in whatever has read them until that
looks again. Workloads count that read a key which comes from the secret; where it cannot be told
which keys those are (whole secrets, templates), all of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from syncret.api.consumers import consumed_secrets, pull_secrets
from syncret.api.data import Query
from syncret.api.externalsecret import ExternalSecret
from syncret.api.keys import ObjectKey
from syncret.api.rotate import RotationStatus
from syncret.api.store import Store
from syncret.clock import parse_rfc3339
from syncret.constants import CHECKSUM_ANNOTATION
from syncret.reconcile.rollout.checksum import parse as parse_checksum
from syncret.reconcile.rollout.condition import FAILED, REVERTED
from syncret.sources.names import Subject, System, is_below, is_same

#: Kinds whose pods are replaced by a rolling restart.
ROLLED: Final = ("Deployment", "StatefulSet", "DaemonSet", "Rollout")


@dataclass(frozen=True, slots=True)
class Pod:
    """``old``: it started before the Secret last changed."""

    name: str
    old: bool
    ready: bool


@dataclass(frozen=True, slots=True)
class Consumer:
    """A workload, or ("Pod") a pod without one, that reads a Secret.

    ``how`` it consumes it: "reads" it; is "named" by ``spec.rollout.targets``, and may read it from
    the API; "pulls" its images with it. ``keys``: those it reads, None: all. ``entry``: what our
    annotation on its pod template says of the Secret. ``healthy``: all of its pods are as its
    template says, and available.
    """

    kind: str
    name: str
    keys: tuple[str, ...] | None = None
    entry: str = ""
    healthy: bool = True
    pods: tuple[Pod, ...] = ()
    how: str = "reads"

    @property
    def old(self) -> int:
        return sum(pod.old for pod in self.pods)

    @property
    def rolled(self) -> bool:
        """Whether a rolling restart replaces its pods."""
        return self.kind in ROLLED and self.how != "pulls"


@dataclass(frozen=True, slots=True)
class Reader:
    """An ExternalSecret that reads the secret, and what comes of it.

    ``version``: the one that its Secret was made from. ``pinned``: it names a version itself, and
    will not read another. ``rollout``: what the operator says of a rollout that is not done, and
    ``halted``: it has stopped since the Secret changed, until a person does something.
    """

    namespace: str
    name: str
    secret: str
    key: str
    ready: str
    message: str
    version: str
    changed: str
    rotation: RotationStatus | None = None
    synced: bool = True
    force_sync: str = ""
    rolls: bool = True
    pinned: bool = False
    rollout: str = ""
    halted: bool = False
    consumers: tuple[Consumer, ...] = ()

    @property
    def place(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Picture:
    """All readers at one moment; ``problems``: what could not be seen.

    ``blind``: that may be workloads or pods of theirs.
    """

    readers: tuple[Reader, ...] = ()
    problems: tuple[str, ...] = field(default=())
    blind: bool = False

    @property
    def old(self) -> int:
        """Pods that have the old value."""
        return sum(consumer.old for reader in self.readers for consumer in reader.consumers)


def key_read(
    external_secret: ExternalSecret, stores: Mapping[ObjectKey, Store], store: ObjectKey, key: str
) -> str:
    """The key by which an ExternalSecret reads that secret of the store; "" if it does not."""
    known = stores.get(store)
    provider = known.provider if known is not None else {}
    subject = Subject(System.STORE, (key,), store=store)
    for entry in external_secret.data:
        if is_same(provider, entry.store, entry.remote.key, subject):
            return entry.remote.key
    for one in external_secret.data_from:
        if not isinstance(one.source, Query):
            if is_same(provider, one.store, one.source.key, subject):
                return one.source.key
            continue
        for source in external_secret.status.sources:
            if is_same(provider, one.store, source.key, subject):
                return source.key
        names = is_below(provider, one.store, subject)
        plain = Query(path=one.source.path, name=one.source.name)
        if not one.source.tags and any(plain.matches(name, {}) for name in names):
            return key
    return ""


def keys_made(external_secret: ExternalSecret, key: str) -> frozenset[str] | None:
    """The keys of the Secret that come from a key of the store; None: perhaps all."""
    if external_secret.template.sources or external_secret.status.template_input:
        return None
    if any(
        isinstance(one.source, Query) or one.source.key == key for one in external_secret.data_from
    ):
        return None
    return frozenset(entry.secret_key for entry in external_secret.data if entry.remote.key == key)


def reader_of(external_secret: ExternalSecret, key: str) -> Reader:
    """Without its consumers."""
    status = external_secret.status
    told = status.rolled_out
    return Reader(
        namespace=external_secret.key.namespace,
        name=external_secret.key.name,
        secret=status.secret_name or external_secret.target,
        key=key,
        ready=status.ready.status if status.ready else "",
        message=status.ready.message if status.ready else "",
        version=next((one.version for one in status.sources if one.key == key), ""),
        changed=status.last_change_time,
        rotation=status.rotation,
        synced=status.synced_generation == external_secret.generation,
        force_sync=status.force_sync,
        rolls=external_secret.rollout.mode != "None",
        pinned=_pinned(external_secret, key),
        rollout=told.message if told and told.status == "False" else "",
        halted=told is not None and told.reason in {FAILED, REVERTED} and _halted(external_secret),
    )


def _halted(external_secret: ExternalSecret) -> bool:
    """Whether it is of the present value that a rollout failed, and not of one before."""
    changed = parse_rfc3339(external_secret.status.last_change_time)
    return any(
        target.phase in {"Failed", "Reverted"}
        and parse_rfc3339(target.last_rollout_time) >= changed
        for target in external_secret.status.targets
    )


def _pinned(external_secret: ExternalSecret, key: str) -> bool:
    remotes = [one.remote for one in external_secret.data]
    remotes += [
        one.source for one in external_secret.data_from if not isinstance(one.source, Query)
    ]
    versions = [remote.version for remote in remotes if remote.key == key]
    return bool(versions) and all(versions)


def consumers_of(
    reader: Reader,
    made: frozenset[str] | None,
    *,
    workloads: Iterable[Mapping[str, Any]],
    pods: Sequence[Mapping[str, Any]],
    named: Callable[[Mapping[str, Any]], bool] = lambda _: False,
) -> tuple[Consumer, ...]:
    """Who consumes the Secret, of the workloads and pods of its namespace.

    ``named``: whether the targets of the rollout name a workload.
    """
    changed = parse_rfc3339(reader.changed)
    alive = {_name(pod): pod for pod in pods if not _ended(pod)}
    reading = {
        name: pod
        for name, pod in alive.items()
        if _concerned(_spec(pod), reader.secret, made) is not _NO
    }
    found: list[Consumer] = []
    for workload in workloads:
        template = _template(workload)
        keys = _concerned(_mapping(template.get("spec")), reader.secret, made)
        how = "reads"
        if keys is _NO:
            how = "named" if named(workload) else ""
            if not how and reader.secret in pull_secrets(template.get("spec")):
                how = "pulls"  # the kubelet reads it with each pull: no pod has an old value
            if not how:
                continue
        candidates = reading if how == "reads" else alive
        own = {name: pod for name, pod in candidates.items() if _belongs(pod, workload)}
        for name in own:
            reading.pop(name, None)
        annotations = _mapping(_mapping(template.get("metadata")).get("annotations"))
        entry = parse_checksum(str(annotations.get(CHECKSUM_ANNOTATION) or "")).get(reader.secret)
        found.append(
            Consumer(
                kind=str(workload.get("kind")),
                name=_name(workload),
                keys=keys if isinstance(keys, tuple) else None,
                entry=str(entry or ""),
                healthy=is_healthy(workload),
                pods=tuple(
                    _pod(pod, changed if how != "pulls" else 0.0) for _, pod in sorted(own.items())
                ),
                how=how,
            )
        )
    # Of those that are left, the owner is unknown here, or there is none.
    found += [
        Consumer(kind="Pod", name=name, pods=(_pod(pod, changed),))
        for name, pod in sorted(reading.items())
    ]
    return tuple(sorted(found, key=lambda one: (one.kind, one.name)))


def is_healthy(workload: Mapping[str, Any]) -> bool:
    """Whether every pod is as the template says, and available."""
    spec, status = _mapping(workload.get("spec")), _mapping(workload.get("status"))
    meta = _mapping(workload.get("metadata"))
    if int(status.get("observedGeneration") or 0) < int(meta.get("generation") or 0):
        return False
    match workload.get("kind"):
        case "Deployment":
            wanted = spec.get("replicas", 1)
            counts = ("replicas", "updatedReplicas", "availableReplicas")
            return all((status.get(name) or 0) == wanted for name in counts)
        case "StatefulSet":
            wanted = spec.get("replicas", 1)
            return ((status.get("updatedReplicas") or 0) == wanted or not wanted) and (
                status.get("readyReplicas") or 0
            ) == wanted
        case "DaemonSet":
            wanted = status.get("desiredNumberScheduled") or 0
            both = ("updatedNumberScheduled", "numberAvailable")
            return all((status.get(name) or 0) == wanted for name in both)
        case _:
            return True


_NO: Final = object()


def _concerned(spec: Mapping[str, Any], secret: str, made: frozenset[str] | None) -> Any:
    """The keys of the Secret that a pod reads as a tuple, None for all; _NO if none that counts."""
    consumed = consumed_secrets(spec)
    if secret not in consumed:
        return _NO
    keys = consumed[secret]
    if keys is None:
        return None
    return _NO if made is not None and not keys & made else tuple(sorted(keys))


def _template(workload: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = _mapping(workload.get("spec"))
    if workload.get("kind") == "CronJob":
        spec = _mapping(_mapping(spec.get("jobTemplate")).get("spec"))
    return _mapping(spec.get("template"))


def _belongs(pod: Mapping[str, Any], workload: Mapping[str, Any]) -> bool:
    """By its owner; where another controller is in between, by that one's name."""
    meta = _mapping(pod.get("metadata"))
    uid = _mapping(workload.get("metadata")).get("uid")
    owners = meta.get("ownerReferences") or ()
    if any(owner.get("uid") == uid for owner in owners):
        return True
    kind, name = workload.get("kind"), _name(workload)
    for owner in owners:
        between = str(owner.get("name") or "")
        if (kind, owner.get("kind")) in _BETWEEN and between.rpartition("-")[0] == name:
            return True
    return False


#: Who makes pods for whom; the one in between is named after the other.
_BETWEEN: Final = frozenset(
    {("Deployment", "ReplicaSet"), ("Rollout", "ReplicaSet"), ("CronJob", "Job")}
)


def _pod(pod: Mapping[str, Any], changed: float) -> Pod:
    status = _mapping(pod.get("status"))
    meta = _mapping(pod.get("metadata"))
    started = parse_rfc3339(str(meta.get("creationTimestamp") or ""))
    ready = any(
        one.get("type") == "Ready" and one.get("status") == "True"
        for one in status.get("conditions") or ()
    )
    return Pod(name=_name(pod), old=bool(changed) and started < changed, ready=ready)


def _ended(pod: Mapping[str, Any]) -> bool:
    return _mapping(pod.get("status")).get("phase") in {"Succeeded", "Failed"}


def _spec(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(pod.get("spec"))


def _name(body: Mapping[str, Any]) -> str:
    return str(_mapping(body.get("metadata")).get("name") or "")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
