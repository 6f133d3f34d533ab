"""Under which words a remote key is looked up by who has heard of it by another name. Pure.

A secret is called by its name, by an ARN with or without the six characters that Secrets Manager
ends it with, by the full name of a project's secret, by a URL. What these have in common is the
last segment, so that is what keys are indexed by; whether it really is the same secret is decided
afterwards, by who knows the store (``sources/names.py``). A word too many costs a comparison, a
word too few a change that nobody hears of.
"""

import re
from sys import intern
from typing import Final

#: What Secrets Manager ends its ARNs with.
_SUFFIX: Final = re.compile(r"-[A-Za-z0-9]{6}$")
_VERSIONED: Final = re.compile(r"/versions/[^/]*$")


def words(name: str) -> frozenset[str]:
    """The words of a key, or of a name by which a secret is told of."""
    plain = _VERSIONED.sub("", name.strip()).rstrip("/")
    last = plain.rpartition("/")[2].casefold()
    if name.startswith("arn:"):
        last = last.rpartition(":")[2]
        other = without_suffix(last)
    else:
        other = last.partition(":")[0]  # of a parameter, without its version or label
    return frozenset({intern(last), intern(other)})


def without_suffix(name: str) -> str:
    """A name, or an ARN, without the six characters at its end, if it has such."""
    return _SUFFIX.sub("", name)
