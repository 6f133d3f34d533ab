"""Who reads from GCP Secret Manager: each way to authenticate, how often, and what is said if not.

The other ends verify what Google's verify: signatures, audiences, times, bindings.
"""

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contract.gcp import EXPIRED, PATIENT, READER, UNKNOWN, GcpHarness
from contract.harness import Observations
from contract.opened import bytes_of, fresh
from syncret.errors import AccessDenied, ProviderError, ProviderUnavailable, SyncretError
from syncret.providers.base import Client, Ref, SecretValue, ServiceAccount
from syncret.providers.gcp import identity
from syncret.providers.gcp.budget import BURST
from syncret.providers.gcp.provider import GcpProvider
from testbed.gcp.handle import ISSUER, PROJECT, PROJECT_NUMBER, Account, ClusterAccount, Gcp

POOL = f"projects/{PROJECT_NUMBER}/locations/global/workloadIdentityPools/clusters"
AUDIENCE = f"//iam.googleapis.com/{POOL}/providers/blue"
MEMBER = f"principal://iam.googleapis.com/{POOL}/subject/system:serviceaccount:payments:app"
GKE_POOL = f"{PROJECT}.svc.id.goog"
GKE_MEMBER = f"serviceAccount:{GKE_POOL}[payments/app]"

#: Made once: a key takes a tenth of a second.
KSA = ClusterAccount()


@dataclass
class Stores:
    """Opens stores of one provider; the clock of tokens is the test's."""

    gcp: Gcp
    provider: GcpProvider
    time: list[float]
    observed: Observations = field(default_factory=Observations)
    clients: list[Client] = field(default_factory=list)

    async def open(
        self,
        auth: Mapping[str, Any] | None,
        *,
        credentials: Mapping[str, bytes] | None = None,
        account: ServiceAccount | None = None,
        cluster_scoped: bool = True,
        **fields: Any,
    ) -> Client:
        spec = {
            "projectID": PROJECT,
            "endpoint": self.gcp.endpoint,
            "stsEndpoint": self.gcp.http,
            "iamCredentialsEndpoint": self.gcp.http,
            **({"auth": auth} if auth is not None else {}),
        } | fields
        given = {name: value for name, value in spec.items() if value is not None}
        config = self.provider.parse(given, cluster_scoped=cluster_scoped)
        client = await self.provider.open(
            config,
            {name: SecretValue(value) for name, value in (credentials or {}).items()},
            observe=self.observed,
            accounts={"serviceAccount": account} if account is not None else {},
        )
        self.clients.append(client)
        return client

    async def by_key(self, account: Account = READER, **changed: Any) -> Client:
        key = account.key_file(f"{self.gcp.http}/token", **changed)
        return await self.open(KEY, credentials={"secretAccessKey": key})

    async def wait_logins(self, count: int) -> None:
        """Until so many tokens have been asked for."""
        async with asyncio.timeout(60):
            while len(self.logins) < count:  # noqa: ASYNC110 - what is waited for knows no event loop
                await asyncio.sleep(0.02)

    @property
    def logins(self) -> list[str]:
        return [login["endpoint"] for login in self.gcp.logins]


KEY = {"secretRef": {"secretAccessKeySecretRef": {"name": "google", "key": "key.json"}}}


@pytest.fixture
async def stores(gcp: GcpHarness) -> Any:
    time = [1000.0]
    made = Stores(gcp.gcp, GcpProvider(timing=lambda: PATIENT, now=lambda: time[0]), time)
    KSA.annotations, KSA.asked = {}, []
    yield made
    for client in made.clients:
        await client.close()


@pytest.fixture
def secret(gcp: GcpHarness) -> str:
    key = fresh(separator="-")
    gcp.put(key, b"value")
    return key


async def value(client: Client, key: str) -> bytes:
    return bytes_of((await client.fetch([Ref(key)]))[Ref(key)])


async def refusal(client: Client) -> str:
    """What the check says; that no reader gets anything else."""
    with pytest.raises(SyncretError) as checked:
        await client.check()
    with pytest.raises(SyncretError) as fetched:
        await client.fetch([Ref("any")])
    assert checked.value.message == fetched.value.message
    assert isinstance(checked.value, AccessDenied)
    return checked.value.message


# How often


async def test_all_readers_of_a_store_share_one_login_for_an_hour(
    stores: Stores, secret: str
) -> None:
    client = await stores.by_key()
    assert stores.logins == [], "who opens a store asks nobody"
    await asyncio.gather(*(value(client, secret) for _ in range(30)))
    stores.time[0] += 3300
    assert await value(client, secret) == b"value"
    assert stores.logins == ["oauth2"]


async def test_a_token_is_renewed_before_its_end_and_nobody_waits(
    stores: Stores, secret: str
) -> None:
    client = await stores.by_key()
    await client.check()
    stores.time[0] += 3600 - 100
    assert await value(client, secret) == b"value"
    await stores.wait_logins(2)
    stores.time[0] += 200  # the first token is over now
    await asyncio.gather(*(value(client, secret) for _ in range(10)))
    assert stores.logins == ["oauth2", "oauth2"]
    stores.time[0] += 7200
    await asyncio.gather(*(value(client, secret) for _ in range(10)))
    assert stores.logins == ["oauth2"] * 3


async def test_a_renewal_that_fails_disturbs_nobody_while_the_token_is_good(
    stores: Stores, secret: str
) -> None:
    client = await stores.by_key()
    await client.check()
    stores.gcp.fail_logins(kind="400", reason="invalid_grant")
    stores.time[0] += 3600 - 100
    assert await value(client, secret) == b"value"
    await stores.wait_logins(2)
    await asyncio.sleep(0)
    for _ in range(5):
        assert await value(client, secret) == b"value"
    assert stores.logins == ["oauth2", "oauth2"], "and is not tried again at once"
    stores.time[0] += 200
    with pytest.raises(AccessDenied, match="refused the credentials"):
        await client.fetch([Ref(secret)])
    stores.gcp.fail_logins()
    assert await value(client, secret) == b"value"


async def test_a_token_that_was_revoked_is_replaced_once(stores: Stores, secret: str) -> None:
    client = await stores.by_key()
    assert await value(client, secret) == b"value"
    stores.time[0] += 60
    stores.gcp.revoke_tokens()
    assert await value(client, secret) == b"value"
    assert stores.logins == ["oauth2", "oauth2"]

    refused = await stores.by_key(EXPIRED)
    for _ in range(3):
        with pytest.raises(AccessDenied, match="refused the credentials"):
            await refused.fetch([Ref(secret)])
    assert stores.logins == ["oauth2"] * 3, "a new token that is refused is not replaced"


async def test_stores_of_a_project_share_the_budget_of_looks(stores: Stores, secret: str) -> None:
    ref = Ref(secret)
    clients = [await stores.by_key() for _ in range(3)]
    for _ in range(BURST // 3 + 10):
        for client in clients:
            await client.fetch([ref], known={ref: "1"})
    free = [operation for operation in stores.gcp.operations if operation != "AccessSecretVersion"]
    assert len(free) == BURST


# A service account's key


async def test_the_project_of_a_key_is_that_of_its_account(stores: Stores, secret: str) -> None:
    key = READER.key_file(f"{stores.gcp.http}/token")
    client = await stores.open(KEY, credentials={"secretAccessKey": key}, projectID=None)
    assert await value(client, secret) == b"value"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no json", "is no JSON"),
        (b'{"type": "authorized_user"}', "is not the key file of a service account"),
        (b'{"type": "service_account", "token_uri": "x"}', "is a key file that is damaged"),
        (UNKNOWN.key_file("x", universe_domain="example.com"), "another universe"),
        (UNKNOWN.key_file("x", private_key="-----BEGIN"), "damaged|cannot be used"),
    ],
)
async def test_a_wrong_key_file_names_the_secret_and_the_key(
    stores: Stores, content: bytes, said: str
) -> None:
    with pytest.raises(AccessDenied, match=f'"key.json" of the Secret "google" .*({said})') as no:
        await stores.open(KEY, credentials={"secretAccessKey": content})
    assert "BEGIN" not in no.value.message


async def test_a_key_file_does_not_say_where_requests_go(stores: Stores) -> None:
    """Unless the store itself names another endpoint."""
    key = READER.key_file("https://example.com/token")
    with pytest.raises(AccessDenied, match="token_uri that is not Google's"):
        await stores.open(KEY, credentials={"secretAccessKey": key}, endpoint=None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Invalid JWT Signature.", "not, or no longer, one of its service account"),
        ("Invalid grant: account not found", "does not exist"),
        ("... in a reasonable timeframe. Check your iat and exp", "check the clock"),
        ("Account has been disabled", "is disabled"),
        ("something else", "Google does not accept the key"),
    ],
)
async def test_a_refused_key_says_why(stores: Stores, text: str, said: str) -> None:
    client = await stores.by_key()
    stores.gcp.fail_logins(kind="400", reason="invalid_grant", saying=text)
    message = await refusal(client)
    assert "refused the credentials" in message
    assert said in message
    assert text not in message


@pytest.mark.parametrize("hours", [-2, 2])
async def test_a_clock_that_is_off_is_said(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """The stand-in looks at when an assertion was made."""
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(hours=hours)
    monkeypatch.setattr("google.auth._helpers.utcnow", lambda: now)
    message = await refusal(await stores.by_key())
    assert "the time of the request is off; check the clock of the operator's node" in message


async def test_a_key_of_another_account_is_refused(stores: Stores) -> None:
    """The stand-in verifies the signature."""
    other = await stores.by_key(UNKNOWN, client_email=READER.email, private_key_id=READER.key_id)
    assert "not, or no longer, one of its service account" in await refusal(other)
    assert "does not exist" in await refusal(await stores.by_key(UNKNOWN))


async def test_a_token_endpoint_that_fails_is_no_refusal(stores: Stores, secret: str) -> None:
    client = await stores.by_key()
    stores.gcp.fail_logins(kind="502", reason="bad", times=1)
    with pytest.raises(ProviderUnavailable, match="OAuth 2 token endpoint had an internal error"):
        await client.check()
    assert await value(client, secret) == b"value"
    nowhere = await stores.open(
        KEY, credentials={"secretAccessKey": READER.key_file("http://127.0.0.1:1/token")}
    )
    with pytest.raises(ProviderUnavailable, match="OAuth 2 token endpoint cannot be reached"):
        await nowhere.check()


# Workload Identity Federation


def federated(**more: Any) -> dict[str, Any]:
    return {
        "workloadIdentityFederation": {
            "serviceAccountRef": {"name": "app"},
            "audience": AUDIENCE,
        }
        | more
    }


def trusted(gcp: Gcp, *, audiences: tuple[str, ...] = (AUDIENCE,)) -> None:
    gcp.trust(
        audience=AUDIENCE,
        issuer=ISSUER,
        key=KSA.public,
        audiences=list(audiences),
        principal=f"principal://iam.googleapis.com/{POOL}/subject/{{sub}}",
    )


async def test_a_service_account_is_the_principal_that_was_granted(
    stores: Stores, secret: str
) -> None:
    trusted(stores.gcp)
    stores.gcp.grant(principal=MEMBER)
    client = await stores.open(federated(), account=KSA, cluster_scoped=False)
    assert await value(client, secret) == b"value"
    (login,) = stores.gcp.logins
    assert (login["endpoint"], login["audience"]) == ("sts", AUDIENCE)
    assert login["claims"]["sub"] == "system:serviceaccount:payments:app"
    assert login["claims"]["aud"] == [AUDIENCE]
    assert KSA.asked == [(AUDIENCE,)]
    other = await stores.open(federated(), account=ClusterAccount(name="other"))
    assert "issuer or its keys" in await refusal(other), "the stand-in verifies the signature"


@pytest.mark.parametrize("where", ["field", "annotation"])
async def test_a_service_account_acts_as_one_of_google(
    stores: Stores, secret: str, where: str
) -> None:
    trusted(stores.gcp)
    stores.gcp.grant(principal=f"serviceAccount:{READER.email}")
    more = {"gcpServiceAccountEmail": READER.email} if where == "field" else {}
    if where == "annotation":
        KSA.annotations = {"iam.gke.io/gcp-service-account": READER.email}
    client = await stores.open(federated(**more), account=KSA)
    message = await refusal(client)
    assert f"may not act as the service account {READER.email}" in message
    assert f'grant roles/iam.workloadIdentityUser on it to "{MEMBER}"' in message

    stores.gcp.bind(email=READER.email, principal=MEMBER)
    before = len(stores.logins)
    await asyncio.gather(*(value(client, secret) for _ in range(10)))
    assert stores.logins[before:] == ["sts", "iam"]


async def test_a_clock_that_is_ahead_does_not_log_in_at_every_read(
    stores: Stores, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return dt.datetime.now(tz) + dt.timedelta(hours=2)

    monkeypatch.setattr(identity, "dt", SimpleNamespace(datetime=Ahead, UTC=dt.UTC))
    trusted(stores.gcp)
    stores.gcp.grant(principal=f"serviceAccount:{READER.email}")
    stores.gcp.bind(email=READER.email, principal=MEMBER)
    client = await stores.open(federated(gcpServiceAccountEmail=READER.email), account=KSA)
    for _ in range(5):
        assert await value(client, secret) == b"value"
    assert stores.logins == ["sts", "iam"]


async def test_a_token_may_have_further_audiences(stores: Stores, secret: str) -> None:
    trusted(stores.gcp, audiences=("https://example.com/pool",))
    message = await refusal(await stores.open(federated(), account=KSA))
    assert "does not accept the audience" in message
    reference = {"name": "app", "audiences": ["https://example.com/pool"]}
    client = await stores.open(federated(serviceAccountRef=reference), account=KSA)
    assert await value(client, secret) == b"value"
    assert KSA.asked[-1] == (AUDIENCE, "https://example.com/pool")


@pytest.mark.parametrize(
    ("reason", "text", "said"),
    [
        ("invalid_target", "", "there is no such workload identity pool or provider"),
        ("invalid_grant", "The issuer is not accepted", "issuer URI"),
        ("unauthorized_client", "rejected by the attribute condition.", "attribute condition"),
        ("invalid_grant", "ID Token is stale to sign-in.", "check the clock"),
        ("invalid_grant", "?", "does not accept the ServiceAccount's token"),
    ],
)
async def test_a_refused_exchange_says_why(
    stores: Stores, reason: str, text: str, said: str
) -> None:
    client = await stores.open(federated(), account=KSA)
    stores.gcp.fail_logins(kind="400", reason=reason, saying=text)
    assert said in await refusal(client)


async def test_a_token_that_kubernetes_does_not_make_is_told(stores: Stores) -> None:
    class Refusing(ClusterAccount):
        async def token(self, *_: Any, **__: Any) -> SecretValue:
            raise AccessDenied("The operator may not make tokens.")

    client = await stores.open(federated(), account=Refusing())
    assert await refusal(client) == "The operator may not make tokens."


# Workload Identity of GKE


async def test_a_service_account_of_gke_needs_no_account_of_google(
    stores: Stores, secret: str
) -> None:
    gke_trusted(stores.gcp)
    stores.gcp.grant(principal=GKE_MEMBER)
    client = await stores.open(gke(), account=KSA, cluster_scoped=False)
    assert await value(client, secret) == b"value"
    assert stores.logins == ["sts"]
    assert KSA.asked == [(GKE_POOL,)]


async def test_a_service_account_of_gke_acts_as_its_annotation_says(
    stores: Stores, secret: str
) -> None:
    gke_trusted(stores.gcp)
    stores.gcp.grant(principal=f"serviceAccount:{READER.email}")
    KSA.annotations = {"iam.gke.io/gcp-service-account": READER.email}
    client = await stores.open(gke(), account=KSA)
    assert f'roles/iam.workloadIdentityUser on it to "{GKE_MEMBER}"' in await refusal(client)
    stores.gcp.bind(email=READER.email, principal=GKE_MEMBER)
    assert await value(client, secret) == b"value"


async def test_cluster_and_project_are_learned_from_the_metadata_server(
    stores: Stores, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", stores.gcp.http.removeprefix("http://"))
    gke_trusted(stores.gcp)
    auth = {"workloadIdentity": {"serviceAccountRef": {"name": "app"}}}
    client = await stores.open(auth, account=KSA, projectID=None)
    assert "set clusterProjectID, clusterLocation and clusterName" in await refusal(client)
    stores.gcp.serve_metadata(cluster_name="blue", cluster_location="europe-west3")
    assert await value(client, secret) == b"value"


def gke() -> dict[str, Any]:
    return {
        "workloadIdentity": {
            "serviceAccountRef": {"name": "app"},
            "clusterProjectID": PROJECT,
            "clusterLocation": "europe-west3",
            "clusterName": "blue",
        }
    }


def gke_trusted(gcp: Gcp) -> None:
    provider = (
        f"https://container.googleapis.com/v1/projects/{PROJECT}/locations/europe-west3"
        "/clusters/blue"
    )
    gcp.trust(
        audience=f"identitynamespace:{GKE_POOL}:{provider}",
        issuer=ISSUER,
        key=KSA.public,
        audiences=[GKE_POOL],
        principal=f"serviceAccount:{GKE_POOL}[{{namespace}}/{{name}}]",
    )


# Configuration files


def cred_config(gcp: Gcp, **changed: Any) -> bytes:
    content = {
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{gcp.http}/v1/token",
        "credential_source": {"file": "/nowhere"},
    }
    return json.dumps(content | changed).encode()


CONFIG = {"workloadIdentityFederation": {"credConfig": {"name": "google", "key": "config.json"}}}


async def test_a_configuration_file_names_where_a_token_is(
    stores: Stores, secret: str, tmp_path: Path
) -> None:
    trusted(stores.gcp)
    path = tmp_path / "token"
    path.write_bytes((await KSA.token([AUDIENCE])).reveal())
    config = cred_config(stores.gcp, credential_source={"file": str(path)})
    client = await stores.open(CONFIG, credentials={"credConfig": config})
    assert await value(client, secret) == b"value"
    assert stores.logins == ["sts"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"type": "authorized_user"}, "is no configuration"),
        ({"credential_source": {"executable": {"command": "/bin/id"}}}, "neither a file nor a URL"),
        (
            {"credential_source": {"file": "/x", "executable": {"command": "/bin/id"}}},
            "executable, which is not allowed",
        ),
        ({"credential_source": {"url": "http://169.254.169.254/"}}, "externalTokenEndpoint"),
        ({"token_url": "https://example.com/v1/token"}, "has a token_url that is not"),
        (
            {"service_account_impersonation_url": "https://example.com/x:generateAccessToken"},
            "has a service_account_impersonation_url that is not",
        ),
        ({"universe_domain": "example.com"}, "another universe"),
    ],
)
async def test_a_configuration_file_is_not_believed_what_it_likes(
    stores: Stores, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(AccessDenied, match=r'"config\.json" of the ConfigMap "google"') as refused:
        await stores.open(CONFIG, credentials={"credConfig": cred_config(stores.gcp, **changed)})
    assert said in refused.value.message


# The operator's own identity


async def test_stores_share_the_identity_of_the_operators_pod(
    stores: Stores, secret: str, metadata_server: Callable[[str], None]
) -> None:
    metadata_server(READER.email)
    stores.gcp.grant(principal=f"serviceAccount:{READER.email}")
    one, two = await stores.open(None), await stores.open(None, projectID=None)
    assert await value(one, secret) == await value(two, secret) == b"value"
    assert stores.logins == ["metadata"]


async def test_the_operators_identity_may_be_a_file(
    stores: Stores, secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(READER.key_file(f"{stores.gcp.http}/token"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    client = await stores.open(None, projectID=None)
    assert await value(client, secret) == b"value"
    assert stores.logins == ["oauth2"]


async def test_an_operator_without_identity_says_so(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    from google.auth.compute_engine import _metadata

    monkeypatch.setattr(_metadata, "_NO_GCE_CHECK", True)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    client = await stores.open(None)
    with pytest.raises(ProviderError, match="No Google credentials are found") as raised:
        await client.check()
    assert isinstance(raised.value, AccessDenied)


@pytest.fixture
def metadata_server(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], None]:
    """Makes google-auth find the stand-in's metadata server; its address is read when imported."""
    from google.auth.compute_engine import _metadata

    def serve(email: str) -> None:
        host = stores.gcp.http.removeprefix("http://")
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        monkeypatch.setenv("GCE_METADATA_HOST", host)
        monkeypatch.setenv("GCE_METADATA_IP", host)
        monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", host)
        stores.gcp.serve_metadata(account=email)

    return serve
