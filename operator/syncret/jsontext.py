"""A part of a JSON document as the bytes of a secret. Pure."""

import json
from decimal import Decimal
from typing import Any


def text_of(part: Any) -> bytes:
    """A text as it is; a number that is not whole, read as Decimal, as it was written; all else as
    compact JSON.

    Raises ValueError, RecursionError or ArithmeticError for what JSON cannot say, or what is nested
    too deeply.
    """
    if isinstance(part, str):
        # JSON may escape a lone surrogate, which UTF-8 cannot say; keep what can be kept exactly.
        return part.encode("utf-8", "surrogatepass")
    if isinstance(part, Decimal):
        return str(part).encode()
    return json.dumps(
        part, ensure_ascii=False, separators=(",", ":"), default=float, allow_nan=False
    ).encode("utf-8", "surrogatepass")
