"""Which namespaces are meant: by name, by label, by regular expression. Pure.

Labels are matched as Kubernetes does it everywhere. Regular expressions are RE2's, which match in
time linear in the text whatever the expression, and have to match the whole name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import re2

from syncret.errors import SpecInvalid

#: Expressions and key patterns that are kept compiled.
_KEPT: Final = 4096

_SETS: Final = frozenset({"In", "NotIn"})
_PRESENCE: Final = frozenset({"Exists", "DoesNotExist"})


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace. ``labels`` is None while they are not known: they are watched on demand."""

    name: str
    labels: Mapping[str, str] | None = None
    uid: str = ""
    deleting: bool = False


def parse_namespace(body: Mapping[str, Any]) -> Namespace:
    """The record of a body; its metadata are enough."""
    meta = body["metadata"]
    return Namespace(
        name=meta["name"],
        labels=dict(meta.get("labels") or {}),
        uid=meta["uid"],
        deleting="deletionTimestamp" in meta,
    )


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement on a label: ``operator`` as Kubernetes names it."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def met_by(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "In":
                return self.key in labels and labels[self.key] in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case _:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements have to be met; without any, everything is selected."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(one.met_by(labels) for one in self.requirements)


@dataclass(frozen=True, slots=True)
class NamespaceSelector:
    """Some namespaces: those that any of its parts selects."""

    names: frozenset[str] = frozenset()
    labels: tuple[LabelSelector, ...] = ()
    regexes: tuple[str, ...] = field(default=())

    @property
    def empty(self) -> bool:
        """Whether it names nothing: neither a name nor a selector."""
        return not (self.names or self.labels or self.regexes)

    def selects(self, namespace: Namespace) -> bool | None:
        """Whether the namespace is among them; None if that depends on labels not known yet."""
        if namespace.name in self.names:
            return True
        if any(compiled(regex).fullmatch(namespace.name) for regex in self.regexes):
            return True
        if not self.labels:
            return False
        if namespace.labels is None:
            return None
        return any(selector.matches(namespace.labels) for selector in self.labels)


_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False  # to stderr, past our logs


@lru_cache(maxsize=_KEPT)
def compiled(regex: str) -> Any:
    """An expression, compiled. Raises re2.error."""
    return re2.compile(regex, _OPTIONS)


def parse_label_selector(selector: Mapping[str, Any], path: str) -> LabelSelector:
    """A selector as Kubernetes writes it. Raises SpecInvalid."""
    wanted = [
        Requirement(str(key), "In", frozenset({str(value)}))
        for key, value in (selector.get("matchLabels") or {}).items()
    ]
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        operator, values = expression["operator"], expression.get("values") or ()
        here = f"{path}.matchExpressions[{index}]"
        if operator not in _SETS | _PRESENCE:
            raise SpecInvalid(f"{here}.operator must be In, NotIn, Exists or DoesNotExist.")
        if bool(values) != (operator in _SETS):
            raise SpecInvalid(
                f"{here}.values must be given with In and NotIn, and left out with Exists and "
                "DoesNotExist."
            )
        wanted.append(Requirement(expression["key"], operator, frozenset(map(str, values))))
    return LabelSelector(tuple(wanted))


def parse_regexes(regexes: Any, path: str) -> tuple[str, ...]:
    """Regular expressions that can be used. Raises SpecInvalid with the path of one that cannot."""
    for index, regex in enumerate(regexes or ()):
        try:
            compiled(regex)
        except re2.error:
            raise SpecInvalid(
                f"{path}[{index}] is not a regular expression of RE2: correct it (RE2 has neither "
                "look-around nor back-references)."
            ) from None
    return tuple(regexes or ())
