"""Stores that are opened in tests, and those who read through them."""

import asyncio
from collections.abc import Callable

from support.objects import store_body
from support.provider import MemoryClient
from syncret.api.store import Store, parse_store
from syncret.reconcile.stores import StoreClients

TOKEN = {"name": "token", "key": "token"}


def store(generation: int = 1, **arguments: object) -> Store:
    """A SecretStore with credentials, or what the keywords make of it."""
    arguments = {"credential": TOKEN, **arguments}
    body = store_body(generation=generation, **arguments)  # type: ignore[arg-type]
    return parse_store(body["kind"], body)


STORE = store()

#: Makes the open stores of one life; ``ambient``: a SecretStore may go without credentials.
Make = Callable[..., StoreClients]


async def used(clients: StoreClients, store: Store = STORE, namespace: str = "") -> MemoryClient:
    async with clients.use(store, namespace=namespace) as reads:
        client = reads._client
        assert isinstance(client, MemoryClient)
        return client


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - of a store that knows nothing of tests
            await asyncio.sleep(0)


class Reader:
    """Somebody who uses a store until told to leave."""

    def __init__(self, clients: StoreClients, store: Store = STORE) -> None:
        self.client: MemoryClient | None = None
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._read(clients, store))

    async def _read(self, clients: StoreClients, store: Store) -> MemoryClient:
        async with clients.use(store) as reads:
            client = reads._client
            assert isinstance(client, MemoryClient)
            self.client = client
            await self._leave.wait()
            assert not client.closed, "closed under its reader"
            return client

    async def inside(self) -> MemoryClient:
        await until(lambda: self.client is not None)
        assert self.client is not None
        return self.client

    async def leave(self) -> None:
        self._leave.set()
        await self.task
        await turns()
