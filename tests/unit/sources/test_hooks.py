"""Which requests are believed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncret.api.keys import ObjectKey
from syncret.sources.hooks import WINDOW, Refused, Verifier, parse_body, sign
from syncret.sources.names import System

KEY = b"k" * 32
NOW = 1_790_000_000.0
BODY = b"{}"


def headers(key: bytes = KEY, body: bytes = BODY, at: float = NOW) -> dict[str, str]:
    stamp = str(int(at))
    return {"X-Syncret-Timestamp": stamp, "X-Syncret-Signature": sign(key, stamp, body)}


def why(given: dict[str, str], *, keys: list[bytes] | None = None, body: bytes = BODY) -> str:
    try:
        Verifier().verify("ci", [KEY] if keys is None else keys, given, body, wall=NOW)
    except Refused as refused:
        return refused.why
    return ""


def test_genuine() -> None:
    assert why(headers()) == ""
    assert why(headers(), keys=[b"x" * 32, KEY]) == ""
    assert why(headers(at=NOW - WINDOW)) == why(headers(at=NOW + WINDOW)) == ""


def test_refused() -> None:
    assert why({}) == "unsigned"
    assert why({**headers(), "X-Syncret-Signature": "v1=" + "0" * 63}) == "unsigned"
    assert why({**headers(), "X-Syncret-Timestamp": "1e9"}) == "unsigned"
    assert why(headers(b"x" * 32)) == "forged"
    assert why(headers(), keys=[]) == "forged"
    assert why(headers(b"no such hook"), keys=[]) == "forged"
    assert why(headers(), body=b"[]") == "forged"
    assert why({**headers(), "X-Syncret-Timestamp": str(int(NOW) + 1)}) == "forged"
    assert why(headers(at=NOW - WINDOW - 1)) == why(headers(at=NOW + WINDOW + 1)) == "skewed"


def test_one_that_was_overheard_is_refused_by_the_same_hook_only() -> None:
    verifier = Verifier()
    verifier.verify("ci", [KEY], headers(), BODY, wall=NOW)
    with pytest.raises(Refused, match="replayed"):
        verifier.verify("ci", [KEY], headers(), BODY, wall=NOW + 10)
    verifier.verify("other", [KEY], headers(), BODY, wall=NOW)


def test_a_body_names_a_store_and_keys() -> None:
    store = {"kind": "SecretStore", "name": "aws", "namespace": "shop"}
    event = parse_body(json.dumps({"store": store, "keys": ["a", "b", "a"], "more": 1}).encode())
    assert [one.names for one in event.subjects] == [("a",), ("b",)]
    assert {one.system for one in event.subjects} == {System.STORE}
    assert event.subjects[0].store == ObjectKey("SecretStore", "shop", "aws")


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"store": {}, "keys": ["a"]},
        {"store": {"kind": "SecretStore", "name": "aws"}, "keys": ["a"]},
        {"store": {"kind": "ClusterSecretStore", "name": "a", "namespace": "b"}, "keys": ["a"]},
        {"store": {"kind": "ClusterSecretStore", "name": 3}, "keys": ["a"]},
        {"store": {"kind": "ClusterSecretStore", "name": "a"}, "keys": []},
        {"store": {"kind": "ClusterSecretStore", "name": "a"}, "keys": [3]},
        {"store": {"kind": ["x"], "name": "a"}, "keys": ["a"]},
        {"store": {"kind": "ClusterSecretStore", "name": "a"}, "keys": ["a"] * 300},
    ],
)
def test_a_body_of_another_form_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_body(json.dumps(content).encode())


@given(st.binary(max_size=64), st.dictionaries(st.text(max_size=8), st.text(max_size=80)))
def test_any_request_is_refused_or_genuine(body: bytes, given_headers: dict[str, str]) -> None:
    assert why(given_headers, body=body) in {"unsigned", "forged"}
