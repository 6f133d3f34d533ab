"""How stores of Vault log in: every method that runs here, each against the real one.

Not here: Kubernetes auth, whose logins need an API server (``tests/integration/test_vault.py``),
and the identities of clouds (``test_vault_clouds.py``).
"""

import asyncio
import base64
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest

from contract.harness import Fault
from contract.opened import story
from contract.proxy import Reply
from contract.vault import VaultHarness, error_reply
from contract.vaultstores import SELECTOR, Account, Keys, Stores, keys, stores, works
from support.pki import Issuer
from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
    SpecInvalid,
)
from syncret.providers.vault.provider import VaultProvider

__all__ = ["keys", "stores"]


# AppRole


async def test_app_role(stores: Stores) -> None:
    mount, role_id, secret_id = stores.app_role({"token_ttl": "1h"})
    by_text = {"path": mount, "roleId": role_id, "secretRef": SELECTOR}
    by_ref = {"path": mount, "roleRef": SELECTOR, "secretRef": SELECTOR}
    given = {"secretId": f"{secret_id}\n"}
    await works(await stores({"appRole": by_text}, given))
    await works(await stores({"appRole": by_ref}, {**given, "roleId": role_id}))
    wrong = await stores({"appRole": by_text}, {"secretId": "fake-secret-id"})
    with pytest.raises(AccessDenied, match=r"refused the credentials of .*appRole.*secret id"):
        await wrong.client.check()
    assert wrong.observed.calls == [("Login", "denied")]


async def test_no_secret_of_a_login_gets_into_logs_or_errors(
    vault: VaultHarness, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    """At the lowest level of the root logger and with asyncio in debug mode."""
    caplog.set_level(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0  # asyncio logs the repr of everything that it runs
    mount, role_id, secret_id = stores.app_role({"token_ttl": "1h"})
    auth = {"appRole": {"path": mount, "roleId": role_id, "secretRef": SELECTOR}}
    opened = await stores(auth, {"secretId": secret_id})
    await opened.client.check()
    (token,) = stores.tokens()
    told = ""
    for fault in (Fault.NOT_JSON, Fault.RESET, Fault.INTERNAL_ERROR):
        other = await stores(auth, {"secretId": secret_id})
        vault.fail(fault, saying=f"{secret_id} {token}")
        with pytest.raises(ProviderError) as raised:
            await other.client.check()
        assert raised.value.__context__ is None
        told += story(raised.value)
        vault.fail(None)
    assert any(record.name == "asyncio" for record in caplog.records)
    assert secret_id not in caplog.text + told
    assert token not in caplog.text + told


@pytest.mark.parametrize("value", [b"", b" \n", b"two\nlines", b"\xff\xfe"])
async def test_a_credential_that_is_no_text_is_not_sent(stores: Stores, value: bytes) -> None:
    opened = await stores({"tokenSecretRef": SELECTOR}, {"token": value})
    with pytest.raises(AccessDenied, match='key "any" of the Secret "vault"'):
        await opened.client.check()
    assert stores.tokens() == []


async def test_a_method_that_is_not_there_is_told(stores: Stores) -> None:
    auth = {"path": "nowhere", "roleId": "r", "secretRef": SELECTOR}
    opened = await stores({"appRole": auth}, {"secretId": "s"})
    with pytest.raises(AccessDenied, match="an auth method is mounted at auth/nowhere"):
        await opened.client.check()


async def test_what_fails_at_the_login_is_told_as_elsewhere(
    vault: VaultHarness, stores: Stores
) -> None:
    mount, role_id, secret_id = stores.app_role({})
    auth = {"appRole": {"path": mount, "roleId": role_id, "secretRef": SELECTOR}}
    opened = await stores(auth, {"secretId": secret_id})
    vault.fault = error_reply(503, "Vault is sealed")
    with pytest.raises(ProviderUnavailable, match="sealed"):
        await opened.client.check()
    vault.fault = Reply(200, b'{"data": null}', {"Content-Type": "application/json"})
    with pytest.raises(ProviderUnavailable, match="not one of Vault"):
        await opened.client.check()
    vault.fault = Reply(403, b"<html>", {"Content-Type": "text/html"})
    with pytest.raises(ProviderRejected, match="not in Vault's words"):
        await opened.client.check()
    vault.fault = None
    await works(opened)


# Users


async def test_user_and_password(vault: VaultHarness, stores: Stores) -> None:
    mount, password = f"userpass-{uuid4().hex[:8]}", f"pässword {secrets.token_hex(8)}"
    vault.vault.enable("userpass", mount)
    user = {"password": password, "token_policies": [vault.policy]}
    vault.vault.call("POST", f"auth/{mount}/users/app", user)
    auth = {"path": mount, "username": "app", "secretRef": SELECTOR}
    await works(await stores({"userPass": auth}, {"password": password}))
    wrong = await stores({"userPass": auth}, {"password": "fake"})
    with pytest.raises(AccessDenied, match=r"refused the credentials of .*userPass"):
        await wrong.client.check()


# JWT


@pytest.fixture
def jwt_mount(vault: VaultHarness, keys: Keys) -> str:
    mount = f"jwt-{uuid4().hex[:8]}"
    vault.vault.enable("jwt", mount)
    config = {"jwt_validation_pubkeys": [keys.public], "default_role": "app"}
    vault.vault.call("POST", f"auth/{mount}/config", config)
    role = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["vault"],
        "bound_subject": "payments",
        "token_policies": [vault.policy],
    }
    vault.vault.call("POST", f"auth/{mount}/role/app", role)
    return mount


async def test_a_jwt_out_of_a_secret(stores: Stores, jwt_mount: str, keys: Keys) -> None:
    auth = {"path": jwt_mount, "role": "app", "secretRef": SELECTOR}
    await works(await stores({"jwt": auth}, {"jwt": keys.token(["vault"])}))
    wrong = await stores({"jwt": auth}, {"jwt": keys.token(["another"])})
    with pytest.raises(AccessDenied, match=r"refused the credentials of .*jwt.*audiences"):
        await wrong.client.check()
    for skew in (-7200, 7200):
        other = await stores({"jwt": auth}, {"jwt": keys.token(["vault"], skew=skew)})
        with pytest.raises(AccessDenied, match="has not expired and the clocks agree"):
            await other.client.check()
    unnamed = {"path": jwt_mount, "secretRef": SELECTOR}
    await works(await stores({"jwt": unnamed}, {"jwt": keys.token(["vault"])}))


async def test_a_jwt_of_a_service_account(stores: Stores, jwt_mount: str, keys: Keys) -> None:
    account = Account(keys.token)
    token = {"serviceAccountRef": {"name": "app"}}
    auth = {"path": jwt_mount, "role": "app", "kubernetesServiceAccountToken": token}
    await works(await stores({"jwt": auth}, account=account))
    named = {"serviceAccountRef": {"name": "app"}, "audiences": ["x"], "expirationSeconds": 900}
    opened = await stores(
        {"jwt": {**auth, "kubernetesServiceAccountToken": named}}, account=account
    )
    with pytest.raises(AccessDenied):
        await opened.client.check()
    # Never a token for the API server: whoever is sent one could act in the cluster.
    assert account.asked == [(("vault",), 600), (("x",), 900)]


async def test_a_service_account_without_a_token_is_told(stores: Stores, jwt_mount: str) -> None:
    def refused(_: Sequence[str]) -> str:
        raise AccessDenied("The operator may not make tokens.")

    token = {"serviceAccountRef": {"name": "app"}}
    auth = {"path": jwt_mount, "role": "app", "kubernetesServiceAccountToken": token}
    opened = await stores({"jwt": auth}, account=Account(refused))
    with pytest.raises(AccessDenied, match="may not make tokens"):
        await opened.client.check()
    assert stores.logins() == []


# Certificates and TLS


@pytest.fixture
def pair(vault: VaultHarness) -> dict[str, bytes]:
    """A client certificate of Vault's own authority, by the names that stores have for it."""
    made = vault.vault.authority.client(f"app-{uuid4().hex[:8]}", "app")
    return {"cert": made.cert.read_bytes(), "key": made.key.read_bytes()}


def ca_of(vault: VaultHarness) -> bytes:
    return vault.vault.authority.ca.read_bytes()


def bundle_of(vault: VaultHarness) -> str:
    return base64.b64encode(ca_of(vault)).decode()


async def test_a_client_certificate_logs_in(
    vault: VaultHarness, stores: Stores, pair: Mapping[str, bytes]
) -> None:
    mount = f"cert-{uuid4().hex[:8]}"
    vault.vault.enable("cert", mount)
    role = {"certificate": ca_of(vault).decode(), "token_policies": [vault.policy]}
    vault.vault.call("POST", f"auth/{mount}/certs/app", role)
    auth = {"path": mount, "clientCert": SELECTOR, "secretRef": SELECTOR}
    how: dict[str, Any] = {"server": vault.vault.tls_address, "caBundle": bundle_of(vault)}
    shown = {"clientCert": pair["cert"], "clientKey": pair["key"]}
    await works(await stores({"cert": auth}, shown, **how))
    await works(await stores({"cert": {**auth, "vaultRole": "app"}}, shown, **how))
    stranger = Issuer("stranger")
    other = {"clientCert": stranger.pem.encode(), "clientKey": stranger.key_pem.encode()}
    refused = await stores({"cert": auth}, other, **how)
    with pytest.raises(AccessDenied, match=r"refused the credentials of .*cert"):
        await refused.client.check()
    with pytest.raises(AccessDenied, match="belong together"):
        await stores({"cert": auth}, {**shown, "clientKey": other["clientKey"]}, **how)
    with pytest.raises(SpecInvalid, match="https"):
        await stores({"cert": auth}, shown)


async def test_only_the_named_authority_is_trusted(vault: VaultHarness, stores: Stores) -> None:
    how: dict[str, Any] = {"server": vault.vault.tls_address}
    await (await stores.with_token(**how, caBundle=bundle_of(vault))).client.check()
    provided = await stores(
        {"tokenSecretRef": SELECTOR},
        {"token": vault.token, "ca": ca_of(vault)},
        **how,
        caProvider={"type": "ConfigMap", "name": "ca", "key": "ca.crt"},
    )
    await provided.client.check()
    for other in (None, base64.b64encode(Issuer("other").pem.encode()).decode()):
        opened = await stores.with_token(**how, caBundle=other)
        with pytest.raises(ProviderUnavailable, match="No trusted TLS connection"):
            await opened.client.check()
    wrong_host = vault.vault.tls_address.replace("localhost", "127.0.0.2")
    opened = await stores.with_token(server=wrong_host, caBundle=bundle_of(vault))
    with pytest.raises(ProviderUnavailable):
        await opened.client.check()


async def test_a_server_that_demands_a_certificate_is_shown_one(
    vault: VaultHarness, stores: Stores, pair: Mapping[str, bytes]
) -> None:
    how: dict[str, Any] = {"server": vault.vault.mutual_address, "caBundle": bundle_of(vault)}
    bare = await stores.with_token(**how)
    with pytest.raises(ProviderUnavailable):
        await bare.client.check()
    opened = await stores(
        {"tokenSecretRef": SELECTOR},
        {"token": vault.token, "tlsCert": pair["cert"], "tlsKey": pair["key"]},
        **how,
        tls={"certSecretRef": SELECTOR, "keySecretRef": SELECTOR},
    )
    await opened.client.check()


# The operator's own identity


async def test_the_operators_own_token_is_read_at_each_login(
    vault: VaultHarness, stores: Stores, tmp_path: Any, jwt_mount: str, keys: Keys
) -> None:
    """Against the method jwt, which takes the same login as kubernetes."""
    file = tmp_path / "token"
    provider = VaultProvider(own_token=file)
    auth = {"kubernetes": {"mountPath": jwt_mount, "role": "app"}}
    opened = await stores(auth, provider=provider, cluster_scoped=True)
    with pytest.raises(AccessDenied, match="No token of the operator's own ServiceAccount"):
        await opened.client.check()
    file.write_text(f"{keys.token(['vault'])}\n")
    await works(opened)


@pytest.mark.parametrize(
    "auth",
    [
        {"kubernetes": {"role": "app"}},
        {"iam": {"vaultRole": "app"}},
        {"gcp": {"role": "app"}},
    ],
    ids=["kubernetes", "iam", "gcp"],
)
async def test_the_operators_identity_is_no_secret_stores_to_send(
    stores: Stores, auth: Mapping[str, Any]
) -> None:
    with pytest.raises(SpecInvalid, match="only by a ClusterSecretStore"):
        await stores(auth)
    provider = VaultProvider()
    spec = {"server": "https://vault.example.com", "auth": auth}
    assert provider.ambient(provider.parse(spec, cluster_scoped=True))
