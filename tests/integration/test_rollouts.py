"""What restarts when the data of a Secret changed: once what read it, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from integration import manifests
from integration.manifests import entry, env, env_from
from integration.world import World

ANNOTATION = "syncret.io/secrets-checksum"

#: Every way to read the key "password" of the Secret "app": kind, and the rest of the workload.
CONSUMERS: dict[str, dict[str, Any]] = {
    "env": {"container": env("app", "password")},
    "env-from": {"container": env_from("app")},
    "volume": {"volumes": [{"name": "v", "secret": {"secretName": "app"}}]},
    "volume-items": {
        "volumes": [
            {
                "name": "v",
                "secret": {"secretName": "app", "items": [{"key": "password", "path": "p"}]},
            }
        ]
    },
    "projected": {
        "volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "app"}}]}}]
    },
    "init": {"init": env("app", "password")},
    "stateful": {"kind": "StatefulSet", "container": env("app", "password")},
    "daemon": {"kind": "DaemonSet", "container": env_from("app")},
}

#: What does not read it: other keys, other Secrets, nothing.
BYSTANDERS: dict[str, dict[str, Any]] = {
    "other-key": {"container": env("app", "username")},
    "other-key-items": {
        "volumes": [
            {
                "name": "v",
                "secret": {"secretName": "app", "items": [{"key": "username", "path": "u"}]},
            }
        ]
    },
    "other-secret": {"container": env_from("unrelated")},
    "none": {},
    "pull-secret-only": {"container": {"env": [{"name": "SECRET", "value": "app"}]}},
}


def kind_of(name: str) -> str:
    return str({**CONSUMERS, **BYSTANDERS}[name].get("kind", "Deployment"))


def generations(world: World, names: dict[str, Any]) -> dict[str, int]:
    return {name: world.generation(name, kind_of(name)) for name in names}


def put(world: World, password: str) -> None:
    world.put("database", {"username": "shop", "password": password})


def sync(world: World, **spec: Any) -> None:
    """The Secret "app" with a user name, which stays, and a password, which is rotated."""
    database = world.key("database")
    data = [entry("username", database, "username"), entry("password", database, "password")]
    world.external_secret(data=data, **spec)


def wait_generation(world: World, name: str, generation: int) -> None:
    world.wait(
        lambda: (
            world.generation(name, kind_of(name) if name in CONSUMERS else "Deployment")
            >= generation
        ),
        f"{name} is restarted",
    )


def wait_told_of(world: World, *names: str) -> None:
    """Until the status knows these workloads: what they started with is remembered."""

    def known() -> bool:
        targets = world.status().get("rollout", {}).get("targets", [])
        return set(names) <= {target["name"] for target in targets}

    world.wait(known, f"the status knows {', '.join(names)}")


def test_what_reads_a_changed_key_restarts_once_and_nothing_else_does(world: World) -> None:
    everything = {**CONSUMERS, **BYSTANDERS}
    for name, spec in everything.items():
        world.workload(name, **spec)
    put(world, "first")

    sync(world, rollout={"maxConcurrent": len(CONSUMERS)})  # their order is not the point here
    wait_told_of(world, *CONSUMERS, "other-key", "other-key-items")
    world.settle()

    assert generations(world, everything) == dict.fromkeys(everything, 1)
    targets = world.status()["rollout"]["targets"]
    assert {target["name"] for target in targets} == {*CONSUMERS, "other-key", "other-key-items"}
    assert all("lastRolloutTime" not in target for target in targets)

    for rotation, password in enumerate(("second", "first"), start=1):
        put(world, password)
        for name in CONSUMERS:
            wait_generation(world, name, 1 + rotation)
        world.settle()

        assert generations(world, CONSUMERS) == dict.fromkeys(CONSUMERS, 1 + rotation)
        assert generations(world, BYSTANDERS) == dict.fromkeys(BYSTANDERS, 1)

    targets = {target["name"]: target for target in world.status()["rollout"]["targets"]}
    assert all("lastRolloutTime" in targets[name] for name in CONSUMERS)
    assert "lastRolloutTime" not in targets["other-key"]
    template = world.get("Deployment", "env")["spec"]["template"]
    assert set(template["metadata"]["annotations"]) == {ANNOTATION}
    told = (
        "Normal",
        "SecretChanged",
        'A rolling restart was begun because the Secret "app" changed.',
    )
    world.wait(lambda: world.events("env", "Deployment") == [told] * 2, "each restart is told")


def test_the_pods_are_really_replaced(world: World) -> None:
    world.workload("env", **CONSUMERS["env"])
    put(world, "first")
    sync(world)
    world.settle()

    def pods() -> set[str]:
        return {
            pod["metadata"]["uid"]
            for pod in world.api.list("Pod", world.namespace)
            if pod.get("status", {}).get("phase") == "Running"
            and "deletionTimestamp" not in pod["metadata"]
        }

    before = world.wait(pods, "a pod runs")

    put(world, "second")

    world.wait(lambda: len(pods()) == 1 and not pods() & before, "another pod runs instead")


def test_mode_none_restarts_nothing_and_forgets_what_it_did_not_restart(world: World) -> None:
    world.workload("env", **CONSUMERS["env"])
    put(world, "first")
    sync(world, rollout={"mode": "None"})
    world.settle()

    put(world, "second")
    world.wait(lambda: (world.data() or {}).get("password") == b"second", "the Secret follows")
    world.settle()
    assert world.generation("env") == 1

    # What was rotated under None is not made up for, and the next rotation counts again.
    sync(world, rollout={"mode": "Auto"})
    world.settle()
    assert world.generation("env") == 1
    put(world, "third")
    wait_generation(world, "env", 2)
    world.settle()
    assert world.generation("env") == 2


def test_a_workload_that_comes_later_started_with_what_the_secret_holds(world: World) -> None:
    put(world, "first")
    sync(world)
    world.settle()
    put(world, "second")
    world.wait(lambda: (world.data() or {}).get("password") == b"second", "the Secret follows")

    world.workload("env", **CONSUMERS["env"])
    wait_told_of(world, "env")
    world.settle()
    assert world.generation("env") == 1

    put(world, "third")
    wait_generation(world, "env", 2)
    world.settle()
    assert world.generation("env") == 2


def test_a_new_version_with_the_same_value_restarts_nothing(world: World) -> None:
    world.workload("env", **CONSUMERS["env"])
    put(world, "first")
    sync(world)
    world.settle()
    sources = world.status()["sources"]

    version = world.put("database", {"password": "first", "username": "shop", "more": "x"})

    world.wait(lambda: world.status()["sources"] != sources, "the new version is seen")
    world.settle()
    assert {source["version"] for source in world.status()["sources"]} == {version}
    assert world.generation("env") == 1
    assert [reason for _, reason, _ in world.events()] == []


def test_two_secrets_of_one_workload_restart_it_once_for_each_change(world: World) -> None:
    world.put("other", "o1")
    put(world, "first")
    both = {"env": [*env("app", "password")["env"], *env("more", "key", "KEY")["env"]]}
    world.workload("both", container=both)
    sync(world)
    world.external_secret("more", data=[entry("key", world.key("other"))])
    world.settle()
    world.settle("more")
    assert world.generation("both") == 1

    world.put("other", "o2")
    wait_generation(world, "both", 2)
    world.settle("more")
    world.settle()
    assert world.generation("both") == 2

    put(world, "second")
    wait_generation(world, "both", 3)
    world.settle()
    world.settle("more")
    assert world.generation("both") == 3


def undo_by_hand(world: World) -> None:
    """As a GitOps tool does that knows nothing of our annotation."""
    template = {"metadata": {"annotations": {ANNOTATION: None}}}
    world.patch("Deployment", "env", {"spec": {"template": template}})


def edit_by_hand(world: World) -> None:
    template = {"metadata": {"annotations": {ANNOTATION: "app=nonsense,,=,x=*.1.2"}}}
    world.patch("Deployment", "env", {"spec": {"template": template}})


@pytest.mark.parametrize("meddle", [undo_by_hand, edit_by_hand])
def test_a_meddled_annotation_restarts_nothing_more(
    world: World, meddle: Callable[[World], None]
) -> None:
    world.workload("env", **CONSUMERS["env"])
    put(world, "first")
    sync(world)
    world.settle()
    put(world, "second")
    wait_generation(world, "env", 2)
    world.settle()

    meddle(world)  # this is a restart by itself, the third generation

    world.settle()
    assert world.generation("env") == 3
    put(world, "third")
    wait_generation(world, "env", 4)
    world.settle()
    assert world.generation("env") == 4


def test_a_restart_that_is_refused_is_told_and_made_once_when_it_is_possible(
    world: World,
) -> None:
    """Admission refuses the write of one workload: the others are restarted all the same."""
    names = ("first", "refused", "second")
    for name in names:
        kind = "StatefulSet" if name == "refused" else "Deployment"
        world.workload(name, kind=kind, container=env("app", "password"))
    put(world, "first")
    sync(world)
    world.settle()
    policy = f"refuse-{world.namespace}"
    world.apply(
        *manifests.refusing(
            policy,
            world.namespace,
            group="apps",
            resources=["statefulsets"],
            message="'not today'",
        )
    )
    world.wait_refused("StatefulSet", "refused")

    put(world, "second")

    for name in ("first", "second"):
        wait_generation(world, name, 2)
    told = (
        'StatefulSet "refused" was not restarted: An admission rule of the cluster refused to '
        f'patch StatefulSet "refused" in namespace "{world.namespace}"'
    )

    def failures() -> list[tuple[str, str, str]]:
        return [event for event in world.events() if event[1] == "RolloutFailed"]

    world.wait(failures, "the failure is told")
    world.settle()
    (failure,) = failures()
    assert failure[0] == "Warning"
    assert failure[2].startswith(told)
    assert world.generation("refused", "StatefulSet") == 1
    assert world.ready()["status"] == "True"  # the Secret is as it should be

    for kind in ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"):
        world.api.delete(kind, policy)

    world.wait(lambda: world.generation("refused", "StatefulSet") > 1, "it is restarted at last")
    world.settle()
    assert world.generation("refused", "StatefulSet") == 2
    assert [world.generation(name) for name in ("first", "second")] == [2, 2]
