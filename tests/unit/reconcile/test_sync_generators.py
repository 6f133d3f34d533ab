"""ExternalSecrets whose data a generator makes: once, and again only for a reason."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.apiserver import Call, FakeApiServer, Refusal
from support.clock import FakeClock
from support.engine import Engine, living
from support.generator import MemoryGenerator, generator_body
from support.objects import external_secret_body
from support.provider import MemoryProvider
from syncret.errors import AccessDenied, ProviderUnavailable
from unit.reconcile.generators import HOUR, STATE, annotation, events, generated, populate, values
from unit.reconcile.payments import (
    NAMESPACE,
    condition,
    ready,
    restarts,
    status,
    writes,
)


@pytest.fixture
def maker(clock: FakeClock) -> MemoryGenerator:
    return MemoryGenerator(clock.wall)


@pytest.fixture
def provider(maker: MemoryGenerator) -> MemoryProvider:
    return MemoryProvider(maker=maker)


@pytest.fixture
def world(cluster: FakeApiServer) -> FakeApiServer:
    populate(cluster)
    return cluster


@pytest.fixture
async def engine(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> AsyncIterator[Engine]:
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        yield engine


def edit(world: FakeApiServer, **spec: Any) -> None:
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": spec})


def wish(world: FakeApiServer, value: str) -> None:
    annotations = {"syncret.io/rotate": value}
    world.edit("externalsecrets", NAMESPACE, "db", {"metadata": {"annotations": annotations}})


async def test_a_credential_is_made_once_and_kept(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    assert values(world) == {"username": "user-1", "password": "user-1-not-real"}
    assert ready(world)["status"] == "True"
    assert [one.owner for one in maker.made.values()] == ["payments/db"]
    kept = world.get("secrets", NAMESPACE, STATE)
    assert kept["type"] == "syncret.io/generated"
    assert kept["metadata"]["labels"] == {"syncret.io/managed": "true"}
    assert [one["uid"] for one in kept["metadata"]["ownerReferences"]] == ["uid-1"]
    assert "not-real" not in str(kept["metadata"])
    (source,) = status(world)["sources"]
    assert source["key"] == "payments/db/maker"
    assert source["version"] == annotation(world)["credentials"]["Generator/maker"]["id"]
    assert restarts(world) == 0
    before = writes(world)
    await engine.advance(30 * HOUR)
    assert writes(world) == before, "refreshes write nothing"
    assert len(maker.made) == 1
    assert engine.sample(
        "syncret_generated_total", kind="Generator", namespace="payments", generator="maker",
        reason="new",
    ) == 1  # fmt: skip


async def test_a_restart_makes_nothing_and_asks_nothing(
    world: FakeApiServer, provider: MemoryProvider, maker: MemoryGenerator, clock: FakeClock
) -> None:
    maker.lease = HOUR
    for _ in range(3):
        async with living(world, provider=provider, clock=clock) as life:
            await life.settle()
    calls = len(world.calls)
    async with living(world, provider=provider, clock=clock) as life:
        await life.settle()
    assert world.calls[calls:] == []
    assert len(maker.made) == 1
    assert maker.made["user-1"].renewals == []


async def test_a_template_is_rendered_again_with_the_same_credential(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    template = {"data": {"url": "{{ username }}:{{ password }}@db"}}
    edit(world, target={"template": template})
    await engine.settle()
    assert values(world) == {"url": "user-1:user-1-not-real@db"}
    assert len(maker.made) == 1


async def test_a_deleted_target_comes_back_the_same(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    world.remove("secrets", NAMESPACE, "db")
    await engine.settle()
    assert values(world)["username"] == "user-1"
    assert len(maker.made) == 1


async def test_the_annotation_has_another_one_made_and_rolled_out(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    wish(world, "now")
    await engine.settle()
    assert values(world)["username"] == "user-2"
    assert restarts(world) == 1
    assert status(world)["rotate"]["state"] == "Done"
    assert condition(world, "RolledOut")["status"] == "True"
    await engine.advance(30 * HOUR)
    assert len(maker.made) == 2


async def test_a_wish_for_one_of_two_generators_makes_one(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    world.put("generators", generator_body("other", uid="generator-2"))
    step = {"regexp": {"source": "^", "target": "other-"}}
    refs: list[dict[str, Any]] = [{"sourceRef": {"generatorRef": {"name": "maker"}}}]
    refs.append({"sourceRef": {"generatorRef": {"name": "other"}}, "rewrite": [step]})
    edit(world, dataFrom=refs)
    await engine.settle()
    assert (values(world)["username"], values(world)["other-username"]) == ("user-1", "user-2")
    wish(world, "now:payments/db/other")
    await engine.settle()
    assert (values(world)["username"], values(world)["other-username"]) == ("user-1", "user-3")
    assert status(world)["rotate"]["state"] == "Done"


async def test_an_age_makes_another_one(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    edit(world, rotation={"maxAge": "10h"})
    await engine.advance(8.9 * HOUR)
    assert len(maker.made) == 1
    await engine.advance(1.1 * HOUR)
    assert len(maker.made) == 2
    assert restarts(world) == 1
    assert condition(world, "RotationOverdue")["status"] == "False"


async def test_what_cannot_be_made_at_its_age_is_overdue(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    edit(world, rotation={"maxAge": "10h"})
    await engine.settle()
    maker.failure = ProviderUnavailable("It is down.")
    for _ in range(12):
        await engine.advance(HOUR)
    assert condition(world, "RotationOverdue")["status"] == "True"
    assert "generator" in condition(world, "RotationOverdue")["message"]
    assert ready(world)["reason"] == "ProviderUnavailable"
    maker.failure = None
    for _ in range(8):
        await engine.advance(60.0)
    assert condition(world, "RotationOverdue")["status"] == "False"
    assert len(maker.made) == 2


async def test_another_spec_of_the_generator_makes_another_one(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    world.edit("generators", NAMESPACE, "maker", {"spec": {"generator": {"memory": {"a": 1}}}})
    await engine.advance(60.0)
    assert values(world)["username"] == "user-2"
    world.edit("generators", NAMESPACE, "maker", {"spec": {"refreshInterval": "2h"}})
    await engine.advance(60.0)
    assert len(maker.made) == 2


async def test_what_was_edited_by_hand_is_made_anew(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    world.edit("secrets", NAMESPACE, STATE, {"data": {"generator.maker": "e30="}})
    await engine.settle()
    assert values(world)["username"] == "user-2"
    world.edit("secrets", NAMESPACE, STATE, {"metadata": {"labels": {"mine": "too"}}})
    await engine.settle()
    assert len(maker.made) == 2


async def test_nobody_can_slip_a_lease_into_what_is_kept(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    maker.lease = HOUR
    wish(world, "leased")
    await engine.settle()
    text = world.get("secrets", NAMESPACE, STATE)["metadata"]["annotations"]["syncret.io/generated"]
    forged = text.replace('"lease":{"id":"user-2"', '"lease":{"id":"of-others"')
    assert forged != text
    edit(world, rotation={"revokeAfter": "0s"})
    annotations = {"syncret.io/generated": forged}
    world.edit("secrets", NAMESPACE, STATE, {"metadata": {"annotations": annotations}})
    await engine.advance(HOUR)
    assert values(world)["username"] == "user-3"
    assert maker.revoked == []


@pytest.mark.parametrize("leased", [False, True])
async def test_without_the_key_of_the_digests_only_what_is_not_leased_is_believed(
    world: FakeApiServer,
    provider: MemoryProvider,
    maker: MemoryGenerator,
    clock: FakeClock,
    leased: bool,
) -> None:
    maker.lease = HOUR if leased else None
    async with living(world, provider=provider, clock=clock) as life:
        await life.settle()
    async with living(world, provider=provider, clock=clock, digest_key=b"n" * 32) as life:
        await life.settle()
        assert values(world)["username"] == ("user-2" if leased else "user-1")
    assert maker.revoked == []


async def test_a_lease_is_renewed_and_nothing_else_written(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    maker.lease = HOUR
    wish(world, "leased")
    await engine.settle()
    calls = len(world.calls)
    for _ in range(24 * 12):
        await engine.advance(HOUR / 12)
    written = {(call.place.plural, call.place.name) for call in world.calls[calls:] if call.writes}
    assert written == {("secrets", STATE)}
    assert maker.alive == ["user-1", "user-2"]
    assert 30 <= len(maker.made["user-2"].renewals) <= 40
    assert len(maker.made) == 2
    assert restarts(world) == 1
    assert condition(world, "Expiring") == {}
    assert engine.sample("syncret_leases", state="active") == 1
    assert engine.sample("syncret_lease_renewals_total", outcome="renewed") == len(
        maker.made["user-2"].renewals
    )


async def test_a_lease_that_nears_its_end_is_replaced_while_it_lives(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    maker.lease, maker.most = HOUR, 4 * HOUR
    wish(world, "leased")
    await engine.settle()
    for _ in range(10 * 12):
        await engine.advance(HOUR / 12)
        now = values(world)["username"]
        assert now in maker.alive, "what is in use lives"
    assert 3 <= len(maker.made) - 1 <= 4
    assert maker.revoked == []


async def test_what_cannot_be_renewed_is_made_anew_in_time(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    maker.lease, maker.renewable = HOUR, False
    wish(world, "leased")
    await engine.settle()
    await engine.advance(0.55 * HOUR)
    assert len(maker.made) == 2
    await engine.advance(0.15 * HOUR)
    assert values(world)["username"] == "user-3"


async def test_what_ends_without_a_lease_is_made_anew_in_time(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    maker.life = 10 * HOUR
    wish(world, "ending")
    await engine.settle()
    assert condition(world, "Expiring")["status"] == "False"
    await engine.advance(7 * HOUR)
    assert values(world)["username"] == "user-3"
    assert condition(world, "Expiring")["status"] == "False"


async def test_a_lost_lease_is_replaced(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    maker.lease = HOUR
    wish(world, "leased")
    await engine.settle()
    maker.made["user-2"].revoked = 0.0
    await engine.advance(0.7 * HOUR)
    assert values(world)["username"] == "user-3"
    assert engine.sample("syncret_lease_renewals_total", outcome="lost") == 1


async def test_a_renewal_that_fails_is_tried_again_and_then_replaced(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    maker.lease = HOUR
    wish(world, "leased")
    await engine.settle()
    maker.renew_failure = ProviderUnavailable("It is down.")
    await engine.advance(0.67 * HOUR)
    assert values(world)["username"] == "user-2"
    for _ in range(30):
        await engine.advance(60.0)
    assert values(world)["username"] == "user-3"
    assert "LeaseNotRenewed" in {one["reason"] for one in events(world)}
    assert (engine.sample("syncret_lease_renewals_total", outcome="failed") or 0) > 1


async def test_a_former_credential_lives_until_it_is_rolled_out_and_is_left_to_end(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    maker.lease = HOUR
    wish(world, "leased")
    await engine.settle()
    world.rolls = False
    edit(world, rollout={"debounce": "0s", "timeout": "1h"})
    wish(world, "again")
    await engine.settle()
    assert condition(world, "RolledOut")["status"] == "False"
    for _ in range(24 * 4):
        await engine.advance(HOUR / 4)
    assert maker.alive == ["user-1", "user-2", "user-3"]
    assert engine.sample("syncret_leases", state="retired") == 1
    world.rolls = True
    roll_now(world)
    await engine.settle()
    assert condition(world, "RolledOut")["status"] == "True"
    assert annotation(world)["retired"] == []
    for _ in range(8):
        await engine.advance(HOUR / 4)
    assert maker.alive == ["user-1", "user-3"]
    assert maker.revoked == []


def roll_now(world: FakeApiServer) -> None:
    """The controller replaces the pods after all."""
    body = world.get("deployments", NAMESPACE, "api")
    generation = body["metadata"]["generation"]
    replicas = body["spec"].get("replicas", 1)
    counts = ("replicas", "updatedReplicas", "availableReplicas", "readyReplicas")
    patch = {"status": {"observedGeneration": generation, **dict.fromkeys(counts, replicas)}}
    world.edit("deployments", NAMESPACE, "api", patch)


@pytest.mark.parametrize("after", ["0s", "2h"])
async def test_a_former_credential_is_revoked_when_nobody_uses_it(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator, after: str
) -> None:
    maker.lease = 12 * HOUR
    edit(world, rotation={"revokeAfter": after})
    wish(world, "leased")
    await engine.settle()
    wish(world, "again")
    await engine.advance(600.0)  # it is not restarted twice in a row
    if after != "0s":
        assert maker.revoked == []
        assert "The former credential is revoked at" in condition(world, "RolledOut")["message"]
        await engine.advance(1.9 * HOUR)
        assert maker.revoked == []
        await engine.advance(0.2 * HOUR)
    assert maker.revoked == ["user-2"]
    assert "former" not in condition(world, "RolledOut")["message"]
    assert "Revoked" in {one["reason"] for one in events(world)}
    assert values(world)["username"] in maker.alive


async def test_a_revocation_that_fails_is_told_once_and_tried_until_it_has_ended(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    maker.lease = HOUR
    edit(world, rotation={"revokeAfter": "0s"})
    wish(world, "leased")
    await engine.settle()
    maker.revoke_failure = AccessDenied("It may not.")
    wish(world, "again")
    await engine.settle()
    for _ in range(100):
        await engine.advance(60.0)
    assert sum(one["reason"] == "NotRevoked" for one in events(world)) == 1
    assert annotation(world)["retired"] == []
    assert values(world)["username"] == "user-3"


async def test_nobody_revokes_what_a_failed_rollout_still_uses(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    maker.lease = HOUR
    edit(world, rotation={"revokeAfter": "0s"}, rollout={"debounce": "0s", "timeout": "1m"})
    wish(world, "leased")
    await engine.settle()
    world.rolls = False
    wish(world, "again")
    await engine.settle()
    for _ in range(120):
        await engine.advance(60.0)
    assert condition(world, "RolledOut")["reason"] == "RolloutFailed"
    assert maker.revoked == []
    assert "user-2" in maker.alive


async def test_without_consumers_it_is_revoked_at_once(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    maker.lease = HOUR
    edit(world, rotation={"revokeAfter": "0s"}, rollout={"mode": "None", "debounce": None})
    for number in range(3):
        wish(world, f"wish-{number}")
        await engine.settle()
    assert maker.revoked == ["user-2", "user-3"]


@pytest.mark.parametrize("policy", ["Owner", "Orphan"])
async def test_a_credential_goes_with_its_external_secret(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator, policy: str
) -> None:
    maker.lease = HOUR
    edit(world, target={"creationPolicy": policy})
    wish(world, "leased")
    await engine.settle()
    world.remove("externalsecrets", NAMESPACE, "db")
    await engine.advance(60.0)
    assert not world.has("secrets", NAMESPACE, STATE)
    assert maker.revoked == (["user-2"] if policy == "Owner" else [])
    await engine.advance(10 * HOUR)
    assert maker.revoked == (["user-2"] if policy == "Owner" else [])


async def test_what_cannot_be_revoked_keeps_nothing_from_going(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    maker.lease = HOUR
    wish(world, "leased")
    await engine.settle()
    maker.revoke_failure = ProviderUnavailable("It is down.")
    world.remove("externalsecrets", NAMESPACE, "db")
    for _ in range(30):
        await engine.advance(60.0)
    assert not world.has("externalsecrets", NAMESPACE, "db")
    assert len(engine.cache.lost) == 0


async def test_one_of_the_same_name_gets_another_and_the_former_is_revoked(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    maker.lease = HOUR
    wish(world, "leased")
    await engine.settle()
    world.remove("externalsecrets", NAMESPACE, "db")
    world.put("externalsecrets", generated() | {"metadata": external_secret_body(uid="uid-2")["metadata"]})  # noqa: E501  # fmt: skip
    await engine.advance(60.0)
    assert values(world)["username"] == "user-3"
    assert maker.revoked == ["user-2"]


async def test_a_deleted_state_is_made_anew_and_its_lease_not_forgotten(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    maker.lease = 12 * HOUR
    edit(world, rotation={"revokeAfter": "1h"})
    wish(world, "leased")
    await engine.settle()
    world.remove("secrets", NAMESPACE, STATE)
    await engine.advance(600.0)
    assert values(world)["username"] == "user-3"
    assert maker.revoked == []
    await engine.advance(1.1 * HOUR)
    assert maker.revoked == ["user-2"]


async def test_without_its_label_it_is_still_the_same(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    world.edit("secrets", NAMESPACE, STATE, {"metadata": {"labels": {"syncret.io/managed": None}}})
    await engine.settle()
    assert len(maker.made) == 1
    assert values(world)["username"] == "user-1"
    assert len(engine.cache.lost) == 0


async def test_an_entry_that_goes_takes_its_lease_along(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator, provider: MemoryProvider
) -> None:
    maker.lease = 12 * HOUR
    edit(world, rotation={"revokeAfter": "0s"})
    wish(world, "leased")
    await engine.settle()
    world.put("generators", generator_body("other", uid="generator-2", uuid={}))
    refs = [{"sourceRef": {"generatorRef": {"name": "other"}}}]
    edit(world, dataFrom=refs)
    await engine.advance(600.0)
    assert list(values(world)) == ["uuid"]
    assert maker.revoked == ["user-2"]
    assert list(annotation(world)["credentials"]) == ["Generator/other"]
    assert list(values(world, STATE)) == ["generator.other"]
    provider.values["app/db"] = b'{"a": "b"}'
    assert provider.reads == 0


async def test_what_was_made_is_nobodys_target(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    edit(world, target={"name": STATE})
    await engine.settle()
    assert ready(world)["reason"] == "SpecInvalid"
    assert engine.cache.secrets.get((NAMESPACE, STATE)) is None
    assert engine.sample("syncret_leases", state="active") == 0


async def test_a_cluster_generator_serves_whom_it_admits(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    world.put("clustergenerators", generator_body("all", namespace="", uid="g2"))
    refs = [{"sourceRef": {"generatorRef": {"name": "all", "kind": "ClusterGenerator"}}}]
    edit(world, dataFrom=refs)
    await engine.advance(60.0)
    assert ready(world)["reason"] == "StoreNotAllowed"
    assert len(maker.made) == 1
    conditions = [{"namespaces": [NAMESPACE]}]
    world.edit("clustergenerators", "", "all", {"spec": {"conditions": conditions}})
    await engine.advance(600.0)
    assert ready(world)["status"] == "True"
    assert values(world)["username"] == "user-2"


async def test_a_generator_that_is_not_there_is_named(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    edit(world, dataFrom=[{"sourceRef": {"generatorRef": {"name": "nobody"}}}])
    await engine.settle()
    assert ready(world)["reason"] == "StoreNotFound"
    message = ready(world)["message"]
    assert "Generator payments/nobody does not exist" in message
    assert "spec.dataFrom[0].sourceRef.generatorRef" in message
    assert values(world)["username"] == "user-1", "the Secret stays as it was"


async def test_a_generator_says_whether_it_works(
    world: FakeApiServer, engine: Engine, maker: MemoryGenerator
) -> None:
    def said() -> dict[str, Any]:
        body = world.get("generators", NAMESPACE, "maker")
        return dict(body["status"]["conditions"][0])

    assert (said()["status"], said()["message"]) == (
        "True",
        "The generator answers and accepts the credentials.",
    )
    world.edit("generators", NAMESPACE, "maker", {"spec": {"generator": {"memory": None}}})
    await engine.settle()
    assert said()["reason"] == "SpecInvalid"


async def test_nothing_is_made_where_nothing_can_be_written(
    world: FakeApiServer, provider: MemoryProvider, maker: MemoryGenerator, clock: FakeClock
) -> None:
    maker.lease = HOUR
    world.intercept("POST", "secrets", Refusal(403, "Forbidden"), times=3)
    async with living(world, provider=provider, clock=clock) as life:
        await life.settle()
        assert ready(world)["reason"] == "GeneratedNotKept"
        assert maker.made == {}
        for _ in range(10):
            await life.advance(60.0)
        assert ready(world)["status"] == "True"
    assert len(maker.made) == 1


async def test_what_cannot_be_written_down_is_revoked(
    world: FakeApiServer, provider: MemoryProvider, maker: MemoryGenerator, clock: FakeClock
) -> None:
    maker.lease = HOUR
    world.intercept("PATCH", "secrets", Refusal(422, "Invalid"), times=1)
    world.intercept("PATCH", "secrets", Refusal(403, "Forbidden"), times=3)
    async with living(world, provider=provider, clock=clock) as life:
        await life.settle()
        assert ready(world)["reason"] == "GeneratedNotKept"
        assert maker.alive == []
        for _ in range(10):
            await life.advance(60.0)
        assert ready(world)["status"] == "True"
    assert maker.alive == ["user-2"]


async def test_what_another_replica_has_made_meanwhile_is_taken(
    world: FakeApiServer, provider: MemoryProvider, maker: MemoryGenerator, clock: FakeClock
) -> None:
    maker.lease = HOUR
    async with (
        living(world, provider=provider, clock=clock) as one,
        living(world, provider=provider, clock=clock) as other,
    ):
        maker.may_make = asyncio.Event()
        rounds = [asyncio.create_task(life.settle()) for life in (one, other)]
        for _ in rounds:
            await maker.begun.get()
        maker.may_make.set()
        await asyncio.gather(*rounds)
        for life in (one, other):
            await life.settle()
    assert len(maker.alive) == 1
    assert [values(world)["username"]] == maker.alive


async def test_a_reader_that_gives_up_leaves_the_making_to_itself(
    world: FakeApiServer, provider: MemoryProvider, maker: MemoryGenerator, clock: FakeClock
) -> None:
    maker.may_make = asyncio.Event()
    async with living(world, provider=provider, clock=clock) as life:
        working = asyncio.create_task(life.settle())
        await maker.begun.get()
        working.cancel()
        await asyncio.wait([working])
        maker.may_make.set()
        await asyncio.wait(life.kept._tasks)
    async with living(world, provider=provider, clock=clock) as life:
        await life.settle()
    assert list(maker.made) == ["user-1"]
    assert values(world)["username"] == "user-1"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("write", range(1, 9))
async def test_a_life_that_ends_at_any_write_costs_one_credential_at_most(
    world: FakeApiServer,
    provider: MemoryProvider,
    maker: MemoryGenerator,
    clock: FakeClock,
    write: int,
    after: bool,
) -> None:
    maker.lease = HOUR
    count = 0
    async with living(world, provider=provider, clock=clock) as life:
        working = asyncio.ensure_future(life.settle())

        def kill(_call: Call) -> Refusal | None:
            nonlocal count
            count += 1
            if count < write:
                return None
            working.cancel()
            return Refusal(500)

        world.intercept_writes(kill, times=write, after=after)
        await asyncio.wait([working])
        for task in list(life.kept._tasks):
            task.cancel()
    async with living(world, provider=provider, clock=clock) as life:
        await life.settle()
        await life.advance(60.0)
    assert ready(world)["status"] == "True"
    assert len(maker.made) <= 2
    assert values(world)["username"] == annotation(world)["credentials"]["Generator/maker"]["lease"]["id"]  # noqa: E501  # fmt: skip
    assert restarts(world) == 0
