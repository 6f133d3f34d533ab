"""What an ExternalSecret reads: several stores, searches, and what is missing there."""

import asyncio
import json
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from support.apiserver import FakeApiServer
from support.engine import Engine
from support.objects import external_secret_body, store_body
from support.provider import MemoryProvider
from syncret.errors import AccessDenied, ProviderUnavailable
from syncret.providers.base import Outcome, Ref
from unit.reconcile.payments import NAMESPACE, PASSWORD, ready, remote, status, writes

MINUTES = 72.0  # later than any slot of a refresh interval of one minute


def entry(secret_key: str, key: str, **more: Any) -> dict[str, Any]:
    return {"secretKey": secret_key, "remoteRef": {"key": key}, **more}


def from_store(name: str) -> dict[str, Any]:
    return {"sourceRef": {"storeRef": {"name": name}}}


def edit(world: FakeApiServer, **spec: Any) -> None:
    """Another spec; what is not given goes."""
    spec = {"data": None, "dataFrom": None, **spec}
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": spec})


@pytest.fixture
def two_stores(world: FakeApiServer, provider: MemoryProvider) -> FakeApiServer:
    """The user name comes from the store ``aws``, the token from ``other``."""
    world.put("secretstores", store_body("other", uid="store-2", credential=None, shelf="other"))
    world.edit(
        "secretstores",
        NAMESPACE,
        "other",
        {"spec": {"provider": {"memory": {"credential": {"name": "token", "key": "token"}}}}},
    )
    provider.shelves["other"] = {"app/token": b"from-other"}
    edit(
        world,
        data=[
            {"secretKey": "user", "remoteRef": {"key": "app/db", "property": "user"}},
            entry("token", "app/token", **from_store("other")),
        ],
    )
    return world


# Several stores


async def test_one_secret_from_two_stores(two_stores: FakeApiServer, engine: Engine) -> None:
    await engine.settle()
    assert two_stores.secret(NAMESPACE, "db") == {"user": b"app", "token": b"from-other"}
    assert [(row.get("store"), row["key"]) for row in status(two_stores)["sources"]] == [
        (None, "app/db"),
        ("SecretStore/other", "app/token"),
    ]


async def test_an_unchanged_refresh_of_two_stores_writes_nothing(
    two_stores: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    await engine.settle()
    calls, reads = len(two_stores.calls), provider.reads
    for _ in range(3):
        await engine.advance(MINUTES)
    assert provider.reads >= reads + 6
    assert two_stores.calls[calls:] == []
    assert ready(two_stores)["status"] == "True"


async def test_one_store_that_fails_leaves_the_secret_as_it_was(
    two_stores: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    await engine.settle()
    provider.values["app/db"] = remote(user="changed")
    provider.failures["other"] = ProviderUnavailable("The other is down.")
    await engine.advance(MINUTES)
    assert ready(two_stores)["reason"] == "ProviderUnavailable"
    assert two_stores.secret(NAMESPACE, "db")["user"] == b"app"
    del provider.failures["other"]
    await engine.advance(300.0)
    assert two_stores.secret(NAMESPACE, "db")["user"] == b"changed"
    assert ready(two_stores)["status"] == "True"


async def test_of_two_stores_that_fail_the_first_is_told_whichever_is_faster(
    two_stores: FakeApiServer,
    engine: Engine,
    provider: MemoryProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await engine.settle()
    first = next(client for client in provider.clients if not client.shelf)

    async def slow(_refs: Collection[Ref], **__: Any) -> Mapping[Ref, Outcome]:
        for _ in range(50):
            await asyncio.sleep(0)
        raise ProviderUnavailable("The first is down.")

    monkeypatch.setattr(first, "fetch", slow)
    provider.failures["other"] = ProviderUnavailable("The other is down.")
    await engine.advance(MINUTES)
    told = ready(two_stores)
    assert told["message"] == "The first is down."
    for _ in range(3):
        await engine.advance(5.0)
    assert ready(two_stores) == told


@pytest.mark.parametrize("name", ["aws", "other"])
async def test_a_change_of_either_store_is_read(
    two_stores: FakeApiServer, engine: Engine, provider: MemoryProvider, name: str
) -> None:
    await engine.settle()
    reads = provider.reads
    two_stores.edit(
        "secretstores", NAMESPACE, name, {"spec": {"provider": {"memory": {"more": "x"}}}}
    )
    await engine.settle()
    await engine.advance(1.0)
    assert provider.reads == reads + 2


async def test_a_store_of_an_entry_that_is_not_there_is_named_where_it_stands(
    two_stores: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    store = two_stores.get("secretstores", NAMESPACE, "other")
    two_stores.remove("secretstores", NAMESPACE, "other")
    await engine.settle()
    assert ready(two_stores)["reason"] == "StoreNotFound"
    assert ready(two_stores)["message"].endswith(
        "does not exist: create it, or correct spec.data[1].sourceRef.storeRef."
    )
    assert provider.reads == 0, "nor is the other one read for nothing"
    two_stores.put("secretstores", store)
    await engine.settle()
    await engine.advance(0.1)
    assert ready(two_stores)["status"] == "True", "without waiting for the next attempt"


async def test_no_store_at_all_is_told(world: FakeApiServer, engine: Engine) -> None:
    """The CRD refuses it; an older one did not."""
    edit(world, secretStoreRef=None, data=[entry("a", "app/db")])
    await engine.settle()
    assert ready(world)["reason"] == "SpecInvalid"
    assert "spec.data[0] names no store" in ready(world)["message"]


# Searches


async def test_what_is_found_becomes_keys(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    provider.values = {f"app/{name}": name.encode() for name in ("one", "two", "three")}
    provider.values["other/one"] = b"no"
    rewrite = [{"regexp": {"source": "^app/", "target": "my_"}}]
    edit(world, dataFrom=[{"find": {"path": "app/"}, "rewrite": rewrite}])
    await engine.settle()
    assert world.secret(NAMESPACE, "db") == {
        "my_one": b"one",
        "my_two": b"two",
        "my_three": b"three",
    }
    assert provider.searches == 2, "two pages of two"
    assert [row["key"] for row in status(world)["sources"]] == ["app/one", "app/three", "app/two"]


async def test_what_comes_and_goes_in_the_store_does_in_the_secret(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    provider.values = {"app/one": b"1"}
    edit(world, dataFrom=[{"find": {"name": {"regexp": "^app/"}}}])
    await engine.settle()
    provider.values = {"app/two": b"2"}
    await engine.advance(MINUTES)
    assert world.secret(NAMESPACE, "db") == {"app_two": b"2"}
    calls = len(world.calls)
    await engine.advance(MINUTES)
    assert world.calls[calls:] == []


async def test_nothing_found_is_missing_and_leaves_the_secret_as_it_was(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    provider.values, provider.tags = {"x": b"1"}, {"x": {"team": "a"}}
    edit(world, dataFrom=[{"find": {"tags": {"team": "a"}}}])
    await engine.settle()
    assert world.secret(NAMESPACE, "db") == {"x": b"1"}
    provider.tags = {"x": {"team": "b"}}
    await engine.advance(MINUTES)
    assert ready(world)["reason"] == "KeyNotFound"
    assert world.secret(NAMESPACE, "db") == {"x": b"1"}


async def test_many_who_search_for_the_same_make_one_search(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    provider.values = {"app/one": b"1"}
    edit(world, dataFrom=[{"find": {"path": "app/"}}])
    for number in range(20):
        world.put(
            "externalsecrets",
            external_secret_body(
                f"more-{number}",
                uid=f"uid-more-{number}",
                dataFrom=[{"find": {"path": "app/"}}],
                refreshInterval="1m",
            ),
        )
    engine.watch()
    keys = [await engine.queue.take() for _ in range(22)]
    await asyncio.gather(*(engine.reconcile(key) for key in keys))
    assert provider.searches == 1
    assert provider.reads == 1
    assert world.secret(NAMESPACE, "more-19") == {"app_one": b"1"}


async def test_too_many_found(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    provider.values = {f"app/{number}": b"1" for number in range(1200)}
    provider.page = 100
    edit(world, dataFrom=[{"find": {"path": "app/"}}])
    await engine.settle()
    assert ready(world)["reason"] == "TooManyFound"
    assert provider.searches == 11, "no page after the one that was too many"
    assert provider.reads == 0


# Metadata


async def test_tags_are_read_instead_of_the_value(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    provider.tags = {"app/db": {"owner": "team-a", "tier": "1"}}
    fetch = {"key": "app/db", "metadataPolicy": "Fetch"}
    edit(
        world,
        data=[
            {"secretKey": "owner", "remoteRef": {**fetch, "property": "owner"}},
            {"secretKey": "user", "remoteRef": {"key": "app/db", "property": "user"}},
            {"secretKey": "all", "remoteRef": fetch},
        ],
        dataFrom=[{"extract": fetch, "rewrite": [{"regexp": {"source": "^", "target": "tag_"}}]}],
    )
    await engine.settle()
    assert world.secret(NAMESPACE, "db") == {
        "owner": b"team-a",
        "user": b"app",
        "all": json.dumps({"owner": "team-a", "tier": "1"}).encode(),
        "tag_owner": b"team-a",
        "tag_tier": b"1",
    }


# What is missing


async def test_what_is_optional_and_missing_is_named_and_the_rest_is_synced(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    edit(
        world,
        data=[
            entry("extra", "app/extra", optional=True),
            {"secretKey": "password", "remoteRef": {"key": "app/db", "property": "password"}},
        ],
    )
    await engine.settle()
    assert world.secret(NAMESPACE, "db") == {"password": PASSWORD.encode()}
    assert status(world)["missing"] == [{"entry": "spec.data[0]", "key": "app/extra"}]
    assert ready(world)["status"] == "True"
    assert ready(world)["message"] == (
        'The Secret "db" holds what the store holds. Optional, and missing there: spec.data[0] '
        '("app/extra").'
    )
    before = writes(world)
    await engine.advance(MINUTES)
    assert writes(world) == before, "still missing is nothing new"

    provider.values["app/extra"] = b"here"
    await engine.advance(MINUTES)
    assert world.secret(NAMESPACE, "db")["extra"] == b"here"
    assert "missing" not in status(world)
    assert ready(world)["message"] == 'The Secret "db" holds what the store holds.'

    del provider.values["app/extra"]
    await engine.advance(MINUTES)
    assert world.secret(NAMESPACE, "db") == {"password": PASSWORD.encode()}


async def test_what_is_required_and_missing_leaves_the_secret_as_it_was(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    edit(world, data=[entry("a", "app/a", optional=True), entry("b", "app/b")])
    provider.values |= {"app/a": b"1", "app/b": b"2"}
    await engine.settle()
    del provider.values["app/b"]
    provider.values["app/a"] = b"changed"
    await engine.advance(MINUTES)
    assert ready(world)["reason"] == "KeyNotFound"
    assert "spec.data[1].remoteRef" in ready(world)["message"]
    assert world.secret(NAMESPACE, "db") == {"a": b"1", "b": b"2"}


async def test_any_other_failure_of_an_optional_entry_is_one(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    edit(world, data=[entry("a", "app/db", optional=True)])
    provider.failure = AccessDenied("Renew them.")
    await engine.settle()
    assert ready(world)["reason"] == "AccessDenied"
    assert not world.has("secrets", NAMESPACE, "db")
