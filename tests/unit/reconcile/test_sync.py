"""What a round makes of the world: the Secret, the status, the Events, and when nothing at all."""

import logging
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from support.apiserver import FakeApiServer
from support.engine import Engine
from support.objects import external_secret, secret_body, store_body
from support.provider import MemoryProvider
from syncret.api.externalsecret import ExternalSecretStatus, Source
from syncret.api.keys import ObjectKey
from syncret.constants import MANAGED_LABEL
from syncret.providers.base import NotFound, Outcome, Ref, SecretValue, Unchanged
from syncret.reconcile.report import same_versions
from syncret.reconcile.wanted import Fetched
from unit.reconcile.payments import (
    KEY,
    NAMESPACE,
    NEW_PASSWORD,
    PASSWORD,
    STORE,
    TOKEN,
    checksum,
    database,
    outside,
    ready,
    remote,
    restarts,
    status,
    writes,
)

MINUTES = 72.0  # later than any slot of a refresh interval of one minute


async def test_the_first_sync(engine: Engine, world: FakeApiServer) -> None:
    await engine.settle()
    assert world.secret(NAMESPACE, "db") == {"user": b"app", "password": PASSWORD.encode()}
    meta = world.get("secrets", NAMESPACE, "db")["metadata"]
    assert meta["labels"] == {MANAGED_LABEL: "true"}
    (owner,) = meta["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("ExternalSecret", "db", "uid-1")
    assert owner["controller"] is True
    assert ready(world) == {
        "type": "Ready",
        "status": "True",
        "reason": "Synced",
        "message": 'The Secret "db" holds what the store holds.',
        "lastTransitionTime": "2026-09-21T14:30:00Z",
        "observedGeneration": 1,
    }
    told = status(world)
    assert told["syncedGeneration"] == 1
    assert told["lastChangeTime"] == "2026-09-21T14:30:00Z"
    assert told["keys"] == ["password", "user"]
    assert [source["key"] for source in told["sources"]] == ["app/db"]
    assert not [kind for kind, *_ in world.events() if kind == "ExternalSecret"]
    assert restarts(world) == 0, "the first sync restarts nothing"
    assert checksum(world) == ""


async def test_no_byte_of_a_secret_is_anywhere_else(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await engine.settle()
    provider.values["app/db"] = remote(NEW_PASSWORD)
    await engine.advance(MINUTES)
    provider.values["app/db"] = b'{"password": "%s' % NEW_PASSWORD.encode()  # not JSON any more
    await engine.advance(MINUTES)
    assert ready(world)["reason"] == "ValueNotJSON"
    shown = outside(world) + engine.exposed() + caplog.text
    for secret in (PASSWORD, NEW_PASSWORD, TOKEN):
        assert secret not in shown
    # The answers held the credential that was asked for, and nothing of what was written.
    assert b"aHVudGVy" not in world.answered, "the base64 of what both passwords begin with"


async def test_an_unchanged_refresh_asks_nothing_of_kubernetes(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    calls, reads = len(world.calls), provider.reads
    for _ in range(3):
        await synced.advance(MINUTES)
    assert provider.reads > reads
    assert world.calls[calls:] == []
    assert synced.sample("syncret_syncs_total", result="unchanged") == provider.reads - reads


async def test_refreshes_come_once_in_an_interval(synced: Engine, provider: MemoryProvider) -> None:
    reads = provider.reads
    for _ in range(100):
        await synced.advance(60.0)
    assert provider.reads - reads in {99, 100, 101}


async def test_a_change_is_written_and_what_reads_it_restarted_once(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.values["app/db"] = remote(NEW_PASSWORD)
    await synced.advance(MINUTES)
    assert world.secret(NAMESPACE, "db")["password"] == NEW_PASSWORD.encode()
    assert restarts(world) == 1
    assert "db=" in checksum(world)
    assert status(world)["lastChangeTime"] == "2026-09-21T14:31:12Z"
    (target,) = status(world)["rollout"]["targets"]
    assert (target["name"], target["lastRolloutTime"]) == ("api", "2026-09-21T14:31:12Z")
    before = writes(world)
    await synced.advance(MINUTES)
    assert (restarts(world), writes(world)) == (1, before)


async def test_two_changes_are_two_events(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    for password in (NEW_PASSWORD, PASSWORD):
        provider.values["app/db"] = remote(password)
        await synced.advance(MINUTES)
    reasons = [reason for kind, reason, _ in world.events() if kind == "ExternalSecret"]
    assert reasons == ["Updated", "RolledOut"] * 2
    labels = {"namespace": NAMESPACE, "name": "db"}
    assert synced.sample("syncret_secret_changes_total", **labels) == 3
    assert [reason for kind, reason, _ in world.events() if kind == "Deployment"] == [
        "SecretChanged",
        "SecretChanged",
    ]


async def test_an_edit_is_acted_upon_at_once_and_what_it_drops_goes(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.values["app/db"] = remote(more="x")
    data = [{"secretKey": "only", "remoteRef": {"key": "app/db", "property": "more"}}]
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"data": data, "dataFrom": None}})
    await synced.settle()
    assert world.secret(NAMESPACE, "db") == {"only": b"x"}
    assert status(world)["syncedGeneration"] == 2
    assert ready(world)["observedGeneration"] == 2


@pytest.mark.parametrize("drift", ["edited", "added to", "deleted"])
async def test_drift_is_put_right_at_once(synced: Engine, world: FakeApiServer, drift: str) -> None:
    if drift == "deleted":
        world.remove("secrets", NAMESPACE, "db")
    else:
        key = "user" if drift == "edited" else "extra"
        world.edit("secrets", NAMESPACE, "db", {"data": {key: "bWFsbG9yeQ=="}})
    await synced.settle()
    assert world.secret(NAMESPACE, "db") == {"user": b"app", "password": PASSWORD.encode()}
    assert restarts(world) == 0, "the pods have what the Secret holds"
    assert ready(world)["status"] == "True"


async def test_drift_during_a_read_is_put_right_too(
    synced: Engine,
    world: FakeApiServer,
    provider: MemoryProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the read's own round knew of the Secret is old by then, and must not come back."""
    (client,) = provider.clients
    fetch = client.fetch

    async def meddled(refs: Collection[Ref], **known: Any) -> Mapping[Ref, Outcome]:
        monkeypatch.undo()
        world.edit("secrets", NAMESPACE, "db", {"data": {"password": "ZHJpZnQ="}})
        synced.watch()
        return await fetch(refs, **known)

    monkeypatch.setattr(client, "fetch", meddled)
    await synced.advance(MINUTES)
    assert world.secret(NAMESPACE, "db")["password"] == PASSWORD.encode()


async def test_a_label_that_was_taken_away_comes_back(synced: Engine, world: FakeApiServer) -> None:
    world.edit("secrets", NAMESPACE, "db", {"metadata": {"labels": {MANAGED_LABEL: None}}})
    await synced.settle()
    assert world.get("secrets", NAMESPACE, "db")["metadata"]["labels"] == {MANAGED_LABEL: "true"}
    assert ready(world)["status"] == "True"


async def test_a_secret_of_somebody_else_is_left_alone_and_the_store_unread(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    theirs = world.put("secrets", secret_body("db", {"user": b"theirs"}, owner="somebody"))
    engine.watch()
    await engine.settle()
    assert world.get("secrets", NAMESPACE, "db") == theirs
    assert ready(world)["reason"] == "SecretNotOwned"
    assert provider.reads == 0
    world.remove("secrets", NAMESPACE, "db")
    await engine.settle()
    assert world.secret(NAMESPACE, "db")["user"] == b"app"
    assert ready(world)["status"] == "True"


async def test_a_store_that_is_not_there_yet(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    store = world.get("secretstores", NAMESPACE, "aws")
    world.remove("secretstores", NAMESPACE, "aws")
    await engine.settle()
    assert ready(world)["reason"] == "StoreNotFound"
    world.put("secretstores", store)
    await engine.settle()
    await engine.advance(0.1)
    assert ready(world)["status"] == "True", "without waiting for the next attempt"


async def test_a_store_that_was_changed_is_read_again(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    reads = provider.reads
    world.edit("secretstores", NAMESPACE, "aws", {"spec": {"provider": {"memory": {"a": "b"}}}})
    await synced.settle()
    assert provider.reads == reads + 1


async def test_a_cluster_store_serves_the_namespaces_that_it_names(
    engine: Engine, world: FakeApiServer
) -> None:
    world.put("clustersecretstores", store_body(namespace="", namespaces=("other",)))
    reference = {"secretStoreRef": {"kind": "ClusterSecretStore", "name": "aws"}}
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": reference})
    await engine.settle()
    assert ready(world)["reason"] == "StoreNotAllowed"
    assert not world.has("secrets", NAMESPACE, "db")
    conditions = {"spec": {"conditions": [{"namespaces": ["other", NAMESPACE]}]}}
    world.edit("clustersecretstores", "", "aws", conditions)
    await engine.settle()
    await engine.advance(0.1)
    assert ready(world)["status"] == "True"


async def test_a_spec_that_cannot_be_read_is_told(engine: Engine, world: FakeApiServer) -> None:
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"dataFrom": None}})
    await engine.settle()
    assert ready(world)["reason"] == "SpecInvalid"
    assert not world.has("secrets", NAMESPACE, "db")


async def test_what_is_deleted_is_forgotten(synced: Engine, world: FakeApiServer) -> None:
    labels = {"namespace": NAMESPACE, "name": "db"}
    assert synced.sample("syncret_externalsecret_ready", **labels) == 1
    world.remove("externalsecrets", NAMESPACE, "db")
    await synced.settle()
    before = len(world.calls)
    await synced.advance(MINUTES)
    assert 'name="db"' not in synced.exposed()
    assert world.calls[before:] == []


async def test_what_is_being_deleted_is_left_alone(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    deleting = {"metadata": {"deletionTimestamp": "2026-09-21T14:30:00Z"}}
    world.edit("externalsecrets", NAMESPACE, "db", deleting)
    world.remove("secrets", NAMESPACE, "db")
    reads = provider.reads
    await synced.advance(MINUTES)
    assert provider.reads == reads
    assert not world.has("secrets", NAMESPACE, "db")
    assert 'name="db"' not in synced.exposed()


@pytest.mark.parametrize("collects", [True, False], ids=["collected", "faster than that"])
async def test_an_object_made_anew_under_the_name_takes_the_secret_up(
    synced: Engine, world: FakeApiServer, collects: bool
) -> None:
    """Whether the garbage collector has removed the Secret of the former by then or not."""
    world.collects = collects
    world.remove("externalsecrets", NAMESPACE, "db")
    again = database()
    again["metadata"]["uid"] = "uid-2"
    world.put("externalsecrets", again)
    await synced.settle()
    (owner,) = world.get("secrets", NAMESPACE, "db")["metadata"]["ownerReferences"]
    assert owner["uid"] == "uid-2"
    assert ready(world)["status"] == "True"


async def test_gone_without_a_word_of_the_watch(engine: Engine, world: FakeApiServer) -> None:
    """kopf does not tell of what was deleted while a watch was being renewed."""
    engine.watch()
    world.remove("externalsecrets", NAMESPACE, "db")
    while sum(engine.queue.depth()[lane] for lane in ("urgent", "forced")):
        await engine.work()
    assert engine.queue.depth()["delayed"] == 1  # the next check of the store
    assert engine.cache.external_secrets.get(KEY) is None
    assert 'name="db"' not in engine.exposed()


def test_only_equal_versions_of_the_same_keys_are_nothing_new() -> None:
    own, other = STORE, STORE._replace(name="other")
    record = external_secret(
        data=[
            {"secretKey": "a", "remoteRef": {"key": "a"}},
            {
                "secretKey": "b",
                "remoteRef": {"key": "b"},
                "sourceRef": {"storeRef": {"name": "other"}},
            },
        ]
    )
    sources = (Source("a", "1"), Source("b", "2", store="SecretStore/other"))

    def same(*read: tuple[ObjectKey, str, str | None]) -> bool:
        outcomes: dict[tuple[ObjectKey, Ref], Outcome] = {
            (store, Ref(key)): NotFound() if version is None else SecretValue(b"x", version=version)
            for store, key, version in read
        }
        status = ExternalSecretStatus(sources=sources)
        return same_versions(record, status, Fetched(outcomes))

    assert same((own, "a", "1"), (other, "b", "2"))
    assert not same((own, "a", "1"), (other, "b", "3"))
    assert not same((own, "a", "1"))
    assert not same((own, "a", "1"), (other, "c", "2"))
    assert not same((own, "a", "1"), (own, "b", "2")), "the same key of another store"
    assert not same((own, "a", "1"), (other, "b", None))
    sources = (Source("a", ""), Source("b", "2", store="SecretStore/other"))
    assert not same((own, "a", ""), (other, "b", "2")), "a store without versions"


@pytest.mark.parametrize("make", [partial(SecretValue, b"x"), Unchanged])
def test_an_expiry_is_news_only_where_the_store_tells_of_it(make: Any) -> None:
    record = external_secret(data=[{"secretKey": "a", "remoteRef": {"key": "a"}}])
    when = datetime(2026, 12, 24, tzinfo=UTC)
    status = ExternalSecretStatus(sources=(Source("a", "1", expires="2026-12-24T00:00:00Z"),))

    def same(**told: Any) -> bool:
        outcome = make(version="1", **told)
        return same_versions(record, status, Fetched({(STORE, Ref("a")): outcome}))

    assert same(), "nothing is told"
    assert same(expires=when)
    assert same(tags={"expires": "2026-12-24"})
    assert not same(tags={}), "it has none any more"
    assert not same(expires=when + timedelta(days=1))
