"""Parts of a remote value: a property of a JSON document, or all of its top-level fields.

Pure. Errors name the property that was asked for and never quote the document.

A property is looked for as a literal key first (``"tls.crt"`` finds the key with the dot), then as
a path whose steps are object keys or array indices (``users.0.name``). Text comes out as it is;
numbers as they were written, so that ``1.10`` stays ``1.10``; ``true``, objects and arrays as
compact JSON; an object that stands for bytes (:data:`syncret.constants.BASE64_FIELD`) as these.
``null`` counts as missing: nothing useful can be written for it.
"""

import base64
import json
from decimal import Decimal
from typing import Any, Final

from syncret import jsontext
from syncret.constants import BASE64_FIELD
from syncret.errors import PropertyNotFound, ValueNotJSON

_MISSING: Final = object()


def select_property(value: bytes, path: str) -> bytes:
    """The bytes of one property of a JSON value.

    Raises ValueNotJSON when the value is not a JSON object or array, PropertyNotFound when it has
    no such property.
    """
    document = _parse(value)
    found = _walk(document, path)
    if found is _MISSING or found is None:
        raise PropertyNotFound(f'has no property "{path}"')
    return text_of(found)


def expand_properties(value: bytes) -> dict[str, bytes]:
    """Every top-level field of a JSON object; fields that are null are left out.

    Raises ValueNotJSON when the value is not a JSON object.
    """
    return {key: text_of(field) for key, field in parse_object(value).items() if field is not None}


def parse_object(value: bytes) -> dict[str, Any]:
    """A JSON object, with numbers that are not whole as Decimal. Raises ValueNotJSON."""
    document = _parse(value)
    if not isinstance(document, dict):
        raise ValueNotJSON("is a JSON array where an object is needed")
    return document


def text_of(field: Any) -> bytes:
    """A part of a parsed document as the bytes that are written for it. Raises ValueNotJSON."""
    try:
        return _text(field)
    except (ValueError, TypeError, RecursionError, ArithmeticError):
        raise ValueNotJSON("is nested too deeply, or holds a number out of all bounds") from None


def _parse(value: bytes) -> Any:
    try:
        document = json.loads(value, parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError):  # the last: a number's exponent
        # The parser's message quotes the text around the error: it must not travel on.
        raise ValueNotJSON("is not JSON") from None
    if not isinstance(document, dict | list):
        raise ValueNotJSON("is a single JSON value, not an object")
    return document


def _walk(document: Any, path: str) -> Any:
    if isinstance(document, dict) and path in document:
        return document[path]
    head, dot, rest = path.partition(".")
    while dot:
        inner = _step(document, head)
        if inner is not _MISSING:
            found = _walk(inner, rest)
            if found is not _MISSING:
                return found
        # The step may itself be a key with a dot: "a.b.c" as "a.b" then "c".
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return _step(document, path)


def _step(document: Any, key: str) -> Any:
    if isinstance(document, dict):
        return document.get(key, _MISSING)
    if isinstance(document, list) and key.isdecimal() and int(key) < len(document):
        return document[int(key)]
    return _MISSING


def _text(field: Any) -> bytes:
    if isinstance(field, dict) and field.keys() == {BASE64_FIELD}:
        return base64.b64decode(field[BASE64_FIELD], validate=True)
    return jsontext.text_of(field)
