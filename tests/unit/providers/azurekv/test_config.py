"""``spec.provider.azurekv``: what is read of it, and what is refused."""

from typing import Any

import pytest

from syncret.errors import SpecInvalid
from syncret.providers.azurekv.config import AUDIENCE, parse_config
from syncret.providers.base import SecretKeyRef, ServiceAccountRef

KEY = {"name": "azure", "key": "id"}
URL = "https://payments.vault.azure.net"
PRINCIPAL: dict[str, Any] = {
    "vaultUrl": URL,
    "tenantId": "contoso.example.com",
    "authSecretRef": {"clientId": KEY, "clientSecret": KEY},
}
BY_ACCOUNT: dict[str, Any] = {
    "vaultUrl": URL,
    "authType": "WorkloadIdentity",
    "serviceAccountRef": {"name": "reader"},
}
BY_POD: dict[str, Any] = {"vaultUrl": URL, "authType": "WorkloadIdentity"}
BY_NODE: dict[str, Any] = {"vaultUrl": URL, "authType": "ManagedIdentity"}
CUSTOM: dict[str, Any] = {
    "environmentType": "AzureStackCloud",
    "customCloudConfig": {"activeDirectoryEndpoint": "https://login.example.com/adfs/"},
}


def test_a_service_principal_is_the_default() -> None:
    config = parse_config(PRINCIPAL | {"vaultUrl": f"{URL}/"}, cluster_scoped=False)
    assert (config.vault_url, config.auth) == (URL, "ServicePrincipal")
    assert config.place == "Azure Key Vault payments.vault.azure.net"
    assert config.cloud.authority == "https://login.microsoftonline.com"
    assert config.cloud.resource == "https://vault.azure.net"
    reference = SecretKeyRef("azure", "id")
    assert config.credentials == (("clientId", reference), ("clientSecret", reference))


def test_the_tenant_may_be_in_a_secret() -> None:
    keys = {"clientId": KEY, "tenantId": KEY, "clientCertificate": KEY}
    config = parse_config({"vaultUrl": URL, "authSecretRef": keys}, cluster_scoped=False)
    assert [name for name, _ in config.credentials] == ["clientId", "tenantId", "clientCertificate"]


def test_a_service_account_is_in_the_namespace_that_the_kind_allows() -> None:
    named = BY_ACCOUNT | {"serviceAccountRef": {"name": "reader", "namespace": "team"}}
    config = parse_config(named, cluster_scoped=True)
    assert config.credentials == (("serviceAccountRef", ServiceAccountRef("reader", "team")),)
    assert config.audiences == (AUDIENCE,)
    with pytest.raises(SpecInvalid, match=r"serviceAccountRef\.namespace is not known"):
        parse_config(named, cluster_scoped=False)


@pytest.mark.parametrize(
    ("environment", "host", "authority"),
    [
        ("USGovernmentCloud", "x.vault.usgovcloudapi.net", "https://login.microsoftonline.us"),
        ("ChinaCloud", "x.vault.azure.cn", "https://login.chinacloudapi.cn"),
    ],
)
def test_sovereign_clouds_have_their_own_addresses(
    environment: str, host: str, authority: str
) -> None:
    spec = PRINCIPAL | {"environmentType": environment, "vaultUrl": f"https://{host}"}
    config = parse_config(spec, cluster_scoped=False)
    assert config.cloud.authority == authority
    assert f"https://{host.removeprefix('x.')}" == config.cloud.resource
    with pytest.raises(SpecInvalid, match="set environmentType to the vault's cloud"):
        parse_config(spec | {"vaultUrl": URL}, cluster_scoped=False)


def test_a_private_cloud_says_its_addresses() -> None:
    endpoints = {
        "activeDirectoryEndpoint": "https://login.example.com/",
        "keyVaultEndpoint": "https://vault.example.com/",
        "keyVaultDNSSuffix": ".vault.example.com",
    }
    spec = PRINCIPAL | CUSTOM | {"customCloudConfig": endpoints}
    config = parse_config(spec | {"vaultUrl": "https://x.vault.example.com"}, cluster_scoped=False)
    assert config.cloud.authority == "https://login.example.com"
    assert config.cloud.resource == "https://vault.example.com"
    with pytest.raises(SpecInvalid, match=r'under "\.vault\.example\.com"'):
        parse_config(spec, cluster_scoped=False)


def test_another_token_endpoint_leaves_the_rest_of_a_public_cloud() -> None:
    endpoints = {"activeDirectoryEndpoint": "https://login.partner.microsoftonline.cn"}
    spec = PRINCIPAL | {
        "environmentType": "ChinaCloud",
        "vaultUrl": "https://x.vault.azure.cn",
        "customCloudConfig": endpoints,
    }
    config = parse_config(spec, cluster_scoped=False)
    assert config.cloud.authority == "https://login.partner.microsoftonline.cn"
    assert config.cloud.resource == "https://vault.azure.cn"


@pytest.mark.parametrize("own", [BY_POD, BY_NODE])
@pytest.mark.parametrize(
    "elsewhere",
    [
        CUSTOM | {"vaultUrl": "https://vault.example.com"},
        {"caBundle": "-----BEGIN CERTIFICATE-----"},
        {"caProvider": {"type": "ConfigMap", "name": "ca", "key": "ca.crt"}},
    ],
)
def test_the_operators_identity_goes_to_azures_vaults_only(
    own: dict[str, Any], elsewhere: dict[str, Any]
) -> None:
    assert parse_config(own, cluster_scoped=False).credentials == ()
    with pytest.raises(SpecInvalid, match="only by a ClusterSecretStore"):
        parse_config(own | elsewhere, cluster_scoped=False)
    parse_config(own | elsewhere, cluster_scoped=True)
    parse_config(BY_ACCOUNT | elsewhere, cluster_scoped=False)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (PRINCIPAL | {"vaultUrl": "http://payments.vault.azure.net"}, "vaultUrl must be an https"),
        (PRINCIPAL | {"vaultUrl": f"{URL}/secrets"}, "vaultUrl must be an https"),
        (PRINCIPAL | {"vaultUrl": "https://me@payments.vault.azure.net"}, "vaultUrl must be"),
        (PRINCIPAL | {"vaultUrl": "https://vault.azure.net"}, "that of a vault under"),
        (PRINCIPAL | {"vaultUrl": "https://evilvault.azure.net"}, "that of a vault under"),
        (PRINCIPAL | {"vaultUrl": f"{URL}:8443"}, "that of a vault under"),
        (PRINCIPAL | CUSTOM | {"vaultUrl": "https://x:99999"}, "vaultUrl must be"),
        (PRINCIPAL | {"environmentType": "GermanCloud"}, "environmentType must be"),
        (PRINCIPAL | {"environmentType": "AzureStackCloud"}, "customCloudConfig is missing"),
        (PRINCIPAL | {"tenantId": "a/b"}, "tenantId must be"),
        ({"vaultUrl": URL, "tenantId": "t"}, "authSecretRef is missing"),
        (PRINCIPAL | {"tenantId": None}, "tenantId is missing"),
        (PRINCIPAL | {"authSecretRef": {"clientSecret": KEY}}, "clientId is missing"),
        (PRINCIPAL | {"authSecretRef": {"clientId": KEY}}, "exactly one of clientSecret"),
        (PRINCIPAL | {"identityId": "x"}, "identityId is for the authType ManagedIdentity"),
        (PRINCIPAL | {"serviceAccountRef": {"name": "x"}}, "serviceAccountRef is not known"),
        (
            BY_ACCOUNT
            | {"serviceAccountRef": {"name": "x", "audiences": ["https://kubernetes.default.svc"]}},
            r"audiences must be such as",
        ),
        (BY_NODE | {"authSecretRef": {"clientId": KEY}}, "authSecretRef is not known"),
        (BY_POD | {"authSecretRef": {"clientId": KEY}}, "serviceAccountRef is missing"),
        (BY_ACCOUNT | {"authSecretRef": {"clientSecret": KEY}}, "clientSecret is not known"),
        (PRINCIPAL | {"useAzureSDK": True}, "useAzureSDK is not known"),
    ],
)
def test_what_cannot_work_is_refused_with_its_field(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecInvalid, match=message):
        parse_config(spec, cluster_scoped=False)
