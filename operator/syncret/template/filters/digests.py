"""Filters of digests, passwords and dates.

A salt is made from the value and a key that the template's ExternalSecret alone has. What is random
would be another Secret with every rendering, and a restart of all that uses it.
"""

import base64
import hashlib
import hmac as hmac_
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import bcrypt as bcrypt_
from jinja2 import pass_environment

from syncret.template.filters.values import bytes_of, text_of
from syncret.template.problem import Problem

_ALGORITHMS: Final = frozenset(
    {"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_512"}
)
_STANDARD: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BCRYPT: Final = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#: bcrypt reads no more.
_LONGEST_PASSWORD: Final = 72


class Salted(Protocol):
    """The environment, as far as it is needed here."""

    seed: bytes


def salt(environment: Salted, purpose: str, *parts: bytes) -> bytes:
    """32 bytes that are the same for the same parts, and that nobody else can make."""
    mac = hmac_.new(environment.seed, purpose.encode(), hashlib.sha256)
    for part in parts:
        mac.update(len(part).to_bytes(4, "big") + part)
    return mac.digest()


def hash_(value: Any, algorithm: str = "sha256") -> str:
    return hashlib.new(_algorithm(algorithm), bytes_of(value), usedforsecurity=False).hexdigest()


def hmac(value: Any, key: Any, algorithm: str = "sha256") -> str:
    return hmac_.new(bytes_of(key), bytes_of(value), _algorithm(algorithm)).hexdigest()


def _algorithm(name: Any) -> str:
    if name not in _ALGORITHMS:
        raise Problem(f"asks for an algorithm that is not one of {', '.join(sorted(_ALGORITHMS))}")
    return str(name)


def digest_filter(algorithm: str) -> Any:
    """The filter of one algorithm."""
    return lambda value: hash_(value, algorithm)


@pass_environment
def bcrypt(environment: Salted, value: Any, rounds: int = 10) -> str:
    password = bytes_of(value)
    if not isinstance(rounds, int) or not 4 <= rounds <= 12:
        raise Problem("asks bcrypt for rounds that are not between 4 and 12")
    if len(password) > _LONGEST_PASSWORD or b"\0" in password:
        raise Problem(
            f"gives bcrypt a password of more than {_LONGEST_PASSWORD} bytes, or with a null byte"
        )
    raw = salt(environment, f"bcrypt {rounds}", password)[:16]
    encoded = base64.b64encode(raw).decode().rstrip("=")
    fixed = encoded.translate(str.maketrans(_STANDARD, _BCRYPT))
    return bcrypt_.hashpw(password, f"$2b${rounds:02}${fixed}".encode()).decode()


@pass_environment
def htpasswd(environment: Salted, value: Any, user: Any, rounds: int = 10) -> str:
    name = text_of(user)
    if not name or ":" in name or "\n" in name:
        raise Problem('gives htpasswd a user that is empty or has ":" in it')
    # Apache's own tool writes $2y$, which is the same algorithm.
    return f"{name}:$2y${bcrypt(environment, value, rounds)[4:]}"


def date_format(value: Any, format: str = "%Y-%m-%dT%H:%M:%SZ") -> str:  # noqa: A002 - its name in templates
    if len(format) > 200:
        raise Problem("has a format of a date that is too long")
    try:
        return _date(value).strftime(format)
    except (ValueError, UnicodeError):
        raise Problem("has a format of a date that is not valid") from None


def date_add(
    value: Any, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
) -> str:
    try:
        moved = _date(value) + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return moved.isoformat().replace("+00:00", "Z")
    except (OverflowError, TypeError):
        raise Problem("adds to a date what makes none") from None


def to_epoch(value: Any) -> int:
    return int(_date(value).timestamp())


def _date(value: Any) -> datetime:
    try:
        text = text_of(value).strip()
        if isinstance(value, int | float) or text.removeprefix("-").isdecimal():
            return datetime.fromtimestamp(float(text), UTC)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise Problem("reads as a date what is neither RFC 3339 nor seconds since 1970") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
