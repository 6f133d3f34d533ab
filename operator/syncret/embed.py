"""kopf, embedded: how it is set up, started and stopped.

Some of its habits shape this file (seen in kopf 1.45):

- it takes SIGTERM and SIGINT for itself, so it decides when the process stops;
- when it exits, it cancels every task younger than itself, reads under way among them: what is
  running is brought to its end before, in its cleanup activity;
- it closes its session when it exits, and after a 401 that stays one: it has a session of its own,
  and ours outlives it;
- it asks once, when it starts, what the API server serves, and never watches what is not served
  then: it is started when all of it is;
- it gives up on a request after a number of failures, and on other things at once, and then ends
  the operator: its retries are endless here, and :mod:`syncret.kube.watchguard` keeps the rest
  from it. Readiness tells what fails.
"""

import asyncio
import itertools
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import kopf

from syncret.clock import Clock
from syncret.kube.connection import Connection, open_session
from syncret.kube.watchguard import WatchGuard
from syncret.kube.watchhealth import WatchHealth
from syncret.watch import Watcher


async def run_kopf(
    *,
    watcher: Watcher,
    connection: Connection,
    watches: WatchHealth,
    clock: Clock,
    instance: str,
    stop: asyncio.Event,
    served: Awaitable[None],
    drain: Callable[[], Awaitable[None]],
) -> None:
    """Runs kopf until a signal or ``stop``; ``drain`` is awaited when the watches have ended.

    It is started when ``served`` has ended.
    """
    if not await _ended_before(stop, served):
        return
    registry = kopf.OperatorRegistry()
    watcher.register(registry)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        guard = WatchGuard(watched=watches.watched, clock=clock)
        return kopf.AiohttpSession(
            server=connection.server,
            aiohttp_session=open_session(connection, middlewares=[guard, watches]),
            default_namespace=connection.default_namespace,
        )

    @kopf.on.cleanup(registry=registry)
    async def cleanup(**_: Any) -> None:
        await drain()
        stop.set()  # kopf waits five seconds for its own task that waits for this

    await kopf.operator(
        registry=registry,
        settings=kopf_settings(),
        clusterwide=True,
        stop_flag=stop,
        # Not given, kopf looks the user's name up and dies where the uid has none, as in the image.
        identity=instance,  # type: ignore[arg-type]  # a NewType of str that kopf does not export
    )


async def _ended_before(stop: asyncio.Event, awaited: Awaitable[None]) -> bool:
    """Whether it ended; False if a signal or ``stop`` came first. Raises what it raises."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # kopf takes them over
        loop.add_signal_handler(number, stop.set)
    task, stopped = asyncio.ensure_future(awaited), asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.cancel():
        return False
    task.result()
    return True


def kopf_settings() -> kopf.OperatorSettings:
    """What kopf is told: to watch what we name, to write nothing, to end for nothing."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True  # our CRDs are known: no permission on CRDs is needed
    settings.peering.standalone = True
    settings.posting.enabled = False  # log lines must not become Events
    settings.watching.chunk_size = 500
    settings.queueing.idle_timeout = 0.05  # a task per object, only while its events flow
    settings.queueing.worker_limit = None  # kopf's limit holds its slot for the idle timeout
    settings.process.ultimate_exiting_timeout = None  # else a thread is shot ten minutes later
    settings.networking.error_backoffs = Endless((1, 1, 2, 3, 5, 8, 13, 21))
    # kopf compares every object with its former state, for handlers that we do not have.
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    return settings


class _NoDiffs(kopf.DiffBaseStorage):
    """Remembers no former state of objects."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        pass


class _NoProgress(kopf.ProgressStorage):
    """Remembers no progress of handlers."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: Any) -> Any:
        return essence


class Endless:
    """An endless iterable of delays, anew for every request: the given ones, then the last."""

    def __init__(self, delays: tuple[float, ...]) -> None:
        self._delays = delays

    def __iter__(self) -> Iterator[float]:
        return itertools.chain(self._delays, itertools.repeat(self._delays[-1]))
