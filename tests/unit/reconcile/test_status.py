"""Conditions and status patches."""

from dataclasses import replace

from support.objects import external_secret_body
from syncret.api.externalsecret import (
    ExternalSecretStatus,
    Source,
    parse_external_secret,
)
from syncret.api.rollout import RolloutTarget
from syncret.reconcile.status import ready_condition, status_patch

OK = ready_condition(None, error=None, message="fine", generation=1, now="t1")


def test_transition_time_moves_only_with_the_status() -> None:
    failed = ready_condition(OK, error=("Throttled", "wait"), message="", generation=1, now="t2")
    assert (failed.status, failed.reason, failed.last_transition_time) == (
        "False",
        "Throttled",
        "t2",
    )
    other = ready_condition(failed, error=("Denied", "no"), message="", generation=2, now="t3")
    assert (other.reason, other.last_transition_time, other.observed_generation) == (
        "Denied",
        "t2",
        2,
    )


def test_the_same_status_gives_no_patch() -> None:
    status = ExternalSecretStatus(ready=OK, synced_generation=1, keys=("a",))
    assert status_patch(status, replace(status)) is None


def test_a_patch_read_back_is_the_status() -> None:
    status = ExternalSecretStatus(
        ready=OK,
        synced_generation=3,
        last_change_time="t1",
        data_hash="id.hash",
        sources=(Source("app/db", "v1", "t0"), Source("app/x", "")),
        keys=("a", "b"),
        targets=(RolloutTarget("Deployment", "api", "u", "db=s.d"),),
    )
    patch = status_patch(ExternalSecretStatus(), status)
    assert patch is not None
    assert parse_external_secret(external_secret_body(status=patch["status"])).status == status


def test_what_an_older_version_left_out_is_added() -> None:
    status = ExternalSecretStatus(ready=OK, synced_generation=1)
    body = status_patch(ExternalSecretStatus(), status)
    assert body is not None
    body["status"]["observedGeneration"] = -1  # what the CRD has for an object without the field
    old = parse_external_secret(external_secret_body(status=body["status"])).status

    patch = status_patch(old, status)

    assert patch is not None
    assert patch["status"]["observedGeneration"] == 1
    assert patch["status"].keys() == {"observedGeneration", "conditions"}


def test_only_what_changed_is_patched() -> None:
    old = ExternalSecretStatus(ready=OK, synced_generation=1, keys=("a",))
    assert status_patch(old, replace(old, keys=("b",))) == {"status": {"keys": ["b"]}}
