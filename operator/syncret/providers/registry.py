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
from syncret.providers.bounds import CLOSED, Bounds


def _aws() -> Provider:
    from syncret.providers.aws.provider import AwsProvider

    return AwsProvider()


def _azurekv() -> Provider:
    from syncret.providers.azurekv.provider import AzureProvider

    return AzureProvider()


def _fake() -> Provider:
    from syncret.providers.fake import FakeProvider

    return FakeProvider()


def _file(bounds: Bounds) -> Provider:
    from syncret.providers.file.provider import FileProvider

    return FileProvider(bounds)


def _gcpsm() -> Provider:
    from syncret.providers.gcp.provider import GcpProvider

    return GcpProvider()


def _kubernetes(bounds: Bounds) -> Provider:
    from syncret.providers.kubernetes.provider import KubernetesProvider

    return KubernetesProvider(bounds)


def _webhook(bounds: Bounds) -> Provider:
    from syncret.providers.webhook.provider import WebhookProvider

    return WebhookProvider(bounds)


def _vault() -> Provider:
    from syncret.providers.vault.provider import VaultProvider

    return VaultProvider()


#: The key under ``spec.provider`` and what makes the provider.
_PROVIDERS: Final[Mapping[str, Callable[[], Provider]]] = {
    "aws": _aws,
    "azurekv": _azurekv,
    "fake": _fake,
    "gcpsm": _gcpsm,
    "vault": _vault,
}

#: The same, of providers whose stores reach no further than an administrator lets them.
_BOUNDED: Final[Mapping[str, Callable[[Bounds], Provider]]] = {
    "file": _file,
    "kubernetes": _kubernetes,
    "webhook": _webhook,
}

#: What ``spec.provider`` may name.
NAMES: Final = tuple(sorted((*_PROVIDERS, *_BOUNDED)))


def provider(name: str, bounds: Bounds = CLOSED) -> Provider:
    """The provider of that name, always the same object for the same bounds.

    Raises KeyError for an unknown name.
    """
    return _made(name, bounds)


@cache
def _made(name: str, bounds: Bounds) -> Provider:
    return _BOUNDED[name](bounds) if name in _BOUNDED else _PROVIDERS[name]()


def parse_provider(
    spec: Mapping[str, Any] | None, *, cluster_scoped: bool, bounds: Bounds = CLOSED
) -> tuple[Provider, Any]:
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
    if name not in NAMES:
        raise SpecInvalid(
            f"spec.provider.{name} is not known to this version of Syncret, which has: "
            f"{', '.join(NAMES)}."
        )
    chosen = provider(name, bounds)
    return chosen, chosen.parse(part, cluster_scoped=cluster_scoped)
