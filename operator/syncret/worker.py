"""The workers: they take keys from the queue and reconcile them, a bounded number at a time.

A reconcile tells by its :class:`Result` when it wants to run again. It reports the failures it
knows in the status of its object; what escapes it is a defect of ours, which is logged by its type
(a foreign text might hold a value) and retried with a growing delay, so that one bad object
neither stops the others nor spins.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from syncret.queue import Priority, Queue, QueueClosed

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Result:
    """When to run again: seconds from now, or None for "when something changes"."""

    requeue_after: float | None = None
    priority: Priority = Priority.PERIODIC


@dataclass(frozen=True, slots=True)
class Backoff:
    """Growing delays between attempts: ``base`` seconds, doubled each time, at most ``cap``.

    Each is shortened by up to a fifth at random, so that objects that failed together do not
    come back together.
    """

    base: float
    cap: float
    random: Random

    def delay(self, failures: int, *, at_least: float | None = None) -> float:
        """Seconds to wait after that many failures in a row (1: the first)."""
        grown = min(self.cap, self.base * 2.0 ** min(failures - 1, 30))
        jittered = grown * self.random.uniform(0.8, 1.0)
        # A wait that the other side asked for is lengthened instead: never earlier than asked.
        return max(jittered, at_least * self.random.uniform(1.0, 1.2)) if at_least else jittered


class Workers(Generic[K]):
    """A pool of workers on one queue."""

    def __init__(
        self,
        queue: Queue[K],
        reconcile: Callable[[K], Awaitable[Result]],
        *,
        count: int,
        backoff: Backoff,
    ) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._count = count
        self._backoff = backoff
        self._failures: dict[K, int] = {}
        self._started = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def prepare(self) -> None:
        """Creates the tasks; none takes a key before :meth:`start`.

        Apart from start because kopf, when it exits, cancels every task younger than itself:
        the workers have to be older in order to finish what they have begun.
        """
        self._tasks = [
            asyncio.create_task(self._work(), name=f"worker-{number}")
            for number in range(self._count)
        ]

    def start(self) -> None:
        """Lets the workers take keys."""
        self._started.set()

    @property
    def started(self) -> bool:
        return self._started.is_set()

    def problems(self) -> list[str]:
        """A sentence for each worker that ended although the queue is open."""
        return [
            f"{task.get_name()} has ended; the process has to be restarted."
            for task in self._tasks
            if task.done() and not self._queue.closed
        ]

    async def drain(self, grace: float) -> bool:
        """Closes the queue and waits up to ``grace`` seconds for what runs; True if all ended.

        What still runs then is cancelled. Every write is one conditional request, so a cancelled
        reconcile leaves nothing half-written: the next start finds it done or not done.
        """
        self._queue.close()
        self._started.set()
        if not self._tasks:
            return True
        _, pending = await asyncio.wait(self._tasks, timeout=grace)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        return not pending

    async def _work(self) -> None:
        await self._started.wait()
        while True:
            try:
                key = await self._queue.take()
            except QueueClosed:
                return
            try:
                result = await self._run(key)
            finally:
                self._queue.done(key)
            if result.requeue_after is not None:
                self._queue.add(key, priority=result.priority, delay=result.requeue_after)
            # A round without a call never waits, and ten thousand would let nothing else run.
            await asyncio.sleep(0)

    async def _run(self, key: K) -> Result:
        try:
            result = await self._reconcile(key)
        except Exception as error:
            self._failures[key] = failures = self._failures.get(key, 0) + 1
            delay = self._backoff.delay(failures)
            logger.exception(
                "A reconcile ended in an unexpected error; it is retried in %.0f s",
                delay,
                extra={"key": str(key), "error": type(error).__name__},
            )
            return Result(requeue_after=delay)
        self._failures.pop(key, None)
        return result
