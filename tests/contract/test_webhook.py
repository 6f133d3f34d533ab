"""What only a webhook does: placeholders, ETags, redirects, and addresses that are refused."""

import socket
from collections.abc import Iterator

import pytest
from aiohttp.resolver import ThreadedResolver

from contract.harness import Observations
from contract.opened import bytes_of, fresh
from contract.proxy import Proxy, Reply
from contract.webhook import WebhookHarness
from syncret.errors import AccessDenied, ProviderError, ProviderRejected, StoreInvalid
from syncret.providers.base import NotFound, Query, Ref, SecretValue, Unchanged
from syncret.providers.bounds import Bounds
from syncret.providers.webhook.provider import WebhookProvider
from testbed.jsonapi import TOKEN, JsonApi


@pytest.fixture
def webhook(json_api: JsonApi) -> Iterator[WebhookHarness]:
    harness = WebhookHarness(json_api)
    yield harness
    harness.close()


async def test_an_unchanged_secret_is_not_sent_again(webhook: WebhookHarness) -> None:
    ref = Ref(fresh())
    webhook.put(ref.key, b"first")
    observed = Observations()
    client = await webhook.open(observed)
    first = (await client.fetch([ref]))[ref]
    assert isinstance(first, SecretValue)
    assert (await client.fetch([ref], known={ref: first.version}))[ref] == Unchanged("1")
    assert webhook.proxy.requests[-1].headers["If-None-Match"]
    webhook.put(ref.key, b"second")
    assert bytes_of((await client.fetch([ref], known={ref: first.version}))[ref]) == b"second"
    assert observed.outcomes == ["ok", "ok", "ok"]
    # Another version than the one that came with the ETag: the ETag says nothing about it.
    await client.fetch([ref], known={ref: "1"})
    assert "If-None-Match" not in webhook.proxy.requests[-1].headers
    await client.close()


async def test_the_etag_itself_is_not_shown(webhook: WebhookHarness) -> None:
    """It is a hash of the value, with many servers."""
    ref = Ref(fresh())
    webhook.put(ref.key, b"first")
    client = await webhook.open(Observations(), result={"jsonPath": "$.value"})
    value = (await client.fetch([ref]))[ref]
    assert isinstance(value, SecretValue)
    assert value.version.startswith("etag-")
    again = (await client.fetch([ref], known={ref: value.version}))[ref]
    await client.close()
    assert again == Unchanged(value.version)
    assert value.created is not None


async def test_the_version_is_the_same_after_a_restart(webhook: WebhookHarness) -> None:
    bounds = Bounds.of(webhook_hosts=[webhook.proxy.url], digest_key=b"k" * 32)
    ref = Ref(fresh())
    webhook.put(ref.key, b"first")
    versions = []
    for _ in range(2):
        provider = WebhookProvider(bounds)
        config = provider.parse(
            {
                "url": f"{webhook.proxy.url}/v1/secret?key={{{{ key }}}}",
                "headers": {"Authorization": f"Bearer {TOKEN}"},
            },
            cluster_scoped=False,
        )
        client = await provider.open(config, {}, observe=Observations())
        value = (await client.fetch([ref]))[ref]
        await client.close()
        assert isinstance(value, SecretValue)
        assert bytes_of(value).startswith(b"{"), "without result, it is the whole answer"
        versions.append(value.version)
    assert versions[0] == versions[1]


async def test_a_redirect_is_not_followed(webhook: WebhookHarness) -> None:
    webhook.fault = Reply(302, b"", {"Location": "http://169.254.169.254/latest/meta-data"})
    client = await webhook.open(Observations())
    ref = Ref(fresh())
    outcome = (await client.fetch([ref]))[ref]
    await client.close()
    assert isinstance(outcome, ProviderRejected)
    assert "redirect (HTTP 302), which is not followed" in outcome.message
    assert webhook.requests == 1


async def test_404_is_a_missing_secret_only_where_the_store_says_so(
    webhook: WebhookHarness,
) -> None:
    ref = Ref(fresh())
    client = await webhook.open(Observations(), notFoundStatus=None)
    outcome = (await client.fetch([ref]))[ref]
    await client.close()
    assert isinstance(outcome, ProviderRejected)
    assert "set notFoundStatus" in outcome.message


async def test_an_answer_without_the_path_is_not_a_missing_secret(webhook: WebhookHarness) -> None:
    ref = Ref(fresh())
    webhook.put(ref.key, b"value")
    client = await webhook.open(Observations(), result={"jsonPath": "$.data.value"})
    outcome = (await client.fetch([ref]))[ref]
    await client.close()
    assert isinstance(outcome, ProviderRejected)
    assert "nothing at result.jsonPath" in outcome.message


async def test_an_answer_has_an_end(webhook: WebhookHarness) -> None:
    webhook.fault = Reply(200, b" " * (9 * 1024 * 1024))
    client = await webhook.open(Observations())
    ref = Ref(fresh())
    outcome = (await client.fetch([ref]))[ref]
    await client.close()
    assert isinstance(outcome, ProviderRejected)
    assert "more than" in outcome.message


async def test_what_it_cannot_do_is_said(webhook: WebhookHarness) -> None:
    ref = Ref(fresh())
    webhook.put(ref.key, b"value")
    url = f"{webhook.proxy.url}/v1/secret?key={{{{ key }}}}"
    client = await webhook.open(Observations(), url=url)
    pinned, tags = Ref(ref.key, "1"), Ref(ref.key, metadata=True)
    outcomes = await client.fetch([ref, pinned, tags])
    assert bytes_of(outcomes[ref]) == b"value"
    assert isinstance(outcomes[pinned], ProviderRejected)
    assert isinstance(outcomes[tags], ProviderRejected)
    with pytest.raises(ProviderRejected, match="cannot be searched"):
        await client.find(Query())
    await client.close()


async def test_a_secret_that_would_break_the_request_is_named(webhook: WebhookHarness) -> None:
    provider = WebhookProvider(Bounds.of(webhook_hosts=[webhook.proxy.url]))
    config = provider.parse(
        {
            "url": f"{webhook.proxy.url}/v1/secret?key={{{{ key }}}}",
            "headers": {"Authorization": "Bearer {{ secrets.token }}"},
            "secrets": [{"name": "token", "secretRef": {"name": "api", "key": "token"}}],
        },
        cluster_scoped=False,
    )
    canary = b"canary\r\nX-Injected: yes"
    client = await provider.open(
        config, {"secrets.token": SecretValue(canary)}, observe=Observations()
    )
    ref = Ref(fresh())
    with pytest.raises(AccessDenied) as raised:
        await client.fetch([ref])
    await client.close()
    assert 'the secret "token" holds control characters' in raised.value.message
    assert "canary" not in raised.value.message
    assert webhook.requests == 0


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/{{ key }}",
        "https://localhost/{{ key }}",
        "https://169.254.169.254/{{ key }}",
    ],
)
async def test_a_host_that_is_not_listed_is_refused(url: str) -> None:
    for listed in ([], ["api.example.com"]):
        provider = WebhookProvider(Bounds.of(webhook_hosts=listed))
        config = provider.parse({"url": url}, cluster_scoped=True)
        with pytest.raises(StoreInvalid, match="--webhook-hosts"):
            await provider.open(config, {}, observe=Observations())


async def test_a_listed_name_that_leads_here_is_not_called(webhook: WebhookHarness) -> None:
    """As a name does whose owner has pointed it elsewhere meanwhile: "localhost" is one."""
    port = webhook.proxy.url.rpartition(":")[2]
    outcomes = {}
    for listed in ([], ["127.0.0.0/8", "::1/128"]):
        provider = WebhookProvider(Bounds.of(webhook_hosts=[f"http://localhost:{port}", *listed]))
        config = provider.parse(
            {"url": f"http://localhost:{port}/v1/secret?key={{{{ key }}}}", "notFoundStatus": 404},
            cluster_scoped=False,
        )
        client = await provider.open(config, {}, observe=Observations())
        try:
            await client.check()
        except ProviderError as error:
            outcomes[bool(listed)] = error
        await client.close()
        if not listed:
            assert webhook.requests == 0, "no connection was made"
    assert "leads to an address that is not public" in outcomes[False].message
    assert "refused the credentials" in outcomes[True].message, "it was called"


async def test_a_connection_is_refused_whatever_the_resolver_says(
    webhook: WebhookHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name may lead elsewhere between two questions: what counts is where a socket goes."""
    monkeypatch.setattr(
        "syncret.providers.webhook.provider.CheckedResolver", lambda _: ThreadedResolver()
    )
    port = webhook.proxy.url.rpartition(":")[2]
    provider = WebhookProvider(Bounds.of(webhook_hosts=[f"http://localhost:{port}"]))
    config = provider.parse(
        {"url": f"http://localhost:{port}/{{{{ key }}}}", "notFoundStatus": 404},
        cluster_scoped=False,
    )
    client = await provider.open(config, {}, observe=Observations())
    with pytest.raises(ProviderRejected, match="an address that is not public"):
        await client.check()
    await client.close()
    assert webhook.requests == 0


async def test_proxies_of_the_environment_are_passed_over(
    webhook: WebhookHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a proxy sends a request on to, nobody can hold against the list."""
    elsewhere = Proxy(webhook.api.url)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, elsewhere.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    try:
        client = await webhook.open(Observations())
        await client.check()
        await client.close()
    finally:
        elsewhere.close()
    assert (webhook.requests, elsewhere.requests) == (1, [])


def test_the_last_look_is_at_the_address_itself() -> None:
    hosts = Bounds.of(webhook_hosts=["api.example.com"]).webhook_hosts
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))
    with pytest.raises(OSError, match="refused"):
        hosts.sockets(info)
    hosts.sockets((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 443))).close()


async def test_a_missing_secret_is_told_by_the_api(webhook: WebhookHarness) -> None:
    client = await webhook.open(Observations())
    ref = Ref(fresh())
    assert (await client.fetch([ref]))[ref] == NotFound()
    await client.check()
    await client.close()
