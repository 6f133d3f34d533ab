"""ExternalSecret: what its body says, as frozen records.

The API server has applied the CRD's rules before a body reaches us, so parsing only guards against
what those rules cannot rule out (an older CRD left in the cluster): such a body becomes a record
whose ``problem`` says what is wrong, and which is reported instead of acted upon.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any, Final, Literal

from syncret.api.keys import ObjectKey
from syncret.duration import parse_duration
from syncret.errors import SpecInvalid

KIND: Final = "ExternalSecret"
DEFAULT_REFRESH_INTERVAL: Final = 3600.0
MIN_REFRESH_INTERVAL: Final = 1.0

RolloutMode = Literal["Auto", "None"]


@dataclass(frozen=True, slots=True)
class RemoteRef:
    """Which remote secret, which version of it ("": the current), which part ("": all of it)."""

    key: str
    property: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class DataEntry:
    """One key of the target Secret and where its value comes from."""

    secret_key: str
    remote: RemoteRef


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in the form of the Kubernetes API conventions."""

    type: str
    status: str
    reason: str
    message: str
    last_transition_time: str
    observed_generation: int


@dataclass(frozen=True, slots=True)
class Source:
    """A remote secret that the Secret was made from; ``created`` in RFC 3339, "" if not known."""

    key: str
    version: str
    created: str = ""


@dataclass(frozen=True, slots=True)
class RolloutTarget:
    """A workload that consumes the Secret, and the checksum entry its pods started with."""

    kind: str
    name: str
    uid: str
    checksum: str
    last_rollout_time: str = ""


@dataclass(frozen=True, slots=True)
class ExternalSecretStatus:
    """What was reported last. The empty record is that of an object never synced."""

    ready: Condition | None = None
    synced_generation: int | None = None
    last_change_time: str = ""
    data_hash: str = ""
    sources: tuple[Source, ...] = ()
    keys: tuple[str, ...] = ()
    targets: tuple[RolloutTarget, ...] = ()


@dataclass(frozen=True, slots=True)
class ExternalSecret:
    """One ExternalSecret. ``refresh_interval`` in seconds."""

    key: ObjectKey
    uid: str
    generation: int
    store: ObjectKey
    target: str
    refresh_interval: float
    data: tuple[DataEntry, ...]
    extract: tuple[RemoteRef, ...]
    rollout_mode: RolloutMode
    deleting: bool = False
    problem: str = ""
    status: ExternalSecretStatus = field(default=ExternalSecretStatus(), compare=False)


def parse_external_secret(body: Mapping[str, Any]) -> ExternalSecret:
    """The record of a body; what cannot be read is told in ``problem``, never raised."""
    meta = body["metadata"]
    spec = body.get("spec") or {}
    namespace, name = intern(meta["namespace"]), meta["name"]
    problem = ""
    interval = DEFAULT_REFRESH_INTERVAL
    store = ObjectKey("SecretStore", namespace, "")
    data: tuple[DataEntry, ...] = ()
    extract: tuple[RemoteRef, ...] = ()
    try:
        interval = _interval(spec)
        store = _store(spec, namespace)
        data = tuple(
            DataEntry(secret_key=entry["secretKey"], remote=_remote(entry["remoteRef"]))
            for entry in spec.get("data") or ()
        )
        extract = tuple(_remote(entry["extract"]) for entry in spec.get("dataFrom") or ())
        if not data and not extract:
            problem = "spec.data and spec.dataFrom are both empty: name what to read in one of them"
    except SpecInvalid as error:
        problem = error.message
    except (KeyError, TypeError, AttributeError) as error:
        problem = (
            f"the spec does not have the form that this version reads ({type(error).__name__}): "
            "apply the CRDs of this version and the manifest again"
        )
    return ExternalSecret(
        key=ObjectKey(KIND, namespace, name),
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        store=store,
        target=(spec.get("target") or {}).get("name") or name,
        refresh_interval=interval,
        data=data,
        extract=extract,
        rollout_mode="None" if (spec.get("rollout") or {}).get("mode") == "None" else "Auto",
        deleting="deletionTimestamp" in meta,
        problem=problem,
        status=_parse_status(body.get("status") or {}),
    )


def _interval(spec: Mapping[str, Any]) -> float:
    text = spec.get("refreshInterval")
    if text is None:
        return DEFAULT_REFRESH_INTERVAL
    seconds = parse_duration(text)
    if seconds < MIN_REFRESH_INTERVAL:
        raise SpecInvalid(f'spec.refreshInterval is "{text}": the shortest interval is 1s')
    return seconds


def _store(spec: Mapping[str, Any], namespace: str) -> ObjectKey:
    reference = spec["secretStoreRef"]
    kind = reference.get("kind") or "SecretStore"
    if kind == "ClusterSecretStore":
        return ObjectKey("ClusterSecretStore", "", intern(reference["name"]))
    return ObjectKey("SecretStore", namespace, intern(reference["name"]))


def _remote(reference: Mapping[str, Any]) -> RemoteRef:
    return RemoteRef(
        key=intern(reference["key"]),
        property=intern(reference.get("property") or ""),
        version=intern(reference.get("version") or ""),
    )


def _parse_status(status: Mapping[str, Any]) -> ExternalSecretStatus:
    """The status as we wrote it; anything else counts as never written."""
    try:
        return ExternalSecretStatus(
            ready=parse_condition(status, "Ready"),
            synced_generation=status.get("syncedGeneration"),
            last_change_time=status.get("lastChangeTime") or "",
            data_hash=status.get("dataHash") or "",
            sources=tuple(
                Source(s["key"], s.get("version") or "", s.get("created") or "")
                for s in status.get("sources") or ()
            ),
            keys=tuple(status.get("keys") or ()),
            targets=tuple(
                RolloutTarget(
                    kind=intern(t["kind"]),
                    name=t["name"],
                    uid=t["uid"],
                    checksum=t["checksum"],
                    last_rollout_time=t.get("lastRolloutTime") or "",
                )
                for t in (status.get("rollout") or {}).get("targets") or ()
            ),
        )
    except (KeyError, TypeError, AttributeError):
        return ExternalSecretStatus()


def parse_condition(status: Mapping[str, Any], kind: str) -> Condition | None:
    """The condition of that type, if the status has it."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == kind:
            return Condition(
                type=kind,
                status=condition.get("status") or "Unknown",
                reason=condition.get("reason") or "",
                message=condition.get("message") or "",
                last_transition_time=condition.get("lastTransitionTime") or "",
                observed_generation=condition.get("observedGeneration") or 0,
            )
    return None
