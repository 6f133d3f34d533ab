"""Reconciling a store: does it work, and if not, what is missing.

A store is checked when it or one of its credentials is new or was changed, when reading it fails,
and again with growing delays for as long as it fails. The answer is its condition Ready.

While nothing of that happens it is checked at its interval, and not even then if a read has gone
well since the last time: that says as much, and a check is a call of its own. The times of those
checks are computed, like those of refreshes, so a restart costs no call.

While a store fails, this check is the only thing that asks it. Its readers are let at it again,
spread over some time, as soon as a check goes well.

Whether a store with the credentials of its readers' namespaces works cannot be said of the store as
a whole. For it the check only looks at the spec; what is open for a namespace is checked, under a
key of its own, while it fails, and the readers there tell how it is.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from syncret.api.keys import ObjectKey
from syncret.api.store import Store
from syncret.cache import Cache
from syncret.clock import Clock, rfc3339
from syncret.constants import FIELD_MANAGER
from syncret.errors import KubeForbidden, KubeNotFound, SyncretError
from syncret.kube.client import KubeClient
from syncret.kube.events import EventRecorder, ObjectRef
from syncret.kube.resources import STORES
from syncret.reconcile.schedule import next_slot
from syncret.reconcile.status import ready_body, ready_condition
from syncret.reconcile.stores import StoreClients
from syncret.worker import Backoff, Result

logger = logging.getLogger(__name__)

_WORKS_GENERATOR = "The generator answers and accepts the credentials."
_WORKS = "The store answers and accepts the credentials."
_REFERENT = (
    "The spec is valid. The credentials are those of each namespace that reads: whether they work "
    "is told by the ExternalSecrets there."
)


class StoreReconciler:
    """Checks stores by key."""

    def __init__(
        self,
        *,
        cache: Cache,
        kube: KubeClient,
        stores: StoreClients,
        events: EventRecorder,
        clock: Clock,
        backoff: Backoff,
        recovered: Callable[[ObjectKey], None] = lambda _: None,
        reports: Callable[[ObjectKey], bool] = lambda _: True,
    ) -> None:
        """``recovered`` is told of a store that may be read again, or with other credentials.

        ``reports``: whether this replica tells of the store; another one does, otherwise.
        """
        self._recovered = recovered
        self._reports = reports
        self._cache = cache
        self._kube = kube
        self._stores = stores
        self._events = events
        self._clock = clock
        self._backoff = backoff
        self._failures: dict[ObjectKey, int] = {}
        #: When a store is due for a check, in wall seconds, and its interval.
        self._due: dict[ObjectKey, tuple[float, float]] = {}
        self._successes: dict[ObjectKey, int] = {}

    async def reconcile(self, key: ObjectKey) -> Result:
        """One round; returns when the next is wanted."""
        name = key.store
        store = self._cache.stores.get(name)
        if store is None or store.foreign:
            self._stores.drop(name)
            for table in (self._failures, self._due, self._successes):
                table.pop(key, None)
            return Result()
        self._stores.retire(store)
        try:
            changed = await self._stores.credentials_changed(store, key)
        except KubeForbidden:  # it stays so: the check finds it as well, and tells
            self._stores.forget(key)
            changed = True
        except SyncretError as error:
            return self._again(key, error)
        if key != name:
            return await self._check_for_namespace(store, key, changed=changed)
        if not changed and not self._has_to_be_checked(store):
            return self._later(store)
        return await self._check_and_tell(store)

    async def _check_and_tell(self, store: Store) -> Result:
        key = store.key
        if store.ready is not None and store.ready.status == "False":  # told before a restart
            self._events.remember(
                store.uid, type="Warning", reason=store.ready.reason, message=store.ready.message
            )
        error = await self._check(store, key)
        unreported = await self._report(store, error) if self._reports(key) else None
        failure = error or unreported
        if error is None:
            recovered = self._stores.is_well(store)
            if self._stores.credentials_proven(key) or recovered:
                self._recovered(key)
        if failure is not None:
            return self._again(key, failure)
        self._failures.pop(key, None)
        self._was_read(store)  # what is counted from here on
        return self._later(store)

    def _has_to_be_checked(self, store: Store) -> bool:
        if not _known_well(store) or self._stores.in_trouble(store):
            return True
        return self._is_due(store) and not self._was_read(store)

    async def _check_for_namespace(self, store: Store, key: ObjectKey, *, changed: bool) -> Result:
        """Checks a store with the credentials of one namespace, if it has to be."""
        if self._stores.place(store, key.namespace) != key:
            return Result()  # it was one, before it was edited
        if not self._stores.in_trouble(store, key) and not changed:
            self._failures.pop(key, None)
            return Result()
        error = await self._check(store, key)
        if error is not None:
            return self._again(key, error)
        self._stores.is_well(store, key)
        self._stores.credentials_proven(key)
        self._recovered(key)
        self._failures.pop(key, None)
        return Result()

    def _again(self, key: ObjectKey, error: SyncretError) -> Result:
        self._failures[key] = failures = self._failures.get(key, 0) + 1
        return Result(self._backoff.delay(failures, at_least=error.retry_after))

    def _is_due(self, store: Store) -> bool:
        """Whether its interval is over; the next one begins then."""
        if not store.check_interval or not self._reports(store.key):
            self._due.pop(store.key, None)
            return False
        due, interval = self._due.get(store.key, (0.0, 0.0))
        now = self._clock.wall()
        if interval == store.check_interval and now < due:
            return False
        next_due = next_slot(store.uid, store.check_interval, now)
        self._due[store.key] = next_due, store.check_interval
        # At the first look nothing is due: a check at the start would be one for each restart.
        return interval == store.check_interval

    def _later(self, store: Store) -> Result:
        """When the next check is due."""
        due, interval = self._due.get(store.key, (0.0, 0.0))
        if interval != store.check_interval:
            self._is_due(store)
            due, _ = self._due.get(store.key, (0.0, 0.0))
        return Result(max(0.0, due - self._clock.wall())) if due else Result()

    def _was_read(self, store: Store) -> bool:
        """Whether a read has gone well since this was asked last."""
        before, now = self._successes.get(store.key), self._stores.successes(store)
        self._successes[store.key] = now
        return before is not None and before != now

    async def _check(self, store: Store, key: ObjectKey) -> SyncretError | None:
        try:
            if self._stores.referent(store) and not key.namespace:
                return None
            async with self._stores.use(store, namespace=key.namespace, check=True) as reads:
                await reads.check()
        except SyncretError as error:
            self._stores.is_ill(store, error, key)
            return error
        return None

    def _well(self, store: Store) -> str:
        """What Ready says while all is well."""
        if self._stores.referent(store):
            return _REFERENT
        return _WORKS_GENERATOR if store.key.generates else _WORKS

    async def _report(self, store: Store, error: SyncretError | None) -> SyncretError | None:
        """Writes the condition if it says something new; returns why that could not be done."""
        condition = ready_condition(
            store.ready,
            error=(error.reason, error.message) if error else None,
            message=self._well(store),
            generation=store.generation,
            now=rfc3339(self._clock.wall()),
        )
        if error is None and self._stores.referent(store):
            condition = replace(condition, reason="Referent")
        names = {"kind": store.key.kind, "namespace": store.key.namespace, "object": store.key.name}
        if condition == store.ready:
            return None
        if error is None:
            logger.info("It works", extra=names)
        else:
            logger.warning("%s", error.message, extra={**names, "reason": error.reason})
        self._events.emit(
            ObjectRef.of(store.key, store.uid),
            type="Warning" if error else "Normal",
            reason=condition.reason if error else "Ready",
            message=condition.message,
            action="Check",
        )
        try:
            await self._kube.merge_patch(
                STORES[store.key.kind],
                {
                    "metadata": {"uid": store.uid},
                    "status": ready_body(condition),
                },
                name=store.key.name,
                namespace=store.key.namespace,
                subresource="status",
                field_manager=FIELD_MANAGER,
                metadata_only=True,
            )
        except KubeNotFound:
            self._cache.stores.drop(store.key)
        except SyncretError as failure:
            logger.warning(
                "The status of a store could not be written: %s",
                failure.message,
                extra={**names, "reason": failure.reason},
            )
            return failure
        return None


def _known_well(store: Store) -> bool:
    ready = store.ready
    return (
        ready is not None
        and ready.status == "True"
        and ready.observed_generation == store.generation
    )
