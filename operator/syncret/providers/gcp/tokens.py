"""Access tokens of one identity: one login at a time, whoever waits, renewed before they expire.

A token lives for an hour. In its last minutes it is still used while another is fetched, so no read
waits for a login but the first one. Nobody else than whoever reads asks for tokens: an idle store
logs in nowhere.
"""

import asyncio
import copy
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from syncret.errors import SyncretError
from syncret.providers.gcp.identity import Identity

#: Seconds before its end at which a token is renewed, at most a quarter of its life. Google's
#: metadata server has a new one five minutes before the end; earlier it would give the same again.
RENEW: Final = 225.0

#: Seconds for which no other login is made after one that failed while the token was still good,
#: and for which a token that was refused is not replaced: whoever refuses a new one refuses more.
PAUSE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Token:
    """``text`` goes into the header ``authorization``. Times are of the monotonic clock."""

    text: str
    got: float
    expires: float

    def __repr__(self) -> str:
        return "Token(…)"


class Tokens:
    """The tokens of one identity. ``now``: seconds of a monotonic clock."""

    def __init__(self, identity: Identity, *, now: Callable[[], float]) -> None:
        self._identity = identity
        self._now = now
        self._token: Token | None = None
        self._renewal: asyncio.Task[Token | SyncretError] | None = None
        self._not_before = float("-inf")

    async def get(self) -> Token:
        """A token that is good for a while. Raises SyncretError with what to do."""
        token, now = self._token, self._now()
        if token is not None and now < token.expires:
            life = token.expires - token.got
            if now >= token.expires - min(RENEW, life / 4) and now >= self._not_before:
                self._renew()
            return token
        result = await asyncio.shield(self._renew())
        if isinstance(result, SyncretError):
            raise copy.copy(result)  # whoever raises one writes a traceback into it
        return result

    def refused(self, token: Token) -> bool:
        """The store did not accept it. Whether another one is worth a try."""
        if self._token is not token:
            return True  # there is another one already
        if self._now() - token.got < PAUSE:
            return False
        self._token = None
        return True

    async def close(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewal

    def _renew(self) -> "asyncio.Task[Token | SyncretError]":
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._run(), name="gcp login")
        return self._renewal

    async def _run(self) -> Token | SyncretError:
        try:
            grant = await self._identity.login()
        except SyncretError as error:
            self._not_before = self._now() + PAUSE
            return error.with_traceback(None)
        finally:
            self._renewal = None
        got = self._now()
        self._token = Token(grant.text, got, got + grant.seconds)
        return self._token
