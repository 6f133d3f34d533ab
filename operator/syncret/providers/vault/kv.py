"""Answers of the key/value engines as values. Pure.

A secret of Vault is an object of fields, so its value is that object as JSON: compact, with sorted
keys, numbers as they were written. The same fields are the same bytes.

A current version that was deleted or destroyed is *not found*, although older versions may still
be there: who deletes a secret in Vault takes it away from those who read it, and an older value is
never given in place of the one that was asked for.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import Any

from syncret.providers.base import NotFound, SecretValue


class Number:
    """A JSON number as it was written: ``1.10`` stays ``1.10``."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def parse(body: bytes) -> Any:
    """An answer's body; None if it is not JSON."""
    try:
        return json.loads(body, parse_float=Number)
    except (ValueError, RecursionError):
        return None


def value_v1(body: Any) -> SecretValue | None:
    """The value in an answer of version 1; None if it is no such answer."""
    data = body.get("data") if isinstance(body, Mapping) else None
    return SecretValue(document(data)) if isinstance(data, Mapping) else None


def value_v2(body: Any, *, metadata: bool, pinned: bool) -> SecretValue | NotFound | None:
    """The value in an answer of version 2; None if it is no such answer.

    ``metadata``: not the fields but the custom metadata are the value.
    """
    data = body.get("data") if isinstance(body, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(data.get("metadata"), Mapping):
        return None
    about = data["metadata"]
    fields = data.get("data")
    if fields is None:
        return NotFound(version_missing=pinned)
    if not isinstance(fields, Mapping):
        return None
    tags = tags_of(about)
    return SecretValue(
        document(tags if metadata else fields),
        version=str(about.get("version") or ""),
        created=time_of(about.get("created_time")),
        expires=time_of(about.get("deletion_time")),
        tags=tags,
    )


def is_deleted(body: Any) -> bool:
    """Whether a 404 is that of a version which was deleted, or destroyed."""
    data = body.get("data") if isinstance(body, Mapping) else None
    about = data.get("metadata") if isinstance(data, Mapping) else None
    return isinstance(about, Mapping) and bool(about.get("deletion_time") or about.get("destroyed"))


def tags_of(about: Mapping[str, Any]) -> dict[str, str]:
    """The custom metadata in an answer's metadata: texts, as Vault has it."""
    given = about.get("custom_metadata")
    if not isinstance(given, Mapping):
        return {}
    return {str(name): str(value) for name, value in sorted(given.items())}


def document(value: Any) -> bytes:
    """A value as JSON."""
    # Half a surrogate pair can be written in JSON; whoever reads the bytes will notice.
    return _text(value).encode("utf-8", "surrogatepass")


def _text(value: Any) -> str:
    match value:
        case str():
            return encode_basestring(value)
        case Number():
            return value.text
        case Mapping():
            fields = (f"{encode_basestring(key)}:{_text(value[key])}" for key in sorted(value))
            return f"{{{','.join(fields)}}}"
        case list():
            return f"[{','.join(map(_text, value))}]"
        case _:
            return json.dumps(value)


def time_of(text: Any) -> datetime | None:
    """A time as Vault writes it; None if there is none."""
    try:
        found = datetime.fromisoformat(str(text or ""))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
