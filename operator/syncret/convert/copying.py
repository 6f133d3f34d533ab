"""Copies what the CRD of this version has, and says what it does not have."""

from collections.abc import Mapping
from typing import Any

from syncret.convert.fields import Shape
from syncret.convert.result import Result


def copied(value: Any, shape: Shape, path: str, result: Result) -> Any:  # noqa: C901, PLR0911 - a case for each shape
    """The value without the fields that have no place; each of them is said."""
    if "enum" in shape and isinstance(shape["enum"], list):
        if value not in shape["enum"]:
            result.lose(path, f"this version of Syncret does not have the value {value!s:.40}")
            return None
        return value
    if "[]" in shape:
        if not isinstance(value, list):
            result.lose(path, "it is no list", value)
            return None
        items = [copied(one, shape["[]"], f"{path}[{at}]", result) for at, one in enumerate(value)]
        return [one for one in items if one is not None]
    if isinstance(shape.get("type"), str):
        return _scalar(value, shape["type"], path, result)
    if not isinstance(value, Mapping):
        result.lose(path, "it is no mapping", value)
        return None
    found: dict[str, Any] = {}
    for name, one in value.items():
        if one is None:
            continue
        if name not in shape:
            result.lose(f"{path}.{name}", "this version of Syncret does not have this field", one)
            continue
        made = copied(one, shape[name], f"{path}.{name}", result)
        if made is not None:
            found[name] = made
    return found


def _scalar(value: Any, kind: str, path: str, result: Result) -> Any:
    fits = {
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "map": isinstance(value, Mapping),
    }.get(kind, True)
    if not fits:
        result.lose(path, f"its value is of another type than Syncret has ({kind})", value)
        return None
    return dict(value) if kind == "map" else value
