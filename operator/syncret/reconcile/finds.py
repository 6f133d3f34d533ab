"""The searches of one store: shared by all who look for the same, page by page, bounded.

As with reads, two who look for the same share one search if it began after both of them asked.
What was found, names only, is kept for :data:`KEEP` seconds, for those whom the queue comes to a
little later: objects that read the same are due at the same time.

A page is one call under the limits of the store. Somebody who is cancelled leaves the search to
the others.
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from syncret.clock import Clock, sleep
from syncret.constants import MAX_FOUND
from syncret.errors import ProviderError, SyncretError, TooManyFound
from syncret.providers.base import Found, Query

T = TypeVar("T")

#: Seconds that the result of a search is kept, and results that are kept of one store.
KEEP: Final = 5.0
KEEP_MOST: Final = 64

#: Pages that a search follows: what is looked for in more is to be looked for more narrowly.
MAX_PAGES: Final = 100


class Searcher(Protocol):
    """What is needed of an open store."""

    async def find(self, query: Query, *, page: str = "") -> Found: ...


class PacedCall(Protocol):
    """Makes one call to the store within its limits; ``begin`` is told when it begins."""

    def __call__(
        self, call: Callable[[], Awaitable[Found]], begin: Callable[[float], None]
    ) -> Awaitable[Found]: ...


@dataclass(slots=True, eq=False)
class _Search:
    """A search that waits, is under way, or has ended; ``began`` by the monotonic clock."""

    task: asyncio.Task[tuple[str, ...]]
    began: float = float("inf")
    ended: float = float("inf")


class Finds:
    """Searches through one open client of a store."""

    def __init__(self, client: Searcher, *, call: PacedCall, clock: Clock) -> None:
        self._client = client
        self._call = call
        self._clock = clock
        #: The newest search for each query, the oldest first.
        self._searches: dict[Query, _Search] = {}
        self._running: set[asyncio.Task[tuple[str, ...]]] = set()

    async def find(self, query: Query, *, asked_at: float, wait: float) -> tuple[str, ...]:
        """The keys found. ``wait``: seconds to wait for others who look for the same.

        Raises ProviderError or TooManyFound.
        """
        self._drop_old()
        search = self._searches.get(query)
        if search is None or search.began < asked_at or _failed(search):
            search = self._begin(query, wait)
        try:
            # One who is cancelled must not take the search from the others.
            return await asyncio.shield(search.task)
        except SyncretError as error:
            raise copy.copy(error) from None  # a copy: whoever raises one writes a traceback in it
        except asyncio.CancelledError:
            if search.task.cancelled():
                raise ProviderError("The search was given up: it is tried again.") from None
            raise

    async def close(self) -> None:
        """Ends what is under way."""
        self._searches.clear()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _begin(self, query: Query, wait: float) -> _Search:
        self._searches.pop(query, None)
        task = asyncio.create_task(self._run(query, wait), name="find")
        self._running.add(task)
        task.add_done_callback(self._ended)
        search = self._searches[query] = _Search(task)
        return search

    async def _run(self, query: Query, wait: float) -> tuple[str, ...]:
        search = self._searches.get(query)
        if wait > 0:
            await sleep(self._clock, wait)
        keys: dict[str, None] = {}
        page = ""
        for _ in range(MAX_PAGES):
            found = await self._call(
                partial(self._client.find, query, page=page), partial(_begun, search)
            )
            keys |= dict.fromkeys(found.keys)
            if len(keys) > MAX_FOUND:
                break
            page = found.more
            if not page:
                if search is not None:
                    search.ended = self._clock.monotonic()
                return tuple(sorted(keys))
        raise TooManyFound(
            f"A find goes through more than the store lists in {MAX_PAGES} pages, or finds more "
            f"than {MAX_FOUND} secrets: narrow it by path, name or tags."
        )

    def _ended(self, task: asyncio.Task[tuple[str, ...]]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # a failure that nobody waits for any more is no defect to tell of

    def _drop_old(self) -> None:
        oldest = self._clock.monotonic() - KEEP
        for query, search in list(self._searches.items()):
            over = len(self._searches) > KEEP_MOST and search.task.done()
            if over or _failed(search) or search.ended <= oldest:
                del self._searches[query]


def _begun(search: _Search | None, now: float) -> None:
    """The first page counts: what it shows is not newer than that."""
    if search is not None:
        search.began = min(search.began, now)


def _failed(search: _Search) -> bool:
    task = search.task
    return task.done() and (task.cancelled() or task.exception() is not None)
