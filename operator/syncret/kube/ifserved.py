"""A reflector of what the cluster may not have, or may not show.

The CRD of Argo Rollouts is missing in most clusters and may be installed later; a role of one's own
may leave out Jobs. Neither keeps the operator from its other work. What is not served is looked for
once a minute.
"""

import asyncio
import logging
from typing import Final

from syncret.clock import Clock, sleep
from syncret.errors import KubeForbidden, KubeNotFound, SyncretError
from syncret.kube.client import KubeClient
from syncret.kube.reflector import Reflector
from syncret.kube.resources import Resource

logger = logging.getLogger(__name__)

#: Seconds between two looks at whether it is served, or may be listed, by now.
_POLL: Final = 60.0

#: Seconds before the next attempt after another failure.
_RETRY: Final = 2.0

#: Seconds that the first list may take before the work begins without it.
PATIENCE: Final = 10.0


class IfServed:
    """Runs a reflector once its resource is served and may be listed."""

    def __init__(
        self, reflector: Reflector, kube: KubeClient, resource: Resource, *, clock: Clock
    ) -> None:
        self.resource = resource
        self._reflector = reflector
        self._kube = kube
        self._clock = clock
        self._answered = asyncio.Event()
        #: Whether it is known not to be served.
        self.absent = False

    @property
    def listed(self) -> bool:
        """Whether everything that there is has been handed on once."""
        return self._reflector.listed.is_set()

    async def settle(self) -> None:
        """Waits until it is listed, or known that it cannot be; not for longer than is sensible."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._answered.wait()
                if not self.absent:
                    await self._reflector.listed.wait()
        except TimeoutError:
            logger.warning(
                "What there is of a kind of workloads could not be listed in time; none of them is "
                "restarted before it is",
                extra={"resource": self.resource.name},
            )

    async def run(self) -> None:
        """Looks until it is served, then lists and watches until it is cancelled."""
        told = False
        while True:
            delay = _RETRY
            try:
                async for _ in self._kube.list_pages(self.resource, metadata_only=True, limit=1):
                    break
            except KubeNotFound:
                self.absent = True
                self._answered.set()
                delay = _POLL
            except KubeForbidden as error:
                if not told:
                    logger.warning("%s", error.message, extra={"resource": self.resource.name})
                told, delay = True, _POLL
            except SyncretError:
                pass
            else:
                break
            await sleep(self._clock, delay)
        self.absent = False
        self._answered.set()
        await self._reflector.run()
