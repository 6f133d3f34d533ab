"""Answers of the key/value engines as values."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncret.api.data import Query
from syncret.providers.base import NotFound, SecretValue
from syncret.providers.vault import kv, search
from syncret.providers.vault.keys import Place

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON))
def test_a_document_is_the_same_object(value: dict[str, Any]) -> None:
    assert json.loads(kv.document(value)) == value
    backwards = dict(reversed(list(value.items())))
    assert kv.document(backwards) == kv.document(value)


def test_numbers_stay_as_they_were_written() -> None:
    body = b'{"data":{"b":1.10,"a":12345678901234567890.5,"c":1E5,"d":7}}'
    value = kv.value_v1(kv.parse(body))
    assert value is not None
    assert value.reveal() == b'{"a":12345678901234567890.5,"b":1.10,"c":1E5,"d":7}'


def test_half_a_character_is_kept() -> None:
    value = kv.value_v1(kv.parse(b'{"data":{"a":"\\ud800"}}'))
    assert value is not None
    assert value.reveal() == b'{"a":"\xed\xa0\x80"}'


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{", b'{"data":null}', b'{"data":[]}', b'{"data":"x"}', b"[" * 100_000],
)
def test_what_is_no_answer_is_no_value(body: bytes) -> None:
    assert kv.value_v1(kv.parse(body)) is None
    assert kv.value_v2(kv.parse(body), metadata=False, pinned=False) is None


def answer(fields: Any, **about: Any) -> dict[str, Any]:
    metadata = {"version": 3, "created_time": "2026-03-01T10:00:00.123456789Z", **about}
    return {"data": {"data": fields, "metadata": metadata}}


def test_a_value_has_what_stands_beside_it() -> None:
    body = answer(
        {"a": "b"},
        deletion_time="2026-04-01T00:00:00Z",
        custom_metadata={"b": "2", "a": "1"},
    )
    value = kv.value_v2(body, metadata=False, pinned=False)
    assert isinstance(value, SecretValue)
    assert (value.reveal(), value.version) == (b'{"a":"b"}', "3")
    assert value.created == datetime(2026, 3, 1, 10, 0, 0, 123456, UTC)
    assert value.expires == datetime(2026, 4, 1, tzinfo=UTC)
    assert value.tags == {"a": "1", "b": "2"}
    tags = kv.value_v2(body, metadata=True, pinned=False)
    assert isinstance(tags, SecretValue)
    assert tags.reveal() == b'{"a":"1","b":"2"}'
    plain = kv.value_v2(
        answer({}, deletion_time="", custom_metadata=None), metadata=False, pinned=False
    )
    assert isinstance(plain, SecretValue)
    assert (plain.expires, plain.tags, plain.reveal()) == (None, {}, b"{}")


def test_no_fields_are_no_secret() -> None:
    assert kv.value_v2(answer(None), metadata=False, pinned=False) == NotFound()
    assert kv.value_v2(answer(None), metadata=False, pinned=True) == NotFound(version_missing=True)


def test_a_deleted_version_is_told_from_other_answers() -> None:
    assert kv.is_deleted(answer(None, deletion_time="2026-04-01T00:00:00Z"))
    assert kv.is_deleted(answer(None, destroyed=True))
    assert not kv.is_deleted(answer(None))
    assert not kv.is_deleted({"errors": []})
    assert not kv.is_deleted("nonsense")


def test_only_what_leads_to_the_path_is_listed() -> None:
    query = Query(path="secret/app/db", name="main$")
    start = Place("secret", "app/", "secret/")
    keys = ["db", "db/", "database/", "dbmain", "other", "other/", "api/"]
    found = search.names(query, start, "app/", keys)
    assert found == search.Todo(("app/db/",), ("app/dbmain",))
    assert search.names(query, start, "app/db/", ["main", "copy", "x/"]) == search.Todo(
        ("app/db/x/",), ("app/db/main",)
    )


def test_where_a_page_begins_is_kept_as_a_text() -> None:
    start = Place("secret", "app/")
    assert search.todo("", start) == search.Todo(("app/",))
    left = search.Todo(("a/", "b/"), ("c",))
    assert search.todo(left.text(), start) == left
    assert search.Todo(()).text() == ""
