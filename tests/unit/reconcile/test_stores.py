"""Open stores: one client for all readers, replaced in time, closed by the last to leave."""

import asyncio

import pytest

from support.apiserver import FakeApiServer
from support.clock import FakeClock
from support.provider import MemoryProvider
from syncret.api.store import Store
from syncret.errors import AccessDenied, ProviderUnavailable
from syncret.reconcile.stores import LOOK_AGAIN, StoreClients
from unit.reconcile.opened import STORE, Reader, store, turns, until, used


async def test_readers_share_one_client(clients: StoreClients, provider: MemoryProvider) -> None:
    readers = [Reader(clients) for _ in range(10)]
    found = {id(await reader.inside()) for reader in readers}
    for reader in readers:
        await reader.leave()
    assert len(found) == len(provider.clients) == 1
    assert await used(clients) is provider.clients[0]
    assert provider.clients[0].credentials == {"token": b"not-real"}


async def test_another_store_is_another_client(
    clients: StoreClients, provider: MemoryProvider
) -> None:
    other = store(name="other", uid="store-2")
    assert await used(clients) is not await used(clients, other)


@pytest.mark.parametrize("again", [store(generation=2), store(uid="store-2")])
async def test_a_store_that_changed_is_opened_anew(clients: StoreClients, again: Store) -> None:
    first = await used(clients)
    assert await used(clients, again) is not first
    await turns()
    assert first.closed


async def test_a_store_stays_open_while_its_credentials_are_the_same(
    clients: StoreClients, cluster: FakeApiServer, clock: FakeClock
) -> None:
    first = await used(clients)
    clock.advance(LOOK_AGAIN)
    cluster.edit("secrets", "payments", "token", {"metadata": {"labels": {"some": "label"}}})
    assert await used(clients) is first
    assert not first.closed


async def test_after_a_while_a_store_is_opened_with_the_credentials_of_then(
    clients: StoreClients, cluster: FakeApiServer, clock: FakeClock
) -> None:
    first = await used(clients)
    cluster.edit("secrets", "payments", "token", {"data": {"token": "bmV3"}})
    clock.advance(LOOK_AGAIN - 1)
    assert await used(clients) is first
    clock.advance(1)
    second = await used(clients)
    assert second.credentials == {"token": b"new"}
    await turns()
    assert first.closed


async def test_refused_credentials_are_taken_anew(clients: StoreClients) -> None:
    first = await used(clients)
    with pytest.raises(AccessDenied):
        async with clients.use(STORE):
            raise AccessDenied("The store refuses the credentials.")
    assert await used(clients) is not first


async def test_any_other_failure_keeps_the_client(clients: StoreClients) -> None:
    first = await used(clients)
    with pytest.raises(ProviderUnavailable):
        async with clients.use(STORE):
            raise ProviderUnavailable("The store does not answer.")
    assert await used(clients) is first


async def test_a_late_refusal_does_not_take_the_new_client_away(clients: StoreClients) -> None:
    """Two readers are refused one after the other; the second had the old client still."""
    with pytest.raises(AccessDenied):  # noqa: PT012 - what happens inside is the point
        async with clients.use(STORE):
            clients.forget(STORE.key)
            second = await used(clients)
            raise AccessDenied("The store refuses the credentials.")
    assert await used(clients) is second


async def test_a_replaced_client_is_closed_by_its_last_reader(
    clients: StoreClients, provider: MemoryProvider
) -> None:
    one, two = Reader(clients), Reader(clients)
    assert await one.inside() is await two.inside()
    clients.forget(STORE.key)
    three = Reader(clients)
    assert await three.inside() is not await one.inside()
    await one.leave()
    assert [client.closed for client in provider.clients] == [False, False]
    await two.leave()
    assert [client.closed for client in provider.clients] == [True, False]
    await three.leave()


async def test_a_cancelled_reader_leaves_the_client_to_the_others(
    clients: StoreClients, provider: MemoryProvider
) -> None:
    provider.may_open = asyncio.Event()
    first, second = Reader(clients), Reader(clients)
    await until(lambda: provider.clients)
    first.task.cancel()
    await asyncio.wait([first.task])
    provider.may_open.set()
    assert await second.inside() is provider.clients[0]
    await second.leave()
    assert len(provider.clients) == 1


async def test_what_is_opened_for_nobody_serves_the_next(
    clients: StoreClients, provider: MemoryProvider
) -> None:
    provider.may_open = asyncio.Event()
    reader = Reader(clients)
    await until(lambda: provider.clients)
    reader.task.cancel()
    await asyncio.wait([reader.task])
    provider.may_open.set()
    assert await used(clients) is provider.clients[0]


async def test_a_failure_to_open_is_everybodys_and_not_kept(
    clients: StoreClients, provider: MemoryProvider
) -> None:
    provider.open_failure = ProviderUnavailable("The store does not answer.")
    provider.may_open = asyncio.Event()
    readers = [Reader(clients) for _ in range(3)]
    await until(lambda: provider.clients)
    provider.may_open.set()
    outcomes = await asyncio.gather(*(r.task for r in readers), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ProviderUnavailable}
    provider.open_failure = None
    with pytest.raises(ProviderUnavailable):
        await used(clients)
    assert clients.is_well(STORE), "a check found it so"
    assert await used(clients) is provider.clients[1]
    provider.clients[0].closed = True  # it was never open


async def test_a_failure_that_nobody_waited_for_is_not_kept_for_the_next(
    clients: StoreClients, provider: MemoryProvider
) -> None:
    provider.open_failure = ProviderUnavailable("The store does not answer.")
    provider.may_open = asyncio.Event()
    reader = Reader(clients)
    await until(lambda: provider.clients)
    reader.task.cancel()
    await asyncio.wait([reader.task])
    provider.may_open.set()
    await turns()
    provider.open_failure = None
    with pytest.raises(ProviderUnavailable):
        await used(clients)
    assert clients.is_well(STORE), "a check found it so"
    assert await used(clients) is provider.clients[1]
    provider.clients[0].closed = True  # it was never open


async def test_a_client_that_does_not_close_harms_nobody(
    clients: StoreClients, provider: MemoryProvider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.closes_badly = True
    await used(clients)
    await clients.close()
    assert provider.clients[0].closed
    (record,) = caplog.records
    assert record.__dict__["error"] == "RuntimeError"
    assert "not ours" not in caplog.text, "a foreign text might hold a value"


async def test_closing_ends_what_is_being_opened(
    clients: StoreClients, provider: MemoryProvider
) -> None:
    provider.may_open = asyncio.Event()
    reader = Reader(clients)
    await until(lambda: provider.clients)
    reader.task.cancel()
    await asyncio.wait([reader.task])
    await clients.close()
    await turns()
    assert [task.get_name() for task in asyncio.all_tasks() if "open" in task.get_name()] == []
    provider.clients[0].closed = True  # it was never open
