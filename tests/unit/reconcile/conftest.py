"""The small world of ``payments.py`` on an API server, and a life of the operator in it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from support.apiserver import FakeApiServer
from support.clock import FakeClock
from support.engine import Engine, living
from support.objects import secret_body
from support.provider import MemoryProvider
from syncret.kube.client import KubeClient
from syncret.reconcile.stores import MAX_OPEN, StoreClients
from unit.reconcile.opened import Make
from unit.reconcile.payments import populate, remote


@pytest.fixture
def provider() -> MemoryProvider:
    return MemoryProvider(values={"app/db": remote()})


@pytest.fixture
def world(cluster: FakeApiServer) -> FakeApiServer:
    """A cluster in which nothing has been synced."""
    populate(cluster)
    return cluster


@pytest.fixture
async def engine(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> AsyncIterator[Engine]:
    """A life in that world, which has not begun to work."""
    async with living(world, provider=provider, clock=clock) as engine:
        yield engine


@pytest.fixture
async def synced(engine: Engine) -> Engine:
    """A life in which everything is in order."""
    await engine.settle()
    return engine


@pytest.fixture
async def make(
    cluster: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> AsyncIterator[Make]:
    cluster.put("secrets", secret_body("token", {"token": b"not-real"}, owner=""))
    async with aiohttp.ClientSession() as session:
        made: list[StoreClients] = []

        def make(*, ambient: bool = False, max_open: int = MAX_OPEN) -> StoreClients:
            made.append(
                StoreClients(
                    kube=KubeClient(session, cluster.url),
                    providers=provider.find,
                    observer=lambda _provider, _store: lambda **_: None,
                    clock=clock,
                    ambient_for_secret_stores=ambient,
                    max_open=max_open,
                )
            )
            return made[-1]

        yield make
        for clients in made:
            await clients.close()
    assert all(client.closed for client in provider.clients)


@pytest.fixture
def clients(make: Make) -> StoreClients:
    return make()
