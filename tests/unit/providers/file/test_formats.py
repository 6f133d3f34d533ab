"""``.env``, JSON and YAML files: what is in them, and what is said where it is broken."""

import time

import pytest

from syncret.errors import SpecInvalid
from syncret.providers.file import formats
from syncret.providers.file.config import parse_config


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1", {"A": b"1"}),
        ("A=1\r\nB=2\r\n", {"A": b"1", "B": b"2"}),
        ("\n# A=0\n  export A = 1 \n", {"A": b"1"}),
        ("A=", {"A": b""}),
        ("A=\nB=2", {"A": b"", "B": b"2"}),
        ("A=postgres://u:p@h/d?x=y#z # why", {"A": b"postgres://u:p@h/d?x=y#z"}),
        ("A= # nothing", {"A": b""}),
        ("A=a b  ", {"A": b"a b"}),
        ("A=a b \t # why\r\nB=2", {"A": b"a b", "B": b"2"}),
        ("A=#no comment", {"A": b"#no comment"}),
        ("A=it's", {"A": b"it's"}),
        ("A='a # b $X \\n' # why", {"A": b"a # b $X \\n"}),
        ('A="a \\"b\\" \\n\\t\\\\ \\$ \\x"', {"A": b'a "b" \n\t\\ $ \\x'}),
        ('A="first\nsecond"\nB=2', {"A": b"first\nsecond", "B": b"2"}),
        ('A="first\r\nsecond"\r\nB=2\r\n', {"A": b"first\nsecond", "B": b"2"}),
        ("A='first\nsecond'", {"A": b"first\nsecond"}),
        ("A=$HOME ${X}", {"A": b"$HOME ${X}"}),
        ("a.b-c=ü", {"a.b-c": "ü".encode()}),
    ],
)
def test_env(text: str, values: dict[str, bytes]) -> None:
    assert formats.env(text) == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A=1\nhunter2", "line 2 is not KEY=value"),
        ("1A=1", "line 1 is not KEY=value"),
        ("=1", "line 1 is not KEY=value"),
        ("A='hunter2", "line 1 opens are not closed"),
        ('A="1"\nB="hunter2', "line 2 opens are not closed"),
        ('A="1" hunter2', "line 1 goes on behind the quotes"),
        ("A=1\nA=2", "line 2 gives a variable for the second time"),
    ],
)
def test_a_broken_env(text: str, said: str) -> None:
    with pytest.raises(formats.Malformed) as raised:
        formats.env(text)
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_long_line_costs_no_more_than_its_length() -> None:
    assert formats.env("A=a" + " \t" * 200_000 + "b")["A"].endswith(b"b")
    with pytest.raises(formats.Malformed):
        formats.env('A="' + "\\" * 200_001)


def test_many_lines_cost_no_more_than_their_number() -> None:
    """Counted from the beginning for each, they took five minutes."""
    text = "".join(f"A{number}=x\n" for number in range(300_000))
    began = time.process_time()
    assert len(formats.env(text)) == 300_000
    assert time.process_time() - began < 30
    with pytest.raises(formats.Malformed, match="line 300001 is"):
        formats.env(f"{text}hunter2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', "a key twice"),
        ('{"a": {"b": "hunter2", "b": 2}}', "a key twice"),
        ('{"a": NaN}', "is not JSON"),
        ('{"a": [1e999]}', "out of all bounds"),
        ('{"a": hunter2}', "line 1 is not JSON"),
        ('{"a":' * 5000, "is not JSON"),
    ],
)
def test_broken_json(text: str, said: str) -> None:
    with pytest.raises(formats.Malformed) as raised:
        formats.json_object(text)
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_numbers_in_json_stay_numbers() -> None:
    assert formats.json_object('{"a": {"b": [1.5, 2, true, null]}}') == {
        "a": b'{"b":[1.5,2,true,null]}'
    }


def test_json_and_yaml_have_the_same_fields() -> None:
    expected = {"a": b"text", "n": b"1.10", "t": b"true", "o": b'{"x":["y"]}'}
    assert (
        formats.json_object('{"a": "text", "n": 1.10, "t": true, "o": {"x": ["y"]}, "z": null}')
        == expected
    )
    assert formats.yaml_mapping("a: text\nn: 1.10\nt: true\no: {x: [y]}\nz: null\n") == expected


def test_yaml_scalars_are_as_they_are_written() -> None:
    text = "a: 2026-01-02\nb: 012\nc: on\nd: 1e3\ne: |\n  two\n  lines\n"
    assert formats.yaml_mapping(text) == {
        "a": b"2026-01-02",
        "b": b"012",
        "c": b"on",
        "d": b"1e3",
        "e": b"two\nlines\n",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: 1\nb: 2\na: hunter2", "a key twice"),
        ("a:\n  b: 1\n  b: 2", "line 2 begins a mapping that has a key twice"),
        ("a: [hunter2", "is not YAML"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
        ("- a", "not an object with keys"),
        ("1: a\n? [x]\n: y", "YAML"),
    ],
)
def test_broken_yaml(text: str, said: str) -> None:
    with pytest.raises(formats.Malformed) as raised:
        formats.yaml_mapping(text)
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/a/.env", "Env"),
        ("/a/.env.local", "Env"),
        ("/a/app.env", "Env"),
        ("/a/b.json", "JSON"),
        ("/a/b.yaml", "YAML"),
        ("/a/b.yml", "YAML"),
        ("/a/b", "Directory"),
    ],
)
def test_the_name_says_the_format(path: str, form: str) -> None:
    assert parse_config({"path": path}).format == form
    assert parse_config({"path": path, "format": "JSON"}).format == "JSON"


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/a\n", ""])
def test_a_path_that_is_refused(path: str) -> None:
    with pytest.raises(SpecInvalid, match="path must be"):
        parse_config({"path": path})
