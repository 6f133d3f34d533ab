"""Pods that really run read what AWS holds, and go on reading it through a rotation."""

import base64
from collections.abc import Iterator

import pytest

from e2e.environment import Environment
from e2e.requests import requested
from e2e.shop import DEPLOYMENT, NAMESPACE, PORT, REPLICAS, SELECTOR, Shop
from testbed.cluster import CommandError
from testbed.readiness import watched
from testbed.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def shop(request: pytest.FixtureRequest, environment: Environment) -> Iterator[Shop]:
    """The operator as a pod under the chart's rights, and a shop that reads its password."""
    shop = Shop(environment)
    try:
        shop.open()
        yield shop
    except CommandError:
        print(shop.situation())
        raise
    finally:
        if request.session.testsfailed:
            environment.cluster.directory.joinpath("situation.txt").write_text(shop.situation())


def test_pods_read_the_secret_as_environment_and_as_a_file(shop: Shop) -> None:
    pods = shop.pods()
    assert len(pods) == REPLICAS
    for pod in pods:
        assert shop.seen_by(pod) == shop.all_seen()


def test_a_rotation_reaches_every_pod_without_a_gap(shop: Shop) -> None:
    former, before = shop.pods(), shop.deployment()
    counted = shop.metrics()
    cluster = shop.environment.cluster
    with (
        watched(cluster, NAMESPACE, SELECTOR, wanted=REPLICAS) as ready,
        requested(cluster, NAMESPACE, DEPLOYMENT, port=PORT) as answers,
    ):
        password = shop.rotate()
        wait_until(lambda: shop.secret() == password, "the Secret follows")
        wait_until(lambda: _template(shop) != _annotations(before), "the Deployment is rolled")
        shop.wait_for_rollout()
    pods = shop.pods()
    assert pods.isdisjoint(former)
    assert len(pods) == REPLICAS
    for pod in pods:
        assert shop.seen_by(pod) == shop.all_seen()
    assert min(ready.counts) >= REPLICAS
    assert max(ready.counts) > REPLICAS, "the watch did not see the rollout"
    assert answers.failed == []
    assert min(answers.counts) >= REPLICAS, "as many answered at any moment"
    assert answers.pods >= former | pods, "the former and the new ones were asked"
    print(f"{len(answers.counts)} rounds, {sum(answers.counts)} requests were answered")
    after = shop.deployment()
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert _increases(counted, shop.metrics()) == {
        "syncret_syncs_total": True,
        "syncret_secret_changes_total": True,
        "syncret_rollouts_total": True,
        "syncret_sync_failures_total": False,
    }


def test_another_operator_pod_changes_nothing(shop: Shop) -> None:
    pods, before = shop.pods(), shop.deployment()
    shop.replace_operator()
    wait_until(lambda: shop.metrics()["syncret_syncs_total"] >= 2, "the new operator has synced")
    after = shop.deployment()
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert shop.pods() == pods


def test_the_value_is_in_the_secret_and_nowhere_else(shop: Shop) -> None:
    told = shop.everything_but_secrets()
    assert DEPLOYMENT in told
    assert '"level":"debug"' in told.replace(": ", ":"), "the operator does not log at DEBUG"
    assert shop.password not in told
    assert base64.b64encode(shop.password.encode()).decode() not in told


def _annotations(deployment: dict[str, object]) -> object:
    spec = deployment["spec"]
    assert isinstance(spec, dict)
    return spec["template"]["metadata"].get("annotations")


def _template(shop: Shop) -> object:
    return _annotations(shop.deployment())


def _increases(before: dict[str, float], after: dict[str, float]) -> dict[str, bool]:
    names = (
        "syncret_syncs_total",
        "syncret_secret_changes_total",
        "syncret_rollouts_total",
        "syncret_sync_failures_total",
    )
    return {name: after.get(name, 0) > before.get(name, 0) for name in names}
