"""When an ExternalSecret is refreshed. Pure.

Due times are computed, not stored: they follow from a seed, the interval and the wall clock, so
nothing has to be written to remember the last refresh, and a restart changes nothing. The objects
of a fleet are spread over the interval by the hash of their seeds, and each slot is moved by up to
a tenth of the interval either way, so that neither a restart nor a common interval makes them
refresh together.

The seed is what an object reads, not who it is: those that read the same refresh together, and
their reads are one call.

An object is woken a little after it is due, at the end of a window in which as many objects of its
store fall due as one call can read: their reads share a call, too.
"""

import hashlib
import math
from typing import Final

from syncret.api.externalsecret import ExternalSecret
from syncret.reconcile.assemble import refs_of

#: Seconds that a refresh may come late for the sake of a full call.
LONGEST_WINDOW: Final = 10.0


def refresh_seed(external_secret: ExternalSecret) -> str:
    """What the due times of an object follow from: the store, and what is read of it."""
    refs = sorted({(ref.key, ref.version) for ref in refs_of(external_secret)})
    return f"{external_secret.store}/{refs}"


def wake_time(due: float, *, interval: float, readers: int, batch: int) -> float:
    """When to wake an object that is due then, in wall seconds: never earlier.

    ``readers``: objects that read from the same store, about as often; ``batch``: references that
    one call reads. The window is at most a twentieth of the interval, and at most LONGEST_WINDOW.
    """
    window = min(interval * batch / max(1, readers), interval / 20, LONGEST_WINDOW)
    return max(due, math.ceil(due / window) * window)


def next_slot(seed: str, interval: float, after: float) -> float:
    """The first due time later than ``after``; both are wall seconds, the interval is seconds."""
    phase = _fraction(seed, "phase")
    number = math.floor(after / interval - phase)  # the one before is at least 0.9 earlier
    while True:
        due = _slot(seed, interval, phase, number)
        if due > after:
            return due
        number += 1


def _slot(seed: str, interval: float, phase: float, number: int) -> float:
    # At most a tenth either way: slots stay in order, 0.8 to 1.2 intervals apart.
    jitter = 0.2 * _fraction(seed, str(number)) - 0.1
    return (number + phase + jitter) * interval


def _fraction(seed: str, salt: str) -> float:
    """A number in [0, 1) that depends on its arguments only."""
    digest = hashlib.blake2b(f"{seed}/{salt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64
