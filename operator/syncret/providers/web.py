"""HTTP requests of providers that have no SDK: one session for a store, and every failure as ours.

Failures are returned and never raised from here: the frames of a request hold its headers and its
body, which are credentials, and the answer, which is a secret. An answer is read up to a bound.
Redirects are not followed: a credential goes to the address that the store names and to no other.

Refused: ``trust_env``. aiohttp would look up proxies and ``.netrc`` in a thread for every request,
and a password of a ``.netrc`` is nobody's idea of the credentials of a store.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
from yarl import URL

from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    Throttled,
)
from syncret.providers.base import CallObserver
from syncret.providers.outcomes import outcome_word

T = TypeVar("T")

#: The most that a store may ask us to wait, in seconds; more is not believed.
MAX_RETRY_AFTER: Final = 3600.0

_CHUNK: Final = 65_536


class CredentialsRefused(AccessDenied):
    """The identity itself is not accepted: nothing can be read with it."""


#: Failures that say nothing about the one secret that was asked for: the next call fails as well.
STORE_WIDE: Final = (CredentialsRefused, Throttled, ProviderTimeout, ProviderUnavailable)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: to connect, between two parts of an answer, and for a whole fetch or check."""

    connect: float = 3.0
    read: float = 5.0
    total: float = 30.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A request. Its headers and its body may be secrets."""

    method: str
    url: URL
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came. The names of its headers may be asked for in any case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def retry_after(self) -> float | None:
        """Seconds that the store asks us to wait. The header's other form, a date, is passed over:
        it needs two clocks that agree."""
        try:
            seconds = float(self.headers.get("Retry-After", ""))
        except ValueError:
            return None
        return min(seconds, MAX_RETRY_AFTER) if seconds >= 0 else None


class Web:
    """The requests of one store."""

    def __init__(
        self,
        *,
        place: str,
        timing: Timing,
        observe: CallObserver,
        connections: int,
        max_bytes: int,
        tls: ssl.SSLContext | None = None,
        proxy: str = "",
        resolver: aiohttp.abc.AbstractResolver | None = None,
        sockets: Callable[[Any], socket.socket] | None = None,
    ) -> None:
        """``sockets`` makes the socket for an address, or refuses to with an OSError."""
        self._place = place
        self._observe = observe
        self._turns = asyncio.Semaphore(connections)
        self._max_bytes = max_bytes
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections,
                ssl=True if tls is None else tls,
                resolver=resolver,
                socket_factory=sockets,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=proxy or None,
            headers={"User-Agent": "syncret"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=timing.connect, sock_read=timing.read
            ),
            trust_env=False,
        )

    async def ask(
        self,
        operation: str,
        request: Sent,
        judge: Callable[[Answer], T],
        *,
        unless: Callable[[], bool] = lambda: False,
        server_name: str = "",
    ) -> T | ProviderError | None:
        """What ``judge`` makes of the answer; None if ``unless`` holds when its turn has come."""
        async with self._turns:
            if unless():
                return None
            started, word = time.monotonic(), "error"
            try:
                result = await self._send(request, judge, server_name)
                word = outcome_word(result)
                return result
            except TimeoutError:  # of the whole operation, or of this call
                word = "timeout"
                return timed_out(self._place)
            finally:
                self._observe(operation=operation, outcome=word, seconds=time.monotonic() - started)

    async def close(self) -> None:
        await self._session.close()

    async def _send(
        self, request: Sent, judge: Callable[[Answer], T], server_name: str
    ) -> T | ProviderError:
        try:
            async with self._session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                server_hostname=server_name or None,
            ) as response:
                body = bytearray()
                async for part in response.content.iter_chunked(_CHUNK):
                    body += part
                    if len(body) > self._max_bytes:
                        return ProviderRejected(
                            f"{self._place} gives an answer of more than {self._max_bytes} bytes: "
                            "correct what is asked for."
                        )
                return judge(Answer(response.status, response.headers, bytes(body)))
        except TimeoutError:
            return timed_out(self._place)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _failure(error, self._place)


def _failure(error: Exception, place: str) -> ProviderError:
    match error:
        case aiohttp.ClientSSLError() | aiohttp.ClientConnectorCertificateError():
            return ProviderUnavailable(
                f"No trusted TLS connection to {place[:1].lower()}{place[1:]} comes about: check "
                "the address, that its certificate is for that name and has not expired, and the "
                "certificate authority that the store names."
            )
        case aiohttp.ClientConnectorError():
            refused = error.os_error
            if isinstance(refused, AddressRefused):
                return ProviderRejected(refused.sentence)
            return ProviderUnavailable(
                f"{place} cannot be reached: check the address, DNS and network policies."
            )
        case aiohttp.InvalidURL() | ValueError():
            return ProviderRejected(f"{place} cannot be addressed: correct the address.")
    return ProviderUnavailable(
        f"The connection to {place} broke off: it is tried again; if it lasts, check the proxies."
    )


class AddressRefused(OSError):
    """No connection is made to an address; ``sentence`` says why and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__("refused")
        self.sentence = sentence


def timed_out(place: str) -> ProviderTimeout:
    return ProviderTimeout(
        f"{place} did not answer in time: check the address, network policies and proxies."
    )


def not_understood(place: str, what: str) -> ProviderUnavailable:
    """A success whose body is not what was promised."""
    return ProviderUnavailable(
        f"{place} gave an answer that is not {what}: check the address and the proxies before it."
    )


def busy(answer: Answer, place: str) -> ProviderError | None:
    """The failure of an answer that asks to come again: 429 and 5xx."""
    if answer.status == 429 or (answer.status == 503 and answer.retry_after is not None):
        return Throttled(
            f"{place} throttles our requests: they are tried again; if it lasts, lengthen refresh "
            "intervals.",
            retry_after=answer.retry_after,
        )
    if answer.status >= 500:
        return ProviderUnavailable(
            f"{place} had an internal error (HTTP {answer.status}): the request is tried again; if "
            "it lasts, check its state and the proxies."
        )
    return None


def trust(ca: bytes | None = None, *, cert: bytes = b"", key: bytes = b"") -> ssl.SSLContext:
    """A TLS context that trusts the authorities in ``ca`` (PEM), else the system's.

    ``cert`` and ``key``, PEM, are what the client shows. Raises ValueError, which quotes nothing.
    """
    try:
        # What is not ASCII is in the comments of a bundle.
        text = None if ca is None else ca.decode("ascii", "ignore")
        context = ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError):
        raise ValueError("no certificates") from None
    if ca is not None and (not text or not context.get_ca_certs()):
        raise ValueError("no certificates")  # never the system's instead
    # See kube/connection.py: many authorities of clusters lack an RFC 5280 extension.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cert:
        problem = _load(context, cert + b"\n" + key)
        if problem:
            raise ValueError("no certificate and key that belong together")
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> bool:
    """Whether it failed. OpenSSL reads files only; this one is in memory and has no name."""
    descriptor = os.memfd_create("syncret-client-certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(Path(f"/proc/self/fd/{descriptor}"), password="")
    except (OSError, ValueError):
        return True
    finally:
        with suppress(OSError):
            os.close(descriptor)
    return False
