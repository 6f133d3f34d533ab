"""``spec.provider.vault``: what is taken, what is refused, and in which words."""

import base64
from typing import Any

import pytest

from syncret.errors import SpecInvalid
from syncret.providers.base import ConfigMapKeyRef, SecretKeyRef, ServiceAccountRef
from syncret.providers.vault.auth import Auth
from syncret.providers.vault.config import parse_config
from syncret.providers.vault.provider import VaultProvider

REF = {"name": "vault", "key": "k"}
TOKEN = {"tokenSecretRef": REF}
PEM = base64.b64encode(b"-----BEGIN CERTIFICATE-----\n").decode()


def spec(auth: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "server": "https://vault.example.com:8200",
        "auth": TOKEN if auth is None else auth,
        **more,
    }


def test_the_least_spec() -> None:
    config = parse_config(spec(), cluster_scoped=False)
    assert config.place == "Vault at vault.example.com:8200"
    assert (config.mount, config.version, config.namespace) == ("", 2, "")
    assert dict(config.references) == {"token": SecretKeyRef("vault", "k")}
    assert config.auth.given
    assert not VaultProvider().ambient(config)


def test_the_login_is_in_the_stores_namespace_of_vault_or_its_own() -> None:
    same = parse_config(spec(namespace="team"), cluster_scoped=False)
    other = parse_config(
        spec({**TOKEN, "namespace": "all"}, namespace="team"), cluster_scoped=False
    )
    assert (same.namespace, same.auth_namespace) == ("team", "team")
    assert (other.namespace, other.auth_namespace) == ("team", "all")


def test_references_of_all_kinds() -> None:
    given = spec(
        {"kubernetes": {"role": "app", "serviceAccountRef": {"namespace": "shop", "name": "app"}}},
        caProvider={"type": "ConfigMap", "namespace": "shop", "name": "ca", "key": "ca.crt"},
        tls={"certSecretRef": REF, "keySecretRef": {**REF, "namespace": "shop"}},
    )
    config = parse_config(given, cluster_scoped=True)
    assert dict(config.references) == {
        "ca": ConfigMapKeyRef("ca", "ca.crt", "shop"),
        "tlsCert": SecretKeyRef("vault", "k"),
        "tlsKey": SecretKeyRef("vault", "k", "shop"),
        "serviceAccount": ServiceAccountRef("app", "shop"),
    }
    assert config.auth == Auth(
        "kubernetes", "kubernetes", "app", "ServiceAccount", audiences=("vault",)
    )
    secret = spec(caProvider={"type": "Secret", "name": "ca", "key": "k"})
    references = dict(parse_config(secret, cluster_scoped=False).references)
    assert references["ca"] == SecretKeyRef("ca", "k")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (spec(server="vault.example.com"), "server must be an http:// or https:// URL"),
        (spec(server="https://vault.example.com/v1"), 'address of Vault without "/v1"'),
        (spec(server="https://user@vault.example.com"), "server must be"),
        (spec(server="https://vault.example.com:99999"), "server must be"),
        (spec(path="/secret"), "path must be a path of Vault"),
        (spec(path="secret/"), "path must be a path of Vault"),
        (spec(path="secret/../sys"), "path must be a path of Vault"),
        (spec(path=".."), "path must be a path of Vault"),
        (spec(version="v3"), "version must be v1 or v2"),
        (spec(engine="pki"), "engine must be kv or database or ldap"),
        (spec(engine="database"), "path is missing: it says where the database engine is mounted"),
        (spec(engine="ldap", path="ldap", version="v2"), "version must be left out"),
        (spec(namespace="a b"), "namespace must be a namespace of Vault"),
        (spec(caBundle="!"), "caBundle must be PEM certificates in base64"),
        (spec(caBundle="eA=="), "caBundle must be PEM certificates in base64"),
        (
            spec(caBundle=PEM, caProvider={"type": "Secret", "name": "a", "key": "b"}),
            "must not have both caBundle and caProvider",
        ),
        (spec(caProvider={"type": "File", "name": "a", "key": "b"}), "caProvider.type must be"),
        (
            spec(caProvider={"type": "Secret", "name": "a", "key": "b", "namespace": "c"}),
            "namespace is not known",
        ),
        (spec(headers={"X-Vault-Namespace": "x"}), "must not have X-Vault-Namespace"),
        (spec(headers={"Content-Length": "1"}), "must not have Content-Length"),
        (spec(headers={"X\nY": "1"}), "printable ASCII"),
        (spec(headers={"X": "a\r\nb"}), "printable ASCII"),
        (spec({}), "must have exactly one of tokenSecretRef"),
        (spec({**TOKEN, "userPass": {}}), "has tokenSecretRef and userPass"),
        (spec({"ldap": {}}), "must have exactly one of"),
        (spec({"appRole": {"secretRef": REF}}), "exactly one of roleId, roleRef"),
        (
            spec(
                {"kubernetes": {"role": "a", "secretRef": REF, "serviceAccountRef": {"name": "a"}}}
            ),
            "not have both",
        ),
        (spec({"jwt": {"role": "a"}}), "exactly one of secretRef, kubernetesServiceAccountToken"),
        (spec({"userPass": {"username": "../a", "secretRef": REF}}), "username must be"),
        (
            spec({"iam": {"vaultRole": "a", "role": "reader", "secretRef": {}}}),
            "accessKeyIDSecretRef is missing",
        ),
        (spec(unknown=1), "unknown is not known"),
        (
            spec(
                {"cert": {"clientCert": REF, "secretRef": REF}},
                tls={"certSecretRef": REF, "keySecretRef": REF},
            ),
            "tls must be left out",
        ),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecInvalid) as raised:
        parse_config(given, cluster_scoped=False)
    assert words in raised.value.message
    assert raised.value.message.startswith("spec.provider.vault")


@pytest.mark.parametrize("segment", ["a", "a.b", "...", "a..", "Team_1"])
def test_segments_of_dots_alone_are_refused_and_no_others(segment: str) -> None:
    assert parse_config(spec(path=f"{segment}/x"), cluster_scoped=False).mount == f"{segment}/x"


@pytest.mark.parametrize(
    ("auth", "audiences"),
    [
        ({"serviceAccountRef": {"name": "a"}}, ("vault",)),
        ({"serviceAccountRef": {"name": "a", "audiences": ["x"]}}, ("x",)),
        (
            {"serviceAccountRef": {"name": "a", "audiences": ["x"]}, "audiences": ["y", "x"]},
            ("y", "x"),
        ),
    ],
)
def test_a_token_is_for_those_who_are_named_or_vault(
    auth: dict[str, Any], audiences: tuple[str, ...]
) -> None:
    given = spec({"jwt": {"kubernetesServiceAccountToken": auth}})
    assert parse_config(given, cluster_scoped=False).auth.audiences == audiences
