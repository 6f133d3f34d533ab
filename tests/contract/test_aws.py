"""What only AWS Secrets Manager does: batches, ARNs, staging labels, IAM, KMS."""

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from contract.aws import AwsHarness, error_reply, operation
from contract.opened import Opener, bytes_of, fresh
from contract.proxy import Action, Change, Hang, Request
from syncret.errors import AccessDenied, ProviderRejected, ProviderTimeout, ProviderUnavailable
from syncret.providers.aws.session import Timing
from syncret.providers.base import NotFound, Query, Ref, SecretValue
from syncret.providers.calls import THREADS_PER_STORE

BATCH = "BatchGetSecretValue"
GET = "GetSecretValue"


def made(aws: AwsHarness, count: int) -> list[str]:
    """Secrets that hold their own name."""
    prefix = fresh()
    keys = [f"{prefix}/{number:03}" for number in range(count)]
    for key in keys:
        aws.put(key, key.encode())
    return keys


def values(outcomes: Mapping[Ref, Any]) -> dict[str, bytes]:
    return {ref.key: bytes_of(outcome) for ref, outcome in outcomes.items()}


# Batches


@pytest.mark.parametrize(
    ("count", "operations"),
    [
        (1, [GET]),
        (2, [BATCH]),
        (20, [BATCH]),
        (21, [BATCH, GET]),
        (45, [BATCH, BATCH, BATCH]),
    ],
)
async def test_twenty_secrets_are_one_call(
    aws: AwsHarness, opener: Opener, count: int, operations: list[str]
) -> None:
    keys = made(aws, count)
    opened = await opener(aws)
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    assert values(outcomes) == {key: key.encode() for key in keys}
    assert sorted(aws.operations) == operations
    assert sorted(opened.observed.calls) == [(name, "ok") for name in operations]
    assert all(seconds > 0 for seconds in opened.observed.seconds)


async def test_missing_and_deleted_secrets_need_no_further_call(
    aws: AwsHarness, opener: Opener
) -> None:
    kept, deleted = made(aws, 2)
    aws.delete(deleted)
    missing = fresh()
    opened = await opener(aws)
    outcomes = await opened.client.fetch([Ref(kept), Ref(deleted), Ref(missing)])
    assert outcomes[Ref(deleted)] == outcomes[Ref(missing)] == NotFound()
    assert aws.operations == [BATCH]


async def test_a_value_that_a_batch_leaves_out_is_read_alone(
    aws: AwsHarness, opener: Opener
) -> None:
    keys = made(aws, 3)

    def drop_first(body: bytes) -> bytes:
        answer = json.loads(body)
        answer["SecretValues"] = [
            entry for entry in answer["SecretValues"] if entry["Name"] != keys[0]
        ]
        return json.dumps(answer).encode()

    aws.fault = lambda request: Change(reply=drop_first) if operation(request) == BATCH else None
    opened = await opener(aws)
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    assert values(outcomes) == {key: key.encode() for key in keys}
    assert aws.operations == [BATCH, GET]


async def test_pages_of_a_batch_are_followed(aws: AwsHarness, opener: Opener) -> None:
    keys = made(aws, 5)

    def page(request: Request) -> Action | None:
        """Two values at a time, and one page without any."""
        if operation(request) != BATCH:
            return None
        number = int(request.json.get("NextToken", "0"))

        def cut(body: bytes) -> bytes:
            answer = json.loads(body)
            start = {0: 0, 1: 5, 2: 2, 3: 4}[number]
            answer["SecretValues"] = answer["SecretValues"][start : start + 2]
            answer["NextToken"] = str(number + 1) if number < 3 else None
            return json.dumps(answer).encode()

        return Change(request=_without_token, reply=cut)

    aws.fault = page
    opened = await opener(aws)
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    assert values(outcomes) == {key: key.encode() for key in keys}
    assert aws.operations == [BATCH] * 4


async def test_pages_without_end_do_not_hold_a_fetch(aws: AwsHarness, opener: Opener) -> None:
    keys = made(aws, 2)

    def never_done(body: bytes) -> bytes:
        return json.dumps({"SecretValues": [], "Errors": [], "NextToken": "more"}).encode()

    aws.fault = lambda request: (
        Change(request=_without_token, reply=never_done) if operation(request) == BATCH else None
    )
    opened = await opener(aws)
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    assert values(outcomes) == {key: key.encode() for key in keys}


def _without_token(body: bytes) -> bytes:
    request = json.loads(body)
    request.pop("NextToken", None)
    return json.dumps(request).encode()


@pytest.mark.parametrize(
    "code", ["InvalidParameterException", "ResourceNotFoundException", "DecryptionFailure"]
)
async def test_a_batch_that_is_refused_for_one_secret_is_read_singly(
    aws: AwsHarness, opener: Opener, code: str
) -> None:
    keys = made(aws, 3)
    aws.fault = lambda request: error_reply(code) if operation(request) == BATCH else None
    opened = await opener(aws)
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    assert values(outcomes) == {key: key.encode() for key in keys}


async def test_what_was_read_is_kept_when_another_batch_fails(
    aws: AwsHarness, opener: Opener
) -> None:
    keys = made(aws, 40)
    aws.fault = lambda request: (
        Hang() if request.json.get("SecretIdList", [""])[0] == keys[20] else None
    )
    opened = await opener(aws, hasty=True)
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    assert [bytes_of(outcomes[Ref(key)]) for key in keys[:20]] == [
        key.encode() for key in keys[:20]
    ]
    failed = [outcomes[Ref(key)] for key in keys[20:]]
    assert all(isinstance(outcome, ProviderTimeout) for outcome in failed)
    assert len({id(outcome) for outcome in failed}) == 20  # raised apart, they must be apart


async def test_a_failing_store_is_not_asked_again_and_again(
    aws: AwsHarness, opener: Opener
) -> None:
    refs = [Ref(key, "AWSCURRENT") for key in made(aws, 60)]
    aws.fault = error_reply("ThrottlingException")
    opened = await opener(aws)
    with pytest.raises(Exception, match="throttles"):
        await opened.client.fetch(refs)
    # Those that had begun, and those that got their slots a moment before the failure was known.
    assert len(aws.operations) <= 2 * THREADS_PER_STORE


async def test_a_store_holds_few_threads(aws: AwsHarness, opener: Opener) -> None:
    refs = [Ref(key, "AWSCURRENT") for key in made(aws, 40)]
    opened = await opener(aws)
    await opened.client.fetch(refs)
    assert 1 <= aws.proxy.peak <= THREADS_PER_STORE


async def test_one_lost_connection_is_no_failure(aws: AwsHarness, opener: Opener) -> None:
    (key,) = made(aws, 1)
    aws.fault = lambda _: (
        error_reply("InternalServiceError", status=500) if len(aws.operations) == 1 else None
    )
    opened = await opener(aws, timing=Timing(connect=10, read=20, total=60))
    assert bytes_of((await opened.client.fetch([Ref(key)]))[Ref(key)]) == key.encode()
    assert aws.operations == [GET, GET]


# ARNs


async def test_arns_are_answered_with_and_without_their_random_end(
    aws: AwsHarness, opener: Opener
) -> None:
    keys = made(aws, 2)
    arns = [aws.boto.describe_secret(SecretId=key)["ARN"] for key in keys]
    refs = [Ref(arns[0]), Ref(arns[1][:-7]), Ref(arns[1]), Ref(keys[0]), Ref(keys[1])]
    opened = await opener(aws)
    outcomes = await opened.client.fetch(refs)
    expected = [keys[0], keys[1], keys[1], keys[0], keys[1]]
    assert [bytes_of(outcomes[ref]) for ref in refs] == [key.encode() for key in expected]
    assert aws.operations == [BATCH, BATCH]  # names and ARNs apart


@pytest.mark.parametrize(
    ("arn", "says"),
    [
        ("arn:aws:secretsmanager:us-east-1:123456789012:secret:x-AbCdEf", "in another region"),
        ("arn:aws:ssm:eu-central-1:123456789012:parameter/x", "not the ARN of a secret"),
        ("arn:aws:secretsmanager:eu-central-1:1234:secret:x-AbCdEf", "not the ARN of a secret"),
        ("arn:aws:iam::123456789012:role/reader", "not the ARN of a secret"),
    ],
)
async def test_a_wrong_arn_is_told_without_a_call(
    aws: AwsHarness, opener: Opener, arn: str, says: str
) -> None:
    """A secret that AWS does not find there would count as deleted."""
    (key,) = made(aws, 1)
    refs = [Ref(arn), Ref(arn, "AWSPREVIOUS"), Ref(arn, metadata=True)]
    opened = await opener(aws)
    outcomes = await opened.client.fetch([Ref(key), *refs])
    assert bytes_of(outcomes[Ref(key)]) == key.encode()
    for ref in refs:
        outcome = outcomes[ref]
        assert isinstance(outcome, ProviderRejected)
        assert says in outcome.message
    assert aws.operations == [GET]


async def test_a_secret_of_another_account_does_not_answer_for_ours(
    aws: AwsHarness, opener: Opener
) -> None:
    """Two accounts may each have a secret of the same name."""
    ours, other = made(aws, 2)
    foreign = f"arn:aws:secretsmanager:eu-central-1:999999999999:secret:{ours}-AbCdEf"
    foreign_other = f"arn:aws:secretsmanager:eu-central-1:999999999999:secret:{other}-AbCdEf"

    def stand_in(request: Request) -> Action | None:
        if operation(request) != BATCH or foreign not in request.json["SecretIdList"]:
            return None
        entries = [
            {"ARN": arn, "Name": name, "SecretString": "theirs"}
            for arn, name in ((foreign, ours), (foreign_other, other))
        ]
        answer = json.dumps({"SecretValues": entries, "Errors": []}).encode()
        return Change(request=lambda _: b'{"SecretIdList": []}', reply=lambda _: answer)

    aws.fault = stand_in
    refs = [Ref(ours), Ref(foreign), Ref(other), Ref(foreign_other)]
    opened = await opener(aws)
    outcomes = await opened.client.fetch(refs)
    assert [bytes_of(outcomes[ref]) for ref in refs] == [
        ours.encode(),
        b"theirs",
        other.encode(),
        b"theirs",
    ]


# Versions


async def test_staging_labels_and_ids_pin_versions(aws: AwsHarness, opener: Opener) -> None:
    key = fresh()
    first = aws.put(key, b"first")
    second = aws.put(key, b"second")
    aws.boto.update_secret_version_stage(
        SecretId=key, VersionStage="blue/green", MoveToVersionId=first
    )
    opened = await opener(aws)
    expected = {
        "": b"second",
        "AWSCURRENT": b"second",
        "AWSPREVIOUS": b"first",
        "stage/AWSPREVIOUS": b"first",
        "stage/blue/green": b"first",
        "blue/green": b"first",
        first: b"first",
        f"id/{second}": b"second",
        f"uuid/{first}": b"first",
    }
    outcomes = await opened.client.fetch([Ref(key, version) for version in expected])
    assert {ref.version: bytes_of(outcome) for ref, outcome in outcomes.items()} == expected


async def test_a_missing_staging_label_is_not_found(aws: AwsHarness, opener: Opener) -> None:
    """moto words it like a missing secret; AWS as a missing value, which the unit tests have."""
    (key,) = made(aws, 1)
    opened = await opener(aws)
    ref = Ref(key, "NOBODY")
    assert isinstance((await opened.client.fetch([ref]))[ref], NotFound)


async def test_an_impossible_version_is_told_without_a_call(
    aws: AwsHarness, opener: Opener
) -> None:
    (key,) = made(aws, 1)
    opened = await opener(aws)
    ref = Ref(key, "id/too-short")
    outcome = (await opened.client.fetch([ref]))[ref]
    assert isinstance(outcome, ProviderRejected)
    assert "32 to 64" in outcome.message
    assert aws.operations == []
    assert opened.observed.calls == []


# IAM and KMS


async def test_without_the_batch_permission_secrets_are_read_singly(
    aws: AwsHarness, opener: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    keys = made(aws, 3)
    refs = [Ref(key) for key in keys]
    aws.batch_denied = True
    opened = await opener(aws)
    assert values(await opened.client.fetch(refs)) == {key: key.encode() for key in keys}
    assert aws.operations == [BATCH, GET, GET, GET]

    assert values(await opened.client.fetch(refs)) == {key: key.encode() for key in keys}
    assert aws.operations[4:] == [GET, GET, GET]
    told = [record for record in caplog.records if record.name == "syncret.providers.aws"]
    assert len(told) == 1
    assert "secretsmanager:BatchGetSecretValue" in told[0].getMessage()


async def test_a_denied_secret_names_the_permission(aws: AwsHarness, opener: Opener) -> None:
    keys = made(aws, 2)
    aws.deny(keys[0])
    opened = await opener(aws)
    messages = set()
    for refs in ([Ref(keys[0])], [Ref(keys[0]), Ref(keys[1])]):
        outcome = (await opened.client.fetch(refs))[Ref(keys[0])]
        assert isinstance(outcome, AccessDenied)
        messages.add(outcome.message)
    (message,) = messages  # the same alone and in a batch, or conditions would flap
    assert "secretsmanager:GetSecretValue" in message
    assert "123456789012" not in message  # of AWS's own text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("DecryptionFailure", "Secrets Manager can't decrypt the protected secret text"),
        ("AccessDeniedException", "Access to KMS is not allowed"),
        ("KMSAccessDeniedException", ""),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
async def test_a_key_that_does_not_decrypt_names_the_permission(
    aws: AwsHarness, opener: Opener, code: str, text: str, count: int
) -> None:
    keys = made(aws, count)

    def deny(request: Request) -> Action | None:
        if operation(request) == GET:
            return error_reply(code, message=text)
        error = {"SecretId": keys[0], "ErrorCode": code, "Message": text}

        def change(body: bytes) -> bytes:
            answer = json.loads(body)
            answer["SecretValues"] = answer["SecretValues"][1:]
            return json.dumps(answer | {"Errors": [error]}).encode()

        return Change(reply=change)

    aws.fault = deny
    opened = await opener(aws)
    outcome = (await opened.client.fetch([Ref(key) for key in keys]))[Ref(keys[0])]
    assert isinstance(outcome, AccessDenied)
    assert "kms:Decrypt" in outcome.message


async def test_the_check_passes_with_no_right_to_its_secret(
    aws: AwsHarness, opener: Opener
) -> None:
    """A policy that allows some names only is a good policy."""
    aws.deny("syncret/store-check")
    opened = await opener(aws)
    await opened.client.check()
    assert opened.observed.calls == [(GET, "denied")]


# Answers that are odd


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"null",
        b'"text"',
        b'{"SecretValues": [null]}',
        b'{"SecretValues": "text"}',
        b'{"SecretValues": [{"Name": 1, "SecretString": 2}]}',
        b'{"SecretValues": [{"Name": "n", "SecretBinary": "no base64!"}], "Errors": []}',
        b'{"SecretString": "text", "CreatedDate": "not a date"}',
        b"\xff\xfe",
    ],
)
@pytest.mark.parametrize("count", [1, 2])
async def test_an_answer_of_another_shape_is_a_failure_of_ours(
    aws: AwsHarness, opener: Opener, body: bytes, count: int
) -> None:
    keys = made(aws, count)
    aws.fault = Change(reply=lambda _: body)
    opened = await opener(aws)
    with pytest.raises(ProviderUnavailable) as raised:
        await opened.client.fetch([Ref(key) for key in keys])
    assert "text" not in raised.value.message


async def test_half_a_surrogate_pair_is_no_error(aws: AwsHarness, opener: Opener) -> None:
    (key,) = made(aws, 1)
    aws.fault = Change(reply=lambda _: b'{"Name": "n", "SecretString": "\\ud800 half"}')
    opened = await opener(aws)
    outcome = (await opened.client.fetch([Ref(key)]))[Ref(key)]
    assert isinstance(outcome, SecretValue)
    assert outcome.reveal().endswith(b" half")


# Searches


async def test_a_search_asks_for_full_pages_of_what_can_be_filtered(
    aws: AwsHarness, opener: Opener
) -> None:
    keys = made(aws, 130)
    for key in keys[:3]:
        aws.tag(key, {"team": "a"})
    prefix = keys[0].removesuffix("000")
    opened = await opener(aws)
    first = await opened.client.find(Query(path=prefix))
    second = await opened.client.find(Query(path=prefix), page=first.more)
    assert (len(first.keys), len(second.keys), second.more) == (100, 30, "")
    assert sorted((*first.keys, *second.keys)) == keys
    asked = aws.proxy.requests[0].json
    assert (asked["MaxResults"], asked["Filters"]) == (100, [{"Key": "name", "Values": [prefix]}])
    tagged = await opened.client.find(Query(path=prefix, tags=(("team", "a"),)))
    assert sorted(tagged.keys) == keys[:3]
    assert opened.observed.calls == [("ListSecrets", "ok")] * 3


@pytest.mark.parametrize("path", ["!negated", "ü", "a" * 600])
async def test_what_cannot_be_a_filter_is_looked_for_in_the_answer(
    aws: AwsHarness, opener: Opener, path: str
) -> None:
    made(aws, 1)
    opened = await opener(aws)
    found = await opened.client.find(Query(path=path))
    assert found.keys == ()
    assert aws.proxy.requests[-1].json["Filters"] == []


async def test_a_search_that_is_denied_names_the_permission(
    aws: AwsHarness, opener: Opener
) -> None:
    aws.denied_operations = {"ListSecrets", "DescribeSecret"}
    key = fresh()
    aws.put(key, b"value")
    opened = await opener(aws)
    with pytest.raises(
        AccessDenied, match=r'allow secretsmanager:ListSecrets on the resource "\*"'
    ):
        await opened.client.find(Query(path="app/"))
    outcomes = await opened.client.fetch([Ref(key), Ref(key, metadata=True)])
    assert bytes_of(outcomes[Ref(key)]) == b"value"
    denied = outcomes[Ref(key, metadata=True)]
    assert isinstance(denied, AccessDenied)
    assert "allow secretsmanager:DescribeSecret on this secret" in denied.message


# A prefix


async def test_a_prefix_stands_before_every_key(aws: AwsHarness, opener: Opener) -> None:
    keys = made(aws, 3)
    aws.tag(keys[0], {"team": "a"})
    prefix = keys[0].removesuffix("000")
    opened = await opener(aws, prefix=prefix)
    refs = [Ref("000"), Ref("001"), Ref("002", "AWSCURRENT"), Ref("missing")]
    outcomes = await opened.client.fetch([*refs, Ref("000", metadata=True)])
    assert [bytes_of(outcomes[ref]) for ref in refs[:3]] == [key.encode() for key in keys]
    assert outcomes[refs[3]] == NotFound()
    assert json.loads(bytes_of(outcomes[Ref("000", metadata=True)])) == {"team": "a"}
    await opened.client.check()
    assert aws.proxy.requests[-1].json["SecretId"] == f"{prefix}syncret/store-check"


async def test_what_is_found_is_under_the_prefix_and_named_without_it(
    aws: AwsHarness, opener: Opener
) -> None:
    keys = made(aws, 3)
    prefix = keys[0].removesuffix("000")
    opened = await opener(aws, prefix=prefix)
    assert sorted((await opened.client.find(Query(name="^00[12]$"))).keys) == ["001", "002"]
    assert (await opened.client.find(Query(path="002"))).keys == ("002",)
    (found,) = aws.proxy.requests[-1].json["Filters"]
    assert found == {"Key": "name", "Values": [f"{prefix}002"]}


async def test_an_arn_does_not_get_around_a_prefix(aws: AwsHarness, opener: Opener) -> None:
    keys = made(aws, 2)
    arn = aws.boto.describe_secret(SecretId=keys[0])["ARN"]
    opened = await opener(aws, prefix="elsewhere/")
    refs = [Ref(arn), Ref(arn, "AWSCURRENT"), Ref(arn, metadata=True)]
    outcomes = await opened.client.fetch(refs)
    for ref in refs:
        outcome = outcomes[ref]
        assert isinstance(outcome, ProviderRejected)
        assert "prefix" in outcome.message
    assert aws.operations == []
