"""Which Secrets a workload reads, whatever its body looks like."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncret.api.consumers import consumed_secrets
from syncret.api.health import Health
from syncret.api.workload import Workload, WorkloadKey, parse_workload
from syncret.constants import CHECKSUM_ANNOTATION

ENV = {"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}


def body(pod_spec: Any, *, annotations: Any = None, **meta: Any) -> dict[str, Any]:
    template = {"metadata": {"annotations": annotations}, "spec": pod_spec}
    return {
        "metadata": {"namespace": "payments", "name": "api", "uid": "uid-1", **meta},
        "spec": {"template": template},
    }


@pytest.mark.parametrize("field", ["containers", "initContainers"])
@pytest.mark.parametrize(
    ("container", "consumes"),
    [
        ({"env": [ENV]}, {"db": frozenset({"password"})}),
        ({"envFrom": [{"secretRef": {"name": "db"}}]}, {"db": None}),
        ({"env": [{"name": "A", "value": "b"}]}, {}),
        ({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c"}}}]}, {}),
        ({"envFrom": [{"configMapRef": {"name": "c"}}]}, {}),
    ],
)
def test_containers(field: str, container: dict[str, Any], consumes: dict[str, Any]) -> None:
    assert consumed_secrets({field: [container]}) == consumes


@pytest.mark.parametrize(
    ("volume", "consumes"),
    [
        ({"secret": {"secretName": "db"}}, {"db": None}),
        (
            {"secret": {"secretName": "db", "items": [{"key": "a", "path": "x"}]}},
            {"db": frozenset({"a"})},
        ),
        ({"secret": {"secretName": "db", "items": []}}, {"db": None}),
        (
            {
                "projected": {
                    "sources": [
                        {"configMap": {"name": "c"}},
                        {"secret": {"name": "db", "items": [{"key": "a"}, {"key": "b"}]}},
                        {"secret": {"name": "tls"}},
                    ]
                }
            },
            {"db": frozenset({"a", "b"}), "tls": None},
        ),
        ({"csi": {"driver": "d", "nodePublishSecretRef": {"name": "db"}}}, {"db": None}),
        ({"emptyDir": {}}, {}),
    ],
)
def test_volumes(volume: dict[str, Any], consumes: dict[str, Any]) -> None:
    assert consumed_secrets({"volumes": [volume]}) == consumes


def test_an_optional_reference_counts() -> None:
    reference = {"name": "db", "key": "password", "optional": True}
    container = {"env": [{"name": "P", "valueFrom": {"secretKeyRef": reference}}]}
    assert consumed_secrets({"containers": [container]}) == {"db": frozenset({"password"})}


def test_keys_of_several_references_add_up() -> None:
    user = {"name": "U", "valueFrom": {"secretKeyRef": {"name": "db", "key": "user"}}}
    pod = {"containers": [{"env": [ENV]}], "initContainers": [{"env": [user]}]}
    assert consumed_secrets(pod) == {"db": frozenset({"password", "user"})}


@pytest.mark.parametrize("first", ["env", "envFrom"])
def test_all_keys_absorb_single_ones(first: str) -> None:
    sources: dict[str, Any] = {"env": [ENV], "envFrom": [{"secretRef": {"name": "db"}}]}
    containers = [{name: sources[name]} for name in sorted(sources, key=lambda n: n != first)]
    assert consumed_secrets({"containers": containers}) == {"db": None}


def test_images_and_service_accounts_are_not_consumption() -> None:
    pod = {"imagePullSecrets": [{"name": "registry"}], "serviceAccountName": "api"}
    assert consumed_secrets(pod) == {}


def test_equal_names_and_keys_are_one_object() -> None:
    text = json.dumps({"containers": [{"env": [ENV]}]})
    one, other = (consumed_secrets(json.loads(text)) for _ in range(2))
    assert one["db"] is other["db"]
    assert next(iter(one)) is next(iter(other))


def test_the_record_of_a_workload() -> None:
    pod = {"containers": [{"env": [ENV]}]}
    workload = parse_workload("StatefulSet", body(pod, annotations={CHECKSUM_ANNOTATION: "x"}))
    assert workload is not None
    assert replace(workload, template=b"", health=Health.COMPLETE) == Workload(
        key=WorkloadKey("payments", "StatefulSet", "api"),
        uid="uid-1",
        consumes={"db": frozenset({"password"})},
        checksum="x",
    )


@pytest.mark.parametrize("annotations", [None, {}, [], {CHECKSUM_ANNOTATION: None}])
def test_a_workload_without_the_annotation(annotations: Any) -> None:
    workload = parse_workload(
        "Deployment", body({"containers": [{"env": [ENV]}]}, annotations=annotations)
    )
    assert workload is not None
    assert workload.checksum == ""


def test_a_workload_that_reads_no_secret_may_be_named() -> None:
    workload = parse_workload("Deployment", body({"containers": [{"image": "app"}]}))
    assert workload is not None
    assert workload.consumes == {}


def test_a_workload_that_is_being_deleted_is_none() -> None:
    pod = {"containers": [{"env": [ENV]}]}
    deleted = body(pod, deletionTimestamp="2026-01-01T00:00:00Z")
    assert parse_workload("Deployment", deleted) is None


_WORDS = """
metadata spec template containers initContainers volumes env envFrom valueFrom secretKeyRef
secretRef secret secretName projected sources items key name namespace uid annotations
"""
_FIELDS = st.sampled_from(_WORDS.split())
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_FIELDS, inner, max_size=4),
    max_leaves=25,
)


@given(st.dictionaries(_FIELDS, _JSON, max_size=4), _JSON)
def test_malformed_bodies_never_raise(anything: dict[str, Any], pod_spec: Any) -> None:
    parse_workload("Deployment", anything)
    workload = parse_workload("Deployment", body(pod_spec))
    assert workload is None or all(isinstance(name, str) for name in workload.consumes)
