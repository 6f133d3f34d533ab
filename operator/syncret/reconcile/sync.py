"""Reconciling one ExternalSecret: read the store if it is time, write the Secret, roll, report.

The order is Secret, workloads, status. A process that dies between two of them leaves a state from
which the next start goes on without doing anything twice: the Secret's digest tells what it holds,
a workload's annotation what its pods started with, and the status what was reported.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import inf
from typing import Final

from syncret.api.externalsecret import ExternalSecret, ExternalSecretStatus
from syncret.api.keys import ObjectKey
from syncret.api.secret import ManagedSecret
from syncret.cache import Cache
from syncret.clock import Clock, parse_rfc3339, rfc3339
from syncret.constants import FIELD_MANAGER
from syncret.digest import Digester
from syncret.errors import KubeNotFound, NamespaceTerminating, SpecInvalid, SyncretError
from syncret.hints import Hints
from syncret.kube.client import KubeClient
from syncret.kube.events import EventRecorder
from syncret.kube.resources import EXTERNAL_SECRETS
from syncret.reconcile.ageing import Ageing
from syncret.reconcile.contexts import Contexts
from syncret.reconcile.keeping import Mended, Targets
from syncret.reconcile.leases import Leases
from syncret.reconcile.leaving import Leaver
from syncret.reconcile.plan import (
    MENDABLE,
    Context,
    Reason,
    SyncState,
    read_reason,
    wanted,
)
from syncret.reconcile.reading import Reader
from syncret.reconcile.refreshing import Refresher
from syncret.reconcile.report import failed, put_right, standing, succeeded
from syncret.reconcile.rollout.roller import Roller
from syncret.reconcile.rotating import Rotations
from syncret.reconcile.schedule import NEVER, Due, due_after, due_by_event, first_due, held_until
from syncret.reconcile.secretio import Change
from syncret.reconcile.status import status_patch
from syncret.reconcile.stores import StoreClients
from syncret.reconcile.telling import SyncMetrics, Teller, names
from syncret.reconcile.templating import Templating
from syncret.reconcile.waiting import Waits
from syncret.worker import Backoff, Result

logger = logging.getLogger(__name__)


#: Seconds for which nothing is tried in a namespace that is being deleted.
_TERMINATING: Final = 60.0


class ExternalSecretReconciler:
    """Reconciles ExternalSecrets by key. Different keys concurrently, one key never twice."""

    def __init__(
        self,
        *,
        cache: Cache,
        kube: KubeClient,
        stores: StoreClients,
        leases: Leases,
        templating: Templating,
        roller: Roller,
        events: EventRecorder,
        metrics: SyncMetrics,
        digester: Digester,
        clock: Clock,
        backoff: Backoff,
        asked_at: Callable[[ObjectKey], float],
        worked_until: Callable[[str], float | None] = lambda _: None,
        namespaces_listed: Callable[[], Awaitable[object]] | None = None,
        hints: Hints | None = None,
    ) -> None:
        """``asked_at``: since when a running key is wanted, by the monotonic clock.

        ``hints``: what events of stores have said, if there are any.

        ``worked_until``: until when a former leader refreshed a namespace, in wall seconds.

        ``namespaces_listed`` waits for the labels of namespaces, for as long as that is no problem.
        """
        self._contexts = Contexts(cache=cache, stores=stores, namespaces_listed=namespaces_listed)
        self._hints = hints or Hints(clock, enqueue=lambda *_: None)
        self._worked_until = worked_until
        self._cache = cache
        self._kube = kube
        self._leases = leases
        self._templating = templating
        self._roller = roller
        self._metrics = metrics
        self._teller = Teller(events=events, metrics=metrics, clock=clock)
        reader = Reader(cache=cache, stores=stores)
        self._rotations = Rotations(reader=reader, stores=stores, teller=self._teller, clock=clock)
        self._digester = digester
        self._clock = clock
        self._backoff = backoff
        self._states: dict[ObjectKey, SyncState] = {}
        self._targets = Targets(cache=cache, kube=kube, digester=digester)
        self._ageing = Ageing(events=events, metrics=metrics, clock=clock)
        self._refresher = Refresher(
            cache=cache,
            contexts=self._contexts,
            reader=reader,
            templating=templating,
            targets=self._targets,
            clock=clock,
            asked_at=asked_at,
        )
        self._leaver = Leaver(
            cache=cache, kube=kube, digester=digester, teller=self._teller, backoff=backoff
        )
        self._waits = Waits(
            contexts=self._contexts,
            targets=self._targets,
            ageing=self._ageing,
            rotations=self._rotations,
            leases=leases,
            clock=clock,
            backoff=backoff,
        )
        #: Namespaces that are being deleted, until when that is taken for granted.
        self._terminating: dict[str, float] = {}

    async def reconcile(self, key: ObjectKey) -> Result:
        """One round; returns when the next is wanted."""
        hint = self._hints.begin(key)
        try:
            return await self._reconcile(key)
        finally:
            self._hints.followed(key, hint)

    async def _reconcile(self, key: ObjectKey) -> Result:
        external_secret = self._cache.external_secrets.get(key)
        if external_secret is None or external_secret.deleting:
            self._forget(key)
            return await self._leave(key) if external_secret is None else Result()
        if self._contexts.is_foreign(external_secret):
            self._forget(key)
            return Result()
        self._leaver.is_there(key)
        state = self._state(external_secret)
        resting = self._terminating.get(key.namespace, 0.0) - self._clock.monotonic()
        if resting > 0:
            return Result(requeue_after=resting)
        try:
            await self._round(external_secret, state)
        except KubeNotFound:
            # Only the status patch lets this through: the object is gone, and the watch has not
            # said so (kopf does not report what was deleted while a watch was being renewed).
            self._cache.external_secrets.drop(key)
            self._forget(key)
            return await self._leave(key)
        if self._leases.has_left(key):
            await self._leases.leave(key)  # of one that had the name before
        return Result(requeue_after=self._waits.of(external_secret, state))

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
            # In a namespace that is being deleted nothing is made: this is another of the name.
            self._terminating.pop(external_secret.key.namespace, None)
            self._teller.remember(external_secret)
        elif state.refresh != external_secret.refresh:
            state.refresh = external_secret.refresh
            state.due = due_after(external_secret, self._clock.wall())
        return state

    async def _leave(self, key: ObjectKey) -> Result:
        """Leaves what one that is gone has left."""
        if not self._leases.has_left(key):
            return await self._leaver.leave_all(key)
        results = (await self._leases.leave(key), await self._leaver.leave_all(key))
        waits = [one.requeue_after for one in results if one.requeue_after is not None]
        return Result(requeue_after=min(waits, default=None))

    def _forget(self, key: ObjectKey) -> None:
        state = self._states.pop(key, None)
        self._templating.forget(key)
        self._roller.forget(key)
        self._hints.forget(key)
        self._teller.forget(key.namespace, key.name, state.uid if state is not None else None)

    def forget_namespaces(self, theirs: Callable[[str], bool]) -> None:
        """Drops what is remembered of the namespaces that another replica works on from now on."""
        for key in [key for key in self._states if theirs(key.namespace)]:
            self._forget(key)
        self._leaver.forget_namespaces(theirs)

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

    async def _round(self, external_secret: ExternalSecret, state: SyncState) -> None:
        secret = self._targets.get(external_secret)
        state.template = await self._templating.look(external_secret)
        wall = self._clock.wall()
        hint = self._hints.number(external_secret.key)
        if hint != state.hint:
            due = due_by_event(external_secret, state.due, wall)
            state.hint, state.by_event, state.due = hint, due != state.due, due
        context = self._context(external_secret, secret, template=state.template, hint=hint)
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
        resting = state.failures and self._clock.monotonic() < state.retry
        if reason is None and not resting and self._leases.due(external_secret):
            reason = Reason.GENERATED
        rotation = await self._rotations.begin(external_secret, state.status)
        if reason is None and rotation and rotation.state == "Rotating" and not state.failures:
            reason = Reason.FORCED
        status = state.status
        if reason is not None:
            status = await self._attempt(external_secret, state, reason)
            secret = self._targets.get(external_secret)
            state.context = self._context(external_secret, secret, of=context)
        elif state.context is None or not all(grant.known for grant in state.context.grants):
            state.context = context
        status = self._told(external_secret, state, status)
        status = replace(status, rotation=self._rotations.end(rotation, status))
        state.rollout_at = inf
        settled = not state.failures and not external_secret.policy.writes
        # What the spec says of rollouts may be what is wrong with it.
        usable = not external_secret.problem
        if secret is not None and usable:
            secret = await self._drop(external_secret, state, secret)
        if secret is not None and usable and self._complete(external_secret, secret, status):
            rolled = await self._roller.roll(external_secret, secret, status)
            state.rollout_at = self._clock.monotonic() + rolled.wait
            status = rolled.status
            current = status.rolled_out is None or status.rolled_out.status == "True"
            settled = not state.failures and current
        # CreatedOnce leaves the Secret as an older spec had it.
        settled = settled and status.synced_generation == external_secret.generation
        if status.former_secrets and not state.failures:
            names = status.former_secrets
            names, again = await self._leaver.leave_former(external_secret, names)
            state.leaving_failures = state.leaving_failures + 1 if again else 0
            status = replace(status, former_secrets=names)
        await self._leases.tend(external_secret, status, settled=settled)
        status = self._leases.told(external_secret, status)
        await self._report(external_secret, state, self._ageing.told(external_secret, status))

    async def _drop(
        self, external_secret: ExternalSecret, state: SyncState, secret: ManagedSecret
    ) -> ManagedSecret | None:
        """Takes out the values from before a rotation whose time is over."""
        try:
            dropped = await self._targets.drop(external_secret, secret, now=self._clock.wall())
        except SyncretError as error:
            state.dropping_failures += 1
            self._teller.not_dropped(external_secret, error)
            return secret
        state.dropping_failures = 0
        if dropped:
            self._teller.dropped(external_secret, dropped)
            return self._targets.get(external_secret)
        return secret

    def _context(
        self,
        external_secret: ExternalSecret,
        secret: ManagedSecret | None,
        *,
        of: Context | None = None,
        template: str = "",
        hint: int = 0,
    ) -> Context:
        """What an attempt depends on; ``of``: the stores are those of before it."""
        context = self._contexts.of(external_secret, secret, template=template, hint=hint)
        if of is None:
            return context
        return of._replace(secret=context.secret, grants=context.grants)

    def _complete(
        self, external_secret: ExternalSecret, secret: ManagedSecret, status: ExternalSecretStatus
    ) -> bool:
        def said(one: ExternalSecret) -> ExternalSecretStatus:
            known = self._states.get(one.key)
            if one is external_secret:
                return status
            return known.status if known is not None else one.status

        return bool(status.data_hash) and self._targets.complete(external_secret, secret, said=said)

    def _is_in_order(
        self, external_secret: ExternalSecret, state: SyncState, mended: Mended
    ) -> bool:
        """Whether nothing but the clock asks for a look at the store any more."""
        context = self._context(external_secret, mended.secret, template=state.template)
        return mended.in_order and not wanted(
            external_secret,
            state,
            context=context,
            secret=mended.secret,
            digester=self._digester,
        )

    async def _attempt(
        self,
        external_secret: ExternalSecret,
        state: SyncState,
        reason: Reason,
    ) -> ExternalSecretStatus:
        """Reads and writes once; returns what the status says afterwards."""
        started = self._clock.monotonic()
        why = (state.failed or reason) if reason is Reason.RETRY else reason
        try:
            mended = await self._mend(external_secret, state.status)
            if why in MENDABLE and self._is_in_order(external_secret, state, mended):
                return self._mended(external_secret, state, mended, started=started)
            synced = await self._refresher.refresh(external_secret, state.status, reason, mended)
        except SyncretError as error:
            state.failures += 1
            state.failed = why
            if isinstance(error, NamespaceTerminating):
                now = self._clock.monotonic()
                lasting = {name: end for name, end in self._terminating.items() if end > now}
                lasting[external_secret.key.namespace] = now + _TERMINATING
                self._terminating = lasting
            delay = self._backoff.delay(state.failures, at_least=error.retry_after)
            state.retry = self._clock.monotonic() + delay
            self._teller.failed(
                external_secret, error, before=state.status.ready, started=started, retry_in=delay
            )
            return failed(external_secret, state.status, error, now=rfc3339(self._clock.wall()))
        state.failures, state.failed, state.retry = 0, None, 0.0
        state.due, state.by_event = due_after(external_secret, self._clock.wall()), False
        change = Change.NONE
        if isinstance(synced, ExternalSecretStatus):
            status = synced
        else:
            change = synced.change
            if synced.left_out:
                self._teller.not_kept(external_secret, synced.left_out)
            status = succeeded(
                external_secret,
                state.status,
                synced,
                digester=self._digester,
                now=rfc3339(self._clock.wall()),
            )
        self._teller.synced(
            external_secret,
            change,
            why=reason,
            before=state.status.ready,
            after=status.ready,
            started=started,
        )
        return status

    async def _mend(self, external_secret: ExternalSecret, status: ExternalSecretStatus) -> Mended:
        if external_secret.problem:
            raise SpecInvalid(external_secret.problem)
        return await self._targets.mend(external_secret, status)

    def _mended(
        self, external_secret: ExternalSecret, state: SyncState, mended: Mended, *, started: float
    ) -> ExternalSecretStatus:
        """The Secret was put right without a look at the store."""
        state.failures, state.failed, state.retry = 0, None, 0.0
        status = state.status
        self._teller.mended(external_secret, mended.change, before=status.ready, started=started)
        return put_right(external_secret, status, now=rfc3339(self._clock.wall()))

    def _told(
        self, external_secret: ExternalSecret, state: SyncState, status: ExternalSecretStatus
    ) -> ExternalSecretStatus:
        refresh, key = external_secret.refresh, external_secret.key
        held = bool(refresh.windows) and state.due.held(self._clock.wall())
        self._metrics.set_held(key.namespace, key.name, held if refresh.windows else None)
        if state.failures:
            return replace(status, held_until=status.held_until if held else "")
        return standing(external_secret, status, held_until=state.due.opens if held else None)

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
        before, state.status = state.status, status
        self._ageing.announce(external_secret, before, status)
