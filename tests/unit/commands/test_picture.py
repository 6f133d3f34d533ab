"""Who consumes a secret, and which pods have its old value."""

from typing import Any

from support.objects import external_secret_body
from syncret.api.externalsecret import ExternalSecret, parse_external_secret
from syncret.api.keys import ObjectKey
from syncret.api.store import parse_store
from syncret.commands.picture import (
    Picture,
    consumers_of,
    is_healthy,
    key_read,
    keys_made,
    reader_of,
)

STORE = ObjectKey("SecretStore", "shop", "aws")
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/db-AbC123"
PROVIDER = {"aws": {"service": "SecretsManager", "region": "eu-central-1"}}
META = {"name": "aws", "namespace": "shop", "uid": "s"}
STORES = {STORE: parse_store("SecretStore", {"metadata": META, "spec": {"provider": PROVIDER}})}
CHANGED = "2026-01-01T12:00:00Z"
OLD, NEW = "2026-01-01T11:59:59Z", "2026-01-01T12:00:01Z"


def record(**spec: Any) -> ExternalSecret:
    status = spec.pop("status", {"lastChangeTime": CHANGED})
    return parse_external_secret(
        external_secret_body("db", namespace="shop", status=status, **spec)
    )


def entry(secret_key: str, key: str) -> dict[str, Any]:
    return {"secretKey": secret_key, "remoteRef": {"key": key}}


def pod_spec(*keys: str) -> dict[str, Any]:
    reads = [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": "db", "key": key}}} for key in keys
    ]
    return {"containers": [{"name": "main", "env": reads}]}


def workload(name: str, *keys: str, kind: str = "Deployment", **status: Any) -> dict[str, Any]:
    template = {"spec": pod_spec(*keys)}
    spec: dict[str, Any] = {"replicas": 2, "template": template}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": {"template": template}}}
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "generation": 1},
        "spec": spec,
        "status": status,
    }


def pod(name: str, at: str, *keys: str, owner: tuple[str, str] = ("", "")) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, "creationTimestamp": at}
    if owner[0]:
        meta["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "uid": f"uid-{owner[1]}"}]
    return {"metadata": meta, "spec": pod_spec(*keys), "status": {"phase": "Running"}}


def test_a_secret_is_read_under_any_of_its_names() -> None:
    for key in ("prod/db", ARN, ARN[:-7]):
        for told in ("prod/db", ARN, ARN[:-7]):
            assert key_read(record(data=[entry("a", key)]), STORES, STORE, told) == key
            extract = record(dataFrom=[{"extract": {"key": key}}])
            assert key_read(extract, STORES, STORE, told) == key
    assert key_read(record(data=[entry("a", "other")]), STORES, STORE, "prod/db") == ""
    other = STORE._replace(name="other")
    assert key_read(record(data=[entry("a", "prod/db")]), STORES, other, "prod/db") == ""
    assert key_read(record(data=[entry("a", "prod/db")]), {}, STORE, "prod/db") == "prod/db"


def test_a_search_reads_what_it_found_or_would_find() -> None:
    find = [{"find": {"path": "prod/"}}]
    assert key_read(record(dataFrom=find), STORES, STORE, "prod/db") == "prod/db"
    assert key_read(record(dataFrom=find), STORES, STORE, "dev/db") == ""
    tags = [{"find": {"tags": {"a": "b"}}}]
    assert key_read(record(dataFrom=tags), STORES, STORE, "prod/db") == ""
    found = {"sources": [{"key": "prod/db", "version": "1"}]}
    assert key_read(record(dataFrom=tags, status=found), STORES, STORE, ARN) == "prod/db"


def test_only_workloads_that_read_a_key_made_from_it_count() -> None:
    external_secret = record(data=[entry("password", "prod/db"), entry("x", "other")])
    made = keys_made(external_secret, "prod/db")
    assert made == frozenset({"password"})
    reader = reader_of(external_secret, "prod/db")
    workloads = [
        workload("web", "password"),
        workload("other", "x"),
        workload("both", "x", "password"),
    ]
    found = consumers_of(reader, made, workloads=workloads, pods=[])
    assert [(one.name, one.keys) for one in found] == [
        ("both", ("password", "x")),
        ("web", ("password",)),
    ]
    assert keys_made(record(dataFrom=[{"extract": {"key": "prod/db"}}]), "prod/db") is None
    templated = {"template": {"inputHash": "h"}}
    assert keys_made(record(data=[entry("a", "prod/db")], status=templated), "prod/db") is None


def test_pods_from_before_the_change_have_the_old_value() -> None:
    external_secret = record(data=[entry("k", "prod/db")])
    reader = reader_of(external_secret, "prod/db")
    pods = [
        pod("web-1-a", OLD, "k", owner=("ReplicaSet", "web-1")),
        pod("web-2-a", NEW, "k", owner=("ReplicaSet", "web-2")),
        pod("db-0", OLD, "k", owner=("StatefulSet", "db")),
        pod("job-1-x", OLD, "k", owner=("Job", "nightly-1")),
        pod("alone", OLD, "k"),
        pod("unrelated", OLD),
        {**pod("ended", OLD, "k"), "status": {"phase": "Succeeded"}},
    ]
    workloads = [
        workload("web", "k"),
        workload("db", "k", kind="StatefulSet"),
        workload("nightly", "k", kind="CronJob"),
    ]
    found = consumers_of(reader, {"k"}, workloads=workloads, pods=pods)  # type: ignore[arg-type]
    told = {(one.kind, one.name): [(p.name, p.old) for p in one.pods] for one in found}
    assert told == {
        ("CronJob", "nightly"): [("job-1-x", True)],
        ("Deployment", "web"): [("web-1-a", True), ("web-2-a", False)],
        ("Pod", "alone"): [("alone", True)],
        ("StatefulSet", "db"): [("db-0", True)],
    }
    assert [one.rolled for one in found] == [False, True, False, True]
    assert Picture((reader,)).old == 0


def test_health() -> None:
    good: dict[str, Any] = {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "availableReplicas": 2,
    }
    assert is_healthy(workload("web", **good))
    for worse in (
        {"observedGeneration": 0},
        {"replicas": 3},
        {"updatedReplicas": 1},
        {"availableReplicas": 1},
    ):
        assert not is_healthy(workload("web", **{**good, **worse}))
    pods: dict[str, Any] = {"observedGeneration": 1, "updatedReplicas": 2, "readyReplicas": 2}
    assert is_healthy(workload("db", kind="StatefulSet", **pods))
    assert not is_healthy(workload("db", kind="StatefulSet", **{**pods, "updatedReplicas": 1}))
    nodes: dict[str, Any] = {
        "observedGeneration": 1,
        "desiredNumberScheduled": 3,
        "updatedNumberScheduled": 3,
        "numberAvailable": 3,
    }
    assert is_healthy(workload("agent", kind="DaemonSet", **nodes))
    assert not is_healthy(workload("agent", kind="DaemonSet", **{**nodes, "numberAvailable": 2}))
    assert not is_healthy({"kind": "Deployment", "metadata": {"generation": 2}})


def test_who_pulls_with_it_and_who_is_named_consume_it_too() -> None:
    puller, blind, other = workload("puller"), workload("blind"), workload("other")
    puller["spec"]["template"]["spec"]["imagePullSecrets"] = [{"name": "db"}]
    pods = [
        pod("puller-1", OLD, owner=("ReplicaSet", "puller-a")),
        pod("blind-1", OLD, owner=("ReplicaSet", "blind-a")),
    ]
    found = consumers_of(
        reader_of(record(), "prod/db"),
        frozenset({"k"}),
        workloads=[puller, blind, other],
        pods=pods,
        named=lambda one: one["metadata"]["name"] == "blind",
    )
    assert [(one.name, one.how, one.rolled, one.old) for one in found] == [
        ("blind", "named", True, 1),
        ("puller", "pulls", False, 0),
    ]


def test_a_rollout_that_failed_halts_only_the_value_that_it_was_of() -> None:
    def read(phase: str, at: str, reason: str = "RolloutFailed", status: str = "False") -> Any:
        told = {"type": "RolledOut", "status": status, "reason": reason, "message": "m"}
        target = {"kind": "Deployment", "name": "web", "uid": "u", "checksum": "c"}
        target |= {"phase": phase, "lastRolloutTime": at}
        status_ = {"lastChangeTime": CHANGED, "conditions": [told]}
        reader = reader_of(record(status={**status_, "rollout": {"targets": [target]}}), "prod/db")
        return reader.rollout, reader.halted

    assert read("Failed", NEW) == ("m", True)
    assert read("Reverted", NEW, "RolloutReverted") == ("m", True)
    assert read("Failed", OLD) == ("m", False), "it is of the value before"
    assert read("Paused", OLD, "RolloutPaused") == ("m", False)
    assert read("Current", NEW, "RolledOut", "True") == ("", False)
