"""The composition root: builds the parts, starts them in order, stops them in the other.

What has to outlive kopf is made before it starts, and in its cleanup the workers end what they
have begun (:mod:`syncret.embed` says why). Then the Leases are given back, so that another replica
is at work at once.
"""

import asyncio
import gc
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

import aiohttp

from syncret import __version__
from syncret.api.keys import ObjectKey
from syncret.assignment import Assignment
from syncret.cache import Cache
from syncret.clock import Clock, SystemClock, sleep
from syncret.constants import MANAGED_SELECTOR, UNMANAGED_SELECTOR
from syncret.digest import Digester
from syncret.digestkey import load_or_create_digest_key
from syncret.embed import run_kopf
from syncret.errors import KubeNotFound, SetupError, SpecInvalid, SyncretError
from syncret.generators.registry import parse_generator
from syncret.hints import Hints
from syncret.keeper import Keeper
from syncret.kube.client import KubeClient
from syncret.kube.connection import Connection, find_connection, open_session
from syncret.kube.events import EventRecorder
from syncret.kube.ifserved import IfServed
from syncret.kube.ondemand import OnDemand
from syncret.kube.reflector import Reflector
from syncret.kube.resources import CONFIG_MAPS, NAMESPACES, SECRETS
from syncret.kube.tail import Tail
from syncret.kube.watchhealth import WatchHealth
from syncret.providers.bounds import Bounds, OwnCluster
from syncret.providers.registry import parse_provider
from syncret.queue import Priority, Queue
from syncret.reconcile.generated import wrapping
from syncret.reconcile.kept import Kept
from syncret.reconcile.leases import Leases, count_leases
from syncret.reconcile.rollout.reload import ReloadReconciler
from syncret.reconcile.rollout.roller import Roller, in_progress
from syncret.reconcile.stamping import ClusterExternalSecretReconciler
from syncret.reconcile.storecheck import StoreReconciler
from syncret.reconcile.stores import StoreClients
from syncret.reconcile.sync import ExternalSecretReconciler
from syncret.reconcile.templating import Templating
from syncret.settings import Settings
from syncret.sources.config import EventSources, load
from syncret.sources.dispatch import Dispatcher
from syncret.sources.running import Sources
from syncret.sweep import Sweeper
from syncret.telemetry.http import HttpServer
from syncret.telemetry.metrics import Metrics
from syncret.template.pool import Pool
from syncret.watch import OPTIONAL, REFLECTED, Watcher
from syncret.worker import Backoff, Result, Workers

logger = logging.getLogger(__name__)

#: What the operator's Leases begin with. Two installations have two namespaces.
_LEASES: Final = "syncret"

#: Seconds without an event after which the caches have what the first lists had, and the most that
#: is waited for such a silence.
_SILENCE: Final = 0.2
_SILENCE_MOST: Final = 10.0

#: Seconds between two looks at whether the CRDs are there.
_SERVED_POLL: Final = 1.0

#: The longest wait between two checks of a store that fails: how late its recovery is noticed.
_STORE_RETRY_CAP: Final = 15.0


async def run(settings: Settings) -> None:
    """Runs the operator until SIGTERM or SIGINT. Raises SetupError if it cannot go on."""
    async with _built(settings) as operator:
        operator.workers.prepare()
        stop = asyncio.Event()
        leading = asyncio.create_task(_lead_when_listed(operator), name="leading")
        tasks = [
            leading,
            asyncio.create_task(operator.sweeper.run(), name="sweeping"),
            *(asyncio.create_task(one.run(), name="reflecting") for one in operator.reflectors),
            asyncio.create_task(operator.namespaces.run(), name="namespaces"),
            *(asyncio.create_task(one.run(), name="optional") for one in operator.optional),
        ]
        listening = [
            asyncio.create_task(_run_when_listed(operator, one), name="events")
            for one in operator.sources
        ]
        for task in (*tasks, *listening):  # none of them ends while all is well
            task.add_done_callback(lambda _: stop.set())

        async def drain() -> None:
            # Nothing new is taken; what was taken and not done, others are given.
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
            # Without the Lease, nothing that runs may be brought to its end.
            grace = 0.0 if leading.done() else settings.shutdown_grace
            if not await operator.workers.drain(grace):
                logger.warning("Some syncs did not end in the grace period and were abandoned")

        try:
            await run_kopf(
                watcher=operator.watcher,
                connection=operator.connection,
                watches=operator.watches,
                clock=operator.clock,
                instance=settings.instance,
                stop=stop,
                served=_all_served(operator),
                drain=drain,
            )
        finally:
            await drain()
            ended = [task for task in tasks if not task.cancel()]
            if leading not in ended:
                await operator.keeper.release()
            for task in (*ended, *(one for one in listening if not one.cancelled())):
                task.result()  # raises why it ended
    logger.info("Stopped")


@dataclass(frozen=True, slots=True)
class _Operator:
    """What starts once everything is built."""

    clock: Clock
    connection: Connection
    kube: KubeClient
    watches: WatchHealth
    watcher: Watcher
    workers: Workers[ObjectKey]
    keeper: Keeper
    sweeper: Sweeper
    reflectors: Sequence[Reflector | OnDemand]
    namespaces: OnDemand
    optional: Sequence[IfServed]
    sources: Sequence[Sources]


@asynccontextmanager
async def _built(  # noqa: PLR0915 - a composition root is a list
    settings: Settings,
) -> AsyncIterator[_Operator]:
    """Every part but kopf; closed in the reverse order."""
    clock: Clock = SystemClock()
    told = load(settings.event_sources) if settings.event_sources else EventSources()
    cache = Cache(by_word=bool(told.sources))
    metrics = Metrics()
    metrics.event_sources(name for name, _ in told.sources)
    queue: Queue[ObjectKey] = Queue(
        clock,
        groups_of=partial(_groups_of, cache),
        tenant_of=lambda key: key.namespace,
        # No store, and no kind of work, can hold up all of the others.
        group_limit=settings.workers // 2,
        doubtful=lambda group: stores.is_doubtful(group),  # noqa: PLW0108 - made below
        doubtful_limit=max(1, settings.workers // 16),
        doubtful_limit_together=settings.workers // 2,
        periodic_limit=settings.workers * 3 // 4,
    )
    metrics.watch_queue(queue.depth)
    async with AsyncExitStack() as stack:
        connection = await find_connection(clock=clock, kubeconfig=settings.kubeconfig or "")
        logger.info(
            "Syncret %s, using %s", __version__, connection.source, extra={"api": connection.server}
        )
        session = await stack.enter_async_context(open_session(connection))
        # For what is not the leader's alone: the digest key, and leading itself.
        own = KubeClient(session, connection.server, timeout=settings.kube_timeout)
        namespace = settings.operator_namespace or connection.default_namespace
        digester = Digester(await load_or_create_digest_key(own, namespace))
        assignment = Assignment(
            cache=cache,
            queue=queue,
            clock=clock,
            shards=settings.shards,
            forget=lambda theirs: external_secrets.forget_namespaces(theirs),  # noqa: PLW0108 - made below
        )
        assignment.keeper = keeper = Keeper(
            own,
            namespace=namespace,
            prefix=_LEASES,
            identity=f"{settings.instance}-{uuid.uuid4().hex[:8]}",
            shards=settings.shards,
            duration=settings.lease_duration,
            clock=clock,
            gained=assignment.gained,
            emptied=assignment.emptied,
        )
        metrics.watch_shards(lambda: len(keeper.held))
        kube = KubeClient(
            session, connection.server, timeout=settings.kube_timeout, may_write=keeper.may_write
        )
        hints = Hints(
            clock,
            enqueue=lambda key, delay: queue.add(key, priority=Priority.FORCED, delay=delay),
        )
        watcher = Watcher(
            cache=cache,
            queue=queue,
            digester=digester,
            works_on=assignment.works_on,
            controller_class=settings.controller_class,
            want_namespaces=lambda: namespaces.want(),  # noqa: PLW0108 - made below
            credential_seen=lambda *seen: stores.credential_seen(*seen),  # noqa: PLW0108 - the same
            template_changed=lambda key: templating.suspect(key),  # noqa: PLW0108 - made below
            want_config_maps=lambda: config_maps.want(),  # noqa: PLW0108 - the same
            reloader=settings.reloader_annotations,
            hinted=hints.give,
        )
        events = EventRecorder(kube, clock=clock, instance=settings.instance)
        events.start()
        stack.push_async_callback(events.close)
        kept = Kept(
            cache=cache,
            kube=kube,
            digester=digester,
            clock=clock,
            metrics=metrics.credentials,
        )
        stack.push_async_callback(kept.close)
        stores = StoreClients(
            kube=kube,
            generators=parse_generator,
            wrap=wrapping(kept, cache),
            providers=partial(parse_provider, bounds=_bounds(settings, connection, digester)),
            observer=lambda provider, store: partial(
                metrics.provider_call, provider=provider, store=store
            ),
            forgotten=metrics.forget_store,
            clock=clock,
            ambient_for_secret_stores=settings.ambient_credentials_for_secret_stores,
            timeout=settings.provider_timeout,
            shards=settings.shards,
            tripped=queue.add,
            crowd=queue.crowd,
        )
        stack.push_async_callback(stores.close)
        pool = Pool()
        stack.push_async_callback(pool.close)
        templating = Templating(kube=kube, pool=pool, digester=digester)
        # Jitter needs no cryptographic randomness.
        random = Random()  # noqa: S311
        backoff = Backoff(base=settings.retry_base, cap=settings.retry_cap, random=random)
        roller = Roller(
            cache=cache,
            kube=kube,
            events=events,
            metrics=metrics,
            digester=digester,
            clock=clock,
            limit=settings.max_concurrent_rollouts,
            unlisted=lambda: [
                one.resource.kind for one in optional if not one.listed and not one.absent
            ],
        )
        leases = Leases(
            cache=cache,
            kept=kept,
            stores=stores,
            events=events,
            metrics=metrics.credentials,
            clock=clock,
            backoff=backoff,
        )
        metrics.credentials.watch_leases(partial(count_leases, cache))
        reloads = ReloadReconciler(
            cache=cache,
            kube=kube,
            roller=roller,
            events=events,
            metrics=metrics,
            digester=digester,
            clock=clock,
        )
        external_secrets = ExternalSecretReconciler(
            cache=cache,
            kube=kube,
            stores=stores,
            leases=leases,
            templating=templating,
            roller=roller,
            events=events,
            metrics=metrics,
            digester=digester,
            clock=clock,
            backoff=backoff,
            asked_at=queue.asked_at,
            worked_until=assignment.worked_until,
            namespaces_listed=lambda: namespaces.wait_listed(),  # noqa: PLW0108 - made below
            hints=hints,
        )
        store_checks = StoreReconciler(
            cache=cache,
            kube=kube,
            stores=stores,
            events=events,
            clock=clock,
            backoff=Backoff(
                base=settings.retry_base,
                cap=min(settings.retry_cap, _STORE_RETRY_CAP),
                random=random,
            ),
            recovered=watcher.store_recovered,
            reports=assignment.reports,
        )

        stamping = ClusterExternalSecretReconciler(
            cache=cache,
            kube=kube,
            events=events,
            clock=clock,
            backoff=backoff,
            namespaces_known=lambda: namespaces.listed,
            reports=assignment.reports,
        )

        async def reconcile(key: ObjectKey) -> Result:
            if not assignment.works_on(key.namespace):
                return Result()  # its shard was given away while it ran or waited
            if key.kind == "ExternalSecret":
                return await external_secrets.reconcile(key)
            if key.kind == "ClusterExternalSecret":
                return await stamping.reconcile(key)
            if key.kind == "Reload":
                return await reloads.reconcile(key)
            return await store_checks.reconcile(key)

        async def look_again() -> None:
            watcher.template_sources_missed("Secret")
            watcher.check_stores(await stores.look_again())

        workers = Workers(queue, reconcile, count=settings.workers, backoff=backoff)
        sweeper = Sweeper(kube, known=watcher.known, gone=watcher.gone, clock=clock)
        watches = WatchHealth(
            watcher.resources,
            clock=clock,
            relisted=lambda one: None if one in REFLECTED else sweeper.relisted(one),
        )
        watching = await stack.enter_async_context(
            open_session(connection, middlewares=[watches], connections=2 * len(REFLECTED))
        )
        reflectors = [
            Reflector(
                watching,
                connection.server,
                resource,
                handle=partial(watcher.take, resource),
                known=partial(watcher.known, resource),
                gone=partial(watcher.gone, resource),
                clock=clock,
                # Only the Secrets we wrote: the bytes of all others stay out of this process.
                label_selector=MANAGED_SELECTOR if resource == SECRETS else "",
            )
            for resource in REFLECTED
        ]
        tail_session = await stack.enter_async_context(open_session(connection, connections=4))
        tail = Tail(
            tail_session,
            connection.server,
            SECRETS,
            handle=watcher.unmanaged,
            missed=look_again,
            clock=clock,
            # What we wrote is reflected, and never twice.
            label_selector=UNMANAGED_SELECTOR,
        )

        async def config_maps_missed() -> None:
            watcher.template_sources_missed("ConfigMap")

        config_maps = OnDemand(
            Tail(
                tail_session,
                connection.server,
                CONFIG_MAPS,
                handle=partial(watcher.template_source, "ConfigMap"),
                missed=config_maps_missed,
                clock=clock,
            ),
            listed=lambda: None,
            clock=clock,
        )
        namespace_health = WatchHealth([NAMESPACES], clock=clock)
        namespaces = OnDemand(
            Reflector(
                await stack.enter_async_context(
                    open_session(connection, middlewares=[namespace_health], connections=2)
                ),
                connection.server,
                NAMESPACES,
                handle=watcher.namespace,
                known=partial(watcher.known, NAMESPACES),
                gone=partial(watcher.gone, NAMESPACES),
                clock=clock,
                metadata_only=True,
            ),
            listed=watcher.all_namespaces_seen,
            clock=clock,
        )
        optional = _optional(
            await stack.enter_async_context(
                open_session(connection, connections=2 * len(OPTIONAL))
            ),
            connection.server,
            watcher,
            clock=clock,
        )
        metrics.watch_rollouts(partial(in_progress, cache, clock))
        http = HttpServer(
            settings.http_address,
            metrics=metrics,
            ready_checks={
                "watches": lambda: watches.problems(clock.monotonic()),
                "namespaces": lambda: (
                    namespace_health.problems(clock.monotonic()) if namespaces.wanted else []
                ),
                "workers": workers.problems,
                "leases": keeper.problems,
            },
            live_checks={"workers": workers.problems},
        )
        await http.start()
        stack.push_async_callback(http.stop)
        sources = Sources(
            told,
            dispatcher=Dispatcher(
                cache=cache,
                hints=hints,
                kube=own,
                metrics=metrics,
                clock=clock,
                works_on=assignment.works_on,
            ),
            metrics=metrics,
            clock=clock,
            reads_queues=lambda: 0 in keeper.held,
            random=random,
        )
        yield _Operator(
            clock=clock,
            connection=connection,
            kube=own,
            watches=watches,
            watcher=watcher,
            workers=workers,
            keeper=keeper,
            sweeper=sweeper,
            reflectors=[*reflectors, tail, config_maps],
            namespaces=namespaces,
            optional=optional,
            sources=[sources] if told.sources else [],
        )


def _bounds(settings: Settings, connection: Connection, digester: Digester) -> Bounds:
    """What the administrator allows stores to reach. Raises SetupError."""
    try:
        return Bounds.of(
            file_roots=settings.file_store_roots,
            webhook_hosts=settings.webhook_hosts,
            cluster=OwnCluster(
                connection.server, connection.ca, connection.tls_server_name, connection.proxy
            ),
            digest_key=digester.derive("provider-versions"),
        )
    except SpecInvalid as error:
        raise SetupError(f"--webhook-hosts: {error.message}.") from None


def _optional(
    session: aiohttp.ClientSession, server: str, watcher: Watcher, *, clock: Clock
) -> list[IfServed]:
    """What keeps the kinds of workloads that there may not be."""
    return [
        IfServed(
            Reflector(
                session,
                server,
                resource,
                handle=partial(watcher.take, resource),
                known=partial(watcher.known, resource),
                gone=partial(watcher.gone, resource),
                clock=clock,
            ),
            KubeClient(session, server),
            resource,
            clock=clock,
        )
        for resource in OPTIONAL
    ]


def _groups_of(cache: Cache, key: ObjectKey) -> tuple[ObjectKey | str, ...]:
    """The readers of one store are a group, of several in several; checks of stores are one."""
    external_secret = cache.external_secrets.get(key)
    return external_secret.stores if external_secret is not None else ("other",)


async def _all_served(operator: _Operator) -> None:
    """Waits for what is not served yet: our CRDs, which may be installed after us."""
    for resource in operator.watcher.by_kopf:
        while True:
            try:
                async for _ in operator.kube.list_pages(resource, metadata_only=True, limit=1):
                    break
            except KubeNotFound:
                await sleep(operator.clock, _SERVED_POLL)
                continue
            except SyncretError:
                pass  # served or not, readiness tells of it, and kopf's watch is tried on and on
            break


async def _lead_when_listed(operator: _Operator) -> None:
    """Leads from when the caches are full: before, a store would seem to be missing."""
    await operator.watches.wait_all_listed()
    await _silence(operator.watcher)
    for one in operator.optional:
        await one.settle()
    if operator.namespaces.wanted:  # else who selects by labels would be told that nobody knows
        await operator.namespaces.wait_listed()
    # What is in them stays: the collector need not look at it again and again.
    gc.freeze()
    logger.info("The caches are full")
    operator.workers.start()
    await operator.keeper.run()


async def _run_when_listed(operator: _Operator, sources: Sources) -> None:
    """Takes events from when the caches are full: before, nobody would seem to read anything."""
    await operator.watches.wait_all_listed()
    await _silence(operator.watcher)
    await sources.run()


async def _silence(watcher: Watcher) -> None:
    """What has been read of the first lists is handled by tasks of kopf's: lets them end."""
    for _ in range(round(_SILENCE_MOST / _SILENCE)):
        handled = watcher.handled
        await asyncio.sleep(_SILENCE)
        if watcher.handled == handled:
            return
