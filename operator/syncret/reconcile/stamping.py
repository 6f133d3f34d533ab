"""Reconciling one ClusterExternalSecret: an ExternalSecret in every namespace that it selects.

Made with POST, which the API server refuses where there is one already; changed with a merge patch
of what differs, on the version that was looked at; deleted by uid where the namespace is selected
no more. A round in which everything is as it should be makes no request.

Nothing has a finalizer. The ExternalSecrets name the ClusterExternalSecret as their owner, so when
it is deleted the garbage collector of Kubernetes takes them, and a namespace that is deleted takes
its own.

What the ExternalSecrets read is read once for all of them: they read the same, so they are
refreshed together, and reads of the same are one call (``schedule.py``, ``reads.py``).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from syncret.api.clusterexternalsecret import (
    ClusterExternalSecret,
    ClusterExternalSecretStatus,
    Failure,
    Stamped,
    controller_of,
    parse_stamped,
)
from syncret.api.keys import ObjectKey
from syncret.cache import Cache
from syncret.clock import Clock, rfc3339
from syncret.constants import FIELD_MANAGER, STAMP_FIELD_MANAGER
from syncret.errors import (
    KubeAlreadyExists,
    KubeConflict,
    KubeNotFound,
    NamespaceUnknown,
    SpecInvalid,
    SyncretError,
)
from syncret.kube.client import KubeClient
from syncret.kube.events import EventRecorder, ObjectRef
from syncret.kube.resources import CLUSTER_EXTERNAL_SECRETS, EXTERNAL_SECRETS
from syncret.reconcile.stampplan import StampPlan, not_owned, plan_stamps, stamp_patch, stamped_body
from syncret.reconcile.status import ready_body, ready_condition
from syncret.worker import Backoff, Result

logger = logging.getLogger(__name__)

#: Requests of one ClusterExternalSecret at the same time.
_AT_ONCE: Final = 16

#: Failures that are told one by one in the status; further ones are counted in the condition.
_TOLD: Final = 1000

_ATTEMPTS: Final = 3

#: Seconds between two looks at whether the namespaces are known, and until it is told.
_POLL: Final = 1.0
_PATIENCE: Final = 10.0


class ClusterExternalSecretReconciler:
    """Reconciles ClusterExternalSecrets by key."""

    def __init__(
        self,
        *,
        cache: Cache,
        kube: KubeClient,
        events: EventRecorder,
        clock: Clock,
        backoff: Backoff,
        namespaces_known: Callable[[], bool] = lambda: True,
        reports: Callable[[ObjectKey], bool] = lambda _: True,
    ) -> None:
        """``namespaces_known``: whether the cache has all of them: before, nothing is decided.

        ``reports``: whether it is this replica's to work on.
        """
        self._namespaces_known = namespaces_known
        #: Since when it is waited for the namespaces, by the monotonic clock.
        self._waiting: dict[ObjectKey, float] = {}
        self._cache = cache
        self._kube = kube
        self._events = events
        self._clock = clock
        self._backoff = backoff
        self._reports = reports
        self._failures: dict[ObjectKey, int] = {}

    async def reconcile(self, key: ObjectKey) -> Result:
        """One round; returns when the next is wanted."""
        wanted = self._cache.cluster_external_secrets.get(key)
        if wanted is None or wanted.deleting or not self._reports(key) or self._is_foreign(wanted):
            self._failures.pop(key, None)
            self._waiting.pop(key, None)
            return Result()
        if not self._namespaces_known():
            since = self._waiting.setdefault(key, self._clock.monotonic())
            if self._clock.monotonic() - since < _PATIENCE:
                return Result(_POLL)
        ready = wanted.status.ready
        if key not in self._failures and ready is not None and ready.status == "False":
            self._events.remember(
                wanted.uid, type="Warning", reason=ready.reason, message=ready.message
            )
        error: SyncretError | None
        if wanted.problem or not self._namespaces_known():
            error = SpecInvalid(wanted.problem) if wanted.problem else _namespaces_unknown()
            status = self._status(wanted, error, wanted.status.provisioned, {})
        else:
            plan = self._plan(wanted)
            failed = await self._stamp(wanted, plan)
            error = next(iter(failed.values()), None)
            good = tuple(name for name in plan.settled if name not in failed)
            status = self._status(wanted, error, good, failed)
        try:
            error = await self._report(wanted, status) or error
        except KubeNotFound:
            self._cache.cluster_external_secrets.drop(key)
            return Result()
        if error is None:
            self._failures.pop(key, None)
            return Result()
        self._failures[key] = failures = self._failures.get(key, 0) + 1
        return Result(self._backoff.delay(failures, at_least=error.retry_after))

    def _is_foreign(self, wanted: ClusterExternalSecret) -> bool:
        """Whether its store is another operator's, who does what there is to do."""
        store = self._cache.stores.get(wanted.store) if wanted.store is not None else None
        return store is not None and store.foreign

    def _plan(self, wanted: ClusterExternalSecret) -> StampPlan:
        return plan_stamps(
            wanted,
            namespaces=self._cache.namespaces,
            own=self._cache.stamped.by("owner", wanted.uid),
            exists=lambda key: key in self._cache.external_secrets,
        )

    async def _stamp(
        self, wanted: ClusterExternalSecret, plan: StampPlan
    ) -> dict[str, SyncretError]:
        """Does what the plan says; returns what failed, by namespace."""
        failed: dict[str, SyncretError] = {name: not_owned(wanted, name) for name in plan.taken}
        turns = asyncio.Semaphore(_AT_ONCE)

        async def attempt(namespace: str, work: Awaitable[None]) -> None:
            async with turns:
                try:
                    await work
                except SyncretError as error:
                    failed[namespace] = error.with_traceback(None)

        await asyncio.gather(
            *(attempt(name, self._create(wanted, name)) for name in plan.create),
            *(attempt(one.key.namespace, self._update(wanted, one)) for one in plan.update),
            *(attempt(one.key.namespace, self._remove(one)) for one in plan.remove),
        )
        if plan.create or plan.update or plan.remove:
            logger.info(
                "ExternalSecrets stamped: %d made, %d changed, %d deleted, %d failed",
                *(len(part) for part in (plan.create, plan.update, plan.remove, failed)),
                extra={"kind": wanted.key.kind, "object": wanted.key.name},
            )
        return dict(sorted(failed.items()))

    async def _create(self, wanted: ClusterExternalSecret, namespace: str) -> None:
        try:
            body = await self._kube.create(
                EXTERNAL_SECRETS,
                stamped_body(wanted, namespace),
                namespace=namespace,
                field_manager=STAMP_FIELD_MANAGER,
            )
        except KubeAlreadyExists:
            # The cache is behind: it is ours from a moment ago, or somebody was faster.
            body = await self._kube.get(EXTERNAL_SECRETS, namespace=namespace, name=wanted.name)
            if (controller_of(body["metadata"]) or {}).get("uid") != wanted.uid:
                raise not_owned(wanted, namespace) from None
        self._remember(body)

    async def _update(self, wanted: ClusterExternalSecret, known: Stamped) -> None:
        namespace = known.key.namespace
        for attempt in range(_ATTEMPTS):
            body = await self._kube.get(EXTERNAL_SECRETS, namespace=namespace, name=wanted.name)
            if (controller_of(body["metadata"]) or {}).get("uid") != wanted.uid:
                raise not_owned(wanted, namespace)
            seen = parse_stamped(body)
            if seen is None or not seen.is_as_wanted(wanted):
                try:
                    body = await self._kube.merge_patch(
                        EXTERNAL_SECRETS,
                        stamp_patch(wanted, body, manager=STAMP_FIELD_MANAGER),
                        namespace=namespace,
                        name=wanted.name,
                        field_manager=STAMP_FIELD_MANAGER,
                    )
                except KubeConflict:
                    if attempt == _ATTEMPTS - 1:
                        raise
                    continue
            self._remember(body)
            return

    async def _remove(self, known: Stamped) -> None:
        with suppress(KubeNotFound, KubeConflict):  # gone, and replaced perhaps by another one
            await self._kube.delete(
                EXTERNAL_SECRETS, namespace=known.key.namespace, name=known.key.name, uid=known.uid
            )
        current = self._cache.stamped.get(known.key)
        if current is not None and current.uid == known.uid:
            self._cache.stamped.put(known.key, replace(known, deleting=True))

    def _remember(self, body: Mapping[str, Any]) -> None:
        """What was written is known before the watch tells of it."""
        stamped = parse_stamped(body)
        if stamped is not None:
            self._cache.stamped.put(stamped.key, stamped)

    def _status(
        self,
        wanted: ClusterExternalSecret,
        error: SyncretError | None,
        provisioned: Iterable[str],
        failed: Mapping[str, SyncretError],
    ) -> ClusterExternalSecretStatus:
        names = tuple(provisioned)
        told = (error.reason, error.message) if error is not None else None
        if error is not None and len(failed) > 1:
            many = f"{len(failed)} namespaces are not as they should be"
            text = f"{many} (status.failedNamespaces tells of each). The first: {error.message}"
            told = error.reason, text
        condition = ready_condition(
            wanted.status.ready,
            error=told,
            message=f'The ExternalSecret "{wanted.name}" is in every selected namespace: '
            f"{len(names)} of them."
            if names
            else "No namespace is selected.",
            generation=wanted.generation,
            now=rfc3339(self._clock.wall()),
        )
        if error is None:
            condition = replace(condition, reason="Provisioned")
        return ClusterExternalSecretStatus(
            ready=condition,
            provisioned=names,
            failed=tuple(
                Failure(namespace, one.reason, one.message)
                for namespace, one in list(failed.items())[:_TOLD]
            ),
        )

    async def _report(
        self, wanted: ClusterExternalSecret, status: ClusterExternalSecretStatus
    ) -> SyncretError | None:
        """Writes what is new; returns why that could not be done. Raises KubeNotFound."""
        patch = status_patch(wanted.status, status)
        if patch is None or status.ready is None:
            return None
        names = {"kind": wanted.key.kind, "object": wanted.key.name}
        if status.ready != wanted.status.ready:
            failed = status.ready.status == "False"
            if failed:
                extra = {**names, "reason": status.ready.reason}
                logger.warning("%s", status.ready.message, extra=extra)
            self._events.emit(
                ObjectRef.of(wanted.key, wanted.uid),
                type="Warning" if failed else "Normal",
                reason=status.ready.reason,
                message=status.ready.message,
                action="Stamp",
            )
        try:
            await self._kube.merge_patch(
                CLUSTER_EXTERNAL_SECRETS,
                {"metadata": {"uid": wanted.uid}, "status": patch},
                name=wanted.key.name,
                subresource="status",
                field_manager=FIELD_MANAGER,
                metadata_only=True,
            )
        except KubeNotFound:
            raise
        except SyncretError as error:
            logger.warning(
                "The status could not be written: %s",
                error.message,
                extra={**names, "reason": error.reason},
            )
            return error
        current = self._cache.cluster_external_secrets.get(wanted.key)
        if current is not None and current.uid == wanted.uid:
            self._cache.cluster_external_secrets.put(wanted.key, replace(current, status=status))
        return None


def _namespaces_unknown() -> NamespaceUnknown:
    return NamespaceUnknown(
        "The namespaces could not be listed yet, so nothing was done: if this lasts, grant the "
        'operator the verbs "list" and "watch" on the resource "namespaces".'
    )


def status_patch(
    old: ClusterExternalSecretStatus, new: ClusterExternalSecretStatus
) -> dict[str, Any] | None:
    """The merge patch of ``.status`` from one to the other; None where they are the same."""
    patch: dict[str, Any] = {}
    if new.ready != old.ready and new.ready is not None:
        patch |= ready_body(new.ready)
    if new.provisioned != old.provisioned:
        patch["provisionedNamespaces"] = list(new.provisioned)
    if new.failed != old.failed:
        patch["failedNamespaces"] = [
            {"namespace": one.namespace, "reason": one.reason, "message": one.message}
            for one in new.failed
        ]
    return patch or None
