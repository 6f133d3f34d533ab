"""Who a store's calls are made as, and that this does not expire.

An access key from a Secret, and the operator's own identity, which the SDK renews, need nothing. A
session of STS is got at the first call, shared by everything that is read through the store, and
renewed in time: in the background when a good part of its life is still left, and only if that has
failed until shortly before its end, by those who wait for it. However many read, there is one
login.
"""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from syncret.errors import ProviderError, ProviderTimeout
from syncret.providers.aws.keys import Keys, Renewed

logger = logging.getLogger("syncret.providers.aws")

#: A session is renewed when so much of its life is left, at most so many seconds.
_EARLY: Final = (1 / 3, 900.0)

#: Nobody uses one with less than so much left.
_LATE: Final = (1 / 12, 120.0)

#: Seconds between two tries to renew a session that is still good.
_PAUSE: Final = 30.0


class Identity(Protocol):
    """What a client asks before each call."""

    async def ensure(self) -> None:
        """Sees to it that calls can be signed. Raises ProviderError."""
        ...

    async def close(self) -> None:
        """Ends what is under way."""
        ...


class Lasting:
    """An identity that needs nothing."""

    async def ensure(self) -> None:
        return

    async def close(self) -> None:
        return


class Session:
    """An identity that is got from STS, and expires."""

    def __init__(
        self,
        login: Callable[[], Awaitable[Keys | ProviderError]],
        signing: Renewed,
        *,
        timeout: float,
        too_late: Callable[[], ProviderTimeout],
        monotonic: Callable[[], float],
    ) -> None:
        """``login`` gets new keys, for ``signing``; ``timeout``: seconds for it."""
        self._login = login
        self._signing = signing
        self._timeout = timeout
        self._too_late = too_late
        self._monotonic = monotonic
        self._until = 0.0  # the end of the keys, by the monotonic clock
        self._life = 0.0
        self._not_before = 0.0
        self._task: asyncio.Task[ProviderError | None] | None = None

    async def ensure(self) -> None:
        now = self._monotonic()
        left = self._until - now
        if left > _part(_EARLY, self._life):
            return
        usable = left > _part(_LATE, self._life)
        if self._task is None:
            if usable and now < self._not_before:
                return
            self._task = asyncio.create_task(self._renew(), name="aws login")
            self._task.add_done_callback(self._ended)
        if usable:
            return
        # One who is cancelled must not take the login from the others.
        problem = await asyncio.shield(self._task)
        if problem is not None:
            raise copy.copy(problem)  # a copy: whoever raises one writes a traceback into it

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _renew(self) -> ProviderError | None:
        began = self._monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                keys = await self._login()
        except TimeoutError:
            keys = self._too_late()
        if isinstance(keys, ProviderError):
            now = self._monotonic()
            self._not_before = now + _PAUSE
            if now < self._until:
                logger.warning("A session of AWS is used on, and is not renewed yet: %s", keys)
            return keys.with_traceback(None)
        self._signing.keys = keys
        self._life = keys.seconds
        self._until = began + keys.seconds
        return None

    def _ended(self, task: "asyncio.Task[ProviderError | None]") -> None:
        if self._task is task:
            self._task = None
        if not task.cancelled():
            task.exception()


def _part(limit: tuple[float, float], life: float) -> float:
    share, most = limit
    return min(share * life, most)
