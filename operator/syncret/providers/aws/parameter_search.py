"""Searching AWS Parameter Store: which call is made, what of its answers is found. Pure.

GetParametersByPath lists a level of the hierarchy and all below it, ten in a page. It needs no
right but to that level, so it is used wherever a search is for a path and nothing that it cannot
tell. DescribeParameters lists fifty in a page, filters by tags and by the beginning of names, and
needs a right to the metadata of all parameters.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from syncret.api.data import Query
from syncret.errors import ProviderRejected

#: Parameters in a page: the most that AWS gives.
PAGE_BY_PATH: Final = 10
PAGE: Final = 50

_LEVEL: Final = re.compile(r"/[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
# What can be the beginning of a name.
_BEGINNING: Final = re.compile(r"/?[A-Za-z0-9_.-][A-Za-z0-9_./-]{0,1023}")


@dataclass(frozen=True, slots=True)
class Listing:
    """A call that lists parameters: of a level of the hierarchy, or ("") by filters."""

    level: str
    filters: tuple[Mapping[str, Any], ...] = ()


def listing(query: Query) -> Listing | None:
    """The call whose answer has all that match; None if no parameter can.

    Raises ProviderRejected for what AWS cannot search for.
    """
    level = query.path.rpartition("/")[0]
    if not query.tags and _LEVEL.fullmatch(level):
        return Listing(level)
    filters: list[Mapping[str, Any]] = []
    if query.path.strip("/"):
        if not _BEGINNING.fullmatch(query.path):
            return None
        filters.append({"Key": "Name", "Option": "BeginsWith", "Values": [query.path]})
    for key, value in query.tags:
        if not key or not value or len(key) > 128 or len(value) > 256:
            raise ProviderRejected(
                f'AWS Parameter Store cannot search for the tag "{key[:128]}" with this value: '
                "neither may be empty, and AWS limits them to 128 and 256 characters."
            )
        filters.append({"Key": f"tag:{key}", "Option": "Equals", "Values": [value]})
    return Listing("", tuple(filters))


def matching(query: Query, answer: Mapping[str, Any], prefix: str) -> tuple[str, ...]:
    """The names in an answer that match, without the store's prefix.

    The tags are AWS's to filter: answers have none.
    """
    tags = dict(query.tags)
    return tuple(
        name.removeprefix(prefix)
        for entry in answer["Parameters"]
        if (name := str(entry["Name"])).startswith(prefix)
        and query.matches(name.removeprefix(prefix), tags)
    )
