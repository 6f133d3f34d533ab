"""Which providers there are: one explicit line each.

A provider is imported when the first store names it, because an SDK costs up to half a second and
tens of megabytes, and a cluster should pay for its own stores only. Each is made once, so that it
can share sessions and threads among its stores.

Refused: entry points and scanning of packages. What a cluster's secrets pass through should be
readable in one place.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from syncret.errors import SpecInvalid
from syncret.providers.base import Provider


def _aws() -> Provider:
    from syncret.providers.aws.provider import AwsProvider

    return AwsProvider()


#: The key under ``spec.provider`` and what makes the provider.
_PROVIDERS: Final[Mapping[str, Callable[[], Provider]]] = {
    "aws": _aws,
}

#: What ``spec.provider`` may name.
NAMES: Final = tuple(_PROVIDERS)


@cache
def provider(name: str) -> Provider:
    """The provider of that name, always the same object. Raises KeyError for an unknown name."""
    return _PROVIDERS[name]()


def parse_provider(spec: Mapping[str, Any] | None, *, cluster_scoped: bool) -> tuple[Provider, Any]:
    """The provider that a ``spec.provider`` names, and its part of the spec as a record.

    Raises SpecInvalid with the path of the field.
    """
    given = {name: part for name, part in (spec or {}).items() if part is not None}
    if len(given) != 1:
        found = f"names {', '.join(sorted(given))}" if given else "names none"
        raise SpecInvalid(
            f"spec.provider must name exactly one kind of store ({', '.join(NAMES)}); it {found}."
        )
    ((name, part),) = given.items()
    if name not in _PROVIDERS:
        raise SpecInvalid(
            f"spec.provider.{name} is not known to this version of Syncret, which has: "
            f"{', '.join(NAMES)}."
        )
    chosen = provider(name)
    return chosen, chosen.parse(part, cluster_scoped=cluster_scoped)
