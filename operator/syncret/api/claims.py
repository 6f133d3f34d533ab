"""Which keys of a shared Secret are whose: the text of the annotation ``syncret.io/merged-keys``.

::

    {"of": "shop/app", "keys": {"database": {"keys": ["password", "user"], "retain": true}}}

By the name of the ExternalSecret, so that one that was deleted and made again takes its keys up
again. The annotation says which Secret it is about: a copy of the Secret, made by hand under
another name, carries it as well, and nobody may remove keys from that.

Reading is tolerant, since anybody may write annotations. Refused: the API server's own record
(managedFields, by server-side apply), because an edit by hand takes a key away from its manager
there, and tells nothing about an ExternalSecret that is gone.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

#: Bytes of the annotation; all annotations of an object may have 256 KiB, and are not ours alone.
MAX_CLAIMS: Final = 128 * 1024


@dataclass(frozen=True, slots=True)
class Claim:
    """The keys of one ExternalSecret. ``retain``: they stay when it goes."""

    keys: tuple[str, ...]
    retain: bool = False


Claims = Mapping[str, Claim]

NO_CLAIMS: Final[Claims] = MappingProxyType({})


def parse_claims(text: str, *, namespace: str, secret: str) -> Claims:
    """What an annotation of a Secret says; nothing, if it is about another one or no record."""
    if not text or len(text) > MAX_CLAIMS:
        return NO_CLAIMS
    try:
        record = json.loads(text)
        if record["of"] != f"{namespace}/{secret}":
            return NO_CLAIMS
        claims = {
            name: Claim(_texts(claim["keys"]), claim.get("retain") is True)
            for name, claim in record["keys"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return NO_CLAIMS
    return claims or NO_CLAIMS


def render_claims(claims: Claims, *, namespace: str, secret: str) -> str | None:
    """The annotation's text, the same for the same claims; None if there are none."""
    if not claims:
        return None
    keys = {
        name: {"keys": list(claim.keys), **({"retain": True} if claim.retain else {})}
        for name, claim in sorted(claims.items())
    }
    return json.dumps({"of": f"{namespace}/{secret}", "keys": keys}, separators=(",", ":"))


def keys_of_others(claims: Claims, name: str, *, among: Iterable[str] | None = None) -> set[str]:
    """The keys of everybody but one; ``among``: count only these ExternalSecrets."""
    counted = claims.keys() if among is None else set(among)
    return {
        key
        for other, claim in claims.items()
        if other != name and other in counted
        for key in claim.keys
    }


def _texts(keys: list[str]) -> tuple[str, ...]:
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise TypeError
    return tuple(keys)
