"""Rights to a ClusterSecretStore as ExternalSecrets meet them: at once, and without a call."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.apiserver import FakeApiServer
from support.clock import FakeClock
from support.engine import Engine, living
from support.objects import external_secret_body, namespace_body, store_body
from support.provider import MemoryProvider
from unit.reconcile.payments import remote, writes

TEAM = "team-a"


@pytest.fixture
def world(cluster: FakeApiServer, provider: MemoryProvider) -> FakeApiServer:
    provider.values["team-a/db"] = remote()
    cluster.put("namespaces", namespace_body(TEAM, team="a"))
    selector = {
        "namespaceSelector": {"matchLabels": {"team": "a"}},
        "remoteKeys": ["{namespace}/*"],
    }
    cluster.put("clustersecretstores", store_body(namespace="", conditions=(selector,)))
    cluster.put("externalsecrets", reading("team-a/db"))
    return cluster


@pytest.fixture
async def engine(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> AsyncIterator[Engine]:
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        yield engine


def reading(key: str) -> dict[str, Any]:
    return external_secret_body(
        namespace=TEAM,
        dataFrom=[{"extract": {"key": key}}],
        secretStoreRef={"name": "aws", "kind": "ClusterSecretStore"},
    )


def condition(world: FakeApiServer) -> tuple[str, str]:
    (ready,) = world.get("externalsecrets", TEAM, "db")["status"]["conditions"]
    return ready["status"], ready["reason"]


def label(world: FakeApiServer, team: str | None) -> None:
    world.edit("namespaces", "", TEAM, {"metadata": {"labels": {"team": team}}})


async def test_a_label_gives_and_takes_the_right_at_once(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    assert condition(world) == ("True", "Synced")
    data, reads = world.secret(TEAM, "db"), provider.reads
    label(world, "b")
    await engine.settle()
    assert condition(world) == ("False", "StoreNotAllowed")
    assert world.secret(TEAM, "db") == data  # it stays as it was
    assert provider.reads == reads
    label(world, "a")
    await engine.settle()
    assert condition(world) == ("True", "Synced")


async def test_a_right_that_was_taken_while_nobody_worked_is_noticed_at_the_start(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    reads = provider.reads
    label(world, None)
    async with living(world, provider=provider, clock=clock) as again:
        await again.settle()
        assert condition(world) == ("False", "StoreNotAllowed")
    assert provider.reads == reads


async def test_a_restart_with_labels_costs_nothing(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    before = provider.reads, writes(world)
    async with living(world, provider=provider, clock=clock) as again:
        await again.settle()
        await again.advance(5)
    assert (provider.reads, writes(world)) == before


async def test_labels_that_are_not_known_yet_take_nothing_away(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    before = provider.reads, writes(world)
    life = living(world, provider=provider, clock=clock, may_list_namespaces=False)
    async with life as blind:
        await blind.settle()
        assert (provider.reads, writes(world)) == before
        blind.may_list_namespaces = True
        await blind.advance(5)
        assert (provider.reads, writes(world)) == before


async def test_who_cannot_be_judged_is_told_so_and_synced_once_he_can(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    life = living(world, provider=provider, clock=clock, may_list_namespaces=False)
    async with life as blind:
        world.edit("externalsecrets", TEAM, "db", {"spec": {"refreshInterval": "2h"}})
        await blind.settle()
        assert condition(world) == ("False", "NamespaceUnknown")
        blind.may_list_namespaces = True
        await blind.settle()
        assert condition(world) == ("True", "Synced")


async def test_another_namespace_s_label_concerns_nobody_here(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    before = provider.reads, writes(world)
    world.put("namespaces", namespace_body("team-b", team="a"))
    world.edit("namespaces", "", TEAM, {"metadata": {"labels": {"other": "x"}}})
    await engine.advance(5)
    assert (provider.reads, writes(world)) == before


@pytest.mark.parametrize("key", ["team-b/db", "team-a", "team-a/../team-b/db", "other"])
async def test_a_key_that_is_not_allowed_is_refused_before_any_call(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, key: str
) -> None:
    provider.values[key] = remote()
    reads, data = provider.reads, world.secret(TEAM, "db")
    world.edit("externalsecrets", TEAM, "db", {"spec": {"dataFrom": [{"extract": {"key": key}}]}})
    await engine.settle()
    assert condition(world) == ("False", "KeyNotAllowed")
    (ready,) = world.get("externalsecrets", TEAM, "db")["status"]["conditions"]
    assert ready["message"] == (
        f'ClusterSecretStore aws does not let the namespace "team-a" read "{key}": ask its owner '
        "to add the key to spec.conditions[].remoteKeys, or read another key."
    )
    assert provider.reads == reads
    assert world.secret(TEAM, "db") == data


async def test_keys_that_are_taken_away_are_refused_at_once(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    reads, data = provider.reads, world.secret(TEAM, "db")
    entry = {"namespaceSelector": {}, "remoteKeys": ["shared/*"]}
    world.edit("clustersecretstores", "", "aws", {"spec": {"conditions": [entry]}})
    await engine.advance(1)
    assert condition(world) == ("False", "KeyNotAllowed")
    assert provider.reads == reads
    assert world.secret(TEAM, "db") == data


async def test_a_label_that_takes_keys_away_takes_them_at_once(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    """The namespace stays admitted, by another entry, which allows less."""
    more = {"namespaces": [TEAM], "remoteKeys": ["shared/*"]}
    entry = {"namespaceSelector": {"matchLabels": {"team": "a"}}}
    world.edit("clustersecretstores", "", "aws", {"spec": {"conditions": [more, entry]}})
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        assert condition(world) == ("True", "Synced")
        reads = provider.reads
        label(world, "b")
        await engine.settle()
        assert condition(world) == ("False", "KeyNotAllowed")
        assert provider.reads == reads
        label(world, "a")
        await engine.settle()
        assert condition(world) == ("True", "Synced")


async def test_nobody_is_told_of_labels_that_are_under_way(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    """The first selector of a cluster makes namespaces be listed, which takes a moment."""
    life = living(world, provider=provider, clock=clock, may_list_namespaces=False)
    async with life as started:

        async def list_them() -> None:
            started.may_list_namespaces = True
            started._list_namespaces()

        started.external_secrets._contexts._namespaces_listed = list_them
        world.edit("externalsecrets", TEAM, "db", {"spec": {"refreshInterval": "2h"}})
        await started.settle()
        assert condition(world) == ("True", "Synced")
    assert [reason for _, reason, _ in world.events() if reason == "NamespaceUnknown"] == []


async def test_a_search_finds_what_the_namespace_may_read_and_nothing_else(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.values |= {"team-b/secret": remote(), "team-a/more": remote()}
    reads = provider.reads
    world.edit(
        "externalsecrets",
        TEAM,
        "db",
        {"spec": {"dataFrom": [{"find": {"name": {"regexp": "."}}}]}},
    )
    await engine.settle()
    assert condition(world) == ("True", "Synced")
    assert set(world.secret(TEAM, "db")) == {"team-a_db", "team-a_more"}
    sources = world.get("externalsecrets", TEAM, "db")["status"]["sources"]
    assert {source["key"] for source in sources} == {"team-a/db", "team-a/more"}
    assert provider.reads == reads + 1


async def test_what_a_search_found_is_not_gone_because_the_right_to_it_is(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    spec = {
        "dataFrom": [{"find": {"name": {"regexp": "team-a"}}}],
        "target": {"deletionPolicy": "Merge"},
    }
    world.edit("externalsecrets", TEAM, "db", {"spec": spec})
    await engine.settle()
    data = world.secret(TEAM, "db")
    assert set(data) == {"team-a_db"}
    entry = {"namespaceSelector": {}, "remoteKeys": ["shared/*"]}
    world.edit("clustersecretstores", "", "aws", {"spec": {"conditions": [entry]}})
    await engine.advance(1)
    assert condition(world) == ("False", "KeyNotAllowed")
    assert world.secret(TEAM, "db") == data


async def test_a_search_that_may_read_nothing_is_like_one_that_finds_nothing(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.values = {"team-b/secret": remote()}
    world.edit(
        "externalsecrets",
        TEAM,
        "db",
        {"spec": {"dataFrom": [{"find": {"name": {"regexp": "team-b"}}}]}},
    )
    await engine.settle()
    assert condition(world)[0] == "False"
    (ready,) = world.get("externalsecrets", TEAM, "db")["status"]["conditions"]
    assert "team-b/secret" not in ready["message"]


@pytest.mark.parametrize("key", ["data", "dataFrom"])
async def test_a_second_store_has_its_own_limits(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, key: str
) -> None:
    provider.values["team-b/secret"] = remote()
    scoped = {"namespaces": [TEAM], "remoteKeys": ["{namespace}/*"]}
    body = store_body("second", uid="store-2", namespace="", conditions=(scoped,))
    world.put("clustersecretstores", body)
    source = {"storeRef": {"name": "second", "kind": "ClusterSecretStore"}}
    reference = {"key": "team-b/secret"}
    entries = {
        "data": [{"secretKey": "k", "remoteRef": reference, "sourceRef": source}],
        "dataFrom": [{"extract": reference, "sourceRef": source}],
    }
    reads = provider.reads
    world.edit("externalsecrets", TEAM, "db", {"spec": {key: entries[key]}})
    await engine.settle()
    assert condition(world) == ("False", "KeyNotAllowed")
    assert provider.reads == reads


async def test_stores_of_two_operators_do_not_mix(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    body = store_body("second", uid="store-2", namespace="", namespaces=(TEAM,))
    body["spec"]["controller"] = "another"
    world.put("clustersecretstores", body)
    source = {"storeRef": {"name": "second", "kind": "ClusterSecretStore"}}
    entry = {"secretKey": "k", "remoteRef": {"key": "team-a/db"}, "sourceRef": source}
    world.edit("externalsecrets", TEAM, "db", {"spec": {"data": [entry]}})
    await engine.settle()
    assert condition(world) == ("False", "StoreInvalid")
