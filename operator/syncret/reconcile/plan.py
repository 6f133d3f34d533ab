"""Whether an ExternalSecret's store has to be read now, and why. Pure.

Level-based: the answer follows from what is there (spec, status, Secret, store, clock), never from
which event woke us. After a restart the same questions get the same answers, so nothing is read
that is not due.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Final, NamedTuple

from syncret.api.externalsecret import ExternalSecret, ExternalSecretStatus
from syncret.api.refresh import Refresh
from syncret.api.secret import ManagedSecret
from syncret.api.store import Store
from syncret.digest import Digester
from syncret.reconcile.ownership import beyond_repair, in_shape
from syncret.reconcile.schedule import Due


class Reason(Enum):
    """Why the store is read; the values appear in the log."""

    FIRST = "first sync"
    FORCED = "asked for by the annotation"
    EDITED = "spec changed"
    STORE = "store changed"
    MISSING = "Secret missing"
    DRIFT = "Secret differs from what was written"
    MARKS = "Secret lost a mark, or has another key"
    TEMPLATE = "template changed"
    DUE = "refresh due"
    EVENT = "event of the store"
    GENERATED = "another credential is due"
    RETRY = "retry"


class Grant(NamedTuple):
    """The right to read a store.

    ``admitted``: whether the store admits the namespace; ``entries``: which of its entries do; None
    in either where labels decide that are not known yet. ``credentials``: another number after each
    change of those that the store is read with.
    """

    admitted: bool | None = True
    entries: tuple[bool | None, ...] = ()
    credentials: int = 0

    @property
    def known(self) -> bool:
        return self.admitted is not None and None not in self.entries

    def differs_from(self, other: "Grant") -> bool:
        """Whether it is another one. What is not known is no other than what was."""
        if self.credentials != other.credentials:
            return True
        return self.known and other.known and self != other


class Context(NamedTuple):
    """What an attempt depended on: a new attempt is worth making at once when it changed."""

    generation: int
    force_sync: str
    #: Of each store: uid and generation, and whether it is Ready.
    stores: tuple[tuple[str, int] | None, ...]
    stores_ready: tuple[str, ...]
    #: Which Secret it is, and who shares it.
    secret: str
    grants: tuple[Grant, ...] = ()
    #: Stands for templates from elsewhere.
    template: str = ""
    #: The number of the last hint.
    hint: int = 0


#: What has no other reason than that it is time: nothing is wrong, and sync windows count.
TIMED: Final = frozenset({Reason.DUE, Reason.EVENT})

#: What may be put right without the store.
MENDABLE: Final = frozenset({Reason.MISSING, Reason.DRIFT, Reason.MARKS})


@dataclass(slots=True)
class SyncState:
    """What the process remembers of one ExternalSecret. Lost at a restart without harm.

    ``status`` is what we last wrote, or found at the start: the echo of a status write that comes
    late by the watch does not overwrite it. ``retry`` is monotonic seconds, meaningful while
    ``failures`` is not 0, as is ``failed``: why that was tried which failed.
    """

    uid: str
    status: ExternalSecretStatus
    #: Of these settings, and what they make of the clock.
    refresh: Refresh
    due: Due
    context: Context | None = None
    failures: int = 0
    failed: Reason | None = None
    retry: float = 0.0
    #: When the rollout is to be looked at again, in monotonic seconds.
    rollout_at: float = inf
    leaving_failures: int = field(default=0)
    dropping_failures: int = field(default=0)
    #: Stands for templates from elsewhere, as they were last seen.
    template: str = ""
    #: The number of the last hint that was taken in, and whether what is due is due because of it.
    hint: int = 0
    by_event: bool = False


def context_of(
    external_secret: ExternalSecret,
    stores: Sequence[Store | None],
    secret: ManagedSecret | None,
    grants: Sequence[Grant] = (),
    *,
    unmanaged: str = "",
    template: str = "",
    hint: int = 0,
) -> Context:
    """What an attempt made now depends on; ``stores`` in the order of the record.

    ``unmanaged``: what is known of a Secret of that name without our label.
    """
    return Context(
        generation=external_secret.generation,
        force_sync=external_secret.force_sync,
        stores=tuple((store.uid, store.generation) if store else None for store in stores),
        stores_ready=tuple(store.ready_status if store else "" for store in stores),
        secret=secret.standing if secret is not None else unmanaged,
        grants=tuple(grants),
        template=template,
        hint=hint,
    )


def read_reason(
    external_secret: ExternalSecret,
    state: SyncState,
    *,
    context: Context,
    secret: ManagedSecret | None,
    digester: Digester,
    wall: float,
    monotonic: float,
) -> Reason | None:
    """Why the store has to be read now; None while it has not.

    ``state.due`` has to be of now: no sync window that it lies in has closed since.
    """
    asked = wanted(external_secret, state, context=context, secret=secret, digester=digester)
    due = wall >= state.due.at
    if state.failures:
        if context == state.context and monotonic < state.retry:
            return None
        # What only the clock asked for is not tried again while the sync windows are closed.
        return Reason.RETRY if asked or due or state.failed not in TIMED else None
    if asked or not due:
        return asked
    return Reason.EVENT if state.by_event else Reason.DUE


def wanted(
    external_secret: ExternalSecret,
    state: SyncState,
    *,
    context: Context,
    secret: ManagedSecret | None,
    digester: Digester,
) -> Reason | None:
    """Why it has to be read, whatever the clock says."""
    status = state.status
    once = external_secret.refresh.policy == "CreatedOnce"
    if status.synced_generation is None:
        return Reason.FIRST
    if external_secret.force_sync and external_secret.force_sync != status.force_sync:
        return Reason.FORCED
    if status.synced_generation != external_secret.generation and not once:
        return Reason.EDITED
    if state.context is None:
        if any(grant.admitted is False for grant in context.grants) and _is_ready(status):
            return Reason.STORE  # the right was taken away while nobody worked
    elif not once and _other_stores(context, state.context):
        return Reason.STORE
    wrong = _wrong(external_secret, status, secret=secret, digester=digester)
    changed = bool(status.template_input) and context.template != status.template_from
    return Reason.TEMPLATE if changed and not once and wrong in {None, Reason.MARKS} else wrong


def _wrong(
    external_secret: ExternalSecret,
    status: ExternalSecretStatus,
    *,
    secret: ManagedSecret | None,
    digester: Digester,
) -> Reason | None:
    """What is wrong with the Secret."""
    if not external_secret.policy.writes or not status.data_hash:
        return None  # there is to be no Secret
    if secret is None:
        return Reason.MISSING
    if not holds_synced(secret, status, digester) or not stays(external_secret, status, secret):
        return Reason.DRIFT
    if beyond_repair(external_secret, secret, status.keys):
        return Reason.DRIFT
    if not in_shape(external_secret, secret, status.keys):
        return Reason.MARKS
    return None


def stays(
    external_secret: ExternalSecret, status: ExternalSecretStatus, secret: ManagedSecret
) -> bool:
    """Whether labels and annotations that a template gave are as they were written."""
    if secret.metadata is not None:
        return secret.metadata.intact
    current = status.synced_generation == external_secret.generation
    return not (current and external_secret.template.has_metadata)


def holds_synced(secret: ManagedSecret, status: ExternalSecretStatus, digester: Digester) -> bool:
    """Whether the Secret holds what the status says was synced, perhaps beside other keys."""
    return secret.holds(status.keys, status.data_hash, digester)


def _other_stores(now: Context, before: Context) -> bool:
    """Whether a store, or the right to read it, is another one than it was."""
    return now.stores != before.stores or any(
        one.differs_from(other) for one, other in zip(now.grants, before.grants, strict=False)
    )


def _is_ready(status: ExternalSecretStatus) -> bool:
    return status.ready is not None and status.ready.status == "True"
