"""Who reads: what goes into the ``Authorization`` header, and how it is renewed.

What is read is what this identity may read. The operator's own is never used, whatever is missing.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from syncret.providers.base import SecretValue, ServiceAccount

#: Seconds that a token is asked to live, and before whose end it is replaced.
LIFE: Final = 3600
RENEW_BEFORE: Final = 300.0

#: Seconds between two tokens, however often they are refused: each is a request to the API server.
RENEW_INTERVAL: Final = 10.0

#: What a token consists of. Anything else would make the HTTP client raise an error that quotes it.
TOKEN: Final = re.compile(rb"[!-~]+")


class Identity(Protocol):
    """A source of credentials that may change while the store is open."""

    @property
    def generation(self) -> int:
        """A number that grows with each renewal."""
        ...

    async def ready(self, *, refused: int | None = None) -> None:
        """Sees to it that the credentials can be used. ``refused``: a generation that was refused.

        Raises a SyncretError. A generation instead of a token is passed around, so that no token
        gets into the frames of what is raised here.
        """
        ...

    def header(self) -> str:
        """The header's value; "" where the connection itself authenticates."""
        ...


class Fixed:
    """A token that a Secret holds, or, without one, a client certificate."""

    generation = 0

    def __init__(self, token: SecretValue | None = None) -> None:
        self._token = token

    async def ready(self, *, refused: int | None = None) -> None:
        """Nothing to do: the engine opens the store anew when the Secret changes."""

    def header(self) -> str:
        return "" if self._token is None else _bearer(self._token)


class AccountToken:
    """Tokens of a ServiceAccount, made by the API server of this cluster when they are needed."""

    def __init__(
        self,
        account: ServiceAccount,
        audiences: Sequence[str],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._account = account
        self._audiences = tuple(audiences)
        self._monotonic = monotonic
        self._now = now
        self._lock = asyncio.Lock()
        self._token: SecretValue | None = None
        self._made = 0.0
        self.generation = 0

    async def ready(self, *, refused: int | None = None) -> None:
        async with self._lock:
            if self._is_good() and refused != self.generation:
                return
            if self._token is not None and self._monotonic() - self._made < RENEW_INTERVAL:
                return
            self._token = await self._account.token(self._audiences, seconds=LIFE)
            self._made = self._monotonic()
            self.generation += 1

    def header(self) -> str:
        return "" if self._token is None else _bearer(self._token)

    def _is_good(self) -> bool:
        if self._token is None:
            return False
        expires = self._token.expires
        return expires is None or (expires - self._now()).total_seconds() > RENEW_BEFORE


def _bearer(token: SecretValue) -> str:
    return f"Bearer {token.reveal().strip().decode('ascii')}"
