"""Changed credentials: noticed without their bytes, and only where something changed."""

from base64 import b64encode
from typing import Any

import pytest

from support.apiserver import FakeApiServer, Refusal
from support.clock import FakeClock
from support.engine import Engine, living
from support.objects import external_secret_body, secret_body, store_body
from support.provider import MemoryProvider
from syncret.api.keys import ObjectKey
from syncret.api.store import parse_store
from syncret.errors import AccessDenied
from syncret.reconcile.stores import StoreClients
from unit.reconcile.opened import Make, used
from unit.reconcile.payments import NAMESPACE, STORE, ready, writes

NEW = {"data": {"token": b64encode(b"new-not-real").decode()}}
SHARED = ObjectKey("ClusterSecretStore", "", "shared")


def secret_reads(world: FakeApiServer) -> int:
    return sum(call.method == "GET" and call.place.plural == "secrets" for call in world.calls)


async def test_a_changed_credential_is_taken_up_and_its_users_are_synced_again(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    reads, checks = provider.reads, provider.checks
    world.edit("secrets", NAMESPACE, "token", NEW)
    await synced.advance(1)
    assert provider.checks == checks + 1
    assert provider.reads == reads + 1
    assert provider.clients[-1].credentials == {"token": b"new-not-real"}
    await synced.advance(5)
    assert (provider.checks, provider.reads) == (checks + 1, reads + 1)


async def test_another_label_or_another_key_is_no_other_credential(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    before = provider.reads, provider.checks, writes(world)
    world.edit("secrets", NAMESPACE, "token", {"metadata": {"labels": {"team": "a"}}})
    await synced.advance(1)
    world.edit("secrets", NAMESPACE, "token", {"data": {"other": "eA=="}})
    await synced.advance(1)
    assert (provider.reads, provider.checks, writes(world)) == before


async def test_secrets_that_are_no_credentials_are_never_read(
    synced: Engine, world: FakeApiServer
) -> None:
    before = secret_reads(world)
    world.put("secrets", secret_body("foreign", {"k": b"x"}, owner="", managed=False))
    world.edit("secrets", NAMESPACE, "foreign", NEW)
    await synced.advance(1)
    assert secret_reads(world) == before


async def test_a_credential_that_goes_and_comes_is_told_both_times(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.remove("secrets", NAMESPACE, "token")
    await synced.settle()
    (condition,) = world.get("secretstores", NAMESPACE, "aws")["status"]["conditions"]
    assert condition["reason"] == "CredentialsNotFound"
    assert ready(world)["status"] == "True"  # the Secret still holds what it held
    world.put("secrets", secret_body("token", {"token": b"x"}, owner="", managed=False))
    await synced.settle()
    (condition,) = world.get("secretstores", NAMESPACE, "aws")["status"]["conditions"]
    assert condition["status"] == "True"
    assert provider.clients[-1].credentials == {"token": b"x"}


async def test_users_wait_for_a_new_credential_to_work(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    """It is often known here before it is known there."""
    reads = provider.reads
    provider.failure = AccessDenied("Refused.")
    world.edit("secrets", NAMESPACE, "token", NEW)
    await synced.settle()
    assert ready(world)["status"] == "True"
    assert provider.reads == reads
    provider.failure = None
    await synced.advance(20)
    assert provider.reads == reads + 1
    assert ready(world)["status"] == "True"


async def test_a_credential_that_never_was_is_noticed_when_it_comes(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    world.remove("secrets", NAMESPACE, "token")
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        assert ready(world)["reason"] == "CredentialsNotFound"
        world.put("secrets", secret_body("token", {"token": b"x"}, owner="", managed=False))
        await engine.settle()  # and no time passes
        assert ready(world)["status"] == "True"


async def test_a_change_after_a_restart_is_noticed_before_anything_was_read(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        reads = provider.reads
        world.edit("secrets", NAMESPACE, "token", NEW)
        await engine.advance(1)
        assert provider.reads == reads + 1


async def test_what_changed_while_no_watch_stood_is_found(
    synced: Engine, world: FakeApiServer
) -> None:
    assert await synced.stores.look_again() == []
    world.edit("secrets", NAMESPACE, "token", NEW)
    assert await synced.stores.look_again() == [STORE]
    world.remove("secrets", NAMESPACE, "token")
    assert await synced.stores.look_again() == [STORE]


async def test_a_credential_that_may_not_be_read_any_more_is_told(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    reads = provider.reads
    world.intercept("GET", "secrets", Refusal(403, "Forbidden"), times=1000)
    world.edit("secrets", NAMESPACE, "token", NEW)
    await synced.settle()
    (told,) = world.get("secretstores", NAMESPACE, "aws")["status"]["conditions"]
    assert told["reason"] == "Forbidden"
    world._interceptors.clear()
    await synced.advance(30)
    (told,) = world.get("secretstores", NAMESPACE, "aws")["status"]["conditions"]
    assert told["status"] == "True"
    assert provider.clients[-1].credentials == {"token": b"new-not-real"}
    assert provider.reads == reads + 1  # and its users read with it


async def test_a_moment_without_the_api_server_says_nothing_of_the_store(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.intercept("GET", "secrets", Refusal(500))
    world.edit("secrets", NAMESPACE, "token", NEW)
    await synced.settle()
    (told,) = world.get("secretstores", NAMESPACE, "aws")["status"]["conditions"]
    assert told["status"] == "True"
    await synced.advance(5)
    assert provider.clients[-1].credentials == {"token": b"new-not-real"}


async def test_users_are_synced_again_spread_out(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    for number in range(40):
        provider.values[f"k{number}"] = b"hunter2-not-real"
        entry = {"secretKey": "k", "remoteRef": {"key": f"k{number}"}}
        body = external_secret_body(f"app-{number}", data=[entry], refreshInterval="24h")
        world.put("externalsecrets", body)
    async with living(world, provider=provider, clock=clock) as engine:
        for _ in range(8):
            await engine.settle()
        reads = provider.reads
        world.edit("secrets", NAMESPACE, "token", NEW)
        await engine.settle()
        at_once = provider.reads - reads
        for _ in range(50):
            await engine.advance(0.1)
        assert at_once < 5
        assert provider.reads - reads >= 40


# Credentials of whoever reads.


def reader(namespace: str) -> dict[str, Any]:
    return external_secret_body(
        "db",
        namespace=namespace,
        dataFrom=[{"extract": {"key": "app/db"}}],
        secretStoreRef={"name": "shared", "kind": "ClusterSecretStore"},
    )


def token(namespace: str, value: str = "") -> dict[str, Any]:
    data = {"token": (value or f"of-{namespace}").encode()}
    return secret_body("token", data, namespace=namespace, uid="", owner="", managed=False)


@pytest.fixture
def teams(cluster: FakeApiServer) -> FakeApiServer:
    """A store that three namespaces use with credentials of their own."""
    cluster.put(
        "clustersecretstores",
        store_body(
            "shared",
            namespace="",
            conditions=({"namespaceRegexes": ["team-.*"]},),
            credential={"name": "token", "key": "token"},
        ),
    )
    for namespace in ("team-a", "team-b", "team-c"):
        cluster.put("secrets", token(namespace))
        cluster.put("externalsecrets", reader(namespace))
    return cluster


def condition(world: FakeApiServer, namespace: str) -> dict[str, Any]:
    (found,) = world.get("externalsecrets", namespace, "db")["status"]["conditions"]
    return dict(found)


async def test_every_namespace_reads_with_its_own_credential(
    teams: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    async with living(teams, provider=provider, clock=clock) as engine:
        await engine.settle()
        used = sorted(client.credentials["token"] for client in provider.clients)
        assert used == [b"of-team-a", b"of-team-b", b"of-team-c"]
        assert provider.reads == 3  # the same key, and never one namespace's value for another
        (told,) = teams.get("clustersecretstores", "", "shared")["status"]["conditions"]
        assert (told["status"], told["reason"]) == ("True", "Referent")
        assert provider.checks == 0


async def test_a_namespace_without_a_credential_is_told_and_disturbs_nobody(
    teams: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    teams.remove("secrets", "team-b", "token")
    async with living(teams, provider=provider, clock=clock) as engine:
        await engine.settle()
        assert condition(teams, "team-b")["reason"] == "CredentialsNotFound"
        message = condition(teams, "team-b")["message"]
        assert 'Secret "token" in namespace "team-b", which ClusterSecretStore shared' in message
        for other in ("team-a", "team-c"):
            assert condition(teams, other)["status"] == "True"
        teams.put("secrets", token("team-b"))
        await engine.settle()
        assert condition(teams, "team-b")["status"] == "True"


async def test_refused_credentials_of_one_namespace_stop_nobody_else(
    teams: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    async with living(teams, provider=provider, clock=clock) as engine:
        await engine.settle()
        store = engine.cache.stores.get(SHARED)
        assert store is not None
        for namespace in ("team-a", "team-b"):
            key = engine.stores.place(store, namespace)
            assert key == SHARED._replace(namespace=namespace)
        broken = SHARED._replace(namespace="team-a")
        engine.stores.is_ill(store, AccessDenied("Refused."), broken)
        assert engine.stores.in_trouble(store, broken)
        assert not engine.stores.in_trouble(store, SHARED._replace(namespace="team-b"))
        engine.queue.add(broken)
        checks = provider.checks
        await engine.settle()
        assert provider.checks == checks + 1  # one namespace is checked, with its credential
        assert not engine.stores.in_trouble(store, broken)


async def test_a_changed_credential_concerns_its_namespace_only(
    teams: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    async with living(teams, provider=provider, clock=clock) as engine:
        await engine.settle()
        reads, opened = provider.reads, len(provider.clients)
        teams.edit("secrets", "team-a", "token", NEW)
        await engine.advance(1)
        assert provider.reads == reads + 1
        assert [one.credentials["token"] for one in provider.clients[opened:]] == [b"new-not-real"]


async def test_a_store_that_names_a_namespace_from_now_on_is_opened_once(
    teams: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    async with living(teams, provider=provider, clock=clock) as engine:
        await engine.settle()
        opened = len(provider.clients)
        spec = {"provider": {"memory": {"credential": {"namespace": "team-c"}}}}
        teams.edit("clustersecretstores", "", "shared", {"spec": spec})
        await engine.advance(1)
        assert [one.credentials["token"] for one in provider.clients[opened:]] == [b"of-team-c"]
        await engine.advance(600)
        assert all(client.closed for client in provider.clients[:opened])


async def test_open_clients_are_bounded(cluster: FakeApiServer, make: Make) -> None:
    clients: StoreClients = make(max_open=3)
    body = store_body("shared", namespace="", uid="s", credential={"name": "token", "key": "token"})
    shared = parse_store("ClusterSecretStore", body)
    opened = []
    for number in range(10):
        cluster.put("secrets", token(f"team-{number}"))
        opened.append(await used(clients, shared, f"team-{number}"))
        assert len(clients._open) <= 3
    assert len({id(client) for client in opened}) == 10
    assert [client.closed for client in opened[-2:]] == [False, False]
    assert len(clients._healths) <= 3
    assert len(clients._credentials.keys()) <= 3
