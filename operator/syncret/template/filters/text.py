"""Filters of text: encodings, quoting, regular expressions, indentation, choices."""

import base64
import binascii
import re
import shlex
from typing import Any
from urllib.parse import quote as percent_encode
from urllib.parse import unquote_to_bytes
from xml.sax.saxutils import escape

from jinja2 import Undefined
from jinja2.filters import do_default

from syncret.errors import SyncretError
from syncret.patterns import compile_pattern
from syncret.template.filters.values import MAX_TEXT, bytes_of, from_bytes, mapping, text_of
from syncret.template.problem import Problem

_TRUE = frozenset({"true", "yes", "on", "1", "y", "t"})
_FALSE = frozenset({"false", "no", "off", "0", "n", "f", ""})


def b64encode(value: Any, urlsafe: bool = False) -> str:
    encoded = (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(bytes_of(value))
    return encoded.decode("ascii")


def b64decode(value: Any, urlsafe: bool = False) -> str:
    raw = b"".join(bytes_of(value).split())
    if urlsafe:
        raw = raw.rstrip(b"=")
        raw += b"=" * (-len(raw) % 4)
    try:
        return from_bytes(base64.b64decode(raw, altchars=b"-_" if urlsafe else None, validate=True))
    except (binascii.Error, ValueError):
        raise Problem("decodes by b64decode what is not Base64") from None


def hex_encode(value: Any) -> str:
    return bytes_of(value).hex()


def hex_decode(value: Any) -> str:
    try:
        return from_bytes(bytes.fromhex(text_of(value)))
    except ValueError:
        raise Problem("decodes by hex_decode what is not hexadecimal") from None


def urlencode(value: Any, safe: str = "") -> str:
    if isinstance(value, dict):
        return "&".join(
            f"{percent_encode(bytes_of(key), safe)}={percent_encode(bytes_of(one), safe)}"
            for key, one in value.items()
        )
    return percent_encode(bytes_of(value), safe)


def urldecode(value: Any) -> str:
    return from_bytes(unquote_to_bytes(bytes_of(value)))


def quote(value: Any) -> str:
    return shlex.quote(text_of(value))


def xml_escape(value: Any) -> str:
    return escape(text_of(value), {'"': "&quot;", "'": "&apos;"})


def nindent(value: Any, width: int = 4) -> str:
    space = " " * _bounded(width, 200, "nindent")
    return "\n" + "\n".join(space + line for line in text_of(value).split("\n"))


def split(value: Any, separator: str | None = None) -> list[str]:
    if separator == "":
        raise Problem("splits at an empty separator: name one, or leave it out for white space")
    return text_of(value).split(separator)


def splitlines(value: Any) -> list[str]:
    return text_of(value).splitlines()


def default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    return do_default(value, default_value, boolean)


def mandatory(value: Any) -> Any:
    if isinstance(value, Undefined):
        str(value)  # raises
    return value


def ternary(value: Any, yes: Any, no: Any) -> Any:
    return yes if value else no


def to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    said = text_of(value).strip().lower()
    if said in _TRUE:
        return True
    if said in _FALSE:
        return False
    raise Problem('needs "true" or "false" for bool')


def regex_replace(value: Any, pattern: str, replacement: str, count: int = 0) -> str:
    compiled = _compiled(pattern)
    parts = _replacement(text_of(replacement))
    text = _unicode(value)
    pieces: list[str] = []
    size = at = 0
    for done, match in enumerate(compiled.finditer(text), 1):
        start, end = match.span()
        pieces.append(text[at:start])
        try:
            pieces += [
                part if isinstance(part, str) else match.group(part[0]) or "" for part in parts
            ]
        except (IndexError, KeyError, ValueError):
            raise Problem("replaces by a group that the regular expression does not have") from None
        at = end
        size += sum(map(len, pieces[-len(parts) - 1 :]))
        if size > MAX_TEXT:
            raise Problem("makes a text that is too long")
        if count and done == count:
            break
    return "".join((*pieces, text[at:]))


def _replacement(text: str) -> list[str | tuple[str | int]]:
    """Literal parts, and groups as tuples of their number or name."""
    parts: list[str | tuple[str | int]] = []
    at = 0
    for found in re.finditer(r"\\(?:(\d)|g<(\w+)>|(\\))", text):
        parts.append(text[at : found.start()])
        at = found.end()
        digit, name, backslash = found.groups()
        if backslash:
            parts.append("\\")
        else:
            group = digit or name
            parts.append((int(group) if group.isdecimal() else group,))
    return [*parts, text[at:]]


def regex_search(value: Any, pattern: str, group: int | str = 0) -> str:
    match = _compiled(pattern).search(_unicode(value))
    if match is None:
        return ""
    try:
        return match.group(group) or ""
    except (IndexError, KeyError):
        raise Problem("asks for a group that the regular expression does not have") from None


def regex_findall(value: Any, pattern: str) -> list[Any]:
    return list(_compiled(pattern).findall(_unicode(value)))


def regex_escape(value: Any) -> str:
    return re.escape(text_of(value))


def is_match(value: Any, pattern: str) -> bool:
    return _compiled(pattern).match(_unicode(value)) is not None


def is_search(value: Any, pattern: str) -> bool:
    return _compiled(pattern).search(_unicode(value)) is not None


def replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    text, old, new = text_of(value), text_of(old), text_of(new)
    times = text.count(old) if count is None else min(count, text.count(old))
    if len(text) + times * len(new) > MAX_TEXT:
        raise Problem("makes a text that is too long")
    return text.replace(old, new, -1 if count is None else count)


def center(value: Any, width: int = 80) -> str:
    return text_of(value).center(_bounded(width, 10_000, "center"))


def indent(value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    space = width if isinstance(width, str) else " " * _bounded(width, 200, "indent")
    lines = text_of(value).split("\n")
    return "\n".join(
        space + line if (number or first) and (line or blank) else line
        for number, line in enumerate(lines)
    )


def trim(value: Any, characters: str | None = None) -> str:
    return text_of(value).strip(characters)


def join(value: Any, separator: Any = "", attribute: str | None = None) -> str:
    items = value if attribute is None else [mapping(one)[attribute] for one in value]
    pieces: list[str] = []
    between = text_of(separator)
    size = 0
    for one in items:
        piece = text_of(one)
        size += len(piece) + len(between)
        if size > MAX_TEXT:
            raise Problem("makes a text that is too long")
        pieces.append(piece)
    return between.join(pieces)


def _bounded(width: Any, most: int, name: str) -> int:
    if not isinstance(width, int) or not 0 <= width <= most:
        raise Problem(f"asks {name} for a width that is not between 0 and {most}")
    return width


def _unicode(value: Any) -> str:
    text = text_of(value)
    try:
        text.encode()
    except UnicodeError:
        raise Problem("applies a regular expression to bytes that are not text") from None
    return text


def _compiled(pattern: Any) -> Any:
    try:
        return compile_pattern(text_of(pattern), "it")
    except SyncretError:
        raise Problem(
            "has a regular expression that RE2 does not take (there are neither look-around nor "
            "back-references)"
        ) from None
