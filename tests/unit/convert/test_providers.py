"""Stores whose form differs from ESO's: what they become, and what is said of it."""

from typing import Any

import pytest

from syncret.convert.mapping import convert
from syncret.convert.result import Result
from syncret.providers.registry import parse_provider


def store(name: str, part: dict[str, Any], kind: str = "SecretStore") -> Result:
    return convert(
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": kind,
            "metadata": {"name": "one", "namespace": "shop"},
            "spec": {"provider": {name: part}},
        }
    )


def made(result: Result) -> dict[str, Any]:
    """What it became, which our own parser accepts."""
    body = result.body
    assert body is not None, result.remarks
    provider = body["spec"]["provider"]
    parse_provider(provider, cluster_scoped=body["kind"].startswith("Cluster"))
    (part,) = provider.values()
    return dict(part)


def lost(result: Result) -> list[str]:
    return [remark.path for remark in result.remarks if remark.lost]


@pytest.mark.parametrize(
    "url",
    ["kubernetes.default", "https://kubernetes.default.svc", "https://kubernetes.default.svc:443"],
)
def test_the_own_cluster_needs_no_server(url: str) -> None:
    result = store(
        "kubernetes",
        {
            "remoteNamespace": "platform",
            "server": {
                "url": url,
                "caProvider": {"type": "ConfigMap", "name": "kube-root-ca.crt", "key": "ca.crt"},
            },
            "auth": {"serviceAccount": {"name": "reader", "namespace": "shop"}},
        },
    )
    assert made(result) == {
        "remoteNamespace": "platform",
        "auth": {"serviceAccount": {"name": "reader"}},
    }


def test_what_eso_leaves_out_is_written_down() -> None:
    result = store("kubernetes", {"auth": {"serviceAccount": {"name": "reader"}}})
    assert made(result)["remoteNamespace"] == "default"


def test_another_cluster_by_token() -> None:
    token = {"bearerToken": {"name": "other", "key": "token"}}
    ca = {"type": "Secret", "name": "other", "key": "ca"}
    result = store(
        "kubernetes",
        {"server": {"url": "10.1.2.3:6443", "caProvider": ca}, "auth": {"token": token}},
    )
    assert made(result) == {
        "remoteNamespace": "default",
        "server": {"url": "https://10.1.2.3:6443", "caProvider": ca},
        "auth": {"token": token},
    }


def test_another_cluster_by_kubeconfig() -> None:
    reference = {"name": "other", "key": "kubeconfig"}
    result = store("kubernetes", {"authRef": reference, "remoteNamespace": "platform"})
    assert made(result)["auth"] == {"kubeconfig": {"secretRef": reference}}
    assert not lost(result)


def test_a_token_for_nobody_in_particular_is_not_sent_to_another_cluster() -> None:
    result = store(
        "kubernetes",
        {
            "server": {"url": "https://other.example.com"},
            "auth": {"serviceAccount": {"name": "reader"}},
        },
    )
    assert result.body is None
    assert lost(result) == ["spec.provider.kubernetes.auth.serviceAccount"]


def test_a_webhook_as_eso_documents_it() -> None:
    result = store(
        "webhook",
        {
            "url": "https://api.example.com/get?id={{ .remoteRef.key }}&v={{.remoteRef.version}}",
            "method": "post",
            "headers": {"Authorization": "Bearer {{ .auth.token }}"},
            "body": '{"user": "{{ .auth.user }}", "key": "{{ .remoteRef.key }}"}',
            "result": {"jsonPath": "$.data['value']"},
            "secrets": [{"name": "auth", "secretRef": {"name": "api", "namespace": "shop"}}],
            "timeout": "10s",
        },
    )
    assert made(result) == {
        "url": "https://api.example.com/get?id={{ key }}&v={{ version }}",
        "method": "POST",
        "headers": {"Authorization": "Bearer {{ secrets.auth-token }}"},
        "body": '{"user": {{ secrets.auth-user | json }}, "key": {{ key | json }}}',
        "result": {"jsonPath": "$.data['value']"},
        "secrets": [
            {"name": "auth-user", "secretRef": {"name": "api", "key": "user"}},
            {"name": "auth-token", "secretRef": {"name": "api", "key": "token"}},
        ],
        "timeout": "10s",
        "notFoundStatus": 404,
    }
    assert any("--webhook-hosts=api.example.com" in remark.text for remark in result.remarks)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"url": "https://api.example.com/{{ .auth.token }}/{{ .remoteRef.key }}"}, "url"),
        ({"url": "https://api.example.com/{{ .remoteRef.key | b64enc }}"}, "url"),
        ({"headers": {"A": "{{ printf .auth.token }}"}}, "headers.A"),
        ({"method": "POST", "body": "{{ .remoteRef.key }}"}, "body"),
        ({"result": {"jsonPath": "$..value"}}, "result.jsonPath"),
        ({"method": "PATCH"}, "method"),
        ({"auth": {"ntlm": {}}}, "auth"),
    ],
)
def test_what_a_webhook_cannot_be_is_said(changes: dict[str, Any], path: str) -> None:
    given = {
        "url": "https://api.example.com/{{ .remoteRef.key }}",
        "secrets": [{"name": "auth", "secretRef": {"name": "api"}}],
        **changes,
    }
    result = store("webhook", given)
    assert result.body is None
    assert f"spec.provider.webhook.{path}" in lost(result)


def test_fake_values_stay_what_they_are() -> None:
    data = [{"key": "a", "value": "b", "version": "v1"}]
    result = store("fake", {"data": data, "validationResult": 0}, kind="ClusterSecretStore")
    assert made(result) == {"data": data}


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        ({"aws": {}, "vault": {}}, "exactly one provider, and it names 2: aws, vault"),
        ({}, "exactly one provider, and it names none"),
        ({"passbolt": {}}, "does not have the provider passbolt"),
    ],
)
def test_a_store_has_one_provider(provider: dict[str, Any], says: str) -> None:
    result = convert(
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "SecretStore",
            "metadata": {"name": "one", "namespace": "shop"},
            "spec": {"provider": provider},
        }
    )
    assert result.body is None
    (remark,) = result.remarks
    assert says in remark.text
