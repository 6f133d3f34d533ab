"""What became of a sync, told in the three places where people look: log, metrics, Events.

A log line and an Event for each change of what there is to say, not for each attempt; the metrics
count the attempts.
"""

import logging
from collections.abc import Collection, Sequence
from math import inf
from typing import Final, Protocol

from syncret.api.externalsecret import Condition, ExternalSecret, MissingEntry
from syncret.api.keys import ObjectKey
from syncret.clock import Clock, rfc3339
from syncret.constants import FORCE_SYNC_ANNOTATION
from syncret.errors import SyncretError
from syncret.kube.events import EventRecorder, EventType, ObjectRef
from syncret.reconcile.ageing import AgeMetrics
from syncret.reconcile.plan import Reason
from syncret.reconcile.secretio import Change

logger = logging.getLogger("syncret.reconcile.sync")

_ACTION: Final = "Sync"

#: Entries that a message names; the status has them all.
_NAMED: Final = 5


class SyncMetrics(AgeMetrics, Protocol):
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
        after: Condition | None,
        started: float,
    ) -> None:
        """An attempt went well. ``after``: the condition Ready from now on."""
        in_order = after is None or after.status == "True"
        recovered = before is not None and before.status == "False" and in_order
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

    def mended(
        self,
        external_secret: ExternalSecret,
        change: Change | None,
        *,
        before: Condition | None,
        started: float,
    ) -> None:
        """The Secret was put right without the store; ``change``: None if it was so already."""
        if change is not None:
            logger.info(
                "Secret put right",
                extra={**names(external_secret), "secret": external_secret.target},
            )
            self._events.forget(external_secret.uid)
            self._event(
                external_secret,
                "Normal",
                "Repaired",
                f'The Secret "{external_secret.target}" was put right: somebody had changed its '
                "labels, annotations or owner, or added a key.",
            )
        elif before is not None and before.status == "False":
            self._event(external_secret, "Normal", "Synced", in_sync(external_secret))
        result = "changed" if change is Change.UPDATED else "unchanged"
        self._finished(external_secret, result, started)

    def left(self, external_secret: ExternalSecret, secret: str, change: Change) -> None:
        """A Secret was left that was the target before."""
        what = "deleted" if change is Change.DELETED else "left by this ExternalSecret"
        logger.info("Former Secret %s", what, extra={**names(external_secret), "secret": secret})
        self._event(
            external_secret,
            "Normal",
            "FormerSecretLeft",
            f'The former Secret "{secret}" was {what}.',
        )

    def not_left(self, external_secret: ExternalSecret, secret: str, error: SyncretError) -> None:
        """The same could not be done; it is tried again."""
        logger.warning(
            "The former Secret is still there: %s",
            error.message,
            extra={**names(external_secret), "secret": secret, "reason": error.reason},
        )
        self._event(
            external_secret,
            "Warning",
            "FormerSecretNotLeft",
            f'The former Secret "{secret}" is still there: {error.message}',
        )

    def dropped(self, external_secret: ExternalSecret, keys: Collection[str]) -> None:
        """Values from before a rotation were taken away."""
        logger.info(
            "Values from before a rotation were removed: %d",
            len(keys),
            extra={**names(external_secret), "secret": external_secret.target},
        )
        self._event(
            external_secret,
            "Normal",
            "PreviousDropped",
            f'Values from before a rotation were removed from the Secret "{external_secret.target}"'
            f": {_keys(keys)}.",
        )

    def not_dropped(self, external_secret: ExternalSecret, error: SyncretError) -> None:
        """The same could not be done; it is tried again."""
        logger.warning(
            "Values from before a rotation are still there: %s",
            error.message,
            extra={**names(external_secret), "reason": error.reason},
        )
        self._event(
            external_secret,
            "Warning",
            "PreviousNotDropped",
            f'Values from before a rotation are still in the Secret "{external_secret.target}": '
            f"{error.message}",
        )

    def not_kept(self, external_secret: ExternalSecret, keys: Collection[str]) -> None:
        """A rotation went on without keeping values from before it."""
        message = (
            f"The values before the rotation were not kept of {_keys(keys)}: there is no room in "
            f'the Secret "{external_secret.target}", or somebody else has a key of that name. '
            "Divide the data among several ExternalSecrets, or choose another suffix."
        )
        logger.warning(
            "Not all values before a rotation were kept",
            extra={**names(external_secret), "secret": external_secret.target},
        )
        self._event(external_secret, "Warning", "PreviousNotKept", message)

    def not_rotated(self, external_secret: ExternalSecret, error: SyncretError) -> None:
        """The store was to rotate, and cannot."""
        logger.warning(
            "Not rotated: %s",
            error.message,
            extra={**names(external_secret), "reason": error.reason},
        )
        self._event(external_secret, "Warning", "NotRotated", error.message)

    def keys_removed(self, gone: ObjectKey, secret: str) -> None:
        """What an ExternalSecret that is gone had merged into a Secret was taken out of it."""
        logger.info(
            "The keys of an ExternalSecret that is gone were taken out of a Secret",
            extra={**_names(gone), "secret": secret},
        )

    def keys_not_removed(self, gone: ObjectKey, error: SyncretError) -> None:
        """The same could not be done; it is tried again."""
        logger.warning(
            "The keys of an ExternalSecret that is gone are still in a Secret: %s",
            error.message,
            extra={**_names(gone), "reason": error.reason},
        )

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
    return _names(external_secret.key)


def _names(key: ObjectKey) -> dict[str, str]:
    return {"kind": key.kind, "namespace": key.namespace, "object": key.name}


def _keys(keys: Collection[str]) -> str:
    named = ", ".join(f'"{key}"' for key in sorted(keys)[:_NAMED])
    return f"{named} and {len(keys) - _NAMED} more" if len(keys) > _NAMED else named


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
    if external_secret.policy.shared:
        said = f"{target} holds what the store holds, beside the keys of others"
    if not external_secret.policy.writes:
        said = "The store has all that is asked for; no Secret is written (creationPolicy None)"
    elif held_until is not None:
        when = f" at {rfc3339(held_until)}" if held_until < inf else ""
        said = (
            f"{target} holds what the store held at the last refresh; the next is due and waits "
            f"for a sync window to open{when}"
        )
    if missing:
        left_out = f"left out (deletionPolicy {external_secret.policy.deletion})"
        what = (
            "Optional" if external_secret.policy.deletion == "Retain" else "Optional or " + left_out
        )
        said += f". {what}, and missing there: {_listed(missing)}"
    return f"{said}."


def gone(external_secret: ExternalSecret, missing: Sequence[MissingEntry]) -> str:
    """The message after the Secret was deleted because the store has nothing for it any more."""
    return (
        f'The store has nothing of what is asked for, so the Secret "{external_secret.target}" was '
        f"deleted (deletionPolicy Delete): {_listed(missing)}. It is made again when the store has "
        "it again; correct the keys if they are wrong."
    )


def _listed(missing: Sequence[MissingEntry]) -> str:
    named = ", ".join(
        f'{one.entry} ("{one.key}")' if one.key else one.entry for one in missing[:_NAMED]
    )
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return f"{named}{more}"
