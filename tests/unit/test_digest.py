"""Keyed digests: what they tell and what they do not."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncret.digest import Digester

DATA = st.dictionaries(st.text(min_size=1), st.binary(), max_size=5)
ONE, OTHER = Digester(b"1" * 32), Digester(b"2" * 32)


@given(DATA, DATA)
def test_digests_are_equal_exactly_when_the_data_are(
    one: dict[str, bytes], other: dict[str, bytes]
) -> None:
    published = [ONE.publish("c", ONE.values(data)) for data in (one, other)]
    assert (published[0] == published[1]) == (one == other)


def test_a_digest_depends_on_key_and_context() -> None:
    values = {"a": b"x"}
    first = ONE.publish("data/n/s", ONE.values(values))
    assert first != ONE.publish("data/n/t", ONE.values(values))
    assert first.split(".")[1] != OTHER.publish("data/n/s", OTHER.values(values)).split(".")[1]


def test_a_digest_names_its_key() -> None:
    assert ONE.knows(ONE.publish("c", {}))
    assert not ONE.knows(OTHER.publish("c", {}))
    assert not ONE.knows("")


def test_neither_key_nor_value_is_in_it() -> None:
    published = ONE.publish("c", ONE.values({"a": b"value"}))
    for plain in (b"value", b"1" * 32):
        assert hashlib.sha256(plain).hexdigest()[:8] not in published
        assert plain.hex() not in published


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Digester(b"short")
