"""SecretStore and ClusterSecretStore: one record for both, told apart by the kind of the key.

A Generator or ClusterGenerator is one as well: it is opened, checked and admitted in the same way,
and what it makes is read through the same path.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from syncret.api.admission import Admission, admits, covers, parse_admissions, selections
from syncret.api.externalsecret import Condition, parse_ready
from syncret.api.keys import CLUSTER_STORES, GENERATORS, Kind, ObjectKey
from syncret.api.selector import Namespace
from syncret.duration import parse_duration
from syncret.errors import SpecInvalid

#: Seconds between two checks of a store that nobody reads.
DEFAULT_CHECK_INTERVAL: Final = 3600.0

#: The shortest interval: a check is a call that costs.
MIN_CHECK_INTERVAL: Final = 10.0


@dataclass(frozen=True, slots=True)
class Store:
    """A store. ``provider`` is the raw ``spec.provider``; only the provider itself parses it.

    Of a generator it is ``spec.generator``.

    ``admissions``: who may use a ClusterSecretStore; a SecretStore serves its own namespace.
    ``check_interval``: in seconds; 0: only when the store changes or fails. ``foreign``: it is
    another operator's, by its controller class, and nothing is done for it here. ``problem``: what
    is wrong with the rest of its spec.
    """

    key: ObjectKey
    uid: str
    generation: int
    provider: Mapping[str, Any]
    admissions: tuple[Admission, ...] = ()
    check_interval: float = DEFAULT_CHECK_INTERVAL
    foreign: bool = False
    problem: str = ""
    ready: Condition | None = field(default=None, compare=False)

    @property
    def cluster_scoped(self) -> bool:
        return self.key.kind in CLUSTER_STORES

    @property
    def ready_status(self) -> str:
        """The status of the condition Ready: True, False, Unknown, or "" while there is none."""
        return self.ready.status if self.ready is not None else ""

    @property
    def by_labels(self) -> bool:
        """Whether the labels of namespaces decide who may use it."""
        return any(one.namespaces.labels for one in self.admissions)

    def admits(self, namespace: Namespace) -> bool | None:
        """Whether ExternalSecrets of that namespace may use this store.

        None if that depends on the namespace's labels, and they are not known yet.
        """
        if self.cluster_scoped:
            return admits(self.admissions, namespace)
        return namespace.name == self.key.namespace

    def selections(self, namespace: Namespace) -> tuple[bool | None, ...]:
        """What the rights of that namespace follow from, with the rest of the store's spec."""
        return selections(self.admissions, namespace)


def may_read(store: Store, namespace: Namespace, key: str) -> bool:
    """Whether ExternalSecrets of that namespace may read that key of the store.

    To be asked before any call, and of every key that a search has found.
    """
    if store.cluster_scoped:
        return covers(store.admissions, namespace, key)
    return namespace.name == store.key.namespace


def parse_store(kind: Kind, body: Mapping[str, Any], *, controller_class: str = "") -> Store:
    """The record of a body of any of the kinds. ``controller_class``: that of this operator."""
    meta = body["metadata"]
    spec = body.get("spec") or {}
    admissions: tuple[Admission, ...] = ()
    interval, problem = DEFAULT_CHECK_INTERVAL, ""
    try:
        interval = _interval(spec)
        admissions = parse_admissions(spec.get("conditions"))
    except SpecInvalid as error:
        problem = error.message
    except (KeyError, TypeError, AttributeError) as error:
        problem = (
            "the spec does not have the form that this version reads "
            f"({type(error).__name__}): apply the CRDs of this version and the manifest again"
        )
    return Store(
        key=ObjectKey(kind, meta.get("namespace") or "", meta["name"]),
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        provider=spec.get("generator" if kind in GENERATORS else "provider") or {},
        admissions=admissions,
        check_interval=interval,
        foreign=(spec.get("controller") or "") != controller_class,
        problem=problem,
        ready=parse_ready(body.get("status") or {}),
    )


def _interval(spec: Mapping[str, Any]) -> float:
    text = spec.get("refreshInterval")
    if text is None:
        return DEFAULT_CHECK_INTERVAL
    seconds = parse_duration(text)
    if seconds and seconds < MIN_CHECK_INTERVAL:
        raise SpecInvalid(
            f'spec.refreshInterval is "{text}": the shortest is 10s, and 0s checks only when the '
            "store changes or fails."
        )
    return seconds
