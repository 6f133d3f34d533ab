"""One restart on the API server: what changes, and how each answer is understood."""

import pytest

from support.apiserver import Body, FakeApiServer, Refusal
from support.objects import workload_body
from syncret.api.workload import WorkloadKey
from syncret.constants import CHECKSUM_ANNOTATION
from syncret.errors import KubeConflict, KubeForbidden, KubeInvalid, KubeUnavailable, SyncretError
from syncret.kube.client import KubeClient
from syncret.reconcile.rollout.executor import RollResult, roll
from syncret.reconcile.rollout.plan import Roll

NOW = "2026-01-01T00:00:00Z"
KEY = WorkloadKey("payments", "Deployment", "api")
ROLL = Roll(key=KEY, uid="workload-1", annotation="db=*.11111111." + "2" * 32)


@pytest.fixture
def deployment(cluster: FakeApiServer) -> Body:
    return cluster.put("deployments", workload_body())


def _annotations(cluster: FakeApiServer) -> dict[str, str]:
    template = cluster.get("deployments", "payments", "api")["spec"]["template"]
    return dict(template["metadata"]["annotations"])


async def test_the_annotation_is_set_and_the_answer_is_the_workload(
    cluster: FakeApiServer, kube: KubeClient, deployment: Body
) -> None:
    outcome = await roll(kube, ROLL, now=NOW)
    assert _annotations(cluster) == {"app": "theirs", CHECKSUM_ANNOTATION: ROLL.annotation}
    assert outcome.result is RollResult.ROLLED
    assert outcome.workload is not None
    assert (outcome.workload.key, outcome.workload.checksum) == (KEY, ROLL.annotation)


async def test_the_same_twice_is_one_restart(
    cluster: FakeApiServer, kube: KubeClient, deployment: Body
) -> None:
    for _ in range(2):
        await roll(kube, ROLL, now=NOW)
    assert cluster.get("deployments", "payments", "api")["metadata"]["generation"] == 2


async def test_no_such_workload(cluster: FakeApiServer, kube: KubeClient) -> None:
    assert (await roll(kube, ROLL, now=NOW)).result is RollResult.GONE
    assert cluster.objects == {}


async def test_another_one_under_its_name_is_left_alone(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    other = cluster.put("deployments", workload_body(uid="workload-2"))
    assert (await roll(kube, ROLL, now=NOW)).result is RollResult.GONE
    assert cluster.get("deployments", "payments", "api") == other


async def test_gone_where_the_operator_may_not_create(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    """Which it may not: the authorizer asks for "create" before anything is looked up."""
    cluster.intercept("PATCH", "deployments", Refusal(403, "Forbidden"))
    assert (await roll(kube, ROLL, now=NOW)).result is RollResult.GONE


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Refusal(403, "Forbidden"), KubeForbidden),
        (Refusal(409, "Conflict"), KubeConflict),
        (Refusal(500), KubeUnavailable),
        (Refusal(422, "Invalid", cause="spec.template"), KubeInvalid),
    ],
)
async def test_a_failure_while_the_workload_is_there_is_a_failure(
    cluster: FakeApiServer,
    kube: KubeClient,
    deployment: Body,
    answer: Refusal,
    error: type[SyncretError],
) -> None:
    cluster.intercept("PATCH", "deployments", answer)
    with pytest.raises(error, match=r"deployments|Deployment|admission"):
        await roll(kube, ROLL, now=NOW)
    assert cluster.get("deployments", "payments", "api") == deployment


async def test_when_it_cannot_be_looked_up_either_that_is_the_failure(
    cluster: FakeApiServer, kube: KubeClient, deployment: Body
) -> None:
    cluster.intercept("PATCH", "deployments", Refusal(409, "Conflict"))
    cluster.intercept("GET", "deployments", Refusal(500))
    with pytest.raises(KubeUnavailable, match="HTTP 500"):
        await roll(kube, ROLL, now=NOW)


async def test_a_workload_that_ceased_to_read_secrets_while_it_was_restarted(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    cluster.put("deployments", workload_body(reads=()))
    outcome = await roll(kube, ROLL, now=NOW)
    assert outcome.result is RollResult.ROLLED
    assert outcome.workload is not None
    assert outcome.workload.consumes == {}


async def test_not_found_is_gone(cluster: FakeApiServer, kube: KubeClient) -> None:
    """As in a namespace that has gone with all it had."""
    cluster.intercept("PATCH", "deployments", Refusal(404, "NotFound"))
    assert (await roll(kube, ROLL, now=NOW)).result is RollResult.GONE


async def test_the_annotation_is_ours_whoever_wrote_it(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    cluster.put("deployments", workload_body(checksum="of a restore, or of another tool"))
    assert (await roll(kube, ROLL, now=NOW)).result is RollResult.ROLLED
    assert _annotations(cluster)[CHECKSUM_ANNOTATION] == ROLL.annotation
