"""Hints: what an event of a store has said of an ExternalSecret, until somebody has looked.

A hint is a number that grows with each event. It makes a refresh due, and who gave it may wait
until it has been followed, so that a message is acknowledged when its work is done and not when it
has been read: a process that is killed in between leaves the message to the next one.

Storms coalesce. However many events tell of an ExternalSecret, it is looked at once at once, and
once more :data:`GAP` seconds after that, for what came meanwhile. A look that was asked for stands
until a round begins, which knows of every hint before it: the first hint after that asks for
another one, always, since the queue forgets what was asked of a key before its round.

Hints live in memory only. One that is lost is caught up with by the refresh interval.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from syncret.api.keys import ObjectKey
from syncret.clock import Clock

#: Seconds between two looks at one ExternalSecret because of events.
GAP: Final = 1.0


@dataclass(slots=True)
class _Hint:
    number: int = 0
    followed: int = 0
    #: Whether a look is asked for and has not begun; when the last began, by the monotonic clock.
    asked: bool = False
    looked: float = float("-inf")
    waiting: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)


class Hints:
    """The hints of this process. ``enqueue`` asks for a round of a key after a delay."""

    def __init__(self, clock: Clock, *, enqueue: Callable[[ObjectKey, float], None]) -> None:
        self._clock = clock
        self._enqueue = enqueue
        self._hints: dict[ObjectKey, _Hint] = {}

    def give(self, key: ObjectKey) -> int:
        """Something was said of the key; returns the number of the hint."""
        hint = self._hints.setdefault(key, _Hint())
        hint.number += 1
        if not hint.asked:
            hint.asked = True
            self._enqueue(key, max(0.0, hint.looked + GAP - self._clock.monotonic()))
        return hint.number

    def begin(self, key: ObjectKey) -> int:
        """A round of the key begins, for whatever reason; the number of the last hint it knows."""
        hint = self._hints.get(key)
        if hint is None:
            return 0
        if hint.asked:
            hint.asked, hint.looked = False, self._clock.monotonic()
        return hint.number

    def number(self, key: ObjectKey) -> int:
        """The number of the last hint; 0: there was none."""
        hint = self._hints.get(key)
        return hint.number if hint is not None else 0

    def followed(self, key: ObjectKey, number: int) -> None:
        """A round that knew of that hint has ended, however it ended."""
        hint = self._hints.get(key)
        if hint is None:
            return
        hint.followed = max(hint.followed, number)
        left = []
        for wanted, future in hint.waiting:
            if wanted > number:
                left.append((wanted, future))
            elif not future.done():
                future.set_result(None)
        hint.waiting = left

    async def wait(self, given: Iterable[tuple[ObjectKey, int]], *, timeout: float) -> bool:
        """Whether all of these hints were followed within ``timeout`` seconds."""
        futures = []
        for key, number in given:
            hint = self._hints.get(key)
            if hint is None or hint.followed >= number:
                continue
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            hint.waiting.append((number, future))
            futures.append(future)
        if not futures:
            return True
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(*futures)
        except TimeoutError:
            return False
        return True

    def forget(self, key: ObjectKey) -> None:
        """The object is gone, or somebody else's: nobody waits for it any more."""
        hint = self._hints.pop(key, None)
        for _, future in hint.waiting if hint is not None else ():
            if not future.done():
                future.set_result(None)
