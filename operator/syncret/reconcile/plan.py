"""Whether an ExternalSecret's store has to be read now, and why. Pure.

Level-based: the answer follows from what is there (spec, status, Secret, store, clock), never from
which event woke us. After a restart the same questions get the same answers, so nothing is read
that is not due.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from syncret.api.externalsecret import ExternalSecret, ExternalSecretStatus
from syncret.api.secret import ManagedSecret
from syncret.api.store import Store
from syncret.digest import Digester


class Reason(Enum):
    """Why the store is read; the values appear in the log."""

    FIRST = "first sync"
    EDITED = "spec changed"
    STORE = "store changed"
    MISSING = "Secret missing"
    DRIFT = "Secret differs from what was written"
    DUE = "refresh due"
    RETRY = "retry"


class Grant(NamedTuple):
    """The right to read the store.

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
    store: tuple[str, int] | None
    store_ready: str
    secret_uid: str
    grant: "Grant" = Grant()


@dataclass(slots=True)
class SyncState:
    """What the process remembers of one ExternalSecret. Lost at a restart without harm.

    ``status`` is what we last wrote, or found at the start: the echo of a status write that comes
    late by the watch does not overwrite it. ``due`` is wall seconds; ``retry`` monotonic seconds,
    meaningful while ``failures`` is not 0.
    """

    uid: str
    status: ExternalSecretStatus
    due: float
    context: Context | None = None
    failures: int = 0
    retry: float = 0.0
    rollout_failures: int = field(default=0)


def context_of(
    external_secret: ExternalSecret,
    store: Store | None,
    secret: ManagedSecret | None,
    grant: Grant | None = None,
) -> Context:
    """What an attempt made now depends on."""
    return Context(
        generation=external_secret.generation,
        store=(store.uid, store.generation) if store is not None else None,
        store_ready=store.ready_status if store is not None else "",
        secret_uid=secret.uid if secret is not None else "",
        grant=grant or Grant(),
    )


def read_reason(  # noqa: PLR0911 - one for each reason, in their order
    external_secret: ExternalSecret,
    state: SyncState,
    *,
    context: Context,
    secret: ManagedSecret | None,
    digester: Digester,
    wall: float,
    monotonic: float,
) -> Reason | None:
    """Why the store has to be read now; None while it has not."""
    if state.failures:
        if context != state.context or monotonic >= state.retry:
            return Reason.RETRY
        return None
    status = state.status
    if status.synced_generation is None:
        return Reason.FIRST
    if status.synced_generation != external_secret.generation:
        return Reason.EDITED
    if state.context is None:
        if context.grant.admitted is False and _is_ready(status):
            return Reason.STORE  # the right was taken away while nobody worked
    elif context.store != state.context.store or context.grant.differs_from(state.context.grant):
        return Reason.STORE
    if secret is None:
        return Reason.MISSING
    if not holds_synced(secret, status, digester):
        return Reason.DRIFT
    return Reason.DUE if wall >= state.due else None


def holds_synced(secret: ManagedSecret, status: ExternalSecretStatus, digester: Digester) -> bool:
    """Whether the Secret holds what the status says was synced."""
    return secret.published(digester) == status.data_hash


def _is_ready(status: ExternalSecretStatus) -> bool:
    return status.ready is not None and status.ready.status == "True"
