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
from concurrent.futures import ThreadPoolExecutor
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
        answer: asyncio.Future[T] = loop.create_future()
        try:
            if unless():
                self._slots.release()
                return None
            work = self._threads.submit(self._timed, loop, answer, operation, call, outcome)
        except BaseException:
            self._slots.release()
            raise
        try:
            return await answer
        except asyncio.CancelledError:
            if work.cancel():  # it had not begun
                self._slots.release()
            raise

    def _timed(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: "asyncio.Future[T]",
        operation: str,
        call: Callable[[], T],
        outcome: Callable[[T], str],
    ) -> None:
        started = time.monotonic()
        word = "error"
        give: Callable[[], None]
        try:
            result = call()
            word = outcome(result)
            give = partial(answer.set_result, result)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            give = partial(answer.set_exception, error)
        seconds = time.monotonic() - started

        # One call into the loop: each wakes it. A closure, because asyncio prints arguments.
        def ended() -> None:
            self._slots.release()
            self._observe(operation=operation, outcome=word, seconds=seconds)
            if not answer.done():
                give()

        with suppress(RuntimeError):  # the loop ended before the thread did
            loop.call_soon_threadsafe(ended)
