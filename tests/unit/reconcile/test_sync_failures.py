"""Failures: told once, tried again with growing delays, and over when they are over."""

from itertools import pairwise

import pytest

from support.apiserver import FakeApiServer, Refusal
from support.engine import Engine
from support.provider import MemoryProvider
from syncret.errors import AccessDenied, ProviderUnavailable, Throttled
from unit.reconcile.payments import (
    NAMESPACE,
    NEW_PASSWORD,
    PASSWORD,
    checksum,
    database,
    ready,
    remote,
    restarts,
    status,
    writes,
)

MINUTES = 72.0  # later than any slot of a refresh interval of one minute


def _told(world: FakeApiServer) -> list[str]:
    return [reason for kind, reason, _ in world.events() if kind == "ExternalSecret"]


async def test_a_failure_is_told_once_and_leaves_the_secret(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    secret = world.get("secrets", NAMESPACE, "db")
    provider.failure = AccessDenied("The store refuses the credentials.")
    await synced.advance(MINUTES)
    condition = ready(world)
    assert (condition["status"], condition["reason"]) == ("False", "AccessDenied")
    assert condition["message"] == "The store refuses the credentials."
    before = writes(world)
    for _ in range(10):
        await synced.advance(100)
    assert writes(world) == before, "the same failure again is nothing new"
    assert world.get("secrets", NAMESPACE, "db") == secret
    assert _told(world) == ["AccessDenied"]
    labels = {"namespace": NAMESPACE, "name": "db"}
    assert synced.sample("syncret_externalsecret_ready", **labels) == 0
    assert (synced.sample("syncret_sync_failures_total", reason="AccessDenied") or 0) > 5
    assert provider.reads == 2, "what asks a store that refuses us is its check, not its readers"


async def test_another_failure_is_told_and_the_transition_stays(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.failure = AccessDenied("The store refuses the credentials.")
    await synced.advance(MINUTES)
    since = ready(world)["lastTransitionTime"]
    provider.failure = ProviderUnavailable("The store does not answer.")
    await synced.advance(10)
    assert ready(world)["reason"] == "ProviderUnavailable"
    assert ready(world)["lastTransitionTime"] == since


async def test_delays_grow_up_to_their_cap(synced: Engine, provider: MemoryProvider) -> None:
    del provider.values["app/db"]
    await synced.advance(MINUTES)
    times, seen = [synced.clock.now], provider.reads
    while synced.clock.now < 4000:
        await synced.advance(0.5)
        if provider.reads > seen:
            times.append(synced.clock.now)
            seen = provider.reads
    gaps = [later - earlier for earlier, later in pairwise(times)]
    for number, gap in enumerate(gaps[1:], start=1):
        wanted = min(300.0, 2.0**number)
        assert 0.8 * wanted - 0.5 <= gap <= wanted + 0.5
    assert len(gaps) > 9


async def test_a_wait_that_the_store_asks_for_is_kept(
    synced: Engine, provider: MemoryProvider
) -> None:
    provider.failure = Throttled("Too many requests.", retry_after=500)
    await synced.advance(MINUTES)
    reads = provider.reads
    await synced.advance(499)
    assert provider.reads == reads
    await synced.advance(101)
    assert provider.reads == reads + 1


async def test_a_wait_is_kept_though_the_status_cannot_be_written(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.failure = Throttled("Too many requests.", retry_after=500)
    world.intercept("PATCH", "externalsecrets", Refusal(500))
    await synced.advance(MINUTES)
    reads = provider.reads
    await synced.advance(499)
    assert provider.reads == reads
    await synced.advance(101)
    assert ready(world)["reason"] == "Throttled"


async def test_recovery(synced: Engine, world: FakeApiServer, provider: MemoryProvider) -> None:
    provider.failure = ProviderUnavailable("The store does not answer.")
    await synced.advance(MINUTES)
    provider.failure = None
    await synced.advance(1)
    assert ready(world)["status"] == "True"
    assert ready(world)["lastTransitionTime"] == "2026-09-21T14:31:13Z"
    assert status(world)["lastChangeTime"] == "2026-09-21T14:30:00Z", "the data are the same"
    calls, reads = len(world.calls), provider.reads
    await synced.advance(MINUTES)
    assert provider.reads - reads in {1, 2}, "back to the slots of the refresh interval"
    assert world.calls[calls:] == []


async def test_a_failure_that_comes_back_after_a_recovery_is_told_again(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    for _ in range(2):
        provider.failure = ProviderUnavailable("The store does not answer.")
        await synced.advance(MINUTES)
        provider.failure = None
        await synced.advance(10)
    assert _told(world) == ["ProviderUnavailable", "Synced"] * 2


async def test_an_edit_is_tried_at_once_whatever_was_to_be_waited_for(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"target": {"name": "a/b"}}})
    del provider.values["app/db"]
    provider.values["app/other"] = remote()
    await engine.settle()
    assert ready(world)["reason"] == "KeyNotFound"
    spec = {"target": None, "dataFrom": [{"extract": {"key": "app/other"}}]}
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": spec})
    await engine.settle()
    assert ready(world)["status"] == "True"


async def test_readers_try_again_when_their_store_has_recovered(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.failure = ProviderUnavailable("The store is down.")
    await synced.advance(MINUTES)
    for _ in range(200):
        await synced.advance(10)
    assert ready(world)["reason"] == "ProviderUnavailable"
    store = world.get("secretstores", NAMESPACE, "aws")
    assert store["status"]["conditions"][0]["reason"] == "ProviderUnavailable"
    reads = provider.reads
    provider.failure = None
    for _ in range(9):  # its own next attempt may be minutes away
        await synced.advance(2)
    assert ready(world)["status"] == "True"
    assert provider.reads == reads + 1


async def test_a_status_that_was_not_written_is_written_later(
    engine: Engine, world: FakeApiServer
) -> None:
    world.intercept("PATCH", "externalsecrets", Refusal(500), times=3)
    await engine.settle()
    secret = world.get("secrets", NAMESPACE, "db")
    assert status(world) == {}
    for _ in range(10):
        await engine.advance(1)
    assert ready(world)["status"] == "True"
    assert status(world)["lastChangeTime"], "the Secret was made, though the status came later"
    assert world.get("secrets", NAMESPACE, "db") == secret, "written once"
    before = writes(world)
    await engine.advance(MINUTES)
    assert writes(world) == before


async def test_an_answer_to_the_status_that_got_lost(engine: Engine, world: FakeApiServer) -> None:
    world.intercept("PATCH", "externalsecrets", Refusal(500), after=True)
    await engine.settle()
    assert ready(world)["status"] == "True"
    await engine.advance(1)
    told, before = status(world), writes(world)
    await engine.advance(MINUTES)
    assert (status(world), writes(world)) == (told, before)
    assert restarts(world) == 0


@pytest.mark.parametrize("answer", [Refusal(500), Refusal(403, "Forbidden"), Refusal(429)])
async def test_a_secret_that_cannot_be_written_is_tried_again(
    engine: Engine, world: FakeApiServer, answer: Refusal
) -> None:
    world.intercept("POST", "secrets", answer)
    await engine.settle()
    assert ready(world)["status"] == "False"
    assert not world.has("secrets", NAMESPACE, "db")
    await engine.advance(2)
    assert world.secret(NAMESPACE, "db")["password"] == PASSWORD.encode()
    assert ready(world)["status"] == "True"


async def test_a_restart_that_fails_is_made_later_and_once(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    (baseline,) = status(world)["rollout"]["targets"]
    world.intercept("PATCH", "deployments", Refusal(403, "Forbidden"), times=2)
    provider.values["app/db"] = remote(NEW_PASSWORD)
    await synced.advance(MINUTES)
    assert world.secret(NAMESPACE, "db")["password"] == NEW_PASSWORD.encode()
    assert ready(world)["status"] == "True"
    (owed,) = status(world)["rollout"]["targets"]
    assert (owed["phase"], owed["checksum"]) == ("Pending", baseline["checksum"])
    reads = provider.reads
    for _ in range(6):
        await synced.advance(1)
    assert restarts(world) == 1
    assert provider.reads == reads, "a restart is no reason to read the store"
    assert "db=" in checksum(world)
    (target,) = status(world)["rollout"]["targets"]
    assert target["checksum"] != baseline["checksum"]
    assert synced.sample("syncret_rollouts_total", kind="Deployment", result="failed") == 2
    assert synced.sample("syncret_rollouts_total", kind="Deployment", result="rolled") == 1
    assert _told(world).count("RolloutFailed") == 1


async def test_a_wait_that_is_over_does_not_delay_the_status(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    """The wait had grown long, an edit went well all the same, its status did not."""
    value = provider.values.pop("app/db")
    for _ in range(100):
        await synced.advance(60)
    provider.values["app/db"] = value
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"refreshInterval": "2m"}})
    world.intercept("PATCH", "externalsecrets", Refusal(500))
    await synced.settle()
    await synced.advance(2)
    assert ready(world)["status"] == "True"


async def test_another_object_under_the_name_does_not_get_the_status(
    engine: Engine, world: FakeApiServer
) -> None:
    """It was made anew before the watch has said so."""
    engine.watch()
    world.remove("externalsecrets", NAMESPACE, "db")
    again = database()
    again["metadata"]["uid"] = "uid-2"
    world.put("externalsecrets", again)
    while sum(engine.queue.depth()[lane] for lane in ("urgent", "forced")):
        await engine.work()
    assert status(world) == {}


async def test_data_that_nobody_vouches_for_restart_nothing(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    """Somebody altered the Secret, and the store that would tell what is right does not answer."""
    provider.failure = ProviderUnavailable("The store does not answer.")
    world.edit("secrets", NAMESPACE, "db", {"data": {"password": "bWFsbG9yeQ=="}})
    await synced.settle()
    await synced.advance(10)
    assert ready(world)["status"] == "False"
    assert restarts(world) == 0
    provider.failure = None
    await synced.advance(30)
    assert world.secret(NAMESPACE, "db")["password"] == PASSWORD.encode()
    assert restarts(world) == 0
