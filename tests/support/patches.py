"""What patches make of bodies, as the API server does it."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any


def merged(body: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386: the body after a JSON merge patch."""
    result = deepcopy(dict(body))
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            inner = result.get(key)
            result[key] = merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[key] = deepcopy(value)
    return result


def differ(known: Any, wanted: Any) -> bool:
    """Whether an apply meets fields with other values. Here they are always someone else's."""
    if isinstance(known, Mapping) and isinstance(wanted, Mapping):
        return any(differ(known[key], value) for key, value in wanted.items() if key in known)
    return bool(known != wanted)
