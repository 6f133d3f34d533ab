"""The composition root: builds the parts, starts them in order, stops them in the other.

kopf is embedded, and some of its habits shape this file (seen in kopf 1.45):

- it takes SIGTERM and SIGINT for itself, so it decides when the process stops;
- when it exits, it cancels every task younger than itself: ours are created before it starts;
- it closes its session when it exits, and after a 401 that stays one: it has a session of its own,
  and ours outlives it, so that the workers can finish what they have begun;
- it gives up on a watch after a number of failures and then ends the operator: its retries are
  endless here, and readiness tells what fails.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

import kopf

from syncret import __version__
from syncret.api.keys import ObjectKey
from syncret.cache import Cache
from syncret.clock import Clock, SystemClock
from syncret.constants import MANAGED_SELECTOR
from syncret.digest import Digester
from syncret.digestkey import load_or_create_digest_key
from syncret.kube.client import KubeClient
from syncret.kube.connection import Connection, find_connection, open_session
from syncret.kube.events import EventRecorder
from syncret.kube.resources import (
    CLUSTER_SECRET_STORES,
    DAEMON_SETS,
    DEPLOYMENTS,
    EXTERNAL_SECRETS,
    SECRET_STORES,
    SECRETS,
    STATEFUL_SETS,
)
from syncret.kube.watchhealth import WatchHealth
from syncret.providers.registry import parse_provider
from syncret.queue import Queue
from syncret.reconcile.rollout.roller import Roller
from syncret.reconcile.storecheck import StoreReconciler
from syncret.reconcile.stores import StoreClients
from syncret.reconcile.sync import ExternalSecretReconciler
from syncret.settings import Settings
from syncret.telemetry.http import HttpServer
from syncret.telemetry.metrics import Metrics
from syncret.watch import Watcher
from syncret.worker import Backoff, Result, Workers

logger = logging.getLogger(__name__)

_WATCHED: Final = (
    EXTERNAL_SECRETS,
    SECRET_STORES,
    CLUSTER_SECRET_STORES,
    SECRETS,
    DEPLOYMENTS,
    STATEFUL_SETS,
    DAEMON_SETS,
)

#: Seconds that the handlers get to fill the caches after the last first list has been read.
_SETTLE: Final = 0.2


async def run(settings: Settings) -> None:
    """Runs the operator until SIGTERM or SIGINT. Raises SetupError if it cannot start."""
    async with _built(settings) as operator:
        operator.workers.prepare()
        starter = asyncio.create_task(_start_when_listed(operator), name="starter")
        try:
            await _run_kopf(operator, instance=settings.instance)
        finally:
            starter.cancel()
            if not await operator.workers.drain(settings.shutdown_grace):
                logger.warning("Some syncs did not end in the grace period and were abandoned")
    logger.info("Stopped")


@dataclass(frozen=True, slots=True)
class _Operator:
    """What starts once everything is built."""

    connection: Connection
    watches: WatchHealth
    watcher: Watcher
    workers: Workers[ObjectKey]
    queue: Queue[ObjectKey]


@asynccontextmanager
async def _built(settings: Settings) -> AsyncIterator[_Operator]:
    """Every part but kopf; closed in the reverse order."""
    clock: Clock = SystemClock()
    cache = Cache()
    metrics = Metrics()
    queue: Queue[ObjectKey] = Queue(clock)
    metrics.watch_queue(queue.depth)
    async with AsyncExitStack() as stack:
        connection = await find_connection(clock=clock, kubeconfig=settings.kubeconfig or "")
        logger.info(
            "Syncret %s, using %s", __version__, connection.source, extra={"api": connection.server}
        )
        session = await stack.enter_async_context(open_session(connection))
        kube = KubeClient(session, connection.server, timeout=settings.kube_timeout)
        namespace = settings.operator_namespace or connection.default_namespace
        digester = Digester(await load_or_create_digest_key(kube, namespace))
        events = EventRecorder(kube, clock=clock, instance=settings.instance)
        events.start()
        stack.push_async_callback(events.close)
        stores = StoreClients(
            kube=kube,
            providers=parse_provider,
            observer=lambda provider: partial(metrics.provider_call, provider=provider),
            clock=clock,
            ambient_for_secret_stores=settings.ambient_credentials_for_secret_stores,
        )
        stack.push_async_callback(stores.close)
        # Jitter needs no cryptographic randomness.
        backoff = Backoff(base=settings.retry_base, cap=settings.retry_cap, random=Random())  # noqa: S311
        roller = Roller(
            cache=cache, kube=kube, events=events, metrics=metrics, digester=digester, clock=clock
        )
        external_secrets = ExternalSecretReconciler(
            cache=cache,
            kube=kube,
            stores=stores,
            roller=roller,
            events=events,
            metrics=metrics,
            digester=digester,
            clock=clock,
            backoff=backoff,
        )
        store_checks = StoreReconciler(
            cache=cache, kube=kube, stores=stores, events=events, clock=clock, backoff=backoff
        )

        async def reconcile(key: ObjectKey) -> Result:
            if key.kind == "ExternalSecret":
                return await external_secrets.reconcile(key)
            return await store_checks.reconcile(key)

        workers = Workers(queue, reconcile, count=settings.workers, backoff=backoff)
        watches = WatchHealth(_WATCHED, clock=clock)
        http = HttpServer(
            settings.http_address,
            metrics=metrics,
            ready_checks={
                "watches": lambda: watches.problems(clock.monotonic()),
                "workers": workers.problems,
            },
            live_checks={"workers": workers.problems},
        )
        await http.start()
        stack.push_async_callback(http.stop)
        yield _Operator(
            connection=connection,
            watches=watches,
            watcher=Watcher(cache=cache, queue=queue, digester=digester),
            workers=workers,
            queue=queue,
        )


async def _start_when_listed(operator: _Operator) -> None:
    """Starts the workers when the caches are full: before, a store would seem to be missing."""
    await operator.watches.wait_all_listed()
    await asyncio.sleep(_SETTLE)
    operator.workers.start()
    logger.info("Ready", extra={"queued": operator.queue.depth()["urgent"]})


async def _run_kopf(operator: _Operator, *, instance: str) -> None:
    registry = kopf.OperatorRegistry()
    operator.watcher.register(registry)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(
            server=operator.connection.server,
            aiohttp_session=open_session(operator.connection, middlewares=[operator.watches]),
            default_namespace=operator.connection.default_namespace,
        )

    await kopf.operator(
        registry=registry,
        settings=_kopf_settings(),
        clusterwide=True,
        # Not given, kopf looks the user's name up and dies where the uid has none, as in the image.
        identity=instance,  # type: ignore[arg-type]  # a NewType of str that kopf does not export
    )


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True  # our CRDs are known: no permission on CRDs is needed
    settings.peering.standalone = True
    settings.posting.enabled = False  # log lines must not become Events
    settings.watching.chunk_size = 500
    # Only the Secrets we wrote: the bytes of all others stay out of this process.
    settings.watching.label_selectors["v1", "secrets"] = MANAGED_SELECTOR
    settings.queueing.idle_timeout = 0.05  # a task per object, only while its events flow
    settings.queueing.worker_limit = None  # kopf's limit holds its slot for the idle timeout
    settings.process.ultimate_exiting_timeout = None  # else a thread is shot ten minutes later
    settings.networking.error_backoffs = _Endless((1, 1, 2, 3, 5, 8, 13, 21))
    return settings


class _Endless:
    """An endless iterable of delays, anew for every request: the given ones, then the last."""

    def __init__(self, delays: tuple[float, ...]) -> None:
        self._delays = delays

    def __iter__(self) -> Iterator[float]:
        return itertools.chain(self._delays, itertools.repeat(self._delays[-1]))
