"""How stores of Azure Key Vault log in, how often, and what they say if they may not."""

import asyncio
import base64
import time
from pathlib import Path
from typing import Any

import pytest
from azure.keyvault.secrets._shared import http_challenge_cache as challenges

from contract.azurekv import CLIENT, SECRET, AzureHarness
from contract.azurelogins import ISSUER, Account, Certificate, Issuer
from contract.harness import Observations
from contract.opened import bytes_of
from contract.proxy import Reply, Request
from syncret.errors import AccessDenied, ProviderUnavailable, Throttled
from syncret.providers.azurekv import login as logins
from syncret.providers.azurekv.errors import CredentialsRefused
from syncret.providers.azurekv.provider import AzureProvider
from syncret.providers.base import Client, Ref
from testbed.azure import APP_SERVICE
from testbed.azureentra import AUDIENCE, TENANT, Federated

KEY = {"name": "azure", "key": "any"}
REF = Ref("password")
USER_ASSIGNED = "66666666-6666-6666-6666-666666666666"
RESOURCE_ID = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity"
    "/userAssignedIdentities/reader"
)
OTHER_TENANT = "77777777-7777-7777-7777-777777777777"


@pytest.fixture
def azure(azure: AzureHarness) -> AzureHarness:
    azure.vault.set_secret("password", "value")
    return azure


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return Certificate()


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


async def read_by_many(client: Client, readers: int = 10) -> None:
    """Everybody reads at once, and then once more."""
    try:
        for _ in range(2):
            outcomes = await asyncio.gather(*(client.fetch([REF]) for _ in range(readers)))
            assert all(bytes_of(one[REF]) == b"value" for one in outcomes)
        await client.check()
    finally:
        await client.close()


async def by_secret(azure: AzureHarness, observe: Observations, **more: Any) -> Client:
    """The store of a service principal with a client secret."""
    spec = azure.spec(authSecretRef={"clientId": KEY, "clientSecret": KEY}, **more)
    credentials = {"clientId": f"{CLIENT}\n", "clientSecret": f"{SECRET}\n"}
    return await azure.client(spec, credentials, observe=observe)


async def by_account(
    azure: AzureHarness, account: Account, observe: Observations, **more: Any
) -> Client:
    """The store of a ServiceAccount."""
    spec = azure.spec(authType="WorkloadIdentity", serviceAccountRef={"name": account.name}, **more)
    if "tenantId" not in more:
        del spec["tenantId"]
    return await azure.client(spec, observe=observe, accounts={"serviceAccountRef": account})


def annotated(issuer: Issuer, **how: Any) -> Account:
    annotations = {
        "azure.workload.identity/client-id": CLIENT,
        "azure.workload.identity/tenant-id": TENANT,
    }
    return Account(issuer, annotations, **how)


def trusted(azure: AzureHarness, account: Account, signer: Issuer, **other: str) -> None:
    """Adds a federated credential to the application."""
    right = {"issuer": ISSUER, "subject": account.subject}
    azure.entra.apps[CLIENT].federated.append(
        Federated(**(right | other), public_key=signer.public_key)
    )


# One login for all readers


async def test_a_client_secret_is_one_login(azure: AzureHarness) -> None:
    observed = Observations()
    await read_by_many(await by_secret(azure, observed))
    assert [(one.form, one.who) for one in azure.entra.logins] == [("secret", CLIENT)]
    assert observed.calls.count(("GetToken", "ok")) == 1
    assert set(observed.calls) == {
        ("GetToken", "ok"),
        ("GetSecret", "ok"),
        ("GetSecret", "not_found"),
    }


@pytest.mark.parametrize("form", ["pem", "pfx"])
async def test_a_client_certificate_is_one_login(
    azure: AzureHarness, certificate: Certificate, form: str
) -> None:
    azure.entra.apps[CLIENT].certificates.append(certificate.certificate)
    spec = azure.spec(authSecretRef={"clientId": KEY, "clientCertificate": KEY})
    credentials = {"clientId": CLIENT, "clientCertificate": getattr(certificate, form)}
    await read_by_many(await azure.client(spec, credentials, observe=Observations()))
    (login,) = azure.entra.logins
    assert (login.form, login.who) == ("certificate", CLIENT)


async def test_a_service_account_is_one_login_and_one_token(
    azure: AzureHarness, issuer: Issuer
) -> None:
    account = annotated(issuer)
    trusted(azure, account, issuer)
    await read_by_many(await by_account(azure, account, Observations()))
    (login,) = azure.entra.logins
    assert login.form == "federated"
    assert login.claims["sub"] == "system:serviceaccount:payments:reader"
    assert account.asked == [((AUDIENCE,), 600)]


async def test_a_store_may_name_client_tenant_and_audience_itself(
    azure: AzureHarness, issuer: Issuer
) -> None:
    account = Account(issuer, {})
    trusted(azure, account, issuer, audience="api://other")
    spec = azure.spec(
        authType="WorkloadIdentity",
        serviceAccountRef={"name": "reader", "audiences": ["api://other"]},
        authSecretRef={"clientId": KEY},
    )
    client = await azure.client(
        spec,
        {"clientId": CLIENT},
        observe=Observations(),
        accounts={"serviceAccountRef": account},
    )
    await read_by_many(client)
    assert [asked for asked, _ in account.asked] == [("api://other",)]


async def test_the_operators_pod_has_a_workload_identity(
    azure: AzureHarness, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = annotated(issuer)
    trusted(azure, account, issuer)
    token = tmp_path / "token"
    token.write_text(issuer.sign(account.subject, [AUDIENCE], 600))
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token))
    spec = azure.spec(authType="WorkloadIdentity")
    del spec["tenantId"]
    await read_by_many(await azure.client(spec, observe=Observations()))
    assert [one.form for one in azure.entra.logins] == ["federated"]


@pytest.mark.parametrize("identity", ["", USER_ASSIGNED, RESOURCE_ID])
@pytest.mark.parametrize("where", ["IMDS", "App Service"])
async def test_a_managed_identity_is_one_login(
    azure: AzureHarness, monkeypatch: pytest.MonkeyPatch, where: str, identity: str
) -> None:
    managed(azure, monkeypatch, where)
    azure.entra.identities.add(identity)
    spec = azure.spec(authType="ManagedIdentity") | ({"identityId": identity} if identity else {})
    del spec["tenantId"]
    await read_by_many(await azure.client(spec, observe=Observations()))
    assert [(one.form, one.who) for one in azure.entra.logins] == [("managed", identity)]


def managed(azure: AzureHarness, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Sets what Azure sets in the environment of what runs there."""
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.setenv(name, "of a workload identity, which is not asked for")
    if where == "IMDS":
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.proxy.url)
    else:
        monkeypatch.setenv("IDENTITY_ENDPOINT", azure.proxy.url + APP_SERVICE)
        monkeypatch.setenv("IDENTITY_HEADER", azure.entra.identity_header)


# Renewal


async def test_a_token_is_renewed_before_it_ends(
    azure: AzureHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    azure.entra.lifetime = 200
    monkeypatch.setattr(logins, "AGAIN", 0.0)
    monkeypatch.setattr("azure.identity._internal.utils.DEFAULT_TOKEN_REFRESH_RETRY_DELAY", 0)
    client = await by_secret(azure, Observations())
    await client.fetch([REF])
    await client.fetch([REF])
    assert len(azure.entra.logins) == 2

    azure.entra.apps[CLIENT].disabled = True  # the old token is good for a while yet
    assert bytes_of((await client.fetch([REF]))[REF]) == b"value"
    assert len(azure.entra.logins) == 3
    await client.close()


async def test_a_renewal_is_not_tried_at_every_read(azure: AzureHarness) -> None:
    azure.entra.lifetime = 200
    client = await by_secret(azure, Observations())
    for _ in range(5):
        await client.fetch([REF])
    assert len(azure.entra.logins) == 1
    await client.close()


async def test_a_clock_that_is_ahead_does_not_log_in_at_every_read(
    azure: AzureHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A managed identity says when its token ends as well as how long it lives."""
    monkeypatch.setattr(azure.entra, "_clock", lambda: time.time() - 2 * azure.entra.lifetime)
    managed(azure, monkeypatch, "IMDS")
    azure.entra.identities.add("")
    spec = azure.spec(authType="ManagedIdentity")
    del spec["tenantId"]
    client = await azure.client(spec, observe=Observations())
    for _ in range(5):
        assert bytes_of((await client.fetch([REF]))[REF]) == b"value"
    assert len(azure.entra.logins) == 1
    await client.close()


async def test_a_service_account_that_gives_no_token_does_not_end_a_good_one(
    azure: AzureHarness, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    azure.entra.lifetime = 200
    monkeypatch.setattr(logins, "AGAIN", 0.0)
    account = annotated(issuer)
    trusted(azure, account, issuer)
    client = await by_account(azure, account, Observations())
    await client.fetch([REF])

    async def denied(*_: Any, **__: Any) -> Any:
        raise AccessDenied("The ServiceAccount is gone.")

    monkeypatch.setattr(account, "token", denied)
    assert bytes_of((await client.fetch([REF]))[REF]) == b"value"
    azure.entra.revoke()
    with pytest.raises(AccessDenied, match="The ServiceAccount is gone"):
        await client.fetch([REF])
    await client.close()


async def test_a_token_that_the_vault_refuses_is_replaced_at_once(azure: AzureHarness) -> None:
    client = await by_secret(azure, Observations())
    await client.fetch([REF])
    azure.entra.revoke()
    assert bytes_of((await client.fetch([REF]))[REF]) == b"value"
    assert len(azure.entra.logins) == 2
    await client.close()


async def test_one_cancelled_reader_does_not_take_the_login_from_the_others(
    azure: AzureHarness,
) -> None:
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()

    def seen(request: Request) -> None:
        if request.path.endswith("/token"):
            loop.call_soon_threadsafe(arrived.set)

    azure.fault = seen
    client = await by_secret(azure, Observations())
    first = asyncio.create_task(client.fetch([REF]))
    second = asyncio.create_task(client.fetch([REF]))
    await arrived.wait()
    first.cancel()
    assert bytes_of((await second)[REF]) == b"value"
    assert len(azure.entra.logins) == 1
    await client.close()


async def test_a_vault_may_ask_for_claims_in_the_middle(azure: AzureHarness) -> None:
    """Continuous access evaluation: the vault wants a token of the present state."""
    client = await by_secret(azure, Observations())
    await client.fetch([REF])
    claims = base64.b64encode(b'{"access_token": {"nbf": {"essential": true}}}').decode()
    header = (
        f'Bearer authorization="{azure.proxy.url}/{TENANT}", error="insufficient_claims", '
        f'claims="{claims}"'
    )
    asked: list[Request] = []

    def once(request: Request) -> Reply | None:
        if not request.path.startswith("/secrets/"):
            return None
        asked.append(request)
        return Reply(401, b"", {"WWW-Authenticate": header}) if len(asked) == 1 else None

    azure.fault = once
    assert bytes_of((await client.fetch([REF]))[REF]) == b"value"
    assert len(azure.entra.granted) == 2
    assert b"essential" in azure.proxy.requests[-2].raw
    await client.close()


# Refusals


async def refusal(client: Client, kind: type[AccessDenied] = CredentialsRefused) -> str:
    """What everybody is told; the login is tried once for all of them."""
    with pytest.raises(kind) as raised:
        await client.fetch([REF, Ref("other"), Ref("third")])
    await client.close()
    return raised.value.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clientSecret": "wrong"}, "the client secret is wrong"),
        ({"clientSecret": "fake-expired-client-secret"}, "the client secret has expired"),
        ({"clientId": USER_ASSIGNED}, "no such application: correct the client id"),
    ],
)
async def test_what_is_wrong_with_a_service_principal_is_said(
    azure: AzureHarness, change: dict[str, str], message: str
) -> None:
    spec = azure.spec(authSecretRef={"clientId": KEY, "clientSecret": KEY})
    credentials = {"clientId": CLIENT, "clientSecret": SECRET} | change
    observed = Observations()
    said = await refusal(await azure.client(spec, credentials, observe=observed))
    assert message in said
    assert "Trace" not in said
    assert len(azure.entra.logins) == 1
    assert ("GetToken", "denied") in observed.calls


async def test_a_wrong_tenant_is_said(azure: AzureHarness) -> None:
    assert "the tenant is not known" in await refusal(
        await by_secret(azure, Observations(), tenantId="contoso.example.com")
    )
    azure.azure.tenant = OTHER_TENANT
    challenges.clear()
    said = await refusal(await by_secret(azure, Observations()))
    assert "belongs to another tenant than tenantId" in said


async def test_a_disabled_application_is_said(azure: AzureHarness) -> None:
    azure.entra.apps[CLIENT].disabled = True
    assert "the application is disabled" in await refusal(await by_secret(azure, Observations()))


async def test_a_certificate_of_another_is_said(
    azure: AzureHarness, certificate: Certificate
) -> None:
    spec = azure.spec(authSecretRef={"clientId": KEY, "clientCertificate": KEY})
    credentials: dict[str, str | bytes] = {
        "clientId": CLIENT,
        "clientCertificate": certificate.pem,
    }
    client = await azure.client(spec, credentials, observe=Observations())
    assert "the certificate is not one of the application's" in await refusal(client)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"issuer": "https://oidc.example.com/other/"}, "has the issuer of the ServiceAccount's"),
        ({"audience": "api://other"}, "has the audience of the ServiceAccount's"),
        ({"subject": "system:serviceaccount:payments:Reader"}, "has the subject of the"),
    ],
)
async def test_what_a_federated_credential_lacks_is_said(
    azure: AzureHarness, issuer: Issuer, other: dict[str, str], message: str
) -> None:
    account = annotated(issuer)
    trusted(azure, account, issuer, **other)
    assert message in await refusal(await by_account(azure, account, Observations()))


async def test_a_token_of_another_cluster_or_time_is_said(
    azure: AzureHarness, issuer: Issuer
) -> None:
    late = annotated(issuer, lasts=-60)
    trusted(azure, late, issuer)
    assert "check the clock" in await refusal(await by_account(azure, late, Observations()))
    forged = annotated(Issuer())
    said = await refusal(await by_account(azure, forged, Observations()))
    assert "the signature of the token cannot be checked" in said


async def test_a_service_account_without_annotation_is_said(
    azure: AzureHarness, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_TENANT_ID", raising=False)
    with pytest.raises(
        CredentialsRefused, match=r'"reader" in the namespace "payments".*client-id'
    ):
        await by_account(azure, Account(issuer, {}), Observations())
    only_client = Account(issuer, {"azure.workload.identity/client-id": CLIENT})
    with pytest.raises(CredentialsRefused, match=r"tenant-id"):
        await by_account(azure, only_client, Observations())
    await (await by_account(azure, only_client, Observations(), tenantId=TENANT)).close()


async def test_a_pod_without_workload_identity_is_said(
    azure: AzureHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_FEDERATED_TOKEN_FILE", raising=False)
    spec = azure.spec(authType="WorkloadIdentity")
    with pytest.raises(CredentialsRefused, match="The operator's pod has no workload identity"):
        await azure.client(spec, observe=Observations())


async def test_a_machine_without_identity_is_said(
    azure: AzureHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    managed(azure, monkeypatch, "IMDS")
    spec = azure.spec(authType="ManagedIdentity", identityId=USER_ASSIGNED)
    said = await refusal(await azure.client(spec, observe=Observations()))
    assert "No managed identity" in said
    assert "correct identityId" in said


@pytest.mark.parametrize(
    "credentials",
    [
        {"clientId": "", "clientSecret": SECRET},
        {"clientId": CLIENT, "clientSecret": "two words"},
        {"clientId": "höflich", "clientSecret": SECRET},
    ],
)
async def test_credentials_that_cannot_be_any_are_said(
    azure: AzureHarness, credentials: dict[str, str]
) -> None:
    spec = azure.spec(authSecretRef={"clientId": KEY, "clientSecret": KEY})
    with pytest.raises(CredentialsRefused, match='the key "any" of the Secret "azure" is empty'):
        await azure.client(spec, credentials, observe=Observations())


async def test_a_certificate_that_is_none_is_said(azure: AzureHarness) -> None:
    spec = azure.spec(authSecretRef={"clientId": KEY, "clientCertificate": KEY})
    credentials: dict[str, str | bytes] = {"clientId": CLIENT, "clientCertificate": b"\x00canary"}
    with pytest.raises(CredentialsRefused, match="in PEM or as PFX") as raised:
        await azure.client(spec, credentials, observe=Observations())
    assert raised.value.__context__ is None


# The token endpoint has troubles of its own


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(429, b'{"error": "busy"}', {"Retry-After": "7"}), Throttled),
        (Reply(503, b"<html>", {"Content-Type": "text/html"}), ProviderUnavailable),
        (Reply(200, b"<html>", {"Content-Type": "text/html"}), ProviderUnavailable),
        (Reply(404, b"<html>", {"Content-Type": "text/html"}), ProviderUnavailable),
        (Reply(200, b"{}", {"Content-Type": "application/json"}), ProviderUnavailable),
        (Reply(400, b'{"error": "x"}', {"Content-Type": "application/json"}), AccessDenied),
    ],
)
async def test_a_token_endpoint_that_fails_is_told_apart(
    azure: AzureHarness, reply: Reply, kind: type[Exception]
) -> None:
    azure.fault = lambda request: reply if request.path.endswith("/token") else None
    client = await by_secret(azure, Observations())
    with pytest.raises(kind, match="Microsoft Entra ID") as raised:
        await client.fetch([REF])
    assert raised.value.__context__ is None
    if isinstance(raised.value, Throttled):
        assert raised.value.retry_after == 7.0
    await client.close()
    azure.fault = None
    again = await by_secret(azure, Observations())
    assert bytes_of((await again.fetch([REF]))[REF]) == b"value"
    await again.close()


async def test_no_token_is_asked_for_another_resource(azure: AzureHarness) -> None:
    azure.azure.resource = "https://management.azure.com"
    said = await refusal(await by_secret(azure, Observations()))
    assert "asks for a token of another resource" in said
    assert azure.entra.logins == []

    # Without a keyVaultEndpoint it has to be a part of the vault's own name.
    spec = azure.spec(authSecretRef={"clientId": KEY, "clientSecret": KEY})
    del spec["customCloudConfig"]["keyVaultEndpoint"]
    credentials = {"clientId": CLIENT, "clientSecret": SECRET}
    client = await azure.client(spec, credentials, observe=Observations())
    assert "asks for a token of another resource" in await refusal(client)
    assert azure.entra.logins == []


def test_the_operators_identity_is_told_from_a_stores_own() -> None:
    provider = AzureProvider()
    url = {"vaultUrl": "https://payments.vault.azure.net"}
    by_pod = provider.parse(url | {"authType": "WorkloadIdentity"}, cluster_scoped=False)
    assert provider.ambient(by_pod)
    by_account = provider.parse(
        url | {"authType": "WorkloadIdentity", "serviceAccountRef": {"name": "reader"}},
        cluster_scoped=False,
    )
    assert not provider.ambient(by_account)
