"""Which generators there are: one explicit line each, as of providers.

Each is imported when the first object names it, and made once.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from syncret.errors import SpecInvalid
from syncret.generators.base import Generator


def _password() -> Generator:
    from syncret.generators.password import PasswordGenerator

    return PasswordGenerator()


def _uuid() -> Generator:
    from syncret.generators.uuid import UuidGenerator

    return UuidGenerator()


def _vault_dynamic() -> Generator:
    from syncret.generators.vaultdynamic.generator import VaultDynamic

    return VaultDynamic()


#: The key under ``spec.generator`` and what makes the generator.
_GENERATORS: Final[Mapping[str, Callable[[], Generator]]] = {
    "password": _password,
    "uuid": _uuid,
    "vaultDynamic": _vault_dynamic,
}

#: What ``spec.generator`` may name.
NAMES: Final = tuple(sorted(_GENERATORS))


@cache
def generator(name: str) -> Generator:
    """The generator of that name, always the same object. Raises KeyError for an unknown name."""
    return _GENERATORS[name]()


def parse_generator(
    spec: Mapping[str, Any] | None, *, cluster_scoped: bool
) -> tuple[Generator, Any]:
    """The generator that a ``spec.generator`` names, and its part of the spec as a record.

    Raises SpecInvalid with the path of the field.
    """
    given = {name: part for name, part in (spec or {}).items() if part is not None}
    if len(given) != 1:
        found = f"names {', '.join(sorted(given))}" if given else "names none"
        raise SpecInvalid(
            f"spec.generator must name exactly one kind of generator ({', '.join(NAMES)}); it "
            f"{found}."
        )
    ((name, part),) = given.items()
    if name not in NAMES:
        raise SpecInvalid(
            f"spec.generator.{name} is not known to this version of Syncret, which has: "
            f"{', '.join(NAMES)}."
        )
    chosen = generator(name)
    return chosen, chosen.parse(part, cluster_scoped=cluster_scoped)
