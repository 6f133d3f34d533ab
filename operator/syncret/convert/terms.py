"""What expressions are made of on their way to Jinja: code, and what is known of its value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["text", "int", "bool", "list", "any", "keys", "nil"]

NOT_TEXT: Final = (
    "a value out of JSON or YAML that is not text is written as JSON here (true, 5432, null); Go "
    "writes large numbers, null, lists and maps in its own notation"
)


class NoEquivalent(Exception):
    """There is no exact translation; the message says why and quotes no value."""


@dataclass(frozen=True, slots=True)
class Term:
    """A Jinja expression that may stand as an operand; ``constant`` is its value where known."""

    code: str
    kind: Kind
    constant: str | int | bool | None = None
    is_constant: bool = False


Notes = list[str]
Maker = Callable[[Sequence[Term], Notes], Term]


def quoted(text: str) -> str:
    """A Jinja string; line breaks are escapes, because Jinja changes those that stand there."""
    pieces = []
    for one in text:
        if one in '"\\':
            pieces.append("\\" + one)
        elif one == "\n":
            pieces.append("\\n")
        elif one == "\t":
            pieces.append("\\t")
        elif one == "\r":
            pieces.append("\\r")
        elif ord(one) < 32 or 127 <= ord(one) < 160 or one in "\u2028\u2029":
            pieces.append(f"\\u{ord(one):04x}")
        else:
            pieces.append(one)
    return '"' + "".join(pieces) + '"'
