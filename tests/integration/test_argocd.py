"""The settings of docs/gitops.md under Argo CD's own application controller: `make gitops`."""

import json
import time
from typing import Any

import pytest

from integration.gitops import ANNOTATION, annotated, app, setting, skip_unless_asked
from integration.test_rollout_strategy import put, wait_known, wait_told
from integration.world import World, is_complete
from testbed.argocd import NAMESPACE, ArgoCD
from testbed.cluster import Cluster
from testbed.processes import Processes

Body = dict[str, Any]

pytestmark = [pytest.mark.gitops, pytest.mark.timeout(600, func_only=True)]


@pytest.fixture(scope="module")
def asked_for(request: pytest.FixtureRequest) -> None:
    skip_unless_asked(request.config)


@pytest.fixture(scope="module")
def argocd(asked_for: None, cluster: Cluster, processes: Processes) -> ArgoCD:
    return ArgoCD(cluster, processes, settings=setting("resource.customizations"))


def application(
    world: World, cluster: Cluster, argocd: ArgoCD, *options: str, bodies: list[Body], **spec: Any
) -> None:
    """An Application that heals itself and prunes."""
    automated = {"selfHeal": True, "prune": True}
    standard = {
        "project": "default",
        "source": {
            "repoURL": argocd.repository(world.namespace, bodies),
            "path": ".",
            "targetRevision": "main",
        },
        "destination": {
            "server": "https://kubernetes.default.svc",
            "namespace": world.namespace,
        },
        "syncPolicy": {"automated": automated, "syncOptions": list(options)},
    }
    meta = {"name": world.namespace, "namespace": NAMESPACE}
    body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": meta}
    cluster.apply({**body, "spec": standard | spec})


def shown(world: World, cluster: Cluster) -> tuple[str, str]:
    """Argo CD's sync and health status of the Application."""
    body = cluster.get("application", world.namespace, NAMESPACE) or {}
    status = body.get("status", {})
    sync, health = (status.get(name, {}).get("status", "") for name in ("sync", "health"))
    return sync, health


def refresh(world: World, cluster: Cluster) -> None:
    """Has Argo CD compare everything again, and waits until it has."""
    note = "argocd.argoproj.io/refresh"
    cluster.kubectl(
        *(
            "annotate",
            "--overwrite",
            "application",
            world.namespace,
            "-n",
            NAMESPACE,
            f"{note}=hard",
        )
    )

    def compared() -> bool:
        body = cluster.get("application", world.namespace, NAMESPACE) or {}
        return note not in body["metadata"].get("annotations", {})

    world.wait(compared, "Argo CD has compared")


def wait_content(world: World, cluster: Cluster) -> None:
    world.wait(
        lambda: shown(world, cluster) == ("Synced", "Healthy"),
        "Argo CD shows the Application Synced and Healthy",
    )


def documented() -> tuple[tuple[str, ...], list[Body]]:
    """The options of syncs and the ignored differences that docs/gitops.md has."""
    spec = setting("managedFieldsManagers")["spec"]
    return tuple(spec["syncPolicy"]["syncOptions"]), spec["ignoreDifferences"]


def test_argo_cd_shows_an_external_secret_that_fails_as_degraded(
    world: World, cluster: Cluster, argocd: ArgoCD
) -> None:
    application(world, cluster, argocd, bodies=app(world, key="missing")[:1])
    world.wait(lambda: shown(world, cluster)[1] == "Degraded", "Argo CD shows it Degraded")

    world.put("missing", {"password": "first"})
    wait_content(world, cluster)


def sync(world: World, cluster: Cluster, *options: str) -> None:
    """Has Argo CD write everything again, and waits until it has."""

    def operated() -> Body:
        body = cluster.get("application", world.namespace, NAMESPACE) or {}
        return dict(body.get("status", {}).get("operationState") or {})

    before = operated().get("startedAt")
    time.sleep(1)  # its times are in whole seconds
    operation = {"sync": {"revision": "main", "syncOptions": list(options)}}
    cluster.kubectl(
        *("patch", "application", world.namespace, "-n", NAMESPACE, "--type=merge"),
        *("-p", json.dumps({"operation": operation})),
    )
    world.wait(
        lambda: operated().get("phase") == "Succeeded" and operated().get("startedAt") != before,
        "Argo CD has synced",
    )


def rotated(world: World, cluster: Cluster) -> None:
    """Rotates; returns when Argo CD has looked at it while it rolled, and three times after.

    ``World.settle`` is of no use here: it edits the ExternalSecret, and Argo CD would heal that.
    """
    put(world, "second")
    world.wait(lambda: world.generation("a") >= 2, "it is restarted")
    refresh(world, cluster)
    world.wait(lambda: is_complete(world.get("Deployment", "a")), "its pods are there")
    unchanged(world, cluster)


def unchanged(world: World, cluster: Cluster) -> None:
    """Argo CD and Syncret each look at it again, several times."""
    for _ in range(3):
        refresh(world, cluster)
        world.wait_refreshes()


@pytest.mark.parametrize("settings", ["none", "ServerSideApply", "ServerSideDiff", "documented"])
def test_argo_cd_leaves_a_restart_alone(
    world: World, cluster: Cluster, argocd: ArgoCD, settings: str
) -> None:
    put(world, "first")
    options: tuple[str, ...] = ()
    spec: Body = {}
    if settings == "documented":
        options, spec["ignoreDifferences"] = documented()
    elif settings != "none":
        options = ("ServerSideApply=true",)
    application(world, cluster, argocd, *options, bodies=app(world), **spec)
    if settings == "ServerSideDiff":
        note = "argocd.argoproj.io/compare-options=ServerSideDiff=true"
        cluster.kubectl("annotate", "application", world.namespace, "-n", NAMESPACE, note)
    wait_content(world, cluster)
    wait_known(world, "a")
    wait_content(world, cluster)

    rotated(world, cluster)
    wait_told(world, "RolledOut")
    wait_content(world, cluster)
    assert world.generation("a") == 2
    assert annotated(world)

    sync(world, cluster, *options)
    wait_content(world, cluster)
    world.wait_refreshes()
    assert world.generation("a") == 2
    assert annotated(world)
    assert world.data() == {"password": b"second"}, "the Secret is not pruned"


@pytest.mark.parametrize("settings", ["none", "documented"])
def test_a_manifest_that_has_the_annotation(
    world: World, cluster: Cluster, argocd: ArgoCD, settings: str
) -> None:
    """It is put back, which is one restart more; left alone with the documented settings."""
    put(world, "first")
    options: tuple[str, ...] = ()
    spec: Body = {}
    if settings == "documented":
        options, spec["ignoreDifferences"] = documented()
    bodies = app(world)
    bodies[1]["spec"]["template"]["metadata"]["annotations"] = {ANNOTATION: "exported"}
    application(world, cluster, argocd, *options, bodies=bodies, **spec)
    wait_content(world, cluster)
    wait_known(world, "a")
    wait_content(world, cluster)

    rotated(world, cluster)

    expected = 2 if settings == "documented" else 3
    world.wait(lambda: world.generation("a") == expected, f"generation {expected}")
    unchanged(world, cluster)
    assert world.generation("a") == expected, "nothing is fought over"


@pytest.mark.parametrize("settings", ["none", "documented"])
def test_a_sync_that_replaces_is_one_restart_more(
    world: World, cluster: Cluster, argocd: ArgoCD, settings: str
) -> None:
    """Ignored differences do not help there; and self-heal alone replaces nothing."""
    put(world, "first")
    options: tuple[str, ...] = ("Replace=true",)
    spec: Body = {}
    if settings == "documented":
        known, spec["ignoreDifferences"] = documented()
        options = (*options, *known)
    application(world, cluster, argocd, *options, bodies=app(world), **spec)
    wait_content(world, cluster)
    wait_known(world, "a")
    wait_content(world, cluster)

    rotated(world, cluster)
    wait_content(world, cluster)
    assert world.generation("a") == 2

    sync(world, cluster, *options)
    world.wait(lambda: world.generation("a") == 3, "the annotation is lost")
    assert not annotated(world)
    unchanged(world, cluster)
    assert world.generation("a") == 3, "nothing is fought over"
    wait_content(world, cluster)
