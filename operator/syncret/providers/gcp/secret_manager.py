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
from functools import partial
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
from syncret.providers.gcp.facts import Permission, Remembered

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

#: What is missing without a permission, for the log.
_WITHOUT: Final = {
    GET_VERSION: (
        "%s does not allow secretmanager.versions.get, so unchanged values are read anew at each "
        "refresh, and when a version was made is not known: grant roles/secretmanager.viewer to "
        "look at versions for free"
    ),
    GET_SECRET: (
        "%s does not allow secretmanager.secrets.get, so when a secret expires and its labels are "
        "not known: grant roles/secretmanager.viewer"
    ),
}


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the metadata of a version have told; ``denied``: they may not be read."""

    number: str = ""
    created: dt.datetime | None = None
    denied: bool = False


class SecretManagerClient:
    """An open store; ``fall_back``: the newest enabled version stands in for a disabled latest.

    ``tell_once`` says whether the want of the permission for an operation is still to be logged;
    ``release`` gives back the connection. ``now``: seconds of a monotonic clock.
    """

    def __init__(
        self,
        calls: Calls,
        *,
        fall_back: bool,
        budget: Budget,
        tell_once: Callable[[str], bool],
        release: Callable[[], Awaitable[None]],
        now: Callable[[], float],
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
        self._facts = Remembered(now)
        self._may = {
            operation: Permission(now, partial(self._tell, operation)) for operation in _WITHOUT
        }

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
        if known and self._affords(GET_VERSION):
            looked = await self._look(ref, version, known)
            if not isinstance(looked, _Seen):
                return looked
            seen = looked
        outcome = await self._access(ref, version, seen)
        if seen.denied and not isinstance(outcome, AccessDenied):
            self._may[GET_VERSION].denied()
        if isinstance(outcome, NotEnabled):
            outcome = await self._instead(ref, version, outcome)
        if isinstance(outcome, SecretValue):
            await self._describe(ref, outcome, known)
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
        if found.state == _ENABLED:
            seen = _seen(found)
        elif version == names.LATEST and self._fall_back and self._budget.take():
            newest = await self._newest(ref)
            seen = newest if isinstance(newest, _Seen) else _Seen()
        else:
            return _Seen()
        return await self._unchanged(ref, seen) if seen.number == known else seen

    async def _unchanged(self, ref: Ref, seen: "_Seen") -> Unchanged:
        if self._facts.due(names.secret(ref), unchanged=True) and self._affords(GET_SECRET):
            await self._in_time(self._ask_facts(ref))
        facts = self._facts.get(names.secret(ref))
        if facts is None:
            return Unchanged(seen.number, seen.created)
        return Unchanged(seen.number, seen.created, facts.expires, facts.labels)

    # What a value comes without

    async def _describe(self, ref: Ref, value: SecretValue, known: str) -> None:
        """Adds what the metadata tell, as far as they may be read, and the budget reaches."""
        wanted, same = [], value.version == known
        if value.created is None and not same and self._affords(GET_VERSION):
            wanted.append(self._ask_time(ref, value))
        if self._facts.due(names.secret(ref), unchanged=same) and self._affords(GET_SECRET):
            wanted.append(self._ask_facts(ref))
        if wanted:
            await self._in_time(*wanted)
        facts = self._facts.get(names.secret(ref))
        if facts is not None:
            value.expires, value.tags = facts.expires, facts.labels

    async def _in_time(self, *asked: Awaitable[None]) -> None:
        """Waits for what a value can do without, but not for as long as for the value."""
        try:
            async with asyncio.timeout(self._timing.call / 4):
                await asyncio.gather(*asked)
        except TimeoutError:
            self._budget.pause()

    async def _ask_time(self, ref: Ref, value: SecretValue) -> None:
        found = await self._aside(GET_VERSION, ref, value.version)
        if found is not None:
            value.created = _seen(found).created

    async def _ask_facts(self, ref: Ref) -> None:
        found = await self._aside(GET_SECRET, ref)
        if found is not None and found.name:
            self._facts.put(names.secret(ref), found)

    async def _aside(self, operation: str, ref: Ref, version: str = "") -> Any:
        """The answer of a call that nothing depends on; None if there is none."""
        found = await self._call(operation, ref, version)
        if isinstance(found, AccessDenied) and not isinstance(found, STORE_WIDE):
            self._may[operation].denied()  # the value may be read
        elif isinstance(found, STORE_WIDE):
            self._budget.pause()
        return None if isinstance(found, SyncretError | NotFound) else found

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
        if not isinstance(newest, _Seen):
            return newest
        if not newest.number:
            return none_enabled(Call(self._place, ACCESS, ref.key))
        return await self._access(ref, newest.number, newest)

    async def _newest(self, ref: Ref) -> "_Seen | NotFound | ProviderError":
        """The newest version that is enabled; without a number if there is none.

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
            enabled = [_seen(one) for one in found.versions if one.state == _ENABLED]
            page = found.next_page_token
            if enabled or not page:
                return max(enabled, key=lambda one: int(one.number), default=_Seen())
        return _Seen()

    async def _labels(self, ref: Ref) -> Outcome:
        self._budget.spend()
        found = await self._call(GET_SECRET, ref)
        if isinstance(found, SyncretError | NotFound):
            return found  # type: ignore[return-value]
        if not found.name:
            return not_understood(self._place)
        facts = self._facts.put(names.secret(ref), found)
        data = search.labels_json(facts.labels)
        return SecretValue(data, expires=facts.expires, tags=facts.labels)

    async def _list(self, query: Query, page: str) -> Any:
        self._budget.spend()
        return await self._call(
            LIST,
            None,
            filter=search.filters(query),
            page_size=search.PAGE,
            page_token=page,
        )

    def _affords(self, operation: str) -> bool:
        """Whether a call is made that could be done without; it is counted then."""
        return self._may[operation].worth_a_try and self._budget.take()

    def _tell(self, operation: str) -> None:
        if self._tell_once(operation):
            logger.info(_WITHOUT[operation], self._place)


def _seen(version: Any) -> _Seen:
    """What the metadata of a version tell."""
    made = version.create_time.ToDatetime(dt.UTC) if version.HasField("create_time") else None
    return _Seen(names.last(version.name), made)
