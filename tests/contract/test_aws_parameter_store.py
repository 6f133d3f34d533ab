"""What only AWS Parameter Store does: tens, selectors, decryption, levels, IAM, KMS."""

import json
from typing import Any

import pytest

from contract.aws import error_reply, operation
from contract.aws_parameter_store import ParameterStoreHarness
from contract.opened import Opener, bytes_of, fresh
from contract.proxy import Action, Change, Request
from syncret.errors import AccessDenied, ProviderRejected, ProviderUnavailable
from syncret.providers.base import NotFound, Query, Ref, SecretValue, Unchanged

GET = "GetParameters"
Store = ParameterStoreHarness


def made(store: Store, count: int, **how: Any) -> list[str]:
    """Parameters that hold their own name."""
    prefix = fresh()
    keys = [f"{prefix}/{number:03}" for number in range(count)]
    for key in keys:
        store.put(key, key.encode(), **how)
    return keys


def reads(store: Store) -> list[tuple[int, bool]]:
    """Each GetParameters: how many names, and whether they were to be decrypted."""
    return [
        (len(request.json["Names"]), request.json["WithDecryption"])
        for request in store.proxy.requests
        if operation(request) == GET
    ]


# Batches


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])]
)
async def test_ten_parameters_are_one_call(
    parameters: Store, opener: Opener, count: int, sizes: list[int]
) -> None:
    keys = made(parameters, count)
    opened = await opener(parameters)
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    assert {ref.key: bytes_of(outcome) for ref, outcome in outcomes.items()} == {
        key: key.encode() for key in keys
    }
    assert sorted(size for size, _ in reads(parameters)) == sorted(sizes)
    assert opened.observed.calls == [(GET, "ok")] * len(sizes)
    assert opened.client.limits.batch == 10
    assert opened.client.limits.rate <= 40


async def test_every_type_is_its_text(parameters: Store, opener: Opener) -> None:
    prefix = fresh()
    for kind in ("String", "StringList", "SecureString"):
        parameters.put(f"{prefix}/{kind}", b"a,b,c", kind=kind)
    opened = await opener(parameters)
    refs = [Ref(f"{prefix}/{kind}") for kind in ("String", "StringList", "SecureString")]
    outcomes = await opened.client.fetch(refs)
    assert [bytes_of(outcomes[ref]) for ref in refs] == [b"a,b,c"] * 3
    assert reads(parameters) == [(3, True)]


# Versions and labels


async def test_versions_and_labels_ride_along(parameters: Store, opener: Opener) -> None:
    (key,) = made(parameters, 1)
    for number in (2, 3):
        parameters.put(key, f"value {number}".encode())
    parameters.label(key, "good", "2")
    refs = [Ref(key), Ref(key, "1"), Ref(key, "2"), Ref(key, "good")]
    opened = await opener(parameters)
    outcomes = await opened.client.fetch(refs)
    assert [bytes_of(outcomes[ref]) for ref in refs] == [
        b"value 3",
        key.encode(),
        b"value 2",
        b"value 2",
    ]
    good = outcomes[Ref(key, "good")]
    assert isinstance(good, SecretValue)
    assert good.version == "2"
    assert reads(parameters) == [(4, True)]


async def test_a_server_that_does_not_tell_what_it_selected_is_asked_singly(
    parameters: Store, opener: Opener
) -> None:
    (key,) = made(parameters, 1)
    parameters.put(key, b"two")
    parameters.proxy.rules.remove(parameters._selectors)
    opened = await opener(parameters)
    outcomes = await opened.client.fetch([Ref(key), Ref(key, "1")])
    assert bytes_of(outcomes[Ref(key)]) == b"two"
    assert bytes_of(outcomes[Ref(key, "1")]) == key.encode()


async def test_a_missing_parameter_has_no_versions_either(
    parameters: Store, opener: Opener
) -> None:
    (key,) = made(parameters, 1)
    missing = fresh()
    refs = [Ref(key, "nobody"), Ref(missing, "1"), Ref(missing)]
    opened = await opener(parameters)
    outcomes = await opened.client.fetch(refs)
    assert outcomes == {
        refs[0]: NotFound(version_missing=True),
        refs[1]: NotFound(),
        refs[2]: NotFound(),
    }
    assert reads(parameters) == [(3, True), (2, False)]


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        (Ref("app/db", "no spaces"), "number of a version"),
        (Ref("app/db:3"), "remoteRef.version"),
    ],
)
async def test_what_cannot_be_asked_for_is_told_without_a_call(
    parameters: Store, opener: Opener, ref: Ref, says: str
) -> None:
    opened = await opener(parameters)
    outcome = (await opened.client.fetch([ref]))[ref]
    assert isinstance(outcome, ProviderRejected)
    assert says in outcome.message
    assert parameters.operations == []


# What is known costs no decryption


async def test_what_is_known_is_not_decrypted_again(parameters: Store, opener: Opener) -> None:
    keys = made(parameters, 3)
    refs = [Ref(key) for key in keys]
    opened = await opener(parameters)
    outcomes = await opened.client.fetch(refs)
    known = {ref: one.version for ref, one in outcomes.items() if isinstance(one, SecretValue)}
    assert await opened.client.fetch(refs, known=known) == dict.fromkeys(refs, Unchanged("1"))
    assert reads(parameters) == [(3, True), (3, False)]

    parameters.put(keys[1], b"rotated")
    outcomes = await opened.client.fetch(refs, known=known)
    assert bytes_of(outcomes[refs[1]]) == b"rotated"
    assert outcomes[refs[0]] == outcomes[refs[2]] == Unchanged("1")
    assert reads(parameters)[2:] == [(3, False), (1, True)]


async def test_a_parameter_made_again_has_another_time(parameters: Store, opener: Opener) -> None:
    """Its versions begin with 1 again, so the engine looks at the time as well."""
    (key,) = made(parameters, 1)
    opened = await opener(parameters)
    first = (await opened.client.fetch([Ref(key)]))[Ref(key)]
    same = (await opened.client.fetch([Ref(key)], known={Ref(key): "1"}))[Ref(key)]
    parameters.delete(key)
    parameters.put(key, b"another")
    again = (await opened.client.fetch([Ref(key)], known={Ref(key): "1"}))[Ref(key)]
    assert isinstance(first, SecretValue)
    assert isinstance(same, Unchanged)
    assert isinstance(again, Unchanged)
    assert first.created == same.created != again.created


async def test_what_another_client_has_read_is_not_decrypted_again(
    parameters: Store, opener: Opener
) -> None:
    (key,) = made(parameters, 1)
    opened = await opener(parameters)
    outcomes = await opened.client.fetch([Ref(key)], known={Ref(key): "1"})
    assert outcomes == {Ref(key): Unchanged("1")}
    assert reads(parameters) == [(1, False)]


async def test_a_text_that_is_not_encrypted_needs_one_call(
    parameters: Store, opener: Opener
) -> None:
    (key,) = made(parameters, 1, kind="String")
    opened = await opener(parameters)
    await opened.client.fetch([Ref(key)])
    parameters.put(key, b"rotated", kind="String")
    outcome = (await opened.client.fetch([Ref(key)], known={Ref(key): "1"}))[Ref(key)]
    assert bytes_of(outcome) == b"rotated"
    assert reads(parameters) == [(1, True), (1, False)]


async def test_what_is_known_and_deleted_is_gone(parameters: Store, opener: Opener) -> None:
    keys = made(parameters, 2)
    refs = [Ref(key) for key in keys]
    opened = await opener(parameters)
    await opened.client.fetch(refs)
    parameters.delete(keys[0])
    outcomes = await opened.client.fetch(refs, known=dict.fromkeys(refs, "1"))
    assert outcomes == {refs[0]: NotFound(), refs[1]: Unchanged("1")}


# ARNs


async def test_arns_are_read_where_there_is_no_prefix(parameters: Store, opener: Opener) -> None:
    keys = made(parameters, 2)
    parameters.tag(keys[0], {"team": "a"})
    arns = [parameters.arn(key) for key in keys]
    opened = await opener(parameters, prefix=None)
    refs = [Ref(arns[0]), Ref(arns[1]), Ref(f"/{keys[0]}"), Ref(arns[1], "1")]
    outcomes = await opened.client.fetch([*refs, Ref(arns[0], metadata=True)])
    expected = [keys[0], keys[1], keys[0], keys[1]]
    assert [bytes_of(outcomes[ref]) for ref in refs] == [key.encode() for key in expected]
    assert json.loads(bytes_of(outcomes[Ref(arns[0], metadata=True)])) == {"team": "a"}


@pytest.mark.parametrize(
    ("arn", "says"),
    [
        ("arn:aws:ssm:us-east-1:123456789012:parameter/x", "in another region"),
        ("arn:aws:secretsmanager:eu-central-1:123456789012:secret:x", "not the ARN of a parameter"),
    ],
)
async def test_a_wrong_arn_is_told_without_a_call(
    parameters: Store, opener: Opener, arn: str, says: str
) -> None:
    opened = await opener(parameters, prefix=None)
    outcome = (await opened.client.fetch([Ref(arn)]))[Ref(arn)]
    assert isinstance(outcome, ProviderRejected)
    assert says in outcome.message
    assert parameters.operations == []


async def test_an_arn_does_not_get_around_a_prefix(parameters: Store, opener: Opener) -> None:
    keys = made(parameters, 2)
    arn = parameters.arn(keys[0])
    opened = await opener(parameters, prefix="/elsewhere/")
    outcome = (await opened.client.fetch([Ref(arn)]))[Ref(arn)]
    assert isinstance(outcome, ProviderRejected)
    assert "prefix" in outcome.message
    assert parameters.operations == []


# IAM and KMS


async def test_one_denied_parameter_is_read_apart_from_then_on(
    parameters: Store, opener: Opener
) -> None:
    keys = made(parameters, 5)
    refs = [Ref(key) for key in keys]
    parameters.deny(keys[2])
    opened = await opener(parameters)
    outcomes = await opened.client.fetch(refs)
    denied = outcomes[refs[2]]
    assert isinstance(denied, AccessDenied)
    assert "allow ssm:GetParameters on this parameter" in denied.message
    assert "123456789012" not in denied.message  # of AWS's own text
    assert sorted(size for size, _ in reads(parameters)) == [1, 1, 1, 1, 1, 5]

    before = len(parameters.operations)
    outcomes = await opened.client.fetch(refs)
    assert isinstance(outcomes[refs[2]], AccessDenied)
    assert sorted(size for size, _ in reads(parameters)[before:]) == [1, 4]

    parameters.denied.clear()
    await opened.client.fetch(refs)
    before = len(parameters.operations)
    outcomes = await opened.client.fetch(refs)
    assert all(isinstance(outcome, SecretValue) for outcome in outcomes.values())
    assert reads(parameters)[before:] == [(5, True)]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "AccessDeniedException",
            "The ciphertext refers to a customer master key that you are not allowed to access.",
        ),
        ("AccessDeniedException", "... is not authorized to perform: kms:Decrypt on resource ..."),
        ("InvalidKeyId", ""),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
async def test_a_key_that_does_not_decrypt_names_the_permission(
    parameters: Store, opener: Opener, code: str, text: str, count: int
) -> None:
    keys = made(parameters, count)

    def deny(request: Request) -> Action | None:
        mine = operation(request) == GET and f"/{keys[0]}" in request.json["Names"]
        return error_reply(code, message=text) if mine else None

    parameters.fault = deny
    opened = await opener(parameters)
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    outcome = outcomes[Ref(keys[0])]
    assert isinstance(outcome, AccessDenied)
    assert "kms:Decrypt" in outcome.message
    assert all(isinstance(outcomes[Ref(key)], SecretValue) for key in keys[1:])


async def test_a_batch_that_is_refused_for_one_name_is_read_singly(
    parameters: Store, opener: Opener
) -> None:
    keys = made(parameters, 3)
    parameters.fault = lambda request: (
        error_reply("ValidationException") if len(request.json.get("Names", ())) > 1 else None
    )
    opened = await opener(parameters)
    outcomes = await opened.client.fetch([Ref(key) for key in keys])
    assert all(isinstance(outcome, SecretValue) for outcome in outcomes.values())


async def test_the_check_is_within_the_prefix_and_passes_with_no_right_to_it(
    parameters: Store, opener: Opener
) -> None:
    opened = await opener(parameters, prefix="/team-a/")
    await opened.client.check()
    assert parameters.proxy.requests[-1].json["Names"] == ["/team-a/syncret-store-check"]
    parameters.denied_operations = {GET}
    await opened.client.check()
    assert opened.observed.calls == [(GET, "ok"), (GET, "denied")]


# Answers that are odd


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"null",
        b'{"Parameters": [null]}',
        b'{"Parameters": "text"}',
        b'{"Parameters": [{"Name": 1, "Value": 2}]}',
        b'{"Parameters": [], "InvalidParameters": []}',
        b'{"Parameters": [], "InvalidParameters": ["/another"]}',
        b"\xff\xfe",
    ],
)
@pytest.mark.parametrize("count", [1, 2])
async def test_an_answer_of_another_shape_is_a_failure_of_ours(
    parameters: Store, opener: Opener, body: bytes, count: int
) -> None:
    keys = made(parameters, count)
    parameters.fault = Change(reply=lambda _: body)
    opened = await opener(parameters)
    with pytest.raises(ProviderUnavailable) as raised:
        await opened.client.fetch([Ref(key) for key in keys])
    assert "text" not in raised.value.message


async def test_an_answer_that_is_encrypted_is_never_taken_for_the_value(
    parameters: Store, opener: Opener
) -> None:
    (key,) = made(parameters, 1)
    opened = await opener(parameters)
    await opened.client.fetch([Ref(key)])

    def later(body: bytes) -> bytes:
        answer = json.loads(body)
        for entry in answer["Parameters"]:
            entry["Version"] = 2
        return json.dumps(answer).encode()

    parameters.fault = lambda request: (
        Change(reply=later) if not request.json["WithDecryption"] else None
    )
    outcome = (await opened.client.fetch([Ref(key)], known={Ref(key): "1"}))[Ref(key)]
    assert bytes_of(outcome) == key.encode()


# Searches


async def test_a_search_below_a_level_needs_no_right_to_describe(
    parameters: Store, opener: Opener
) -> None:
    keys = made(parameters, 23)
    parameters.denied_operations = {"DescribeParameters"}
    opened = await opener(parameters)
    found: list[str] = []
    page, pages = "", 0
    while pages == 0 or page:
        one = await opened.client.find(Query(path=keys[0].removesuffix("000")), page=page)
        found, page, pages = [*found, *one.keys], one.more, pages + 1
    assert sorted(found) == keys
    assert pages == 3
    assert opened.observed.calls == [("GetParametersByPath", "ok")] * 3
    assert not any(request.json["WithDecryption"] for request in parameters.proxy.requests)


async def test_a_path_is_the_beginning_of_names(parameters: Store, opener: Opener) -> None:
    prefix = fresh()
    for name in ("data", "database", "data/base", "other"):
        parameters.put(f"{prefix}/{name}", b"value")
    opened = await opener(parameters)
    found = await opened.client.find(Query(path=f"{prefix}/data"))
    assert sorted(found.keys) == [f"{prefix}/{name}" for name in ("data", "data/base", "database")]


async def test_tags_are_filtered_by_aws(parameters: Store, opener: Opener) -> None:
    keys = made(parameters, 3)
    parameters.tag(keys[0], {"team": "a", "tier": "1"})
    parameters.tag(keys[1], {"team": "a"})
    opened = await opener(parameters)
    path = keys[0].removesuffix("000")
    found = await opened.client.find(Query(path=path, tags=(("team", "a"), ("tier", "1"))))
    assert found.keys == (keys[0],)
    assert parameters.proxy.requests[-1].json["ParameterFilters"] == [
        {"Key": "Name", "Option": "BeginsWith", "Values": [f"/{path}"]},
        {"Key": "tag:team", "Option": "Equals", "Values": ["a"]},
        {"Key": "tag:tier", "Option": "Equals", "Values": ["1"]},
    ]
    assert opened.observed.calls == [("DescribeParameters", "ok")]


async def test_a_search_that_is_denied_names_the_permission(
    parameters: Store, opener: Opener
) -> None:
    parameters.denied_operations = {
        "GetParametersByPath",
        "DescribeParameters",
        "ListTagsForResource",
    }
    key = fresh()
    parameters.put(key, b"value")
    opened = await opener(parameters)
    with pytest.raises(AccessDenied, match='allow ssm:GetParametersByPath on the level "/app"'):
        await opened.client.find(Query(path="app/"))
    with pytest.raises(AccessDenied, match=r'allow ssm:DescribeParameters on the resource "\*"'):
        await opened.client.find(Query(tags=(("team", "a"),)))
    outcomes = await opened.client.fetch([Ref(key), Ref(key, metadata=True)])
    assert bytes_of(outcomes[Ref(key)]) == b"value"
    denied = outcomes[Ref(key, metadata=True)]
    assert isinstance(denied, AccessDenied)
    assert "allow ssm:ListTagsForResource on this parameter" in denied.message


async def test_what_no_parameter_is_called_is_not_searched_for(
    parameters: Store, opener: Opener
) -> None:
    opened = await opener(parameters)
    assert (await opened.client.find(Query(path="ü"))).keys == ()
    with pytest.raises(ProviderRejected, match="cannot search for the tag"):
        await opened.client.find(Query(tags=(("team", ""),)))
    assert parameters.operations == []
