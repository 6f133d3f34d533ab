"""Texts of a request with ``{{ key }}``, ``{{ version }}``, ``{{ secrets.NAME }}``. Pure.

This is no template language, on purpose. What is put in is a key that somebody else chose, and
where it lands decides what it could do there, so the place decides how it is written:

- in the URL, percent-encoded with ``/`` included; ``| path`` keeps ``/`` and encodes the rest;
- in a header, as it is, without control characters; ``| base64`` for Basic authentication;
- in the body, only by a filter: ``| json`` (a JSON text, with its quotes), ``| urlencode``,
  ``| base64``.

Credentials have no placeholder in a URL: URLs end up in the logs of every proxy on the way.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import quote

from syncret.errors import SpecInvalid

_MARK: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_INNER: Final = re.compile(r"\s*([A-Za-z][-A-Za-z0-9_.]*)\s*(?:\|\s*([a-z0-9]+)\s*)?")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Place(Enum):
    """Where a text stands in a request."""

    URL = "the url"
    HEADER = "a header"
    BODY = "the body"


class NotWritable(Exception):
    """A value cannot stand where a placeholder is; ``name`` is that of the placeholder."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True, slots=True)
class _Slot:
    name: str
    filter: str


@dataclass(frozen=True, slots=True)
class Text:
    """A text and its placeholders."""

    parts: tuple["str | _Slot", ...]
    place: Place

    @property
    def names(self) -> frozenset[str]:
        """What it asks for: "key", "version", "secrets.NAME"."""
        return frozenset(part.name for part in self.parts if isinstance(part, _Slot))

    @property
    def beginning(self) -> str:
        """What stands before the first placeholder."""
        return self.parts[0] if self.parts and isinstance(self.parts[0], str) else ""

    def render(self, values: Mapping[str, bytes]) -> bytes:
        """Raises NotWritable, which holds no value."""
        refused = ""
        found = bytearray()
        for part in self.parts:
            if isinstance(part, str):
                found += part.encode()
                continue
            written = _FILTERS[self.place][part.filter](values[part.name])
            if written is None:
                refused = part.name
                break
            found += written
        if refused:
            found.clear()
            raise NotWritable(refused)
        return bytes(found)


def parse(text: str, place: Place, path: str, *, secrets: frozenset[str]) -> Text:
    """Raises SpecInvalid with the field's path."""
    parts: list[str | _Slot] = []
    end = 0
    for mark in _MARK.finditer(text):
        if mark.start() > end:
            parts.append(text[end : mark.start()])
        parts.append(_slot(mark[1], place, path, secrets))
        end = mark.end()
    if end < len(text):
        parts.append(text[end:])
    rest = "".join(part for part in parts if isinstance(part, str))
    if "{{" in rest or "}}" in rest:
        raise SpecInvalid(f'{path} has a placeholder without its end: write "{{{{ key }}}}".')
    return Text(tuple(parts), place)


def _slot(inner: str, place: Place, path: str, secrets: frozenset[str]) -> _Slot:
    found = _INNER.fullmatch(inner)
    if found is None:
        raise SpecInvalid(
            f"{path} has a placeholder that is none: there are {{{{ key }}}}, {{{{ version }}}} and"
            " {{ secrets.NAME }}, each with one filter at most."
        )
    name, given = found[1], found[2] or ""
    if name.startswith("secrets."):
        if place is Place.URL:
            raise SpecInvalid(
                f"{path} may not hold secrets, because URLs are written into logs on the way: put "
                "them into headers or the body."
            )
        if name.removeprefix("secrets.") not in secrets:
            raise SpecInvalid(f"{path} asks for {name}, which is not one of the secrets' names.")
    elif name not in {"key", "version"}:
        raise SpecInvalid(f"{path} asks for {name[:40]}: there are key, version and secrets.NAME.")
    if given not in _FILTERS[place]:
        known = ", ".join(one for one in _FILTERS[place] if one)
        needs = "needs one of the filters" if not given else "has the filters"
        raise SpecInvalid(f"{path}: a placeholder in {place.value} {needs} {known}.")
    return _Slot(name, given)


_Filter = Callable[[bytes], bytes | None]


def _segment(value: bytes) -> bytes | None:
    return None if value in {b".", b".."} else quote(value, safe="").encode()


def _path(value: bytes) -> bytes | None:
    if any(part in {b".", b".."} for part in value.split(b"/")):
        return None
    return quote(value, safe="/").encode()


def _header(value: bytes) -> bytes | None:
    try:
        value.decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(value) else value


def _json(value: bytes) -> bytes | None:
    try:
        return json.dumps(value.decode()).encode()
    except UnicodeDecodeError:
        return None


def _urlencoded(value: bytes) -> bytes | None:
    return quote(value, safe="").encode()


_FILTERS: Final[Mapping[Place, Mapping[str, _Filter]]] = {
    Place.URL: {"": _segment, "path": _path},
    Place.HEADER: {"": _header, "base64": base64.b64encode},
    Place.BODY: {"json": _json, "urlencode": _urlencoded, "base64": base64.b64encode},
}
