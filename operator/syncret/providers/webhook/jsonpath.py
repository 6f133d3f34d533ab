"""The part of JSONPath that names one place of a document: ``$``, ``.name``, ``['name']``, ``[0]``.

Pure. Wildcards, slices, filters and ``..`` are refused: they name several places, and a secret that
is sometimes one value and sometimes another is worse than an error.
"""

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from syncret import jsontext
from syncret.errors import SpecInvalid

_STEP: Final = re.compile(
    r"\.(?P<name>[A-Za-z_][-A-Za-z0-9_]*)"
    r"|\[(?:'(?P<single>[^'\\]*)'|\"(?P<double>[^\"\\]*)\"|(?P<index>[0-9]{1,6}))\]"
)


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A parsed expression."""

    steps: tuple[str | int, ...]

    def find(self, document: Any) -> Any:
        """What is there, or None: null counts as missing."""
        for step in self.steps:
            if isinstance(step, str) and isinstance(document, dict):
                document = document.get(step)
            elif isinstance(step, int) and isinstance(document, list) and step < len(document):
                document = document[step]
            else:
                return None
        return document


def parse(text: str, path: str) -> JsonPath:
    """Raises SpecInvalid with the field's path."""
    steps: list[str | int] = []
    position = 1
    while text.startswith("$") and position < len(text):
        step = _STEP.match(text, position)
        if step is None:
            break
        name = next(
            (one for one in step.group("name", "single", "double") if one is not None), None
        )
        steps.append(name if name is not None else int(step["index"]))
        position = step.end()
    if not text.startswith("$") or position < len(text):
        raise SpecInvalid(
            f"{path} must be a JSONPath that names one place, such as $.data.value, $['a key'] or "
            "$.items[0]; wildcards, slices and filters are not supported."
        )
    return JsonPath(tuple(steps))


def load(body: bytes) -> Any:
    """A JSON document with the numbers that are not whole as Decimal. Raises ValueError, which
    quotes nothing."""
    try:
        return json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError):
        raise ValueError("no JSON") from None


def text_of(found: Any) -> bytes:
    """A part of a document as a secret's bytes: a text as it is, all else as compact JSON. Raises
    ValueError."""
    try:
        return jsontext.text_of(found)
    except (ValueError, RecursionError, ArithmeticError):
        raise ValueError("nested too deeply, or a number out of all bounds") from None
