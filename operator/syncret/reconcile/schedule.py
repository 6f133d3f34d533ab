"""When an ExternalSecret is refreshed. Pure.

Due times are computed, not stored: they follow from the object's uid, its interval and the wall
clock, so nothing has to be written to remember the last refresh, and a restart changes nothing.
The objects of a fleet are spread over the interval by the hash of their uids, and each slot is
moved by up to a tenth of the interval either way, so that neither a restart nor a common interval
makes them refresh together.
"""

import hashlib
import math


def next_slot(uid: str, interval: float, after: float) -> float:
    """The first due time later than ``after``; both are wall seconds, the interval is seconds."""
    phase = _fraction(uid, "phase")
    number = math.floor(after / interval - phase) - 1
    while True:
        due = _slot(uid, interval, phase, number)
        if due > after:
            return due
        number += 1


def _slot(uid: str, interval: float, phase: float, number: int) -> float:
    # At most a tenth either way: slots stay in order, 0.8 to 1.2 intervals apart.
    jitter = 0.2 * _fraction(uid, str(number)) - 0.1
    return (number + phase + jitter) * interval


def _fraction(uid: str, salt: str) -> float:
    """A number in [0, 1) that depends on its arguments only."""
    digest = hashlib.blake2b(f"{uid}/{salt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64
