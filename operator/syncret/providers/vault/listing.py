"""Reading and listing many things of Vault at once, for the clients of all of its engines."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Final
from urllib.parse import quote

from syncret.api.data import Query
from syncret.errors import ProviderError
from syncret.providers.base import Limits, NotFound, Outcome, Ref
from syncret.providers.calls import THREADS_PER_STORE
from syncret.providers.fetching import Fetching
from syncret.providers.vault import search
from syncret.providers.vault.answers import (
    STORE_WIDE,
    Call,
    CredentialsRefused,
    problem,
    timed_out,
)
from syncret.providers.vault.asking import Asking, data_of, of_one
from syncret.providers.vault.keys import Place

#: Vault has no quota of its own. A small server answers thousands of reads a second; these keep a
#: refresh of everything from being what it notices.
LIMITS: Final = Limits(batch=1, concurrency=THREADS_PER_STORE, rate=200.0)


async def fetch_all(
    asking: Asking, refs: Collection[Ref], read: Callable[[Fetching, Ref], Awaitable[None]]
) -> Mapping[Ref, Outcome]:
    """Reads them at the same time; ``read`` adds what became of one, or ends the fetch."""
    fetch = Fetching(fatal=CredentialsRefused)

    async def one(ref: Ref) -> None:
        await read(fetch, ref)

    try:
        async with asyncio.timeout(asking.timing.total), asyncio.TaskGroup() as group:
            for ref in refs:
                group.create_task(one(ref))
    except TimeoutError:
        fetch.end(timed_out(asking.place))
    return fetch.result(refs)


def add(fetch: Fetching, ref: Ref, outcome: Outcome | None) -> None:
    """Adds an outcome; one that says nothing about this one secret ends the fetch."""
    if isinstance(outcome, STORE_WIDE) and not of_one(outcome):
        fetch.end(outcome)
    elif outcome is not None:
        fetch.add(ref, outcome)


async def next_folders(
    asking: Asking,
    query: Query,
    start: Place,
    todo: search.Todo,
    *,
    operation: str,
    path: Callable[[str], str],
) -> search.Todo | ProviderError:
    """Lists the first of the folders: what is left of them and new, and the secrets in them.

    ``path``: where a folder is listed.
    """
    batch, left = todo.folders[: search.FOLDERS], todo.folders[search.FOLDERS :]
    listed = await asking.all(
        [partial(_list, asking, query, start, one, operation, path(one)) for one in batch],
        operation,
    )
    if isinstance(listed, ProviderError):
        return listed
    return search.Todo(
        (*left, *(folder for one in listed for folder in one.folders)),
        tuple(secret for one in listed for secret in one.secrets),
    )


def _list(
    asking: Asking, query: Query, start: Place, folder: str, operation: str, path: str
) -> search.Todo | ProviderError:
    answer = asking.wire.ask(lambda client: client.adapter.list(f"/v1/{quote(path)}"))
    if isinstance(answer, ProviderError):
        return answer
    data = data_of(answer.body)
    if answer.ok and data is not None and isinstance(data.get("keys"), list):
        return search.names(query, start, folder, data["keys"])
    found = problem(answer, Call(asking.place, operation, path, "list"))
    return search.Todo(()) if isinstance(found, NotFound) else found
