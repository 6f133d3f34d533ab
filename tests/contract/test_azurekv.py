"""What only Azure Key Vault does: keys, certificates, states, its permissions and its lists."""

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from contract.azurekv import CLIENT, SECRET, AzureHarness, reply
from contract.azurelogins import Certificate
from contract.harness import Observations
from contract.opened import Opener, bytes_of
from contract.proxy import Reply, Request, Reset
from syncret.errors import (
    AccessDenied,
    ProviderRejected,
    ProviderUnavailable,
    Throttled,
)
from syncret.providers.azurekv.errors import CredentialsRefused
from syncret.providers.azurekv.timing import Timing
from syncret.providers.base import NotFound, Outcome, Query, Ref, SecretValue
from testbed.azurevault import Answer, error

DAY = 86_400


async def read(azure: AzureHarness, opener: Opener, *refs: Ref) -> list[Outcome]:
    """The outcomes, in the order of the references."""
    opened = await opener(azure)
    outcomes = await opened.client.fetch(refs)
    return [outcomes[ref] for ref in refs]


# Secrets


async def test_a_secret_tells_all_that_is_known_of_it(azure: AzureHarness, opener: Opener) -> None:
    end = int(time.time()) + DAY
    version = azure.vault.set_secret("password", "value", exp=end, tags={"team": "payments"})
    refs = [Ref("password"), Ref("secret/password", version), Ref("password", metadata=True)]
    (value, same, tags) = await read(azure, opener, *refs)
    assert isinstance(value, SecretValue)
    assert value.version == version
    assert value.expires is not None
    assert value.expires.timestamp() == end
    assert value.expires.tzinfo is not None
    assert value.tags == {"team": "payments"}
    assert same == value
    assert isinstance(tags, SecretValue)
    assert (tags.expires, tags.tags) == (value.expires, value.tags)
    password = "/secrets/password/"
    assert sorted(azure.asked) == [password, password, f"{password}{version}"]


async def test_a_disabled_secret_is_an_error_and_another_version_is_read(
    azure: AzureHarness, opener: Opener
) -> None:
    first = azure.vault.set_secret("password", "first")
    azure.vault.set_secret("password", "second", enabled=False)
    (current, pinned) = await read(azure, opener, Ref("password"), Ref("password", first))
    assert isinstance(current, ProviderRejected)
    assert "is disabled: enable it, or name another version" in current.message
    assert bytes_of(pinned) == b"first"


async def test_dates_are_told_and_keep_nobody_from_reading(
    azure: AzureHarness, opener: Opener
) -> None:
    """As Azure documents it: the dates of a secret are for information."""
    now = int(time.time())
    azure.vault.set_secret("old", "value", exp=now - DAY)
    azure.vault.set_secret("young", "value", nbf=now + DAY)
    (old, young) = await read(azure, opener, Ref("old"), Ref("young"))
    assert bytes_of(old) == bytes_of(young) == b"value"
    assert isinstance(old, SecretValue)
    assert old.expires is not None
    assert old.expires.timestamp() == now - DAY


async def test_a_recovered_secret_is_read_again(azure: AzureHarness, opener: Opener) -> None:
    azure.vault.set_secret("password", "value")
    azure.vault.delete("password")
    assert await read(azure, opener, Ref("password")) == [NotFound()]
    azure.vault.recover("password")
    (value,) = await read(azure, opener, Ref("password"))
    assert bytes_of(value) == b"value"


@pytest.mark.parametrize(
    "ref",
    [
        Ref("../keys/signing"),
        Ref("key/../secrets/password"),
        Ref("other/password"),
        Ref("secret/"),
        Ref(""),
        Ref("with.dots"),
        Ref("a" * 128),
        Ref("password", "latest"),
        Ref("password", "0" * 31),
    ],
)
async def test_what_no_vault_can_have_is_told_without_a_call(
    azure: AzureHarness, opener: Opener, ref: Ref
) -> None:
    opened = await opener(azure)
    outcome = (await opened.client.fetch([ref]))[ref]
    assert isinstance(outcome, ProviderRejected)
    assert azure.proxy.requests == []
    assert opened.observed.calls == []


# Keys and certificates


async def test_a_key_is_its_public_part(azure: AzureHarness, opener: Opener) -> None:
    first = azure.vault.set_key("signing")
    second = azure.vault.set_key("signing", tags={"team": "payments"})
    refs = [Ref("key/signing"), Ref("key/signing", first), Ref("key/signing", metadata=True)]
    (current, pinned, tags) = await read(azure, opener, *refs)
    assert isinstance(current, SecretValue)
    assert isinstance(pinned, SecretValue)
    assert (current.version, pinned.version) == (second, first)
    jwk = json.loads(current.reveal())
    assert set(jwk) == {"kid", "kty", "key_ops", "n", "e"}
    assert (jwk["kty"], jwk["e"]) == ("RSA", "AQAB")
    assert jwk["kid"] == f"{azure.vault.url}/keys/signing/{second}"
    RSAPublicNumbers(65537, int.from_bytes(_decoded(jwk["n"]), "big")).public_key()
    assert json.loads(bytes_of(tags)) == {"team": "payments"}
    assert bytes_of((await read(azure, opener, Ref("key/signing")))[0]) == current.reveal()


async def test_a_certificate_is_der_and_its_key_is_in_the_secret(
    azure: AzureHarness, opener: Opener
) -> None:
    old, new = Certificate(), Certificate()
    pfx = base64.b64encode(old.pfx).decode()
    first = azure.vault.set_certificate("tls", old.certificate, pfx, "application/x-pkcs12")
    end = int(time.time()) + DAY
    second = azure.vault.set_certificate(
        "tls", new.certificate, new.pem.decode(), "application/x-pem-file", exp=end
    )
    refs = [Ref("cert/tls"), Ref("cert/tls", first), Ref("secret/tls"), Ref("tls", first)]
    outcomes = await read(azure, opener, *refs)
    assert [bytes_of(one) for one in outcomes] == [new.der, old.der, new.pem, pfx.encode()]
    current = outcomes[0]
    assert isinstance(current, SecretValue)
    assert current.version == second
    assert current.expires is not None
    assert current.expires.timestamp() == end


async def test_keys_and_certificates_that_are_disabled_are_errors(
    azure: AzureHarness, opener: Opener
) -> None:
    """Azure gives them, other than secrets."""
    certificate = Certificate()
    first = azure.vault.set_key("signing")
    azure.vault.set_key("signing", enabled=False)
    azure.vault.set_certificate(
        "tls",
        certificate.certificate,
        certificate.pem.decode(),
        "application/x-pem-file",
        enabled=False,
    )
    refs = [Ref("key/signing"), Ref("cert/tls"), Ref("cert/tls", metadata=True), Ref("tls")]
    for outcome in await read(azure, opener, *refs):
        assert isinstance(outcome, ProviderRejected)
        assert "is disabled: enable it, or name another version" in outcome.message
    (pinned,) = await read(azure, opener, Ref("key/signing", first))
    assert json.loads(bytes_of(pinned))["kty"] == "RSA"


@pytest.mark.parametrize("kind", ["key", "cert"])
async def test_missing_keys_and_certificates_are_not_found(
    azure: AzureHarness, opener: Opener, kind: str
) -> None:
    refs = [Ref(f"{kind}/none"), Ref(f"{kind}/none", "0" * 32), Ref(f"{kind}/none", metadata=True)]
    assert await read(azure, opener, *refs) == [
        NotFound(),
        NotFound(version_missing=True),
        NotFound(),
    ]


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# Permissions


@pytest.mark.parametrize(
    ("rbac", "ref", "missing"),
    [
        (True, Ref("tls"), 'assign the role "Key Vault Secrets User" on the vault'),
        (True, Ref("key/tls"), 'assign the role "Key Vault Reader" on the vault'),
        (True, Ref("cert/tls"), 'assign the role "Key Vault Reader" on the vault'),
        (False, Ref("tls"), "give the identity the secret permission Get"),
        (False, Ref("key/tls"), "give the identity the key permission Get"),
        (False, Ref("cert/tls"), "give the identity the certificate permission Get"),
    ],
)
async def test_a_denial_names_what_is_missing(
    azure: AzureHarness, opener: Opener, rbac: bool, ref: Ref, missing: str
) -> None:
    azure.vault.rbac = rbac
    azure.vault.without = {"secrets/get", "keys/get", "certificates/get"}
    (outcome,) = await read(azure, opener, ref)
    assert isinstance(outcome, AccessDenied)
    assert not isinstance(outcome, CredentialsRefused)
    assert missing in outcome.message
    assert "11111111" not in outcome.message  # of Azure's own text


async def test_a_search_that_is_denied_names_what_is_missing(
    azure: AzureHarness, opener: Opener
) -> None:
    azure.vault.without = {"secrets/list"}
    opened = await opener(azure)
    with pytest.raises(AccessDenied, match='"Key Vault Secrets User"'):
        await opened.client.find(Query())
    azure.vault.rbac = False
    with pytest.raises(AccessDenied, match="the secret permission List"):
        await opened.client.find(Query())


@pytest.mark.parametrize("inner", ["ForbiddenByFirewall", "ForbiddenByConnection"])
async def test_a_closed_network_concerns_the_whole_store(
    azure: AzureHarness, opener: Opener, inner: str
) -> None:
    azure.vault.closed = inner
    opened = await opener(azure)
    with pytest.raises(ProviderUnavailable, match="refuses the operator's network"):
        await opened.client.fetch([Ref("a"), Ref("b")])
    with pytest.raises(ProviderUnavailable, match="refuses the operator's network"):
        await opened.client.check()


# The check


async def test_the_check_is_one_read_of_a_secret_that_need_not_exist(
    azure: AzureHarness, opener: Opener
) -> None:
    opened = await opener(azure)
    await opened.client.check()
    assert opened.observed.calls == [("GetSecret", "not_found")]
    azure.vault.set_secret("syncret-store-check", "value", enabled=False)
    await opened.client.check()
    assert azure.asked == ["/secrets/syncret-store-check/"] * 2


async def test_the_check_passes_if_only_keys_or_certificates_may_be_read(
    azure: AzureHarness, opener: Opener
) -> None:
    azure.vault.without = {"secrets/get", "certificates/get"}
    opened = await opener(azure)
    await opened.client.check()
    assert [word for _, word in opened.observed.calls] == ["denied", "denied", "not_found"]


async def test_the_check_of_an_identity_that_may_nothing_names_the_role(
    azure: AzureHarness, opener: Opener
) -> None:
    azure.vault.without = {"secrets/get", "certificates/get", "keys/get"}
    opened = await opener(azure)
    with pytest.raises(AccessDenied, match='the role "Key Vault Secrets User"') as raised:
        await opened.client.check()
    assert "the secret permission Get" in raised.value.message
    assert "syncret-store-check" in raised.value.message


# Searches


async def test_a_search_reads_pages_of_25_and_leaves_out_what_is_disabled(
    azure: AzureHarness, opener: Opener
) -> None:
    for number in range(60):
        azure.vault.set_secret(f"app-{number:02}", "value", enabled=number % 2 == 0)
    opened = await opener(azure)
    pages = [await opened.client.find(Query(path="app-"))]
    while pages[-1].more:
        pages.append(await opened.client.find(Query(path="app-"), page=pages[-1].more))
    assert [len(page.keys) for page in pages] == [13, 12, 5]
    assert [key for page in pages for key in page.keys] == [f"app-{n:02}" for n in range(0, 60, 2)]
    assert opened.observed.calls == [("GetSecrets", "ok")] * 3
    assert len(azure.asked) == 3


async def test_a_search_does_not_leave_the_vault(azure: AzureHarness, opener: Opener) -> None:
    body = {"value": [], "nextLink": "https://elsewhere.example.com/secrets?api-version=7.4"}
    azure.fault = lambda request: (
        reply(Answer.of(body)) if "Authorization" in request.headers else None
    )
    opened = await opener(azure)
    with pytest.raises(ProviderUnavailable):
        await opened.client.find(Query())


# Connections and answers that are odd


async def test_a_redirect_is_not_followed(azure: AzureHarness, opener: Opener) -> None:
    azure.vault.set_secret("password", "value")
    azure.fault = _to_readers(Reply(302, b"", {"Location": "/secrets/password/?api-version=7.4"}))
    (outcome,) = await read(azure, opener, Ref("password"))
    assert isinstance(outcome, ProviderRejected)
    assert "answered as Azure Key Vault does not" in outcome.message
    assert len(azure.asked) <= 3


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"null",
        b'"canary"',
        b'{"value": 7, "id": "canary"}',
        b'{"value": "canary"}',
        b'{"value": "canary", "id": 7, "attributes": {"created": "never"}}',
        b"\xff\xfe",
    ],
)
async def test_an_answer_of_another_shape_is_a_failure_of_ours(
    azure: AzureHarness, opener: Opener, body: bytes
) -> None:
    azure.fault = _to_readers(Reply(200, body, {"Content-Type": "application/json"}))
    opened = await opener(azure)
    with pytest.raises(ProviderUnavailable, match="not one of Azure") as raised:
        await opened.client.fetch([Ref("password")])
    assert "canary" not in raised.value.message
    with pytest.raises(ProviderUnavailable):
        await opened.client.fetch([Ref("cert/tls")])
    with pytest.raises(ProviderUnavailable):
        await opened.client.fetch([Ref("key/signing")])


async def test_half_a_surrogate_pair_is_no_error(azure: AzureHarness, opener: Opener) -> None:
    azure.vault.set_secret("password", "value")
    body = json.dumps(
        {"value": "\ud800 half", "id": f"{azure.vault.url}/secrets/password/{'0' * 32}"}
    )
    azure.fault = _to_readers(Reply(200, body.encode(), {"Content-Type": "application/json"}))
    (outcome,) = await read(azure, opener, Ref("password"))
    assert bytes_of(outcome).endswith(b" half")


async def test_a_connection_that_broke_is_tried_once_more(
    azure: AzureHarness, opener: Opener
) -> None:
    azure.vault.set_secret("password", "value")
    seen: list[str] = []

    def first_only(request: Request) -> Reset | None:
        if "Authorization" not in request.headers:
            return None
        seen.append(request.path)
        return Reset() if len(seen) == 1 else None

    azure.fault = first_only
    opened = await opener(azure, timing=Timing(connect=10, read=20, total=60))
    assert bytes_of((await opened.client.fetch([Ref("password")]))[Ref("password")]) == b"value"
    assert len(seen) == 2


async def test_throttled_requests_are_left_to_the_engine(
    azure: AzureHarness, opener: Opener
) -> None:
    azure.fault = _to_readers(reply(error(429, "Throttled", "", Retry_After="7")))
    opened = await opener(azure, timing=Timing(connect=10, read=20, total=60))
    with pytest.raises(Throttled, match="throttles"):
        await opened.client.fetch([Ref("password")])
    assert opened.observed.calls == [("GetSecret", "throttled")]


async def test_a_certificate_that_nobody_trusts_is_said(azure: AzureHarness) -> None:
    said = await _unreached(azure, caBundle=None)
    assert "No trusted TLS connection" in said
    other = Certificate().pem.decode()
    assert "No trusted TLS connection" in await _unreached(azure, caBundle=other)


async def test_a_vault_that_dns_does_not_know_is_said(azure: AzureHarness) -> None:
    said = await _unreached(azure, vaultUrl="https://nowhere.invalid")
    assert "The name of Azure Key Vault nowhere.invalid is not known: correct vaultUrl" in said


async def test_a_bundle_without_certificates_is_said(azure: AzureHarness) -> None:
    with pytest.raises(CredentialsRefused, match="The CA bundle"):
        await _unreached(azure, caBundle=base64.b64encode(b"nothing").decode())


async def _unreached(azure: AzureHarness, **change: Any) -> str:
    key = {"name": "azure", "key": "any"}
    spec: Mapping[str, Any] = (
        azure.spec(authSecretRef={"clientId": key, "clientSecret": key}) | change
    )
    credentials = {"clientId": CLIENT, "clientSecret": SECRET}
    client = await azure.client(spec, credentials, observe=Observations())
    with pytest.raises(ProviderUnavailable) as raised:
        await client.check()
    await client.close()
    return raised.value.message


def _to_readers(answer: Reply) -> Any:
    """The answer to requests that come with a token; the others are asked to log in."""
    return lambda request: answer if request.headers.get("Authorization") else None
