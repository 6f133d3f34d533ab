"""Which mount and which path of Vault a key means. Pure.

A key may be written in the ways that the field knows. Where the store has a ``path`` (the mount),
a key is relative to it, and may repeat it, with ``data/`` behind it or without. Where it has none,
the first segment of a key is the mount; a mount of several segments is told by ``/data/`` behind
it, which only version 2 has.

Paths with empty, "." and ".." segments are refused: on the way to Vault they would become other
paths than the one that was allowed.
"""

import re
from dataclasses import dataclass
from typing import Final

from syncret.errors import ProviderRejected

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Place:
    """A path in a mount. ``lead`` + ``path`` is how the key was written."""

    mount: str
    path: str
    lead: str = ""


def place_of(key: str, *, mount: str, version: int) -> Place:
    """Where the secret is. Raises ProviderRejected for a key that cannot be one."""
    place = _split(key, mount, version)
    if place is None or not place.path:
        raise ProviderRejected(
            f"The key {_shown(key)} names no secret: where the store has no path, a key begins "
            'with the mount, such as "secret/app".'
        )
    if _CONTROL.search(key) or any(part in {"", ".", ".."} for part in place.path.split("/")):
        raise ProviderRejected(
            f'The key {_shown(key)} is not a path of Vault: it has an empty, a "." or a ".." '
            "segment, or a control character. Correct it."
        )
    return place


def role_of(key: str) -> str:
    """A static role's name. Raises ProviderRejected for a key that cannot be one."""
    if _CONTROL.search(key) or any(part in {"", ".", ".."} for part in key.split("/")):
        raise ProviderRejected(
            f"The key {_shown(key)} is no name of a static role: correct it. The mount is the "
            "store's path, and no part of the key."
        )
    return key


def folder_of(prefix: str, *, mount: str, version: int) -> Place:
    """Where a search begins: ``path`` is the folder, "" or with "/" at its end.

    Raises ProviderRejected for the beginning of keys that cannot be one.
    """
    place = _split(prefix, mount, version)
    if place is None:
        raise ProviderRejected(
            "A find in a store without path needs find.path, which begins with the mount and a "
            'slash, such as "secret/".'
        )
    folder = place.path[: place.path.rfind("/") + 1]
    if _CONTROL.search(prefix) or any(part in {"", ".", ".."} for part in folder.split("/")[:-1]):
        raise ProviderRejected(
            f'find.path {_shown(prefix)} is not a path of Vault: it has an empty, a "." or a ".." '
            "segment, or a control character. Correct it."
        )
    return Place(place.mount, folder, place.lead)


def version_of(version: str) -> int | None:
    """A reference's version as a number, None for the current. Raises ProviderRejected."""
    if not version:
        return None
    if not _VERSION.fullmatch(version):
        # Vault itself takes 0 and -1 for the current version.
        raise ProviderRejected(
            f"The version {_shown(version)} is not usable: a version in Vault is a number from 1."
        )
    return int(version)


def _split(key: str, mount: str, version: int) -> Place | None:
    data = "data/" if version == 2 else ""
    if mount:
        for lead in (f"{mount}/{data}", f"{mount}/"):
            if key.startswith(lead):
                return Place(mount, key.removeprefix(lead), lead)
        return Place(mount, key)
    if data:
        before, mark, path = key.partition("/data/")
        if mark and before:
            return Place(before, path, f"{before}/data/")
    first, slash, path = key.partition("/")
    if not first or not slash or first in {".", ".."}:
        return None
    return Place(first, path, f"{first}/")


def _shown(text: str) -> str:
    text = _CONTROL.sub("?", text)
    return f'"{text}"' if len(text) <= 200 else f'"{text[:200]}…"'
