"""Age and expiry in the life of the operator: conditions, Events and metrics, at the right time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.apiserver import FakeApiServer
from support.clock import FakeClock
from support.engine import Engine, living
from support.pki import Issuer
from support.provider import MemoryProvider
from syncret.api.rotation import DAY
from syncret.errors import ProviderUnavailable
from unit.reconcile.payments import (
    NAMESPACE,
    NEW_PASSWORD,
    condition,
    outside,
    remote,
    status,
    writes,
)

DB = {"namespace": NAMESPACE, "name": "db"}


def wall(clock: FakeClock, days: float) -> datetime:
    return datetime.fromtimestamp(clock.wall(), UTC) + timedelta(days=days)


def said(world: FakeApiServer, kind: str) -> tuple[str, str]:
    found = condition(world, kind)
    return (found["status"], found["reason"]) if found else ("", "")


def events(world: FakeApiServer) -> list[str]:
    return [reason for kind, reason, _ in world.events() if kind == "ExternalSecret"]


@pytest.fixture
def aged(world: FakeApiServer, provider: MemoryProvider, clock: FakeClock) -> None:
    """To be rotated every 90 days, and read by nobody's clock; made 80 days ago."""
    policy: dict[str, Any] = {"rotation": {"class": "database"}, "refreshInterval": "0"}
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": policy})
    provider.created["app/db"] = wall(clock, -80)


async def test_it_is_told_when_it_is_too_old_without_a_look_at_the_store(
    aged: None, engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    await engine.settle()
    assert said(world, "RotationOverdue") == ("False", "InTime")
    assert engine.sample("syncret_externalsecret_age_seconds", **DB) == 80 * DAY
    assert engine.sample("syncret_externalsecret_rotation_overdue", **DB) == 0
    due = engine.sample("syncret_externalsecret_rotation_due_timestamp_seconds", **DB)
    assert due == clock.wall() + 10 * DAY
    reads, before = provider.reads, writes(world)
    for _ in range(9):
        await engine.advance(DAY)
    assert (provider.reads, writes(world)) == (reads, before), "nothing is asked nor written"
    assert engine.sample("syncret_externalsecret_age_seconds", **DB) == 89 * DAY
    await engine.advance(DAY)
    assert said(world, "RotationOverdue") == ("True", "Overdue")
    assert condition(world, "RotationOverdue")["lastTransitionTime"] == "2026-10-01T14:30:00Z"
    assert condition(world, "Ready")["status"] == "True"
    assert engine.sample("syncret_externalsecret_rotation_overdue", **DB) == 1
    assert (provider.reads, events(world)) == (reads, ["RotationOverdue"])
    before = writes(world)
    for _ in range(30):
        await engine.advance(DAY)
    assert writes(world) == before


async def test_a_rotation_puts_it_right(
    aged: None, engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    provider.created["app/db"] = wall(clock, -100)
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"refreshInterval": "1h"}})
    await engine.settle()
    assert said(world, "RotationOverdue") == ("True", "Overdue")
    provider.values["app/db"] = remote("rotated-not-real")
    provider.created["app/db"] = wall(clock, 0)
    await engine.advance(2 * 3600.0)
    assert said(world, "RotationOverdue") == ("False", "InTime")
    assert "RotationInTime" in events(world)


async def test_a_restart_tells_nothing_twice_and_what_was_missed_once(
    aged: None, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
    clock.advance(20 * DAY)
    for _ in range(3):
        async with living(world, provider=provider, clock=clock) as engine:
            reads = provider.reads
            await engine.settle()
            assert provider.reads == reads
            assert said(world, "RotationOverdue") == ("True", "Overdue")
            assert engine.sample("syncret_externalsecret_rotation_overdue", **DB) == 1
            assert events(world) == ["RotationOverdue"]


async def test_an_outage_of_the_store_does_not_keep_it_from_being_told(
    aged: None, engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"refreshInterval": "720h"}})
    await engine.settle()
    provider.failure = ProviderUnavailable("It is down.")
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"rollout": {"mode": "None"}}})
    for _ in range(11):
        await engine.advance(DAY)
    assert condition(world, "Ready")["status"] == "False"
    assert said(world, "RotationOverdue") == ("True", "Overdue")


async def test_an_unknown_age_is_no_alarm(
    aged: None, engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.created.clear()
    await engine.settle()
    assert said(world, "RotationOverdue") == ("Unknown", "AgeUnknown")
    assert events(world) == []
    assert engine.sample("syncret_externalsecret_rotation_overdue", **DB) is None
    assert engine.sample("syncret_externalsecret_age_seconds", **DB) is None


async def test_an_age_that_is_not_known_any_more_is_no_good_news(
    aged: None, engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    provider.created["app/db"] = wall(clock, -100)
    await engine.settle()
    provider.created.clear()
    provider.values["app/db"] = remote(NEW_PASSWORD)  # of a version its time stays known
    annotation = {"metadata": {"annotations": {"syncret.io/force-sync": "1"}}}
    world.edit("externalsecrets", NAMESPACE, "db", annotation)
    await engine.settle()
    assert said(world, "RotationOverdue") == ("Unknown", "AgeUnknown")
    assert events(world)[:1] == ["RotationOverdue"]
    assert "RotationInTime" not in events(world)


async def test_the_policy_goes_and_its_condition_and_series_with_it(
    aged: None, engine: Engine, world: FakeApiServer
) -> None:
    await engine.settle()
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"rotation": None}})
    await engine.settle()
    assert said(world, "RotationOverdue") == ("", "")
    assert engine.sample("syncret_externalsecret_age_seconds", **DB) is None
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"rotation": {"maxAge": "1d"}}})
    await engine.settle()
    assert said(world, "RotationOverdue") == ("True", "Overdue")
    assert engine.sample("syncret_externalsecret_age_seconds", **DB) is not None
    world.remove("externalsecrets", NAMESPACE, "db")
    await engine.settle()
    assert engine.sample("syncret_externalsecret_age_seconds", **DB) is None


async def test_certificates_in_the_values(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    leaf = Issuer("leaf", san="example.com", life=(wall(clock, -10), wall(clock, 80)))
    spec = {"dataFrom": None, "data": [{"secretKey": "tls.crt", "remoteRef": {"key": "tls"}}]}
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {**spec, "refreshInterval": "0"}})
    provider.values["tls"] = leaf.pem.encode()
    await engine.settle()
    assert status(world)["certificates"] == [
        {
            "key": "tls.crt",
            "notBefore": "2026-09-11T14:30:00Z",
            "notAfter": "2026-12-10T14:30:00Z",
        }
    ]
    assert said(world, "Expiring") == ("False", "InTime")
    name = "syncret_externalsecret_certificate_not_after_timestamp_seconds"
    assert engine.sample(name, **DB) == clock.wall() + 80 * DAY
    before = writes(world)
    await engine.advance(50 * DAY - 1)
    assert writes(world) == before
    await engine.advance(1)
    assert said(world, "Expiring") == ("True", "ExpiresSoon")
    assert engine.sample("syncret_externalsecret_expiring", **DB) == 1
    await engine.advance(30 * DAY)
    assert said(world, "Expiring") == ("True", "Expired")
    assert events(world) == ["ExpiresSoon", "Expired"]
    renewed = Issuer("leaf", san="example.com", life=(wall(clock, 0), wall(clock, 90)))
    provider.values["tls"] = renewed.pem.encode()
    annotation = {"metadata": {"annotations": {"syncret.io/force-sync": "1"}}}
    world.edit("externalsecrets", NAMESPACE, "db", annotation)
    await engine.settle()
    assert said(world, "Expiring") == ("False", "InTime")
    assert "Renewed" in events(world)
    assert "example.com" not in outside(world)
    assert "CERTIFICATE" not in outside(world)


async def test_what_a_template_makes_is_looked_at_and_remembered(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    leaf = Issuer("leaf", san="example.com", life=(wall(clock, -10), wall(clock, 80)))
    provider.values["tls"] = leaf.pem.encode()
    template = {"data": {"server.pem": "{{ pem }}"}}
    spec = {
        "dataFrom": None,
        "data": [{"secretKey": "pem", "remoteRef": {"key": "tls"}}],
        "target": {"template": template},
    }
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": spec})
    await engine.settle()
    assert [one["key"] for one in status(world)["certificates"]] == ["server.pem"]
    annotation = {"metadata": {"annotations": {"syncret.io/force-sync": "1"}}}
    world.edit("externalsecrets", NAMESPACE, "db", annotation)
    await engine.settle()
    assert [one["key"] for one in status(world)["certificates"]] == ["server.pem"]
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"target": None}})
    await engine.settle()
    assert [one["key"] for one in status(world)["certificates"]] == ["pem"]
    provider.values["tls"] = b"no certificate any more"
    await engine.advance(72.0)
    assert "certificates" not in status(world)
    assert said(world, "Expiring") == ("", "")


@pytest.mark.parametrize("tells_versions", [True, False])
async def test_what_the_store_and_its_tags_say(
    engine: Engine,
    world: FakeApiServer,
    provider: MemoryProvider,
    clock: FakeClock,
    tells_versions: bool,
) -> None:
    """With the value, or with the word that it is unchanged."""
    provider.tells_versions = tells_versions
    provider.expires["app/db"] = wall(clock, 40)
    await engine.settle()
    assert said(world, "Expiring") == ("False", "InTime")
    name = "syncret_externalsecret_expires_timestamp_seconds"
    assert engine.sample(name, **DB) == clock.wall() + 40 * DAY
    # It was put off, or brought forward, without another version.
    provider.expires.clear()
    provider.tags["app/db"] = {"Expires_On": wall(clock, 5).date().isoformat(), "team": "x"}
    await engine.advance(72.0)
    assert status(world)["sources"][0]["expires"] == "2026-09-26T00:00:00Z"
    assert said(world, "Expiring") == ("True", "ExpiresSoon")
    provider.tags["app/db"] = {"expires": "soon", "expiry": "1970-01-01", "team": "x"}
    await engine.advance(72.0)
    assert said(world, "Expiring") == ("", "")
    before = writes(world)
    await engine.advance(72.0)
    assert writes(world) == before


async def test_tags_that_are_read_as_a_value(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    """Of a store that gives them with a call of their own only."""
    provider.tags["app/db"] = {"expires": wall(clock, 10).isoformat(), "team": "x"}
    provider.gives_tags = False
    read = {"key": "app/db", "metadataPolicy": "Fetch"}
    world.edit(
        "externalsecrets",
        NAMESPACE,
        "db",
        {"spec": {"data": [{"secretKey": "t", "remoteRef": read}]}},
    )
    await engine.settle()
    assert said(world, "Expiring") == ("True", "ExpiresSoon")
    before = writes(world)
    await engine.advance(72.0)
    assert writes(world) == before
