"""Searching Secret Manager: what it filters, what of its answers is found. Pure.

Its filter ``name:x`` finds a part of the name, without regard to case, and ``labels.k=v`` a label.
So the filter of a path only makes pages fuller, and all that comes is looked at again. What is not
safe to be written into a filter is not filtered there.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from syncret.api.data import Query
from syncret.providers.gcp.names import last

#: Secrets in a page. A search is one call of the project's 600 in a minute, so pages are large;
#: with the most that labels and annotations can hold, a page of so many is 20 MiB.
PAGE: Final = 1000

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def filters(query: Query) -> str:
    """The parameter ``filter``: every secret that matches passes it."""
    terms = [f"name:{query.path}"] if _WORD.fullmatch(query.path) else []
    for key, value in query.tags:
        if _WORD.fullmatch(key) and _WORD.fullmatch(value):
            terms.append(f"labels.{key}={value}")
    return " AND ".join(terms)


def matching(query: Query, answer: Any) -> tuple[str, ...]:
    """The short names in a ListSecretsResponse that match."""
    return tuple(
        last(secret.name)
        for secret in answer.secrets
        if query.matches(last(secret.name), dict(secret.labels))
    )


def labels_json(labels: Mapping[str, str]) -> bytes:
    """Labels as a JSON object, in the order of their keys: the same labels are the same bytes."""
    return json.dumps(dict(labels), ensure_ascii=False, sort_keys=True).encode()
