"""The strategy of a rollout: what waits for what, and what is said meanwhile."""

import asyncio
from typing import Any

import pytest

from support.apiserver import FakeApiServer, Refusal, rolled_status
from support.engine import Engine, living
from support.objects import workload_body
from support.provider import MemoryProvider
from unit.reconcile.payments import (
    NAMESPACE,
    NEW_PASSWORD,
    PASSWORD,
    condition,
    database,
    remote,
    restarts,
    status,
    writes,
)

MINUTES = 72.0
EAGER = {"debounce": "0s", "maxConcurrent": 10}
NAMES = ("api", "b", "c", "d")


@pytest.fixture
async def four(world: FakeApiServer, engine: Engine) -> Engine:
    """Four Deployments that read the Secret, and whose pods are replaced when a test says so."""
    for name in NAMES[1:]:
        world.put("deployments", workload_body(name, uid=f"workload-{name}"))
    await engine.settle()
    world.rolls = False
    return engine


def spec(world: FakeApiServer, **rollout: Any) -> None:
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"rollout": rollout}})


async def rotate(
    engine: Engine, provider: MemoryProvider, password: str = NEW_PASSWORD, *, wait: float = MINUTES
) -> None:
    provider.values["app/db"] = remote(password)
    await engine.advance(wait)


def rolled(world: FakeApiServer) -> list[int]:
    return [restarts(world, name) for name in NAMES]


def phases(world: FakeApiServer) -> dict[str, str]:
    return {one["name"]: one["phase"] for one in status(world)["rollout"]["targets"]}


async def finish(engine: Engine, world: FakeApiServer, name: str) -> None:
    world.finish_rollout("deployments", NAMESPACE, name)
    await engine.advance(1)


async def test_one_after_the_other_each_waited_for(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    await rotate(four, provider)
    assert rolled(world) == [1, 0, 0, 0]
    told = condition(world, "RolledOut")
    assert (told["status"], told["reason"]) == ("False", "RollingOut")
    assert told["message"] == "0 of 4 workloads use what the Secret holds."
    for number, name in enumerate(NAMES[:-1], start=1):
        await finish(four, world, name)
        assert rolled(world) == [1] * (number + 1) + [0] * (3 - number)
    await finish(four, world, "d")
    told = condition(world, "RolledOut")
    assert (told["status"], told["reason"]) == ("True", "RolledOut")
    assert set(phases(world).values()) == {"Current"}
    assert "pendingSince" not in status(world)["rollout"]
    labels = {"namespace": NAMESPACE, "name": "db"}
    assert four.sample("syncret_externalsecret_rolled_out", **labels) == 1
    assert four.sample("syncret_rollout_duration_seconds_count", kind="Deployment") == 4


async def test_as_many_at_once_as_the_spec_says(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    spec(world, maxConcurrent=3)
    await rotate(four, provider)
    assert rolled(world) == [1, 1, 1, 0]
    await finish(four, world, "b")
    assert rolled(world) == [1, 1, 1, 1]


async def test_no_more_than_the_cluster_has_room_for(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    four.roller._limit = 2
    spec(world, maxConcurrent=10)
    await rotate(four, provider)
    assert rolled(world) == [1, 1, 0, 0]
    await finish(four, world, "api")
    assert rolled(world) == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("limit", "share", "most"),
    [(4, 0.5, 2), (4, 0.75, 3), (1, 0.25, 1), (4, 0.0, 1)],
)
async def test_a_replica_takes_its_share_of_the_room(
    four: Engine,
    world: FakeApiServer,
    provider: MemoryProvider,
    limit: int,
    share: float,
    most: int,
) -> None:
    """Others may begin as many at this moment, which is seen too late."""
    four.roller._limit, four.roller._share = limit, lambda: share
    spec(world, maxConcurrent=10)
    await rotate(four, provider)
    assert sum(rolled(world)) == most


async def test_what_other_replicas_roll_takes_room_but_not_of_the_share(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    four.roller._limit, four.roller._share = 2, lambda: 0.5
    four.roller._works_on = lambda namespace: namespace != NAMESPACE
    spec(world, maxConcurrent=10)
    await rotate(four, provider)
    assert sum(rolled(world)) == 2, "as many as may roll in all, and then no more"


async def test_the_first_that_fails_stops_the_others_and_its_recovery_lets_them_go_on(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    spec(world, timeout="5m")
    await rotate(four, provider)
    await four.advance(299)
    assert phases(world)["api"] == "RollingOut"
    await four.advance(1)
    assert phases(world) == {"api": "Failed", "b": "Pending", "c": "Pending", "d": "Pending"}
    told = condition(world, "RolledOut")
    assert told["reason"] == "RolloutFailed"
    assert told["message"].startswith(
        'Deployment "api" was restarted and did not become healthy in time; nothing else is '
        "restarted. 3 more were not restarted."
    )
    assert ("ExternalSecret", "RolloutFailed", told["message"]) in world.events()
    assert four.sample("syncret_rollouts_total", kind="Deployment", result="unhealthy") == 1
    before = writes(world)
    for _ in range(20):
        await four.advance(MINUTES)
    assert rolled(world) == [1, 0, 0, 0]
    assert writes(world) == before, "it is told once"
    await finish(four, world, "api")
    assert rolled(world) == [1, 1, 0, 0]


async def test_the_controller_that_gives_up_is_believed_at_once(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    await rotate(four, provider)
    world.edit("deployments", NAMESPACE, "api", {"status": stuck(world, "api")})
    await four.advance(1)
    assert phases(world)["api"] == "Failed"
    assert rolled(world) == [1, 0, 0, 0]


def stuck(world: FakeApiServer, name: str) -> dict[str, Any]:
    body = world.get("deployments", NAMESPACE, name)
    reason = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    return {**rolled_status(body), "availableReplicas": 1, "conditions": [reason]}


async def test_the_former_value_put_back_mends_what_failed_and_restarts_nothing_else(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    await rotate(four, provider)
    world.edit("deployments", NAMESPACE, "api", {"status": stuck(world, "api")})
    await four.advance(1)
    await rotate(four, provider, PASSWORD)
    assert rolled(world) == [2, 0, 0, 0]
    world.edit("deployments", NAMESPACE, "api", {"status": {"conditions": []}})
    await finish(four, world, "api")
    assert condition(world, "RolledOut")["status"] == "True"
    assert rolled(world) == [2, 0, 0, 0]


async def test_one_that_was_in_trouble_before_comes_last(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.edit("deployments", NAMESPACE, "api", {"status": {"availableReplicas": 0}})
    await four.advance(1)
    await rotate(four, provider)
    assert rolled(world) == [0, 1, 0, 0]


async def test_a_change_taken_back_within_the_debounce_restarts_nothing(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"refreshInterval": "5s"}})
    spec(world, debounce="30s")
    await rotate(four, provider, wait=6)
    assert rolled(world) == [0, 0, 0, 0]
    assert set(phases(world).values()) == {"Pending"}
    assert status(world)["rollout"]["pendingSince"]
    await rotate(four, provider, PASSWORD, wait=6)
    for _ in range(30):
        await four.advance(5)
    assert rolled(world) == [0, 0, 0, 0]
    assert condition(world, "RolledOut")["status"] == "True"


async def test_data_that_changes_on_and_on_is_rolled_out_all_the_same(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"refreshInterval": "5s"}})
    spec(world, debounce="30s")
    for number in range(50):
        await rotate(four, provider, f"fake-{number}", wait=5)
    assert rolled(world) == [0, 0, 0, 0]
    for number in range(15):
        await rotate(four, provider, f"fake-too-{number}", wait=5)
    assert rolled(world)[0] == 1


async def test_the_debounce_goes_on_after_a_restart_of_the_operator(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    spec(world, debounce="10m")
    await rotate(four, provider)
    await four.advance(300)
    async with living(world, provider=provider, clock=four.clock) as second:
        await second.settle()
        assert rolled(world) == [0, 0, 0, 0]
        await second.advance(299)
        assert rolled(world) == [0, 0, 0, 0]
        await second.advance(2)
        assert rolled(world) == [1, 0, 0, 0]


async def test_nothing_is_restarted_outside_of_the_windows(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    night = {"kind": "Allow", "schedule": "0 2 * * *", "duration": "1h", "timeZone": "Asia/Tokyo"}
    spec(world, windows=[night])  # 14:30 in UTC: 2 o'clock in Tokyo is at 17:00
    await rotate(four, provider)
    told = condition(world, "RolledOut")
    assert told["reason"] == "WaitingForWindow"
    assert told["message"] == (
        "0 of 4 workloads use what the Secret holds. The others wait for a window. The next one "
        "opens at 2026-09-21T17:00:00Z."
    )
    assert world.secret(NAMESPACE, "db")["password"] == NEW_PASSWORD.encode()
    before = writes(world)
    await four.advance(2 * 3600)
    assert (rolled(world), writes(world)) == ([0, 0, 0, 0], before)
    await four.advance(1800)
    assert rolled(world) == [1, 0, 0, 0]
    await four.advance(3600)  # the window has closed while it was rolling
    await finish(four, world, "api")
    assert rolled(world) == [1, 0, 0, 0]
    assert phases(world)["api"] == "Current"


async def test_a_paused_deployment_is_told_of_and_done_when_it_is_not(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.edit("deployments", NAMESPACE, "api", {"spec": {"paused": True}})
    world.finish_rollout("deployments", NAMESPACE, "api")
    await four.advance(1)
    spec(world, maxConcurrent=9)
    await rotate(four, provider)
    assert rolled(world)[1:] == [1, 1, 1]
    for name in NAMES[1:]:
        await finish(four, world, name)
    told = condition(world, "RolledOut")
    assert (told["status"], told["reason"]) == ("False", "RolloutPaused")
    assert 'Deployment "api" is paused' in told["message"]
    generation = restarts(world)
    world.edit("deployments", NAMESPACE, "api", {"spec": {"paused": False}})
    await four.advance(1)
    assert restarts(world) == generation + 2  # the edit, and ours
    await finish(four, world, "api")
    assert condition(world, "RolledOut")["status"] == "True"


async def test_what_its_owner_puts_back_is_told_of_and_not_fought_over(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    owner = {"kind": "Prometheus", "name": "main", "uid": "u", "controller": True}
    body = workload_body("owned", kind="StatefulSet", uid="owned")
    body["metadata"]["ownerReferences"] = [owner]
    world.put("statefulsets", {**body, "status": rolled_status(body)})
    await four.advance(1)
    spec(world, maxConcurrent=9)
    await rotate(four, provider)
    for name in NAMES:
        await finish(four, world, name)
    assert restarts(world, "owned", "statefulsets") == 1
    template = {"metadata": {"annotations": {"syncret.io/secrets-checksum": None}}}
    world.edit("statefulsets", NAMESPACE, "owned", {"spec": {"template": template}})
    world.finish_rollout("statefulsets", NAMESPACE, "owned")
    for _ in range(20):
        await four.advance(MINUTES)
    assert restarts(world, "owned", "statefulsets") == 2, "ours, and that of its owner"
    told = condition(world, "RolledOut")
    assert told["reason"] == "RolloutReverted"
    assert told["message"].startswith(
        'StatefulSet "owned" was restarted, and Prometheus "main", which controls it, put its '
        "former template back"
    )
    assert told["message"].endswith('have Prometheus "main" restart it.')


async def test_only_what_is_named_in_the_mode_targets(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    blind = workload_body("blind", uid="blind", reads=())  # it reads the Secret from the API
    blind["metadata"]["labels"] = {"app": "orders"}
    world.rolls = True
    world.put("deployments", blind)
    targets = [
        {"kind": "Deployment", "name": "b"},
        {"selector": {"matchLabels": {"app": "orders"}}},
        {"kind": "StatefulSet", "name": "b"},
    ]
    spec(world, mode="Targets", targets=targets)
    await four.settle()
    assert phases(world) == {"b": "Current", "blind": "Current"}
    told = condition(world, "RolledOut")
    assert (told["status"], told["reason"]) == ("False", "TargetNotFound")
    assert 'StatefulSet "b"' in told["message"]
    await rotate(four, provider)
    for _ in range(3):
        await four.advance(1)
    assert rolled(world) == [0, 1, 0, 0]
    assert restarts(world, "blind") == 1
    told_of = [note for kind, reason, note in world.events() if reason == "TargetNotFound"]
    assert len(told_of) == 1


@pytest.mark.parametrize("annotated", ["workload", "namespace", "both"])
async def test_what_is_not_to_be_restarted_is_not_and_not_made_up_for(
    four: Engine, world: FakeApiServer, provider: MemoryProvider, annotated: str
) -> None:
    meta: dict[str, Any] = {"name": NAMESPACE}
    no, yes = ({"syncret.io/rollout": word} for word in ("false", "true"))
    world.put(
        "namespaces", {"metadata": {**meta, "annotations": {} if annotated == "workload" else no}}
    )
    own = {"workload": no, "namespace": {}, "both": yes}[annotated]
    world.edit("deployments", NAMESPACE, "api", {"metadata": {"annotations": own}})
    world.rolls = True
    await four.settle()
    await rotate(four, provider)
    for _ in range(5):
        await four.advance(1)
    expected = {"workload": [0, 1, 1, 1], "namespace": [0, 0, 0, 0], "both": [1, 0, 0, 0]}
    assert rolled(world) == expected[annotated]
    named = {"workload": "api", "namespace": "b", "both": "b"}[annotated]
    assert phases(world)[named] == "Excluded"
    if annotated == "workload":
        world.edit("deployments", NAMESPACE, "api", {"metadata": {"annotations": yes}})
        await four.advance(1)
        assert restarts(world) == 0


async def test_a_namespace_that_cannot_be_asked_restarts_nothing_before_it_can(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.intercept("GET", "namespaces", Refusal(403, "Forbidden"))
    await rotate(four, provider)
    assert rolled(world) == [0, 0, 0, 0]
    assert any(reason == "RolloutFailed" for _, reason, _ in world.events())
    await four.advance(1)
    assert rolled(world) == [1, 0, 0, 0]


async def test_restarts_of_one_workload_come_ever_more_seldom(
    synced: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    """A thousand rotations, one second apart, and pods that are quick."""
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"refreshInterval": "1s"}})
    await synced.settle()
    for number in range(1000):
        await rotate(synced, provider, f"fake-{number}", wait=1)
    assert 4 <= restarts(world) <= 10
    await synced.advance(300)
    await synced.advance(MINUTES)
    assert condition(world, "RolledOut")["status"] == "True", "the last value wins"


async def test_a_wrong_spec_restarts_nothing(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    """Whatever it was to say of rollouts, it cannot be read."""
    await rotate(four, provider, wait=0)
    broken = [{"kind": "Allow", "schedule": "0 2 30 2 *", "duration": "1h"}]
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"rollout": {"windows": broken}}})
    await four.advance(MINUTES)
    assert condition(world, "Ready")["reason"] == "SpecInvalid"
    assert rolled(world) == [0, 0, 0, 0]


async def test_a_job_of_before_is_left_to_end_and_a_cron_job_to_its_next_run(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    pod = workload_body()["spec"]["template"]
    cron = {"jobTemplate": {"spec": {"template": pod}}}
    for plural, kind, job_spec in (
        ("jobs", "Job", {"template": pod}),
        ("cronjobs", "CronJob", cron),
    ):
        meta = {"name": "import", "namespace": NAMESPACE, "uid": kind}
        meta["creationTimestamp"] = "2026-09-21T14:00:00Z"
        world.put(plural, {"kind": kind, "metadata": meta, "spec": job_spec})
    spec(world, maxConcurrent=9)
    world.rolls = True
    await four.settle()
    await rotate(four, provider)
    await four.advance(1)
    targets = {one["kind"]: one["phase"] for one in status(world)["rollout"]["targets"]}
    assert targets == {"CronJob": "NextRun", "Deployment": "Current", "Job": "Running"}
    assert condition(world, "RolledOut")["reason"] == "WaitingForJobs"
    done = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    world.edit("jobs", NAMESPACE, "import", done)
    await four.advance(1)
    assert condition(world, "RolledOut")["status"] == "True"


async def test_an_argo_rollout_is_restarted_in_place(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    body = workload_body("canary", kind="Rollout", uid="canary")
    body["status"] = {"observedGeneration": "1", "phase": "Healthy"}
    world.put("rollouts", body)
    await four.settle()
    spec(world, maxConcurrent=9)
    await rotate(four, provider)
    after = world.get("rollouts", NAMESPACE, "canary")
    assert after["spec"]["template"] == body["spec"]["template"]
    assert after["metadata"]["annotations"]["syncret.io/secrets-checksum"].startswith("#1.")
    at = after["spec"]["restartAt"]
    assert phases(world)["canary"] == "RollingOut"
    world.edit(
        "rollouts",
        NAMESPACE,
        "canary",
        {"status": {"restartedAt": at, "observedGeneration": "2", "phase": "Healthy"}},
    )
    for name in NAMES:
        await finish(four, world, name)
    assert phases(world)["canary"] == "Current"
    assert condition(world, "RolledOut")["status"] == "True"
    await four.advance(MINUTES)
    assert world.get("rollouts", NAMESPACE, "canary")["spec"]["restartAt"] == at


async def test_two_external_secrets_at_work_at_the_same_time_keep_to_the_limit_of_the_cluster(
    four: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    """Both have planned before either has written."""
    provider.values["app/cache"] = b'{"a": "1"}'
    other = database(dataFrom=[{"extract": {"key": "app/cache"}}], rollout=EAGER)
    other["metadata"] |= {"name": "cache", "uid": "uid-cache"}
    world.put("externalsecrets", other)
    spec(world, **EAGER)
    world.rolls = True
    for number in range(4):
        body = workload_body(f"other-{number}", uid=f"other-{number}", reads=("cache",))
        world.put("deployments", body)
    await four.settle()
    world.rolls = False
    four.roller._limit = 3
    provider.values |= {"app/db": remote(NEW_PASSWORD), "app/cache": b'{"a": "2"}'}
    four.clock.advance(MINUTES)
    four.watch()
    await asyncio.gather(four.work(), four.work())
    names = (*NAMES, *(f"other-{number}" for number in range(4)))
    assert sum(restarts(world, name) for name in names) == 3
