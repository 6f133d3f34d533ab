"""From outcomes to the data of a Secret: order, collisions, limits, and what errors say."""

import json
from collections.abc import Mapping

import pytest

from support.objects import external_secret
from syncret.api.externalsecret import ExternalSecret, MissingEntry
from syncret.api.keys import ObjectKey
from syncret.errors import (
    AccessDenied,
    DecodingFailed,
    DuplicateKey,
    InvalidKey,
    KeyNotFound,
    NullByte,
    PropertyNotFound,
    SecretTooLarge,
    ValueNotJSON,
)
from syncret.providers.base import NotFound, Outcome, Ref, SecretValue
from syncret.reconcile import assemble as assembling
from syncret.reconcile.assemble import Assembled
from syncret.reconcile.wanted import Fetched, wanted_of

JSON = Ref("app/db")
STORE = ObjectKey("SecretStore", "payments", "aws")


def assembled(record: ExternalSecret, outcomes: Mapping[Ref, Outcome]) -> Assembled:
    return assembling.assemble(
        record, Fetched({(STORE, ref): outcome for ref, outcome in outcomes.items()})
    )


def assemble(record: ExternalSecret, outcomes: Mapping[Ref, Outcome]) -> dict[str, bytes]:
    """The data; what is missing is raised, as a round does with what is required."""
    result = assembled(record, outcomes)
    if result.required_missing:
        raise result.required_missing[0].error
    return dict(result.data)


def _entry(secret_key: str, key: str = "app/db", **remote: str) -> dict[str, object]:
    return {"secretKey": secret_key, "remoteRef": {"key": key, **remote}}


def test_a_key_read_twice_is_fetched_once() -> None:
    record = external_secret(
        data=[
            _entry("a", property="x"),
            _entry("b", property="y"),
            _entry("c", version="AWSPREVIOUS"),
        ],
        dataFrom=[{"extract": {"key": "app/db"}}],
    )
    (wanted,) = wanted_of(record).values()
    assert tuple(wanted.refs) == (Ref("app/db"), Ref("app/db", "AWSPREVIOUS"))


def test_extracted_and_single_values_come_together() -> None:
    record = external_secret(
        data=[_entry("blob", "app/blob")], dataFrom=[{"extract": {"key": "app/db"}}]
    )
    outcomes = {
        JSON: SecretValue(b'{"user": "app", "port": 1}'),
        Ref("app/blob"): SecretValue(b"\x00\xff"),
    }
    assert assemble(record, outcomes) == {"user": b"app", "port": b"1", "blob": b"\x00\xff"}


def test_extract_may_start_at_a_property() -> None:
    record = external_secret(dataFrom=[{"extract": {"key": "app/db", "property": "inner"}}])
    outcomes = {JSON: SecretValue(b'{"inner": {"a": "1"}}')}
    assert assemble(record, outcomes) == {"a": b"1"}


def test_two_entries_for_one_key_are_an_error_that_names_both() -> None:
    record = external_secret(
        data=[_entry("user", "app/other")], dataFrom=[{"extract": {"key": "app/db"}}]
    )
    outcomes = {JSON: SecretValue(b'{"user": "a"}'), Ref("app/other"): SecretValue(b"b")}
    with pytest.raises(DuplicateKey) as caught:
        assemble(record, outcomes)
    assert "spec.data[0].remoteRef" in caught.value.message
    assert "spec.dataFrom[0].extract" in caught.value.message


@pytest.mark.parametrize(
    ("outcome", "error", "says"),
    [
        (NotFound(), KeyNotFound, "create it there, or correct the key"),
        (NotFound(version_missing=True), KeyNotFound, 'no version "7"'),
        (AccessDenied("grant x"), AccessDenied, "grant x"),
        (SecretValue(b"{}"), PropertyNotFound, 'has no property "password"'),
        (SecretValue(b"plain"), ValueNotJSON, "is not JSON"),
    ],
)
def test_a_failure_names_the_entry_and_what_to_do(
    outcome: SecretValue | NotFound | AccessDenied, error: type[Exception], says: str
) -> None:
    record = external_secret(data=[_entry("p", property="password", version="7")])
    with pytest.raises(error) as caught:
        assemble(record, {Ref("app/db", "7"): outcome})
    assert says in str(caught.value)
    assert isinstance(outcome, AccessDenied) or "spec.data[0].remoteRef" in str(caught.value)


def test_a_secret_without_a_current_version_is_not_said_to_lack_a_version_of_no_name() -> None:
    record = external_secret(data=[_entry("p", property="password")])
    with pytest.raises(KeyNotFound, match='has "app/db" without a current version'):
        assemble(record, {Ref("app/db"): NotFound(version_missing=True)})


@pytest.mark.parametrize("key", ["", "..", "..data", "../a", "x" * 254])
def test_a_key_that_a_secret_cannot_have_is_refused(key: str) -> None:
    record = external_secret()
    with pytest.raises(InvalidKey, match=r"spec\.dataFrom\[0\]\.extract"):
        assemble(record, {JSON: SecretValue(json.dumps({key: "v"}).encode())})


@pytest.mark.parametrize(
    ("key", "default", "unicode"),
    [("a b", "a_b", "a_U0020_b"), ("ü", "_", "_U00fc_"), ("a/b", "a_b", "a_U002f_b")],
)
def test_characters_that_a_key_cannot_have_are_replaced(
    key: str, default: str, unicode: str
) -> None:
    value = SecretValue(json.dumps({key: "v"}).encode())
    assert assemble(external_secret(), {JSON: value}) == {default: b"v"}
    extract = {"key": "app/db", "conversionStrategy": "Unicode"}
    record = external_secret(dataFrom=[{"extract": extract}])
    assert assemble(record, {JSON: value}) == {unicode: b"v"}


def test_two_keys_that_become_one_are_an_error_that_names_both() -> None:
    value = SecretValue(b'{"a/b": "1", "a b": "2"}')
    with pytest.raises(DuplicateKey, match='gives "a/b" and "a b", which both become the key'):
        assemble(external_secret(), {JSON: value})


def test_what_is_missing_is_told_and_the_rest_is_there() -> None:
    record = external_secret(
        data=[
            {**_entry("gone", "app/gone"), "optional": True},
            {**_entry("part", property="not.there"), "optional": True},
            _entry("required", "app/other"),
            _entry("user", property="user"),
        ],
        dataFrom=[{"extract": {"key": "app/none"}, "optional": True}],
    )
    nothing = (Ref("app/gone"), Ref("app/other"), Ref("app/none"))
    result = assembled(
        record, {JSON: SecretValue(b'{"user": "app"}'), **dict.fromkeys(nothing, NotFound())}
    )
    assert result.data == {"user": b"app"}
    assert [missing.entry for missing in result.missing] == [
        MissingEntry("spec.dataFrom[0]", "app/none"),
        MissingEntry("spec.data[0]", "app/gone"),
        MissingEntry("spec.data[1]", "app/db", "not.there"),
        MissingEntry("spec.data[2]", "app/other"),
    ]
    (required,) = result.required_missing
    assert isinstance(required.error, KeyNotFound)
    assert "app" not in repr(result).replace("app/", "")


def test_an_optional_value_of_the_wrong_form_is_an_error_all_the_same() -> None:
    record = external_secret(dataFrom=[{"extract": {"key": "app/db"}, "optional": True}])
    with pytest.raises(ValueNotJSON):
        assembled(record, {JSON: SecretValue(b"plain")})


def test_values_are_decoded_after_they_were_selected() -> None:
    remote = {"key": "app/db", "property": "cert", "decodingStrategy": "Base64"}
    record = external_secret(data=[{"secretKey": "c", "remoteRef": remote}])
    assert assemble(record, {JSON: SecretValue(b'{"cert": "aGk="}')}) == {"c": b"hi"}
    with pytest.raises(DecodingFailed, match=r'"app/db" is not Base64 \(spec\.data\[0\]'):
        assemble(record, {JSON: SecretValue(b'{"cert": "a"}')})


def test_null_bytes_are_refused_where_the_policy_says_so() -> None:
    outcomes = {JSON: SecretValue(rb'{"a": "x\u0000y"}')}
    assert assemble(external_secret(), outcomes) == {"a": b"x\0y"}
    extract = {"key": "app/db", "nullBytePolicy": "Fail"}
    with pytest.raises(NullByte, match=r'The value of "a" holds a null byte'):
        assemble(external_secret(dataFrom=[{"extract": extract}]), outcomes)


def test_a_key_of_253_characters_is_the_longest() -> None:
    value = SecretValue(json.dumps({"x" * 253: "v"}).encode())
    assert assemble(external_secret(), {JSON: value}) == {"x" * 253: b"v"}


def test_a_secret_over_one_mebibyte_is_refused_and_at_it_is_not() -> None:
    record = external_secret(data=[_entry("a", "app/a"), _entry("b", "app/b")])
    half = b"x" * (512 * 1024)
    outcomes = {Ref("app/a"): SecretValue(half), Ref("app/b"): SecretValue(half)}
    assert sum(map(len, assemble(record, outcomes).values())) == 1024 * 1024
    outcomes[Ref("app/b")] = SecretValue(half + b"x")
    with pytest.raises(SecretTooLarge, match="1048577 bytes"):
        assemble(record, outcomes)
