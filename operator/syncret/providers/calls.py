"""Blocking calls from asyncio: threads, how many at once, and what is told of each.

Some SDKs block, so their calls run in a pool of threads that all stores of a provider share. A
thread cannot be interrupted: when a deadline or a cancellation ends the wait for a call, the call
goes on until the SDK's own timeouts end it. It therefore keeps its slot until its thread is free,
so a store that hangs can hold its own few threads and never all of them.

What a call returns is kept in futures whose repr asyncio prints in debug mode, so calls return
records that show no secret, and no exceptions: a raised one would drag the frames that hold the
SDK's response along.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from syncret.providers.base import CallObserver
from syncret.providers.outcomes import outcome_word

T = TypeVar("T")

#: Threads for all stores of a provider, and how many of them one store may hold.
THREADS: Final = 64
THREADS_PER_STORE: Final = 4


def make_threads(provider: str) -> ThreadPoolExecutor:
    """The pool of a provider; it starts threads only when they are needed."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix=f"syncret-{provider}")


class Calls:
    """The calls of one store."""

    def __init__(
        self, threads: ThreadPoolExecutor, *, observe: CallObserver, limit: int = THREADS_PER_STORE
    ) -> None:
        self._threads = threads
        self._observe = observe
        self._slots = asyncio.Semaphore(limit)

    async def run(
        self,
        operation: str,
        call: Callable[[], T],
        *,
        outcome: Callable[[T], str] = outcome_word,
        unless: Callable[[], bool] = lambda: False,
    ) -> T | None:
        """The result of ``call`` in a thread; None if ``unless`` holds when its turn has come.

        ``outcome`` gives the word for metrics. A call that is abandoned is told of when it ends.
        """
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        try:
            if unless():
                self._slots.release()
                return None
            future = self._threads.submit(self._timed, loop, operation, call, outcome)
        except BaseException:
            self._slots.release()
            raise

        def free(_: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop ended before the thread did
                loop.call_soon_threadsafe(self._slots.release)

        future.add_done_callback(free)
        return await asyncio.wrap_future(future)

    def _timed(
        self,
        loop: asyncio.AbstractEventLoop,
        operation: str,
        call: Callable[[], T],
        outcome: Callable[[T], str],
    ) -> T:
        started = time.monotonic()
        word = "error"
        try:
            result = call()
            word = outcome(result)
            return result
        finally:
            told = partial(
                self._observe,
                operation=operation,
                outcome=word,
                seconds=time.monotonic() - started,
            )
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(told)
