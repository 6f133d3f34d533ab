"""Vault's answers as values and leases. Pure.

An answer has its result under ``data``, or under ``auth`` where a token was made. What it says of a
lease stands beside ``data``; a token that was made has none but is renewed and revoked by its
accessor, so here it is a lease of that name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from syncret.providers.base import SecretValue
from syncret.providers.vault import kv
from syncret.providers.vault.answers import seconds_of

#: What ``resultType`` may be.
DATA: Final = "Data"
AUTH: Final = "Auth"
RAW: Final = "Raw"

#: What the id of a lease begins with that is a token. No lease of Vault is called so: theirs begin
#: with a mount.
TOKEN: Final = "accessor:"  # noqa: S105 - a word

#: Seconds that are said of what has no end.
NO_END: Final = 10 * 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Granted:
    """A lease as an answer has it. ``seconds``: of it alone, whatever becomes of its maker."""

    id: str
    seconds: float
    renewable: bool


def values_of(body: Any, result: str) -> dict[str, SecretValue] | None:
    """The fields of the result: texts as they are, all else as JSON; None if there is none."""
    part = body if result == RAW or not isinstance(body, Mapping) else body.get(result.lower())
    if not isinstance(part, Mapping) or not part:
        return None
    return {str(name): SecretValue(_bytes(value)) for name, value in part.items()}


def granted(body: Any) -> Granted | None:
    """The lease in an answer that made or renewed something; None if it has none."""
    if not isinstance(body, Mapping):
        return None
    lease_id = body.get("lease_id")
    if isinstance(lease_id, str) and lease_id:
        return Granted(lease_id, _seconds(body), bool(body.get("renewable")))
    auth = body.get("auth")
    if isinstance(auth, Mapping) and auth.get("accessor"):
        return Granted(f"{TOKEN}{auth['accessor']}", _seconds(auth), bool(auth.get("renewable")))
    return None


def ending(body: Any) -> float | None:
    """Seconds until a token ends that can be neither renewed nor revoked; None: it is none."""
    auth = body.get("auth") if isinstance(body, Mapping) else None
    if not isinstance(auth, Mapping) or auth.get("accessor"):
        return None
    return _seconds(auth)


def life_of(body: Any) -> float | None:
    """Seconds that a token has left, by the answer to a renewal or a look; infinity: it has no end.

    None if it is no such answer.
    """
    auth, data = (body.get(one) if isinstance(body, Mapping) else None for one in ("auth", "data"))
    if isinstance(auth, Mapping):
        left = auth.get("lease_duration")
    elif isinstance(data, Mapping):
        left = data.get("ttl")
    else:
        return None
    return seconds_of(left) or float("inf")


def _seconds(part: Mapping[str, Any]) -> float:
    return seconds_of(part.get("lease_duration")) or NO_END


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return kv.document(value)
