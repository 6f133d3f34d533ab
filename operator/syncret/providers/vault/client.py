"""Reading the key/value engines of Vault.

Every secret is one call: Vault has no batches, and what tells the version of a secret costs as much
as the secret. The answers are sorted out so that one secret's trouble is that secret's outcome; a
failure that says nothing about one secret ends the fetch.

*Not found* is believed of a mount that was seen to be what the store says: an engine of version 1
that is read as version 2 has none of the secrets, in the same words.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote

from syncret.errors import AccessDenied, ProviderError, ProviderRejected
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
)
from syncret.providers.calls import THREADS_PER_STORE, Calls
from syncret.providers.fetching import Fetching
from syncret.providers.vault import kv, mounts, search
from syncret.providers.vault.answers import (
    STORE_WIDE,
    Call,
    CredentialsRefused,
    NotCaughtUp,
    TokenRefused,
    not_understood,
    outcome_word,
    problem,
    timed_out,
)
from syncret.providers.vault.config import VaultConfig
from syncret.providers.vault.keys import Place, folder_of, place_of, version_of
from syncret.providers.vault.timing import Timing
from syncret.providers.vault.tokens import Tokens
from syncret.providers.vault.wire import Wire

READ: Final = "ReadSecret"
LIST: Final = "ListSecrets"
METADATA: Final = "ReadMetadata"
MOUNT: Final = "ReadMount"
LOOKUP: Final = "LookupSelf"

#: Vault has no quota of its own. A small server answers thousands of reads a second; these keep a
#: refresh of everything from being what it notices.
LIMITS: Final = Limits(batch=1, concurrency=THREADS_PER_STORE, rate=200.0)

T = TypeVar("T")


class VaultClient:
    """An open store."""

    def __init__(
        self, config: VaultConfig, *, wire: Wire, tokens: Tokens, calls: Calls, timing: Timing
    ) -> None:
        self.limits = LIMITS
        self._config = config
        self._place = config.place
        self._wire = wire
        self._tokens = tokens
        self._calls = calls
        self._timing = timing
        #: Mounts that were seen to be what the store says.
        self._seen: set[str] = set()

    async def fetch(
        self,
        refs: Collection[Ref],
        *,
        known: Known = NOTHING_KNOWN,  # noqa: ARG002 - the version costs what the value costs
    ) -> Mapping[Ref, Outcome]:
        fetch = Fetching(fatal=CredentialsRefused)
        try:
            async with asyncio.timeout(self._timing.total), asyncio.TaskGroup() as group:
                for ref in refs:
                    group.create_task(self._read(fetch, ref))
        except TimeoutError:
            fetch.end(timed_out(self._place))
        return fetch.result(refs)

    async def find(self, query: Query, *, page: str = "") -> Found:
        found: Found | ProviderError
        try:
            async with asyncio.timeout(self._timing.total):
                found = await self._page(query, page)
        except TimeoutError:
            found = timed_out(self._place)
        if isinstance(found, Found):
            return found
        raise found

    async def check(self) -> None:
        failed: ProviderError | None
        try:
            async with asyncio.timeout(self._timing.total):
                failed = await self._checked()
        except TimeoutError:
            failed = timed_out(self._place)
        if failed is not None:
            raise failed

    async def close(self) -> None:
        await self._tokens.close()
        self._wire.close()

    # Reads

    async def _read(self, fetch: Fetching, ref: Ref) -> None:
        outcome: Outcome | None
        try:
            place = place_of(ref.key, mount=self._config.mount, version=self._config.version)
            call = self._reading(ref, place)
        except ProviderRejected as malformed:
            fetch.add(ref, malformed.with_traceback(None))
            return
        outcome = await self._asked(READ, call, unless=fetch.ended, without=fetch.end)
        if isinstance(outcome, NotFound) and place.mount not in self._seen:
            outcome = await self._believed(outcome, place.mount)
        if isinstance(outcome, STORE_WIDE) and not _of_one(outcome):
            fetch.end(outcome)
        elif outcome is not None:
            fetch.add(ref, outcome)

    def _reading(self, ref: Ref, place: Place) -> Callable[[], Outcome]:
        """The call that reads it, which blocks. Raises ProviderRejected."""
        if self._config.version == 2:
            return partial(self._read_v2, ref, place, version_of(ref.version))
        if ref.version or ref.metadata:
            what = "metadata" if ref.metadata else "versions"
            raise ProviderRejected(
                f"A key/value engine of version 1 has no {what}: leave them out, or upgrade the "
                "engine to version 2."
            )
        return partial(self._read_v1, ref, place)

    # What runs in threads. They return failures instead of raising them: see calls.py.

    def _read_v1(self, ref: Ref, place: Place) -> Outcome:
        call = Call(self._place, READ, f"{place.mount}/{place.path}", key=ref.key)
        answer = self._wire.ask(
            lambda client: client.secrets.kv.v1.read_secret(place.path, mount_point=place.mount)
        )
        if isinstance(answer, ProviderError):
            return answer
        if answer.ok:
            value = _made(answer.body, kv.value_v1)
            return value if value is not None else not_understood(self._place)
        return problem(answer, call)

    def _read_v2(self, ref: Ref, place: Place, version: int | None) -> Outcome:
        call = Call(self._place, READ, f"{place.mount}/data/{place.path}", key=ref.key)
        answer = self._wire.ask(
            lambda client: client.secrets.kv.v2.read_secret_version(
                place.path,
                version=version,
                mount_point=place.mount,
                raise_on_deleted_version=False,
            )
        )
        if isinstance(answer, ProviderError):
            return answer
        gone = NotFound(version_missing=version is not None)
        if answer.ok:
            read = partial(kv.value_v2, metadata=ref.metadata, pinned=version is not None)
            value = _made(answer.body, read)
            return value if value is not None else not_understood(self._place)
        if answer.status == 404 and kv.is_deleted(answer.body):
            return gone
        found = problem(answer, call)
        return gone if isinstance(found, NotFound) else found

    # Searches

    async def _page(self, query: Query, page: str) -> Found | ProviderError:
        try:
            start = folder_of(query.path, mount=self._config.mount, version=self._config.version)
        except ProviderRejected as malformed:
            return malformed.with_traceback(None)
        if query.tags and self._config.version == 1:
            return ProviderRejected(
                "A key/value engine of version 1 has no metadata, so nothing is found by tags: "
                "leave them out, or upgrade the engine to version 2."
            )
        todo = search.todo(page, start)
        if todo.secrets:
            return await self._tagged(query, start, todo)
        batch, left = todo.folders[: search.FOLDERS], todo.folders[search.FOLDERS :]
        listed = await self._all(
            [partial(self._list, query, start, folder) for folder in batch], LIST
        )
        if isinstance(listed, ProviderError):
            return listed
        folders = (*left, *(folder for one in listed for folder in one.folders))
        secrets = tuple(secret for one in listed for secret in one.secrets)
        if query.tags:
            return Found((), search.Todo(folders, secrets).text())
        return Found(tuple(start.lead + one for one in secrets), search.Todo(folders).text())

    async def _tagged(self, query: Query, start: Place, todo: search.Todo) -> Found | ProviderError:
        batch, left = todo.secrets[: search.SECRETS], todo.secrets[search.SECRETS :]
        read = await self._all([partial(self._tags, start, one) for one in batch], METADATA)
        if isinstance(read, ProviderError):
            return read
        names = (start.lead + one for one in batch)
        keys = tuple(
            name for name, tags in zip(names, read, strict=True) if query.matches(name, tags)
        )
        return Found(keys, search.Todo(todo.folders, left).text())

    async def _all(
        self, calls: Collection[Callable[[], T | ProviderError]], operation: str
    ) -> list[T] | ProviderError:
        """The results of all calls, or the first failure."""
        ended: list[ProviderError] = []
        tasks: list[asyncio.Task[T | ProviderError | None]] = []

        async def one(call: Callable[[], T | ProviderError]) -> T | ProviderError | None:
            found = await self._asked(operation, call, unless=lambda: bool(ended))
            if isinstance(found, ProviderError):
                ended.append(found)
            return found

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(call)) for call in calls]
        if ended:
            return ended[0]
        return [
            found
            for task in tasks
            if (found := task.result()) is not None and not isinstance(found, ProviderError)
        ]

    def _list(self, query: Query, start: Place, folder: str) -> search.Todo | ProviderError:
        infix = "metadata/" if self._config.version == 2 else ""
        path = f"{start.mount}/{infix}{folder}"
        answer = self._wire.ask(lambda client: client.adapter.list(f"/v1/{quote(path)}"))
        if isinstance(answer, ProviderError):
            return answer
        data = answer.body.get("data") if isinstance(answer.body, Mapping) else None
        if answer.ok and isinstance(data, Mapping) and isinstance(data.get("keys"), list):
            return search.names(query, start, folder, data["keys"])
        found = problem(answer, Call(self._place, LIST, path, "list"))
        return search.Todo(()) if isinstance(found, NotFound) else found

    def _tags(self, start: Place, path: str) -> Mapping[str, str] | ProviderError:
        call = Call(self._place, METADATA, f"{start.mount}/metadata/{path}", key=start.lead + path)
        answer = self._wire.ask(
            lambda client: client.secrets.kv.v2.read_secret_metadata(path, mount_point=start.mount)
        )
        if isinstance(answer, ProviderError):
            return answer
        data = answer.body.get("data") if isinstance(answer.body, Mapping) else None
        if answer.ok and isinstance(data, Mapping):
            return kv.tags_of(data)
        found = problem(answer, call)
        return {} if isinstance(found, NotFound) else found  # deleted since it was listed

    # The check

    async def _checked(self) -> ProviderError | None:
        mount = self._config.mount
        if not mount:
            found = await self._asked(LOOKUP, self._lookup)
            return found if isinstance(found, ProviderError) else None
        found = await self._asked(MOUNT, partial(self._look_at, mount))
        return found if isinstance(found, ProviderError) else None

    async def _believed(self, missing: NotFound, mount: str) -> Outcome:
        found = await self._asked(MOUNT, partial(self._look_at, mount))
        if found is None or (isinstance(found, AccessDenied) and _of_one(found)):
            return missing  # whoever was allowed to read it there knows best
        return found if isinstance(found, ProviderError) else missing

    def _look_at(self, mount: str) -> bool | ProviderError:
        """Whether the mount is the engine that the store says; True, or what is wrong."""
        path = f"sys/internal/ui/mounts/{mount}"
        infix = "data/" if self._config.version == 2 else ""
        call = Call(self._place, MOUNT, f"{mount}/{infix}*")
        answer = self._wire.ask(lambda client: client.adapter.get(f"/v1/{quote(path)}"))
        if isinstance(answer, ProviderError):
            return answer
        data = answer.body.get("data") if isinstance(answer.body, Mapping) else None
        if not answer.ok or not isinstance(data, Mapping):
            found = problem(answer, call)
            if isinstance(found, NotFound):
                return not_understood(self._place)
            return mounts.missing(self._config, call) if _of_one(found) else found
        wrong = mounts.wrong(self._config, mount, data)
        if wrong is None:
            self._seen.add(mount)
        return wrong or True

    def _lookup(self) -> bool | ProviderError:
        call = Call(self._place, LOOKUP, "auth/token/lookup-self")
        answer = self._wire.ask(lambda client: client.auth.token.lookup_self(), own=True)
        if isinstance(answer, ProviderError):
            return answer
        if answer.ok:
            data = answer.body.get("data") if isinstance(answer.body, Mapping) else None
            return True if isinstance(data, Mapping) else not_understood(self._place)
        found = problem(answer, call)
        if isinstance(found, NotFound):
            return not_understood(self._place)
        # A token without the policy "default" may not look at itself, but is one.
        return True if isinstance(found, AccessDenied) and _of_one(found) else found

    # All calls

    async def _asked(
        self,
        operation: str,
        call: Callable[[], T],
        *,
        unless: Callable[[], bool] = lambda: False,
        without: Callable[[ProviderError], None] | None = None,
    ) -> T | ProviderError | None:
        """The result of a call with a token that Vault knows; None if ``unless`` held before it.

        A token that is lost costs no reader an error: the call is made again with a new one.
        ``without`` is told what keeps us from having one, and None is returned; the reason itself
        where nobody is to be told.
        """

        def lacking(reason: ProviderError) -> ProviderError | None:
            if without is None:
                return reason
            without(reason)
            return None

        waits = iter(self._timing.caught_up)
        replaced = False
        while True:
            missing = await self._tokens.ready()
            if missing is not None:
                return lacking(missing)
            found = await self._calls.run(operation, call, outcome=outcome_word, unless=unless)
            if isinstance(found, NotCaughtUp) and (wait := next(waits, None)) is not None:
                await asyncio.sleep(wait)
                continue
            if not isinstance(found, TokenRefused):
                return found
            if replaced:
                self._tokens.settle(found)
            failed = found if replaced else await self._tokens.replace(found)
            if failed is found and not found.sure and self._tokens.plain_means_policy:
                return found.otherwise or found
            if failed is not None:
                return lacking(failed)
            replaced = True


def _of_one(error: ProviderError | NotFound) -> bool:
    """Whether a denial is that of one path, and not of the credentials."""
    return isinstance(error, AccessDenied) and not isinstance(error, CredentialsRefused)


def _made(
    body: Any, make: Callable[[Any], SecretValue | NotFound | None]
) -> SecretValue | NotFound | None:
    """What is made of an answer; None if it is nested beyond all bounds."""
    try:
        return make(body)
    except RecursionError:
        return None
