"""Tags, as both services answer them. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any


def tags(entries: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """The tags of a list of keys and values."""
    return {str(tag["Key"]): str(tag.get("Value") or "") for tag in entries or ()}


def tags_json(entries: Iterable[Mapping[str, Any]] | None) -> bytes:
    """Tags as a JSON object, in the order of their keys: the same tags are the same bytes."""
    return json.dumps(tags(entries), ensure_ascii=False, sort_keys=True).encode(
        "utf-8", "surrogatepass"
    )
