"""Logins to Vault as identities of AWS and Google.

AWS auth is Vault's own, and asks moto who has signed. moto verifies no signature, so the request is
taken apart and signed once more here. Vault's GCP auth asks Google itself, so the proxy takes that
login, verifies it, and answers with a token that Vault made.
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from google.auth import crypt

from contract.proxy import Proxy, Reply, Request
from contract.vault import VaultHarness
from contract.vaultstores import SELECTOR, Account, Keys, Stores, keys, stores, works
from syncret.errors import AccessDenied
from testbed.moto import ACCESS_KEY, SECRET_KEY, Moto
from testbed.vault import AWS_PLUGIN

__all__ = ["keys", "stores"]


class Taken:
    """Logins at a path, taken apart; each is answered with a real token."""

    def __init__(self, vault: VaultHarness, path: str) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._vault = vault
        self._path = path
        vault.fault = self._take

    def _take(self, request: Request) -> Reply | None:
        if request.path != f"/v1/auth/{self._path}/login":
            return None
        self.bodies.append(request.json)
        token = self._vault.vault.make_token(policies=[self._vault.policy], ttl="1h")
        auth = {"client_token": token, "lease_duration": 3600, "renewable": True}
        return Reply(200, json.dumps({"auth": auth}).encode(), {"Content-Type": "application/json"})


def decoded(body: Mapping[str, str], name: str) -> str:
    return base64.b64decode(body[name]).decode()


def is_signed(body: Mapping[str, str], secret_key: str, token: str | None = None) -> bool:
    """Whether AWS would take the request: it is signed once more, and the signatures compared."""
    headers = {
        name: values[0] for name, values in json.loads(decoded(body, "iam_request_headers")).items()
    }
    given = headers.pop("Authorization")
    region = given.split("/")[2]
    access_key = given.split("Credential=")[1].split("/")[0]
    again = AWSRequest(
        method="POST",
        url=decoded(body, "iam_request_url"),
        data=decoded(body, "iam_request_body"),
        headers={
            k: v
            for k, v in headers.items()
            if k not in {"X-Amz-Date", "X-Amz-Security-Token", "Host"}
        },
    )
    signer = SigV4Auth(Credentials(access_key, secret_key, token), "sts", region)
    again.context["timestamp"] = headers["X-Amz-Date"]
    signer._modify_request_before_signing(again)
    text = signer.string_to_sign(again, signer.canonical_request(again))
    return bool(given.endswith(f"Signature={signer.signature(text, again)}"))


async def test_aws_iam_sends_a_signed_request_of_who_it_is(
    vault: VaultHarness, stores: Stores
) -> None:
    taken = Taken(vault, "aws")
    secret = {"accessKeyIDSecretRef": SELECTOR, "secretAccessKeySecretRef": SELECTOR}
    auth = {
        "vaultRole": "app",
        "region": "eu-central-1",
        "vaultAwsIamServerID": "vault.example.com",
        "secretRef": secret,
    }
    given = {"accessKeyID": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    await works(await stores({"iam": auth}, given))
    (body,) = taken.bodies
    assert (body["role"], body["iam_http_request_method"]) == ("app", "POST")
    assert decoded(body, "iam_request_url") == "https://sts.eu-central-1.amazonaws.com/"
    assert decoded(body, "iam_request_body") == "Action=GetCallerIdentity&Version=2011-06-15"
    headers = json.loads(decoded(body, "iam_request_headers"))
    assert headers["X-Vault-AWS-IAM-Server-ID"] == ["vault.example.com"]
    assert "x-vault-aws-iam-server-id" in headers["Authorization"][0]
    assert is_signed(body, SECRET_KEY)
    assert not is_signed(body, "another-key")
    assert SECRET_KEY not in json.dumps(body)


@pytest.fixture
def aws_mount(vault: VaultHarness, moto: Moto) -> str:
    """Vault's AWS auth, with moto for AWS, and a role for those whom moto names."""
    mount, call = f"aws-{uuid4().hex[:8]}", vault.vault.call
    vault.vault.enable(AWS_PLUGIN, mount)
    config = {
        "sts_endpoint": moto.endpoint,
        "sts_region": "eu-central-1",
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "iam_server_id_header_value": "vault.example.com",
    }
    call("POST", f"auth/{mount}/config/client", config)
    role = {
        "auth_type": "iam",
        "bound_iam_principal_arn": ["arn:aws:iam::123456789012:user/moto"],
        "resolve_aws_unique_ids": False,
        "token_policies": [vault.policy],
    }
    call("POST", f"auth/{mount}/role/app", role)
    return mount


async def test_aws_iam_is_accepted_by_vaults_own_method(stores: Stores, aws_mount: str) -> None:
    secret = {"accessKeyIDSecretRef": SELECTOR, "secretAccessKeySecretRef": SELECTOR}
    auth = {
        "path": aws_mount,
        "vaultRole": "app",
        "region": "eu-central-1",
        "vaultAwsIamServerID": "vault.example.com",
        "secretRef": secret,
    }
    given = {"accessKeyID": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    await works(await stores({"iam": auth}, given))
    for wrong in ({"vaultAwsIamServerID": "another"}, {"vaultRole": "nobody"}):
        refused = await stores({"iam": {**auth, **wrong}}, given)
        with pytest.raises(AccessDenied, match=r"refused the credentials of .*iam.*ServerID"):
            await refused.client.check()


async def test_aws_iam_takes_roles_by_a_service_account_and_on_top_of_it(
    vault: VaultHarness, stores: Stores, moto: Moto, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto.endpoint)
    taken = Taken(vault, "aws")
    role = "arn:aws:iam::123456789012:role"
    account = Account(keys.token, annotations={"eks.amazonaws.com/role-arn": f"{role}/app"})
    auth = {"vaultRole": "app", "jwt": {"serviceAccountRef": {"name": "app"}}}
    await works(await stores({"iam": auth}, account=account))
    await works(
        await stores(
            {"iam": {**auth, "role": f"{role}/reader", "externalID": "tenant"}}, account=account
        )
    )
    assert account.asked == [(("sts.amazonaws.com",), 600)] * 2
    for body in taken.bodies:
        assert "X-Amz-Security-Token" in json.loads(decoded(body, "iam_request_headers"))
    bare = await stores({"iam": auth}, account=Account(keys.token))
    with pytest.raises(AccessDenied, match=r"annotation eks\.amazonaws\.com/role-arn"):
        await bare.client.check()


async def test_google_sends_a_jwt_that_is_signed_for_the_role(
    vault: VaultHarness, stores: Stores, keys: Keys
) -> None:
    taken = Taken(vault, "gcp")
    auth = {"role": "app", "secretRef": {"secretAccessKeySecretRef": SELECTOR}}
    account = {"client_email": "app@project.example", "private_key": keys.pem}
    await works(await stores({"gcp": auth}, {"googleKey": json.dumps(account)}))
    (body,) = taken.bodies
    assert body["role"] == "app"
    public = crypt.RSAVerifier.from_string(keys.public)  # type: ignore[no-untyped-call]
    header, claims, signature = body["jwt"].split(".")
    assert public.verify(f"{header}.{claims}".encode(), _unpadded(signature))
    said = json.loads(_unpadded(claims))
    assert (said["sub"], said["aud"]) == ("app@project.example", "vault/app")
    assert 0 < said["exp"] - datetime.now(UTC).timestamp() <= 900
    wrong = await stores({"gcp": auth}, {"googleKey": "{}"})
    with pytest.raises(AccessDenied, match="JSON key of a Google service account"):
        await wrong.client.check()


async def test_google_tells_who_the_machine_is(
    vault: VaultHarness, stores: Stores, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its metadata server is a stand-in: no machine of Google is to be had."""
    from google.auth.compute_engine import _metadata

    taken, identity = Taken(vault, "gcp"), keys.token(["http://vault/app"])
    metadata = Proxy("http://127.0.0.1:9")

    def answered(request: Request) -> Reply:
        headers = {"Metadata-Flavor": "Google", "Content-Type": "application/json"}
        if "/default/identity" in request.path:
            return Reply(200, identity.encode(), {**headers, "Content-Type": "text/html"})
        return Reply(200, b'{"email": "app@project.example"}', headers)

    metadata.rules = [answered]
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", metadata.url.removeprefix("http://"))
    try:
        opened = await stores({"gcp": {"role": "app"}}, cluster_scoped=True)
        await works(opened)
    finally:
        metadata.close()
    assert taken.bodies == [{"role": "app", "jwt": identity}]
    asked = metadata.requests[-1].path
    assert "audience=http%3A%2F%2Fvault%2Fapp" in asked
    assert "format=full" in asked


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
