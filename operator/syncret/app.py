"""Starts the parts of the operator in order, and stops them in the other.

What has to outlive kopf is made before it starts, and in its cleanup the workers end what they
have begun (:mod:`syncret.embed` says why). Then the Leases are given back, so that another replica
is at work at once.
"""

import asyncio
import gc
import logging
from typing import Final

from syncret.build import Operator, built
from syncret.clock import sleep
from syncret.embed import run_kopf
from syncret.errors import KubeNotFound, SyncretError
from syncret.settings import Settings
from syncret.sources.running import Sources
from syncret.watch import Watcher

logger = logging.getLogger(__name__)

#: Seconds without an event after which the caches have what the first lists had, and the most that
#: is waited for such a silence.
_SILENCE: Final = 0.2
_SILENCE_MOST: Final = 10.0

#: Seconds between two looks at whether the CRDs are there.
_SERVED_POLL: Final = 1.0


async def run(settings: Settings) -> None:
    """Runs the operator until SIGTERM or SIGINT. Raises SetupError if it cannot go on."""
    async with built(settings) as operator:
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


async def _all_served(operator: Operator) -> None:
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


async def _lead_when_listed(operator: Operator) -> None:
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


async def _run_when_listed(operator: Operator, sources: Sources) -> None:
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
