"""When an ExternalSecret is read again: policies, the annotation, sync windows; and restarts."""

from datetime import UTC, datetime
from typing import Any

import pytest

from support.apiserver import FakeApiServer
from support.clock import FakeClock
from support.engine import Engine, living
from support.provider import MemoryProvider
from syncret.constants import FORCE_SYNC_ANNOTATION
from syncret.errors import ProviderUnavailable
from syncret.queue import Priority
from unit.reconcile.payments import (
    KEY,
    NAMESPACE,
    NEW_PASSWORD,
    PASSWORD,
    ready,
    remote,
    status,
    writes,
)

MINUTES = 72.0  # later than any slot of a refresh interval of one minute
HOUR = 3600.0
LABELS = {"namespace": NAMESPACE, "name": "db"}
IN_SYNC = 'The Secret "db" holds what the store holds.'


def edit(world: FakeApiServer, **spec: Any) -> None:
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": spec})


def force(world: FakeApiServer, value: str | None) -> None:
    world.edit(
        "externalsecrets",
        NAMESPACE,
        "db",
        {"metadata": {"annotations": {FORCE_SYNC_ANNOTATION: value}}},
    )


def password(world: FakeApiServer) -> str:
    return world.secret(NAMESPACE, "db")["password"].decode()


# By the clock


async def test_an_unchanged_version_costs_no_value_and_a_new_one_all_of_them(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    provider.tells_versions = True
    provider.values["app/other"] = b"other"
    edit(world, data=[{"secretKey": "other", "remoteRef": {"key": "app/other"}}])
    await engine.settle()
    reads, values, before = provider.reads, provider.values_read, writes(world)
    await engine.advance(MINUTES)
    assert provider.reads > reads
    assert (provider.values_read, writes(world)) == (values, before)

    provider.values["app/db"] = remote(NEW_PASSWORD)
    await engine.advance(MINUTES)
    assert password(world) == NEW_PASSWORD
    assert world.secret(NAMESPACE, "db")["other"] == b"other"


@pytest.mark.parametrize("tells_versions", [True, False])
async def test_a_secret_that_was_made_again_is_not_taken_for_the_old_one(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider, tells_versions: bool
) -> None:
    """Where versions are counted, both have a version 1."""
    provider.tells_versions = tells_versions
    provider.made["app/db"] = datetime(2026, 1, 1, tzinfo=UTC)
    edit(world, rollout={"mode": "None"})
    await engine.settle()
    await engine.advance(MINUTES)
    before = writes(world)
    await engine.advance(MINUTES)
    assert writes(world) == before

    provider.values["app/db"] = remote(NEW_PASSWORD)
    provider.made["app/db"] = datetime(2026, 1, 2, tzinfo=UTC)
    await engine.advance(MINUTES)
    assert password(world) == NEW_PASSWORD
    values, before = provider.values_read, writes(world)
    await engine.advance(MINUTES)
    assert writes(world) == before
    assert (provider.values_read == values) is tells_versions


async def test_a_time_that_is_told_later_is_kept_and_tells_of_a_secret_that_was_made_again(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    def created() -> str | None:
        source: dict[str, str] = status(world)["sources"][0]
        return source.get("created")

    provider.tells_versions = provider.tells_times_of_the_known_only = True
    provider.made["app/db"] = datetime(2026, 1, 1, tzinfo=UTC)
    edit(world, rollout={"mode": "None"})
    await engine.settle()
    assert created() is None
    await engine.advance(MINUTES)
    assert created() == "2026-01-01T00:00:00Z"
    before = writes(world)
    await engine.advance(MINUTES)
    assert writes(world) == before

    edit(world, refreshInterval="59s")  # everything is read again
    await engine.settle()
    assert created() == "2026-01-01T00:00:00Z"

    provider.values["app/db"] = remote(NEW_PASSWORD)
    provider.made["app/db"] = datetime(2026, 1, 2, tzinfo=UTC)
    await engine.advance(MINUTES)
    assert password(world) == NEW_PASSWORD
    assert created() == "2026-01-02T00:00:00Z"
    before = writes(world)
    await engine.advance(MINUTES)
    assert writes(world) == before


# Without the clock

UNTIMED = [{"refreshInterval": "0s"}, {"refreshPolicy": "OnChange", "refreshInterval": None}]


@pytest.mark.parametrize("spec", UNTIMED)
async def test_without_the_clock_nothing_is_read_until_something_changes(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider, spec: dict[str, Any]
) -> None:
    edit(world, **spec)
    await engine.settle()
    assert provider.reads == 1
    provider.values["app/db"] = remote(NEW_PASSWORD)
    await engine.advance(10 * 86_400.0)
    assert (provider.reads, password(world)) == (1, PASSWORD)
    edit(world, rollout={"mode": "None"})
    await engine.settle()
    assert (provider.reads, password(world)) == (2, NEW_PASSWORD)


@pytest.mark.parametrize("spec", UNTIMED)
async def test_without_the_clock_drift_is_repaired_and_stores_count(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider, spec: dict[str, Any]
) -> None:
    edit(world, **spec)
    await engine.settle()
    world.edit("secrets", NAMESPACE, "db", {"data": {"password": "bWFsbG9yeQ=="}})
    await engine.settle()
    assert password(world) == PASSWORD
    reads = provider.reads
    world.edit("secretstores", NAMESPACE, "aws", {"spec": {"provider": {"memory": {"a": "b"}}}})
    await engine.settle()
    await engine.advance(1.0)
    assert provider.reads == reads + 1


async def test_the_clock_can_be_taken_away_and_given_back(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    edit(world, refreshInterval="0")
    await synced.settle()
    reads = provider.reads
    await synced.advance(HOUR)
    assert provider.reads == reads
    edit(world, refreshInterval="1m")
    await synced.settle()
    await synced.advance(MINUTES)
    assert provider.reads == reads + 2


# Once


async def test_created_once_is_read_once_and_says_so_after_an_edit(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    edit(world, refreshPolicy="CreatedOnce", refreshInterval=None)
    await engine.settle()
    provider.values["app/db"] = remote(NEW_PASSWORD)
    await engine.advance(10 * 86_400.0)
    edit(world, data=[{"secretKey": "more", "remoteRef": {"key": "app/db"}}])
    await engine.settle()
    assert (provider.reads, password(world)) == (1, PASSWORD)
    told = ready(world)
    assert (told["status"], told["observedGeneration"]) == ("True", 3)
    assert "was made once, from an older spec, and stays as it is" in told["message"]
    before = writes(world)
    await engine.advance(HOUR)
    assert writes(world) == before

    force(world, "now")
    await engine.settle()
    assert password(world) == NEW_PASSWORD
    assert "more" in world.secret(NAMESPACE, "db")
    assert ready(world)["message"] == IN_SYNC


async def test_created_once_is_tried_until_it_is_created_and_repaired_when_it_is_gone(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    edit(world, refreshPolicy="CreatedOnce", refreshInterval=None)
    provider.failure = ProviderUnavailable("Down.")
    await engine.settle()
    provider.failure = None
    await engine.advance(60.0)
    assert password(world) == PASSWORD
    world.remove("secrets", NAMESPACE, "db")
    await engine.settle()
    assert password(world) == PASSWORD


async def test_turning_to_created_once_ends_the_refreshes(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    edit(world, refreshPolicy="CreatedOnce", refreshInterval=None)
    await synced.settle()
    reads = provider.reads
    await synced.advance(HOUR)
    assert provider.reads == reads


# The annotation


async def test_another_value_of_the_annotation_is_one_refresh(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    edit(world, refreshInterval="0")
    await synced.settle()
    reads = provider.reads
    for number, value in enumerate(["1", "2", "3" * 10_000], start=1):
        force(world, value)
        await synced.settle()
        assert provider.reads == reads + number
    force(world, None)
    await synced.advance(HOUR)
    assert provider.reads == reads + 3
    assert len(status(world)["forceSync"]) == 16


async def test_the_wish_is_forced_and_an_edit_with_it_urgent(
    synced: Engine, world: FakeApiServer
) -> None:
    force(world, "now")
    synced.watch()
    assert synced.queue.depth()["forced"] == 1
    edit(world, refreshInterval="5m")
    synced.watch()
    assert synced.queue.depth()["urgent"] == 1
    assert synced.queue._ready[KEY].lane is Priority.URGENT


async def test_a_restart_remembers_what_was_asked_for(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    edit(world, refreshInterval="0")
    force(world, "asked-for-once")
    for _ in range(3):
        async with living(world, provider=provider, clock=clock) as engine:
            await engine.settle()
            before = writes(world)
    assert provider.reads == 1
    assert writes(world) == before


async def test_a_wish_that_failed_stands_until_it_is_met(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    edit(world, refreshInterval="0")
    await synced.settle()
    provider.failure = ProviderUnavailable("Down.")
    force(world, "now")
    await synced.settle()
    assert ready(world)["status"] == "False"
    assert "forceSync" not in status(world)
    provider.failure = None
    provider.values["app/db"] = remote(NEW_PASSWORD)
    await synced.advance(300.0)
    assert password(world) == NEW_PASSWORD
    assert status(world)["forceSync"]


# Sync windows. The clock stands at 14:30 UTC.

NIGHT = {"kind": "Allow", "schedule": "0 2 * * *", "duration": "2h"}
OPENS = 11.5 * HOUR  # until two o'clock
WAITS = (
    'The Secret "db" holds what the store held at the last refresh; the next is due and waits for '
    "a sync window to open at 2026-09-22T02:00:00Z."
)


@pytest.fixture
async def windowed(world: FakeApiServer, engine: Engine) -> Engine:
    """Synced at half past two in the afternoon, to be refreshed at night."""
    edit(world, syncWindows=[NIGHT])
    await engine.settle()
    return engine


def held(engine: Engine) -> float | None:
    return engine.sample("syncret_externalsecret_refresh_held", **LABELS)


async def test_the_first_sync_does_not_wait_and_the_refresh_does(
    windowed: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    assert password(world) == PASSWORD
    assert (ready(world)["message"], held(windowed)) == (IN_SYNC, 0)
    provider.values["app/db"] = remote(NEW_PASSWORD)
    await windowed.advance(MINUTES)
    assert (ready(world)["message"], held(windowed)) == (WAITS, 1)
    assert ready(world)["status"] == "True"
    assert status(world)["heldUntil"] == "2026-09-22T02:00:00Z"
    before, reads = writes(world), provider.reads
    await windowed.advance(OPENS - 2 * MINUTES)
    assert (writes(world), provider.reads, password(world)) == (before, reads, PASSWORD)
    await windowed.advance(2 * MINUTES + 70)
    assert password(world) == NEW_PASSWORD
    assert (ready(world)["message"], held(windowed)) == (IN_SYNC, 0)
    assert "heldUntil" not in status(world)


async def test_in_the_window_refreshes_are_made_as_ever_and_cost_no_write(
    windowed: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    await windowed.advance(OPENS + 600)
    before, reads = writes(world), provider.reads
    for _ in range(60):
        await windowed.advance(60.0)
    assert provider.reads - reads in range(58, 63)
    assert writes(world) == before
    await windowed.advance(HOUR + 600)
    reads = provider.reads
    await windowed.advance(HOUR)
    assert provider.reads == reads


async def test_edits_the_annotation_and_repairs_do_not_wait(
    windowed: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    reads = provider.reads
    edit(world, rollout={"mode": "None"})
    await windowed.settle()
    force(world, "now")
    await windowed.settle()
    world.remove("secrets", NAMESPACE, "db")
    await windowed.settle()
    assert provider.reads == reads + 3
    assert ready(world)["message"] == IN_SYNC


async def test_a_restart_while_it_waits_causes_nothing(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    edit(world, syncWindows=[NIGHT])
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        await engine.advance(HOUR)
    before, reads = writes(world), provider.reads
    for _ in range(3):
        async with living(world, provider=provider, clock=clock) as engine:
            await engine.settle()
            await engine.advance(HOUR)
    assert (writes(world), provider.reads) == (before, reads)
    assert ready(world)["message"] == WAITS
    provider.values["app/db"] = remote(NEW_PASSWORD)
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        await engine.advance(OPENS - 4 * HOUR + 70)
    assert password(world) == NEW_PASSWORD, "what waited is not lost"


async def test_a_restart_before_anything_waits_tells_nothing(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    """The window was closed for hours, but what fell due by now was served by the first sync."""
    edit(world, syncWindows=[NIGHT], refreshInterval="1h")
    for _ in range(3):
        async with living(world, provider=provider, clock=clock) as engine:
            await engine.settle()
            before = writes(world)
    assert ready(world)["message"] == IN_SYNC
    assert (writes(world), provider.reads) == (before, 1)


async def test_a_restart_after_a_wish_that_did_not_wait_tells_nothing(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    edit(world, syncWindows=[NIGHT], refreshInterval="1h")
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        await engine.advance(3 * HOUR)
        assert ready(world)["message"] == WAITS
        force(world, "now")
        await engine.settle()
        assert ready(world)["message"] == IN_SYNC
    before, reads = writes(world), provider.reads
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        assert (writes(world), provider.reads) == (before, reads)
        await engine.advance(1.3 * HOUR)
    assert ready(world)["message"] == WAITS


async def test_a_refresh_that_fails_in_the_window_is_not_tried_again_after_it(
    windowed: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    await windowed.advance(OPENS + HOUR)
    provider.failure = ProviderUnavailable("Down.")
    for _ in range(60):
        await windowed.advance(60.0)
    assert ready(world)["reason"] == "ProviderUnavailable"
    assert "heldUntil" not in status(world)
    provider.failure = None
    provider.values["app/db"] = remote(NEW_PASSWORD)
    reads = provider.reads
    for _ in range(22):
        await windowed.advance(HOUR)
        assert (provider.reads, password(world)) == (reads, PASSWORD)
    await windowed.advance(70.0)
    assert password(world) == NEW_PASSWORD
    assert ready(world)["status"] == "True"


async def test_a_deny_window_keeps_refreshes_out(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    edit(
        world,
        syncWindows=[
            {
                "kind": "Deny",
                "schedule": "0 9 * * *",
                "duration": "9h",
                "timeZone": "Europe/Berlin",
            }
        ],
    )
    await engine.settle()
    provider.values["app/db"] = remote(NEW_PASSWORD)
    await engine.advance(1.4 * HOUR)
    assert password(world) == PASSWORD
    assert ready(world)["message"].endswith("open at 2026-09-21T16:00:00Z."), "18:00 in Berlin"
    await engine.advance(0.1 * HOUR + 70)
    assert password(world) == NEW_PASSWORD


async def test_windows_that_are_taken_away_let_refreshes_be(
    windowed: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    await windowed.advance(MINUTES)
    assert held(windowed) == 1
    edit(world, syncWindows=None)
    await windowed.settle()
    assert (ready(world)["message"], held(windowed)) == (IN_SYNC, None)
    assert "heldUntil" not in status(world)
    reads = provider.reads
    await windowed.advance(MINUTES)
    assert provider.reads == reads + 1
