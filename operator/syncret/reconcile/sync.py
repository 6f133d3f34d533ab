"""Reconciling one ExternalSecret: read the store if it is time, write the Secret, roll, report.

The order is Secret, workloads, status. A process that dies between two of them leaves a state from
which the next start goes on without doing anything twice: the Secret's digest tells what it holds,
a workload's annotation what its pods started with, and the status what was reported.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from syncret.api.externalsecret import ExternalSecret, ExternalSecretStatus, Source
from syncret.api.keys import ObjectKey
from syncret.api.secret import ManagedSecret
from syncret.api.store import Store
from syncret.cache import Cache
from syncret.clock import Clock, parse_rfc3339, rfc3339
from syncret.constants import FIELD_MANAGER
from syncret.digest import Digester
from syncret.errors import KubeNotFound, SpecInvalid, SyncretError
from syncret.kube.client import KubeClient
from syncret.kube.events import EventRecorder
from syncret.kube.resources import EXTERNAL_SECRETS
from syncret.reconcile.assemble import Missing, assemble
from syncret.reconcile.plan import (
    Context,
    Grant,
    Reason,
    SyncState,
    context_of,
    holds_synced,
    read_reason,
)
from syncret.reconcile.reading import Reader
from syncret.reconcile.report import same_versions, sources_of, standing
from syncret.reconcile.rollout.roller import Roller
from syncret.reconcile.schedule import NEVER, Due, due_after, first_due, held_until, wake_time
from syncret.reconcile.status import ready_condition, status_patch, with_targets
from syncret.reconcile.stores import StoreClients
from syncret.reconcile.target import Change, refuse_foreign, write_target
from syncret.reconcile.telling import SyncMetrics, Teller, in_sync, names
from syncret.worker import Backoff, Result

logger = logging.getLogger(__name__)


#: What comes to all ExternalSecrets of a ClusterExternalSecret at the same time.
_TOGETHER: Final = frozenset({Reason.FIRST, Reason.EDITED, Reason.STORE})


@dataclass(frozen=True, slots=True)
class _Synced:
    """What a successful read and write gave."""

    secret: ManagedSecret
    change: Change
    sources: tuple[Source, ...]
    missing: tuple[Missing, ...]


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
        asked_at: Callable[[ObjectKey], float],
        worked_until: Callable[[str], float | None] = lambda _: None,
        namespaces_listed: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """``asked_at``: since when a running key is wanted, by the monotonic clock.

        ``worked_until``: until when a former leader refreshed a namespace, in wall seconds.

        ``namespaces_listed`` waits for the labels of namespaces, for as long as that is no problem.
        """
        self._namespaces_listed = namespaces_listed
        self._asked_at = asked_at
        self._worked_until = worked_until
        self._cache = cache
        self._kube = kube
        self._stores = stores
        self._reader = Reader(cache=cache, stores=stores)
        self._roller = roller
        self._metrics = metrics
        self._teller = Teller(events=events, metrics=metrics, clock=clock)
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
        if self._is_foreign(external_secret):
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
        return Result(requeue_after=self._wait(external_secret, state))

    def _state(self, external_secret: ExternalSecret) -> SyncState:
        state = self._states.get(external_secret.key)
        if state is None or state.uid != external_secret.uid:
            state = SyncState(
                uid=external_secret.uid,
                status=external_secret.status,
                refresh=external_secret.refresh,
                due=self._first_due(external_secret),
            )
            self._states[external_secret.key] = state
            self._teller.remember(external_secret)
        elif state.refresh != external_secret.refresh:
            state.refresh = external_secret.refresh
            state.due = due_after(external_secret, self._clock.wall())
        return state

    def _forget(self, key: ObjectKey) -> None:
        state = self._states.pop(key, None)
        self._teller.forget(key.namespace, key.name, state.uid if state is not None else None)

    def forget_namespaces(self, theirs: Callable[[str], bool]) -> None:
        """Drops what is remembered of the namespaces that another replica works on from now on."""
        for key in [key for key in self._states if theirs(key.namespace)]:
            self._forget(key)

    def _first_due(self, external_secret: ExternalSecret) -> Due:
        """The first slot that nobody has served: after a take-over it may have passed."""
        if external_secret.status.synced_generation is None:
            return NEVER  # the first sync sets it
        now = self._clock.wall()
        served = self._worked_until(external_secret.key.namespace)
        return first_due(
            external_secret,
            served=now if served is None else min(now, served),
            told=parse_rfc3339(external_secret.status.held_until),
        )

    def _wait(self, external_secret: ExternalSecret, state: SyncState) -> float | None:
        """Seconds until the next round is wanted; None: when something changes."""
        wall = self._clock.wall()
        if state.failures:
            retry = max(0.0, state.retry - self._clock.monotonic())
            held = state.failed is Reason.DUE and wall < state.due.at < inf
            return max(retry, state.due.at - wall) if held else retry
        wait = inf
        if wall < state.due.slot < state.due.opens:
            wait = state.due.slot - wall  # to tell then what it waits for
        elif state.due.at < inf:
            wait = max(0.0, self._wake(external_secret, state.due.at) - wall)
        if state.rollout_failures:
            wait = min(wait, self._backoff.delay(state.rollout_failures))
        return wait if wait < inf else None

    def _wake(self, external_secret: ExternalSecret, due: float) -> float:
        """When to wake for what is due then, so that calls to its stores are full."""
        return max(
            wake_time(
                due,
                interval=external_secret.refresh.interval,
                readers=self._cache.external_secrets.count("store", store),
                batch=self._stores.batch(store, external_secret.key.namespace),
            )
            for store in external_secret.stores
        )

    async def _round(self, external_secret: ExternalSecret, state: SyncState) -> None:
        secret = self._secret(external_secret)
        context = self._context(external_secret, secret)
        wall = self._clock.wall()
        if wall >= state.due.at:
            state.due = held_until(external_secret, state.due, wall)
        reason = read_reason(
            external_secret,
            state,
            context=context,
            secret=secret,
            digester=self._digester,
            wall=wall,
            monotonic=self._clock.monotonic(),
        )
        status = state.status
        if reason is not None:
            status = await self._attempt(external_secret, state, reason)
            secret = self._secret(external_secret)
            state.context = self._context(external_secret, secret, of=context)
        elif state.context is None or not all(grant.known for grant in state.context.grants):
            state.context = context
        status = self._told(external_secret, state, status)
        if secret is not None and holds_synced(secret, status, self._digester):
            rolled = await self._roller.roll(external_secret, secret, status.targets)
            state.rollout_failures = state.rollout_failures + 1 if rolled.failed else 0
            status = with_targets(status, rolled.targets)
        await self._report(external_secret, state, status)

    def _context(
        self,
        external_secret: ExternalSecret,
        secret: ManagedSecret | None,
        *,
        of: Context | None = None,
    ) -> Context:
        """What an attempt depends on; ``of``: the stores are those of before it."""
        stores = [self._cache.stores.get(store) for store in external_secret.stores]
        grants = [self._grant(external_secret.key.namespace, store) for store in stores]
        context = context_of(external_secret, stores, secret, grants)
        if of is None:
            return context
        return of._replace(secret_uid=context.secret_uid, grants=context.grants)

    def _grant(self, name: str, store: Store | None) -> Grant:
        if store is None:
            return Grant()
        namespace = self._cache.namespace(name)
        return Grant(
            admitted=store.admits(namespace),
            entries=store.selections(namespace),
            credentials=self._stores.epoch(store.key, name),
        )

    def _is_foreign(self, external_secret: ExternalSecret) -> bool:
        """Whether its first store is another operator's, who does what there is to do."""
        store = self._cache.stores.get(external_secret.stores[0])
        return store is not None and store.foreign

    def _secret(self, external_secret: ExternalSecret) -> ManagedSecret | None:
        return self._cache.secrets.get((external_secret.key.namespace, external_secret.target))

    async def _attempt(
        self,
        external_secret: ExternalSecret,
        state: SyncState,
        reason: Reason,
    ) -> ExternalSecretStatus:
        """Reads and writes once; returns what the status says afterwards."""
        started = self._clock.monotonic()
        try:
            synced = await self._sync(external_secret, state.status, reason)
        except SyncretError as error:
            state.failures += 1
            state.failed = state.failed if reason is Reason.RETRY else reason
            delay = self._backoff.delay(state.failures, at_least=error.retry_after)
            state.retry = self._clock.monotonic() + delay
            self._teller.failed(
                external_secret, error, before=state.status.ready, started=started, retry_in=delay
            )
            return self._failed(external_secret, state.status, error)
        state.failures, state.failed, state.retry = 0, None, 0.0
        state.due = due_after(external_secret, self._clock.wall())
        change = synced.change if synced is not None else Change.NONE
        self._teller.synced(
            external_secret, change, why=reason, before=state.status.ready, started=started
        )
        if synced is None:
            return state.status
        return self._succeeded(external_secret, state.status, synced)

    async def _sync(
        self, external_secret: ExternalSecret, status: ExternalSecretStatus, reason: Reason
    ) -> _Synced | None:
        """Reads and writes; None if nothing is new, as the versions tell."""
        if external_secret.problem:
            raise SpecInvalid(external_secret.problem)
        self._own_secret(external_secret)
        await self._wait_for_labels(external_secret)
        patient = reason is Reason.DUE or (
            # Those that one ClusterExternalSecret makes are wanted together: one call for all.
            reason in _TOGETHER and external_secret.key in self._cache.stamped
        )
        fetched = await self._reader.read(
            external_secret, asked_at=self._asked_at(external_secret.key), patient=patient
        )
        # Once more: a store may have been taken away meanwhile, and the Secret changed.
        self._reader.usable(external_secret)
        known = self._own_secret(external_secret)
        # What was due was in order otherwise: the same versions make the same Secret.
        if reason is Reason.DUE and same_versions(external_secret, status, fetched):
            return None
        assembled = assemble(external_secret, fetched)
        if assembled.required_missing:
            raise assembled.required_missing[0].error
        written = await write_target(
            self._kube, self._digester, external_secret, known=known, data=assembled.data
        )
        self._remember(written.secret)
        return _Synced(
            written.secret, written.change, sources_of(external_secret, fetched), assembled.missing
        )

    async def _wait_for_labels(self, external_secret: ExternalSecret) -> None:
        """Where labels decide, they may be under way: nobody should be told of that."""
        namespace = self._cache.namespace(external_secret.key.namespace)
        stores = map(self._cache.stores.get, external_secret.stores)
        if self._namespaces_listed and any(
            store is not None and store.admits(namespace) is None for store in stores
        ):
            await self._namespaces_listed()

    def _own_secret(self, external_secret: ExternalSecret) -> ManagedSecret | None:
        """The target Secret, if there is one. Raises SecretNotOwned."""
        secret = self._secret(external_secret)
        if secret is not None:
            refuse_foreign(external_secret, secret)
        return secret

    def _remember(self, secret: ManagedSecret) -> None:
        """What was written is known before the watch tells of it, and never instead of it."""
        place = (secret.namespace, secret.name)
        known = self._cache.secrets.get(place)
        if known is None or not secret.older_than(known):
            self._cache.secrets.put(place, secret)

    def _succeeded(
        self, external_secret: ExternalSecret, old: ExternalSecretStatus, synced: _Synced
    ) -> ExternalSecretStatus:
        now = rfc3339(self._clock.wall())
        missing = tuple(missing.entry for missing in synced.missing)
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
                message=in_sync(external_secret, missing=missing),
                generation=external_secret.generation,
                now=now,
            ),
            synced_generation=external_secret.generation,
            last_change_time=now if changed else old.last_change_time,
            data_hash=data_hash,
            sources=synced.sources,
            keys=tuple(sorted(synced.secret.digests)),
            missing=missing,
            force_sync=external_secret.force_sync or old.force_sync,
        )

    def _told(
        self, external_secret: ExternalSecret, state: SyncState, status: ExternalSecretStatus
    ) -> ExternalSecretStatus:
        refresh, key = external_secret.refresh, external_secret.key
        held = bool(refresh.windows) and state.due.held(self._clock.wall())
        self._metrics.set_held(key.namespace, key.name, held if refresh.windows else None)
        if state.failures:
            return replace(status, held_until=status.held_until if held else "")
        return standing(external_secret, status, held_until=state.due.opens if held else None)

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
                extra={**names(external_secret), "reason": error.reason},
            )
            return
        state.status = status
