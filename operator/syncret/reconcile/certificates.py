"""When the certificates in a Secret expire, found in its values.

They are parsed where templates are rendered, in a process that can do no harm, because a value may
be made to be expensive. What cannot be read is no certificate, and keeps nothing from being synced.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Final, Protocol

from syncret.api.externalsecret import Certificate
from syncret.clock import rfc3339
from syncret.constants import MAX_CERTIFICATES
from syncret.errors import TemplateError

_SEQUENCE: Final = 0x30
_LONG: Final = 0x80


class DateReader(Protocol):
    """What is needed of the pool."""

    async def dates(self, values: Mapping[str, bytes]) -> Mapping[str, tuple[int, int]]: ...


async def certificates_of(pool: DateReader, data: Mapping[str, bytes]) -> tuple[Certificate, ...]:
    """By key; of the values that have any. Raises RendererUnavailable."""
    candidates = {key: value for key, value in sorted(data.items()) if _may_have(value)}
    if not candidates:
        return ()
    try:
        found = dict(await pool.dates(candidates))
    except TemplateError:
        found = {}
        for key, value in candidates.items():  # one of them is too much
            found |= await _alone(pool, key, value)
    dated = islice(((key, *found[key]) for key in candidates if key in found), MAX_CERTIFICATES)
    return tuple(Certificate(key, rfc3339(begins), rfc3339(ends)) for key, begins, ends in dated)


async def _alone(pool: DateReader, key: str, value: bytes) -> Mapping[str, tuple[int, int]]:
    try:
        return await pool.dates({key: value})
    except TemplateError:
        return {}


def _may_have(value: bytes) -> bool:
    """Whether a value looks like one with certificates: PEM, or one DER sequence of some length."""
    if b"CERTIFICATE-----" in value:
        return True
    if len(value) < 64 or value[0] != _SEQUENCE or value[1] <= _LONG:
        return False
    octets = value[1] - _LONG
    return octets <= 4 and int.from_bytes(value[2 : 2 + octets], "big") == len(value) - 2 - octets
