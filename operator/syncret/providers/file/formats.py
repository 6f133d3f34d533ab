"""What a file's text holds: the values by their keys. Pure.

Errors say the line and what is wrong with it, and never quote it.

``.env`` files have no standard. Here: ``KEY=value``, ``export`` before it or not; ``#`` begins a
comment at the beginning of a line and, after a blank, in a value without quotes; values in single
quotes are taken as they are; in double quotes a backslash and one of ``nrt"$`` or a backslash is an
escape; both may go over several lines. Lines may end as Windows ends them, also those within
quotes. ``$VAR`` is not replaced: what a file says must not depend on the environment of whoever
reads it.

A key that is there twice is an error in all of them: which of the two is meant, nobody knows.
"""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import yaml

from syncret.jsontext import text_of

_NAME: Final = re.compile(r"[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][-.A-Za-z0-9_]*)[ \t]*=[ \t]*")
_EMPTY: Final = re.compile(r"[ \t\r]*(#[^\n]*)?(\n|\Z)")
_SINGLE: Final = re.compile(r"'(?P<value>[^']*)'")
_DOUBLE: Final = re.compile(r'"(?P<value>(?:[^"\\]|\\.)*)"', re.DOTALL)
_COMMENT: Final = re.compile(r"[ \t]#")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Malformed(Exception):
    """What is wrong with a file, in words that follow its name; quotes nothing."""


class _AsWritten(_LOADER):  # type: ignore[misc] # ships without annotations
    """Takes numbers, dates and words such as "on" for the texts that they are in the file."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the library's own form
        first: [(tag, shape) for tag, shape in found if tag.endswith(":null")]
        for first, found in _LOADER.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        found = super().construct_mapping(node, deep=deep)
        if len(found) < len(node.value):
            raise Malformed(f"line {node.start_mark.line + 1} begins a mapping {_TWICE}")
        return found


#: Of mappings and objects.
_TWICE: Final = "that has a key twice"


def env(text: str) -> dict[str, bytes]:
    """The variables of a ``.env`` file. Raises Malformed."""
    text = text.replace("\r\n", "\n")
    found: dict[str, bytes] = {}
    position, line, counted = 0, 1, 0
    while position < len(text):
        empty = _EMPTY.match(text, position)
        if empty is not None:
            position = empty.end()
            continue
        line += text.count("\n", counted, position)
        counted = position
        name = _NAME.match(text, position)
        if name is None:
            raise Malformed(f"line {line} is not KEY=value")
        value, position = _value(text, name.end(), line)
        rest = _EMPTY.match(text, position)
        if rest is None:
            raise Malformed(f"line {line} goes on behind the quotes")
        position = rest.end()
        if name["name"] in found:
            raise Malformed(f"line {line} gives a variable for the second time")
        found[name["name"]] = value.encode()
    return found


def _value(text: str, start: int, line: int) -> tuple[str, int]:
    quote = text[start : start + 1]
    if quote == "#" and text[start - 1] in " \t":
        return "", start
    if quote not in {"'", '"'}:
        end = text.find("\n", start)
        plain = text[start : end if end >= 0 else len(text)]
        comment = _COMMENT.search(plain)
        value = (plain[: comment.start()] if comment else plain).rstrip(" \t\r")
        return value, start + (comment.start() if comment else len(plain))
    quoted = (_SINGLE if quote == "'" else _DOUBLE).match(text, start)
    if quoted is None:
        raise Malformed(f"the quotes that line {line} opens are not closed")
    value = quoted["value"]
    if quote == '"':
        value = _ESCAPE.sub(_unescaped, value)
    return value, quoted.end()


def _unescaped(escape: re.Match[str]) -> str:
    one = escape[1]
    if one in _ESCAPES:
        return _ESCAPES[one]
    return one if one in '"\\$' else escape[0]


def json_object(text: str) -> dict[str, bytes]:
    """The fields of a JSON object. Raises Malformed."""
    broken = ""
    document: Any = None
    try:
        document = json.loads(
            text, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_once
        )
    except Malformed as error:
        broken = str(error)
    except json.JSONDecodeError as error:
        broken = f"line {error.lineno} is not JSON"
    except (ValueError, RecursionError, ArithmeticError):
        broken = "it is not JSON"
    if broken:
        raise Malformed(broken)
    return _fields(document)


def _no_number(_: str) -> None:
    """JSON has no NaN and no Infinity, which Python reads."""
    raise ValueError


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Malformed(f"it has an object {_TWICE}")
    return found


def yaml_mapping(text: str) -> dict[str, bytes]:
    """The fields of a YAML mapping, numbers and dates as they are written. Raises Malformed."""
    broken = ""
    document: Any = None
    try:
        # A few lines of aliases can stand for gigabytes of JSON.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_LOADER)):
            broken = "it has aliases (*), which are not supported"
        else:
            document = yaml.load(text, Loader=_AsWritten)  # noqa: S506 - a safe loader
    except Malformed as error:
        broken = str(error)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        broken = f"line {mark.line + 1} is not YAML" if mark is not None else "it is not YAML"
    except (ValueError, RecursionError):
        broken = "it is not YAML"
    if broken:
        raise Malformed(broken)
    return _fields(document)


def _fields(document: Any) -> dict[str, bytes]:
    if not isinstance(document, Mapping):
        raise Malformed("it is not an object with keys")
    if not all(isinstance(key, str) for key in document):
        raise Malformed("it has a key that is not text")
    # null counts as missing: nothing useful can be written for it.
    try:
        return {key: text_of(value) for key, value in document.items() if value is not None}
    except (ValueError, RecursionError, ArithmeticError):
        pass
    raise Malformed("it is nested too deeply, or holds a number out of all bounds")
