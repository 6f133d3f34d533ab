"""The value before a rotation, beside the new one: there, gone on time, and never anywhere else."""

import asyncio
import base64
import json
from typing import Any

import pytest

from support.apiserver import Call, FakeApiServer, Refusal
from support.clock import FakeClock
from support.engine import Engine, living
from support.objects import workload_body
from support.provider import MemoryProvider
from syncret.constants import PREVIOUS_ANNOTATION
from syncret.errors import ProviderUnavailable
from unit.reconcile.payments import (
    NAMESPACE,
    NEW_PASSWORD,
    PASSWORD,
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
HOUR = 3600.0
LAST = "hunter4-not-real"

pytestmark = pytest.mark.usefixtures("kept")


@pytest.fixture
def kept(world: FakeApiServer) -> None:
    """The ExternalSecret keeps values for an hour."""
    edit(world, {"previous": {"keepFor": "1h"}})


def edit(world: FakeApiServer, target: dict[str, Any] | None, **spec: Any) -> None:
    body = {"spec": {"target": target, **spec}}
    if world.has("externalsecrets", NAMESPACE, "db"):
        world.edit("externalsecrets", NAMESPACE, "db", body)


def secret(world: FakeApiServer) -> dict[str, str]:
    return {key: value.decode() for key, value in world.secret(NAMESPACE, "db").items()}


def annotation(world: FakeApiServer) -> str:
    meta = world.get("secrets", NAMESPACE, "db")["metadata"]
    return str((meta.get("annotations") or {}).get(PREVIOUS_ANNOTATION, ""))


def reasons(world: FakeApiServer) -> list[str]:
    return [reason for kind, reason, _ in world.events() if kind == "ExternalSecret"]


async def rotate(engine: Engine, provider: MemoryProvider, password: str, **more: str) -> None:
    provider.values["app/db"] = remote(password, **more)
    await engine.advance(MINUTES)


async def test_the_first_sync_has_nothing_before_it(synced: Engine, world: FakeApiServer) -> None:
    assert secret(world) == {"user": "app", "password": PASSWORD}
    assert annotation(world) == ""


async def test_the_value_before_is_there_for_as_long_as_is_asked_for(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    await rotate(synced, provider, NEW_PASSWORD)
    assert secret(world) == {
        "user": "app",
        "password": NEW_PASSWORD,
        "password_previous": PASSWORD,
    }
    assert status(world)["keys"] == ["password", "user"]
    (said,) = json.loads(annotation(world))["by"]["db"]["keys"].values()
    assert said["since"] == "2026-09-21T14:31:12Z"
    assert (restarts(world), ready(world)["status"]) == (1, "True")
    sum_of = checksum(world)
    before = writes(world)
    await synced.advance(HOUR - MINUTES)
    assert writes(world) == before, "nothing is written while nothing changes"
    reads = provider.reads
    await synced.advance(MINUTES)
    assert secret(world) == {"user": "app", "password": NEW_PASSWORD}
    assert annotation(world) == ""
    assert provider.reads - reads <= 2
    assert (restarts(world), checksum(world)) == (1, sum_of), "what goes restarts nothing"
    assert reasons(world).count("PreviousDropped") == 1


async def test_it_goes_at_its_time_although_the_store_is_not_read(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    edit(world, {"previous": {"keepFor": "90m"}}, refreshInterval="24h")
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        provider.values["app/db"] = remote(NEW_PASSWORD)
        force(world, "1")
        await engine.settle()
        reads = provider.reads
        await engine.advance(90 * 60 - 1)
        assert secret(world)["password_previous"] == PASSWORD
        await engine.advance(2)
        assert "password_previous" not in secret(world)
        assert provider.reads == reads


def force(world: FakeApiServer, value: str) -> None:
    world.edit(
        "externalsecrets",
        NAMESPACE,
        "db",
        {"metadata": {"annotations": {"syncret.io/force-sync": value}}},
    )


@pytest.mark.parametrize("away", [10.0, 2 * HOUR], ids=["before its time", "after its time"])
async def test_a_restart_forgets_nothing(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock, away: float
) -> None:
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        await rotate(engine, provider, NEW_PASSWORD)
    clock.advance(away)
    async with living(world, provider=provider, clock=clock) as engine:
        before, reads = writes(world), provider.reads
        await engine.settle()
        assert provider.reads == reads
        if away < HOUR:
            assert writes(world) == before
            await engine.advance(HOUR)
        assert secret(world) == {"user": "app", "password": NEW_PASSWORD}
        assert restarts(world) == 1


async def test_of_two_rotations_the_value_before_the_last_stays(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    await rotate(synced, provider, NEW_PASSWORD)
    await synced.advance(HOUR / 2)
    await rotate(synced, provider, LAST)
    assert secret(world)["password_previous"] == NEW_PASSWORD
    await synced.advance(HOUR / 2)
    assert secret(world)["password_previous"] == NEW_PASSWORD, "its own time begins anew"
    await synced.advance(HOUR / 2)
    assert "password_previous" not in secret(world)


async def test_a_value_that_goes_back(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    await rotate(synced, provider, NEW_PASSWORD)
    await rotate(synced, provider, PASSWORD)
    assert secret(world)["password"] == PASSWORD
    assert secret(world)["password_previous"] == NEW_PASSWORD


async def test_an_edit_is_no_rotation(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    edit(world, {"previous": {}, "template": {"data": {"url": "db://{{ user }}:{{ password }}"}}})
    await synced.settle()
    assert secret(world) == {"url": f"db://app:{PASSWORD}"}
    edit(world, {"template": {"data": {"url": "pg://{{ user }}:{{ password }}"}}})
    await synced.settle()
    assert secret(world) == {"url": f"pg://app:{PASSWORD}"}
    await rotate(synced, provider, NEW_PASSWORD)
    assert secret(world) == {
        "url": f"pg://app:{NEW_PASSWORD}",
        "url_previous": f"pg://app:{PASSWORD}",
    }
    edit(world, {"template": {"data": {"url": "my://{{ user }}:{{ password }}"}}})
    await synced.settle()
    assert secret(world)["url_previous"] == f"pg://app:{PASSWORD}", "it stays for its time"


async def test_an_edit_of_the_policy_counts_at_once(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    await rotate(synced, provider, NEW_PASSWORD)
    edit(world, {"previous": {"keepFor": "3h"}})
    await synced.advance(2 * HOUR)
    assert secret(world)["password_previous"] == PASSWORD
    edit(world, {"previous": {"keepFor": "30m"}})
    await synced.settle()
    assert "password_previous" not in secret(world)


@pytest.mark.parametrize("target", [{"previous": {"suffix": ".old"}}, {"previous": None}])
async def test_another_suffix_or_none_takes_it_away(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider, target: dict[str, Any]
) -> None:
    await rotate(synced, provider, NEW_PASSWORD)
    edit(world, target)
    await synced.settle()
    assert secret(world) == {"user": "app", "password": NEW_PASSWORD}
    assert annotation(world) == ""


async def test_a_key_that_vanishes_takes_the_value_before_with_it(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    await rotate(synced, provider, NEW_PASSWORD, role="reader")
    assert "role_previous" not in secret(world), "there was none before"
    await rotate(synced, provider, NEW_PASSWORD, role="writer")
    assert secret(world)["role_previous"] == "reader"
    await rotate(synced, provider, NEW_PASSWORD)
    assert secret(world) == {
        "user": "app",
        "password": NEW_PASSWORD,
        "password_previous": PASSWORD,
    }


async def test_a_key_of_that_name_is_refused_before_any_rotation(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.values["app/db"] = remote(password_previous="theirs")
    await engine.settle()
    assert ready(world)["reason"] == "DuplicateKey"
    assert ready(world)["message"] == (
        'spec.target.previous keeps the value before of "password" under "password_previous", '
        "which is another key of the Secret: choose another suffix, or rename the key."
    )
    edit(world, {"previous": {"suffix": ".before"}})
    await engine.settle()
    await rotate(engine, provider, NEW_PASSWORD, password_previous="theirs")
    assert secret(world)["password.before"] == PASSWORD


async def test_one_that_somebody_changed_goes_and_the_others_stay(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.values["app/db"] = json.dumps({"user": "new", "password": NEW_PASSWORD}).encode()
    await synced.advance(MINUTES)
    assert {"user_previous", "password_previous"} < secret(world).keys()
    reads = provider.reads
    by_hand = base64.b64encode(b"by hand").decode()
    world.edit("secrets", NAMESPACE, "db", {"data": {"password_previous": by_hand}})
    await synced.settle()
    assert secret(world) == {"user": "new", "user_previous": "app", "password": NEW_PASSWORD}
    world.edit("secrets", NAMESPACE, "db", {"data": {"user_previous": None}})
    await synced.settle()
    assert secret(world) == {"user": "new", "password": NEW_PASSWORD}
    assert annotation(world) == ""
    assert (provider.reads, restarts(world)) == (reads, 1)


async def test_without_the_annotation_it_is_a_key_like_any_that_somebody_added(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    await rotate(synced, provider, NEW_PASSWORD)
    world.edit(
        "secrets", NAMESPACE, "db", {"metadata": {"annotations": {PREVIOUS_ANNOTATION: None}}}
    )
    await synced.settle()
    assert secret(world) == {"user": "app", "password": NEW_PASSWORD}
    assert restarts(world) == 1


async def test_what_somebody_changed_in_the_secret_was_never_a_value_before(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.values["app/db"] = remote(NEW_PASSWORD)
    by_hand = base64.b64encode(b"by hand").decode()
    world.edit("secrets", NAMESPACE, "db", {"data": {"password": by_hand}})
    await synced.settle()
    assert secret(world) == {"user": "app", "password": NEW_PASSWORD}


async def test_the_value_that_a_repaired_secret_has_is_the_one_before(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    by_hand = base64.b64encode(b"by hand").decode()
    world.edit("secrets", NAMESPACE, "db", {"data": {"password": by_hand}})
    await synced.settle()
    assert secret(world) == {"user": "app", "password": PASSWORD}
    await rotate(synced, provider, NEW_PASSWORD)
    assert secret(world)["password_previous"] == PASSWORD


async def test_a_process_that_dies_before_it_says_so_loses_nothing(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        world.intercept(
            "PATCH", "externalsecrets", Refusal(503, "ServiceUnavailable"), subresource="status"
        )
        await rotate(engine, provider, NEW_PASSWORD)
        assert secret(world)["password_previous"] == PASSWORD
    # Rotated again while nobody was there: the status still tells of the version before both.
    provider.values["app/db"] = remote(LAST)
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        assert secret(world)["password"] == LAST
        assert secret(world)["password_previous"] == NEW_PASSWORD


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
@pytest.mark.parametrize("write", [1, 2, 3])
async def test_a_process_that_is_killed_at_any_write_makes_one_rotation_of_it(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock, write: int, after: bool
) -> None:
    """The writes: the Secret, the workload, the status."""
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
    provider.values["app/db"] = remote(NEW_PASSWORD)
    force(world, "1")
    async with living(world, provider=provider, clock=clock) as engine:
        working = asyncio.ensure_future(engine.settle())
        count = 0

        def kill(_call: Call) -> Refusal | None:
            nonlocal count
            count += 1
            if count < write:
                return None
            working.cancel()
            return Refusal(500)

        world.intercept_writes(kill, times=write, after=after)
        await asyncio.wait([working])
        assert working.cancelled()
    clock.advance(10.0)
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        assert secret(world) == {
            "user": "app",
            "password": NEW_PASSWORD,
            "password_previous": PASSWORD,
        }
        assert restarts(world) == 1
        await engine.advance(HOUR)
        assert secret(world) == {"user": "app", "password": NEW_PASSWORD}
        assert restarts(world) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
async def test_a_process_that_is_killed_while_it_takes_it_away(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock, after: bool
) -> None:
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        await rotate(engine, provider, NEW_PASSWORD)
    clock.advance(HOUR)
    async with living(world, provider=provider, clock=clock) as engine:
        working = asyncio.ensure_future(engine.settle())

        def kill(_call: Call) -> Refusal | None:
            working.cancel()
            return Refusal(500)

        world.intercept_writes(kill, times=1, after=after)
        await asyncio.wait([working])
        assert ("password_previous" in secret(world)) is not after
    reads = provider.reads
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
    assert secret(world) == {"user": "app", "password": NEW_PASSWORD}
    assert (annotation(world), restarts(world), provider.reads) == ("", 1, reads)


async def test_a_secret_that_changes_while_it_is_read_is_looked_at_anew(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    def meddle(_call: Any) -> None:
        world.edit("secrets", NAMESPACE, "db", {"metadata": {"labels": {"by": "somebody"}}})

    world.intercept("GET", "secrets", meddle, after=True)
    await rotate(synced, provider, NEW_PASSWORD)
    assert secret(world)["password_previous"] == PASSWORD
    assert restarts(world) == 1


async def test_a_store_without_versions(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    provider.has_versions = False
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        await rotate(engine, provider, NEW_PASSWORD)
        assert secret(world)["password_previous"] == PASSWORD
        edit(world, {"template": {"data": {"password": "x{{ password }}"}}})
        await engine.settle()
        assert secret(world)["password"] == f"x{NEW_PASSWORD}"
        assert secret(world)["password_previous"] == PASSWORD


async def test_a_failed_removal_is_tried_again(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    await rotate(synced, provider, NEW_PASSWORD)
    world.intercept("PATCH", "secrets", Refusal(403, "Forbidden"), times=2)
    await synced.advance(HOUR)
    assert "password_previous" in secret(world)
    for _ in range(2):
        await synced.advance(10.0)
    assert "password_previous" not in secret(world)
    assert reasons(world).count("PreviousNotDropped") == 1


async def test_while_the_store_fails_it_goes_all_the_same(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:

    await rotate(synced, provider, NEW_PASSWORD)
    provider.failure = ProviderUnavailable("It is down.")
    await synced.advance(HOUR)
    assert "password_previous" not in secret(world)
    assert ready(world)["status"] == "False"


async def test_a_consumer_that_names_it_is_restarted_by_the_rotation_only(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    both = workload_body("both", uid="workload-2")
    both["spec"]["template"]["spec"]["containers"][0] = {
        "name": "app",
        "env": [
            {"name": key, "valueFrom": {"secretKeyRef": {"name": "db", "key": key}}}
            for key in ("password", "password_previous")
        ],
    }
    world.put("deployments", both)
    await synced.settle()
    await rotate(synced, provider, NEW_PASSWORD)
    assert restarts(world, "both") == 1
    await synced.advance(2 * HOUR)
    assert "password_previous" not in secret(world)
    assert restarts(world, "both") == 1


async def test_of_a_shared_secret_each_keeps_its_own(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    shared = {"name": "all", "creationPolicy": "CreateOrMerge", "previous": {"keepFor": "1h"}}
    edit(world, shared)
    other = database(
        target={**shared, "previous": {"keepFor": "3h"}},
        dataFrom=[{"extract": {"key": "app/cache"}}],
    )
    other["metadata"] |= {"name": "cache", "uid": "uid-2"}
    world.put("externalsecrets", other)
    provider.values["app/cache"] = b'{"token": "first"}'
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        provider.values["app/cache"] = b'{"token": "second"}'
        await rotate(engine, provider, NEW_PASSWORD)

        def held() -> dict[str, bytes]:
            return dict(world.secret(NAMESPACE, "all"))

        assert held() == {
            "user": b"app",
            "password": NEW_PASSWORD.encode(),
            "password_previous": PASSWORD.encode(),
            "token": b"second",
            "token_previous": b"first",
        }
        await engine.advance(2 * HOUR)
        assert held().keys() == {"user", "password", "token", "token_previous"}
        provider.values["app/db"] = remote("again-not-real")
        await engine.advance(MINUTES)
        assert held()["password_previous"] == NEW_PASSWORD.encode()
        world.remove("externalsecrets", NAMESPACE, "cache")
        await engine.settle()
        await engine.advance(10.0)
        assert held().keys() == {"user", "password", "password_previous"}


async def test_a_key_of_others_in_a_shared_secret_is_not_overwritten(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    edit(world, {"name": "all", "creationPolicy": "CreateOrMerge", "previous": {}})
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        theirs = base64.b64encode(b"theirs").decode()
        world.edit("secrets", NAMESPACE, "all", {"data": {"password_previous": theirs}})
        await rotate(engine, provider, NEW_PASSWORD)
        held = world.secret(NAMESPACE, "all")
        assert held["password"] == NEW_PASSWORD.encode(), "the rotation goes on"
        assert held["password_previous"] == b"theirs"
        assert "PreviousNotKept" in reasons(world)


async def test_without_room_the_rotation_goes_on(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    provider.values["app/db"] = remote("x" * 600_000)
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        await rotate(engine, provider, "y" * 600_000)
        assert secret(world) == {"user": "app", "password": "y" * 600_000}
        assert "PreviousNotKept" in reasons(world)
        assert ready(world)["status"] == "True"


async def test_no_value_before_is_anywhere_else(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await rotate(synced, provider, NEW_PASSWORD)
    await synced.advance(2 * HOUR)
    shown = outside(world) + synced.exposed() + caplog.text
    assert PASSWORD not in shown
    assert NEW_PASSWORD not in shown


async def test_what_is_left_to_others_has_no_value_before(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    edit(world, {"deletionPolicy": "Retain"})
    await synced.settle()
    await rotate(synced, provider, NEW_PASSWORD)
    assert "password_previous" in secret(world)
    edit(world, {"name": "new"})
    await synced.settle()
    assert secret(world) == {"user": "app", "password": NEW_PASSWORD}
    assert annotation(world) == ""
