"""What the clients of all services do alike: the identity, the prefix, and the deadline.

A *prefix* is part of a store: it stands before every key that is read, and what a search finds is
under it and named without it. So it is a border as well, and an ARN, which no prefix can stand
before, is refused in such a store.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from syncret.errors import AccessDenied, ProviderError, ProviderTimeout
from syncret.providers.aws import arns
from syncret.providers.aws.errors import CredentialsRefused, not_understood, timed_out
from syncret.providers.aws.identity import Identity
from syncret.providers.aws.services import Place
from syncret.providers.base import NOTHING_KNOWN, Found, Known, Limits, Outcome, Query, Ref
from syncret.providers.calls import Calls
from syncret.providers.fetching import Fetching

T = TypeVar("T")


class AwsClient(ABC):
    """An open store. What one service does is in the methods without a body."""

    limits: Limits

    def __init__(
        self,
        boto: Any,
        *,
        place: Place,
        prefix: str,
        identity: Identity,
        calls: Calls,
        timeout: float,
    ) -> None:
        """``boto``: the SDK's client. ``timeout``: seconds for a whole fetch, page or check."""
        self._boto = boto
        self._place = place
        self._prefix = prefix
        self._identity = identity
        self._calls = calls
        self._timeout = timeout

    async def fetch(
        self, refs: Collection[Ref], *, known: Known = NOTHING_KNOWN
    ) -> Mapping[Ref, Outcome]:
        fetch = Fetching(fatal=CredentialsRefused)
        prefix = self._prefix
        asked = {ref._replace(key=prefix + ref.key) if prefix else ref: ref for ref in refs}
        wanted: list[Ref] = []
        for full, ref in asked.items():
            if problem := arns.refused(ref.key, self._place, prefix):
                fetch.add(full, problem)
            else:
                wanted.append(full)
        versions = {full: known[ref] for full, ref in asked.items() if ref in known}
        await self._fetch(fetch, wanted, versions)
        outcomes = fetch.result(asked)
        return {ref: outcomes[full] for full, ref in asked.items()} if prefix else outcomes

    async def _fetch(self, fetch: Fetching, refs: Collection[Ref], known: Known) -> None:
        if not refs:
            return
        problem = await self._within(self._read(fetch, refs, known))
        if isinstance(problem, ProviderTimeout):
            fetch.end(problem)

    async def find(self, query: Query, *, page: str = "") -> Found:
        found = await self._within(self._search(query, page))
        if isinstance(found, Found):
            return found
        raise found if isinstance(found, ProviderError) else not_understood(self._place)

    async def check(self) -> None:
        problem = await self._within(self._try())
        denied = isinstance(problem, AccessDenied) and not isinstance(problem, CredentialsRefused)
        if isinstance(problem, ProviderError) and not denied:
            raise problem

    async def close(self) -> None:
        await self._identity.close()
        self._boto.close()

    async def _within(self, work: Coroutine[Any, Any, T]) -> T | ProviderTimeout:
        """What the work comes to within the deadline, with an identity. Raises ProviderError."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._identity.ensure()
                return await work
        except TimeoutError:
            return timed_out(self._place)
        finally:
            work.close()  # of work that was not begun

    def _behind_prefix(self, key: str) -> str:
        """The whole name of a secret. Raises ProviderRejected for an ARN that is not read here."""
        if problem := arns.refused(key, self._place, self._prefix):
            raise problem
        return self._prefix + key

    def _under_prefix(self, query: Query) -> Query:
        return replace(query, path=self._prefix + query.path)

    @abstractmethod
    async def _read(self, fetch: Fetching, refs: Collection[Ref], known: Known) -> None:
        """Adds the outcome of every reference, or ends the fetch. The keys have their prefix."""

    @abstractmethod
    async def _search(self, query: Query, page: str) -> Found | Outcome | None:
        """One page of a search."""

    @abstractmethod
    async def _try(self) -> Outcome | None:
        """The cheapest call that a service answers only to an identity that it accepts."""
