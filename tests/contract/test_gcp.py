"""What only GCP Secret Manager does: names, versions, concurrency, checksums, metadata, quotas."""

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest

from contract.gcp import PATIENT, GcpHarness
from contract.opened import Opened, Opener, bytes_of, fresh
from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
)
from syncret.providers.base import NotFound, Outcome, Query, Ref, SecretValue, Unchanged
from syncret.providers.gcp.budget import BURST
from syncret.providers.gcp.calls import Timing
from testbed.gcp.handle import PROJECT, PROJECT_NUMBER

ACCESS = "AccessSecretVersion"
LOOK = "GetSecretVersion"
VERSIONS = "ListSecretVersions"
SECRET = "GetSecret"


def named() -> str:
    return fresh(separator="-")


async def read(opened: Opened, ref: Ref, known: str = "") -> Outcome:
    outcomes = await opened.client.fetch([ref], known={ref: known} if known else {})
    return outcomes[ref]


# Names and versions


async def test_a_secret_has_a_short_and_a_full_name(gcp: GcpHarness, opener: Opener) -> None:
    key = named()
    gcp.put(key, b"first")
    gcp.put(key, b"second")
    gcp.gcp.describe(name=key, aliases={"blue": 1})
    opened = await opener(gcp)
    expected = {
        Ref(key): b"second",
        Ref(key, "latest"): b"second",
        Ref(key, "1"): b"first",
        Ref(key, "blue"): b"first",
        Ref(f"projects/{PROJECT}/secrets/{key}"): b"second",
        Ref(f"projects/{PROJECT_NUMBER}/secrets/{key}", "1"): b"first",
        Ref(f"projects/{PROJECT}/secrets/{key}/versions/1"): b"first",
    }
    outcomes = await opened.client.fetch(expected)
    assert {ref: bytes_of(outcome) for ref, outcome in outcomes.items()} == expected
    value = outcomes[Ref(key, "blue")]
    assert isinstance(value, SecretValue)
    assert value.version == "1", "an alias is resolved"
    assert gcp.gcp.requests[0]["routing"].startswith("name=projects/")


async def test_a_secret_of_another_project_is_read_by_its_full_name(
    gcp: GcpHarness, opener: Opener
) -> None:
    key = named()
    gcp.put(key, b"ours")
    gcp.gcp.put(key, b"theirs", parent="projects/other-project")
    opened = await opener(gcp)
    assert bytes_of(await read(opened, Ref(f"projects/other-project/secrets/{key}"))) == b"theirs"
    assert bytes_of(await read(opened, Ref(key))) == b"ours"


async def test_a_regional_store_reads_secrets_of_its_location(
    gcp: GcpHarness, opener: Opener
) -> None:
    key, parent = named(), f"projects/{PROJECT}/locations/europe-west3"
    gcp.gcp.put(key, b"regional", parent=parent)
    opened = await opener(gcp, location="europe-west3")
    assert bytes_of(await read(opened, Ref(key))) == b"regional"
    assert bytes_of(await read(opened, Ref(f"{parent}/secrets/{key}"))) == b"regional"
    found = await opened.client.find(Query(path=key))
    assert found.keys == (key,)
    assert gcp.gcp.requests[-1]["request"]["parent"] == parent
    elsewhere = await read(opened, Ref(f"projects/{PROJECT}/locations/us-east1/secrets/{key}"))
    assert isinstance(elsewhere, ProviderRejected)
    assert "us-east1" in elsewhere.message
    assert isinstance(await read(await opener(gcp), Ref(key)), NotFound)


@pytest.mark.parametrize("key", ["a/b", "projects/p/secrets", "ä", "", "x" * 256, "a.b"])
async def test_a_name_that_cannot_be_one_costs_no_call(
    gcp: GcpHarness, opener: Opener, key: str
) -> None:
    opened = await opener(gcp)
    outcome = await read(opened, Ref(key))
    assert isinstance(outcome, ProviderRejected)
    assert "is no name of a secret" in outcome.message
    impossible = await read(opened, Ref("fine", "0"))
    assert isinstance(impossible, ProviderRejected)
    assert (gcp.gcp.operations, gcp.gcp.logins, opened.observed.calls) == ([], [], [])


async def test_an_expired_secret_is_gone(gcp: GcpHarness, opener: Opener) -> None:
    key = named()
    gcp.put(key, b"value")
    gcp.gcp.describe(name=key, expires_in=0)
    assert await read(await opener(gcp), Ref(key)) == NotFound()


# Versions that are not enabled


@pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
async def test_a_disabled_latest_fails_unless_the_policy_says_otherwise(
    gcp: GcpHarness, opener: Opener, state: str
) -> None:
    key = named()
    for value in (b"first", b"second", b"third"):
        gcp.put(key, value)
    gcp.gcp.set_state(name=key, version="3", state=state)
    opened = await opener(gcp)
    outcome = await read(opened, Ref(key))
    assert isinstance(outcome, ProviderRejected)
    assert f"latest version is {state.lower()}" in outcome.message
    assert "LatestOrFetch" in outcome.message
    assert gcp.gcp.operations == [ACCESS]

    fetching = await opener(gcp, secretVersionSelectionPolicy="LatestOrFetch")
    instead = await read(fetching, Ref(key))
    assert isinstance(instead, SecretValue)
    assert (instead.reveal(), instead.version) == (b"second", "2")
    assert instead.created is not None, "the list of versions has told it"
    assert gcp.gcp.operations[1:] == [ACCESS, VERSIONS, ACCESS, SECRET]
    # An unchanged one costs two calls, which are free.
    same = await read(fetching, Ref(key), "2")
    assert same == Unchanged("2")
    assert isinstance(same, Unchanged)
    assert same.created == instead.created
    assert gcp.gcp.operations[5:] == [LOOK, VERSIONS]


async def test_without_an_enabled_version_there_is_nothing_to_fall_back_to(
    gcp: GcpHarness, opener: Opener
) -> None:
    key = named()
    gcp.put(key, b"value")
    gcp.gcp.set_state(name=key, version="1", state="DISABLED")
    opened = await opener(gcp, secretVersionSelectionPolicy="LatestOrFetch")
    outcome = await read(opened, Ref(key))
    assert isinstance(outcome, ProviderRejected)
    assert "no enabled version" in outcome.message
    await opened.client.check()


async def test_the_newest_enabled_version_may_be_far_back(gcp: GcpHarness, opener: Opener) -> None:
    key = named()
    for number in range(1, 121):
        gcp.put(key, str(number).encode())
        if number > 2:
            gcp.gcp.set_state(name=key, version=str(number), state="DESTROYED")
    opened = await opener(gcp, secretVersionSelectionPolicy="LatestOrFetch")
    assert bytes_of(await read(opened, Ref(key))) == b"2"
    assert gcp.gcp.operations == [ACCESS, VERSIONS, VERSIONS, ACCESS, SECRET]


async def test_a_pinned_version_that_is_destroyed_is_gone_and_a_disabled_one_is_not(
    gcp: GcpHarness, opener: Opener
) -> None:
    key = named()
    for value in (b"first", b"second", b"third"):
        gcp.put(key, value)
    gcp.gcp.set_state(name=key, version="1", state="DESTROYED")
    gcp.gcp.set_state(name=key, version="2", state="DISABLED")
    opened = await opener(gcp, secretVersionSelectionPolicy="LatestOrFetch")
    assert await read(opened, Ref(key, "1")) == NotFound(version_missing=True)
    assert await read(opened, Ref(key, "1"), "1") == NotFound(version_missing=True)
    disabled = await read(opened, Ref(key, "2"))
    assert isinstance(disabled, ProviderRejected)
    assert "the version 2 is disabled" in disabled.message


async def test_falling_back_needs_a_permission_that_is_named(
    gcp: GcpHarness, opener: Opener
) -> None:
    key = named()
    gcp.put(key, b"value")
    gcp.gcp.set_state(name=key, version="1", state="DISABLED")
    gcp.gcp.deny(permission="secretmanager.versions.list")
    opened = await opener(gcp, secretVersionSelectionPolicy="LatestOrFetch")
    outcome = await read(opened, Ref(key))
    assert isinstance(outcome, AccessDenied)
    assert "secretmanager.versions.list" in outcome.message


# Many at once


async def test_fifty_reads_are_under_way_at_the_same_time(gcp: GcpHarness, opener: Opener) -> None:
    """None of them is answered before all fifty have arrived."""
    keys = [named() for _ in range(50)]
    for key in keys:
        gcp.put(key, key.encode())
    gcp.gcp.arrange(barrier=50)
    opened = await opener(gcp, logins=True)
    results = await asyncio.gather(*(read(opened, Ref(key)) for key in keys))
    assert [bytes_of(result) for result in results] == [key.encode() for key in keys]
    assert gcp.gcp.peak == 50
    assert [login["endpoint"] for login in gcp.gcp.logins] == ["oauth2"]
    assert opened.observed.calls.count(("Token", "ok")) == 1


async def test_a_slow_store_does_not_hold_another_one(gcp: GcpHarness, opener: Opener) -> None:
    """They share a connection; there is no lock."""
    key = named()
    gcp.put(key, b"value")
    slow, other = await opener(gcp), await opener(gcp)
    gcp.gcp.fail(kind="hangs", operations=["ListSecrets"])
    waiting = asyncio.create_task(slow.client.find(Query()))
    while not gcp.gcp.operations:  # noqa: ASYNC110 - what is waited for knows no event loop
        await asyncio.sleep(0.01)
    assert bytes_of(await read(other, Ref(key))) == b"value"
    assert not waiting.done()
    gcp.gcp.release()
    await waiting


async def test_a_failing_store_is_not_asked_again_and_again(
    gcp: GcpHarness, opener: Opener
) -> None:
    opened = await opener(gcp)
    gcp.gcp.fail(kind="throttled", retry_after=1)
    with pytest.raises(ProviderError, match="throttles"):
        await opened.client.fetch([Ref(named()) for _ in range(300)])
    assert len(gcp.gcp.operations) <= 2 * opened.client.limits.concurrency


async def test_one_lost_connection_is_no_failure(gcp: GcpHarness, opener: Opener) -> None:
    key = named()
    gcp.put(key, b"value")
    opened = await opener(gcp, timing=Timing(call=20, connect=10, total=60))
    gcp.gcp.fail(kind="UNAVAILABLE", times=1)
    assert bytes_of(await read(opened, Ref(key))) == b"value"
    assert opened.observed.calls[:2] == [(ACCESS, "error"), (ACCESS, "ok")]


# Checksums


async def test_a_damaged_value_is_not_taken(gcp: GcpHarness, opener: Opener) -> None:
    good, bad = named(), named()
    gcp.put(good, b"value")
    gcp.gcp.put(bad, b"value", damaged=True)
    opened = await opener(gcp, timing=Timing(call=20, connect=10, total=60))
    outcomes = await opened.client.fetch([Ref(bad), Ref(good)])
    assert bytes_of(outcomes[Ref(good)]) == b"value"
    damaged = outcomes[Ref(bad)]
    assert isinstance(damaged, ProviderUnavailable)
    assert "checksum" in damaged.message
    assert gcp.gcp.operations.count(ACCESS) == 3, "it was read once more"


@pytest.mark.parametrize("operation", [ACCESS, LOOK, "GetSecret"])
async def test_an_empty_answer_is_not_taken_for_an_empty_value(
    gcp: GcpHarness, opener: Opener, operation: str
) -> None:
    key = named()
    gcp.put(key, b"value")
    gcp.gcp.fail(kind="empty", operations=[operation])
    opened = await opener(gcp)
    ref = Ref(key, metadata=operation == "GetSecret")
    if operation == LOOK:
        assert bytes_of(await read(opened, ref, "1")) == b"value"
        return
    with pytest.raises(ProviderUnavailable, match="not one of Secret Manager"):
        await opened.client.fetch([ref])


# Looking at versions for free


async def test_an_unchanged_value_is_not_read_and_a_changed_one_is(
    gcp: GcpHarness, opener: Opener
) -> None:
    key = named()
    gcp.put(key, b"first")
    opened = await opener(gcp)
    first = await read(opened, Ref(key))
    assert isinstance(first, SecretValue)
    same = await read(opened, Ref(key), first.version)
    assert same == Unchanged("1")
    assert isinstance(same, Unchanged)
    assert same.created is not None, "one made again under the same number has another time"
    gcp.put(key, b"second")
    second = await read(opened, Ref(key), first.version)
    assert isinstance(second, SecretValue)
    assert (second.reveal(), second.version) == (b"second", "2")
    assert second.created is not None, "the look has told it"
    assert gcp.gcp.operations[3:] == [LOOK, LOOK, ACCESS]
    assert sorted(gcp.gcp.operations[:3]) == [ACCESS, SECRET, LOOK]
    gcp.delete(key)
    assert await read(opened, Ref(key), "2") == NotFound()


async def test_without_the_permission_to_look_values_are_read(
    gcp: GcpHarness, opener: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    key, gone = named(), named()
    gcp.put(key, b"value")
    opened = await opener(gcp)
    # One secret that may be neither looked at nor read says nothing of the others.
    gcp.gcp.deny(permission="secretmanager.versions.get", name=gone)
    gcp.gcp.deny(permission="secretmanager.versions.access", name=gone)
    assert isinstance(await read(opened, Ref(gone), "1"), AccessDenied)
    assert await read(opened, Ref(key), "1") == Unchanged("1")

    gcp.gcp.deny(permission="secretmanager.versions.get")
    before = len(gcp.gcp.operations)
    for _ in range(3):
        assert bytes_of(await read(opened, Ref(key), "1")) == b"value"
    assert gcp.gcp.operations[before:] == [LOOK, ACCESS, ACCESS, ACCESS]
    told = [record for record in caplog.records if record.name == "syncret.providers.gcp"]
    assert len(told) == 1
    assert "roles/secretmanager.viewer" in told[0].getMessage()


async def test_looks_are_made_within_a_budget(gcp: GcpHarness, opener: Opener) -> None:
    key = named()
    gcp.put(key, b"value")
    opened = await opener(gcp)
    for _ in range(BURST + 40):
        await read(opened, Ref(key), "1")
    looks = gcp.gcp.operations.count(LOOK)
    reads = gcp.gcp.operations.count(ACCESS)
    assert looks + reads == BURST + 40
    assert looks + gcp.gcp.operations.count(SECRET) >= BURST
    assert reads > 0
    # A value for which there is no budget left comes without its times.
    other = named()
    gcp.put(other, b"value")
    assert bytes_of(await read(opened, Ref(other))) == b"value"


async def test_an_exceeded_quota_of_looks_fails_nothing(gcp: GcpHarness, opener: Opener) -> None:
    key = named()
    gcp.put(key, b"value")
    opened = await opener(gcp)
    gcp.gcp.fail(kind="throttled", retry_after=30, operations=[LOOK])
    for _ in range(3):
        assert bytes_of(await read(opened, Ref(key), "1")) == b"value"
    assert gcp.gcp.operations == [LOOK, ACCESS, ACCESS, ACCESS]


# Permissions and projects


async def test_a_denied_secret_names_role_and_permission(gcp: GcpHarness, opener: Opener) -> None:
    key = named()
    gcp.put(key, b"value")
    gcp.deny(key)
    for permission in ("secretmanager.secrets.get", "secretmanager.secrets.list"):
        gcp.gcp.deny(permission=permission)
    opened = await opener(gcp)
    denied = await read(opened, Ref(key))
    assert isinstance(denied, AccessDenied)
    assert "grant roles/secretmanager.secretAccessor" in denied.message
    assert "secretmanager.versions.access" in denied.message
    assert PROJECT_NUMBER not in denied.message
    labels = await read(opened, Ref(key, metadata=True))
    assert isinstance(labels, AccessDenied)
    assert "secretmanager.secrets.get" in labels.message
    with pytest.raises(AccessDenied, match=r"secretmanager\.secrets\.list"):
        await opened.client.find(Query())


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("SERVICE_DISABLED", "gcloud services enable secretmanager.googleapis.com"),
        ("CONSUMER_INVALID", "correct projectID"),
        ("BILLING_DISABLED", "billing"),
        ("USER_PROJECT_DENIED", "roles/serviceusage.serviceUsageConsumer"),
        ("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "cloud-platform"),
    ],
)
async def test_what_keeps_every_secret_from_being_read_fails_the_check(
    gcp: GcpHarness, opener: Opener, reason: str, said: str
) -> None:
    gcp.gcp.arrange(disabled=reason)
    opened = await opener(gcp)
    with pytest.raises(AccessDenied, match=said):
        await opened.client.check()
    with pytest.raises(AccessDenied, match=said):
        await opened.client.fetch([Ref(named()), Ref(named())])


async def test_the_check_passes_with_no_right_to_its_secret(
    gcp: GcpHarness, opener: Opener
) -> None:
    """Rights to some secrets only are good rights."""
    gcp.deny("syncret-store-check")
    opened = await opener(gcp)
    await opened.client.check()
    assert opened.observed.calls == [(ACCESS, "denied")]


# Searches


async def test_a_search_asks_for_full_pages_of_what_can_be_filtered(
    gcp: GcpHarness, opener: Opener
) -> None:
    prefix = f"{named()}-"
    keys = [f"{prefix}{number:04}" for number in range(2_100)]
    for key in keys:
        gcp.put(key, b"value")
    for key in keys[:3]:
        gcp.tag(key, {"team": "a", "odd": "ä-b"})
    opened = await opener(gcp)
    found: list[str] = []
    sizes, page = [], ""
    while True:
        one = await opened.client.find(Query(path=prefix), page=page)
        found += one.keys
        sizes.append(len(one.keys))
        page = one.more
        if not page:
            break
    assert sizes == [1000, 1000, 100]
    assert found == keys
    asked = gcp.gcp.requests[0]["request"]
    assert asked["parent"] == f"projects/{PROJECT}"
    assert (asked["page_size"], asked["filter"]) == (1000, f"name:{prefix}")

    async def filtered(*tags: tuple[str, str]) -> tuple[tuple[str, ...], str]:
        result = await opened.client.find(Query(path=prefix, tags=tags))
        return result.keys, str(gcp.gcp.requests[-1]["request"]["filter"])

    assert await filtered(("team", "a")) == (
        tuple(keys[:3]),
        f"name:{prefix} AND labels.team=a",
    )
    # What might be read as something else in a filter is looked for in the answers.
    first = (await opened.client.find(Query(path=prefix, tags=(("odd", "ä-b"),)))).keys
    assert first == tuple(keys[:3])
    assert gcp.gcp.requests[-1]["request"]["filter"] == f"name:{prefix}"
    await opened.client.find(Query(path='x" OR name:y'))
    assert gcp.gcp.requests[-1]["request"].get("filter", "") == ""


# What is not Secret Manager


async def _http1(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


async def _http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers ":status: 404" on every stream."""
    await reader.readexactly(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    writer.write(b"\0\0\0\4\0\0\0\0\0" + b"\0\0\0\4\1\0\0\0\0")  # settings, and an acknowledgement
    while True:
        head = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(head[:3], "big"))
        if head[3] == 1:  # headers: a request
            writer.write(b"\0\0\1\1\5" + head[5:9] + b"\x8d")


@pytest.mark.parametrize("serve", [_http1, _http2])
async def test_a_web_server_that_finds_nothing_is_not_believed(
    gcp: GcpHarness, opener: Opener, serve: Any
) -> None:
    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
            await reader.read()
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        opened = await opener(gcp, endpoint=url)
        with pytest.raises(ProviderRejected, match="answered as Google does not"):
            await opened.client.check()
        ref = Ref(named())
        assert isinstance((await opened.client.fetch([ref]))[ref], ProviderRejected)
    finally:
        server.close()


async def test_what_cannot_be_reached_says_why(gcp: GcpHarness, opener: Opener) -> None:
    plain = gcp.gcp.endpoint.replace("http://", "https://")
    for endpoint, said in (
        (plain, "No trusted TLS connection"),
        ("http://secretmanager.invalid:443", "not known to DNS"),
    ):
        opened = await opener(gcp, endpoint=endpoint, timing=PATIENT)
        with pytest.raises(ProviderUnavailable, match=said):
            await opened.client.check()
