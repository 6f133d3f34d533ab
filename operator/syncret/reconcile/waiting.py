"""When an ExternalSecret is to be looked at next, if nothing changes before."""

from math import inf

from syncret.api.externalsecret import ExternalSecret
from syncret.clock import Clock
from syncret.reconcile.ageing import Ageing
from syncret.reconcile.contexts import Contexts
from syncret.reconcile.keeping import Targets
from syncret.reconcile.leases import Leases
from syncret.reconcile.plan import TIMED, SyncState
from syncret.reconcile.rotating import Rotations
from syncret.worker import Backoff


class Waits:
    """Computes it."""

    def __init__(
        self,
        *,
        contexts: Contexts,
        targets: Targets,
        ageing: Ageing,
        rotations: Rotations,
        leases: Leases,
        clock: Clock,
        backoff: Backoff,
    ) -> None:
        self._contexts = contexts
        self._targets = targets
        self._ageing = ageing
        self._rotations = rotations
        self._leases = leases
        self._clock = clock
        self._backoff = backoff

    def of(self, external_secret: ExternalSecret, state: SyncState) -> float | None:
        """Seconds until the next round is wanted; None: when something changes."""
        waits = (
            self._for_sync(external_secret, state),
            self._for_rollout(state),
            self._for_credentials(external_secret, state),
            self._ageing.wait(external_secret, state.status, self._targets.get(external_secret)),
            self._backoff.delay(state.dropping_failures) if state.dropping_failures else None,
        )
        return min((wait for wait in waits if wait is not None), default=None)

    def _for_credentials(self, external_secret: ExternalSecret, state: SyncState) -> float | None:
        if not state.failures and self._leases.due(external_secret):
            return 0.0
        return self._leases.wait(external_secret)

    def _for_rollout(self, state: SyncState) -> float | None:
        if state.rollout_at == inf:
            return None
        return max(0.0, state.rollout_at - self._clock.monotonic())

    def _for_sync(self, external_secret: ExternalSecret, state: SyncState) -> float | None:
        wall = self._clock.wall()
        if state.failures:
            retry = max(0.0, state.retry - self._clock.monotonic())
            held = state.failed in TIMED and wall < state.due.at < inf
            return max(retry, state.due.at - wall) if held else retry
        wait = self._rotations.wait(state.status.rotation) or inf
        if wall < state.due.slot < state.due.opens:
            wait = min(wait, state.due.slot - wall)  # to tell then what it waits for
        elif state.due.at < inf:
            wake = self._contexts.wake(external_secret, state.due.at)
            wait = min(wait, max(0.0, wake - wall))
        if state.leaving_failures:
            wait = min(wait, self._backoff.delay(state.leaving_failures))
        return wait if wait < inf else None
