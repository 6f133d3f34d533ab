"""The reads of one store: gathered into batches, shared by all who want the same, limited.

A read that is wanted waits for company. Urgent ones (somebody waits for a new or an edited Secret)
for :data:`GATHER` seconds, or in a crowd until a batch is full, for :data:`CROWDED` at most;
refreshes until a batch is full, for :data:`PATIENCE` at most. Two readers of one reference share
one read, if it began after both of them asked: a value that was read before somebody asked for it
may be older than what they ask for. A reader that knows a version, and needs the value of another
one only, shares with its like: for anybody else the value itself is read.

A value that several readers wanted is kept for :data:`KEEP` seconds after the read has ended, for
those of them that the queue has not come to yet; one that a single reader wanted is not kept at
all.

A reader that is cancelled leaves the read to the others.
"""

import asyncio
import copy
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from syncret.clock import Clock, TimerHandle
from syncret.errors import ProviderError, ProviderRejected, ProviderTimeout, Throttled
from syncret.providers.base import (
    NOTHING_KNOWN,
    Client,
    Known,
    NotFound,
    Outcome,
    Query,
    Ref,
    Rotator,
    SecretValue,
)
from syncret.reconcile.finds import Finds
from syncret.reconcile.limits import Breaker, Rate

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that an urgent read waits for others to share its call.
GATHER: Final = 0.005

#: Seconds that a batch waits on to be filled while the queue holds more readers of the store, and
#: between two looks at whether it does.
CROWDED: Final = 0.25
LOOK: Final = 0.02

#: Seconds that a refresh waits for its batch to fill.
PATIENCE: Final = 1.0

#: Seconds that a value several readers wanted is kept, and bytes that are kept of one store.
KEEP: Final = 5.0
KEEP_BYTES: Final = 4 * 1024 * 1024

#: Times that a throttled call is made again before its readers are told.
_TRIES: Final = 3


@dataclass(slots=True, eq=False)
class _Read:
    """One reference that is to be read, is being read, or was read just now."""

    ref: Ref
    future: asyncio.Future[Outcome]
    readers: int = 0
    #: The version that all of its readers have; "": the value is wanted whatever its version.
    known: str = ""
    #: Until when it waits for company, and when its call began, by the monotonic clock.
    due: float = float("inf")
    began: float = float("inf")


@dataclass(slots=True)
class _Kept:
    """Values of ended reads, by age. ``size`` is in bytes."""

    reads: deque[tuple[float, _Read]] = field(default_factory=deque)
    size: int = 0
    timed: bool = False


class Reads:
    """Reads through one open client of a store."""

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        rate: Rate,
        breaker: Breaker,
        timeout: float,
        tripped: Callable[[], None],
        crowd: Callable[[], int] = lambda: 0,
        gather: float = GATHER,
        patience: float = PATIENCE,
    ) -> None:
        """``timeout``: seconds for one call. ``tripped`` is told when the breaker opens.

        ``crowd``: how many more readers the queue would let run, were there workers for them.
        """
        self._crowd = crowd
        self._gather = gather
        self._patience = patience
        self._client = client
        self._clock = clock
        self._rate = rate
        self._breaker = breaker
        self._timeout = timeout
        self._tripped = tripped
        self._batch = client.limits.batch
        self._turns = asyncio.Semaphore(client.limits.concurrency)
        self._finds = Finds(client, call=self._paced, clock=clock)
        #: The newest read of every reference that is wanted, under way, or kept.
        self._reads: dict[Ref, _Read] = {}
        self._waiting: dict[Ref, _Read] = {}
        self._timer: TimerHandle | None = None
        self._timer_due = float("inf")
        self._calls: set[asyncio.Task[None]] = set()
        self._kept = _Kept()

    async def fetch(
        self,
        refs: Iterable[Ref],
        *,
        asked_at: float,
        patient: bool = False,
        known: Known = NOTHING_KNOWN,
    ) -> dict[Ref, Outcome]:
        """Reads every reference; a failure of one is its outcome.

        ``asked_at``: since when they are wanted, by the monotonic clock; a read that began before
        is not good enough. ``known``: the versions that the reader has; it may be told Unchanged
        of these. Raises ProviderError when the call failed as a whole, and what the
        breaker was opened by while it is open.
        """
        self._breaker.refuse()
        self._rate.refuse(self._timeout)
        due = self._clock.monotonic() + (self._patience if patient else self._gather)
        reads = [self._want(ref, asked_at, due, known.get(ref, "")) for ref in dict.fromkeys(refs)]
        self._begin_soon()
        # Not gather(): a reader that is cancelled must not cancel what others wait for as well.
        pending = [read.future for read in reads if not read.future.done()]
        if pending:
            await asyncio.wait(pending)
        return {read.ref: _result(read) for read in reads}

    async def find(
        self, query: Query, *, asked_at: float, patient: bool = False
    ) -> tuple[str, ...]:
        """The keys of all secrets that match, in their order; one search for all who ask.

        ``asked_at`` as for :meth:`fetch`. Raises ProviderError, TooManyFound.
        """
        self._breaker.refuse()
        self._rate.refuse(self._timeout)
        wait = self._patience if patient else self._gather
        return await self._finds.find(query, asked_at=asked_at, wait=wait)

    async def rotate(self, key: str, *, token: str) -> str:
        """Has the store rotate a secret; as :meth:`Rotator.rotate`. Raises ProviderError."""
        client = self._client
        if not isinstance(client, Rotator):
            raise ProviderRejected(
                "Secrets of this kind of store cannot be rotated through Syncret: rotate where the "
                "value is made, and put the new one into the store."
            )
        self._breaker.refuse()
        self._rate.refuse(self._timeout)
        return await self._paced(lambda: client.rotate(key, token=token), lambda _: None)

    async def through(self, call: Callable[[Client], Awaitable[T]]) -> T:
        """A call of another kind, within the limits of the store. Raises ProviderError."""
        self._breaker.refuse()
        self._rate.refuse(self._timeout)
        return await self._paced(lambda: call(self._client), lambda _: None)

    async def check(self) -> None:
        """Asks the store whether it works. Raises ProviderError."""
        self._rate.refuse(self._timeout)
        async with self._turns:
            await self._rate.take()
            try:
                async with asyncio.timeout(self._timeout):
                    await self._client.check()
            except TimeoutError:
                raise self._timed_out() from None

    async def close(self) -> None:
        """Closes the client; reads under way fail."""
        await self._finds.close()
        for call in list(self._calls):
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        self._reads.clear()
        await self._client.close()

    def _want(self, ref: Ref, asked_at: float, due: float, known: str) -> _Read:
        self._drop_kept()
        read = self._reads.get(ref)
        if read is not None and read.known != known and ref in self._waiting:
            read.known = ""
        if read is None or read.began < asked_at or read.known not in ("", known):
            read = _Read(ref, asyncio.get_running_loop().create_future(), known=known)
            self._reads[ref] = self._waiting[ref] = read
        read.readers += 1
        read.due = min(read.due, due)
        return read

    def _begin_soon(self) -> None:
        """Begins full batches, and the rest when the first of it has waited for long enough."""
        while len(self._waiting) >= self._batch:
            self._begin(self._batch)
        if not self._waiting:
            return
        now = self._clock.monotonic()
        due = min(read.due for read in self._waiting.values())
        if due > now:
            self._arm(due)
        elif now < due + CROWDED and self._more_come():
            self._arm(now + LOOK)
        else:
            self._begin(len(self._waiting))

    def _more_come(self) -> bool:
        """Whether others will fill the batch, and are not all waiting for it themselves."""
        readers = sum(read.readers for read in self._waiting.values())
        return readers < self._batch and self._crowd() > 0

    def _arm(self, due: float) -> None:
        if self._timer is None or due < self._timer_due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_due = due
            self._timer = self._clock.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_due = None, float("inf")
        self._begin_soon()

    def _begin(self, count: int) -> None:
        batch = [self._waiting.pop(ref) for ref in list(self._waiting)[:count]]
        call = asyncio.create_task(self._run(batch), name="read")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _run(self, batch: list[_Read]) -> None:
        outcomes: Mapping[Ref, Outcome] = {}
        problem: ProviderError | None = None
        try:
            outcomes = await self._call(batch)
        except ProviderError as error:
            problem = error.with_traceback(None)
        finally:  # whatever happens, nobody waits for ever
            for read in batch:
                self._settle(read, outcomes.get(read.ref), problem)

    async def _call(self, batch: list[_Read]) -> Mapping[Ref, Outcome]:
        refs = [read.ref for read in batch]
        known = {read.ref: read.known for read in batch if read.known}

        def begin(now: float) -> None:
            for read in batch:
                read.began = now

        return await self._paced(lambda: self._client.fetch(refs, known=known), begin)

    async def _paced(self, call: Callable[[], Awaitable[T]], begin: Callable[[float], None]) -> T:
        """One call to the store, within its limits; the breaker learns how it went.

        ``begin`` is told of the time at which each attempt begins.
        """
        try:
            answer = await self._tried(call, begin)
        except ProviderError as error:
            if self._breaker.failed(error):
                self._tripped()
            raise
        self._breaker.reset()
        return answer

    async def _tried(self, call: Callable[[], Awaitable[T]], begin: Callable[[float], None]) -> T:
        async with self._turns:
            for attempt in range(1, _TRIES + 1):
                await self._rate.take()
                begin(self._clock.monotonic())
                try:
                    async with asyncio.timeout(self._timeout):
                        answer = await call()
                except Throttled as error:
                    self._rate.pause(error)
                    if attempt == _TRIES:
                        raise
                    self._rate.refuse(self._timeout)
                except TimeoutError:
                    raise self._timed_out() from None
                else:
                    self._rate.went_well()
                    return answer
        raise AssertionError("unreachable")

    def _timed_out(self) -> ProviderTimeout:
        return ProviderTimeout(
            f"The store did not answer within {self._timeout:g} s: see whether it can be reached."
        )

    def _settle(self, read: _Read, outcome: Outcome | None, problem: ProviderError | None) -> None:
        if outcome is None:
            outcome = _Whole(problem or ProviderError("The read was given up: it is tried again."))
        if not read.future.done():
            read.future.set_result(outcome)
        if self._reads.get(read.ref) is not read:
            return  # there is a newer one
        if read.readers > 1 and isinstance(outcome, SecretValue | NotFound):
            self._keep(read, outcome)
        else:
            del self._reads[read.ref]

    def _keep(self, read: _Read, outcome: SecretValue | NotFound) -> None:
        self._kept.reads.append((self._clock.monotonic() + KEEP, read))
        self._kept.size += _size(outcome)
        self._drop_kept()

    def _drop_kept(self) -> None:
        kept, now = self._kept, self._clock.monotonic()
        while kept.reads and (kept.reads[0][0] <= now or kept.size > KEEP_BYTES):
            _, read = kept.reads.popleft()
            kept.size -= _size(read.future.result())
            if self._reads.get(read.ref) is read:
                del self._reads[read.ref]
        if kept.reads and not kept.timed:
            kept.timed = True
            self._clock.call_at(kept.reads[0][0], self._on_kept_timer)

    def _on_kept_timer(self) -> None:
        self._kept.timed = False
        self._drop_kept()


class _Whole(ProviderError):
    """Marks an outcome that stands for the failure of the whole call."""

    def __init__(self, error: ProviderError) -> None:
        super().__init__(error.message)
        self.error = error


def _result(read: _Read) -> Outcome:
    outcome = read.future.result()
    if isinstance(outcome, _Whole):
        raise copy.copy(outcome.error)  # a copy: whoever raises one writes a traceback into it
    return copy.copy(outcome) if isinstance(outcome, ProviderError) else outcome


def _size(outcome: Outcome) -> int:
    return len(outcome.reveal()) if isinstance(outcome, SecretValue) else 0
