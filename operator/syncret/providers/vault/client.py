"""Reading the key/value engines of Vault.

Every secret is one call: Vault has no batches, and what tells the version of a secret costs as much
as the secret. The answers are sorted out so that one secret's trouble is that secret's outcome; a
failure that says nothing about one secret ends the fetch.

*Not found* is believed of a mount that was seen to be what the store says: an engine of version 1
that is read as version 2 has none of the secrets, in the same words.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final

from syncret.errors import ProviderError, ProviderRejected
from syncret.providers.base import (
    NOTHING_KNOWN,
    Found,
    Known,
    NotFound,
    Outcome,
    Query,
    Ref,
    SecretValue,
)
from syncret.providers.fetching import Fetching
from syncret.providers.vault import kv, search
from syncret.providers.vault.answers import (
    Call,
    not_understood,
    problem,
)
from syncret.providers.vault.asking import LOOKUP, Asking, data_of, of_one
from syncret.providers.vault.keys import Place, folder_of, place_of, version_of
from syncret.providers.vault.listing import LIMITS, add, fetch_all, next_folders
from syncret.providers.vault.mounts import MOUNT, look_at

READ: Final = "ReadSecret"
LIST: Final = "ListSecrets"
METADATA: Final = "ReadMetadata"


class VaultClient:
    """An open store."""

    def __init__(self, asking: Asking) -> None:
        self.limits = LIMITS
        self._asking = asking
        self._config = asking.config
        self._place = asking.place
        self._wire = asking.wire
        #: Mounts that were seen to be what the store says.
        self._seen: set[str] = set()

    async def fetch(
        self,
        refs: Collection[Ref],
        *,
        known: Known = NOTHING_KNOWN,  # noqa: ARG002 - the version costs what the value costs
    ) -> Mapping[Ref, Outcome]:
        return await fetch_all(self._asking, refs, self._read)

    async def find(self, query: Query, *, page: str = "") -> Found:
        return await self._asking.within(self._page(query, page))

    async def check(self) -> None:
        await self._asking.within(self._checked())

    async def rotate(self, key: str, *, token: str) -> str:  # noqa: ARG002 - there is nothing
        raise ProviderRejected(
            f"{self._place} has nothing to rotate in a key/value engine: write the new value "
            "there. What Vault rotates are static roles: see spec.provider.vault.engine."
        )

    async def close(self) -> None:
        await self._asking.close()

    # Reads

    async def _read(self, fetch: Fetching, ref: Ref) -> None:
        outcome: Outcome | None
        try:
            place = place_of(ref.key, mount=self._config.mount, version=self._config.version)
            call = self._reading(ref, place)
        except ProviderRejected as malformed:
            fetch.add(ref, malformed.with_traceback(None))
            return
        outcome = await self._asking.asked(READ, call, unless=fetch.ended, without=fetch.end)
        if isinstance(outcome, NotFound) and place.mount not in self._seen:
            outcome = await self._believed(outcome, place.mount)
        add(fetch, ref, outcome)

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
        infix = "metadata/" if self._config.version == 2 else ""
        found = await next_folders(
            self._asking,
            query,
            start,
            todo,
            operation=LIST,
            path=lambda folder: f"{start.mount}/{infix}{folder}",
        )
        if isinstance(found, ProviderError):
            return found
        if query.tags:
            return Found((), found.text())
        names = tuple(start.lead + one for one in found.secrets)
        return Found(names, search.Todo(found.folders).text())

    async def _tagged(self, query: Query, start: Place, todo: search.Todo) -> Found | ProviderError:
        batch, left = todo.secrets[: search.SECRETS], todo.secrets[search.SECRETS :]
        read = await self._asking.all([partial(self._tags, start, one) for one in batch], METADATA)
        if isinstance(read, ProviderError):
            return read
        names = (start.lead + one for one in batch)
        keys = tuple(
            name for name, tags in zip(names, read, strict=True) if query.matches(name, tags)
        )
        return Found(keys, search.Todo(todo.folders, left).text())

    def _tags(self, start: Place, path: str) -> Mapping[str, str] | ProviderError:
        call = Call(self._place, METADATA, f"{start.mount}/metadata/{path}", key=start.lead + path)
        answer = self._wire.ask(
            lambda client: client.secrets.kv.v2.read_secret_metadata(path, mount_point=start.mount)
        )
        if isinstance(answer, ProviderError):
            return answer
        data = data_of(answer.body)
        if answer.ok and data is not None:
            return kv.tags_of(data)
        found = problem(answer, call)
        return {} if isinstance(found, NotFound) else found  # deleted since it was listed

    # The check

    async def _checked(self) -> bool | ProviderError:
        mount = self._config.mount
        if not mount:
            found = await self._asking.asked(LOOKUP, self._asking.look_up)
        else:
            found = await self._asking.asked(MOUNT, partial(self._look_at, mount))
        return found if found is not None else not_understood(self._place)

    async def _believed(self, missing: NotFound, mount: str) -> Outcome:
        found = await self._asking.asked(MOUNT, partial(self._look_at, mount))
        if found is None or of_one(found):
            return missing  # whoever was allowed to read it there knows best
        return found if isinstance(found, ProviderError) else missing

    def _look_at(self, mount: str) -> bool | ProviderError:
        infix = "data/" if self._config.version == 2 else ""
        found = look_at(self._wire, self._config, mount, f"{mount}/{infix}*")
        if found is True:
            self._seen.add(mount)
        return found


def _made(
    body: Any, make: Callable[[Any], SecretValue | NotFound | None]
) -> SecretValue | NotFound | None:
    """What is made of an answer; None if it is nested beyond all bounds."""
    try:
        return make(body)
    except RecursionError:
        return None
