"""From outcomes to the data of a Secret: order, collisions, limits, and what errors say."""

import pytest

from support.objects import external_secret
from syncret.errors import (
    AccessDenied,
    DuplicateKey,
    InvalidKey,
    KeyNotFound,
    PropertyNotFound,
    SecretTooLarge,
    ValueNotJSON,
)
from syncret.providers.base import NotFound, Ref, SecretValue
from syncret.reconcile.assemble import assemble, refs_of

JSON = Ref("app/db")


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
    assert refs_of(record) == (Ref("app/db"), Ref("app/db", "AWSPREVIOUS"))


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


@pytest.mark.parametrize("key", ["a b", "ü", "", "..", "..data", "a/b", "x" * 254])
def test_a_key_that_a_secret_cannot_have_is_refused(key: str) -> None:
    import json

    record = external_secret()
    with pytest.raises(InvalidKey, match=r"spec\.dataFrom\[0\]\.extract"):
        assemble(record, {JSON: SecretValue(json.dumps({key: "v"}).encode())})


def test_a_key_of_253_characters_is_the_longest() -> None:
    import json

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
