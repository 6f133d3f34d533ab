"""Regular expressions of users: compiled by RE2, which cannot backtrack.

RE2 reads a text in time proportional to its length whatever the pattern is, so no pattern of one
namespace can hold up the others. Its syntax is that of Go, in which the field's manifests are
written. What a pattern may take of memory is bounded as well.

A replacement has Go's form: ``$1``, ``${1}``, ``$name`` and ``${name}`` stand for groups, ``$$``
for a dollar sign. Other than Go, a reference to a group that the pattern does not have is refused:
Go puts nothing in its place, and ``$1x``, which names the group "1x", is a known trap.

The library is loaded when the first pattern is met: it costs 4 MiB.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from syncret.errors import InvalidKey, SpecInvalid

#: Characters of a pattern and of a replacement; the CRD has the same.
MAX_PATTERN: Final = 1024

#: Bytes that RE2 may take for one pattern: its own default is eight times as much.
_MEMORY: Final = 1024 * 1024

_REFERENCE: Final = re.compile(r"\$(?:(\$)|\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")


@lru_cache(maxsize=512)
def compile_pattern(text: str, path: str) -> Any:
    """The compiled pattern. Raises SpecInvalid, with ``path``: where it stands."""
    import re2

    if len(text) > MAX_PATTERN:
        raise SpecInvalid(f"{path} has more than {MAX_PATTERN} characters: shorten it.")
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except (re2.error, UnicodeError) as error:
        raise SpecInvalid(
            f"{path} is not a regular expression of RE2 ({_why(error)}): correct it; there are "
            "neither look-around nor back-references."
        ) from None


def _why(error: Exception) -> str:
    """RE2's words on a pattern, which quote nothing but the pattern."""
    said = error.args[0] if error.args else ""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else "not Unicode"
    return text[:200]


@dataclass(frozen=True, slots=True)
class Replacement:
    """A pattern, and what takes the place of each of its matches: texts and groups by number."""

    pattern: Any
    parts: tuple[bytes | int, ...]

    def apply(self, text: str, *, limit: int, matches: int) -> tuple[str, int]:
        """The text with every match replaced, left to right, and how many there were.

        Raises InvalidKey for a text that gets longer than ``limit`` bytes, or has more
        ``matches``, and UnicodeError for one that is not Unicode.
        """
        # On bytes: the library would translate every offset of a text, three times as slow.
        data = text.encode()
        pieces: list[bytes] = []
        size = at = count = 0

        def add(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if size > limit:
                raise InvalidKey(f"gives a key of more than {limit} bytes")
            pieces.append(piece)

        for match in self.pattern.finditer(data):
            start, end = match.span()
            if start == end and (_within_character(data, start) or (start == at and count)):
                continue  # as in Go: nothing is replaced right behind a match
            count += 1
            if count > matches:
                raise InvalidKey("replaces more than can be replaced in one go")
            add(data[at:start])
            for part in self.parts:
                add(part if isinstance(part, bytes) else match.group(part) or b"")
            at = end
        add(data[at:])
        return b"".join(pieces).decode(), count


def _within_character(data: bytes, at: int) -> bool:
    """Whether a place in UTF-8 is between the bytes of one character."""
    return at < len(data) and data[at] & 0xC0 == 0x80


@lru_cache(maxsize=512)
def compile_replacement(source: str, target: str, path: str) -> Replacement:
    """Raises SpecInvalid; ``path`` is that of the step which has ``source`` and ``target``."""
    pattern = compile_pattern(source, f"{path}.source")
    parts: list[bytes | int] = []
    at = 0
    for reference in _REFERENCE.finditer(target):
        parts.append(_encoded(target[at : reference.start()], path))
        at = reference.end()
        dollar, braced, bare = reference.groups()
        parts.append(b"$" if dollar else _group(pattern, braced or bare, path))
    parts.append(_encoded(target[at:], path))
    return Replacement(pattern, tuple(part for part in parts if part != b""))


def _encoded(text: str, path: str) -> bytes:
    try:
        return text.encode()
    except UnicodeError:
        raise SpecInvalid(f"{path}.target is not Unicode: correct it.") from None


def _group(pattern: Any, name: str, path: str) -> int:
    number = int(name) if name.isdecimal() and len(name) < 4 else pattern.groupindex.get(name)
    if number is None or number > pattern.groups:
        raise SpecInvalid(
            f'{path}.target names the group "{name}", which {path}.source does not have: correct '
            "it, and write ${1}x where a letter or digit follows a group."
        )
    return int(number)
