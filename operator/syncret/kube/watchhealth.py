"""What became of the lists and watches: have the first lists been read, and do the watches stand?

kopf says neither in public, so this is seen where its requests pass: as a middleware of the HTTP
session that it is given. kopf lists a resource page by page, hands on every object, and only then
asks to watch; an answered watch therefore means that the first list is complete. It means *read*,
not *handled*: kopf queues the objects for tasks of their own, and the last page's may still be
running when the watch is answered.

An answer counts by its status alone; bodies pass through untouched. What cannot be seen here is a
stream that stands but tells nothing: kopf itself renews those (its inactivity timeout).
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from syncret.clock import Clock
from syncret.kube.resources import Resource

#: Seconds that failures which often pass by themselves (5xx, no connection) may last before they
#: are a problem. A missing permission or CRD is one at once.
GRACE: Final = 10.0

_UNANSWERED: Final = 0


@dataclass(slots=True)
class _Stream:
    """One resource in one scope."""

    resource: Resource
    namespace: str
    listed: bool = False
    #: A list was begun after the first one: what was deleted before it may have gone unseen.
    relisting: bool = False
    last_success: float | None = None
    failing_since: float | None = None
    status: int = _UNANSWERED
    verb: str = "list"

    @property
    def what(self) -> str:
        place = f' in namespace "{self.namespace}"' if self.namespace else ""
        return f"{self.resource.name}{place}"


class WatchHealth:
    """A client middleware that follows the lists and watches of the expected resources.

    ``namespaces``: the namespaces that are watched one by one; empty where the whole cluster is.
    """

    def __init__(
        self,
        expected: Collection[Resource],
        *,
        clock: Clock,
        namespaces: Collection[str] = (),
        relisted: Callable[[Resource], None] = lambda _: None,
    ) -> None:
        """``relisted`` is told of every list of a resource that is complete, but for the first."""
        self._clock = clock
        self._relisted = relisted
        self._streams: dict[str, _Stream] = {}
        for resource in expected:
            for namespace in (namespaces or ("",)) if resource.namespaced else ("",):
                path = resource.path(namespace)
                self._streams[path] = _Stream(resource, namespace)
        self._all_listed = asyncio.Event()
        self._set_if_listed()

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Passes the request on, and notes how it was answered."""
        stream = self._stream(request.url) if request.method == "GET" else None
        if stream is None:
            return await handler(request)
        watch = request.url.query.get("watch") == "true"
        verb = "watch" if watch else "list"
        try:
            response = await handler(request)
        except (aiohttp.ClientError, OSError):  # a timeout is an OSError
            self._failed(stream, verb, _UNANSWERED)
            raise
        if response.status != 200:
            self._failed(stream, verb, response.status)
            return response
        self._succeeded(stream, verb)
        # A watch that begins with the list itself (WatchList) says nothing of the list's end.
        if watch and "sendInitialEvents" not in request.url.query:
            if stream.relisting:
                stream.relisting = False
                self._relisted(stream.resource)
            stream.listed = True
            self._set_if_listed()
        elif not watch and stream.listed:
            stream.relisting = True
        return response

    def watched(self, request: aiohttp.ClientRequest) -> bool:
        """Whether a request is a list or watch of what is expected."""
        return request.method == "GET" and self._stream(request.url) is not None

    def listed(self, resource: Resource) -> bool:
        """Whether the first list of the resource is complete, in every scope it is watched in."""
        scopes = [stream for stream in self._streams.values() if stream.resource == resource]
        return bool(scopes) and all(stream.listed for stream in scopes)

    async def wait_all_listed(self) -> None:
        """Waits until the first list of every expected resource is complete; for ever if need be.

        What keeps it is in :meth:`problems`.
        """
        await self._all_listed.wait()

    def last_success(self, resource: Resource) -> float | None:
        """The monotonic time of the last list or watch that was answered; the oldest scope's."""
        times = [s.last_success for s in self._streams.values() if s.resource == resource]
        answered = [time for time in times if time is not None]
        return min(answered) if answered and len(answered) == len(times) else None

    def problems(self, now: float) -> list[str]:
        """What is wrong at a monotonic time, a sentence for each resource and scope; else empty."""
        return [text for stream in self._streams.values() if (text := _problem(stream, now))]

    def _stream(self, url: URL) -> _Stream | None:
        # The server's URL may have a path of its own (a proxy before several clusters), so the
        # API's part begins at the last /api/ or /apis/: no resource of ours has such a name.
        path = url.raw_path.rstrip("/")
        start = max(path.rfind("/api/"), path.rfind("/apis/"))
        return self._streams.get(path[start:]) if start >= 0 else None

    def _failed(self, stream: _Stream, verb: str, status: int) -> None:
        if stream.failing_since is None:
            stream.failing_since = self._clock.monotonic()
        stream.verb, stream.status = verb, status

    def _succeeded(self, stream: _Stream, verb: str) -> None:
        stream.last_success = self._clock.monotonic()
        # A list that succeeds does not end the failing of the watch that follows it.
        if verb in {stream.verb, "watch"}:
            stream.failing_since = None

    def _set_if_listed(self) -> None:
        if all(stream.listed for stream in self._streams.values()):
            self._all_listed.set()


def _problem(stream: _Stream, now: float) -> str:  # noqa: PLR0911 - one sentence for each case
    if stream.failing_since is None:
        return "" if stream.listed else f"The first list of {stream.what} is not complete."
    verb, what, status = stream.verb, stream.what, stream.status
    if status == 403:
        return (
            f'The operator may not {verb} {what}: grant the verb "{verb}" on the resource '
            f'"{stream.resource.name}" to its ServiceAccount.'
        )
    if status == 404:
        return (
            f"The API server does not serve {stream.resource.name} in version "
            f"{stream.resource.version}: install the CRDs of this release."
        )
    if stream.listed and now - stream.failing_since < GRACE:
        return ""
    if status == 401:
        return f"The API server refuses the operator's credentials ({verb} of {what}: HTTP 401)."
    if status == _UNANSWERED:
        return f"The API server does not answer ({verb} of {what})."
    return f"The API server answers the {verb} of {what} with HTTP {status}."
