"""Keeps kopf's lists and watches going through what would end it.

kopf (seen in 1.45) ends the whole operator when a watch tells of an error other than 410 in its
stream, at once when a resource is not served (a CRD that is not there yet), and gives up its
session for good when a 401 stays one. All of these pass by themselves or by somebody's hand, so
here they are waited out, between kopf and the API server:

- an answer of 401, 403, 404 or 5xx to a list or watch is not handed on; the request is made again,
  with growing delays, until it is answered. Readiness tells meanwhile what is wrong
  (:mod:`syncret.kube.watchhealth`, which stands inside of this).
- an error in the stream of a watch is handed on as the 410 that kopf begins anew after.

What a new beginning misses, deletions that happened in between, :mod:`syncret.sweep` finds.
"""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, cast

import aiohttp

from syncret.clock import Clock, sleep

#: Seconds between the attempts; the last one again and again.
DELAYS: Final = (0.5, 1.0, 2.0, 5.0)

_WAITED_OUT: Final = frozenset({401, 403, 404})
_ERROR: Final = b'{"type":"ERROR"'
_GONE: Final = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n'


class WatchGuard:
    """A client middleware for the lists and watches that ``watched`` knows by their URL."""

    def __init__(self, *, watched: Callable[[aiohttp.ClientRequest], bool], clock: Clock) -> None:
        self._watched = watched
        self._clock = clock

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """The answer of the first attempt that got one."""
        if not self._watched(request):
            return await handler(request)
        attempt = 0
        while True:
            response = await handler(request)
            if response.status not in _WAITED_OUT and response.status < 500:
                if request.url.query.get("watch") == "true" and response.status == 200:
                    response.content = cast("aiohttp.StreamReader", _Stream(response.content))
                return response
            response.release()
            await sleep(self._clock, DELAYS[min(attempt, len(DELAYS) - 1)])
            attempt += 1


class _Stream:
    """The lines of a watch, as far as kopf reads a stream; an error in them becomes a 410."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Pieces that begin and end with a line, but for a last one that was cut off."""
        rest = b""
        async for chunk in self._content.iter_chunked(size):
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                yield _calmed(whole + newline)
        if rest:
            yield _calmed(rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)


def _calmed(lines: bytes) -> bytes:
    # Base64 and JSON's escapes keep this text out of every value, so looking for it is enough.
    if _ERROR not in lines:
        return lines
    return b"".join(
        _GONE if line.startswith(_ERROR) and not _is_gone(line) else line
        for line in lines.splitlines(keepends=True)
    )


def _is_gone(line: bytes) -> bool:
    try:
        return bool(json.loads(line)["object"]["code"] == 410)
    except (ValueError, KeyError, TypeError):
        return False
