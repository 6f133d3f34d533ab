"""What every provider keeps, whatever its store: see ``providers/base.py``.

A test here speaks of references, outcomes and the observer only. What a single store does goes
into ``test_<provider>.py``.
"""

import asyncio
import json
import logging
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contract.harness import RETRY_AFTER, Ability, Fault, Identity, ProviderHarness, lacks
from contract.opened import Opened, Opener, bytes_of, fresh, story
from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    Throttled,
)
from syncret.providers.base import NotFound, Query, Ref, SecretValue, Unchanged
from syncret.providers.registry import NAMES, provider

#: What each fault is to be seen as, by the engine and in metrics.
FAULTS: dict[Fault, tuple[type[ProviderError], str]] = {
    Fault.THROTTLED: (Throttled, "throttled"),
    Fault.INTERNAL_ERROR: (ProviderUnavailable, "error"),
    Fault.HANGS: (ProviderTimeout, "timeout"),
    Fault.RESET: (ProviderUnavailable, "error"),
    Fault.NOT_JSON: (ProviderUnavailable, "error"),
    Fault.NOT_THE_STORE: (ProviderRejected, "error"),
}
every_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def new(harness: ProviderHarness, name: str = "secret") -> str:
    """A key that no other test uses, in a form that the store takes."""
    return fresh(name, separator=harness.separator)


def test_every_provider_of_the_registry_is_under_contract() -> None:
    from contract.conftest import HARNESSES

    assert {getattr(make, "name", "") for _, make in HARNESSES.values()} == set(NAMES)


def test_a_harness_is_of_the_provider_that_it_names(harness: ProviderHarness) -> None:
    assert provider(harness.name).name == harness.name


# Values


@pytest.mark.parametrize(
    "value",
    [
        b"plain",
        b'{"username": "app", "password": "p"}',
        b"  blanks and a line break \r\n\n",
        "höflich, 秘密, 🔑, e\u0301".encode(),
        b"\\u00e9 \\n are no escapes here",
    ],
    ids=["text", "json", "blanks", "unicode", "escapes"],
)
async def test_a_text_arrives_byte_for_byte(
    harness: ProviderHarness, opener: Opener, value: bytes
) -> None:
    key = new(harness)
    harness.put(key, value)
    opened = await opener(harness)
    assert bytes_of((await opened.client.fetch([Ref(key)]))[Ref(key)]) == value


async def test_bytes_that_are_no_text_arrive(harness: ProviderHarness, opener: Opener) -> None:
    if not harness.takes_binary:
        pytest.skip("the store holds text only")
    value = b"\x00\xff\xfe" + bytes(range(256))
    keys = [new(harness), new(harness)]
    for key in keys:
        harness.put(key, value)
    opened = await opener(harness)
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    assert [bytes_of(outcomes[Ref(key)]) for key in keys] == [value, value]


async def test_the_largest_value_arrives(harness: ProviderHarness, opener: Opener) -> None:
    value = secrets.token_hex(harness.max_bytes // 2).encode()
    assert len(value) == harness.max_bytes
    keys = [new(harness), new(harness), new(harness)]
    for key in keys:
        harness.put(key, value)
    opened = await opener(harness)
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    assert all(bytes_of(outcomes[Ref(key)]) == value for key in keys)


# References


async def test_the_result_has_exactly_the_references(
    harness: ProviderHarness, opener: Opener
) -> None:
    present, missing = new(harness), new(harness)
    version = harness.put(present, b"value")
    opened = await opener(harness)
    refs = [Ref(present), Ref(missing), Ref(present)]
    if Ability.PINS not in lacks(harness):
        refs.insert(2, Ref(present, version))
    outcomes = await opened.client.fetch(refs)
    assert set(outcomes) == set(refs)
    assert all(bytes_of(outcomes[ref]) == b"value" for ref in refs if ref.key == present)
    assert outcomes[Ref(missing)] == NotFound()


async def test_no_references_cost_no_request(harness: ProviderHarness, opener: Opener) -> None:
    opened = await opener(harness)
    before = harness.requests
    assert await opened.client.fetch([]) == {}
    assert harness.requests == before


async def test_many_references_are_read_in_one_fetch(
    harness: ProviderHarness, opener: Opener
) -> None:
    prefix = new(harness)
    values = {
        f"{prefix}{harness.separator}{number}": f"value {number}".encode() for number in range(45)
    }
    for key, value in values.items():
        harness.put(key, value)
    opened = await opener(harness)
    outcomes = await opened.client.fetch([Ref(key) for key in values])
    assert {ref.key: bytes_of(outcome) for ref, outcome in outcomes.items()} == values


async def test_a_deleted_secret_is_not_found(harness: ProviderHarness, opener: Opener) -> None:
    kept, deleted = new(harness), new(harness)
    for key in (kept, deleted):
        harness.put(key, b"value")
    harness.delete(deleted)
    opened = await opener(harness)
    for refs in ([Ref(deleted)], [Ref(kept), Ref(deleted)]):
        assert (await opened.client.fetch(refs))[Ref(deleted)] == NotFound()


# Versions


@pytest.mark.needs(Ability.PINS)
async def test_a_rotation_is_seen_and_a_pinned_version_stays(
    harness: ProviderHarness, opener: Opener
) -> None:
    key = new(harness)
    opened = await opener(harness)
    first = harness.put(key, b"first")
    assert bytes_of((await opened.client.fetch([Ref(key)]))[Ref(key)]) == b"first"
    second = harness.put(key, b"second")
    refs = [Ref(key), Ref(key, first), Ref(key, second)]
    outcomes = await opened.client.fetch(refs)
    assert [bytes_of(outcomes[ref]) for ref in refs] == [b"second", b"first", b"second"]


@pytest.mark.needs(Ability.TIMES)
async def test_a_value_tells_its_version_and_time(harness: ProviderHarness, opener: Opener) -> None:
    keys = [new(harness), new(harness)]
    before = datetime.now(UTC) - timedelta(seconds=2)  # stores keep whole seconds
    made = {key: harness.put(key, b"value") for key in keys}
    opened = await opener(harness)
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    for key in keys:
        value = outcomes[Ref(key)]
        assert isinstance(value, SecretValue)
        assert value.version == made[key]
        assert value.created is not None
        assert value.created.tzinfo is not None
        assert before <= value.created <= datetime.now(UTC) + timedelta(seconds=2)


@pytest.mark.needs(Ability.PINS)
async def test_a_missing_version_is_not_found(harness: ProviderHarness, opener: Opener) -> None:
    key = new(harness)
    harness.put(key, b"value")
    opened = await opener(harness)
    pinned = Ref(key, harness.missing_version)
    outcomes = await opened.client.fetch([pinned, Ref(key)])
    assert outcomes[pinned] == NotFound(version_missing=True)
    assert bytes_of(outcomes[Ref(key)]) == b"value"


async def test_a_known_version_may_go_unread_and_a_new_one_is_read(
    harness: ProviderHarness, opener: Opener
) -> None:
    keys = [new(harness), new(harness), new(harness), new(harness)]
    refs = [Ref(key) for key in keys]
    versions = {ref: harness.put(ref.key, b"first") for ref in refs}
    opened = await opener(harness)
    read = await opened.client.fetch(refs)
    versions = {
        ref: outcome.version for ref, outcome in read.items() if isinstance(outcome, SecretValue)
    }
    if not all(versions.get(ref) for ref in refs):
        pytest.skip("the store tells no versions")
    harness.put(keys[1], b"second")
    harness.delete(keys[2])
    known = {ref: versions[ref] for ref in refs[:3]}
    outcomes = await opened.client.fetch(refs, known=known)
    first = outcomes[refs[0]]
    assert isinstance(first, Unchanged | SecretValue)
    assert first.version == known[refs[0]]
    assert bytes_of(outcomes[refs[1]]) == b"second"
    assert outcomes[refs[2]] == NotFound()
    assert bytes_of(outcomes[refs[3]]) == b"first", "nobody knows its version"


async def test_an_odd_name_disturbs_nobody(harness: ProviderHarness, opener: Opener) -> None:
    key = new(harness)
    harness.put(key, b"value")
    opened = await opener(harness)
    odd = [
        "höflich/秘密 🔑",
        "a b",
        "../../etc/passwd",
        f"{key}/../other",
        "a?b=c#d",
        "a%2e%2e%2fb",
        "x" * 3000,
        "line\nbreak",
        " ",
    ]
    refs = [Ref(key), *(Ref(f"{new(harness)}{name}") for name in odd)]
    outcomes = dict(await opened.client.fetch(refs))
    assert bytes_of(outcomes.pop(Ref(key))) == b"value"
    assert len(outcomes) == len(odd)
    assert all(isinstance(one, NotFound | ProviderRejected) for one in outcomes.values()), outcomes


# Metadata


@pytest.mark.needs(Ability.TAGS)
async def test_metadata_are_the_tags_as_json(harness: ProviderHarness, opener: Opener) -> None:
    tagged, plain, missing = new(harness), new(harness), new(harness)
    for key in (tagged, plain):
        harness.put(key, b"value")
    purpose = "höflich & so" if Ability.ANY_TAGS not in lacks(harness) else "so"
    harness.tag(tagged, {"team": "payments", "purpose": purpose})
    opened = await opener(harness)
    refs = [Ref(tagged, metadata=True), Ref(plain, metadata=True), Ref(missing, metadata=True)]
    outcomes = await opened.client.fetch([*refs, Ref(tagged)])
    assert json.loads(bytes_of(outcomes[refs[0]])) == {
        "team": "payments",
        "purpose": purpose,
    }
    assert json.loads(bytes_of(outcomes[refs[1]])) == {}
    assert outcomes[refs[2]] == NotFound()
    assert bytes_of(outcomes[Ref(tagged)]) == b"value"
    again = await opened.client.fetch(refs)
    assert bytes_of(again[refs[0]]) == bytes_of(outcomes[refs[0]]), "the same in the same order"


@pytest.mark.needs(Ability.TAGS)
async def test_a_deleted_secret_has_no_metadata(harness: ProviderHarness, opener: Opener) -> None:
    key = new(harness)
    harness.put(key, b"value")
    harness.delete(key)
    opened = await opener(harness)
    ref = Ref(key, metadata=True)
    assert (await opened.client.fetch([ref]))[ref] == NotFound()


# Searches


async def found(opened: Opened, query: Query) -> list[str]:
    """All pages of a search, sorted."""
    keys: list[str] = []
    page = ""
    while True:
        one = await opened.client.find(query, page=page)
        keys += one.keys
        page = one.more
        if not page:
            return sorted(keys)


@pytest.mark.needs(Ability.SEARCHES)
async def test_secrets_are_found_by_path_name_and_tags(
    harness: ProviderHarness, opener: Opener
) -> None:
    prefix, sep = new(harness, ""), harness.separator
    tagged = Ability.TAGS not in lacks(harness)
    tags = {
        f"db{sep}main": {"team": "payments", "tier": "1"},
        f"db{sep}copy": {"team": "payments", "tier": "2"},
        "api": {"team": "web", "tier": "1"},
        "plain": {},
    }
    for name, given in tags.items():
        harness.put(prefix + name, b"value")
        if given and tagged:
            harness.tag(prefix + name, given)
    harness.put(f"x{prefix}db{sep}main", b"not under the path")
    opened = await opener(harness)

    async def names(**query: Any) -> list[str]:
        return [
            key.removeprefix(prefix) for key in await found(opened, Query(path=prefix, **query))
        ]

    assert await names() == ["api", f"db{sep}copy", f"db{sep}main", "plain"]
    assert await names(name=f"{sep}db{sep}") == [f"db{sep}copy", f"db{sep}main"]
    assert await names(name="(api|plain)$") == ["api", "plain"]
    by_team = await names(tags=(("team", "payments"),))
    assert by_team == ([f"db{sep}copy", f"db{sep}main"] if tagged else [])
    both = await names(tags=(("team", "payments"), ("tier", "1")))
    assert both == ([f"db{sep}main"] if tagged else [])
    assert await names(tags=(("team", "pay"),)) == [], "a tag has the value, not its beginning"
    assert await names(tags=(("tea", "payments"),)) == []
    named = await names(tags=(("tier", "1"),), name="main$")
    assert named == ([f"db{sep}main"] if tagged else [])
    assert await found(opened, Query(path=f"{prefix}db")) == [
        f"{prefix}db{sep}copy",
        f"{prefix}db{sep}main",
    ]
    assert await found(opened, Query(path=new(harness))) == []
    keys = await found(opened, Query(path=prefix))
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    assert all(bytes_of(outcome) == b"value" for outcome in outcomes.values())


@pytest.mark.needs(Ability.SEARCHES)
async def test_a_search_finds_all_of_more_than_a_thousand(
    harness: ProviderHarness, opener: Opener
) -> None:
    prefix = new(harness, "")
    keys = [f"{prefix}{number:04}" for number in range(1_050)]
    for key in keys:
        harness.put(key, b"value")
    opened = await opener(harness)
    assert await found(opened, Query(path=prefix)) == keys


@pytest.mark.needs(Ability.SEARCHES)
async def test_a_deleted_secret_is_not_found_by_a_search(
    harness: ProviderHarness, opener: Opener
) -> None:
    prefix = new(harness, "")
    for name in ("kept", "deleted"):
        harness.put(prefix + name, b"value")
    harness.delete(f"{prefix}deleted")
    opened = await opener(harness)
    assert await found(opened, Query(path=prefix)) == [f"{prefix}kept"]


@pytest.mark.needs(Ability.SEARCHES)
async def test_each_page_of_a_search_is_one_call_that_is_told_of(
    harness: ProviderHarness, opener: Opener
) -> None:
    harness.put(new(harness), b"value")
    opened = await opener(harness)
    before = harness.requests
    await opened.client.find(Query(path=new(harness)))
    assert harness.requests == before + 1
    assert opened.observed.outcomes == ["ok"]


@every_fault
@pytest.mark.needs(Ability.SEARCHES)
async def test_a_search_fails_as_the_store_does(
    harness: ProviderHarness, opener: Opener, fault: Fault
) -> None:
    opened = await opener(harness, hasty=fault is Fault.HANGS)
    expected, word = FAULTS[fault]
    canary = f"canary-{secrets.token_hex(8)}"
    harness.fail(fault, saying=canary)
    with pytest.raises(expected) as raised:
        await opened.client.find(Query(path="app/"))
    assert opened.observed.outcomes == [word]
    assert canary not in story(raised.value)
    harness.fail(None)
    await opened.client.find(Query(path="app/"))


# Failures of one secret


@pytest.mark.needs(Ability.DENIES)
async def test_one_denied_among_many_concerns_that_one(
    harness: ProviderHarness, opener: Opener
) -> None:
    keys = [new(harness, str(number)) for number in range(25)]
    for key in keys:
        harness.put(key, b"value")
    harness.deny(keys[3])
    opened = await opener(harness)
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    denied = outcomes[Ref(keys[3])]
    assert isinstance(denied, AccessDenied)
    assert keys[3] in denied.message
    assert all(bytes_of(outcomes[Ref(key)]) == b"value" for key in keys if key != keys[3])


@pytest.mark.needs(Ability.DENIES)
async def test_the_only_secret_being_denied_is_its_outcome(
    harness: ProviderHarness, opener: Opener
) -> None:
    key = new(harness)
    harness.put(key, b"value")
    harness.deny(key)
    opened = await opener(harness)
    assert isinstance((await opened.client.fetch([Ref(key)]))[Ref(key)], AccessDenied)
    assert opened.observed.outcomes == ["denied"]


# Failures of the store


@pytest.mark.parametrize(
    "fault", sorted(set(FAULTS) - {Fault.NOT_THE_STORE}, key=str), ids=lambda fault: fault.name
)
@pytest.mark.parametrize("count", [1, 3, 25])
async def test_a_failing_store_is_raised(
    harness: ProviderHarness, opener: Opener, fault: Fault, count: int
) -> None:
    keys = [new(harness, str(number)) for number in range(count)]
    for key in keys:
        harness.put(key, b"value")
    opened = await opener(harness, hasty=fault is Fault.HANGS)
    expected, word = FAULTS[fault]
    harness.fail(fault)
    with pytest.raises(expected) as raised:
        await opened.client.fetch([Ref(key) for key in keys])
    assert opened.observed.outcomes
    assert set(opened.observed.outcomes) == {word}
    if fault is Fault.THROTTLED:
        assert raised.value.retry_after == RETRY_AFTER

    harness.fail(None)
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    assert all(bytes_of(outcome) == b"value" for outcome in outcomes.values())


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.needs(Fault.NOT_THE_STORE)
async def test_what_is_not_the_store_has_no_missing_secrets(
    harness: ProviderHarness, opener: Opener, count: int
) -> None:
    """Otherwise a wrong endpoint would look like secrets that were deleted."""
    refs = [Ref(new(harness)) for _ in range(count)]
    opened = await opener(harness)
    harness.fail(Fault.NOT_THE_STORE)
    try:
        outcomes = await opened.client.fetch(refs)
    except ProviderError:
        return
    assert all(isinstance(outcome, ProviderError) for outcome in outcomes.values())


@pytest.mark.needs(Fault.TRICKLES)
async def test_an_answer_that_trickles_ends_with_the_deadline(
    harness: ProviderHarness, opener: Opener
) -> None:
    keys = [new(harness), new(harness)]
    for key in keys:
        harness.put(key, b"value")
    opened = await opener(harness, hasty=True)
    harness.fail(Fault.TRICKLES)
    with pytest.raises(ProviderTimeout):
        await opened.client.fetch([Ref(key) for key in keys])
    with pytest.raises(ProviderTimeout):
        await opened.client.check()


@pytest.mark.needs(Ability.LEAVES)
async def test_an_unreachable_store_is_raised(harness: ProviderHarness, opener: Opener) -> None:
    opened = await opener(harness, reachable=False)
    with pytest.raises(ProviderUnavailable):
        await opened.client.fetch([Ref(new(harness)), Ref(new(harness))])
    with pytest.raises(ProviderUnavailable):
        await opened.client.check()
    assert set(opened.observed.outcomes) == {"error"}


@pytest.mark.parametrize("identity", [Identity.UNKNOWN, Identity.EXPIRED], ids=lambda who: who.name)
async def test_refused_credentials_are_raised(
    harness: ProviderHarness, opener: Opener, identity: Identity
) -> None:
    keys = [new(harness), new(harness), new(harness)]
    for key in keys:
        harness.put(key, b"value")
    opened = await opener(harness, identity=identity)
    with pytest.raises(AccessDenied, match="refused the credentials"):
        await opened.client.fetch([Ref(key) for key in keys])
    with pytest.raises(AccessDenied, match="refused the credentials"):
        await opened.client.fetch([Ref(keys[0])])
    with pytest.raises(AccessDenied, match="refused the credentials"):
        await opened.client.check()
    assert set(opened.observed.outcomes) == {"denied"}


@pytest.mark.needs(Identity.EXPIRED)
async def test_credentials_that_have_been_renewed_are_accepted(
    harness: ProviderHarness, opener: Opener
) -> None:
    key = new(harness)
    harness.put(key, b"value")
    expired = await opener(harness, identity=Identity.EXPIRED)
    with pytest.raises(AccessDenied):
        await expired.client.fetch([Ref(key)])
    renewed = await opener(harness)
    assert bytes_of((await renewed.client.fetch([Ref(key)]))[Ref(key)]) == b"value"
    await renewed.client.check()


# Checks


async def test_a_working_store_passes_its_check(harness: ProviderHarness, opener: Opener) -> None:
    opened = await opener(harness)
    await opened.client.check()
    assert len(opened.observed.calls) == 1


@every_fault
async def test_a_check_fails_as_the_store_does(
    harness: ProviderHarness, opener: Opener, fault: Fault
) -> None:
    opened = await opener(harness, hasty=fault is Fault.HANGS)
    expected, word = FAULTS[fault]
    harness.fail(fault)
    with pytest.raises(expected):
        await opened.client.check()
    assert opened.observed.outcomes == [word]
    harness.fail(None)
    await opened.client.check()


# Many at once


async def test_fifty_readers_get_each_their_own(harness: ProviderHarness, opener: Opener) -> None:
    prefix = new(harness)
    keys = [f"{prefix}{harness.separator}{number}" for number in range(100)]
    for key in keys:
        harness.put(key, key.encode())
    opened = await opener(harness)
    reads = [[Ref(keys[number]), Ref(keys[99 - number])] for number in range(50)]
    results = await asyncio.gather(*(opened.client.fetch(refs) for refs in reads))
    for refs, outcomes in zip(reads, results, strict=True):
        assert {ref.key: bytes_of(outcome) for ref, outcome in outcomes.items()} == {
            ref.key: ref.key.encode() for ref in refs
        }


@pytest.mark.needs(Fault.HANGS)
async def test_cancelled_reads_leave_a_client_that_works(
    harness: ProviderHarness, opener: Opener
) -> None:
    key = new(harness)
    harness.put(key, b"value")
    opened = await opener(harness, hasty=True)
    harness.fail(Fault.HANGS)
    before = harness.requests
    reads = [asyncio.create_task(opened.client.fetch([Ref(key)])) for _ in range(30)]
    while harness.requests == before:  # noqa: ASYNC110 - what is waited for knows no event loop
        await asyncio.sleep(0.01)
    for read in reads:
        read.cancel()
    ends = await asyncio.gather(*reads, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends)

    harness.fail(None)
    assert bytes_of((await opened.client.fetch([Ref(key)]))[Ref(key)]) == b"value"


# Secrecy


@pytest.mark.parametrize("fault", [None, *FAULTS], ids=lambda fault: fault.name if fault else "OK")
async def test_no_secret_gets_into_logs_errors_or_reprs(
    harness: ProviderHarness,
    opener: Opener,
    caplog: pytest.LogCaptureFixture,
    fault: Fault | None,
) -> None:
    """At the lowest level of the root logger and with asyncio in debug mode."""
    canary = f"canary-{secrets.token_hex(8)}"
    keys = [new(harness), new(harness), new(harness)]
    for key in keys:
        harness.put(key, canary.encode())
    caplog.set_level(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0  # asyncio logs the repr of everything that it runs
    opened = await opener(harness, hasty=fault is Fault.HANGS)
    if fault is not None:
        harness.fail(fault, saying=canary)
    shown: list[str] = []
    for refs in ([Ref(keys[0])], [Ref(key) for key in keys]):
        try:
            outcomes = await opened.client.fetch(refs)
            shown += [repr(outcomes), str(outcomes)]
            problems = [outcome for outcome in outcomes.values() if isinstance(outcome, Exception)]
        except ProviderError as error:
            problems = [error]
        for problem in problems:
            assert problem.__context__ is None, "a foreign exception is dragged along"
            shown.append(story(problem))
    await asyncio.sleep(0)
    logging.getLogger("test").debug("the capture works")

    assert "the capture works" in caplog.text
    assert any(record.name == "asyncio" for record in caplog.records)
    assert shown
    assert canary not in caplog.text
    assert not any(canary in text for text in shown)
    names = {record.name.partition(".")[0] for record in caplog.records}
    assert not names & {"boto3", "botocore", "urllib3"}


@pytest.mark.parametrize("identity", list(Identity), ids=lambda who: who.name)
async def test_no_credential_gets_into_logs_or_errors(
    harness: ProviderHarness,
    opener: Opener,
    caplog: pytest.LogCaptureFixture,
    identity: Identity,
) -> None:
    caplog.set_level(logging.DEBUG)
    opened = await opener(harness, identity=identity)
    text = ""
    try:
        await opened.client.check()
    except ProviderError as error:
        text = story(error)
    logging.getLogger("test").debug("the capture works")

    assert "the capture works" in caplog.text
    for credential in harness.credentials:
        assert credential not in caplog.text + text
