"""Generators of ESO, and ExternalSecrets that use them."""

from typing import Any

import pytest

from syncret.api.externalsecret import parse_external_secret
from syncret.convert.mapping import convert
from syncret.convert.result import Result
from syncret.generators.registry import parse_generator


def generator(kind: str, spec: dict[str, Any] | None) -> Result:
    body: dict[str, Any] = {
        "apiVersion": "generators.external-secrets.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "random", "namespace": "shop"},
    }
    return convert(body if spec is None else {**body, "spec": spec})


def uses(kind: str, **spec: Any) -> Result:
    reference = {"apiVersion": "generators.external-secrets.io/v1alpha1", "kind": kind}
    entry = {"sourceRef": {"generatorRef": {**reference, "name": "random"}}}
    return convert(
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": {"name": "app", "namespace": "shop", "uid": "u"},
            "spec": {"dataFrom": [entry], **spec},
        }
    )


PASSWORD = {
    "length": 42,
    "digits": 5,
    "symbols": 5,
    "symbolCharacters": "-_$@",
    "noUpper": False,
    "allowRepeat": True,
    "secretKeys": ["one"],
    "encoding": "base64",
}


DYNAMIC = {
    "path": "database/creds/app",
    "provider": {
        "server": "https://vault.example.com:8200",
        "auth": {"tokenSecretRef": {"name": "vault", "key": "token"}},
    },
}


def test_a_password_is_the_same_here() -> None:
    made = generator("Password", PASSWORD)
    assert made.remarks == []
    assert made.body is not None
    assert (made.body["kind"], made.body["metadata"]) == (
        "Generator",
        {"name": "random", "namespace": "shop"},
    )
    assert made.body["spec"] == {"generator": {"password": PASSWORD}}
    parse_generator(made.body["spec"]["generator"], cluster_scoped=False)


def test_a_dynamic_secret_of_vault_is_of_the_one_kind() -> None:
    made = generator("VaultDynamicSecret", DYNAMIC)
    assert made.body is not None
    assert made.body["spec"] == {"generator": {"vaultDynamic": DYNAMIC}}
    parse_generator(made.body["spec"]["generator"], cluster_scoped=False)


def test_the_paths_of_remarks_are_those_of_the_part() -> None:
    part = {**DYNAMIC, "retrySettings": {"maxRetries": 3}}
    given = {"kind": "VaultDynamicSecret", "generator": {"vaultDynamicSecretSpec": part}}
    paths = [one.path for one in generator("ClusterGenerator", given).remarks]
    assert "spec.generator.vaultDynamicSecretSpec.retrySettings" in paths


@pytest.mark.parametrize("spec", [None, {}])
def test_a_uuid_is_the_same_here(spec: dict[str, Any] | None) -> None:
    made = generator("UUID", spec)
    assert made.body is not None
    assert made.body["spec"] == {"generator": {"uuid": {}}}


@pytest.mark.parametrize(
    ("kind", "field", "part", "ours"),
    [
        ("Password", "passwordSpec", {"length": 12}, {"password": {"length": 12}}),
        ("UUID", "uuidSpec", {}, {"uuid": {}}),
        ("VaultDynamicSecret", "vaultDynamicSecretSpec", DYNAMIC, {"vaultDynamic": DYNAMIC}),
    ],
)
def test_a_cluster_generator_names_its_kind(
    kind: str, field: str, part: dict[str, Any], ours: dict[str, Any]
) -> None:
    made = generator("ClusterGenerator", {"kind": kind, "generator": {field: part}})
    assert made.body is not None
    assert made.body["kind"] == "ClusterGenerator"
    assert made.body["spec"]["generator"] == ours
    assert made.body["spec"]["conditions"] == [{"namespaceSelector": {}}]
    assert [one.path for one in made.remarks] == ["spec.conditions"]


@pytest.mark.parametrize("kind", ["ECRAuthorizationToken", "Fake", "Webhook"])
def test_what_there_is_not_is_said(kind: str) -> None:
    for made in (
        generator(kind, {}),
        generator("ClusterGenerator", {"kind": kind, "generator": {}}),
    ):
        assert made.body is None
        assert f"does not have the generator {kind}" in made.remarks[0].text
    used = uses(kind)
    assert used.body is not None
    assert used.remarks[0].path == "spec.dataFrom[0]"


def test_a_field_that_there_is_not_is_lost_with_the_whole() -> None:
    made = generator("Password", {**PASSWORD, "noLower": True})
    assert made.body is None
    assert made.remarks[0].lost


def test_what_was_made_at_each_refresh_is_made_at_that_age() -> None:
    made = uses("Password", refreshInterval="24h0m0s")
    assert made.body is not None
    spec = made.body["spec"]
    assert spec["dataFrom"] == [{"sourceRef": {"generatorRef": {"name": "random"}}}]
    assert spec["rotation"] == {"maxAge": "24h0m0s"}
    assert [one.path for one in made.remarks] == ["spec.rotation.maxAge"]
    body = {**made.body, "metadata": {"name": "app", "namespace": "shop", "uid": "u"}}
    record = parse_external_secret(body)
    assert (record.problem, str(record.generators[0])) == ("", "Generator shop/random")


def test_a_lease_is_not_replaced_at_the_interval() -> None:
    made = uses("VaultDynamicSecret", refreshInterval="1h")
    assert made.body is not None
    assert "rotation" not in made.body["spec"]
    assert [one.path for one in made.remarks] == ["spec.refreshInterval"]


@pytest.mark.parametrize(
    "spec",
    [{"refreshInterval": "0"}, {"refreshPolicy": "CreatedOnce"}, {"refreshPolicy": "OnChange"}],
)
def test_what_is_made_once_stays(spec: dict[str, Any]) -> None:
    made = uses("ClusterGenerator", **spec)
    assert made.body is not None
    assert "rotation" not in made.body["spec"]
    reference = made.body["spec"]["dataFrom"][0]["sourceRef"]["generatorRef"]
    assert reference == {"name": "random", "kind": "ClusterGenerator"}
    assert made.remarks == []


def test_without_generators_nothing_is_added() -> None:
    made = uses("Password", dataFrom=[{"extract": {"key": "a"}}])
    assert made.body is not None
    assert "rotation" not in made.body["spec"]
