"""An HTTP proxy on loopback that passes requests on, or does what a test wants instead.

It sees the requests that a client really sent, so tests can say what a store was asked; and it can
fail in the ways that no emulator does: hang, break off in the middle of a body, talk nonsense.
"""

import http.client
import http.server
import json
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

#: Headers of the real answer that are not passed on, because those of our own are.
_OUR_OWN: Final = frozenset({"connection", "content-length", "date", "server", "transfer-encoding"})


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


@dataclass(frozen=True)
class Reply:
    """An answer instead of the real one."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """No answer, until the proxy is told to :meth:`Proxy.release`."""


@dataclass(frozen=True)
class Trickle:
    """A body that grows by one byte every ``every`` seconds, until :meth:`Proxy.release`."""

    every: float


@dataclass(frozen=True)
class Reset:
    """The beginning of a body, then a TCP reset."""

    body: bytes = b""


@dataclass(frozen=True)
class Change:
    """The real answer to a changed request, changed."""

    request: Callable[[bytes], bytes] = lambda body: body
    reply: Callable[[bytes], bytes] = lambda body: body


Action = Reply | Hang | Trickle | Reset | Change
Rule = Callable[[Request], Action | None]


class Proxy:
    """A running proxy. The first rule that returns an action decides."""

    def __init__(
        self,
        upstream: str,
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """``port``: to listen on; any that is free if 0. ``tls``: to speak it to clients;
        ``trust``: to speak it to the real part."""
        self.rules: list[Rule] = []
        self.requests: list[Request] = []
        self.peak = 0  # the most requests at one time
        self._now = 0
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._upstream = urlsplit(upstream)
        self._trust = trust
        self._server = _Server(self, port)
        if tls is not None:  # the handshake is the business of the thread of each connection
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def release(self) -> None:
        """Lets go of the requests that hang."""
        self._released.set()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def decide(self, request: Request) -> Action:
        with self._lock:
            self.requests.append(request)
            rules = list(self.rules)
        return next((action for rule in rules if (action := rule(request)) is not None), Change())

    def enter(self) -> None:
        with self._lock:
            self._now += 1
            self.peak = max(self.peak, self._now)

    def leave(self) -> None:
        with self._lock:
            self._now -= 1

    def wait_released(self, timeout: float | None = None) -> bool:
        return self._released.wait(timeout)

    def forward(self, request: Request, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        connection = (
            http.client.HTTPConnection(self._upstream.netloc, timeout=30)
            if self._trust is None
            else http.client.HTTPSConnection(self._upstream.netloc, timeout=30, context=self._trust)
        )
        try:
            headers = {
                name: value
                for name, value in request.headers.items()
                if name.lower() not in {"content-length", "connection", "host", "expect"}
            }
            connection.request(request.method, request.path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # a connection that finds no place is tried again after a second

    def __init__(self, proxy: Proxy, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.proxy = proxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # else the client has given up
            super().handle_error(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # Without the orderly end that is usual here: it would turn a reset into an end of file.
        request.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        self.server.proxy.enter()
        try:
            self._serve(self.server.proxy)
        except (ConnectionError, BrokenPipeError):  # the client has given up
            self.close_connection = True
        finally:
            self.server.proxy.leave()

    do_GET = do_POST  # noqa: N815 - the name that http.server calls
    do_PUT = do_POST  # noqa: N815

    def _serve(self, proxy: Proxy) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, dict(self.headers.items()), raw)
        match proxy.decide(request):
            case Reply() as reply:
                self._answer(reply.status, reply.headers, reply.body)
            case Hang():
                proxy.wait_released()
                self.close_connection = True
            case Trickle() as trickle:
                self._answer(200, {}, b"{", length=1_000_000)
                while not proxy.wait_released(trickle.every):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                self.close_connection = True
            case Reset() as reset:
                self._answer(200, {}, reset.body, length=len(reset.body) + 1000)
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                self.close_connection = True
            case Change() as change:
                status, headers, body = proxy.forward(request, change.request(raw))
                kept = {
                    name: value for name, value in headers.items() if name.lower() not in _OUR_OWN
                }
                self._answer(status, kept, change.reply(body))

    def _answer(
        self, status: int, headers: Mapping[str, str], body: bytes, *, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - inherited
        """Nothing: a test that fails says why."""
