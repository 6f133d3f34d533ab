"""HTTP for google-auth, which asks for a ``google.auth.transport.Request``.

Its own ones follow redirects and wait for two minutes. A token endpoint has no reason to redirect,
and who follows would carry an assertion elsewhere; and a login may take seconds. The answers are
kept for one login, for :mod:`syncret.providers.gcp.logins` to say what failed: the exceptions of
google-auth hold texts only.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3
from google.auth import exceptions, transport

from syncret.providers.base import CallObserver

#: Bytes of an answer that are read: tokens have about two thousand.
_LIMIT: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What google-auth reads of an answer. ``data`` may hold a token."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    def __repr__(self) -> str:
        return f"Answer({self.status}, …)"


class Web(transport.Request):
    """The requests of one login. ``answers``: of which operation, and what came; None: nothing."""

    def __init__(
        self, pool: urllib3.PoolManager, *, tell: Callable[[str, str, float], None]
    ) -> None:
        """``tell``: is told of the operation, its outcome and the seconds, in this thread."""
        self._pool = pool
        self._tell = tell
        self.answers: list[tuple[str, Answer | None]] = []
        self.problem: Exception | None = None

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> Answer:
        """Sends one request. Raises google.auth's TransportError where nothing answers."""
        operation, word, started = operation_of(url), "error", time.monotonic()
        try:
            answer = self._send(method, url, body, headers, timeout)
            self.answers.append((operation, answer))
            word = _word(answer.status)
            return answer
        except urllib3.exceptions.HTTPError as error:
            self.answers.append((operation, None))
            self.problem = error
            if isinstance(error, urllib3.exceptions.TimeoutError):
                word = "timeout"
        finally:
            self._tell(operation, word, time.monotonic() - started)
        raise exceptions.TransportError("no answer")  # type: ignore[no-untyped-call]

    def _send(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> Answer:
        # google-auth's own are of two minutes, but for the metadata server.
        more: dict[str, Any] = {"timeout": timeout} if timeout is not None and timeout < 5 else {}
        response = self._pool.request(
            method, url, body=body, headers=dict(headers or {}), preload_content=False, **more
        )
        try:
            data = response.read(_LIMIT, decode_content=True)
        finally:
            response.close()
        return Answer(response.status, response.headers, data)


def make_pool(*, connect: float, read: float) -> urllib3.PoolManager:
    """Connections for all logins of the process; no redirects, and no retries but google-auth's."""
    return urllib3.PoolManager(
        num_pools=8,
        maxsize=4,
        timeout=urllib3.Timeout(connect=connect, read=read),
        retries=urllib3.Retry(0, redirect=0, raise_on_redirect=False),
    )


def operation_of(url: str) -> str:
    """What a request asks for, as metrics call it."""
    path = urlsplit(url).path
    if "/computeMetadata/" in path or path == "":
        return "Metadata"
    if path.endswith(":generateAccessToken"):
        return "GenerateAccessToken"
    if path.startswith("/v1/token"):
        return "ExchangeToken"
    return "Token"


def _word(status: int) -> str:
    if status < 400:
        return "ok"
    if status == 429:
        return "throttled"
    return "denied" if status < 500 else "error"


def observer(observe: CallObserver, loop: Any) -> Callable[[str, str, float], None]:
    """Tells an observer of the event loop of what happens in a thread."""

    def tell(operation: str, outcome: str, seconds: float) -> None:
        try:
            loop.call_soon_threadsafe(
                lambda: observe(operation=operation, outcome=outcome, seconds=seconds)
            )
        except RuntimeError:  # the loop ended before the thread did
            return

    return tell
