"""ExternalSecret: what its body says, as frozen records.

The API server has applied the CRD's rules before a body reaches us, so parsing only guards against
what those rules cannot rule out (an older CRD left in the cluster): such a body becomes a record
whose ``problem`` says what is wrong, and which is reported instead of acted upon.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from sys import intern
from typing import Any, Final, TypeVar

from syncret.api.data import (
    DataEntry,
    DataFrom,
    Transform,
    parse_data,
    parse_data_from,
    parse_store_ref,
)
from syncret.api.keys import ObjectKey
from syncret.api.refresh import Refresh, parse_force_sync, parse_refresh
from syncret.api.rollout import Rollout, RolloutTarget, parse_rollout, parse_targets
from syncret.api.rotate import (
    RotationRequest,
    RotationStatus,
    parse_request,
    parse_rotation_status,
)
from syncret.api.rotation import Rotation, parse_revoke_after, parse_rotation
from syncret.api.target import TargetPolicy, parse_target
from syncret.api.template import NO_TEMPLATE, Template, parse_template, refuse_shared
from syncret.constants import EVENT_ANNOTATION, GENERATED_PREFIX
from syncret.errors import SpecInvalid

KIND: Final = "ExternalSecret"

T = TypeVar("T")

_DEFAULT_REFRESH: Final = Refresh()
_DEFAULT_ROLLOUT: Final = Rollout()
_DEFAULT_TARGET: Final = TargetPolicy()


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
    """A remote secret that the Secret was made from.

    ``created``: when its version was made; ``expires``: when the store takes it for expired; both
    in RFC 3339, "" if not known.

    ``store``: kind/name of the store, "" for the one of ``spec.secretStoreRef``.
    """

    key: str
    version: str
    created: str = ""
    store: str = ""
    expires: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """When a certificate in the Secret begins and ceases to be valid, in RFC 3339.

    ``key``: under which it is there. Of several, those of the one that matters: see
    :mod:`syncret.template.dates`.
    """

    key: str
    not_before: str
    not_after: str


@dataclass(frozen=True, slots=True)
class MissingEntry:
    """An entry of the spec for which the store has nothing, by its path in the spec.

    ``key``: what the store should have; "" where it was searched.
    """

    entry: str
    key: str = ""
    property: str = ""


@dataclass(frozen=True, slots=True)
class ExternalSecretStatus:
    """What was reported last. The empty record is that of an object never synced.

    ``data_hash``: "" after a sync that left no Secret. ``secret_name``: the Secret that was
    written, ``former_secrets``: those before it that are still to be left.
    """

    ready: Condition | None = None
    rolled_out: Condition | None = None
    rotation_overdue: Condition | None = None
    expiring: Condition | None = None
    synced_generation: int | None = None
    last_change_time: str = ""
    data_hash: str = ""
    sources: tuple[Source, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    keys: tuple[str, ...] = ()
    missing: tuple[MissingEntry, ...] = ()
    force_sync: str = ""
    held_until: str = ""
    targets: tuple[RolloutTarget, ...] = ()
    #: Since when a change of the data waits for a restart; "": nothing does.
    rollout_since: str = ""
    secret_name: str = ""
    former_secrets: tuple[str, ...] = ()
    #: Digests of what the template was rendered from, and of the templates from elsewhere.
    template_input: str = ""
    template_from: str = ""
    rotation: RotationStatus | None = None


@dataclass(frozen=True, slots=True)
class ExternalSecret:
    """One ExternalSecret.

    ``stores``: all that it reads, in the order in which its spec names them; one at least.
    ``force_sync``: a digest of the annotation that asks for a refresh, "" without it.
    ``revoke_after``: seconds from the rollout of a new credential to the end of the former one of
    a generator; None: that ends by itself.
    """

    key: ObjectKey
    uid: str
    generation: int
    stores: tuple[ObjectKey, ...]
    target: str
    refresh: Refresh
    data: tuple[DataEntry, ...]
    data_from: tuple[DataFrom, ...]
    rollout: Rollout = _DEFAULT_ROLLOUT
    policy: TargetPolicy = _DEFAULT_TARGET
    template: Template = NO_TEMPLATE
    rotation: Rotation | None = None
    revoke_after: float | None = None
    force_sync: str = ""
    deleting: bool = False
    problem: str = ""
    rotate: RotationRequest | None = None
    #: What another replica has noted of an event.
    event: str = field(default="", compare=False)
    status: ExternalSecretStatus = field(default=ExternalSecretStatus(), compare=False)

    @property
    def generators(self) -> tuple[ObjectKey, ...]:
        """Those of its stores that are generators; mostly none."""
        return _generators(self.stores)

    @property
    def transforms(self) -> bool:
        """Whether keys are renamed by templates."""
        return any(isinstance(step, Transform) for one in self.data_from for step in one.rewrite)


def parse_external_secret(body: Mapping[str, Any]) -> ExternalSecret:
    """The record of a body; what cannot be read is told in ``problem``, never raised."""
    meta = body["metadata"]
    spec = body.get("spec") or {}
    namespace, name = intern(meta["namespace"]), meta["name"]
    problem = ""
    refresh = _DEFAULT_REFRESH
    rollout = _DEFAULT_ROLLOUT
    policy = _DEFAULT_TARGET
    store: ObjectKey | None = None
    data: tuple[DataEntry, ...] = ()
    data_from: tuple[DataFrom, ...] = ()
    template = NO_TEMPLATE
    rotation: Rotation | None = None
    revoke_after: float | None = None
    target = (spec.get("target") or {}).get("name") or name
    try:
        if reference := spec.get("secretStoreRef"):
            store = parse_store_ref(reference, namespace)
        refresh = _shared(parse_refresh(spec))
        rollout = _shared(parse_rollout(spec))
        policy = parse_target(spec)
        data = parse_data(spec, namespace=namespace, default=store)
        data_from = parse_data_from(spec, namespace=namespace, name=name, default=store)
        template = parse_template(spec)
        rotation = parse_rotation(spec)
        revoke_after = parse_revoke_after(spec)
        refuse_shared(template, spec, shared=policy.shared, writes=policy.writes)
        if not data and not data_from:
            problem = "spec.data and spec.dataFrom are both empty: name what to read in one of them"
        if target.startswith(GENERATED_PREFIX):
            problem = (
                f'the target "{target}" has a name of those that Syncret gives to Secrets of its '
                f"own: choose one that does not begin with {GENERATED_PREFIX}"
            )
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
        stores=_stores(store, data, data_from) or (ObjectKey("SecretStore", namespace, ""),),
        target=target,
        refresh=refresh,
        data=data,
        data_from=data_from,
        rollout=rollout,
        policy=policy,
        template=template,
        rotation=rotation,
        revoke_after=revoke_after,
        force_sync=parse_force_sync(meta),
        deleting="deletionTimestamp" in meta,
        problem=problem,
        rotate=parse_request(meta),
        event=(meta.get("annotations") or {}).get(EVENT_ANNOTATION) or "",
        status=_parse_status(body.get("status") or {}),
    )


def _stores(
    default: ObjectKey | None, data: tuple[DataEntry, ...], data_from: tuple[DataFrom, ...]
) -> tuple[ObjectKey, ...]:
    """What is read, the default first; a default that no entry reads from does not count."""
    read = dict.fromkeys((*(one.store for one in data_from), *(one.store for one in data)))
    if default is not None and (default in read or not read):
        read = {default: None} | read
    shared: tuple[ObjectKey, ...] = _shared(tuple(read))
    return shared


@lru_cache(maxsize=4096)
def _generators(stores: tuple[ObjectKey, ...]) -> tuple[ObjectKey, ...]:
    return tuple(store for store in stores if store.generates)


@lru_cache(maxsize=4096)
def _shared(value: T) -> T:
    """One object for all ExternalSecrets that say the same."""
    return value


def _parse_status(status: Mapping[str, Any]) -> ExternalSecretStatus:
    """The status as we wrote it; anything else counts as never written."""
    try:
        rollout = status.get("rollout") or {}
        return ExternalSecretStatus(
            ready=parse_ready(status),
            rolled_out=parse_condition(status, "RolledOut"),
            rotation_overdue=parse_condition(status, "RotationOverdue"),
            expiring=parse_condition(status, "Expiring"),
            synced_generation=status.get("syncedGeneration"),
            last_change_time=status.get("lastChangeTime") or "",
            data_hash=status.get("dataHash") or "",
            sources=tuple(
                Source(
                    s["key"],
                    s.get("version") or "",
                    s.get("created") or "",
                    s.get("store") or "",
                    s.get("expires") or "",
                )
                for s in status.get("sources") or ()
            ),
            certificates=tuple(
                Certificate(c["key"], c["notBefore"], c["notAfter"])
                for c in status.get("certificates") or ()
            ),
            keys=tuple(status.get("keys") or ()),
            missing=tuple(
                MissingEntry(m["entry"], m.get("key") or "", m.get("property") or "")
                for m in status.get("missing") or ()
            ),
            force_sync=status.get("forceSync") or "",
            held_until=status.get("heldUntil") or "",
            secret_name=status.get("secretName") or "",
            former_secrets=tuple(status.get("formerSecrets") or ()),
            targets=parse_targets(rollout),
            rollout_since=rollout.get("pendingSince") or "",
            template_input=(status.get("template") or {}).get("inputHash") or "",
            template_from=(status.get("template") or {}).get("fromHash") or "",
            rotation=parse_rotation_status(status),
        )
    except (KeyError, TypeError, AttributeError):
        return ExternalSecretStatus()


def parse_ready(status: Mapping[str, Any]) -> Condition | None:
    """The condition Ready, if the status has it, as found for ``status.observedGeneration``.

    A version that did not write that field left none, so its condition differs from ours and is
    written again.
    """
    ready = parse_condition(status, "Ready")
    if ready is None:
        return None
    return replace(ready, observed_generation=status.get("observedGeneration") or 0)


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
