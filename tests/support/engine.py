"""The engine without kopf: one life of the operator on a fake API server and a store in memory.

Everything between the watch's handlers and the HTTP session is the real thing. What runs when is
the test's to say: :meth:`Engine.settle` works until nothing is due, :meth:`Engine.advance` moves
the clock. A life that ends leaves what the API server holds, and nothing else.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any, Final

import aiohttp

from support.apiserver import Body, FakeApiServer, Place
from support.clock import FakeClock
from support.provider import MemoryProvider
from syncret.api.keys import Kind, ObjectKey
from syncret.api.workload import WorkloadKind
from syncret.cache import Cache
from syncret.constants import MANAGED_LABEL, MANAGED_VALUE
from syncret.digest import Digester
from syncret.hints import Hints
from syncret.kube.client import KubeClient
from syncret.kube.events import EventRecorder
from syncret.queue import Priority, Queue
from syncret.reconcile.generated import wrapping
from syncret.reconcile.kept import Kept
from syncret.reconcile.leases import Leases, count_leases
from syncret.reconcile.rollout.reload import ReloadReconciler
from syncret.reconcile.rollout.roller import Roller
from syncret.reconcile.stamping import ClusterExternalSecretReconciler
from syncret.reconcile.storecheck import StoreReconciler
from syncret.reconcile.stores import StoreClients
from syncret.reconcile.sync import ExternalSecretReconciler
from syncret.reconcile.templating import Templating
from syncret.telemetry.metrics import Metrics
from syncret.template.pool import Pool
from syncret.watch import Watcher
from syncret.worker import Backoff, Result

#: Rounds in which a small world has come to rest; more are a loop.
_MANY: Final = 50

_NOT_READY: Final = frozenset({"delayed", "running"})

_STORES: Final[dict[str, Kind]] = {
    "secretstores": "SecretStore",
    "clustersecretstores": "ClusterSecretStore",
    "generators": "Generator",
    "clustergenerators": "ClusterGenerator",
}
_WORKLOADS: Final[dict[str, WorkloadKind]] = {
    "deployments": "Deployment",
    "statefulsets": "StatefulSet",
    "daemonsets": "DaemonSet",
    "jobs": "Job",
    "cronjobs": "CronJob",
    "rollouts": "Rollout",
}


class Engine:
    """The parts of one life, built as ``app.py`` builds them."""

    def __init__(
        self,
        api: FakeApiServer,
        session: aiohttp.ClientSession,
        *,
        provider: MemoryProvider,
        clock: FakeClock,
        digest_key: bytes,
        controller_class: str = "",
        reloader: bool = False,
    ) -> None:
        #: Namespaces are told of once they are wanted, and Secrets that are no one's always.
        self.namespaces_wanted = False
        self.namespaces_listed = False
        #: Whether it may list them at all.
        self.may_list_namespaces = True
        self._api = api
        api.wall = clock.wall
        self._seen = 0
        self._labelled: set[Place] = set()
        self.clock = clock
        self.digester = digester = Digester(digest_key)
        self.cache = cache = Cache()
        self.queue: Queue[ObjectKey] = Queue(clock)
        self.metrics = Metrics(wall=clock.wall)
        self.hints = Hints(
            clock,
            enqueue=lambda key, delay: self.queue.add(key, priority=Priority.FORCED, delay=delay),
        )
        self.watcher = Watcher(
            hinted=self.hints.give,
            cache=cache,
            queue=self.queue,
            digester=digester,
            controller_class=controller_class,
            want_namespaces=self._want_namespaces,
            credential_seen=lambda *seen: self.stores.credential_seen(*seen),  # noqa: PLW0108 - later
            template_changed=lambda key: self.templating.suspect(key),  # noqa: PLW0108 - made below
            gather=0.0,
            reloader=reloader,
        )
        kube = KubeClient(session, api.url)
        self.events = EventRecorder(kube, clock=clock, instance="test")
        self.kept = Kept(
            cache=cache,
            kube=kube,
            digester=digester,
            clock=clock,
            metrics=self.metrics.credentials,
        )
        self.stores = StoreClients(
            kube=kube,
            generators=provider.generators,
            wrap=wrapping(self.kept, cache),
            providers=provider.find,
            observer=lambda name, store: partial(
                self.metrics.provider_call, provider=name, store=store
            ),
            forgotten=self.metrics.forget_store,
            clock=clock,
            ambient_for_secret_stores=False,
            tripped=self.queue.add,
            # Nobody moves the clock while a key is worked on.
            gather=0.0,
            patience=0.0,
        )
        self.pool = Pool()
        self.templating = Templating(kube=kube, pool=self.pool, digester=digester)
        backoff = Backoff(base=1.0, cap=300.0, random=Random(1))  # noqa: S311 - jitter
        self.roller = Roller(
            cache=cache,
            kube=kube,
            events=self.events,
            metrics=self.metrics,
            digester=digester,
            clock=clock,
        )
        self.leases = Leases(
            cache=cache,
            kept=self.kept,
            stores=self.stores,
            events=self.events,
            metrics=self.metrics.credentials,
            clock=clock,
            backoff=backoff,
        )
        self.metrics.credentials.watch_leases(partial(count_leases, cache))
        self.reloads = ReloadReconciler(
            cache=cache,
            kube=kube,
            roller=self.roller,
            events=self.events,
            metrics=self.metrics,
            digester=digester,
            clock=clock,
        )
        self.external_secrets = ExternalSecretReconciler(
            cache=cache,
            kube=kube,
            stores=self.stores,
            leases=self.leases,
            templating=self.templating,
            roller=self.roller,
            events=self.events,
            metrics=self.metrics,
            digester=digester,
            clock=clock,
            backoff=backoff,
            asked_at=self.queue.asked_at,
            hints=self.hints,
        )
        self.store_checks = StoreReconciler(
            cache=cache,
            kube=kube,
            stores=self.stores,
            events=self.events,
            clock=clock,
            backoff=Backoff(base=1.0, cap=15.0, random=Random(1)),  # noqa: S311 - jitter
            recovered=self.watcher.store_recovered,
        )

        self.stamping = ClusterExternalSecretReconciler(
            cache=cache,
            kube=kube,
            events=self.events,
            clock=clock,
            backoff=backoff,
            namespaces_known=lambda: self.namespaces_listed,
        )

    def _want_namespaces(self) -> None:
        self.namespaces_wanted = True

    def list(self) -> None:
        """The first list of everything, or a list after a watch was lost."""
        self._seen = len(self._api.changes)
        for place, body in list(self._api.objects.items()):
            if place.plural != "namespaces":
                self._tell(place, body, deleted=False)
        self._list_namespaces()

    def _list_namespaces(self) -> None:
        if self.namespaces_listed or not (self.namespaces_wanted and self.may_list_namespaces):
            return
        for place, body in list(self._api.objects.items()):
            if place.plural == "namespaces":
                self.watcher.namespace({"metadata": body["metadata"]}, False)
        self.namespaces_listed = True
        self.watcher.all_namespaces_seen()

    def watch_nothing(self) -> None:
        """What has happened until now is never told of."""
        self._seen = len(self._api.changes)

    def watch(self) -> None:
        """What the watches tell of since the last time."""
        changes, self._seen = self._api.changes[self._seen :], len(self._api.changes)
        for kind, place, body in changes:
            self._tell(place, body, deleted=kind == "DELETED")
        self._list_namespaces()

    async def settle(self) -> None:
        """Works until nothing is due any more, and all Events are posted."""
        self.watch()
        for _ in range(_MANY):
            depth = self.queue.depth()
            if not sum(waiting for lane, waiting in depth.items() if lane not in _NOT_READY):
                break
            await self.work()
            self.watch()
        else:
            raise AssertionError("the engine does not come to rest")
        await self.events._queue.join()

    async def work(self) -> None:
        """One turn of a worker."""
        key = await self.queue.take()
        try:
            result = await self.reconcile(key)
        finally:
            self.queue.done(key)
        if result.requeue_after is not None:
            self.queue.add(key, priority=result.priority, delay=result.requeue_after)

    async def advance(self, seconds: float) -> None:
        """Lets time pass, and does what has become due."""
        self.clock.advance(seconds)
        await self.settle()

    async def reconcile(self, key: ObjectKey) -> Result:
        if key.kind == "ExternalSecret":
            return await self.external_secrets.reconcile(key)
        if key.kind == "ClusterExternalSecret":
            return await self.stamping.reconcile(key)
        if key.kind == "Reload":
            return await self.reloads.reconcile(key)
        return await self.store_checks.reconcile(key)

    def exposed(self) -> str:
        """What Prometheus would read."""
        return self.metrics.render()[0].decode()

    def sample(self, series: str, /, **labels: str) -> float | None:
        """The value of one series; None if it is not there."""
        return self.metrics.registry.get_sample_value(series, labels)

    def _tell(self, place: Place, body: Body, *, deleted: bool) -> None:
        match place.plural:
            case "externalsecrets":
                self.watcher.external_secret(body, deleted)
            case "clusterexternalsecrets":
                self.watcher.cluster_external_secret(body, deleted)
            case "namespaces" if self.namespaces_listed:
                self.watcher.namespace({"metadata": body["metadata"]}, deleted)
            case "secrets":
                self._tell_secret(place, body, deleted=deleted)
            case "configmaps":
                self.watcher.template_source("ConfigMap", body, deleted)
            case plural if plural in _STORES:
                self.watcher.store(_STORES[plural], body, deleted)
            case plural if plural in _WORKLOADS:
                self.watcher.workload(_WORKLOADS[plural], body, deleted)

    def _tell_secret(self, place: Place, body: dict[str, Any], *, deleted: bool) -> None:
        """The watch selects by label: what loses it is told of as deleted."""
        labels = body["metadata"].get("labels") or {}
        if labels.get(MANAGED_LABEL) == MANAGED_VALUE and not deleted:
            self._labelled.add(place)
            self.watcher.secret(body, False)
        elif place in self._labelled:
            self._labelled.discard(place)
            self.watcher.secret(body, True)
        if labels.get(MANAGED_LABEL) != MANAGED_VALUE:
            self.watcher.unmanaged({"metadata": body["metadata"]}, deleted)


@asynccontextmanager
async def living(
    api: FakeApiServer,
    *,
    provider: MemoryProvider,
    clock: FakeClock,
    digest_key: bytes = b"k" * 32,
    controller_class: str = "",
    may_list_namespaces: bool = True,
    reloader: bool = False,
) -> AsyncIterator[Engine]:
    """A life of the operator, which begins with lists and ends without a word."""
    async with aiohttp.ClientSession() as session:
        engine = Engine(
            api,
            session,
            provider=provider,
            clock=clock,
            digest_key=digest_key,
            controller_class=controller_class,
            reloader=reloader,
        )
        engine.may_list_namespaces = may_list_namespaces
        engine.events.start()
        engine.list()
        try:
            yield engine
        finally:
            await engine.events.close(timeout=0)
            await engine.stores.close()
            await engine.kept.close()
            await engine.pool.close()
