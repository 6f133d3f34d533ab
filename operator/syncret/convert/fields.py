"""Which fields this version of Syncret has: ``fields.json``, made from the CRDs.

scripts/embed-fields writes it, and a test holds the two together; so a field is converted as soon
as there is a CRD that has it.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

#: A map of fields, or [what a list holds], or a list of allowed words, or "*" for anything.
Shape = Any


@cache
def shapes() -> Mapping[str, Shape]:
    """The shape of the spec of each kind."""
    text = files("syncret.convert").joinpath("fields.json").read_text(encoding="utf-8")
    found: Mapping[str, Shape] = json.loads(text)
    return found


def shape_of(schema: Mapping[str, Any]) -> Shape:
    """What of a CRD's schema the conversion has to know."""
    if "properties" in schema:
        return {name: shape_of(child) for name, child in sorted(schema["properties"].items())}
    if "items" in schema:
        return {"[]": shape_of(schema["items"])}
    if "enum" in schema:
        return {"enum": list(schema["enum"])}
    return {"type": "map" if "additionalProperties" in schema else schema["type"]}


def has(shape: Shape, *path: str) -> bool:
    """Whether there is such a field."""
    for step in path:
        if not isinstance(shape, Mapping) or step not in shape:
            return False
        shape = shape[step]
    return True
