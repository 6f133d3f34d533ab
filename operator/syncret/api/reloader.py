"""The annotations of Stakater's Reloader, as a workload and what it reads have them.

Only where an administrator has switched them on. What they say is taken as Reloader's documentation
and its source have it: *auto* is everything that the pods refer to, *reload* names Secrets and
ConfigMaps (by regular expressions for whole names, whether or not the pods refer to them), *search*
is what the pods refer to and what has *match* itself, *exclude* takes names out of all of these,
and what has *ignore* never counts. For each kind for itself, the pod template is asked where the
workload has none of them, also none that says "false".
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

#: What *auto* may be for "true", as Go's ParseBool has it. The others take "true" alone.
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})

#: Names that one annotation lists at most; the rest is left out.
_MOST: Final = 256


@dataclass(frozen=True, slots=True)
class Reloader:
    """What the annotations of one workload say.

    Attributes:
        auto: The kinds of which everything counts that the pods refer to.
        search: The kinds of which what the pods refer to counts if it has *match*.
        named: Kinds and expressions for whole names.
        excluded: Kinds and names that never count.
    """

    auto: frozenset[SourceKind] = frozenset()
    search: frozenset[SourceKind] = frozenset()
    named: tuple[tuple[SourceKind, str], ...] = ()
    excluded: frozenset[tuple[SourceKind, str]] = frozenset()

    def concerns(
        self, kind: SourceKind, name: str, annotations: Mapping[str, Any], *, referred: bool
    ) -> bool:
        """Whether a change of that object restarts; ``annotations``: its own."""
        if annotations.get(IGNORE) == "true" or (kind, name) in self.excluded:
            return False
        if self.names(kind, name):
            return True
        if not referred:
            return False
        return kind in self.auto or (kind in self.search and annotations.get(MATCH) == "true")

    def names(self, kind: SourceKind, name: str) -> bool:
        """Whether it is named, by an expression for its whole name."""
        return any(of == kind and _matches(pattern, name) for of, pattern in self.named)


def parse_reloader(
    annotations: Mapping[str, Any], template: Mapping[str, Any] | None = None
) -> Reloader | None:
    """What a workload's annotations say, and those of its pod template where they count.

    None if none of them asks for restarts.
    """
    auto: set[SourceKind] = set()
    search: set[SourceKind] = set()
    named: list[tuple[SourceKind, str]] = []
    excluded: set[tuple[SourceKind, str]] = set()
    for kind, prefix in _PREFIXES.items():
        typed, listed = f"{prefix}.{_DOMAIN}/auto", f"{prefix}.{_DOMAIN}/reload"
        asks = any(name in annotations for name in (AUTO, SEARCH, typed, listed))
        told = annotations if asks else template or {}
        if told.get(AUTO) in _TRUE or told.get(typed) in _TRUE:
            auto.add(kind)
        if told.get(SEARCH) == "true":
            search.add(kind)
        named += [(kind, name) for name in _listed(told.get(listed))]
        for place in (annotations, told):
            names = _listed(place.get(f"{prefix}s.exclude.{_DOMAIN}/reload"))
            excluded |= {(kind, name) for name in names}
    if not (auto or named or search):
        return None
    return Reloader(frozenset(auto), frozenset(search), tuple(named), frozenset(excluded))


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
