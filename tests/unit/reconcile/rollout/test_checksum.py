"""The annotation's text: what its entries tell apart, reading anything, writing stably."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncret.api.workload import ConsumedKeys
from syncret.digest import Digester
from syncret.reconcile.rollout.checksum import (
    MAX_LENGTH,
    Entry,
    entry_for,
    parse,
    parse_entry,
    render,
    sequence_of,
)

DIGESTER = Digester(b"k" * 32)
KEYS = st.sampled_from(["a", "b", "c"])
DATA = st.dictionaries(KEYS, st.binary(max_size=2), max_size=3)
CONSUMED = st.none() | st.frozensets(KEYS, min_size=1)


def made(data: dict[str, bytes], consumed: ConsumedKeys = None, *, name: str = "db") -> Entry:
    return entry_for(
        DIGESTER, DIGESTER.values(data), namespace="payments", secret=name, consumed=consumed
    )


def read(data: dict[str, bytes], consumed: ConsumedKeys) -> dict[str, bytes]:
    return data if consumed is None else {k: v for k, v in data.items() if k in consumed}


@given(DATA, DATA, CONSUMED)
def test_entries_are_equal_exactly_when_what_is_read_is_equal(
    one: dict[str, bytes], other: dict[str, bytes], consumed: ConsumedKeys
) -> None:
    same = read(one, consumed) == read(other, consumed)
    assert (made(one, consumed) == made(other, consumed)) == same


@given(DATA, CONSUMED, CONSUMED)
def test_the_set_tells_which_keys_are_read(
    data: dict[str, bytes], one: ConsumedKeys, other: ConsumedKeys
) -> None:
    assert (made(data, one).keys == made(data, other).keys) == (one == other)


def test_a_consumed_key_that_appears_is_a_change() -> None:
    consumed = frozenset({"a", "b"})
    assert made({"a": b"1"}, consumed) != made({"a": b"1", "b": b""}, consumed)


def test_equal_data_of_two_secrets_cannot_be_seen_to_be_equal() -> None:
    assert made({"a": b"1"}).digest != made({"a": b"1"}, name="cache").digest


# Drawn as text between two ends: a regular expression takes three times as long.
NAMES = st.sampled_from(["a", "0"]) | st.builds(
    "".join,
    st.tuples(st.sampled_from("az09"), st.text("az09.-", max_size=20), st.sampled_from("az09")),
)
ENTRIES = st.dictionaries(NAMES, st.builds(made, DATA, CONSUMED), min_size=1, max_size=6)


@given(ENTRIES)
def test_what_is_written_can_be_read(entries: dict[str, Entry]) -> None:
    assert parse(render(entries, needed=next(iter(entries)), sequence=7, uid="u")) == entries


@given(ENTRIES)
def test_the_same_entries_are_the_same_text(entries: dict[str, Entry]) -> None:
    reversed_entries = dict(reversed(entries.items()))
    texts = {
        render(e, needed=n, sequence=7, uid="u")
        for e in (entries, reversed_entries)
        for n in entries
    }
    assert len(texts) == 1


@given(st.text() | st.text(alphabet=string.hexdigits + "*.=,-", max_size=120))
def test_garbage_has_no_entries(text: str) -> None:
    assert parse(text) == {}
    assert parse_entry(text) is None


@given(ENTRIES, st.text(alphabet=st.characters(exclude_characters=","), max_size=20))
def test_garbage_beside_entries_leaves_them(entries: dict[str, Entry], garbage: str) -> None:
    text = render(entries, needed=next(iter(entries)), sequence=7, uid="u")
    assert parse(f"{garbage},{text}, {garbage}") == entries


@pytest.mark.parametrize("change", ["", "0", "!"])
def test_an_entry_of_another_length_is_none(change: str) -> None:
    text = str(made({"a": b"1"}))
    altered = text[:-1] if change == "" else text + change
    assert parse_entry(text) == made({"a": b"1"})
    assert parse_entry(altered) is None


def test_the_text_is_bounded_and_has_the_needed_entry() -> None:
    entries = {f"{number:0250}": made({"a": b"1"}) for number in range(400)}
    last = max(entries)
    text = render(entries, needed=last, sequence=7, uid="u")
    assert len(text) <= MAX_LENGTH
    kept = parse(text)
    assert kept[last] == entries[last]
    assert 100 < len(kept) < 400


def test_a_text_beyond_the_bound_is_not_read() -> None:
    text = f"db={made({'a': b'1'})}"
    assert parse(text)
    assert parse(text + "," * MAX_LENGTH) == {}


def test_the_number_of_the_restart_is_that_of_one_workload() -> None:
    text = render({"db": made({})}, needed="db", sequence=7, uid="u")
    assert sequence_of(text, "u") == 7
    assert sequence_of(text, "another") == 0


@pytest.mark.parametrize("text", ["", "#7", "#7,db=x", "db=x", "#", "#x.0b1c2d3e", "#7.0b1c2d3e"])
def test_what_is_no_number_of_it(text: str) -> None:
    assert sequence_of(text, "u") == 0
