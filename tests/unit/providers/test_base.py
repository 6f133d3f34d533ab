"""A SecretValue shows nothing."""

import copy
import pickle

import pytest

from syncret.providers.base import NotFound, Ref, SecretValue

VALUE = SecretValue(b"visible-canary", version="v1")


@pytest.mark.parametrize(
    "shown",
    [
        repr(VALUE),
        str(VALUE),
        f"{VALUE}",
        f"{VALUE!r}",
        f"{VALUE:>40}",
        "%s %r" % (VALUE, VALUE),  # noqa: UP031 - this form is what is tested
        repr({Ref("key"): VALUE}),
    ],
)
def test_no_text_form_shows_the_bytes(shown: str) -> None:
    assert "canary" not in shown


def test_it_can_be_neither_pickled_nor_copied() -> None:
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leave(VALUE)


def test_it_is_no_key_of_a_cache() -> None:
    with pytest.raises(TypeError):
        hash(VALUE)


def test_equality_is_of_bytes_and_version() -> None:
    same = SecretValue(b"visible-canary", version="v1")
    assert same == VALUE
    assert SecretValue(b"visible-canary", version="v2") != VALUE
    assert SecretValue(b"other", version="v1") != VALUE
    assert VALUE != b"visible-canary"
    assert NotFound() != NotFound(version_missing=True)
