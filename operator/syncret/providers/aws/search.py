"""Searching AWS Secrets Manager: what it filters, what of its answers is found. Pure.

ListSecrets filters by the beginning of names and of tags' keys and values, tag key and value not
tied to each other, and takes a leading "!" for a negation. So its filters only make pages fuller,
and what they let through is looked at again. What a filter cannot express is not filtered there.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from syncret.api.data import Query
from syncret.providers.aws.tags import tags

#: Secrets in a page: the most that AWS gives.
PAGE: Final = 100

#: What AWS takes as the value of a filter; "!" at the beginning would negate it.
_FILTER: Final = re.compile(r"[A-Za-z0-9 :_@/+=.-][A-Za-z0-9 :_@/+=.!-]{0,511}")


def filters(query: Query) -> list[dict[str, Any]]:
    """The parameter Filters: every secret that matches passes each of them."""
    found: list[dict[str, Any]] = []
    if _FILTER.fullmatch(query.path):
        found.append({"Key": "name", "Values": [query.path]})
    if query.tags:
        # The values of one filter are alternatives: one tag of several is all that can be asked.
        key, value = query.tags[0]
        if _FILTER.fullmatch(key):
            found.append({"Key": "tag-key", "Values": [key]})
        if _FILTER.fullmatch(value):
            found.append({"Key": "tag-value", "Values": [value]})
    return found


def matching(query: Query, answer: Mapping[str, Any], prefix: str) -> tuple[str, ...]:
    """The names in an answer of ListSecrets that match, without the store's prefix.

    Those that are to be deleted are not there.
    """
    return tuple(
        name.removeprefix(prefix)
        for entry in answer["SecretList"]
        if (name := entry["Name"]).startswith(prefix)
        and not entry.get("DeletedDate")
        and query.matches(name.removeprefix(prefix), tags(entry.get("Tags")))
    )
