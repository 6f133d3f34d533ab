"""A list and a watch of one resource that keep a cache in step with the API server.

For the resources that come by the ten thousand, and whose changes are mostly our own writes coming
back: an event costs a fifth of what it does in kopf, which prepares handlers that we do not have
(``docs/design/0003-engine.md`` has the figures).

Every object of a list, and every event of the watch, is handed on once, in order. After a list,
what was known and is not in it is handed on as deleted, so no deletion is missed however long the
watch was away. A watch that breaks goes on where it was; one that is too old (410) begins with a
list. Nothing ends a reflector but its cancellation: what fails is tried again, with growing
delays, and :mod:`syncret.kube.watchhealth` tells of it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from random import Random
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from syncret.api.keys import Identity, identity_of
from syncret.clock import Clock, sleep
from syncret.errors import KubeGone, KubeUnavailable, SyncretError
from syncret.kube.client import METADATA, KubeClient
from syncret.kube.resources import Resource

logger = logging.getLogger(__name__)

Body = Mapping[str, Any]

#: Seconds between the attempts while something fails; the last one again and again.
DELAYS: Final = (0.5, 1.0, 2.0, 5.0)

#: Seconds after which the API server ends a watch, at least and at most: spread, so that not all
#: of them come back at once.
_LEAST, _MOST = 240, 360

#: Seconds without a byte after which a watch counts as dead. The API server sends bookmarks about
#: every minute.
SILENCE: Final = 90.0

#: Lines that are handled before others get their turn.
_LINES: Final = 50

_PAGE: Final = 500


class Reflector:
    """Keeps one resource. ``session`` is for the watch, and passes the lists' health on as well.

    ``handle`` is told of every object (and whether it was deleted), ``known`` gives what is known
    by now, ``gone`` is told of what a list no longer has.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        server: str,
        resource: Resource,
        *,
        handle: Callable[[Body, bool], None],
        known: Callable[[], Iterable[Identity]],
        gone: Callable[[Identity], None],
        clock: Clock,
        label_selector: str = "",
        metadata_only: bool = False,
        timeout: float = 30.0,
    ) -> None:
        """``metadata_only``: nothing else of the objects is asked for.

        ``timeout``: seconds for a page of a list.
        """
        self._metadata_only = metadata_only
        #: Set when everything that is there has been handed on for the first time.
        self.listed = asyncio.Event()
        self._session = session
        self._server = server.rstrip("/")
        self._kube = KubeClient(session, server, timeout=timeout)
        self._resource = resource
        self._handle = handle
        self._known = known
        self._gone = gone
        self._clock = clock
        self._selector = label_selector
        self._failures = 0
        #: From which the watch goes on; "" while there has to be a list first.
        self._version = ""

    async def run(self) -> None:
        """Lists and watches until it is cancelled."""
        while True:
            if await self._succeeds(self._watch if self._version else self._list):
                self._failures = 0
                continue
            delay = DELAYS[min(self._failures, len(DELAYS) - 1)]
            self._failures += 1
            await sleep(self._clock, delay)

    async def _succeeds(self, attempt: Callable[[], Awaitable[None]]) -> bool:
        try:
            await attempt()
        except KubeGone:
            self._version = ""
        except (
            SyncretError,
            aiohttp.ClientError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
        ) as error:
            # The error's text is not for the log: a line that cannot be read may be of a Secret.
            logger.debug(
                "Listing or watching failed and is tried again",
                extra={"resource": self._resource.name, "error": type(error).__name__},
            )
            return False
        return True

    async def _list(self) -> None:
        """Hands on what is there, and what is not any more."""
        before = set(self._known())
        version = ""
        async for page in self._kube.list_pages(
            self._resource,
            label_selector=self._selector,
            metadata_only=self._metadata_only,
            limit=_PAGE,
        ):
            for body in page.items:
                meta = body["metadata"]
                before.discard(identity_of(meta))
                self._take(body, deleted=False)
            version = page.resource_version
            await asyncio.sleep(0)
        for identity in before:
            self._gone(identity)
        self._version = version
        self.listed.set()

    async def _watch(self) -> None:
        """Hands on what happens, until the API server ends the watch."""
        async for kind, body in self._events(self._version):
            if kind == "ERROR":
                if body.get("code") == 410:
                    raise KubeGone("The watch is too old to go on with.")
                raise KubeUnavailable("The watch told of an error.")
            if kind != "BOOKMARK":
                self._take(body, deleted=kind == "DELETED")
            self._version = body["metadata"]["resourceVersion"]

    def _take(self, body: Body, *, deleted: bool) -> None:
        try:
            self._handle(body, deleted)
        except Exception as error:  # noqa: BLE001 - see below
            # One object that cannot be read must not keep the others from being seen.
            meta = body.get("metadata") or {}
            logger.error(  # noqa: TRY400 - a traceback may show a Secret's bytes
                "An object could not be taken in",
                extra={
                    "resource": self._resource.name,
                    "namespace": meta.get("namespace", ""),
                    "object": meta.get("name", ""),
                    "error": type(error).__name__,
                },
            )

    async def _events(self, version: str) -> AsyncIterator[tuple[str, Body]]:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            # Not for security: it spreads the watches of many resources over time.
            "timeoutSeconds": str(Random().randint(_LEAST, _MOST)),  # noqa: S311
        }
        if self._selector:
            query["labelSelector"] = self._selector
        url = URL(f"{self._server}{self._resource.path()}?{urlencode(query)}", encoded=True)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE)
        headers = {"Accept": METADATA} if self._metadata_only else {}
        async with self._session.get(
            url, timeout=timeout, headers=headers, allow_redirects=False
        ) as response:
            if response.status == 410:
                raise KubeGone("The watch is too old to go on with.")
            response.raise_for_status()
            rest, count = b"", 0
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        event = orjson.loads(line)
                        yield event["type"], event["object"]
                        count += 1
                        if count % _LINES == 0:
                            await asyncio.sleep(0)
