"""What an event makes of caches and queue: keys for what concerns somebody, and none for echoes."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import kopf
import pytest

from support.clock import FakeClock
from support.objects import external_secret_body, secret_body, store_body, workload_body
from syncret.api.keys import ObjectKey
from syncret.api.secret import parse_secret
from syncret.api.store import parse_store
from syncret.api.workload import WorkloadKey
from syncret.cache import Cache
from syncret.digest import Digester
from syncret.queue import Queue
from syncret.watch import Watcher

KEY = ObjectKey("ExternalSecret", "payments", "db")
STORE = ObjectKey("SecretStore", "payments", "aws")
DIGESTER = Digester(b"k" * 32)
EXTRACT = [{"extract": {"key": "app/db"}}]
SYNCED = {"syncedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}


class Watched:
    """A watcher, and the keys that are due since one last looked."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cache = Cache()
        self.queue: Queue[ObjectKey] = Queue(self.clock)
        self.watcher = Watcher(cache=self.cache, queue=self.queue, digester=DIGESTER)

    def external_secret(self, name: str = "db", *, deleted: bool = False, **fields: Any) -> None:
        body = external_secret_body(name, **{"dataFrom": EXTRACT, **fields})
        self.watcher.external_secret(body, deleted)

    def store(self, *, deleted: bool = False, **fields: Any) -> None:
        body = store_body(**fields)
        self.watcher.store(body["kind"], body, deleted)

    def secret(
        self, data: dict[str, bytes] | None = None, *, deleted: bool = False, **fields: Any
    ) -> None:
        self.watcher.secret(secret_body("db", data or {"user": b"app"}, **fields), deleted)

    def workload(self, *, deleted: bool = False, **fields: Any) -> None:
        self.watcher.workload("Deployment", workload_body(**fields), deleted)

    @property
    def waiting(self) -> int:
        """How many keys wait, now or for later."""
        return sum(self.queue.depth().values())

    async def due(self) -> list[str]:
        """The keys that are due, by name; they are done with then."""
        keys = []
        while self.waiting - self.queue.depth()["delayed"]:
            key = await self.queue.take()
            self.queue.done(key)
            keys.append(str(key))
        return sorted(keys)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
async def known(watched: Watched) -> Watched:
    """One of each, which have been seen and worked on."""
    watched.external_secret()
    watched.store()
    watched.secret(version=5)
    watched.workload()
    await watched.due()
    return watched


async def test_everything_new_is_worked_on_once(watched: Watched) -> None:
    watched.external_secret()
    watched.store()
    watched.secret()
    watched.workload()
    assert await watched.due() == ["ExternalSecret payments/db", "SecretStore payments/aws"]
    assert watched.waiting == 0


async def test_a_list_after_a_lost_watch_queues_nothing(known: Watched) -> None:
    known.external_secret()
    known.store()
    known.secret(version=5)
    known.workload()
    assert known.waiting == 0


async def test_the_echo_of_our_own_status_queues_nothing(known: Watched) -> None:
    known.external_secret(status=SYNCED)
    record = known.cache.external_secrets.get(KEY)
    assert record is not None
    assert record.status.synced_generation == 1
    assert known.waiting == 0


async def test_labels_and_annotations_of_an_object_are_no_change(known: Watched) -> None:
    body = external_secret_body("db", dataFrom=EXTRACT)
    body["metadata"]["labels"] = {"a": "b"}
    known.watcher.external_secret(body, False)
    assert known.waiting == 0


@pytest.mark.parametrize("change", [{"generation": 2}, {"uid": "uid-2"}])
async def test_an_edit_is_worked_on(known: Watched, change: dict[str, Any]) -> None:
    known.external_secret(**change)
    assert await known.due() == ["ExternalSecret payments/db"]


async def test_what_begins_to_be_deleted_is_worked_on(known: Watched) -> None:
    body = external_secret_body("db", dataFrom=EXTRACT)
    body["metadata"]["deletionTimestamp"] = "2026-09-21T14:30:00Z"
    known.watcher.external_secret(body, False)
    assert await known.due() == ["ExternalSecret payments/db"]


async def test_what_is_deleted_gets_a_last_round_and_no_other(known: Watched) -> None:
    known.queue.add(KEY, delay=60)  # its next refresh
    known.external_secret(deleted=True)
    assert known.cache.external_secrets.get(KEY) is None
    assert await known.due() == ["ExternalSecret payments/db"]
    assert known.waiting == 0


async def test_a_late_word_of_the_deletion_of_a_former_one(known: Watched) -> None:
    """kopf handles the events of each uid in a task of its own: these two may change places."""
    known.external_secret(uid="uid-2")
    known.store(uid="store-2")
    known.secret(uid="secret-2", version=9)
    known.workload(uid="workload-2")
    await known.due()
    known.clock.advance(60)
    await known.due()
    known.external_secret(uid="uid-1", deleted=True)
    known.store(uid="store-1", deleted=True)
    known.secret(uid="secret-1", version=8, deleted=True)
    known.workload(uid="workload-1", deleted=True)
    assert known.waiting == 0
    cache = known.cache
    found = (
        cache.external_secrets.get(KEY),
        cache.stores.get(STORE),
        cache.secrets.get(("payments", "db")),
        cache.workloads.get(WorkloadKey("payments", "Deployment", "api")),
    )
    uids = [record.uid if record is not None else "" for record in found]
    assert uids == ["uid-2", "store-2", "secret-2", "workload-2"]


async def test_a_store_that_changed_is_checked_and_its_readers_come_one_by_one(
    known: Watched,
) -> None:
    for number in range(99):
        known.external_secret(f"other-{number}", uid=f"other-{number}")
    known.external_secret("elsewhere", uid="e", secretStoreRef={"name": "another"})
    await known.due()
    known.store(generation=2)
    at_once = await known.due()
    assert "SecretStore payments/aws" in at_once
    assert len(at_once) <= 3
    known.clock.advance(1)
    in_time = await known.due()
    assert 45 <= len(in_time) <= 55
    known.clock.advance(1)
    assert len(at_once) + len(in_time) + len(await known.due()) == 1 + 100
    assert known.waiting == 0


async def test_however_many_readers_come_within_half_a_minute(watched: Watched) -> None:
    for number in range(2000):
        watched.external_secret(f"es-{number}", uid=f"es-{number}")
    watched.store()
    await watched.due()
    watched.store(generation=2)
    watched.clock.advance(30)
    assert len(await watched.due()) == 2001


async def test_a_store_of_another_namespace_or_kind_has_other_readers(known: Watched) -> None:
    known.store(namespace="other")
    known.store(namespace="", uid="store-3")
    assert await known.due() == ["ClusterSecretStore aws", "SecretStore other/aws"]


async def test_a_store_made_anew_under_its_name_is_another_one(known: Watched) -> None:
    known.store(uid="store-2")
    assert "SecretStore payments/aws" in await known.due()


async def test_a_store_that_says_something_else_of_itself_wakes_its_readers(
    known: Watched,
) -> None:
    known.store(ready="False")
    assert await known.due() == ["ExternalSecret payments/db"]
    known.store(ready="False")
    assert known.waiting == 0
    known.store(ready="True")
    assert await known.due() == ["ExternalSecret payments/db"]


async def test_a_store_that_is_deleted_concerns_its_readers(known: Watched) -> None:
    known.store(deleted=True)
    assert known.cache.stores.get(STORE) is None
    assert await known.due() == ["ExternalSecret payments/db", "SecretStore payments/aws"]


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"user": b"mallory"}},
        {"data": {"user": b"app", "more": b"x"}},
        {"uid": "secret-2"},
        {"version": 1, "uid": "secret-2"},  # versions of two objects are not compared
        {"owner": "somebody"},
        {"immutable": True},
        {"managed": False},
        {"deleted": True},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_drift_of_a_secret_is_its_owners_business(
    known: Watched, change: dict[str, Any]
) -> None:
    known.external_secret("other", uid="other")
    await known.due()
    known.secret(**{"version": 6, **change})
    assert await known.due() == ["ExternalSecret payments/db"]


async def test_a_change_that_is_none_of_its_data_is_taken_note_of_only(known: Watched) -> None:
    known.secret(version=6)
    record = known.cache.secrets.get(("payments", "db"))
    assert record is not None
    assert record.resource_version == "6"
    assert known.waiting == 0


async def test_an_older_event_of_a_secret_is_ignored(known: Watched) -> None:
    """The answer to our own write was faster than the watch."""
    ours = parse_secret(secret_body("db", {"user": b"new"}, version=10), DIGESTER)
    known.cache.secrets.put(("payments", "db"), ours)
    known.secret({"user": b"app"}, version=9)
    assert known.cache.secrets.get(("payments", "db")) == ours
    known.secret({"user": b"new"}, version=10)
    assert known.waiting == 0
    known.secret({"user": b"mallory"}, version=11)
    assert await known.due() == ["ExternalSecret payments/db"]


async def test_versions_are_numbers_and_not_text(known: Watched) -> None:
    known.secret({"user": b"ten"}, version=10)  # "10" < "5"
    assert await known.due() == ["ExternalSecret payments/db"]


async def test_versions_that_are_no_numbers_are_not_compared(known: Watched) -> None:
    body = secret_body("db", {"user": b"other"})
    body["metadata"]["resourceVersion"] = "opaque"
    known.watcher.secret(body, False)
    assert await known.due() == ["ExternalSecret payments/db"]


async def test_a_workload_concerns_the_secrets_that_it_reads_or_read(known: Watched) -> None:
    known.external_secret("cache", uid="cache", target={"name": "redis"})
    known.external_secret("third", uid="third")
    await known.due()
    known.workload(reads=("redis",))
    assert await known.due() == ["ExternalSecret payments/cache", "ExternalSecret payments/db"]
    known.workload(reads=("redis",), deleted=True)
    assert await known.due() == ["ExternalSecret payments/cache"]
    assert len(known.cache.workloads) == 0


async def test_an_annotation_that_others_took_away_is_looked_at(known: Watched) -> None:
    known.workload(checksum="x")
    assert await known.due() == ["ExternalSecret payments/db"]


async def test_the_status_of_a_workload_is_no_change(known: Watched) -> None:
    body = workload_body()
    body["status"] = {"readyReplicas": 1}
    body["spec"]["replicas"] = 7
    known.watcher.workload("Deployment", body, False)
    assert known.waiting == 0


async def test_a_workload_of_another_namespace_is_none_of_ours(known: Watched) -> None:
    known.workload(namespace="other", uid="workload-2")
    assert known.waiting == 0


async def test_what_kopf_is_asked_for(watched: Watched) -> None:
    """What is not reflected, and no handler that would write to it."""
    registry = kopf.OperatorRegistry()
    watched.watcher.register(registry)
    handlers = registry._watching.get_all_handlers()
    assert sorted(handler.id for handler in handlers) == [
        "clusterexternalsecrets",
        "clustergenerators",
        "clustersecretstores",
        "daemonsets",
        "deployments",
        "generators",
        "secretstores",
        "statefulsets",
    ]
    for others in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert list(others.get_all_handlers()) == []
    # One as kopf calls it: a list's events have no type.
    (handler,) = (handler for handler in handlers if handler.id == "secretstores")
    body = store_body("aws")
    key = parse_store("SecretStore", body).key
    for kind, there in ((None, True), ("DELETED", False), ("ADDED", True)):
        handle = cast("Callable[..., Awaitable[None]]", handler.fn)
        await handle(event={"type": kind, "object": body}, logger=None, body=body)
        assert (watched.cache.stores.get(key) is not None) is there
