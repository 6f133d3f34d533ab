"""What the generators have in common that make their values in this process.

They need neither credentials nor an identity, nothing of theirs is leased, and they always work.
"""

import re
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from syncret.errors import SpecInvalid
from syncret.generators.base import Generated, Lease
from syncret.providers.base import (
    CallObserver,
    CredentialRef,
    Limits,
    SecretValue,
    ServiceAccount,
    StoreIdentity,
)
from syncret.providers.fields import Fields

#: Keys of one generator; the CRD has the same bound.
MOST_KEYS: Final = 64

#: Values are made as fast as they can be written.
LIMITS: Final = Limits(batch=1, concurrency=32, rate=1000.0)

_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")


def secret_keys(fields: Fields, *, default: str) -> tuple[str, ...]:
    """``secretKeys``: under which keys there is to be a value. Raises SpecInvalid."""
    found = fields.texts(
        "secretKeys", pattern=_KEY, limit=253, form="a key that a Secret can have"
    ) or (default,)
    if len(found) > MOST_KEYS or len(set(found)) < len(found):
        raise SpecInvalid(f"{fields.path}.secretKeys must be at most {MOST_KEYS} different keys.")
    return found


class LocalGenerator:
    """What a generator needs that needs nothing."""

    def credential_refs(self, config: Any) -> Mapping[str, CredentialRef]:  # noqa: ARG002
        return {}

    def ambient(self, config: Any) -> bool:  # noqa: ARG002 - it needs no identity
        return False

    async def open(
        self,
        config: Any,
        credentials: Mapping[str, SecretValue],  # noqa: ARG002 - it has none
        *,
        observe: CallObserver,
        accounts: Mapping[str, ServiceAccount] = MappingProxyType({}),  # noqa: ARG002
        store: StoreIdentity | None = None,  # noqa: ARG002
    ) -> "LocalClient":
        return LocalClient(lambda: self.values(config), observe=observe)

    def values(self, config: Any) -> Mapping[str, bytes]:
        """New values."""
        raise NotImplementedError


class LocalClient:
    """Makes values."""

    def __init__(self, make: Callable[[], Mapping[str, bytes]], *, observe: CallObserver) -> None:
        self.limits = LIMITS
        self._make = make
        self._observe = observe

    async def generate(self, *, owner: str) -> Generated:  # noqa: ARG002 - no audit needs it
        started = time.monotonic()
        values = {key: SecretValue(value) for key, value in self._make().items()}
        self._observe(operation="Generate", outcome="ok", seconds=time.monotonic() - started)
        return Generated(values)

    async def renew(self, lease: Lease) -> Lease | None:  # noqa: ARG002 - it makes none
        return None

    async def revoke(self, lease: Lease) -> None:
        """Nothing can be revoked."""

    async def check(self) -> None:
        """It always works."""
        self._observe(operation="Check", outcome="ok", seconds=0.0)

    async def close(self) -> None:
        """Nothing is held open."""
