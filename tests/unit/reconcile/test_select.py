"""Properties of JSON values."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncret.errors import PropertyNotFound, ValueNotJSON
from syncret.reconcile.select import expand_properties, select_property

DOCUMENT = json.dumps(
    {
        "username": "app",
        "port": 5432,
        "tls.crt": "PEM",
        "nested": {"a": {"b": "deep"}, "x.y": "dotted below", "list": [{"n": "zero"}, "one"]},
        "flag": True,
        "nothing": None,
        "a.b": {"c": "step with a dot"},
        "empty": "",
    }
).encode()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("username", b"app"),
        ("port", b"5432"),
        ("tls.crt", b"PEM"),
        ("nested.a.b", b"deep"),
        ("nested.x.y", b"dotted below"),
        ("nested.list.0.n", b"zero"),
        ("nested.list.1", b"one"),
        ("nested.a", b'{"b":"deep"}'),
        ("flag", b"true"),
        ("a.b.c", b"step with a dot"),
        ("empty", b""),
    ],
)
def test_a_property_is_found(path: str, expected: bytes) -> None:
    assert select_property(DOCUMENT, path) == expected


@pytest.mark.parametrize(
    "path", ["missing", "username.more", "nested.list.7", "nested.list.x", "nothing", "", ".", "a."]
)
def test_a_missing_property_is_named(path: str) -> None:
    with pytest.raises(PropertyNotFound, match="has no property") as caught:
        select_property(DOCUMENT, path)
    assert f'"{path}"' in caught.value.message


@pytest.mark.parametrize("number", ["1.10", "100000000000000000000000001", "1E+400", "-0.5"])
def test_a_number_stays_as_it_was_written(number: str) -> None:
    assert select_property(f'{{"n": {number}}}'.encode(), "n") == number.encode()


@pytest.mark.parametrize(
    "value",
    [b"hunter2", b'{"password": "hunter2"', b"\xff\xfehunter2", b"[" * 100_000, b'"hunter2"'],
)
def test_what_is_not_json_is_not_quoted(value: bytes) -> None:
    with pytest.raises(ValueNotJSON) as caught:
        select_property(value, "password")
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_expanding_leaves_null_out() -> None:
    assert expand_properties(b'{"a": "1", "b": null, "c": [1, 2]}') == {"a": b"1", "c": b"[1,2]"}


def test_expanding_needs_an_object() -> None:
    with pytest.raises(ValueNotJSON, match="object is needed"):
        expand_properties(b"[1]")


@given(st.dictionaries(st.text(), st.text(), min_size=1))
def test_every_text_of_an_object_comes_out_as_it_went_in(document: dict[str, str]) -> None:
    value = json.dumps(document).encode()
    expanded = expand_properties(value)
    for key, text in document.items():
        assert select_property(value, key) == text.encode("utf-8", "surrogatepass")
        assert expanded[key] == text.encode("utf-8", "surrogatepass")


def test_an_object_that_stands_for_bytes_is_these() -> None:
    value = b'{"jks": {"syncret.io/base64": "/u3+7Q=="}, "other": {"base64": "/u3+7Q=="}}'
    assert select_property(value, "jks") == b"\xfe\xed\xfe\xed"
    assert expand_properties(value)["jks"] == b"\xfe\xed\xfe\xed"
    assert expand_properties(value)["other"] == b'{"base64":"/u3+7Q=="}'


@pytest.mark.parametrize("field", [b'"%"', b"1", b"null", b'["a"]'])
def test_what_stands_for_no_bytes_is_refused(field: bytes) -> None:
    with pytest.raises(ValueNotJSON):
        select_property(b'{"a": {"syncret.io/base64": ' + field + b"}}", "a")


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity"])
def test_what_is_no_number_in_json_is_refused_within_a_part(number: str) -> None:
    with pytest.raises(ValueNotJSON, match="out of all bounds"):
        select_property(f'{{"a": {{"b": {number}}}}}'.encode(), "a")
