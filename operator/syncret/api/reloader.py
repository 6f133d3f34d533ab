"""The annotations of Stakater's Reloader, as a workload and what it reads have them.

Only where an administrator has switched them on. What they say is taken as Reloader's documentation
has it: *auto* is everything that the pods refer to, *reload* names Secrets and ConfigMaps (by
regular expressions for whole names, whether or not the pods refer to them), *search* is what the
pods refer to and what has *match* itself, *exclude* takes names out of *auto*, and what has
*ignore* never counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import re2

from syncret.api.selector import compiled

SourceKind = Literal["Secret", "ConfigMap"]

_DOMAIN: Final = "reloader.stakater.com"
AUTO: Final = f"{_DOMAIN}/auto"
SEARCH: Final = f"{_DOMAIN}/search"
MATCH: Final = f"{_DOMAIN}/match"
IGNORE: Final = f"{_DOMAIN}/ignore"

_PREFIXES: Final[Mapping[SourceKind, str]] = {"Secret": "secret", "ConfigMap": "configmap"}

#: Names that one annotation lists at most; the rest is left out.
_MOST: Final = 256


@dataclass(frozen=True, slots=True)
class Reloader:
    """What the annotations of one workload say.

    Attributes:
        auto: The kinds of which everything counts that the pods refer to.
        search: Whether what the pods refer to counts if it has *match*.
        named: Kinds and expressions for whole names.
        excluded: Kinds and names that *auto* leaves out.
    """

    auto: frozenset[SourceKind] = frozenset()
    search: bool = False
    named: tuple[tuple[SourceKind, str], ...] = ()
    excluded: frozenset[tuple[SourceKind, str]] = frozenset()

    def concerns(
        self, kind: SourceKind, name: str, annotations: Mapping[str, Any], *, referred: bool
    ) -> bool:
        """Whether a change of that object restarts; ``annotations``: its own."""
        if annotations.get(IGNORE) == "true":
            return False
        if self.names(kind, name):
            return True
        if not referred:
            return False
        if kind in self.auto and (kind, name) not in self.excluded:
            return True
        return self.search and annotations.get(MATCH) == "true"

    def names(self, kind: SourceKind, name: str) -> bool:
        """Whether it is named, by an expression for its whole name."""
        return any(of == kind and _matches(pattern, name) for of, pattern in self.named)


def parse_reloader(annotations: Mapping[str, Any]) -> Reloader | None:
    """What annotations say; None if none of them asks for restarts."""
    every = annotations.get(AUTO) == "true"
    auto = {
        kind
        for kind, prefix in _PREFIXES.items()
        if every or annotations.get(f"{prefix}.{_DOMAIN}/auto") == "true"
    }
    named = tuple(
        (kind, name)
        for kind, prefix in _PREFIXES.items()
        for name in _listed(annotations.get(f"{prefix}.{_DOMAIN}/reload"))
    )
    search = annotations.get(SEARCH) == "true"
    if not (auto or named or search):
        return None
    excluded = {
        (kind, name)
        for kind, prefix in _PREFIXES.items()
        for name in _listed(annotations.get(f"{prefix}s.exclude.{_DOMAIN}/reload"))
    }
    return Reloader(frozenset(auto), search, named, frozenset(excluded))


def _listed(value: Any) -> list[str]:
    if not isinstance(value, str):
        return []
    return [name for part in value.split(",")[:_MOST] if (name := part.strip())]


def _matches(pattern: str, name: str) -> bool:
    if pattern == name:
        return True
    try:
        return compiled(pattern).fullmatch(name) is not None
    except re2.error:
        return False  # it is a name, and nothing else
