"""Reconciling one ExternalSecret: read the store if it is time, write the Secret, roll, report.

The order is Secret, workloads, status. A process that dies between two of them leaves a state from
which the next start goes on without doing anything twice: the Secret's digest tells what it holds,
a workload's annotation what its pods started with, and the status what was reported.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from syncret.api.externalsecret import ExternalSecret, ExternalSecretStatus, Source
from syncret.api.keys import ObjectKey
from syncret.api.secret import ManagedSecret
from syncret.api.store import Store
from syncret.cache import Cache
from syncret.clock import Clock, rfc3339
from syncret.constants import FIELD_MANAGER
from syncret.digest import Digester
from syncret.errors import KubeNotFound, SpecInvalid, SyncretError
from syncret.kube.client import KubeClient
from syncret.kube.events import EventRecorder, EventType, ObjectRef
from syncret.kube.resources import EXTERNAL_SECRETS
from syncret.providers.base import Outcome, Ref, SecretValue
from syncret.reconcile.assemble import assemble, refs_of
from syncret.reconcile.plan import Reason, SyncState, context_of, holds_synced, read_reason
from syncret.reconcile.rollout.roller import Roller
from syncret.reconcile.schedule import next_slot
from syncret.reconcile.status import ready_condition, status_patch, with_targets
from syncret.reconcile.stores import StoreClients, usable_store
from syncret.reconcile.target import Change, refuse_foreign, write_target
from syncret.worker import Backoff, Result

logger = logging.getLogger(__name__)


class SyncMetrics(Protocol):
    """What is counted here."""

    def sync_finished(
        self, *, namespace: str, name: str, result: str, seconds: float, reason: str | None = None
    ) -> None: ...

    def secret_changed(self, namespace: str, name: str) -> None: ...

    def forget_external_secret(self, namespace: str, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Synced:
    """What a successful read and write gave."""

    secret: ManagedSecret
    change: Change
    sources: tuple[Source, ...]


class ExternalSecretReconciler:
    """Reconciles ExternalSecrets by key. Different keys concurrently, one key never twice."""

    def __init__(
        self,
        *,
        cache: Cache,
        kube: KubeClient,
        stores: StoreClients,
        roller: Roller,
        events: EventRecorder,
        metrics: SyncMetrics,
        digester: Digester,
        clock: Clock,
        backoff: Backoff,
    ) -> None:
        self._cache = cache
        self._kube = kube
        self._stores = stores
        self._roller = roller
        self._events = events
        self._metrics = metrics
        self._digester = digester
        self._clock = clock
        self._backoff = backoff
        self._states: dict[ObjectKey, SyncState] = {}

    async def reconcile(self, key: ObjectKey) -> Result:
        """One round; returns when the next is wanted."""
        external_secret = self._cache.external_secrets.get(key)
        if external_secret is None or external_secret.deleting:
            self._forget(key)
            return Result()
        state = self._state(external_secret)
        try:
            await self._round(external_secret, state)
        except KubeNotFound:
            # Only the status patch lets this through: the object is gone, and the watch has not
            # said so (kopf does not report what was deleted while a watch was being renewed).
            self._cache.external_secrets.drop(key)
            self._forget(key)
            return Result()
        return Result(requeue_after=self._wait(state))

    def _state(self, external_secret: ExternalSecret) -> SyncState:
        state = self._states.get(external_secret.key)
        if state is None or state.uid != external_secret.uid:
            state = SyncState(
                uid=external_secret.uid,
                status=external_secret.status,
                due=self._next_due(external_secret),
            )
            self._states[external_secret.key] = state
            self._remember_told(external_secret)
        return state

    def _remember_told(self, external_secret: ExternalSecret) -> None:
        """After a restart, a failure that was told before is not told as an Event again."""
        ready = external_secret.status.ready
        if ready is not None and ready.status == "False":
            self._events.remember(
                external_secret.uid, type="Warning", reason=ready.reason, message=ready.message
            )

    def _forget(self, key: ObjectKey) -> None:
        state = self._states.pop(key, None)
        if state is not None:
            self._events.forget(state.uid)
        self._metrics.forget_external_secret(key.namespace, key.name)

    def _next_due(self, external_secret: ExternalSecret) -> float:
        return next_slot(external_secret.uid, external_secret.refresh_interval, self._clock.wall())

    def _wait(self, state: SyncState) -> float:
        if state.failures:
            return max(0.0, state.retry - self._clock.monotonic())
        wait = max(0.0, state.due - self._clock.wall())
        if state.rollout_failures:
            return min(wait, self._backoff.delay(state.rollout_failures))
        return wait

    async def _round(self, external_secret: ExternalSecret, state: SyncState) -> None:
        store = self._cache.stores.get(external_secret.store)
        secret = self._secret(external_secret)
        context = context_of(external_secret, store, secret)
        reason = read_reason(
            external_secret,
            state,
            context=context,
            secret=secret,
            digester=self._digester,
            wall=self._clock.wall(),
            monotonic=self._clock.monotonic(),
        )
        status = state.status
        if reason is not None:
            status = await self._attempt(external_secret, state, secret, reason)
            secret = self._secret(external_secret)
            state.context = context_of(external_secret, store, secret)
        elif state.context is None:
            state.context = context
        if secret is not None and holds_synced(secret, status, self._digester):
            rolled = await self._roller.roll(external_secret, secret, status.targets)
            state.rollout_failures = state.rollout_failures + 1 if rolled.failed else 0
            status = with_targets(status, rolled.targets)
        await self._report(external_secret, state, status)

    def _secret(self, external_secret: ExternalSecret) -> ManagedSecret | None:
        return self._cache.secrets.get((external_secret.key.namespace, external_secret.target))

    async def _attempt(
        self,
        external_secret: ExternalSecret,
        state: SyncState,
        secret: ManagedSecret | None,
        reason: Reason,
    ) -> ExternalSecretStatus:
        """Reads and writes once; returns what the status says afterwards."""
        started = self._clock.monotonic()
        try:
            synced = await self._sync(external_secret, secret)
        except SyncretError as error:
            state.failures += 1
            delay = self._backoff.delay(state.failures, at_least=error.retry_after)
            state.retry = self._clock.monotonic() + delay
            self._told(external_secret, started, reason, error=error, retry_in=delay)
            return self._failed(external_secret, state.status, error)
        state.failures, state.retry = 0, 0.0
        state.due = self._next_due(external_secret)
        ready = state.status.ready
        recovered = ready is not None and ready.status == "False"
        self._told(external_secret, started, reason, change=synced.change, recovered=recovered)
        return self._succeeded(external_secret, state.status, synced)

    async def _sync(self, external_secret: ExternalSecret, secret: ManagedSecret | None) -> _Synced:
        if external_secret.problem:
            raise SpecInvalid(external_secret.problem)
        if secret is not None:
            refuse_foreign(external_secret, secret)
        store = usable_store(
            self._cache.stores, external_secret.store, external_secret.key.namespace
        )
        outcomes = await self._read(external_secret, store)
        data = assemble(external_secret, outcomes)
        written = await write_target(
            self._kube, self._digester, external_secret, known=secret, data=data
        )
        self._cache.secrets.put((written.secret.namespace, written.secret.name), written.secret)
        return _Synced(written.secret, written.change, _sources(outcomes))

    async def _read(self, external_secret: ExternalSecret, store: Store) -> dict[Ref, Outcome]:
        refs = refs_of(external_secret)
        async with self._stores.use(store) as client:
            return dict(await client.fetch(refs))

    def _succeeded(
        self, external_secret: ExternalSecret, old: ExternalSecretStatus, synced: _Synced
    ) -> ExternalSecretStatus:
        now = rfc3339(self._clock.wall())
        data_hash = synced.secret.published(self._digester)
        # Changed by this write, or by one whose status was not written.
        changed = synced.change is not Change.NONE or (
            data_hash != old.data_hash
            and (not old.data_hash or self._digester.knows(old.data_hash))
        )
        return replace(
            old,
            ready=ready_condition(
                old.ready,
                error=None,
                message=_synced(external_secret),
                generation=external_secret.generation,
                now=now,
            ),
            synced_generation=external_secret.generation,
            last_change_time=now if changed else old.last_change_time,
            data_hash=data_hash,
            sources=synced.sources,
            keys=tuple(sorted(synced.secret.digests)),
        )

    def _failed(
        self, external_secret: ExternalSecret, old: ExternalSecretStatus, error: SyncretError
    ) -> ExternalSecretStatus:
        return replace(
            old,
            ready=ready_condition(
                old.ready,
                error=(error.reason, error.message),
                message="",
                generation=external_secret.generation,
                now=rfc3339(self._clock.wall()),
            ),
        )

    async def _report(
        self, external_secret: ExternalSecret, state: SyncState, status: ExternalSecretStatus
    ) -> None:
        patch = status_patch(state.status, status)
        if patch is None:
            return
        try:
            await self._kube.merge_patch(
                EXTERNAL_SECRETS,
                {"metadata": {"uid": external_secret.uid}, **patch},
                name=external_secret.key.name,
                namespace=external_secret.key.namespace,
                subresource="status",
                field_manager=FIELD_MANAGER,
                metadata_only=True,
            )
        except KubeNotFound:
            raise
        except SyncretError as error:
            # The next round makes the same patch; until then the old status stands.
            state.failures += 1
            delay = self._backoff.delay(state.failures, at_least=error.retry_after)
            # Later, never earlier: the store may have asked for a longer wait.
            state.retry = max(state.retry, self._clock.monotonic() + delay)
            logger.warning(
                "The status could not be written: %s",
                error.message,
                extra={**_names(external_secret), "reason": error.reason},
            )
            return
        state.status = status

    def _told(
        self,
        external_secret: ExternalSecret,
        started: float,
        why: Reason,
        *,
        change: Change = Change.NONE,
        recovered: bool = False,
        error: SyncretError | None = None,
        retry_in: float = 0.0,
    ) -> None:
        """Log, metric and Event of one attempt."""
        key = external_secret.key
        seconds = self._clock.monotonic() - started
        names = _names(external_secret)
        if error is not None:
            result = "failed"
            logger.warning(
                "Not synced, next attempt in %.0f s: %s",
                retry_in,
                error.message,
                extra={**names, "reason": error.reason},
            )
            self._event(external_secret, "Warning", error.reason, error.message)
        elif change is Change.NONE:
            result = "unchanged"
            logger.debug("Unchanged (%s)", why.value, extra=names)
            if recovered:  # else the next outage, in the same words, would be taken for this one
                self._event(external_secret, "Normal", "Synced", _synced(external_secret))
        else:
            result = "changed"
            logger.info(
                "Secret %s (%s)",
                change.value,
                why.value,
                extra={**names, "secret": external_secret.target},
            )
            self._metrics.secret_changed(key.namespace, key.name)
            self._events.forget(external_secret.uid)  # two changes in a row are two Events
            self._event(
                external_secret,
                "Normal",
                change.value.capitalize(),
                f'The Secret "{external_secret.target}" was {change.value}.',
            )
        self._metrics.sync_finished(
            namespace=key.namespace,
            name=key.name,
            result=result,
            seconds=seconds,
            reason=error.reason if error else None,
        )

    def _event(
        self, external_secret: ExternalSecret, kind: EventType, reason: str, message: str
    ) -> None:
        self._events.emit(
            ObjectRef.of(external_secret.key, external_secret.uid),
            type=kind,
            reason=reason,
            message=message,
            action="Sync",
        )


def _names(external_secret: ExternalSecret) -> dict[str, str]:
    key = external_secret.key
    return {"kind": key.kind, "namespace": key.namespace, "object": key.name}


def _synced(external_secret: ExternalSecret) -> str:
    return f'The Secret "{external_secret.target}" holds what the store holds.'


def _sources(outcomes: dict[Ref, Outcome]) -> tuple[Source, ...]:
    def rows() -> Iterable[Source]:
        for ref, outcome in outcomes.items():
            if isinstance(outcome, SecretValue):
                created = rfc3339(outcome.created.timestamp()) if outcome.created else ""
                yield Source(ref.key, outcome.version, created)

    return tuple(rows())
