"""Decoding, null bytes and usable keys: tables, and what holds for any input."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncret.api.data import Conversion, Decoding, Handling
from syncret.errors import DecodingFailed, NullByte
from syncret.reconcile.decode import decode, handle, usable_key

DECODINGS: tuple[Decoding, ...] = ("None", "Base64", "Base64URL", "Auto")
#: Bytes whose two alphabets differ: "+/8=" and "-_8=".
DIFFERENT = b"\xfb\xff"


@pytest.mark.parametrize(
    ("decoding", "value", "result"),
    [
        ("None", b"aGk=", b"aGk="),
        ("Base64", b"aGk=", b"hi"),
        ("Base64", b"aG\r\nk=\n", b"hi"),
        ("Base64", b"", b""),
        ("Base64", b"+/8=", DIFFERENT),
        ("Base64URL", b"-_8=", DIFFERENT),
        ("Base64URL", b"-_8", DIFFERENT),
        ("Base64URL", b"aGk", b"hi"),
        ("Auto", b"aGk=", b"hi"),
        ("Auto", b"+/8=", DIFFERENT),
        ("Auto", b"-_8=", DIFFERENT),
        ("Auto", b"aGk", b"aGk"),
        ("Auto", b"not base64!", b"not base64!"),
        ("Auto", b"\x00\xff", b"\x00\xff"),
    ],
)
def test_what_is_decoded(decoding: Decoding, value: bytes, result: bytes) -> None:
    assert decode(value, decoding) == result


@pytest.mark.parametrize(
    ("decoding", "value"),
    [
        ("Base64", b"aGk"),
        ("Base64", b"-_8="),
        ("Base64", b"a b="),
        ("Base64", b"aGk=aGk="),
        ("Base64", b"\xff"),
        ("Base64URL", b"+/8="),
        ("Base64URL", b"a"),
    ],
)
def test_what_is_not_is_an_error_without_the_value(decoding: Decoding, value: bytes) -> None:
    with pytest.raises(DecodingFailed) as caught:
        decode(value, decoding)
    assert caught.value.message == f"is not {decoding}"


@given(st.binary(max_size=200))
def test_what_was_encoded_comes_back(value: bytes) -> None:
    assert decode(base64.b64encode(value), "Base64") == value
    assert decode(base64.encodebytes(value), "Base64") == value
    assert decode(base64.urlsafe_b64encode(value), "Base64URL") == value
    assert decode(base64.urlsafe_b64encode(value).rstrip(b"="), "Base64URL") == value
    assert decode(base64.b64encode(value), "Auto") == value
    assert decode(base64.urlsafe_b64encode(value), "Auto") == value


@given(st.binary(max_size=200), st.sampled_from(DECODINGS), st.booleans())
def test_any_value_gives_a_result_that_is_no_longer_or_our_error(
    value: bytes, decoding: Decoding, refuse: bool
) -> None:
    try:
        result = handle(value, Handling(decoding=decoding, refuse_null_bytes=refuse))
    except DecodingFailed:
        assert decoding in {"Base64", "Base64URL"}
    except NullByte:
        assert refuse
    else:
        assert len(result) <= len(value)
        assert not refuse or 0 not in result


CONVERSIONS: tuple[Conversion, ...] = ("Default", "Unicode")
ANY_TEXT = st.text(st.characters(), max_size=50)  # with lone surrogates


@given(ANY_TEXT, st.sampled_from(CONVERSIONS))
def test_a_usable_key_has_usable_characters_only(key: str, conversion: Conversion) -> None:
    usable = usable_key(key, conversion)
    assert re.fullmatch(r"[-._a-zA-Z0-9]*", usable)
    assert usable_key(usable, conversion) == usable
    if re.fullmatch(r"[-._a-zA-Z0-9]*", key):
        assert usable == key
    if conversion == "Default":
        assert len(usable) == len(key)


@given(st.lists(st.sampled_from(["a", "/", " ", "ü", "🔑"]), max_size=8))
def test_unicode_tells_apart_what_default_does_not(characters: list[str]) -> None:
    key = "".join(characters)
    back = re.sub(
        r"_U([0-9a-f]{4,6})_", lambda match: chr(int(match[1], 16)), usable_key(key, "Unicode")
    )
    assert back == key
