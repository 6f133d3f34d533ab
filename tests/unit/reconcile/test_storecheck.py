"""Whether a store works, as its condition says it: told once, checked again while it fails."""

import asyncio
from typing import Any

import pytest

from support.apiserver import FakeApiServer, Refusal
from support.clock import FakeClock
from support.engine import Engine, living
from support.objects import external_secret_body, store_body
from support.provider import MemoryProvider
from syncret.api.keys import ObjectKey
from syncret.errors import AccessDenied, ProviderUnavailable, Throttled
from unit.reconcile.payments import NAMESPACE, STORE, writes


@pytest.fixture
def world(cluster: FakeApiServer) -> FakeApiServer:
    """A cluster with two stores, of which one is cluster-scoped."""
    cluster.put("secrets", {"metadata": {"name": "t", "namespace": NAMESPACE}, "data": {"k": ""}})
    cluster.put("secretstores", store_body(credential={"name": "t", "key": "k"}))
    cluster.put("clustersecretstores", store_body(namespace="", uid="store-2"))
    return cluster


def _ready(world: FakeApiServer, *, namespace: str = NAMESPACE) -> dict[str, Any]:
    plural = "secretstores" if namespace else "clustersecretstores"
    (condition,) = world.get(plural, namespace, "aws")["status"]["conditions"]
    return dict(condition)


def _told(world: FakeApiServer) -> list[tuple[str, str]]:
    return [(kind, reason) for kind, reason, _ in world.events()]


async def test_a_store_that_works(engine: Engine, world: FakeApiServer) -> None:
    await engine.settle()
    for namespace in (NAMESPACE, ""):
        assert _ready(world, namespace=namespace) == {
            "type": "Ready",
            "status": "True",
            "reason": "Synced",
            "message": "The store answers and accepts the credentials.",
            "lastTransitionTime": "2026-09-21T14:30:00Z",
            "observedGeneration": 1,
        }
    assert sorted(_told(world)) == [("ClusterSecretStore", "Ready"), ("SecretStore", "Ready")]


async def test_a_store_that_works_is_not_checked_again_before_its_interval_is_over(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    """Nor because of a restart; slots are 48 to 72 minutes apart."""
    checks, calls = provider.checks, len(world.calls)
    for _ in range(10):
        async with living(world, provider=provider, clock=clock) as engine:
            await engine.settle()
    assert (provider.checks, len(world.calls)) == (checks, calls)
    await synced.advance(86_400 / 2)
    assert checks < provider.checks <= checks + 2  # two stores; what was missed is not made up for
    before = provider.checks
    for _ in range(24):
        await synced.advance(3600)
    assert 2 * 20 <= provider.checks - before <= 2 * 24
    assert writes(world) == 4  # nothing new: two conditions, two Events


async def test_without_an_interval_a_store_that_works_is_left_alone(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    for plural, namespace in (("secretstores", NAMESPACE), ("clustersecretstores", "")):
        world.edit(plural, namespace, "aws", {"spec": {"refreshInterval": "0s"}})
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        checks = provider.checks
        for _ in range(48):
            await engine.advance(3600)
        assert provider.checks == checks == 2


async def test_a_read_that_went_well_saves_the_check(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    world.remove("clustersecretstores", "", "aws")
    provider.values["k"] = b"hunter2-not-real"
    world.put(
        "externalsecrets",
        external_secret_body(
            data=[{"secretKey": "k", "remoteRef": {"key": "k"}}], refreshInterval="10m"
        ),
    )
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        checks, reads = provider.checks, provider.reads
        for _ in range(12 * 6):
            await engine.advance(600)
        assert provider.reads > reads + 50
        assert provider.checks == checks
        # Nobody reads any more: now only a check can tell.
        world.remove("externalsecrets", NAMESPACE, "db")
        for _ in range(12):
            await engine.advance(3600)
        assert 9 <= provider.checks - checks <= 13


async def test_a_credential_that_was_revoked_is_noticed_at_the_interval(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.failure = AccessDenied("The store refuses the credentials.")
    await synced.advance(2 * 3600)
    assert _ready(world)["reason"] == "AccessDenied"


async def test_a_store_of_another_class_is_ignored_entirely(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    provider.values["k"] = b"hunter2-not-real"
    blue = store_body("blue", uid="store-3", credential={"name": "t", "key": "k"})
    blue["spec"]["controller"] = "blue"
    world.put("secretstores", blue)
    entry = {"secretKey": "k", "remoteRef": {"key": "k"}}
    reader = external_secret_body("reader", data=[entry], secretStoreRef={"name": "blue"})
    world.put("externalsecrets", reader)
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        await engine.advance(7200)
        assert "status" not in world.get("secretstores", NAMESPACE, "blue")
        assert "status" not in world.get("externalsecrets", NAMESPACE, "reader")
        assert not world.has("secrets", NAMESPACE, "reader")
        assert provider.reads == 0
        assert 'name="reader"' not in engine.exposed()
        # It becomes ours, and is another's again.
        world.edit("secretstores", NAMESPACE, "blue", {"spec": {"controller": None}})
        await engine.advance(60)
        assert world.secret(NAMESPACE, "reader") == {"k": b"hunter2-not-real"}
        world.edit("secretstores", NAMESPACE, "blue", {"spec": {"controller": "blue"}})
        provider.values["k"] = b"hunter3-not-real"
        await engine.advance(60)
        before = writes(world)
        await engine.advance(7200)
        assert writes(world) == before
        assert world.secret(NAMESPACE, "reader") == {"k": b"hunter2-not-real"}
    async with living(world, provider=provider, clock=clock, controller_class="blue") as other:
        await other.settle()
        await other.advance(7200)
        assert world.secret(NAMESPACE, "reader") == {"k": b"hunter3-not-real"}
        condition = world.get("secretstores", NAMESPACE, "blue")["status"]["conditions"][0]
        assert condition["status"] == "True"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (
            {"refreshInterval": "1s"},
            'spec.refreshInterval is "1s": the shortest is 10s',
        ),
        (
            {"conditions": [{"namespaceRegexes": ["a", "(?=b)"]}]},
            "spec.conditions[0].namespaceRegexes[1] is not a regular expression of RE2",
        ),
        (
            {"conditions": [{"namespaces": ["a"], "remoteKeys": ["{name}"]}]},
            "spec.conditions[0].remoteKeys[0] has braces: the only placeholder is {namespace}",
        ),
        (
            {"conditions": [{"namespaces": ["a"], "until": "2031"}]},
            "spec.conditions[0].until is not known to this version",
        ),
        (
            {
                "conditions": [
                    {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}
                ]
            },
            "spec.conditions[0].namespaceSelector.matchExpressions[0].operator must be",
        ),
        (
            {
                "conditions": [
                    {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}
                ]
            },
            "spec.conditions[0].namespaceSelector.matchExpressions[0].values must be given",
        ),
        ({"conditions": [{"namespaces": 5}]}, "the spec does not have the form"),
    ],
)
async def test_what_an_older_crd_let_through_is_told_with_the_path_of_the_field(
    world: FakeApiServer,
    provider: MemoryProvider,
    clock: FakeClock,
    spec: dict[str, Any],
    says: str,
) -> None:
    world.edit("clustersecretstores", "", "aws", {"spec": spec})
    reference = {"name": "aws", "kind": "ClusterSecretStore"}
    world.put(
        "externalsecrets",
        external_secret_body(
            dataFrom=[{"extract": {"key": "app/db"}}], secretStoreRef=reference, namespace="a"
        ),
    )
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        condition = _ready(world, namespace="")
        assert condition["reason"] == "SpecInvalid"
        assert condition["message"].startswith(says)
        (ready,) = world.get("externalsecrets", "a", "db")["status"]["conditions"]
        assert ready["reason"] == "StoreInvalid"
        assert says in ready["message"]
        assert provider.reads == 0


async def test_a_failure_is_told_once_until_it_is_over(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    provider.failure = AccessDenied("The store refuses the credentials.")
    await engine.settle()
    condition = _ready(world)
    assert (condition["status"], condition["reason"]) == ("False", "AccessDenied")
    assert condition["message"] == "The store refuses the credentials."
    before, checks = writes(world), provider.checks
    await engine.advance(3600)
    async with living(world, provider=provider, clock=clock) as again:
        await again.settle()
    assert provider.checks > checks
    assert writes(world) == before
    provider.failure = None
    await engine.advance(301)
    assert _ready(world)["status"] == "True"
    assert _ready(world)["lastTransitionTime"] > condition["lastTransitionTime"]
    reasons = [reason for kind, reason in _told(world) if kind == "SecretStore"]
    assert reasons == ["AccessDenied", "Ready"]


async def test_checks_of_a_failing_store_become_rarer(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.remove("clustersecretstores", "", "aws")
    provider.failure = ProviderUnavailable("The store does not answer.")
    await engine.settle()
    counts = []
    for _ in range(4):
        before = provider.checks
        for _ in range(900):
            await engine.advance(1)
        counts.append(provider.checks - before)
    # At first every second or so, then four times a minute, for a recovery to be noticed soon.
    assert all(58 <= count <= 80 for count in counts)


async def test_a_wait_that_the_store_asks_for_is_kept(
    engine: Engine, provider: MemoryProvider
) -> None:
    provider.failure = Throttled("Too many requests.", retry_after=400)
    await engine.settle()
    checks = provider.checks
    await engine.advance(399)
    assert provider.checks == checks
    await engine.advance(82)
    assert provider.checks == checks + 2


async def test_a_store_that_was_edited_is_checked_at_once(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.edit("secretstores", NAMESPACE, "aws", {"spec": {"provider": {"memory": None}}})
    await synced.settle()
    condition = _ready(world)
    assert (condition["reason"], condition["observedGeneration"]) == ("SpecInvalid", 2)


async def test_a_status_that_was_not_written_is_tried_again_while_it_fails(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.failure = ProviderUnavailable("The store does not answer.")
    world.intercept("PATCH", "secretstores", Refusal(500))
    await engine.settle()
    assert "status" not in world.get("secretstores", NAMESPACE, "aws")
    await engine.advance(1)
    assert _ready(world)["status"] == "False"


async def test_that_a_store_works_is_told_though_the_first_try_failed(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.intercept("PATCH", "secretstores", Refusal(500))
    await engine.settle()
    await engine.advance(2)
    assert _ready(world)["status"] == "True"


async def test_a_store_that_is_gone_is_forgotten(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.remove("clustersecretstores", "", "aws")
    world.remove("secretstores", NAMESPACE, "aws")
    await synced.settle()
    for _ in range(5):
        await asyncio.sleep(0)
    assert synced.cache.stores.get(STORE) is None
    assert [client.closed for client in provider.clients] == [True, True]


async def test_gone_without_a_word_of_the_watch(engine: Engine, world: FakeApiServer) -> None:
    engine.watch()
    world.remove("secretstores", NAMESPACE, "aws")
    await engine.reconcile(STORE)
    assert engine.cache.stores.get(STORE) is None
    assert not world.has("secretstores", NAMESPACE, "aws")


async def test_another_store_under_the_name_does_not_get_its_condition(
    engine: Engine, world: FakeApiServer
) -> None:
    engine.watch()
    world.remove("secretstores", NAMESPACE, "aws")
    world.put("secretstores", store_body(uid="store-3"))
    await engine.reconcile(STORE)
    assert "status" not in world.get("secretstores", NAMESPACE, "aws")


async def test_nothing_is_said_of_a_store_that_nobody_knows(
    engine: Engine, world: FakeApiServer
) -> None:
    calls = len(world.calls)
    result = await engine.reconcile(ObjectKey("SecretStore", NAMESPACE, "nothing"))
    assert result.requeue_after is None
    assert len(world.calls) == calls


async def test_after_a_recovery_delays_begin_anew(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.remove("clustersecretstores", "", "aws")
    provider.failure = ProviderUnavailable("The store does not answer.")
    await engine.settle()
    for _ in range(200):
        await engine.advance(1)
    provider.failure = None
    await engine.advance(301)
    provider.failure = ProviderUnavailable("The store does not answer.")
    world.edit("secretstores", NAMESPACE, "aws", {"spec": {"provider": {"memory": {"a": "b"}}}})
    await engine.settle()
    provider.failure = None
    await engine.advance(1)
    assert _ready(world)["status"] == "True"


async def test_what_was_told_before_a_restart_is_not_told_again_for_an_edit(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    provider.failure = AccessDenied("The store refuses the credentials.")
    await engine.settle()
    world.edit("secretstores", NAMESPACE, "aws", {"spec": {"provider": {"memory": {"a": "b"}}}})
    clock.advance(1)  # Events are named after their time
    async with living(world, provider=provider, clock=clock) as again:
        await again.settle()
    assert _ready(world)["observedGeneration"] == 2
    assert _told(world).count(("SecretStore", "AccessDenied")) == 1
