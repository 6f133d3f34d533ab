"""Stores of Vault: what they say otherwise here."""

from typing import Any

import pytest
import yaml

from syncret.convert.mapping import convert
from syncret.convert.result import Result
from syncret.convert.vault import convert_dynamic
from syncret.generators.vaultdynamic.config import parse_dynamic
from syncret.providers.registry import parse_provider


def store(kind: str = "SecretStore", **vault: Any) -> dict[str, Any]:
    metadata = (
        {"name": "vault"} if kind != "SecretStore" else {"name": "vault", "namespace": "shop"}
    )
    provider = {"server": "https://vault.example.com", "path": "secret", **vault}
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": kind,
        "metadata": metadata,
        "spec": {"provider": {"vault": provider}},
    }


def vault_of(made: Result) -> dict[str, Any]:
    """The provider's part, which the provider itself takes."""
    assert made.body is not None, made.remarks
    provider = made.body["spec"]["provider"]
    cluster_scoped = made.body["kind"] == "ClusterSecretStore"
    parse_provider(provider, cluster_scoped=cluster_scoped)
    return dict(provider["vault"])


REF = {"name": "vault", "key": "k"}
ACCOUNT = {"serviceAccountRef": {"name": "app", "audiences": ["vault"]}}


@pytest.mark.parametrize(
    "auth",
    [
        {"tokenSecretRef": REF},
        {"appRole": {"path": "approle", "roleId": "id", "secretRef": REF}},
        {"appRole": {"path": "approle", "roleRef": REF, "secretRef": REF}},
        {"kubernetes": {"mountPath": "kubernetes", "role": "app", **ACCOUNT}},
        {"kubernetes": {"mountPath": "kubernetes", "role": "app", "secretRef": REF}},
        {"jwt": {"path": "jwt", "role": "app", "secretRef": REF}},
        {"jwt": {"path": "jwt", "role": "app", "kubernetesServiceAccountToken": ACCOUNT}},
        {"cert": {"path": "cert", "clientCert": REF, "secretRef": REF}},
        {"userPass": {"path": "userpass", "username": "app", "secretRef": REF}},
        {
            "iam": {
                "region": "eu-central-1",
                "vaultRole": "app",
                "secretRef": {"accessKeyIDSecretRef": REF, "secretAccessKeySecretRef": REF},
            }
        },
        {"gcp": {"role": "app", "secretRef": {"secretAccessKeySecretRef": REF}}},
        {"namespace": "team", "tokenSecretRef": REF},
    ],
    ids="-".join,
)
def test_every_way_to_authenticate_is_carried_over(auth: dict[str, Any]) -> None:
    made = convert(store(auth=auth, namespace="team/a", version="v1"))
    assert made.remarks == []
    vault = vault_of(made)
    assert vault == {
        "server": "https://vault.example.com",
        "path": "secret",
        "namespace": "team/a",
        "version": "v1",
        "auth": auth,
    }


def test_what_does_nothing_here_is_said() -> None:
    source = store(
        auth={"tokenSecretRef": REF},
        readYourWrites=True,
        forwardInconsistent=True,
        checkAndSet={"required": True},
        headers={"X-Route": "blue"},
        caProvider={"type": "ConfigMap", "name": "ca", "namespace": "shop"},
    )
    made = convert(source)
    vault = vault_of(made)
    assert vault["caProvider"] == {"type": "ConfigMap", "name": "ca", "key": "ca.crt"}
    assert vault["headers"] == {"X-Route": "blue"}
    assert [remark.path.rpartition(".")[2] for remark in made.remarks] == [
        "readYourWrites",
        "checkAndSet",
        "key",
    ]
    assert not any(remark.lost for remark in made.remarks)


def test_tokens_are_not_for_the_api_server_any_more() -> None:
    auth = {"kubernetes": {"role": "app", "serviceAccountRef": {"name": "app"}}}
    made = convert(store(auth=auth))
    (remark,) = made.remarks
    assert 'set audience="vault" on the role' in remark.text
    assert vault_of(made)["auth"] == auth


def test_the_first_of_several_ways_is_kept() -> None:
    auth = {"userPass": {"username": "app", "secretRef": REF}, "tokenSecretRef": REF}
    made = convert(store(auth=auth))
    assert vault_of(made)["auth"] == {"tokenSecretRef": REF}
    assert "did nothing beside tokenSecretRef" in made.remarks[0].text


@pytest.mark.parametrize("kind", ["SecretStore", "ClusterSecretStore"])
def test_the_operators_own_identity_is_a_cluster_secret_stores(kind: str) -> None:
    made = convert(store(kind, auth={"kubernetes": {"role": "app"}}))
    assert (made.body is None) == (kind == "SecretStore")


@pytest.mark.parametrize(
    "auth",
    [
        {"ldap": {"path": "ldap", "username": "app", "secretRef": REF}},
        {"gcp": {"role": "app", "workloadIdentity": {"clusterName": "a"}}},
        {"kubernetes": {"role": "app", "secretRef": {"name": "a", "key": "b", "other": "c"}}},
    ],
    ids=["ldap", "workload identity", "unknown"],
)
def test_an_identity_that_is_not_known_is_not_converted(auth: dict[str, Any]) -> None:
    made = convert(store(auth=auth))
    assert made.body is None
    assert any(remark.lost for remark in made.remarks)


def test_what_is_written_is_yaml_that_the_store_is_read_from() -> None:
    made = convert(store("ClusterSecretStore", auth={"kubernetes": {"role": "app"}}))
    assert made.body is not None
    assert yaml.safe_load(yaml.safe_dump(made.body)) == made.body


# The generator VaultDynamicSecret


def dynamic(**spec: Any) -> tuple[dict[str, Any], Result]:
    result = Result({"kind": "VaultDynamicSecret"})
    provider = {"server": "https://vault.example.com", "auth": {"tokenSecretRef": REF}}
    given = {"path": "/database/creds/app", "provider": provider, **spec}
    return convert_dynamic(given, "Generator", "spec", result), result


def test_a_dynamic_secret_is_the_same_here() -> None:
    made, result = dynamic(method="POST", parameters={"ttl": "1h"}, resultType="Auth")
    config = parse_dynamic(made, cluster_scoped=False)
    assert (config.path, config.method, config.result) == ("database/creds/app", "POST", "Auth")
    assert result.remarks == []


def test_what_does_nothing_in_a_dynamic_secret_is_told_and_left_out() -> None:
    provider = {
        "server": "https://vault.example.com",
        "path": "secret",
        "version": "v2",
        "auth": {"kubernetes": {"role": "app", **ACCOUNT}},
    }
    made, result = dynamic(
        controller="any",
        provider=provider,
        parameters={"a": "b"},
        allowEmptyResponse=True,
        retrySettings={"maxRetries": 3},
    )
    parse_dynamic(made, cluster_scoped=False)
    assert sorted(one.path for one in result.remarks if not one.lost) == [
        "spec.allowEmptyResponse",
        "spec.parameters",
        "spec.provider.path",
        "spec.provider.version",
        "spec.retrySettings",
    ]
    assert not any(one.lost for one in result.remarks)


def test_what_a_dynamic_secret_cannot_have_here_is_lost() -> None:
    provider = {"server": "https://v.example.com", "auth": {"kubernetes": {"role": "app"}}}
    _, result = dynamic(method="LIST", getParameters={"a": ["b"]}, provider=provider)
    lost = {one.path: one.text for one in result.remarks if one.lost}
    assert set(lost) == {
        "spec.method",
        "spec.getParameters",
        "spec.provider.auth.kubernetes",
    }
    assert "ClusterGenerator only" in lost["spec.provider.auth.kubernetes"]
