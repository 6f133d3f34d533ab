"""Regular expressions: no pattern can run for long, and replacements are Go's."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncret.errors import InvalidKey, SpecInvalid
from syncret.patterns import compile_pattern, compile_replacement


def replaced(source: str, target: str, text: str) -> str:
    return compile_replacement(source, target, "p").apply(text, limit=1000, matches=100)[0]


@pytest.mark.parametrize(
    ("source", "target", "text", "result"),
    [
        ("^api-(.*)$", "$1", "api-key", "key"),
        ("^api-(.*)$", "${1}_x", "api-key", "key_x"),
        ("(?P<a>.)/(?P<b>.)", "${b}-$a", "x/y", "y-x"),
        ("/", "_", "a/b/c", "a_b_c"),
        ("no", "x", "unmatched", "unmatched"),
        ("a", "$$1", "bab", "b$1b"),
        ("a", "$", "bab", "b$b"),
        ("(a)|b", "[$1]", "ab", "[a][]"),
        ("a*", "x", "baac", "xbxcx"),
        ("", "-", "ab", "-a-b-"),
        ("ü", "ue", "münchen", "muenchen"),
        ("", "-", "ü🔑", "-ü-🔑-"),
        ("x*", "-", "ü🔑", "-ü-🔑-"),
        (".", "ä", "ü", "ä"),
        ("^", "pre_", "key", "pre_key"),
    ],
)
def test_what_takes_the_place_of_a_match(source: str, target: str, text: str, result: str) -> None:
    assert replaced(source, target, text) == result


@pytest.mark.parametrize("text", ["(", "a{2,1}", r"(a)\1", "(?=a)", "[z-a]", "\ud800"])
def test_what_is_no_pattern_says_where_and_why(text: str) -> None:
    with pytest.raises(SpecInvalid, match=r"^spec\.here is not a regular expression of RE2 \(.+\)"):
        compile_pattern(text, "spec.here")


@pytest.mark.parametrize("target", ["$2", "${2}", "$1x", "$name", "${0001}"])
def test_a_group_that_is_not_there_is_refused(target: str) -> None:
    with pytest.raises(SpecInvalid, match=r"spec\.here\.target names the group"):
        compile_replacement("(a)", target, "spec.here")


def test_a_pattern_that_would_take_much_memory_is_refused() -> None:
    with pytest.raises(SpecInvalid):
        compile_pattern("(((x{30}){30}){30}){30}", "spec.here")
    with pytest.raises(SpecInvalid, match="more than 1024 characters"):
        compile_pattern("a" * 1025, "spec.here")


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*$", "(a|aa)+$", "(.*a){12}$", "^(([a-z])+.)+$"]
)
def test_no_pattern_backtracks(pattern: str) -> None:
    """Python's own engine would be at these for longer than the universe has been there."""
    text = "a" * 4000 + "!"
    started = time.process_time()
    compile_pattern(pattern, "p").search(text)
    assert time.process_time() - started < 5


def test_growth_ends_at_the_limit() -> None:
    replacement = compile_replacement("", "x" * 500, "p")
    with pytest.raises(InvalidKey, match="more than 4096 bytes"):
        replacement.apply("y" * 4000, limit=4096, matches=10_000)


def test_so_many_matches_and_no_more_are_replaced() -> None:
    replacement = compile_replacement("x", "y", "p")
    assert replacement.apply("axxb", limit=9, matches=2) == ("ayyb", 2)
    with pytest.raises(InvalidKey, match="more than can be replaced"):
        replacement.apply("axxbx", limit=9, matches=2)


SOURCES = st.one_of(
    st.text(max_size=12),
    st.text(st.sampled_from("ab()|*+?[]{}^$.\\1,-"), max_size=12),
)
TARGETS = st.one_of(st.text(max_size=12), st.text(st.sampled_from("ab${}012"), max_size=12))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(SOURCES, TARGETS, TEXTS)
def test_any_input_gives_a_text_within_the_limit_or_our_error(
    source: str, target: str, text: str
) -> None:
    try:
        result, _ = compile_replacement(source, target, "p").apply(text, limit=100, matches=30)
    except (SpecInvalid, InvalidKey):
        result = ""
    assert len(result.encode()) <= 100
