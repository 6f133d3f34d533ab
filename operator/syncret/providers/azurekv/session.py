"""What one store holds open: its connections, its login, and the SDK's clients.

Stores do not share connections, since a pool belongs to one vault; they share the TLS settings,
which cost a megabyte with the system's authorities.

The loggers of the SDK are kept quiet whatever the root logger says: they print requests at INFO,
and Entra ID's texts at WARNING.
"""

import logging
import ssl
from functools import cache, lru_cache
from typing import Any, Final

import aiohttp
from azure.core.pipeline.transport import AioHttpTransport

from syncret import __version__
from syncret.providers.azurekv.config import AzureConfig
from syncret.providers.azurekv.errors import CredentialsRefused
from syncret.providers.azurekv.login import Login
from syncret.providers.azurekv.objects import Kind
from syncret.providers.azurekv.timing import Timing

#: A version that every cloud has, and that does not move with the SDK.
API_VERSION: Final = "7.4"

_LOGGERS: Final = ("azure", "msal", "msal_extensions", "urllib3")


def quiet() -> None:
    """Keeps what the SDK logs out of our log, errors apart."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if logger.level < logging.ERROR:  # NOTSET included: it would ask the root
            logger.setLevel(logging.ERROR)


def trust(pem: bytes | None, place: str) -> ssl.SSLContext:
    """The TLS settings; ``pem``: the only authorities that are trusted, if any are given.

    Raises CredentialsRefused if these are none.
    """
    if pem is None:
        return _system()
    context = _only(pem)
    if context is None:
        raise CredentialsRefused(
            f"The CA bundle for {place} holds no certificate in PEM: correct caBundle, or what "
            "caProvider names."
        )
    return context


@cache
def _system() -> ssl.SSLContext:
    return ssl.create_default_context()


@lru_cache(maxsize=32)
def _only(pem: bytes) -> ssl.SSLContext | None:
    try:
        if not pem.strip():
            return None  # the SSL library would take that for the system's
        return ssl.create_default_context(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError):
        return None


class Session:
    """The connections and the clients of one vault."""

    def __init__(self, config: AzureConfig, context: ssl.SSLContext, timing: Timing) -> None:
        self._config = config
        self._timing = timing
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=timing.connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=True,
        )
        self.login: Login | None = None
        self._clients: dict[Kind, Any] = {}

    def transport(self) -> dict[str, Any]:
        """What a transport of the SDK is made with."""
        return {
            "session": self.http,
            "session_owner": False,
            "connection_timeout": self._timing.connect,
            "read_timeout": self._timing.read,
        }

    def client(self, kind: Kind) -> Any:
        """The SDK's client for secrets, keys or certificates."""
        if kind not in self._clients:
            self._clients[kind] = self._make(kind)
        return self._clients[kind]

    async def close(self) -> None:
        if self.login is not None:
            await self.login.close()
        for client in self._clients.values():
            await client.close()
        await self.http.close()

    def _make(self, kind: Kind) -> Any:
        # The login compares what the vault says its tokens are to be for, in every cloud.
        return _client_class(kind)(
            self._config.vault_url,
            self.login,
            api_version=API_VERSION,
            transport=AioHttpTransport(**self.transport()),
            verify_challenge_resource=False,
            user_agent=f"syncret/{__version__}",
            retry_total=0,  # see client.py
            permit_redirects=False,  # Key Vault has none; a token goes nowhere else
        )


def _client_class(kind: Kind) -> Any:
    match kind:
        case "secret":
            from azure.keyvault.secrets.aio import SecretClient

            return SecretClient
        case "key":
            from azure.keyvault.keys.aio import KeyClient

            return KeyClient
        case "cert":
            from azure.keyvault.certificates.aio import CertificateClient

            return CertificateClient
