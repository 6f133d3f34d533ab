"""The settings of docs/gitops.md under Flux's own kustomize-controller: `make gitops`."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from integration.gitops import annotated, app, setting, skip_unless_asked
from integration.test_rollout_strategy import put, wait_known, wait_told
from integration.world import World
from testbed.cluster import Cluster
from testbed.flux import Flux
from testbed.processes import Processes

FLUX: Final = "kustomize.toolkit.fluxcd.io/v1"

pytestmark = [pytest.mark.gitops, pytest.mark.timeout(600, func_only=True)]


@pytest.fixture(scope="module")
def asked_for(request: pytest.FixtureRequest) -> None:
    skip_unless_asked(request.config)


@pytest.fixture(scope="module")
def flux(asked_for: None, cluster: Cluster, processes: Processes) -> Iterator[Flux]:
    tool = Flux(cluster, processes)
    yield tool
    tool.close()


def kustomization(world: World, cluster: Cluster, **spec: Any) -> None:
    meta = {"name": "app", "namespace": world.namespace}
    standard = {
        "interval": "1h",
        "path": "./",
        "prune": True,
        "wait": True,
        "force": True,
        "timeout": "60s",
        "sourceRef": {"kind": "GitRepository", "name": "app"},
    }
    body = {"apiVersion": FLUX, "kind": "Kustomization", "metadata": meta}
    cluster.apply({**body, "spec": standard | spec})


def flux_says(world: World, cluster: Cluster) -> Callable[[], tuple[str, str, str]]:
    """Status, reason and message of the Kustomization's Ready; empty while there is none."""

    def said() -> tuple[str, str, str]:
        body = cluster.get("kustomization", "app", world.namespace) or {}
        for one in body.get("status", {}).get("conditions", ()):
            if one["type"] == "Ready":
                return one["status"], one["reason"], one["message"]
        return "", "", ""

    return said


def reconcile(world: World, cluster: Cluster, request: str) -> None:
    """Has Flux apply everything again, and waits until it has."""
    cluster.kubectl(
        *("annotate", "--overwrite", "kustomization", "app", "-n", world.namespace),
        f"reconcile.fluxcd.io/requestedAt={request}",
    )

    def handled() -> bool:
        body = cluster.get("kustomization", "app", world.namespace) or {}
        return bool(body.get("status", {}).get("lastHandledReconcileAt") == request)

    world.wait(handled, f"Flux has answered the request {request}")
    world.wait(lambda: flux_says(world, cluster)()[0] == "True", "Flux is content")


def test_flux_leaves_a_restart_alone(world: World, cluster: Cluster, flux: Flux) -> None:
    put(world, "first")
    flux.publish(world.namespace, app(world))
    kustomization(world, cluster)
    world.wait(lambda: flux_says(world, cluster)()[0] == "True", "Flux is content")
    assert world.ready()["status"] == "True", "Flux waited for the ExternalSecret"
    wait_known(world, "a")

    put(world, "second")
    world.wait(lambda: world.generation("a") == 2, "it is restarted")
    reconcile(world, cluster, "while-it-rolls")
    wait_told(world, "RolledOut")
    for number in range(3):
        reconcile(world, cluster, f"again-{number}")
    world.settle()

    assert world.generation("a") == 2
    assert annotated(world)
    assert world.data() == {"password": b"second"}, "the Secret is not pruned"


def test_flux_prunes_the_external_secret_and_the_secret_goes_with_it(
    world: World, cluster: Cluster, flux: Flux
) -> None:
    put(world, "first")
    flux.publish(world.namespace, app(world))
    kustomization(world, cluster)
    world.wait(lambda: flux_says(world, cluster)()[0] == "True", "Flux is content")

    flux.publish(world.namespace, app(world)[1:])

    world.wait(lambda: world.find("ExternalSecret", "app") is None, "it is pruned")
    world.wait(lambda: world.data() is None, "the Secret is gone")


def test_flux_does_not_take_a_failing_external_secret_for_ready(
    world: World, cluster: Cluster, flux: Flux
) -> None:
    flux.publish(world.namespace, app(world, key="missing")[:1])
    kustomization(world, cluster, timeout="5s", retryInterval="1h")
    says = flux_says(world, cluster)

    world.wait(lambda: says()[1] == "HealthCheckFailed", "Flux gives up")
    assert f"ExternalSecret/{world.namespace}/app status: 'InProgress'" in says()[2]


def test_flux_fails_at_once_with_the_expressions(
    world: World, cluster: Cluster, flux: Flux
) -> None:
    expressions = setting("healthCheckExprs")["spec"]["healthCheckExprs"]
    flux.publish(world.namespace, app(world, key="missing")[:1])
    kustomization(world, cluster, timeout="10m", retryInterval="1h", healthCheckExprs=expressions)
    says = flux_says(world, cluster)

    world.wait(lambda: says()[1] == "HealthCheckFailed", "Flux gives up before the time is over")
    assert f"ExternalSecret/{world.namespace}/app status: 'Failed'" in says()[2]

    put(world, "first")
    flux.publish(world.namespace, app(world))
    world.wait(lambda: says()[0] == "True", "Flux is content")
