"""Taking messages from one queue: when, how often, and what becomes of each.

A message is acknowledged when its hints have been followed (:mod:`syncret.hints`), or after
:data:`~syncret.sources.dispatch.HOLD` seconds; until then the queue keeps it, and gives it to
somebody else if this process ends. Messages of no concern are acknowledged at once. One that
cannot be read is left for the queue's dead-letter queue, and is acknowledged when it has come
:data:`GIVE_UP` times all the same: without such a queue it would come for ever.

A queue that fails is tried again with growing waits. That is told once, and nothing else depends
on it: refreshes go on by the clock.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol

from syncret.clock import Clock, sleep
from syncret.errors import SyncretError
from syncret.sources.dispatch import Dispatcher, EventMetrics, Given
from syncret.sources.events import Malformed

logger = logging.getLogger(__name__)

#: A message that cannot be read is dropped when it comes for this time.
GIVE_UP: Final = 5

#: Messages that cannot be read whose coming is counted here, where the queue does not count.
_COUNTED: Final = 10_000

#: Groups of messages that are not acknowledged yet.
UNSETTLED: Final = 64

#: Seconds between two looks at whether messages are taken here.
IDLE: Final = 1.0

#: Seconds of the first wait after a failure, and of the longest.
RETRY_BASE: Final = 1.0
RETRY_CAP: Final = 60.0


@dataclass(frozen=True, slots=True)
class Message:
    """``deliveries``: how often it has come, this time included; ``handle``: the queue's own.

    Of a queue that does not count, ``deliveries`` is 0, and ``id`` is the same each time.
    """

    body: bytes | str
    handle: Any = field(default=None, repr=False)
    attributes: dict[str, str] | None = None
    deliveries: int = 1
    id: str = ""


class MessageQueue(Protocol):
    """A queue of messages. Its failures are SyncretErrors that say what to do."""

    async def receive(self) -> Sequence[Message]:
        """Some messages; none after having waited for a while."""
        ...

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """They are done with, and shall not come again."""
        ...

    async def close(self) -> None: ...


class PullMetrics(EventMetrics, Protocol):
    """What is counted here."""

    def event_source_up(self, source: str, up: bool | None) -> None: ...


class _Defect(SyncretError):
    """Something that nobody thought of."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"It failed by a defect ({kind}): see the log, and tell the developers.")


class Puller:
    """Takes the messages of one queue for as long as ``active`` says so."""

    def __init__(
        self,
        name: str,
        queue: MessageQueue,
        *,
        dispatcher: Dispatcher,
        metrics: PullMetrics,
        clock: Clock,
        active: Callable[[], bool],
        random: Random,
    ) -> None:
        self._name = name
        self._queue = queue
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._clock = clock
        self._active = active
        self._random = random
        self._room = asyncio.Semaphore(UNSETTLED)
        self._settling: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._malformed: OrderedDict[str, int] = OrderedDict()

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        try:
            while True:
                if not self._active():
                    self._metrics.event_source_up(self._name, None)
                    await sleep(self._clock, IDLE)
                    continue
                try:
                    messages = await self._queue.receive()
                    self._works()
                    if messages:
                        await self._take(messages)
                except SyncretError as error:
                    await self._failed(error)
                except Exception as error:
                    # A defect here costs the events, and must not cost the refreshes.
                    logger.exception("A source of events failed", extra={"source": self._name})
                    await self._failed(_Defect(type(error).__name__))
        finally:
            for task in self._settling:
                task.cancel()
            await asyncio.gather(*self._settling, return_exceptions=True)
            await self._queue.close()

    async def _take(self, messages: Sequence[Message]) -> None:
        done: list[Message] = []
        given: list[tuple[Message, Given]] = []
        for message in messages:
            try:
                found = self._dispatcher.take(self._name, message.body, message.attributes)
            except Malformed:
                if self._deliveries(message) >= GIVE_UP:
                    done.append(message)
                continue
            if found.matched:
                given.append((message, found))
            else:
                done.append(message)
        # Bounded: what is not acknowledged yet is kept here, and by the queue.
        await self._room.acquire()
        task = asyncio.create_task(self._settle(done, given), name=f"events {self._name}")
        self._settling.add(task)
        task.add_done_callback(self._settled)

    def _deliveries(self, message: Message) -> int:
        """How often a message that cannot be read has come, as far as is known."""
        if message.deliveries or not message.id:
            return message.deliveries
        count = self._malformed.pop(message.id, 0) + 1
        if count < GIVE_UP:
            self._malformed[message.id] = count
        if len(self._malformed) > _COUNTED:
            self._malformed.popitem(last=False)
        return count

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._settling.discard(task)
        self._room.release()

    async def _settle(self, done: list[Message], given: Sequence[tuple[Message, Given]]) -> None:
        results = await asyncio.gather(
            *(self._dispatcher.settle(found) for _, found in given), return_exceptions=True
        )
        for (message, _), result in zip(given, results, strict=True):
            if not isinstance(result, BaseException):
                done.append(message)
            elif not isinstance(result, SyncretError):
                raise result
        if not done:
            return
        try:
            await self._queue.acknowledge(done)
        except SyncretError as error:
            # They come again, and cost a read.
            logger.warning(
                "Messages could not be acknowledged: %s",
                error.message,
                extra={"source": self._name, "reason": error.reason},
            )

    def _works(self) -> None:
        if self._failures:
            logger.info("The source of events works again", extra={"source": self._name})
        self._failures = 0
        self._metrics.event_source_up(self._name, True)

    async def _failed(self, error: SyncretError) -> None:
        self._metrics.event_source_up(self._name, False)
        self._failures += 1
        if self._failures == 1:
            logger.warning(
                "No events are received; refreshes go on by the clock, and it is tried again: %s",
                error.message,
                extra={"source": self._name, "reason": error.reason},
            )
        wait = min(RETRY_CAP, RETRY_BASE * 2 ** min(self._failures - 1, 10))
        wait = max(wait * self._random.uniform(0.75, 1.25), error.retry_after or 0.0)
        await sleep(self._clock, min(wait, 10 * RETRY_CAP))
