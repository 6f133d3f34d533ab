"""A real HTTP server on loopback that answers as the test says."""

import json
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass(frozen=True)
class Seen:
    """A request as it came over the wire."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def says(status: int, body: object = None, *, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with a JSON body; a string is sent as it is."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body or {})
        return web.Response(status=status, text=text, headers=headers)

    return answer


def breaks() -> Answer:
    """The connection is cut after the request was read."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return answer


@dataclass
class ApiServer:
    """Answers one after the other; what nobody has scripted is a 500."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    answers: deque[Answer] = field(default_factory=deque)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(
            Seen(
                request.method,
                request.raw_path.partition("?")[0],
                dict(request.query),
                dict(request.headers),
                await request.read(),
            )
        )
        if not self.answers:
            return web.json_response({"message": "not scripted"}, status=500)
        return await self.answers.popleft()(request)


@asynccontextmanager
async def running(tls: ssl.SSLContext | None = None) -> AsyncIterator[ApiServer]:
    """An API server on loopback for the length of the block."""
    server = ApiServer()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{tail:.*}", server.handle)
    test_server = TestServer(app, host="127.0.0.1")
    await test_server.start_server(ssl=tls)
    server.url = str(test_server.make_url("")).rstrip("/")
    try:
        yield server
    finally:
        await test_server.close()
