"""A reflector that runs from when it is first needed.

For what most installations never need: it then costs no request, no memory and no permission.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from syncret.clock import Clock
from syncret.kube.reflector import Reflector

#: Seconds that the first list may take before nobody waits for it any more.
PATIENCE: Final = 10.0


class OnDemand:
    """Runs a reflector once :meth:`want` was called, and from then on.

    ``listed`` is told when everything has been handed on for the first time.
    """

    def __init__(self, reflector: Reflector, *, listed: Callable[[], None], clock: Clock) -> None:
        self._clock = clock
        self._reflector = reflector
        self._when_listed = listed
        self._wanted_at = 0.0
        self._wanted = asyncio.Event()

    @property
    def wanted(self) -> bool:
        return self._wanted.is_set()

    @property
    def listed(self) -> bool:
        """Whether everything has been handed on once."""
        return self._reflector.listed.is_set()

    def want(self) -> None:
        """It is needed."""
        if not self._wanted.is_set():
            self._wanted_at = self._clock.monotonic()
            self._wanted.set()

    async def wait_listed(self) -> bool:
        """Waits until everything has been handed on; False if that takes longer than it should.

        Then something is wrong, and nobody waits any more.
        """
        left = self._wanted_at + PATIENCE - self._clock.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left)):
                await self._reflector.listed.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Waits until it is needed, then lists and watches until it is cancelled."""
        await self._wanted.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell())
            await self._reflector.run()

    async def _tell(self) -> None:
        await self._reflector.listed.wait()
        self._when_listed()
