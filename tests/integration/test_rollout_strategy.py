"""How a rotation is rolled out, by the real controllers: in which order, how far, and by whom not.

kwok's pods take a second each to be Ready, and the Deployments keep the former ones as long.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest

from integration import manifests
from integration.api import ApiError
from integration.conftest import StartAlone
from integration.manifests import entry, env, env_from
from integration.world import World, is_complete

ANNOTATION = "syncret.io/secrets-checksum"
Body = dict[str, Any]


def put(world: World, password: str) -> None:
    world.put("database", {"password": password})


def sync(world: World, **rollout: Any) -> None:
    put(world, "first")
    data = [entry("password", world.key("database"), "password")]
    world.external_secret(data=data, rollout=rollout)


def deploy(world: World, *names: str, kind: str = "Deployment", **spec: Any) -> None:
    """Workloads that read the password; ``labels``: further ones of their pods."""
    labels = spec.pop("labels", {})
    for name in names:
        body = manifests.workload(
            world.namespace, name, kind=kind, container=env("app", "password")
        )
        body["spec"]["template"]["metadata"]["labels"].update(labels)
        body["spec"].update(spec)
        world.apply(body)
    world.wait(
        lambda: all(is_complete(world.get(kind, name)) for name in names), "all of it is there"
    )


def phases(world: World) -> dict[str, str]:
    targets = world.status().get("rollout", {}).get("targets", ())
    return {target["name"]: target["phase"] for target in targets}


def rolled_out(world: World) -> Body:
    """The condition; empty while there is none."""
    conditions = world.status().get("conditions", ())
    return next((dict(one) for one in conditions if one["type"] == "RolledOut"), {})


def wait_known(world: World, *names: str) -> None:
    """Until what they started with is remembered."""
    world.wait(lambda: set(names) <= phases(world).keys(), f"{', '.join(names)} are known")
    world.settle()


def wait_told(world: World, reason: str) -> str:
    """Until RolledOut has the reason; the message."""
    world.wait(lambda: rolled_out(world).get("reason") == reason, f"RolledOut says {reason}")
    return str(rolled_out(world)["message"])


@contextmanager
def watched(world: World, names: tuple[str, ...]) -> Iterator[list[tuple[int, int]]]:
    """How many roll at the same time, and the fewest pods that were available of any of them."""
    seen: list[tuple[int, int]] = []
    ended = Event()

    def look() -> None:
        while not ended.is_set():
            bodies = world.api.list("Deployment", world.namespace)
            mine = [body for body in bodies if body["metadata"]["name"] in names]
            rolling = sum(
                body["metadata"]["generation"] > 1 and not is_complete(body) for body in mine
            )
            available = min(body["status"].get("availableReplicas", 0) for body in mine)
            seen.append((rolling, available))
            time.sleep(0.02)

    thread = Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def test_never_more_roll_than_they_may_and_each_of_them_once(world: World) -> None:
    names = tuple(f"w{number}" for number in range(6))
    deploy(world, *names)
    sync(world, maxConcurrent=2)
    wait_known(world, *names)

    with watched(world, names) as seen:
        put(world, "second")
        world.wait(lambda: all(world.generation(name) == 2 for name in names), "all were restarted")
        wait_told(world, "RolledOut")

    assert max(rolling for rolling, _ in seen) == 2
    assert min(available for _, available in seen) >= 1, "no pod was missing at any time"
    world.settle()
    assert [world.generation(name) for name in names] == [2] * len(names)
    assert set(phases(world).values()) == {"Current"}


def test_a_credential_that_does_not_work_stops_at_the_first_with_the_old_pods_serving(
    world: World,
) -> None:
    deploy(world, "a", labels={"testbed/breaks": "true"}, replicas=2)
    deploy(world, "b", "c")
    sync(world, timeout="4s")
    wait_known(world, "a", "b", "c")
    serving = {pod["metadata"]["uid"] for pod in pods(world, "a")}
    assert len(serving) == 2

    put(world, "broken")

    message = wait_told(world, "RolloutFailed")
    assert message.startswith('Deployment "a" was restarted and did not become healthy in time')
    world.settle()
    assert phases(world) == {"a": "Failed", "b": "Pending", "c": "Pending"}
    assert [world.generation(name) for name in "abc"] == [2, 1, 1]
    assert serving & {pod["metadata"]["uid"] for pod in pods(world, "a")}
    assert world.get("Deployment", "a")["status"]["availableReplicas"] >= 1
    told = [event for event in world.events() if event[1] == "RolloutFailed"]
    assert told == [("Warning", "RolloutFailed", message)]

    put(world, "first")  # what the others have: only the one that broke is restarted

    world.wait(lambda: world.generation("a") == 3, "the former value is rolled out")
    world.settle()
    assert [world.generation(name) for name in "abc"] == [3, 1, 1]


def pods(world: World, name: str) -> list[Body]:
    """Those that serve."""
    return [
        pod
        for pod in world.api.list("Pod", world.namespace)
        if pod["metadata"]["labels"].get("app") == name
        and "deletionTimestamp" not in pod["metadata"]
        and any(
            one["type"] == "Ready" and one["status"] == "True"
            for one in pod.get("status", {}).get("conditions", ())
        )
    ]


def test_killed_while_it_waits_for_more_changes_it_restarts_once(
    lonely_world: World, alone: StartAlone
) -> None:
    world = lonely_world
    world.operator = operator = alone()
    deploy(world, "a", "b")
    sync(world, debounce="6s")
    wait_known(world, "a", "b")

    put(world, "second")
    wait_told(world, "RollingOut")
    assert phases(world) == {"a": "Pending", "b": "Pending"}
    operator.kill()
    assert [world.generation(name) for name in "ab"] == [1, 1]
    operator.start()

    wait_told(world, "RolledOut")
    world.settle()
    assert [world.generation(name) for name in "ab"] == [2, 2]


def test_killed_while_it_waits_for_health_it_goes_on_where_it_was(
    lonely_world: World, alone: StartAlone
) -> None:
    """The first is restarted and not yet healthy; the process that comes waits for it, too."""
    world = lonely_world
    world.operator = operator = alone()
    deploy(world, "a", labels={"testbed/breaks": "true"}, replicas=2)
    deploy(world, "b")
    sync(world, maxConcurrent=1, timeout="1h")
    wait_known(world, "a", "b")

    put(world, "second")
    world.wait(lambda: phases(world) == {"a": "RollingOut", "b": "Pending"}, "the first rolls")
    operator.kill()
    operator.start()
    world.wait_refreshes(count=2)
    assert phases(world) == {"a": "RollingOut", "b": "Pending"}
    assert [world.generation(name) for name in "ab"] == [2, 1]

    heal(world)
    wait_told(world, "RolledOut")
    world.settle()
    assert [world.generation(name) for name in "ab"] == [2, 2]


def heal(world: World) -> None:
    """The new pods get Ready after all, each as it comes: kwok keeps those with our annotation."""

    def ready() -> bool:
        for pod in world.api.list("Pod", world.namespace):
            meta = pod["metadata"]
            if "testbed/breaks" in meta["labels"] and ANNOTATION in meta.get("annotations", {}):
                world.patch("Pod", meta["name"], {"metadata": {"annotations": {ANNOTATION: None}}})
        return is_complete(world.get("Deployment", "a"))

    world.wait(ready, "it is healthy")


def test_a_change_that_is_taken_back_in_time_restarts_nothing(world: World) -> None:
    deploy(world, "a")
    sync(world, debounce="4s")
    wait_known(world, "a")

    put(world, "second")
    wait_told(world, "RollingOut")
    assert phases(world) == {"a": "Pending"}
    put(world, "first")
    wait_told(world, "RolledOut")
    world.wait_refreshes(count=5)  # a second each: longer than it would have waited

    assert world.generation("a") == 1


def test_a_paused_deployment_is_done_when_it_is_not_paused_any_more(world: World) -> None:
    deploy(world, "a", "b")
    sync(world)
    wait_known(world, "a", "b")
    world.patch("Deployment", "a", {"spec": {"paused": True}})
    generation = world.generation("a")

    put(world, "second")
    world.wait(lambda: world.generation("b") == 2, "the other is restarted")
    assert 'Deployment "a" is paused' in wait_told(world, "RolloutPaused")
    assert world.generation("a") == generation

    world.patch("Deployment", "a", {"spec": {"paused": False}})
    wait_told(world, "RolledOut")
    assert world.generation("a") == generation + 2


def test_pods_that_are_replaced_on_deletion_are_waited_for(world: World) -> None:
    deploy(world, "a", kind="StatefulSet", updateStrategy={"type": "OnDelete"})
    sync(world)
    wait_known(world, "a")

    put(world, "second")
    assert 'StatefulSet "a"' in wait_told(world, "WaitingForDeletion")
    assert phases(world) == {"a": "OnDelete"}

    world.delete("Pod", "a-0")
    wait_told(world, "RolledOut")
    assert world.generation("a", "StatefulSet") == 2


def test_a_workload_whose_owner_puts_the_template_back_is_not_fought_over(world: World) -> None:
    deploy(world, "a", labels={"testbed/breaks": "true"})  # it rolls until somebody intervenes
    owner = world.get("Deployment", "a")["metadata"]["uid"]
    world.workload("owner")
    reference = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "owner",
        "uid": world.get("Deployment", "owner")["metadata"]["uid"],
        "controller": True,
    }
    world.patch("Deployment", "a", {"metadata": {"ownerReferences": [reference]}})
    sync(world)
    wait_known(world, "a")

    put(world, "second")
    world.wait(lambda: world.generation("a") == 2, "it is restarted")
    wait_told(world, "RollingOut")
    template = {"metadata": {"annotations": {ANNOTATION: None}}}
    world.patch("Deployment", "a", {"spec": {"template": template}})

    message = wait_told(world, "RolloutReverted")
    assert 'Deployment "owner", which controls it, put its former template back' in message
    world.settle()
    assert world.generation("a") == 3
    assert world.get("Deployment", "a")["metadata"]["uid"] == owner


def rotated(world: World, password: str, generation: int) -> None:
    """Rotates, and waits until "a" has this generation and all of its pods."""
    put(world, password)
    world.wait(lambda: world.generation("a") == generation, f'generation {generation} of "a"')
    wait_told(world, "RolledOut")


def test_another_manager_and_our_annotation_leave_each_other_alone(world: World) -> None:
    """As a GitOps tool does that applies its manifest again and again, and changes it at times."""
    body = manifests.workload(world.namespace, "a", container=env("app", "password"))
    body["spec"]["template"]["metadata"]["annotations"] = {"team": "payments"}
    world.api.apply(body, manager="argocd-controller")
    sync(world)
    wait_known(world, "a")
    rotated(world, "second", 2)

    for _ in range(3):
        world.api.apply(body, manager="argocd-controller", force=False)  # no conflict
    assert world.generation("a") == 2
    annotations = world.get("Deployment", "a")["spec"]["template"]["metadata"]["annotations"]
    assert annotations.keys() == {"team", ANNOTATION}

    owned = {
        manager["manager"]: json.dumps(manager["fieldsV1"])
        for manager in world.get("Deployment", "a")["metadata"]["managedFields"]
        if manager["operation"] == "Apply"
    }
    assert ANNOTATION in owned["syncret-rollout"]
    assert owned["syncret-rollout"].count("f:") == 5  # spec.template.metadata.annotations.ours
    assert ANNOTATION not in owned["argocd-controller"]

    body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.invalid/app:2"
    world.api.apply(body, manager="argocd-controller", force=False)
    world.settle()
    assert world.generation("a") == 3, "theirs, and none of ours in answer"
    rotated(world, "third", 4)
    world.settle()
    assert world.generation("a") == 4


def test_a_tool_that_replaces_the_whole_object_is_not_fought_over(world: World) -> None:
    """As ``kubectl replace`` does: the annotation goes, which is a restart by itself."""
    deploy(world, "a")
    sync(world)
    wait_known(world, "a")
    before = world.get("Deployment", "a")
    rotated(world, "second", 2)

    def replaced() -> bool:
        version = world.version("Deployment", "a")
        body = {**before, "metadata": {**before["metadata"], "resourceVersion": version}}
        path = f"/apis/apps/v1/namespaces/{world.namespace}/deployments/a"
        return answered(409, lambda: world.api.request("PUT", path, body, "application/json"))

    world.wait(replaced, "it is replaced")
    world.settle()
    assert world.generation("a") == 3
    rotated(world, "third", 4)


def test_targets_are_restarted_and_one_that_is_not_there_is_told_of(world: World) -> None:
    deploy(world, "reader", "named")
    world.workload("blind")  # it reads the Secret from the API
    world.patch("Deployment", "blind", {"metadata": {"labels": {"team": "orders"}}})
    targets = [
        {"kind": "Deployment", "name": "named"},
        {"selector": {"matchLabels": {"team": "orders"}}},
        {"kind": "DaemonSet", "name": "typo"},
    ]
    sync(world, mode="Targets", targets=targets)
    wait_known(world, "named", "blind")
    assert 'DaemonSet "typo"' in wait_told(world, "TargetNotFound")

    put(world, "second")
    for name in ("named", "blind"):
        world.wait(lambda name=name: world.generation(name) == 2, f"{name} is restarted")  # type: ignore[misc]
    world.settle()
    assert world.generation("reader") == 1


@pytest.mark.parametrize("where", ["Namespace", "Deployment"])
def test_what_is_annotated_so_is_not_restarted(world: World, where: str) -> None:
    deploy(world, "left", "usual")
    annotated = {"metadata": {"annotations": {"syncret.io/rollout": "false"}}}
    if where == "Namespace":
        world.api.patch("Namespace", world.namespace, annotated)
        wanted = {"metadata": {"annotations": {"syncret.io/rollout": "true"}}}
        world.patch("Deployment", "usual", wanted)
    else:
        world.patch("Deployment", "left", annotated)
    sync(world)
    wait_known(world, "left", "usual")
    left, usual = (world.generation(name) for name in ("left", "usual"))  # annotations count too

    put(world, "second")
    world.wait(lambda: world.generation("usual") > usual, "the other is restarted")
    world.settle()
    assert world.generation("left") == left
    assert phases(world)["left"] == "Excluded"


def test_jobs_are_told_of_and_never_touched(world: World) -> None:
    pod = manifests.workload(world.namespace, "x", container=env_from("app"))["spec"]["template"]
    pod["spec"]["restartPolicy"] = "Never"
    pod["metadata"]["labels"]["testbed/never-ready"] = "true"  # so that it does not end
    meta = {"namespace": world.namespace}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {**meta, "name": "import"}}
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {**meta, "name": "nightly"}}
    world.apply({**job, "spec": {"template": pod}})
    world.apply(
        {**cron, "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": pod}}}}
    )
    sync(world)
    wait_known(world, "nightly")
    time.sleep(1.1)  # times of Jobs are in whole seconds

    put(world, "second")

    assert 'Job "import"' in wait_told(world, "WaitingForJobs")
    assert phases(world) == {"import": "Running", "nightly": "NextRun"}
    jobs = [one["metadata"]["name"] for one in world.api.list("Job", world.namespace)]
    assert jobs == ["import"]
    assert world.generation("import", "Job") == 1


def test_annotations_of_reloader_restart_for_any_secret_and_config_map(
    lonely_world: World, alone: StartAlone
) -> None:
    """Once for each change, also of what changed while the operator was down."""
    world = lonely_world
    meta = {"name": "plain", "namespace": world.namespace}
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"k": "1"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"k": "1"}}
    world.apply(settings, secret)
    both = [{"secretRef": {"name": "plain"}}, {"configMapRef": {"name": "plain"}}]
    for name, asked in (("a", "true"), ("b", "false")):
        body = manifests.workload(world.namespace, name, container={"envFrom": both})
        body["metadata"]["annotations"] = {"reloader.stakater.com/auto": asked}
        world.apply(body)
    operator = world.operator = alone("--reloader-annotations")

    def own() -> Body:
        annotations: Body = world.get("Deployment", "a")["metadata"]["annotations"]
        return annotations

    world.wait(lambda: "syncret.io/reload-checksum" in own(), "what it started with is noted")
    uid = template_of(world)

    def changes(kind: str, value: str) -> None:
        nonlocal uid
        field = {"ConfigMap": {"data": {"k": value}}, "Secret": {"stringData": {"k": value}}}
        world.patch(kind, "plain", field[kind])
        if operator.child is not None and not operator.child.alive:
            operator.start()
        world.wait(lambda: template_of(world) != uid, f"it is restarted for the {kind}")
        uid = template_of(world)
        time.sleep(2.5)  # longer than changes are gathered
        assert template_of(world) == uid

    changes("ConfigMap", "2")
    changes("Secret", "2")
    operator.kill()
    changes("Secret", "3")
    world.patch("Secret", "plain", {"metadata": {"labels": {"x": "y"}}})
    time.sleep(2.5)
    assert template_of(world) == uid, "metadata are no data"
    assert world.generation("b") == 1
    assert {event[1] for event in world.events("a", "Deployment")} == {
        "ConfigMapChanged",
        "SecretChanged",
    }


def template_of(world: World) -> str:
    return json.dumps(world.get("Deployment", "a")["spec"]["template"], sort_keys=True)


def test_an_argo_rollout_is_restarted_by_its_own_field(
    argo: None, lonely_world: World, alone: StartAlone
) -> None:
    """The test is its controller."""
    world = lonely_world
    world.apply(manifests.rollout(world.namespace, "canary", container=env("app", "password")))
    world.operator = alone()
    sync(world)
    wait_known(world, "canary")
    finish(world, restarted=False)
    template = world.get("Rollout", "canary")["spec"]["template"]

    put(world, "second")
    world.wait(
        lambda: world.get("Rollout", "canary")["spec"].get("restartAt"), "it is told to restart"
    )
    wait_told(world, "RollingOut")
    finish(world, restarted=True)
    wait_told(world, "RolledOut")
    after = world.get("Rollout", "canary")
    assert after["spec"]["template"] == template
    world.settle()
    assert world.get("Rollout", "canary")["spec"]["restartAt"] == after["spec"]["restartAt"]


def answered(not_yet: int, request: Callable[[], object]) -> bool:
    """Whether a request was taken; the API server may say "not yet" by this status."""
    try:
        request()
    except ApiError as error:
        if error.status == not_yet:
            return False
        raise
    return True


def finish(world: World, *, restarted: bool) -> None:
    """What Argo's controller writes when all is well."""
    body = world.get("Rollout", "canary")
    status = {
        "phase": "Healthy",
        "observedGeneration": str(body["metadata"]["generation"]),
        **({"restartedAt": body["spec"]["restartAt"]} if restarted else {}),
    }
    path = f"/apis/argoproj.io/v1alpha1/namespaces/{world.namespace}/rollouts/canary/status"
    world.api.request("PATCH", path, {"status": status}, "application/merge-patch+json")
