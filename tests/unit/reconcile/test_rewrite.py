"""The steps of rewrite: a row per rule, and what holds for any steps and values."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncret.api.data import Merge, Regexp, Step, Transform
from syncret.constants import MAX_KEYS, MAX_RAW_BYTES
from syncret.errors import (
    DataError,
    DuplicateKey,
    InvalidKey,
    PriorityNotFound,
    SecretTooLarge,
    SpecInvalid,
    ValueNotJSON,
)
from syncret.reconcile.rewrite import rewrite

PATH = "spec.dataFrom[0]"
ONE, TWO = b'{"user": "one", "port": 1.10, "list": [1]}', b'{"user": "two", "none": null}'
BOTH = {"a": ONE, "b": TWO}


def done(values: Mapping[str, bytes], *steps: Step) -> dict[str, bytes]:
    return rewrite(values, steps, path=PATH)


def test_steps_come_one_after_the_other() -> None:
    steps = (Regexp("^app/", ""), Regexp("/", "_"), Regexp("^(.*)$", "my_$1"))
    assert done({"app/db/user": b"1", "other": b"2"}, *steps) == {
        "my_db_user": b"1",
        "my_other": b"2",
    }
    assert done({"x": b"1"}) == {"x": b"1"}


def test_two_keys_that_become_one_are_an_error_that_names_both() -> None:
    with pytest.raises(DuplicateKey) as caught:
        done({"x/a": b"1", "y/a": b"2"}, Regexp("zzz", ""), Regexp("^./", ""))
    assert caught.value.message == (
        'spec.dataFrom[0].rewrite[1] turns both "x/a" and "y/a" into "a": make it tell them apart.'
    )


MERGES: list[tuple[Mapping[str, bytes], Merge, dict[str, bytes]]] = [
    ({"a": ONE}, Merge(), {"user": b"one", "port": b"1.10", "list": b"[1]"}),
    ({"a": b'{"x": 1}', "b": b'{"y": {"z": "1"}}'}, Merge(), {"x": b"1", "y": b'{"z":"1"}'}),
    # Conflicts: the later key wins, in the order of the alphabet, not in that of the store.
    (
        {"b": TWO, "a": ONE},
        Merge(refuse_conflicts=False),
        {"user": b"two", "port": b"1.10", "list": b"[1]"},
    ),
    # Priority wins without being asked about conflicts; of two, the later.
    (BOTH, Merge(priority=("a",)), {"user": b"one", "port": b"1.10", "list": b"[1]"}),
    (BOTH, Merge(priority=("b", "a")), {"user": b"one", "port": b"1.10", "list": b"[1]"}),
    (BOTH, Merge(priority=("a", "b")), {"user": b"two", "port": b"1.10", "list": b"[1]"}),
    (
        BOTH,
        Merge(priority=("gone", "a"), strict=False),
        {"user": b"one", "port": b"1.10", "list": b"[1]"},
    ),
    (
        {"a": b'{"x": "1"}', "b": b'{"y": null}'},
        Merge(strategy="JSON", into="all"),
        {"a": b'{"x": "1"}', "b": b'{"y": null}', "all": b'{"x":"1","y":null}'},
    ),
    ({}, Merge(strategy="JSON", into="all"), {"all": b"{}"}),
]


@pytest.mark.parametrize(("values", "merge", "result"), MERGES)
def test_what_a_merge_gives(
    values: Mapping[str, bytes], merge: Merge, result: dict[str, bytes]
) -> None:
    assert done(values, merge) == result


REFUSED: list[tuple[Mapping[str, bytes], Merge, type[DataError], str]] = [
    (BOTH, Merge(), DuplicateKey, '"a" and "b" both have the field "user"'),
    (BOTH, Merge(priority=("gone",)), PriorityNotFound, 'names "gone", which is not among'),
    ({"a": b"plain"}, Merge(), ValueNotJSON, 'the value of "a" is not JSON'),
    ({"a": b"[1]"}, Merge(), ValueNotJSON, "is a JSON array where an object is needed"),
    ({"a": b'{"x": 1e9999999999999999999}'}, Merge(), ValueNotJSON, "is not JSON"),
    ({"a": b"{}"}, Merge(strategy="JSON", into="a"), DuplicateKey, "there is a key of that name"),
]


@pytest.mark.parametrize(("values", "merge", "error", "says"), REFUSED)
def test_what_a_merge_refuses(
    values: Mapping[str, bytes], merge: Merge, error: type[DataError], says: str
) -> None:
    with pytest.raises(error) as caught:
        done(values, merge)
    assert says in caught.value.message
    assert caught.value.message.startswith("spec.dataFrom[0].rewrite[0].merge")


def test_more_than_can_become_a_secret_is_not_worked_on() -> None:
    with pytest.raises(SecretTooLarge, match="4097 keys"):
        done({f"k{number}": b"" for number in range(MAX_KEYS + 1)}, Regexp("k", "j"))
    with pytest.raises(SecretTooLarge, match="bytes"):
        done({"k": b"x" * (MAX_RAW_BYTES + 1)}, Regexp("k", "j"))


def test_keys_do_not_grow_without_end() -> None:
    with pytest.raises(InvalidKey, match=r"rewrite\[\d+\]\.regexp gives a key of more than 4096"):
        done({"k" * 100: b""}, *[Regexp("(.+)", "$1$1")] * 16)


def test_the_keys_together_have_a_limit_of_replacements() -> None:
    values = {f"{number:04}" + "a" * 240: b"" for number in range(4000)}
    with pytest.raises(InvalidKey, match=r"rewrite\[0\]\.regexp replaces more than"):
        done(values, Regexp("", "b"))
    assert len(done(values, Regexp("a+$", ""), Regexp("^", "key-"))) == 4000


def test_a_key_that_is_not_unicode_is_told_and_not_matched() -> None:
    with pytest.raises(InvalidKey, match="which is not Unicode"):
        done({"\ud800": b""}, Regexp("a", "b"))


class _Upper:
    """Renders nothing but the value, in upper case."""

    def render_each(
        self, template: str, variables: Sequence[Mapping[str, str]], *, path: str
    ) -> list[str]:
        assert path == f"{PATH}.rewrite[1].transform.template" or template.startswith("x")
        return [template.replace("VALUE", one["value"].upper()) for one in variables]


def test_a_transform_names_keys_by_a_template() -> None:
    steps = (Regexp("^app-", ""), Transform("X_VALUE"))
    assert rewrite({"app-a": b"1"}, steps, path=PATH, renderer=_Upper()) == {"X_A": b"1"}
    with pytest.raises(DuplicateKey):
        rewrite({"a": b"1", "A": b"2"}, steps, path=PATH, renderer=_Upper())
    with pytest.raises(InvalidKey):
        rewrite({"a": b"1"}, [Transform("x" * 5000)], path=PATH, renderer=_Upper())
    with pytest.raises(SpecInvalid):
        done({"a": b"1"}, Transform("VALUE"))


KEYS = st.text(st.characters(), max_size=8)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
VALUES = st.one_of(
    st.binary(max_size=20),
    st.dictionaries(st.sampled_from(["a", "b", "c"]) | KEYS, JSON, max_size=3).map(
        lambda document: json.dumps(document).encode()
    ),
)
STEPS = st.one_of(
    st.builds(
        Regexp,
        st.sampled_from(["", "a", "(.)(.*)", "^", "$", "[^a]", "(?i)A*"]),
        st.sampled_from(["", "x", "a", "y$$"]),
    ),
    st.builds(Regexp, st.just("(.)(.?)"), st.sampled_from(["$2$1", "$1", "${1}_$2", "$1$1$2"])),
    st.builds(
        Merge,
        strategy=st.just("Extract"),
        priority=st.lists(st.sampled_from(["a", "b"]), max_size=2).map(tuple),
        strict=st.booleans(),
        refuse_conflicts=st.booleans(),
    ),
    st.builds(Merge, strategy=st.just("JSON"), into=st.sampled_from(["a", "into"])),
)


@settings(max_examples=300)
@given(st.dictionaries(KEYS, VALUES, max_size=5), st.lists(STEPS, max_size=5))
def test_any_input_gives_a_result_or_our_error(values: dict[str, bytes], steps: list[Step]) -> None:
    try:
        result, message = done(values, *steps), PATH
    except DataError as error:
        result, message = {}, error.message
        values = {}
    assert message.startswith(PATH)
    assert message.encode(), "the API server takes nothing but Unicode"
    assert all(isinstance(value, bytes) for value in result.values())
    if not any(isinstance(step, Merge) for step in steps):
        assert sorted(result.values()) == sorted(values.values()), "nothing is lost"


@given(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
        max_size=5,
    )
)
def test_a_merge_holds_each_field_once_and_from_where_it_should(
    documents: dict[str, dict[str, str]],
) -> None:
    values = {key: json.dumps(document).encode() for key, document in documents.items()}
    expected: dict[str, str] = {}
    for key in sorted(documents):
        expected |= documents[key]
    merged = done(values, Merge(refuse_conflicts=False))
    assert merged == {name: text.encode() for name, text in expected.items()}
    names = [name for document in documents.values() for name in document]
    if len(set(names)) == len(names):
        assert done(values, Merge()) == merged
    else:
        with pytest.raises(DuplicateKey):
            done(values, Merge())
