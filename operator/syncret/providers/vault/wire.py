"""hvac and requests: one call to one Vault, its TLS, and the failures of both as ours.

Nothing else imports them. hvac's own handling of answers is passed by (:class:`_Adapter`): its
exceptions quote Vault's texts and URLs, and lose the headers. What comes back is an
:class:`~syncret.providers.vault.answers.Answer`.

A server is an address that somebody wrote into a store, so its answers are bounded in size and in
time, and it cannot send us elsewhere: a redirect is followed once, if Vault's own (307), and never
from https to http.

The loggers of the libraries are kept at WARNING whatever the root logger says.
"""

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import hvac
import requests
import urllib3.exceptions
from hvac.adapters import RawAdapter
from requests import exceptions as http
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from syncret import __version__
from syncret.errors import ProviderError, ProviderRejected, ProviderUnavailable
from syncret.providers.vault import kv
from syncret.providers.vault.answers import Answer, retry_after, timed_out
from syncret.providers.vault.config import VaultConfig
from syncret.providers.vault.timing import Timing

for _name in ("hvac", "requests", "urllib3"):
    _logger = logging.getLogger(_name)
    if _logger.level < logging.WARNING:  # NOTSET included: it would ask the root
        _logger.setLevel(logging.WARNING)

#: Bytes of an answer. A secret of Vault has a mebibyte at most; the names in a folder have more.
MAX_ANSWER: Final = 16 * 1024 * 1024

_CHUNK: Final = 65_536


class TooLarge(Exception):
    """An answer beyond all bounds."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and which one it is: numbers grow with each."""

    number: int = 0
    value: str = field(repr=False, default="")


class Wire:
    """The way to one Vault, for all threads. Calls block."""

    def __init__(
        self, config: VaultConfig, *, context: ssl.SSLContext, timing: Timing, pool: int
    ) -> None:
        self._place = config.place
        self._timing = timing
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"syncret/{__version__}"
        self._session.headers.update(config.headers)
        # The proxy of the environment, found once instead of for each call; nothing else of it: no
        # user name and password out of a .netrc, no other authorities than those of the context.
        self._session.trust_env = False
        self._session.proxies = get_environ_proxies(config.server)
        self._session.mount("https://", _Transport(context, pool))
        self._session.mount("http://", HTTPAdapter(pool_maxsize=pool))
        self._reads = self._client(config, config.namespace)
        self._logins = self._client(config, config.auth_namespace)
        #: What requests carry.
        self.token = Token()

    def ask(  # noqa: PLR0911 - a case for each failure
        self, call: Callable[[Any], Any], *, own: bool = False, repeat: bool = True
    ) -> Answer | ProviderError:
        """The answer to one call of an hvac client. Never raises.

        ``own``: it is about the token itself, in its own namespace. ``repeat``: made again once
        if the connection breaks; not for what counts uses, as logins do.
        """
        client = self._logins if own else self._reads
        attempts = self._timing.attempts if repeat else 1
        while True:
            attempts -= 1
            try:
                answer: Answer = call(client)
                return answer
            except (http.Timeout, urllib3.exceptions.TimeoutError):
                return timed_out(self._place)
            except http.SSLError:
                return ProviderUnavailable(
                    f"No trusted TLS connection to {self._place} comes about: check "
                    "spec.provider.vault.server, that its certificate is for that name and has not "
                    "expired, and caBundle or caProvider, which must have its authority; where it "
                    "asks for a client certificate, check tls."
                )
            except (http.ConnectionError, http.ChunkedEncodingError, urllib3.exceptions.HTTPError):
                if attempts <= 0:
                    return ProviderUnavailable(
                        f"{self._place} cannot be reached, or the connection broke off: check "
                        "spec.provider.vault.server, DNS, network policies and proxies."
                    )
            except TooLarge:
                return ProviderRejected(
                    f"{self._place} gave an answer larger than {MAX_ANSWER // 1024**2} MiB: check "
                    "spec.provider.vault.server, or narrow what is looked for."
                )
            except (http.InvalidURL, http.InvalidSchema, http.InvalidHeader, UnicodeError):
                return ProviderRejected(
                    f"{self._place} cannot be addressed: correct spec.provider.vault.server."
                )
            except Exception as error:  # noqa: BLE001 - the edge to the libraries
                return ProviderUnavailable(
                    f"hvac failed on an answer of {self._place} ({type(error).__name__}): it is "
                    "tried again; if it lasts, check spec.provider.vault.server."
                )

    def close(self) -> None:
        self._session.close()

    def _client(self, config: VaultConfig, namespace: str) -> Any:
        client = hvac.Client(
            url=config.server,
            token="",  # not None: hvac would take one from the environment or a file
            verify=True,
            session=self._session,
            namespace=namespace or None,
            allow_redirects=False,
            strict_http=True,  # GET with ?list=true: not every proxy knows the method LIST
            adapter=_Adapter,
            timeout=(self._timing.connect, self._timing.read),
        )
        client.adapter.wire = self
        return client

    def send(self, method: str, url: str, *, anonymous: bool = False, **how: Any) -> Answer:
        """One request and what became of it. Raises what requests and urllib3 raise."""
        deadline = time.monotonic() + self._timing.call
        token = Token() if anonymous else self.token
        if token.value:
            how["headers"]["X-Vault-Token"] = token.value
        response = self._session.request(method, url, stream=True, **how)
        if response.status_code == 307 and (onward := _onward(url, response)):
            response.close()
            response = self._session.request(method, onward, stream=True, **how)
        try:
            body = _read(response, deadline)
        finally:
            response.close()
        return Answer(
            response.status_code,
            kv.parse(body),
            token.number,
            retry_after(response.headers.get("Retry-After")),
        )


class _Adapter(RawAdapter):  # type: ignore[misc]
    """hvac's way to a server: it gives answers of ours, whatever their status."""

    wire: Wire

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        raise_exception: bool = True,  # noqa: ARG002 - hvac's
        **kwargs: Any,
    ) -> Answer:
        given = dict(headers or {})
        given["X-Vault-Request"] = "true"
        if self.namespace:
            given["X-Vault-Namespace"] = self.namespace
        if method == "list":
            method, kwargs["params"] = "get", {"list": "true"}
        kwargs.pop("wrap_ttl", None)
        return self.wire.send(
            method,
            self.urljoin(self.base_uri, url),
            headers=given,
            allow_redirects=False,
            timeout=self._kwargs["timeout"],
            **kwargs,
        )


class _Transport(HTTPAdapter):
    """TLS by a context of ours, which alone says what is trusted and shown."""

    def __init__(self, context: ssl.SSLContext, pool: int) -> None:
        self._context = context
        super().__init__(pool_maxsize=pool)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, ssl_context=self._context, **kwargs)

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> Any:
        """Without what requests would trust besides."""
        del verify
        host, pool = super().build_connection_pool_key_attributes(request, True, cert)
        pool.pop("ca_certs", None)
        pool.pop("ca_cert_dir", None)
        return host, pool

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Nothing: the context has it."""


def _onward(url: str, response: requests.Response) -> str:
    """Where a standby of Vault sends a request on to; "" if it must not be followed."""
    onward = urljoin(url, response.headers.get("Location", ""))
    allowed = {"https"} if urlsplit(url).scheme == "https" else {"http", "https"}
    return onward if urlsplit(onward).scheme in allowed else ""


def _read(response: requests.Response, deadline: float) -> bytes:
    """The body, as long as it comes and is not too much."""
    found = bytearray()
    while True:
        chunk = response.raw.read1(_CHUNK, decode_content=True)
        if not chunk:
            return bytes(found)
        found += chunk
        if len(found) > MAX_ANSWER:
            raise TooLarge
        if time.monotonic() > deadline:
            raise http.ReadTimeout
