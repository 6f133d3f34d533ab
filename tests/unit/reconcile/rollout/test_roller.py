"""Rolling what consumes a Secret: on the API server, one after the other, told where it belongs."""

from base64 import b64encode

import pytest

from support.apiserver import FakeApiServer, Refusal
from support.engine import Engine
from support.objects import workload_body
from support.provider import MemoryProvider
from syncret.reconcile.rollout.checksum import parse
from unit.reconcile.payments import (
    NAMESPACE,
    NEW_PASSWORD,
    checksum,
    remote,
    restarts,
    status,
)

MINUTES = 72.0  # later than any slot of a refresh interval of one minute
_BEGUN = 'A rolling restart was begun because the Secret "db" changed.'
KINDS = {"deployments": "Deployment", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet"}


def _targets(world: FakeApiServer) -> list[str]:
    return [target["name"] for target in status(world)["rollout"]["targets"]]


async def _rotate(engine: Engine, provider: MemoryProvider, password: str = NEW_PASSWORD) -> None:
    provider.values["app/db"] = remote(password)
    await engine.advance(MINUTES)


async def test_every_kind_that_reads_the_secret_is_restarted_and_nothing_else(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    for plural, kind in KINDS.items():
        world.put(plural, workload_body("reader", kind=kind, uid=f"reader-{kind}"))
        other = workload_body("other", kind=kind, uid=f"other-{kind}", reads=("else",))
        world.put(plural, other)
    await engine.settle()
    await _rotate(engine, provider)
    for plural, kind in KINDS.items():
        assert restarts(world, "reader", plural) == 1
        assert restarts(world, "other", plural) == 0
        assert checksum(world, "other", plural) == ""
        assert (kind, "SecretChanged", _BEGUN) in world.events()
        assert engine.sample("syncret_rollouts_total", kind=kind, result="rolled") == (
            2 if kind == "Deployment" else 1  # the world's own
        )


async def test_only_our_annotation_of_the_template_changes_under_our_name(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    before = world.get("deployments", NAMESPACE, "api")
    await _rotate(synced, provider)
    after = world.get("deployments", NAMESPACE, "api")
    assert {entry["manager"] for entry in after["metadata"]["managedFields"]} == {"syncret-rollout"}
    annotations = after["spec"]["template"]["metadata"]["annotations"]
    assert annotations.pop("syncret.io/secrets-checksum").startswith("#1.")
    assert after["spec"] == before["spec"]


async def test_one_that_cannot_be_restarted_does_not_keep_the_others_from_it(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.put("deployments", workload_body("a", uid="workload-a"))
    world.put("deployments", workload_body("z", uid="workload-z"))
    await engine.settle()
    world.intercept("PATCH", "deployments", Refusal(500))  # "a" comes first
    await _rotate(engine, provider)
    assert [restarts(world, name) for name in ("a", "api", "z")] == [0, 1, 1]
    await engine.advance(1)
    assert [restarts(world, name) for name in ("a", "api", "z")] == [1, 1, 1]


async def test_several_that_fail_again_and_again_are_told_of_once(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.put("deployments", workload_body("z", uid="workload-z"))
    await engine.settle()
    world.intercept("PATCH", "deployments", Refusal(403, "Forbidden"), times=1000)
    await _rotate(engine, provider)
    for _ in range(10):
        await engine.advance(30)
    told = [note for _, reason, note in world.events() if reason == "RolloutFailed"]
    assert len(told) == 1
    assert 'Deployment "api"' in told[0]
    assert "1 more" in told[0]


async def test_a_workload_that_is_gone_is_no_failure(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    """Deleted, and the watch has not said so."""
    synced.watch()
    provider.values["app/db"] = remote(NEW_PASSWORD)
    synced.clock.advance(MINUTES)
    world.remove("deployments", NAMESPACE, "api")
    await synced.work()
    assert status(world)["rollout"]["targets"] == []
    assert not world.has("deployments", NAMESPACE, "api"), "an apply would make one"
    assert synced.sample("syncret_rollouts_total", kind="Deployment", result="gone") == 1
    await synced.settle()
    assert not any(reason == "RolloutFailed" for _, reason, _ in world.events())


async def test_a_workload_made_anew_is_not_restarted_for_the_former(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    """The pods of the new one were started with the new data."""
    provider.values["app/db"] = remote(NEW_PASSWORD)
    synced.clock.advance(MINUTES)
    world.remove("deployments", NAMESPACE, "api")
    world.put("deployments", workload_body(uid="workload-2"))
    await synced.work()
    assert (restarts(world), checksum(world)) == (0, "")
    await synced.settle()
    assert (restarts(world), checksum(world)) == (0, "")
    (target,) = status(world)["rollout"]["targets"]
    assert target["uid"] == "workload-2"


async def test_a_workload_that_comes_later_is_a_baseline(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.put("deployments", workload_body("late", uid="workload-late"))
    await synced.settle()
    assert _targets(world) == ["api", "late"]
    assert restarts(world, "late") == 0
    await _rotate(synced, provider)
    assert restarts(world, "late") == 1
    world.remove("deployments", NAMESPACE, "late")
    await synced.settle()
    assert _targets(world) == ["api"]


async def test_in_mode_none_nothing_is_restarted(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"rollout": {"mode": "None"}}})
    await synced.settle()
    await _rotate(synced, provider)
    assert world.secret(NAMESPACE, "db")["password"] == NEW_PASSWORD.encode()
    assert (restarts(world), checksum(world)) == (0, "")


@pytest.mark.parametrize("lost", ["the request", "the answer"])
async def test_a_restart_of_which_the_answer_is_lost_is_one_restart(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider, lost: str
) -> None:
    world.intercept("PATCH", "deployments", Refusal(500), after=lost == "the answer")
    await _rotate(synced, provider)
    for _ in range(3):
        await synced.advance(1)
    assert restarts(world) == 1
    (target,) = status(world)["rollout"]["targets"]
    assert target["lastRolloutTime"]


async def test_two_secrets_of_one_workload_that_change_together_are_one_restart(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    provider.values["app/cache"] = b'{"a": "1"}'
    spec = {"dataFrom": [{"extract": {"key": "app/cache"}}], "target": {"name": "cache"}}
    world.put("externalsecrets", _external_secret("cache", **spec))
    world.put("deployments", workload_body("both", uid="workload-b", reads=("db", "cache")))
    await engine.settle()
    provider.values.update({"app/cache": b'{"a": "2"}', "app/db": remote(NEW_PASSWORD)})
    # Both Secrets are written before either ExternalSecret looks at the workload.
    world.edit("secrets", NAMESPACE, "cache", {"data": {"a": "Mg=="}})
    password = b64encode(NEW_PASSWORD.encode()).decode()
    world.edit("secrets", NAMESPACE, "db", {"data": {"password": password}})
    for name in ("db", "cache"):
        world.edit("externalsecrets", NAMESPACE, name, {"spec": {"refreshInterval": "2m"}})
    await engine.settle()
    assert restarts(world, "both") == 1
    assert world.secret(NAMESPACE, "cache") == {"a": b"2"}
    assert [*parse(checksum(world, "both"))] == ["cache", "db"]


def _external_secret(name: str, **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "syncret.io/v1alpha1",
        "kind": "ExternalSecret",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}"},
        "spec": {"secretStoreRef": {"name": "aws"}, **spec},
    }
