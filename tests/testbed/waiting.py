"""Waiting for a state of the world: never for time alone."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NotSeenError(Exception):
    """What was waited for was not seen in time; the text names it."""


def wait_until(true: Callable[[], T], what: str, *, timeout: float = 120.0) -> T:
    """Returns the state when it is seen. Raises NotSeenError with its name."""
    deadline = time.monotonic() + timeout
    while not (seen := true()):
        if time.monotonic() >= deadline:
            raise NotSeenError(f"Not seen in {timeout:.0f} s: {what}.")
        time.sleep(0.05)
    return seen
