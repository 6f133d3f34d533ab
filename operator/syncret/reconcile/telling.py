"""What became of a sync, told in the three places where people look: log, metrics, Events.

A log line and an Event for each change of what there is to say, not for each attempt; the metrics
count the attempts.
"""

import logging
from collections.abc import Sequence
from math import inf
from typing import Final, Protocol

from syncret.api.externalsecret import Condition, ExternalSecret, MissingEntry
from syncret.clock import Clock, rfc3339
from syncret.constants import FORCE_SYNC_ANNOTATION
from syncret.errors import SyncretError
from syncret.kube.events import EventRecorder, EventType, ObjectRef
from syncret.reconcile.plan import Reason
from syncret.reconcile.target import Change

logger = logging.getLogger("syncret.reconcile.sync")

_ACTION: Final = "Sync"

#: Entries that a message names; the status has them all.
_NAMED: Final = 5


class SyncMetrics(Protocol):
    """What is counted."""

    def sync_finished(
        self, *, namespace: str, name: str, result: str, seconds: float, reason: str | None = None
    ) -> None: ...

    def secret_changed(self, namespace: str, name: str) -> None: ...

    def set_held(self, namespace: str, name: str, held: bool | None) -> None: ...

    def forget_external_secret(self, namespace: str, name: str) -> None: ...


class Teller:
    """Tells of the syncs of ExternalSecrets."""

    def __init__(self, *, events: EventRecorder, metrics: SyncMetrics, clock: Clock) -> None:
        self._events = events
        self._metrics = metrics
        self._clock = clock

    def failed(
        self,
        external_secret: ExternalSecret,
        error: SyncretError,
        *,
        before: Condition | None,
        started: float,
        retry_in: float,
    ) -> None:
        """An attempt failed. ``before``: the condition Ready until now."""
        told = (
            before is not None
            and before.status == "False"
            and (before.reason, before.message) == (error.reason, error.message)
        )
        logger.log(
            logging.DEBUG if told else logging.WARNING,
            "Not synced, next attempt in %.0f s: %s",
            retry_in,
            error.message,
            extra={**names(external_secret), "reason": error.reason},
        )
        self._event(external_secret, "Warning", error.reason, error.message)
        self._finished(external_secret, "failed", started, reason=error.reason)

    def synced(
        self,
        external_secret: ExternalSecret,
        change: Change,
        *,
        why: Reason,
        before: Condition | None,
        started: float,
    ) -> None:
        """An attempt went well."""
        recovered = before is not None and before.status == "False"
        if change is not Change.NONE:
            # The first sync of a new object is what its author expects, and says Ready.
            quiet = before is None and change is Change.CREATED
            self._changed(external_secret, change, why, quiet=quiet)
        elif recovered:  # an Event, or the next outage, in the same words, would be taken for this
            logger.info("In sync again", extra=names(external_secret))
            self._event(external_secret, "Normal", "Synced", in_sync(external_secret))
        else:
            logger.debug("Unchanged (%s)", why.value, extra=names(external_secret))
        result = "unchanged" if change is Change.NONE else "changed"
        self._finished(external_secret, result, started)

    def remember(self, external_secret: ExternalSecret) -> None:
        """After a restart, a failure that was told before is not told as an Event again."""
        ready = external_secret.status.ready
        if ready is not None and ready.status == "False":
            self._events.remember(
                external_secret.uid, type="Warning", reason=ready.reason, message=ready.message
            )

    def forget(self, namespace: str, name: str, uid: str | None) -> None:
        """The ExternalSecret is gone, or another replica's from now on."""
        if uid is not None:
            self._events.forget(uid)
        self._metrics.forget_external_secret(namespace, name)

    def _changed(
        self, external_secret: ExternalSecret, change: Change, why: Reason, *, quiet: bool
    ) -> None:
        logger.info(
            "Secret %s (%s)",
            change.value,
            why.value,
            extra={**names(external_secret), "secret": external_secret.target},
        )
        key = external_secret.key
        self._metrics.secret_changed(key.namespace, key.name)
        if quiet:
            return
        self._events.forget(external_secret.uid)  # two changes in a row are two Events
        self._event(
            external_secret,
            "Normal",
            change.value.capitalize(),
            f'The Secret "{external_secret.target}" was {change.value}.',
        )

    def _finished(
        self,
        external_secret: ExternalSecret,
        result: str,
        started: float,
        *,
        reason: str | None = None,
    ) -> None:
        key = external_secret.key
        self._metrics.sync_finished(
            namespace=key.namespace,
            name=key.name,
            result=result,
            seconds=self._clock.monotonic() - started,
            reason=reason,
        )

    def _event(
        self, external_secret: ExternalSecret, kind: EventType, reason: str, message: str
    ) -> None:
        self._events.emit(
            ObjectRef.of(external_secret.key, external_secret.uid),
            type=kind,
            reason=reason,
            message=message,
            action=_ACTION,
        )


def names(external_secret: ExternalSecret) -> dict[str, str]:
    """What a log line says of the object it is about."""
    key = external_secret.key
    return {"kind": key.kind, "namespace": key.namespace, "object": key.name}


def in_sync(
    external_secret: ExternalSecret,
    *,
    missing: Sequence[MissingEntry] = (),
    held_until: float | None = None,
    outdated: bool = False,
) -> str:
    """The message of Ready while all is well.

    ``missing``: what the store does not have, and need not. ``held_until``: when the sync window
    opens that a refresh waits for. ``outdated``: it was made from an older spec, and stays so.
    """
    target = f'The Secret "{external_secret.target}"'
    if outdated:
        return (
            f"{target} was made once, from an older spec, and stays as it is (refreshPolicy "
            f"CreatedOnce): delete it, or set the annotation {FORCE_SYNC_ANNOTATION}, to have it "
            "made anew."
        )
    said = f"{target} holds what the store holds"
    if held_until is not None:
        when = f" at {rfc3339(held_until)}" if held_until < inf else ""
        said = (
            f"{target} holds what the store held at the last refresh; the next is due and waits "
            f"for a sync window to open{when}"
        )
    if missing:
        named = ", ".join(
            f'{one.entry} ("{one.key}")' if one.key else one.entry for one in missing[:_NAMED]
        )
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        said += f". Optional, and missing there: {named}{more}"
    return f"{said}."
