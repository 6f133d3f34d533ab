"""How far a rolling update is, by what each controller says."""

from typing import Any

import pytest

from syncret.api.health import Health, Held, progress
from syncret.api.workload import parse_workload


def body(spec: dict[str, Any], status: dict[str, Any], *, generation: int = 3) -> dict[str, Any]:
    return {"metadata": {"generation": generation}, "spec": spec, "status": status}


DONE = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
DEADLINE = [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]


@pytest.mark.parametrize(
    ("spec", "status", "health"),
    [
        ({}, DONE, Health.COMPLETE),
        ({}, {**DONE, "observedGeneration": 2}, Health.ROLLING),
        ({}, {**DONE, "updatedReplicas": 1}, Health.ROLLING),
        ({}, {**DONE, "replicas": 3}, Health.ROLLING),  # a former pod is still there
        ({}, {**DONE, "availableReplicas": 1}, Health.ROLLING),
        ({}, {**DONE, "availableReplicas": 1, "conditions": DEADLINE}, Health.STUCK),
        # What it said of the former template.
        ({}, {**DONE, "observedGeneration": 2, "conditions": DEADLINE}, Health.ROLLING),
        ({"replicas": 0}, {"observedGeneration": 3}, Health.COMPLETE),
        ({}, {}, Health.ROLLING),
    ],
)
def test_deployments(spec: dict[str, Any], status: dict[str, Any], health: Health) -> None:
    assert progress("Deployment", body({"replicas": 2, **spec}, status)) == (health, "")
    paused = body({"replicas": 2, **spec, "paused": True}, status)
    assert progress("Deployment", paused) == (health, "Paused")


@pytest.mark.parametrize(
    ("strategy", "updated", "health", "held"),
    [
        ({}, 2, Health.COMPLETE, ""),
        ({}, 1, Health.ROLLING, ""),
        ({"type": "OnDelete"}, 1, Health.ROLLING, "OnDelete"),
        ({"type": "OnDelete"}, 2, Health.COMPLETE, "OnDelete"),
        ({"rollingUpdate": {"partition": 1}}, 1, Health.ROLLING, "Partition"),
        ({"rollingUpdate": {"partition": 1}}, 0, Health.ROLLING, ""),
        ({"rollingUpdate": {"partition": 0}}, 1, Health.ROLLING, ""),
    ],
)
def test_stateful_sets(strategy: dict[str, Any], updated: int, health: Health, held: Held) -> None:
    spec = {"replicas": 2, "updateStrategy": strategy}
    status = {**DONE, "updatedReplicas": updated}
    assert progress("StatefulSet", body(spec, status)) == (health, held)


@pytest.mark.parametrize(
    ("strategy", "updated", "available", "health", "held"),
    [
        ("RollingUpdate", 5, 5, Health.COMPLETE, ""),
        ("RollingUpdate", 4, 5, Health.ROLLING, ""),
        ("RollingUpdate", 5, 4, Health.ROLLING, ""),
        ("OnDelete", 0, 5, Health.ROLLING, "OnDelete"),
    ],
)
def test_daemon_sets(
    strategy: str, updated: int, available: int, health: Health, held: Held
) -> None:
    status = {
        "observedGeneration": 3,
        "desiredNumberScheduled": 5,
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
    }
    spec = {"updateStrategy": {"type": strategy}}
    assert progress("DaemonSet", body(spec, status)) == (health, held)


AT = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("spec", "status", "health"),
    [
        ({}, {"phase": "Healthy", "observedGeneration": "3"}, Health.COMPLETE),
        ({}, {"phase": "Paused", "observedGeneration": "3"}, Health.COMPLETE),
        ({}, {"phase": "Degraded", "observedGeneration": "3"}, Health.STUCK),
        ({}, {"phase": "Healthy", "observedGeneration": "2"}, Health.ROLLING),
        ({"restartAt": AT}, {"phase": "Healthy"}, Health.ROLLING),
        ({"restartAt": AT}, {"phase": "Healthy", "restartedAt": AT}, Health.COMPLETE),
        ({}, {}, Health.ROLLING),
    ],
)
def test_argo_rollouts(spec: dict[str, Any], status: dict[str, Any], health: Health) -> None:
    assert progress("Rollout", body(spec, status))[0] is health


def test_what_has_no_rolling_update_is_complete() -> None:
    assert progress("CronJob", {}) == (Health.COMPLETE, "")


def test_a_rollout_whose_pods_are_described_elsewhere_is_none_of_ours() -> None:
    meta = {"namespace": "a", "name": "b", "uid": "u"}
    assert parse_workload("Rollout", {"metadata": meta, "spec": {"workloadRef": {}}}) is None


@pytest.mark.parametrize("condition", ["Complete", "Failed"])
def test_a_job_that_has_ended_is_none_of_ours(condition: str) -> None:
    meta = {"namespace": "a", "name": "b", "uid": "u", "creationTimestamp": AT}
    job: dict[str, Any] = {"metadata": meta, "spec": {"template": {"spec": {}}}}
    running = parse_workload("Job", job)
    assert running is not None
    assert running.rolled_at == 1_767_225_600
    ended = {**job, "status": {"conditions": [{"type": condition, "status": "True"}]}}
    assert parse_workload("Job", ended) is None
