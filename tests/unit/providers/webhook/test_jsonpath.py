"""The part of JSONPath that names one place."""

from decimal import Decimal

import pytest

from syncret.errors import SpecInvalid
from syncret.providers.webhook.jsonpath import load, parse, text_of

DOCUMENT = {"a": {"b c": [{"d": "found"}, None]}, "n": 1, "x-y": True}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", DOCUMENT),
        ("$.a['b c'][0].d", "found"),
        ('$["a"]["b c"][0]["d"]', "found"),
        ("$.x-y", True),
        ("$.n", 1),
        ("$.a['b c'][1]", None),
        ("$.a['b c'][2]", None),
        ("$.a.none.of.this", None),
        ("$.n.a", None),
        ("$.a[0]", None),
    ],
)
def test_found(path: str, value: object) -> None:
    assert parse(path, "path").find(DOCUMENT) == value


@pytest.mark.parametrize(
    "path", ["", "a", "$a", "$.", "$..a", "$.*", "$[*]", "$[0:1]", "$[?(@.a)]", "$[-1]", "$.a b"]
)
def test_refused(path: str) -> None:
    with pytest.raises(SpecInvalid, match="names one place"):
        parse(path, "path")


def test_numbers_stay_as_they_were_written() -> None:
    assert text_of(load(b'{"a": 1.10}')["a"]) == b"1.10"
    assert text_of(Decimal("1.10")) == b"1.10"
    assert text_of({"a": [1, None, "ü"]}) == '{"a":[1,null,"ü"]}'.encode()
    assert text_of("as it is\n") == b"as it is\n"


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff"])
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(ValueError, match="no JSON"):
        load(body)
