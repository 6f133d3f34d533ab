"""Which sources of events there are, and when they run.

Queues are read by one replica: the one that holds shard 0. A queue gives each message once, so
several readers would only divide what each of them has to pass on. Hooks are listened for by every
replica, because a Service sends a request to any of them. What concerns namespaces of another
replica, that replica is told of (:mod:`syncret.sources.dispatch`).
"""

import asyncio
from collections.abc import Callable
from random import Random

from syncret.clock import Clock
from syncret.sources.config import (
    EventSources,
    Hook,
    PubSub,
    SourceConfig,
    Sqs,
    StorageQueue,
    VaultEvents,
)
from syncret.sources.dispatch import Dispatcher
from syncret.sources.hooks import HookServer
from syncret.sources.pulling import MessageQueue, Puller, PullMetrics


class Sources:
    """All sources of the process."""

    def __init__(
        self,
        config: EventSources,
        *,
        dispatcher: Dispatcher,
        metrics: PullMetrics,
        clock: Clock,
        reads_queues: Callable[[], bool],
        random: Random,
    ) -> None:
        self._pullers = [
            Puller(
                name,
                open_queue(one),
                dispatcher=dispatcher,
                metrics=metrics,
                clock=clock,
                active=reads_queues,
                random=random,
            )
            for name, one in config.sources
            if not isinstance(one, Hook)
        ]
        hooks = {name: one for name, one in config.sources if isinstance(one, Hook)}
        self._server = (
            HookServer(
                config.hook_address, hooks, dispatcher=dispatcher, metrics=metrics, clock=clock
            )
            if hooks
            else None
        )

    async def run(self) -> None:
        """Goes on until it is cancelled. Raises SetupError if hooks cannot be listened for."""
        if self._server is not None:
            await self._server.start()
        try:
            async with asyncio.TaskGroup() as group:
                for puller in self._pullers:
                    group.create_task(puller.run())
                group.create_task(_forever())
        finally:
            if self._server is not None:
                await self._server.stop()


def open_queue(config: SourceConfig) -> MessageQueue:
    """The queue of a source; its SDK is loaded when it is first used."""
    match config:
        case Sqs():
            from syncret.sources.sqs import SqsQueue

            return SqsQueue(config)
        case PubSub():
            from syncret.sources.pubsub import PubSubQueue

            return PubSubQueue(config)
        case StorageQueue():
            from syncret.sources.storagequeue import AzureQueue

            return AzureQueue(config)
        case VaultEvents():
            from syncret.sources.vaultevents import VaultStream

            return VaultStream(config)
        case _:
            raise ValueError("a hook is no queue")


async def _forever() -> None:
    await asyncio.Event().wait()
