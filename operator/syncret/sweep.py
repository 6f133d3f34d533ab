"""Finding deletions that no watch told of.

When a watch breaks for longer than the API server remembers, kopf lists anew and hands on what is
there, not what is gone. So after each such list the names that the cache has are held against the
names that the API server has; what is only in the cache is handed on as deleted.

The list is of metadata only, and made only then: it costs nothing while the watches stand. A
failed one is tried again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from syncret.api.keys import Identity, identity_of
from syncret.clock import Clock, sleep
from syncret.errors import SyncretError
from syncret.kube.client import KubeClient
from syncret.kube.resources import Resource

logger = logging.getLogger(__name__)

#: Seconds until a list that failed is made again.
_RETRY: Final = 5.0


class Sweeper:
    """Sweeps one resource after the other.

    ``known`` gives what the cache has of a resource; ``gone`` is told of each that the API server
    does not have.
    """

    def __init__(
        self,
        kube: KubeClient,
        *,
        known: Callable[[Resource], Iterable[Identity]],
        gone: Callable[[Resource, Identity], None],
        clock: Clock,
    ) -> None:
        self._kube = kube
        self._known = known
        self._gone = gone
        self._clock = clock
        self._wanted: asyncio.Queue[Resource] = asyncio.Queue()

    def relisted(self, resource: Resource) -> None:
        """kopf has listed the resource anew."""
        self._wanted.put_nowait(resource)

    async def run(self) -> None:
        """Sweeps whatever is listed anew, until it is cancelled."""
        while True:
            resource = await self._wanted.get()
            while True:
                try:
                    await self.sweep(resource)
                    break
                except SyncretError as error:
                    logger.warning(
                        "Not yet looked for missed deletions: %s",
                        error.message,
                        extra={"resource": resource.name},
                    )
                    await sleep(self._clock, _RETRY)

    async def sweep(self, resource: Resource) -> None:
        """Hands on as deleted what is known and not there. Raises KubeError."""
        # Taken before the list: what is made meanwhile is in the cache and not in the list.
        known = set(self._known(resource))
        there: set[Identity] = set()
        async for page in self._kube.list_pages(
            resource,
            metadata_only=True,
        ):
            there.update(identity_of(item["metadata"]) for item in page.items)
        missing = known - there
        for identity in missing:
            self._gone(resource, identity)
        if missing:
            logger.info(
                "Deletions found that no watch told of",
                extra={"resource": resource.name, "count": len(missing)},
            )
