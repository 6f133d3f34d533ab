"""Who may use a ClusterSecretStore, and which of its keys: ``spec.conditions``. Pure.

Each entry admits some namespaces; an entry with ``remoteKeys`` lets them read only the keys that
one of its patterns matches. What any entry allows is allowed; without entries nobody may read.

A pattern is matched against the whole key, as the ExternalSecret or the store names it. What a
server might fold away before it looks a key up (``..`` between slashes, a percent sign) is never
allowed where patterns restrict: the key that is checked has to be the key that is read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import re2

from syncret.api.selector import (
    Namespace,
    NamespaceSelector,
    compiled,
    parse_label_selector,
    parse_regexes,
)
from syncret.errors import SpecInvalid

#: What stands for the name of the namespace in a pattern.
PLACEHOLDER: Final = "{namespace}"

_KEPT: Final = 4096


@dataclass(frozen=True, slots=True)
class Admission:
    """One entry. ``remote_keys`` is None where every key may be read."""

    namespaces: NamespaceSelector
    remote_keys: tuple[str, ...] | None = None

    def covers(self, namespace: str, key: str) -> bool:
        """Whether a namespace that is admitted may read the key."""
        if self.remote_keys is None:
            return True
        return _plain(key) and any(
            _pattern(pattern, namespace).fullmatch(key) for pattern in self.remote_keys
        )


def selections(admissions: Iterable[Admission], namespace: Namespace) -> tuple[bool | None, ...]:
    """Which of the entries select the namespace: what it may do follows from that alone."""
    return tuple(one.namespaces.selects(namespace) for one in admissions)


def admits(admissions: Iterable[Admission], namespace: Namespace) -> bool | None:
    """Whether any entry admits the namespace; None if that depends on labels not known yet."""
    answers = selections(admissions, namespace)
    if True in answers:
        return True
    return None if None in answers else False


def covers(admissions: Iterable[Admission], namespace: Namespace, key: str) -> bool:
    """Whether any entry lets the namespace read the key."""
    return any(
        one.namespaces.selects(namespace) and one.covers(namespace.name, key) for one in admissions
    )


def parse_admissions(conditions: Any) -> tuple[Admission, ...]:
    """The entries of ``spec.conditions``. Raises SpecInvalid with the path of the field."""
    return tuple(
        _parse(entry, f"spec.conditions[{index}]") for index, entry in enumerate(conditions or ())
    )


def _parse(entry: Mapping[str, Any], path: str) -> Admission:
    selector = entry.get("namespaceSelector")
    labels = (
        (parse_label_selector(selector, f"{path}.namespaceSelector"),)
        if selector is not None
        else ()
    )
    keys = entry.get("remoteKeys")
    for index, pattern in enumerate(keys or ()):
        if not set("{}").isdisjoint(pattern.replace(PLACEHOLDER, "")):
            raise SpecInvalid(
                f"{path}.remoteKeys[{index}] has braces: the only placeholder is {PLACEHOLDER}."
            )
    known = {"namespaces", "namespaceSelector", "namespaceRegexes", "remoteKeys"}
    for name in entry.keys() - known:
        # It would restrict further, if this version knew it.
        raise SpecInvalid(f"{path}.{name} is not known to this version of Syncret.")
    namespaces = NamespaceSelector(
        names=frozenset(entry.get("namespaces") or ()),
        labels=labels,
        regexes=parse_regexes(entry.get("namespaceRegexes"), f"{path}.namespaceRegexes"),
    )
    return Admission(namespaces, None if keys is None else tuple(keys))


@lru_cache(maxsize=_KEPT)
def _pattern(pattern: str, namespace: str) -> Any:
    """``*``: any characters, also none; ``?``: one; everything else stands for itself."""
    parts = pattern.split(PLACEHOLDER)
    regex = re2.escape(namespace).join(_glob(part) for part in parts)
    return compiled(f"(?s:{regex})")


def _glob(text: str) -> str:
    wild = {"*": ".*", "?": "."}
    return "".join(wild.get(character) or re2.escape(character) for character in text)


def _plain(key: str) -> bool:
    """Whether no server can take the key for another one."""
    if "%" in key or "\\" in key or not key.isprintable():
        return False
    return set(key.split("/")).isdisjoint({".", ".."})
