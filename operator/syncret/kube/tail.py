"""A watch that begins now: of a resource of which only changes matter, and few of those.

It lists nothing. Where a list would stand, it asks for the present version, lets ``missed`` look at
whatever matters, and watches from that version on. So it costs a connection, and neither memory nor
a list, however many objects there are; of each it is told the metadata only.
"""

from collections.abc import Awaitable, Callable

import aiohttp

from syncret.clock import Clock
from syncret.kube.reflector import Body, Reflector
from syncret.kube.resources import Resource


class Tail(Reflector):
    """Tells ``handle`` of every change, and awaits ``missed`` when some may have gone unseen."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        server: str,
        resource: Resource,
        *,
        handle: Callable[[Body, bool], None],
        missed: Callable[[], Awaitable[None]],
        clock: Clock,
        label_selector: str = "",
    ) -> None:
        super().__init__(
            session,
            server,
            resource,
            handle=handle,
            known=tuple,
            gone=lambda _: None,
            clock=clock,
            label_selector=label_selector,
            metadata_only=True,
        )
        self._missed = missed

    async def _list(self) -> None:
        async for page in self._kube.list_pages(
            self._resource, label_selector=self._selector, metadata_only=True, limit=1
        ):
            version = page.resource_version
            break
        else:
            return
        await self._missed()
        self._version = version
        self.listed.set()
