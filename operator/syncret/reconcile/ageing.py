"""Age and expiry, told in the places where people look: conditions, Events, metrics.

An Event for each transition of a condition that is worth one, after the status has it.
"""

from math import inf
from typing import Final, Protocol

from syncret.api.externalsecret import Condition, ExternalSecret, ExternalSecretStatus
from syncret.api.secret import ManagedSecret
from syncret.clock import Clock
from syncret.kube.events import EventRecorder, EventType, ObjectRef
from syncret.reconcile.previous import next_drop
from syncret.reconcile.rotation import judge

#: Seconds after which it is looked again, whatever was computed: clocks are set.
_LONGEST: Final = 86_400.0


class AgeMetrics(Protocol):
    """What is measured here."""

    def set_times(
        self,
        namespace: str,
        name: str,
        *,
        made: float | None,
        rotation_due: float | None,
        certificate_not_after: float | None,
        expires: float | None,
        overdue: bool | None,
        expiring: bool | None,
    ) -> None: ...


class Ageing:
    """Tells how old things are."""

    def __init__(self, *, events: EventRecorder, metrics: AgeMetrics, clock: Clock) -> None:
        self._events = events
        self._metrics = metrics
        self._clock = clock

    def told(
        self, external_secret: ExternalSecret, status: ExternalSecretStatus
    ) -> ExternalSecretStatus:
        """The status with its conditions as they are now; the metrics say the same."""
        judged = judge(external_secret, status, now=self._clock.wall())
        moments, key = judged.moments, external_secret.key
        self._metrics.set_times(
            key.namespace,
            key.name,
            made=moments.made,
            rotation_due=moments.due,
            certificate_not_after=moments.certificate,
            expires=moments.expires,
            overdue=moments.overdue,
            expiring=moments.expiring,
        )
        return judged.status

    def wait(
        self,
        external_secret: ExternalSecret,
        status: ExternalSecretStatus,
        secret: ManagedSecret | None,
    ) -> float | None:
        """Seconds until the clock changes something of it; None: it never does."""
        now = self._clock.wall()
        at = min(
            judge(external_secret, status, now=now).changes,
            next_drop(external_secret, secret, now=now),
        )
        return None if at == inf else min(max(0.0, at - now), _LONGEST)

    def announce(
        self,
        external_secret: ExternalSecret,
        before: ExternalSecretStatus,
        after: ExternalSecretStatus,
    ) -> None:
        """The Events of what has changed."""
        for old, new, good in (
            (before.rotation_overdue, after.rotation_overdue, "RotationInTime"),
            (before.expiring, after.expiring, "Renewed"),
        ):
            if new is None or _same(old, new):
                continue
            if new.status == "True":
                reason = "RotationOverdue" if new.type == "RotationOverdue" else new.reason
                self._emit(external_secret, "Warning", reason, new.message)
            elif old is not None and (old.status, new.status) == ("True", "False"):
                self._emit(external_secret, "Normal", good, new.message)

    def _emit(
        self, external_secret: ExternalSecret, kind: EventType, reason: str, message: str
    ) -> None:
        self._events.emit(
            ObjectRef.of(external_secret.key, external_secret.uid),
            type=kind,
            reason=reason,
            message=message,
            action="Rotate",
        )


def _same(old: Condition | None, new: Condition) -> bool:
    return old is not None and (old.status, old.reason) == (new.status, new.reason)
