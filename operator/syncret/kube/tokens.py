"""What goes into the ``Authorization`` header, and when it is renewed.

Tokens are held in objects whose ``repr`` shows none of them, and never put into an exception.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

from syncret.clock import Clock
from syncret.errors import SetupError

logger = logging.getLogger(__name__)

#: Seconds that a token file's content is used for. The kubelet replaces a projected token when
#: 80 % of its life are over, so this is early enough by minutes.
TOKEN_FILE_AGE: Final = 60.0

#: Seconds before its end that a token with a known end is replaced.
RENEW_BEFORE: Final = 120.0

#: Seconds between two renewals, whatever the server says: each may start a plugin's process.
RENEW_INTERVAL: Final = 10.0


class Authorization(Protocol):
    """A source of credentials that may change while the process runs."""

    async def header(self, *, refused: str | None = None) -> str | None:
        """The header's value; None where the connection itself authenticates.

        ``refused`` is the value that the server has just answered with 401: another one is found,
        if there is another one.
        """
        ...


class NoAuthorization:
    """For client certificates, and for a local proxy that authenticates by itself."""

    async def header(self, *, refused: str | None = None) -> str | None:  # noqa: ARG002 - see above
        return None


class TokenFile:
    """A bearer token in a file that is replaced now and then."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._value = self._read()
        self._read_at = clock.monotonic()
        if not self._value:
            raise SetupError(
                f"{path} holds no token: give the pod a ServiceAccount token "
                "(automountServiceAccountToken: true), or set KUBECONFIG."
            )

    async def header(self, *, refused: str | None = None) -> str | None:
        now = self._clock.monotonic()
        if now - self._read_at >= TOKEN_FILE_AGE or refused == self._value:
            self._read_at = now
            value = self._read()
            if value:
                self._value = value
            else:
                logger.warning("The token file %s cannot be read; the old token stays", self._path)
        return self._value

    def _read(self) -> str:
        # Read in the event loop: a kilobyte from memory (a projected volume is a tmpfs).
        try:
            token = self._path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return ""
        return f"Bearer {token}" if token else ""


class RenewedToken:
    """A header value that is made anew shortly before its end, or when it is refused.

    ``renew`` gives the value and when it ends, in wall seconds (None: not known). It runs as one
    task for everybody that waits, so that an impatient caller does not abort it for the others.
    """

    def __init__(
        self,
        renew: Callable[[], Awaitable[tuple[str | None, float | None]]],
        *,
        value: str | None,
        ends: float | None,
        clock: Clock,
    ) -> None:
        self._renew = renew
        self._value = value
        self._ends = ends
        self._clock = clock
        self._renewed_at = clock.monotonic()
        self._renewal: asyncio.Task[None] | None = None

    async def header(self, *, refused: str | None = None) -> str | None:
        ending = self._ends is not None and self._clock.wall() >= self._ends - RENEW_BEFORE
        if ending or (refused is not None and refused == self._value):
            await self._renewed()
        return self._value

    async def _renewed(self) -> None:
        if self._renewal is None:
            if self._clock.monotonic() - self._renewed_at < RENEW_INTERVAL:
                return
            self._renewal = asyncio.create_task(self._run(), name="renew the API token")
        await asyncio.shield(self._renewal)

    async def _run(self) -> None:
        try:
            self._value, self._ends = await self._renew()
        except SetupError as error:
            # The old one may still do; if not, the 401 that follows says so.
            logger.warning("The credentials could not be renewed: %s", error.message)
        finally:
            self._renewed_at = self._clock.monotonic()
            self._renewal = None
