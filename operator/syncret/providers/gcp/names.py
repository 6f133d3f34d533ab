"""References as resource names, and back. Pure.

A reference's key is the short name of a secret of the store's own project and location, or a full
resource name, which may be of another project: ``projects/P/secrets/S`` or, of a regional secret,
``projects/P/locations/L/secrets/S``, each with ``/versions/V`` if the reference has no version of
its own. Answers name projects by their number, references mostly by their id, so names are never
compared as a whole.
"""

import re
from typing import Final

from syncret.errors import ProviderRejected
from syncret.providers.base import Ref

LATEST: Final = "latest"

_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")
_PROJECT: Final = r"[a-z0-9][-a-z0-9:.]{0,61}"  # an id, with the domain of old ones, or a number
_FULL: Final = re.compile(
    rf"(?P<project>projects/{_PROJECT})(/locations/(?P<location>[a-z0-9-]{{1,63}}))?"
    rf"/secrets/(?P<secret>[A-Za-z0-9_-]{{1,255}})(/versions/(?P<version>[^/]+))?"
)
# A number, or an alias, which begins with a letter.
_VERSION: Final = re.compile(r"[1-9][0-9]{0,18}|[A-Za-z][A-Za-z0-9_-]{0,62}")


def parent(project: str, location: str) -> str:
    """What secrets are listed of."""
    return f"projects/{project}" + (f"/locations/{location}" if location else "")


def needs_project(ref: Ref) -> bool:
    """Whether the reference can only be read if the store's project is known."""
    return "/" not in ref.key


def secret_name(ref: Ref, *, project: str, location: str) -> str:
    """The resource name of the secret. Raises ProviderRejected."""
    if _SECRET.fullmatch(ref.key):
        return f"{parent(project, location)}/secrets/{ref.key}"
    match = _FULL.fullmatch(ref.key)
    if match is None:
        raise ProviderRejected(
            f'"{ref.key[:200]}" is no name of a secret of Google Cloud, which has letters, digits, '
            '"-" and "_" only, up to 255, or is a full name: projects/PROJECT/secrets/NAME.'
        )
    if (match["location"] or "") != location:
        has = f"of the location {match['location']}" if match["location"] else "without a location"
        wants = f"at {location}" if location else "at the global endpoint"
        raise ProviderRejected(
            f'"{ref.key[:200]}" is a name {has}, and the store reads {wants}: use a store with the '
            "same location."
        )
    return secret(ref)


def secret(ref: Ref) -> str:
    """The key without a version: what all references to one secret of a store have in common."""
    return ref.key.partition("/versions/")[0]


def version_of(ref: Ref) -> str:
    """The version that is meant: a number, an alias or "latest". Raises ProviderRejected."""
    match = _FULL.fullmatch(ref.key)
    version = ref.version or (match["version"] if match else "") or LATEST
    if not _VERSION.fullmatch(version):
        raise ProviderRejected(
            f'The version "{version[:80]}" is not usable: it is a number, "latest", or an alias, '
            "which begins with a letter."
        )
    return version


def last(name: str) -> str:
    """The last part of a resource name: of a version its number, of a secret its short name."""
    return name.rpartition("/")[2]
