"""Reconciling a store: does it work, and if not, what is missing.

A store is checked when it is new or was changed, when reading it fails, and again with growing
delays for as long as it fails. The answer is its condition Ready. A store that is Ready for its
present generation is not checked again after a restart: a restart costs no call.

While a store fails, this check is the only thing that asks it. Its readers are let at it again,
spread over some time, as soon as a check goes well.
"""

import logging
from collections.abc import Callable

from syncret.api.keys import ObjectKey
from syncret.api.store import Store
from syncret.cache import Cache
from syncret.clock import Clock, rfc3339
from syncret.constants import FIELD_MANAGER
from syncret.errors import KubeNotFound, SyncretError
from syncret.kube.client import KubeClient
from syncret.kube.events import EventRecorder, ObjectRef
from syncret.kube.resources import CLUSTER_SECRET_STORES, SECRET_STORES
from syncret.reconcile.status import condition_body, ready_condition
from syncret.reconcile.stores import StoreClients
from syncret.worker import Backoff, Result

logger = logging.getLogger(__name__)


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
        """``recovered`` is told of a store that may be read again.

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

    async def reconcile(self, key: ObjectKey) -> Result:
        """One check; returns when the next is wanted."""
        store = self._cache.stores.get(key)
        if store is None:
            self._stores.drop(key)
            self._failures.pop(key, None)
            return Result()
        if _known_well(store) and not self._stores.in_trouble(store):
            return Result()
        if store.ready is not None and store.ready.status == "False":  # told before a restart
            self._events.remember(
                store.uid, type="Warning", reason=store.ready.reason, message=store.ready.message
            )
        error = await self._check(store)
        unreported = await self._report(store, error) if self._reports(key) else None
        failure = error or unreported
        if error is None and self._stores.is_well(store):
            self._recovered(key)
        if failure is None:
            self._failures.pop(key, None)
            return Result()
        self._failures[key] = failures = self._failures.get(key, 0) + 1
        return Result(self._backoff.delay(failures, at_least=failure.retry_after))

    async def _check(self, store: Store) -> SyncretError | None:
        try:
            async with self._stores.use(store, check=True) as reads:
                await reads.check()
        except SyncretError as error:
            self._stores.is_ill(store, error)
            return error
        return None

    async def _report(self, store: Store, error: SyncretError | None) -> SyncretError | None:
        """Writes the condition if it says something new; returns why that could not be done."""
        condition = ready_condition(
            store.ready,
            error=(error.reason, error.message) if error else None,
            message="The store answers and accepts the credentials.",
            generation=store.generation,
            now=rfc3339(self._clock.wall()),
        )
        names = {"kind": store.key.kind, "namespace": store.key.namespace, "object": store.key.name}
        if condition == store.ready:
            return None
        if error is None:
            logger.info("The store works", extra=names)
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
                CLUSTER_SECRET_STORES if store.cluster_scoped else SECRET_STORES,
                {
                    "metadata": {"uid": store.uid},
                    "status": {"conditions": [condition_body(condition)]},
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
