"""Keyed digests: how Syncret remembers what a Secret held without keeping what it held.

Everything here is HMAC-SHA256 under a random key that lives in one Secret of the operator's
namespace, so a digest that anyone may read (in a status, in an annotation) cannot be used to test
guesses of a password. A plain hash could. Each published digest names its key by a short id: after
the key was lost or replaced, an old digest is recognised as *unknown* instead of as *different*,
and nothing restarts because of it.
"""

import hmac
from collections.abc import Iterable, Mapping

_ID_LENGTH = 8
_PUBLISHED_LENGTH = 32  # hex digits: 128 bits


class Digester:
    """Digests under one key. ``key`` has at least 32 bytes of randomness."""

    __slots__ = ("_key", "key_id")

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("a digest key has at least 32 bytes")
        self._key = key
        self.key_id = self._mac("key-id", []).hex()[:_ID_LENGTH]

    def value(self, data: bytes) -> bytes:
        """16 bytes that stand for a value in memory. Not published: equal values are equal."""
        return hmac.digest(self._key, b"value\0" + data, "sha256")[:16]

    def values(self, data: Mapping[str, bytes]) -> dict[str, bytes]:
        """The digest of every value of a Secret, by its key."""
        return {key: self.value(value) for key, value in data.items()}

    def publish(self, context: str, digests: Mapping[str, bytes]) -> str:
        """``<key id>.<128 bits>`` over keys and value digests, for statuses and annotations.

        ``context`` names what is digested ("data/namespace/secret"), so that two Secrets with the
        same content cannot be seen to have it.
        """
        fields = (part for key in sorted(digests) for part in (key.encode(), digests[key]))
        return f"{self.key_id}.{self._mac(context, fields).hex()[:_PUBLISHED_LENGTH]}"

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose, from which neither the key nor another purpose's follow."""
        return self._mac(f"derive/{purpose}", [])

    def knows(self, published: str) -> bool:
        """Whether this key made the published digest, and so can be compared with it."""
        return published.startswith(f"{self.key_id}.")

    def _mac(self, context: str, fields: Iterable[bytes]) -> bytes:
        # With their lengths, so that no two lists of fields run together.
        parts = (
            part
            for field in (context.encode(), *fields)
            for part in (len(field).to_bytes(4, "big"), field)
        )
        return hmac.digest(self._key, b"".join(parts), "sha256")
