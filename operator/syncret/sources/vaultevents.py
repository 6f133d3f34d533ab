"""Vault's event stream, over a websocket, one for each type of events.

Vault keeps nothing for who is not listening, so there is nothing to acknowledge, and what happened
while the connection was down is caught up with by the refresh interval. A standby may serve an
older value for a moment; what is read is read again by the clock (``X-Vault-Index`` on the read
would tell a standby to wait: the stream carries it, the provider does not send it yet).
"""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp

from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    Throttled,
)
from syncret.sources.config import VaultEvents
from syncret.sources.events import MAX_MESSAGE
from syncret.sources.pulling import Message

#: Seconds between two pings, which notice a connection that is dead.
HEARTBEAT: Final = 20.0
#: Seconds for a login or the opening of a stream.
_TIMEOUT: Final = 10.0
#: Seconds that a look waits for events, and events that wait to be looked at.
WAIT: Final = 20.0
_BUFFER: Final = 1000

#: Where the kubelet puts the pod's identity.
TOKEN_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class VaultStream:
    """The streams of one source."""

    def __init__(self, config: VaultEvents, *, service_account: Path = TOKEN_FILE) -> None:
        self._config = config
        self._service_account = service_account
        self._session: aiohttp.ClientSession | None = None
        self._events: asyncio.Queue[Message] = asyncio.Queue(_BUFFER)
        self._streams: list[asyncio.Task[None]] = []

    async def receive(self) -> Sequence[Message]:
        if not self._streams:
            await self._open()
        getting = asyncio.ensure_future(self._events.get())
        try:
            await asyncio.wait(
                [getting, *self._streams], timeout=WAIT, return_when=asyncio.FIRST_COMPLETED
            )
            if getting.done():
                found = [getting.result()]
                while not self._events.empty():
                    found.append(self._events.get_nowait())
                return found
        finally:
            getting.cancel()
        for stream in self._streams:
            if stream.done():
                problem = stream.exception()
                await self.close()
                if isinstance(problem, ProviderError):
                    raise problem.with_traceback(None)
                raise ProviderUnavailable(
                    "Vault ended the stream of events: it is opened again; if it lasts, check the "
                    "server and the proxies before it."
                )
        return ()

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Vault keeps no events."""

    async def close(self) -> None:
        for stream in self._streams:
            stream.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)
        self._streams = []
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT))
        try:
            token = await self._token(self._session)
            self._streams = [
                asyncio.create_task(self._stream(self._session, kind, token), name="vault events")
                for kind in self._config.event_types
            ]
        except BaseException:
            await self.close()
            raise

    async def _stream(self, session: aiohttp.ClientSession, kind: str, token: str) -> None:
        url = f"{self._config.server}/v1/sys/events/subscribe/{kind}?json=true"
        try:
            async with session.ws_connect(
                url,
                headers=self._headers(token),
                heartbeat=HEARTBEAT,
                max_msg_size=MAX_MESSAGE,
                ssl=self._tls(),
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            ) as socket:
                async for one in socket:
                    if one.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                        await self._events.put(Message(body=one.data))
        except aiohttp.WSServerHandshakeError as error:
            raise _refused(error.status, kind) from None
        except (aiohttp.ClientError, OSError):
            raise _unreachable() from None
        except TimeoutError:
            raise _slow() from None

    async def _token(self, session: aiohttp.ClientSession) -> str:
        if self._config.token_file:
            return _read(Path(self._config.token_file), "tokenFile")
        jwt = _read(self._service_account, "ServiceAccount token")
        url = f"{self._config.server}/v1/auth/{self._config.mount}/login"
        try:
            async with session.post(
                url,
                json={"role": self._config.role, "jwt": jwt},
                headers=self._headers(""),
                ssl=self._tls(),
            ) as answer:
                if answer.status != 200:
                    raise _no_login(answer.status, self._config)
                token = (await answer.json())["auth"]["client_token"]
        except (aiohttp.ClientError, OSError):
            raise _unreachable() from None
        except TimeoutError:
            raise _slow() from None
        except (KeyError, TypeError, ValueError):
            raise ProviderUnavailable(
                "Vault gave an answer to the login that is not one: check the server and the "
                "proxies before it."
            ) from None
        return str(token)

    def _headers(self, token: str) -> dict[str, str]:
        headers = {"X-Vault-Request": "true"}
        if token:
            headers["X-Vault-Token"] = token
        if self._config.namespace:
            headers["X-Vault-Namespace"] = self._config.namespace
        return headers

    def _tls(self) -> ssl.SSLContext | bool:
        if not self._config.ca_file:
            return True
        try:
            return ssl.create_default_context(cafile=self._config.ca_file)
        except OSError:
            raise ProviderRejected(
                "The caFile of the Vault events cannot be read as CA certificates: correct it."
            ) from None


def _read(path: Path, what: str) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if not token:
        raise AccessDenied(
            f"The {what} for the Vault events cannot be read, or is empty: mount it there."
        )
    return token


def _no_login(status: int, config: VaultEvents) -> ProviderError:
    if status in {400, 401, 403}:
        return AccessDenied(
            f'Vault denies the login for its events with the role "{config.role}" of the auth '
            f'mount "{config.mount}": see whether both are right and the role is bound to the '
            "operator's ServiceAccount."
        )
    if status == 404:
        return ProviderRejected(
            f'Vault has no auth mount "{config.mount}": correct the mountPath of the event source.'
        )
    return _other(status, "the login for its events")


def _refused(status: int, kind: str) -> ProviderError:
    if status in {400, 401, 403}:
        return AccessDenied(
            f"Vault denies the stream of events ({kind}): allow read on "
            f"sys/events/subscribe/{kind}, and list and subscribe with subscribe_event_types on "
            "the paths of the secrets."
        )
    if status == 404:
        return ProviderRejected(
            "Vault has no stream of events: it takes Vault Enterprise 1.16 or newer; otherwise "
            "remove the source, and let the refresh interval do."
        )
    return _other(status, "the stream of events")


def _other(status: int, what: str) -> ProviderError:
    if status == 429:
        return Throttled("Vault throttles our requests: they are tried again.")
    return ProviderUnavailable(
        f"Vault answered {what} with HTTP {status}: it is tried again; if it lasts, check the "
        "server."
    )


def _unreachable() -> ProviderUnavailable:
    return ProviderUnavailable(
        "Vault cannot be reached for its events: check the server's URL, its certificate (caFile), "
        "DNS and network policies."
    )


def _slow() -> ProviderTimeout:
    return ProviderTimeout("Vault did not answer in time: check network policies and proxies.")
