"""The wish to have the store rotate a secret, and what came of it.

``syncret.io/rotate`` on an ExternalSecret: any new value asks for it. A value of the form
``id:key`` asks for that key alone; any other, for each that is read.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from syncret.constants import ROTATE_ANNOTATION

RotationState = Literal["Rotating", "Done", "Failed"]

_STATES: Final = ("Rotating", "Done", "Failed")
_VALUE: Final = re.compile(r"[A-Za-z0-9._-]{1,63}:(?P<key>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """``id``: a digest of the annotation's value; ``key``: the one that is meant, "": all."""

    id: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class RotationStatus:
    """What came of a request. ``time``: when the store was asked, RFC 3339.

    ``versions``: by key, the version that the rotation makes current; "" where the store does not
    say. ``former``: the version that was read before.
    """

    request: str
    state: RotationState
    time: str
    message: str = ""
    versions: tuple[tuple[str, str, str], ...] = ()

    def body(self) -> dict[str, Any]:
        """As the API has it. A merge patch keeps what it does not name: everything is named."""
        return {
            "request": self.request,
            "state": self.state,
            "time": self.time,
            "message": self.message or None,
            "keys": [
                {
                    name: value
                    for name, value in (("key", key), ("version", version), ("former", former))
                    if value
                }
                for key, version, former in self.versions
            ],
        }


def request_of(value: str) -> RotationRequest:
    """What a value of the annotation asks for."""
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    match = _VALUE.fullmatch(value)
    return RotationRequest(digest, match["key"] if match else "")


def parse_request(meta: Mapping[str, Any]) -> RotationRequest | None:
    """What the annotation asks for, if there is one."""
    value = (meta.get("annotations") or {}).get(ROTATE_ANNOTATION)
    return request_of(value) if isinstance(value, str) and value else None


def parse_rotation_status(status: Mapping[str, Any]) -> RotationStatus | None:
    """What the status says of the last request. Raises what a status of another form does."""
    told = status.get("rotate")
    if not told or told.get("state") not in _STATES:
        return None
    return RotationStatus(
        request=told["request"],
        state=cast("RotationState", told["state"]),
        time=told.get("time") or "",
        message=told.get("message") or "",
        versions=tuple(
            (one["key"], one.get("version") or "", one.get("former") or "")
            for one in told.get("keys") or ()
        ),
    )
