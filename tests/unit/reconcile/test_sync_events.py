"""Hints of events, and the annotation that has the store rotate."""

from support.apiserver import FakeApiServer
from support.clock import FakeClock
from support.engine import Engine, living
from support.provider import MemoryProvider
from syncret.constants import EVENT_ANNOTATION, ROTATE_ANNOTATION
from syncret.errors import AccessDenied, ProviderUnavailable
from syncret.reconcile.rotating import LIMIT
from unit.reconcile.payments import KEY, NAMESPACE, NEW_PASSWORD, PASSWORD, ready, remote, status


def annotate(world: FakeApiServer, annotation: str, value: str) -> None:
    meta = {"metadata": {"annotations": {annotation: value}}}
    world.edit("externalsecrets", NAMESPACE, "db", meta)


def edit(world: FakeApiServer, **spec: object) -> None:
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": spec})


def password(world: FakeApiServer) -> str:
    return world.secret(NAMESPACE, "db")["password"].decode()


async def test_a_hint_makes_the_refresh_due_at_once(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    edit(world, refreshInterval="24h")
    await synced.settle()
    provider.values["app/db"] = remote(NEW_PASSWORD)
    reads = provider.reads
    synced.hints.give(KEY)
    await synced.settle()
    assert (password(world), provider.reads) == (NEW_PASSWORD, reads + 1)
    for _ in range(50):
        synced.hints.give(KEY)
        await synced.settle()
    await synced.advance(10.0)
    assert provider.reads <= reads + 3, "a storm of them is one more"


async def test_who_gave_it_learns_that_it_was_followed(
    synced: Engine, provider: MemoryProvider
) -> None:
    for failure in (None, ProviderUnavailable("The store is away.")):
        provider.failure = failure
        number = synced.hints.give(KEY)
        await synced.advance(2.0)
        assert await synced.hints.wait([(KEY, number)], timeout=0.01), failure


async def test_the_annotation_of_another_replica_is_a_hint(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.values["app/db"] = remote(NEW_PASSWORD)
    annotate(world, EVENT_ANNOTATION, "2026-01-01T00:00:00.001Z")
    await synced.settle()
    assert password(world) == NEW_PASSWORD
    reads = provider.reads
    world.edit("externalsecrets", NAMESPACE, "db", {"metadata": {"labels": {"a": "b"}}})
    await synced.settle()
    assert provider.reads == reads, "it is not followed twice"


async def test_who_is_refreshed_by_changes_alone_is_not_by_events(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    for policy in ("OnChange", "CreatedOnce"):
        edit(world, refreshPolicy=policy, refreshInterval=None)
        await synced.settle()
        reads = provider.reads
        synced.hints.give(KEY)
        await synced.advance(2.0)
        assert provider.reads == reads, policy
    edit(world, refreshPolicy="Periodic", refreshInterval="0")
    await synced.settle()
    reads = provider.reads
    synced.hints.give(KEY)
    await synced.advance(2.0)
    assert provider.reads == reads + 1


async def test_an_event_waits_for_the_sync_window(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    window = {"kind": "Deny", "schedule": "* * * * *", "duration": "2m"}
    edit(world, refreshInterval="24h", syncWindows=[window])
    await synced.settle()
    provider.values["app/db"] = remote(NEW_PASSWORD)
    synced.hints.give(KEY)
    await synced.advance(30.0)
    assert password(world) == PASSWORD
    edit(world, syncWindows=None)
    await synced.settle()
    assert password(world) == NEW_PASSWORD


async def test_a_hint_ends_the_wait_after_a_failure(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    del provider.values["app/db"]
    for _ in range(4):
        await synced.advance(80.0)
    assert ready(world)["status"] == "False"
    provider.values["app/db"] = remote(NEW_PASSWORD)
    synced.hints.give(KEY)
    await synced.settle()
    assert (ready(world)["status"], password(world)) == ("True", NEW_PASSWORD)


# Rotation


async def test_the_annotation_has_the_store_rotate_once_and_follows_it(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    edit(world, refreshInterval="24h")
    await synced.settle()
    provider.rotates_to = remote(NEW_PASSWORD)
    annotate(world, ROTATE_ANNOTATION, "1")
    await synced.advance(5.0)
    assert [key for key, _ in provider.rotated] == ["app/db"]
    assert status(world)["rotate"]["state"] == "Rotating"
    provider.values["app/db"] = provider.rotates_to
    await synced.advance(15.0)
    told = status(world)["rotate"]
    assert (told["state"], password(world)) == ("Done", NEW_PASSWORD)
    assert told["keys"][0]["version"] == status(world)["sources"][0]["version"]
    await synced.advance(3600.0)
    assert len(provider.rotated) == 1
    annotate(world, ROTATE_ANNOTATION, "2:app/other")
    await synced.settle()
    assert (status(world)["rotate"]["state"], len(provider.rotated)) == ("Failed", 1)


async def test_what_the_store_refuses_is_told_and_not_tried_again(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.failure = AccessDenied("Rotating is denied: allow it.")
    annotate(world, ROTATE_ANNOTATION, "1")
    await synced.settle()
    told = status(world)["rotate"]
    assert (told["state"], told["message"]) == ("Failed", "Rotating is denied: allow it.")
    provider.failure = None
    await synced.advance(600.0)
    assert len(provider.rotated) == 1
    assert password(world) == PASSWORD


async def test_a_rotation_that_never_ends_has_failed(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.rotates_to = remote(NEW_PASSWORD)
    annotate(world, ROTATE_ANNOTATION, "1")
    for _ in range(60):
        await synced.advance(LIMIT / 50)
    told = status(world)["rotate"]
    assert told["state"] == "Failed"
    assert "see the log of the rotation function" in told["message"]


async def test_a_restart_neither_rotates_again_nor_forgets(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    async with living(world, provider=provider, clock=clock) as first:
        await first.settle()
        provider.rotates_to = remote(NEW_PASSWORD)
        annotate(world, ROTATE_ANNOTATION, "1")
        await first.settle()
    async with living(world, provider=provider, clock=clock) as second:
        await second.settle()
        assert len(provider.rotated) == 1
        provider.values["app/db"] = provider.rotates_to
        await second.advance(20.0)
        assert status(world)["rotate"]["state"] == "Done"
    # One that dies between the store and the status asks with the same token.
    world.edit("externalsecrets", NAMESPACE, "db", {"status": {"rotate": None}})
    async with living(world, provider=provider, clock=clock) as third:
        await third.settle()
    assert [key for key, _ in provider.rotated] == ["app/db", "app/db"]
    assert len({token for _, token in provider.rotated}) == 1
