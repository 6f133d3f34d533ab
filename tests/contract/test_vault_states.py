"""What states of a Vault, and what stands before it, look like to those who read."""

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.harness import Fault
from contract.opened import bytes_of, fresh, story
from contract.proxy import Proxy, Reply, Request
from contract.vault import VaultHarness, error_reply
from contract.vaultstores import Stores, put, read, stores
from syncret.errors import ProviderRejected, ProviderUnavailable, SpecInvalid
from syncret.providers.base import Ref
from testbed.processes import Processes
from testbed.vault import Vault

__all__ = ["stores"]


@pytest.fixture
def sealed(processes: Processes) -> Iterator[Vault]:
    """A Vault of its own, sealed."""
    vault = Vault(processes, name="vault-sealed")
    vault.call("PUT", "sys/seal")
    yield vault
    vault.stop()


async def test_a_sealed_vault_is_told(vault: VaultHarness, stores: Stores, sealed: Vault) -> None:
    opened = await stores.with_token(server=sealed.address)
    for ask in (opened.client.check(), opened.client.fetch([Ref("app")])):
        with pytest.raises(ProviderUnavailable, match="is sealed: unseal it"):
            await ask


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (
            error_reply(500, "local node not active but active cluster node not found"),
            ProviderUnavailable,
            "standby",
        ),
        (error_reply(473), ProviderUnavailable, "standby"),
        (error_reply(501, "Vault is not initialized"), ProviderUnavailable, "not initialized"),
        (
            error_reply(400, "path disabled in replication DR secondary mode"),
            ProviderRejected,
            "disaster",
        ),
        (
            Reply(302, b"", {"Location": "https://elsewhere.example/"}),
            ProviderRejected,
            "another address",
        ),
        (
            Reply(403, b"<html>", {"Content-Type": "text/html"}),
            ProviderRejected,
            "not in Vault's words",
        ),
        (
            Reply(502, b"<html>", {"Content-Type": "text/html"}),
            ProviderUnavailable,
            "internal error",
        ),
    ],
    ids=["no active node", "standby", "new", "DR", "redirect", "proxy 403", "proxy 502"],
)
async def test_what_keeps_a_server_from_answering_is_told(
    vault: VaultHarness, stores: Stores, reply: Reply, kind: type[Exception], words: str
) -> None:
    opened = await stores.with_token()
    vault.fault = reply
    with pytest.raises(kind, match=words):
        await opened.client.check()


async def test_a_standby_that_lags_is_asked_again(vault: VaultHarness, stores: Stores) -> None:
    key = fresh()
    put(vault, key, {"a": "b"})
    opened = await stores.with_token()
    lagging = iter([error_reply(412, "required index state not present")] * 2)
    vault.fault = lambda _: next(lagging, None)
    assert bytes_of(await read(opened, key)) == b'{"a":"b"}'
    vault.fault = error_reply(412, "required index state not present")
    with pytest.raises(ProviderUnavailable, match="not caught up"):
        await read(opened, key)


async def test_a_standby_may_send_a_request_on_once(vault: VaultHarness, stores: Stores) -> None:
    key = fresh()
    put(vault, key, {"a": "b"})
    standby = Proxy(vault.vault.address)

    def onward(request: Request) -> Reply:
        return Reply(307, b"", {"Location": f"{vault.proxy.url}{request.path}"})

    try:
        standby.rules = [onward]
        opened = await stores.with_token(server=standby.url)
        assert bytes_of(await read(opened, key)) == b'{"a":"b"}'
        vault.fault = onward
        with pytest.raises(ProviderRejected, match="another address"):
            await opened.client.check()
    finally:
        standby.close()


async def test_no_request_is_sent_on_without_encryption(
    vault: VaultHarness, stores: Stores
) -> None:
    authority = vault.vault.authority
    shown = authority.server("standby")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(shown.cert, shown.key)
    standby = Proxy(vault.vault.address, tls=tls)
    standby.rules = [
        lambda request: Reply(307, b"", {"Location": f"{vault.proxy.url}{request.path}"})
    ]
    try:
        bundle = base64.b64encode(authority.ca.read_bytes()).decode()
        opened = await stores.with_token(server=standby.url, caBundle=bundle)
        with pytest.raises(ProviderRejected, match="another address"):
            await opened.client.check()
    finally:
        standby.close()
    assert len(standby.requests) == 1
    assert vault.requests == 0


async def test_headers_and_namespaces_are_sent(vault: VaultHarness, stores: Stores) -> None:
    """The free edition of Vault, which runs here, passes over namespaces."""
    opened = await stores.with_token(namespace="team/payments", headers={"X-Route": "blue"})
    await opened.client.check()
    sent = vault.proxy.requests[-1].headers
    assert (sent["X-Vault-Namespace"], sent["X-Route"]) == ("team/payments", "blue")
    assert sent["X-Vault-Request"] == "true"
    for name in ("X-Vault-Token", "Host", "authorization"):
        with pytest.raises(SpecInvalid, match="headers"):
            await stores.with_token(headers={name: "x"})


async def test_an_answer_without_end_is_cut_off(vault: VaultHarness, stores: Stores) -> None:
    opened = await stores.with_token()
    vault.fault = Reply(200, b"x" * (17 * 1024**2), {"Content-Type": "application/json"})
    with pytest.raises(ProviderRejected, match="larger than 16 MiB"):
        await opened.client.check()


async def test_the_environment_of_vaults_tools_is_passed_over(
    vault: VaultHarness, stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    monkeypatch.setenv("VAULT_TOKEN", "hvs.fake-token-of-the-environment")
    monkeypatch.setenv("VAULT_NAMESPACE", "elsewhere")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login nobody password fake")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    opened = await stores.with_app_role({"token_ttl": "1h"})
    await opened.client.check()
    assert all("Authorization" not in one.headers for one in vault.proxy.requests)
    assert all("X-Vault-Namespace" not in one.headers for one in vault.proxy.requests)
    assert all("fake" not in token for token in stores.tokens())


async def test_what_is_not_vault_has_no_secret_in_its_story(
    vault: VaultHarness, stores: Stores
) -> None:
    opened = await stores.with_token()
    vault.fail(Fault.NOT_THE_STORE, saying="hvs.fake-echo")
    with pytest.raises(ProviderRejected) as raised:
        await opened.client.check()
    assert "fake-echo" not in story(raised.value)
