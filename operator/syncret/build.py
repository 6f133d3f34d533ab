"""The parts of the operator, made in the order in which they need one another."""

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
from syncret.clock import Clock, SystemClock
from syncret.constants import MANAGED_SELECTOR, UNMANAGED_SELECTOR
from syncret.digest import Digester
from syncret.digestkey import load_or_create_digest_key
from syncret.errors import SetupError, SpecInvalid
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

#: The longest wait between two checks of a store that fails: how late its recovery is noticed.
_STORE_RETRY_CAP: Final = 15.0


@dataclass(frozen=True, slots=True)
class Operator:
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
async def built(  # noqa: PLR0915 - a composition root is a list
    settings: Settings,
) -> AsyncIterator[Operator]:
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
            share=lambda: len(keeper.held) / settings.shards,
            works_on=assignment.works_on,
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
        yield Operator(
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
