"""What a value is in a template: text, of which bytes that are not UTF-8 are a part.

Such bytes become surrogates (PEP 383) on the way in and bytes on the way out, so a value that is
not text passes through a template, and through filters of bytes, without loss.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import Undefined

from syncret.template.problem import Problem

#: Characters and bytes of one value.
MAX_TEXT: Final = 4 * 1024 * 1024


def text_of(value: Any) -> str:
    """A value as it is written: numbers as such, true, false and null, the rest as JSON.

    Jinja would write Python's own notation, in which no consumer wants a dictionary.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Undefined):
        return str(value)  # raises
    if value is None or isinstance(value, bool | int | float | dict | list | tuple):
        return dump_json(value)
    raise Problem(
        "gives something that is no text: put a filter such as list or join behind it"
        if not callable(value)
        else "gives a function instead of a text: call it with ()"
    )


def bytes_of(value: Any) -> bytes:
    """The bytes behind a value."""
    try:
        return text_of(value).encode("utf-8", "surrogateescape")
    except UnicodeError:
        raise Problem("has text that is not Unicode") from None


def from_bytes(value: bytes) -> str:
    """Bytes as a value."""
    return value.decode("utf-8", "surrogateescape")


def dump_json(value: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """JSON, in which text that is not Unicode is refused."""
    try:
        found = json.dumps(
            plain(value), ensure_ascii=False, allow_nan=False, indent=indent, sort_keys=sort_keys
        )
        found.encode()
    except UnicodeError:
        raise Problem(
            "puts bytes that are not text into JSON or YAML: use b64encode before"
        ) from None
    except (TypeError, ValueError, RecursionError):
        raise Problem("makes JSON or YAML of something that has no such form") from None
    return found


def plain(value: Any) -> Any:
    """Dictionaries, lists and scalars only; raises what is missing."""
    if isinstance(value, Undefined):
        return str(value)  # raises
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else text_of(key): plain(one) for key, one in value.items()
        }
    if isinstance(value, str | bool | int | float) or value is None:
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if hasattr(value, "__next__"):
        return [plain(one) for one in value]
    raise TypeError


def mapping(value: Any) -> Mapping[Any, Any]:
    """The value, if it is a dictionary."""
    if isinstance(value, Undefined):
        str(value)  # raises
    if not isinstance(value, Mapping):
        raise Problem("needs a dictionary here: use from_json or from_yaml before")
    return value


def listing(value: Any) -> list[Any]:
    """The value as a list, if it is one; the keys of a dictionary."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise Problem("needs a list here: use split, or put it in [ ]")
    return list(value)
