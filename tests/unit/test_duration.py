"""Durations, against Go's own rules."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncret.duration import format_duration, parse_duration
from syncret.errors import SpecInvalid

HOUR = 3600.0

#: From the tables of Go's own test of time.ParseDuration, without the negative ones.
GO_ACCEPTS = [
    ("0", 0.0),
    ("5s", 5.0),
    ("30s", 30.0),
    ("1478s", 1478.0),
    ("+5s", 5.0),
    ("+0", 0.0),
    ("5.0s", 5.0),
    ("5.6s", 5.6),
    ("5.s", 5.0),
    (".5s", 0.5),
    ("1.0s", 1.0),
    ("1.00s", 1.0),
    ("1.004s", 1.004),
    ("1.0040s", 1.004),
    ("100.00100s", 100.001),
    ("10ns", 10e-9),
    ("11us", 11e-6),
    ("12µs", 12e-6),
    ("12μs", 12e-6),
    ("13ms", 13e-3),
    ("14s", 14.0),
    ("15m", 900.0),
    ("16h", 16 * HOUR),
    ("3h30m", 3.5 * HOUR),
    ("10.5s4m", 250.5),
    ("1h2m3s4ms5us6ns", HOUR + 123.004005006),
    ("39h9m14.425s", 39 * HOUR + 9 * 60 + 14.425),
    ("52763797000ns", 52.763797),
    ("0.3333333333333333333h", 1200.0),
    ("9223372036s", 9223372036.0),
    ("0.830103483285477580700h", 2988.372539827),
    ("00h", 0.0),
]

GO_REFUSES = [
    "",
    "3",
    "-",
    "+",
    "s",
    ".",
    "-.",
    ".s",
    "+.s",
    "1d",
    "1w",
    "1h 30m",
    " 1h",
    "1h\n",
    "1H",
    "1..5s",
    "1e3s",
    "1_000s",
    "++1s",
    "0x1s",
    "٣s",  # a digit, but not one of Go's
]


@pytest.mark.parametrize(("text", "seconds"), GO_ACCEPTS)
def test_reads_what_go_reads(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-15, abs=1e-9)


@pytest.mark.parametrize("text", [*GO_REFUSES, "-5s", "-0"])
def test_refuses_the_rest_with_what_was_given(text: str) -> None:
    with pytest.raises(SpecInvalid) as caught:
        parse_duration(text)
    assert caught.value.message.startswith(f'"{text}" is not a duration')


@pytest.mark.parametrize(
    "text", ["9223372037s", "2562048h", "9223372036854775808ns", "9" * 100 + "h"]
)
def test_refuses_what_does_not_fit_into_go(text: str) -> None:
    with pytest.raises(SpecInvalid, match="292 years"):
        parse_duration(text)


def test_an_absurd_text_is_refused_shortly() -> None:
    with pytest.raises(SpecInvalid) as caught:
        parse_duration("1" * 100_000 + "s")
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1, "1s"),
        (90, "1m30s"),
        (3600, "1h"),
        (3601, "1h1s"),
        (5400, "1h30m"),
        (86400, "24h"),
        (1.5, "1.5s"),
        (60.05, "1m0.05s"),
        (0.25, "250ms"),
        (0.0015, "1.5ms"),
        (0.000002, "2µs"),
        (0.0000000035, "4ns"),
        (0.9999999999, "1s"),
    ],
)
def test_writes_the_usual_form(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_nothing_lasts_less_than_nothing() -> None:
    with pytest.raises(ValueError, match="negative"):
        format_duration(-1)


# Below 2^50 ns (13 days) a float holds every nanosecond, so what is written is what is read.
@given(st.integers(min_value=0, max_value=2**50))
@example(0)
@example(999_999_999)
def test_every_nanosecond_survives_the_round_trip(nanoseconds: int) -> None:
    seconds = nanoseconds / 1e9
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.floats(min_value=0, max_value=9.2e9))
def test_every_length_survives_the_round_trip(seconds: float) -> None:
    read = parse_duration(format_duration(seconds))
    assert math.isclose(read, seconds, rel_tol=1e-15, abs_tol=1e-9)


@given(st.text(alphabet="0123456789.+-hmsuµn ", max_size=12))
def test_a_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except SpecInvalid:
        return
    assert seconds >= 0
    assert math.isclose(parse_duration(format_duration(seconds)), seconds, rel_tol=1e-15)
