"""The client: how reads become calls of Secret Manager, and how their failures are shared out.

There is no batch: every value is a call of its own. They run at once, on one connection, and
nothing but the limit of a store holds them back.

A reference whose version a reader knows is first looked at by GetSecretVersion, which is free, as
far as its own small quota reaches (:mod:`syncret.providers.gcp.budget`). That needs a permission
which the role for reading values does not have; a store without it says so once, and reads values.
"""

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.cloud.secretmanager_v1.types import resources

from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    SyncretError,
    Throttled,
)
from syncret.providers.base import (
    NOTHING_KNOWN,
    Found,
    Known,
    Limits,
    NotFound,
    Outcome,
    Query,
    Ref,
    SecretValue,
    Unchanged,
)
from syncret.providers.fetching import Fetching
from syncret.providers.gcp import names, search
from syncret.providers.gcp.budget import Budget
from syncret.providers.gcp.calls import Calls
from syncret.providers.gcp.crc32c import crc32c
from syncret.providers.gcp.errors import (
    ACCESS,
    GET_SECRET,
    GET_VERSION,
    LIST,
    LIST_VERSIONS,
    STORE_WIDE,
    Call,
    CredentialsRefused,
    Damaged,
    NotEnabled,
    damaged,
    none_enabled,
    not_understood,
    timed_out,
)

logger = logging.getLogger("syncret.providers.gcp")

#: Read to see whether the store works. It need not exist, and should not.
CHECK_KEY: Final = "syncret-store-check"

#: Google allows 90,000 reads of values in a minute and project, 1,500 a second; others live there
#: as well. HTTP/2 carries a hundred calls at once on one connection.
LIMITS: Final = Limits(batch=1, concurrency=64, rate=200.0)

# Of the versions of one secret; a filter may leave a page empty.
_PAGE: Final = 100
_MAX_PAGES: Final = 20

_ENABLED: Final = resources.SecretVersion.State.ENABLED


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the metadata of a version have told; ``denied``: they may not be read."""

    number: str = ""
    created: dt.datetime | None = None
    denied: bool = False


class SecretManagerClient:
    """An open store; ``fall_back``: the newest enabled version stands in for a disabled latest.

    ``tell_once`` says whether the want of the permission to look at versions is still to be
    logged; ``release`` gives back the connection.
    """

    def __init__(
        self,
        calls: Calls,
        *,
        fall_back: bool,
        budget: Budget,
        tell_once: Callable[[], bool],
        release: Callable[[], Awaitable[None]],
    ) -> None:
        self.limits = LIMITS
        self._call = calls.run
        self._place = calls.place
        self._location = calls.location
        self._timing = calls.timing
        self._fall_back = fall_back
        self._budget = budget
        self._tell_once = tell_once
        self._release = release
        self._slots = asyncio.Semaphore(LIMITS.concurrency)
        self._looks = True

    async def fetch(
        self, refs: Collection[Ref], *, known: Known = NOTHING_KNOWN
    ) -> Mapping[Ref, Outcome]:
        fetching = Fetching(CredentialsRefused)
        try:
            async with asyncio.timeout(self._timing.total), asyncio.TaskGroup() as group:
                for ref in dict.fromkeys(refs):
                    group.create_task(self._read(fetching, ref, known.get(ref, "")))
        except TimeoutError:
            fetching.end(timed_out(self._place))
        return fetching.result(refs)

    async def find(self, query: Query, *, page: str = "") -> Found:
        found: Any = None
        try:
            async with asyncio.timeout(self._timing.total):
                found = await self._list(query, page)
        except TimeoutError:
            found = timed_out(self._place)
        if isinstance(found, NotFound):
            found = ProviderRejected(
                f"{self._place} has nothing that could be listed: correct projectID or location."
            )
        if isinstance(found, SyncretError):
            raise found
        more = str(found.next_page_token)
        return Found(search.matching(query, found), more)

    async def check(self) -> None:
        problem: Any = None
        try:
            async with asyncio.timeout(self._timing.total):
                problem = await self._access(Ref(CHECK_KEY), names.LATEST)
        except TimeoutError:
            problem = timed_out(self._place)
        denied = isinstance(problem, AccessDenied) and not isinstance(problem, STORE_WIDE)
        if isinstance(problem, SyncretError) and not denied and not isinstance(problem, NotEnabled):
            raise problem

    async def close(self) -> None:
        await self._release()

    # One reference

    async def _read(self, fetching: Fetching, ref: Ref, known: str) -> None:
        async with self._slots:
            if fetching.ended():
                return
            outcome = await self._outcome(ref, known)
        if isinstance(outcome, STORE_WIDE) and not isinstance(outcome, Damaged):
            fetching.end(outcome)
        else:
            fetching.add(ref, outcome)

    async def _outcome(self, ref: Ref, known: str) -> Outcome:
        try:
            version = names.version_of(ref)
            names.secret_name(ref, project="p", location=self._location)
        except ProviderError as malformed:
            return malformed.with_traceback(None)
        if ref.metadata:
            return await self._labels(ref)
        seen = _Seen()
        if known and self._looks and self._budget.take():
            looked = await self._look(ref, version, known)
            if not isinstance(looked, _Seen):
                return looked
            seen = looked
        outcome = await self._access(ref, version, seen)
        if seen.denied and not isinstance(outcome, AccessDenied):
            self._remember_denial()
        if isinstance(outcome, NotEnabled):
            return await self._instead(ref, version, outcome)
        return outcome

    async def _look(self, ref: Ref, version: str, known: str) -> "Outcome | _Seen":
        """The outcome, if the metadata of the version tell it; otherwise what they tell."""
        found = await self._call(GET_VERSION, ref, version)
        if isinstance(found, Throttled):
            self._budget.pause()  # of its own quota; values have another
            return _Seen()
        if isinstance(found, AccessDenied) and not isinstance(found, STORE_WIDE):
            return _Seen(denied=True)
        if isinstance(found, SyncretError | NotFound):
            return found  # type: ignore[return-value]
        number = names.last(found.name)
        if found.state == _ENABLED:
            created = found.create_time.ToDatetime(dt.UTC)
            return Unchanged(known, created) if number == known else _Seen(number, created)
        if version == names.LATEST and self._fall_back and self._budget.take():
            newest = await self._newest(ref)
            if newest == known:
                return Unchanged(known)
        return _Seen()

    async def _access(self, ref: Ref, version: str, seen: "_Seen | None" = None) -> Outcome:
        for _ in range(self._timing.attempts):
            found = await self._call(ACCESS, ref, version)
            if isinstance(found, SyncretError | NotFound):
                return found  # type: ignore[return-value]
            if not found.name:
                return not_understood(self._place)
            data = bytes(found.payload.data)
            if not found.payload.HasField("data_crc32c"):
                break
            if found.payload.data_crc32c == crc32c(data):
                break
        else:
            return damaged(Call(self._place, ACCESS, ref.key))
        number = names.last(found.name)
        created = seen.created if seen is not None and seen.number == number else None
        return SecretValue(data, version=number, created=created)

    async def _instead(self, ref: Ref, version: str, problem: NotEnabled) -> Outcome:
        """What is read for a version that is not enabled."""
        if version != names.LATEST:
            # The data of a destroyed version are gone for ever.
            return NotFound(version_missing=True) if problem.destroyed else problem
        if not self._fall_back:
            return problem
        self._budget.spend()
        newest = await self._newest(ref)
        if not isinstance(newest, str):
            return newest
        if not newest:
            return none_enabled(Call(self._place, ACCESS, ref.key))
        return await self._access(ref, newest)

    async def _newest(self, ref: Ref) -> str | NotFound | ProviderError:
        """The number of the newest version that is enabled; "" if there is none.

        Versions come in the order of their age, the newest first, so it is on the first page that
        has any.
        """
        page = ""
        for _ in range(_MAX_PAGES):
            found = await self._call(
                LIST_VERSIONS,
                ref,
                filter="state:ENABLED",
                page_size=_PAGE,
                page_token=page,
            )
            if isinstance(found, SyncretError | NotFound):
                return found  # type: ignore[return-value]
            enabled = [int(names.last(one.name)) for one in found.versions if one.state == _ENABLED]
            page = found.next_page_token
            if enabled or not page:
                return str(max(enabled)) if enabled else ""
        return ""

    async def _labels(self, ref: Ref) -> Outcome:
        self._budget.spend()
        found = await self._call(GET_SECRET, ref)
        if isinstance(found, SyncretError | NotFound):
            return found  # type: ignore[return-value]
        if not found.name:
            return not_understood(self._place)
        return SecretValue(search.labels_json(found.labels))

    async def _list(self, query: Query, page: str) -> Any:
        self._budget.spend()
        return await self._call(
            LIST,
            None,
            filter=search.filters(query),
            page_size=search.PAGE,
            page_token=page,
        )

    def _remember_denial(self) -> None:
        self._looks = False
        if self._tell_once():
            logger.info(
                "%s does not allow secretmanager.versions.get, so unchanged values are read anew "
                "at each refresh: grant roles/secretmanager.viewer to look at versions for free",
                self._place,
            )
