"""When an ExternalSecret is refreshed. Pure.

Due times are computed, not stored: they follow from a seed, the interval and the wall clock, so
nothing has to be written to remember the last refresh, and a restart changes nothing. The objects
of a fleet are spread over the interval by the hash of their seeds, and each slot is moved by up to
a tenth of the interval either way, so that neither a restart nor a common interval makes them
refresh together.

The seed is what an object reads, not who it is: those that read the same refresh together, and
their reads are one call.

With sync windows, what falls due while they are closed is due when they open, spread over a part
of the window by the seed: however many slots have passed, it is one refresh.

An object is woken a little after it is due, at the end of a window in which as many objects of its
store fall due as one call can read: their reads share a call, too.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Final

from syncret.api.externalsecret import ExternalSecret
from syncret.reconcile.wanted import wanted_of
from syncret.reconcile.windows import open_at, opening_after

#: Seconds that a refresh may come late for the sake of a full call.
LONGEST_WINDOW: Final = 10.0

#: Seconds over which what waited for a sync window is spread when it opens, at most.
LONGEST_SPREAD: Final = 300.0


@dataclass(frozen=True, slots=True)
class Due:
    """When the next refresh is due, in wall seconds; infinite: never, by the clock.

    ``opens``: when the sync window opens that it waits for; the same as ``slot`` where it does not
    wait for one. ``at`` is a little later, or the same.
    """

    slot: float
    opens: float
    at: float

    def held(self, wall: float) -> bool:
        """Whether it would have been made by now, and waits for a sync window."""
        return self.slot <= wall < self.opens


NEVER: Final = Due(math.inf, math.inf, math.inf)


def refresh_seed(external_secret: ExternalSecret) -> str:
    """What the due times of an object follow from: the stores, and what is read of them."""
    return "/".join(f"{store}/{wanted}" for store, wanted in wanted_of(external_secret).items())


def due_after(external_secret: ExternalSecret, served: float) -> Due:
    """The first refresh later than ``served``, in wall seconds: until then all are served."""
    refresh = external_secret.refresh
    if not refresh.periodic:
        return NEVER
    slot = next_slot(refresh_seed(external_secret), refresh.interval, served)
    return _allowed(external_secret, slot, slot)


def due_by_event(external_secret: ExternalSecret, due: Due, wall: float) -> Due:
    """After an event has told of a change: now, or when the sync window opens.

    The same as before for those that no event concerns, because they are not refreshed at all.
    """
    if external_secret.refresh.policy != "Periodic" or due.slot <= wall:
        return due
    return _allowed(external_secret, wall, wall)


def held_until(external_secret: ExternalSecret, due: Due, wall: float) -> Due:
    """A refresh that was due and has not been made when its sync window closed: the next one."""
    if open_at(external_secret.refresh.windows, wall):
        return due
    return _allowed(external_secret, due.slot, wall)


def first_due(external_secret: ExternalSecret, *, served: float, told: float) -> Due:
    """The first refresh after a start. ``told``: until when one was said to wait, 0 if none was.

    Said, it stands: which slots have passed is not known any more, and nothing else remembers it.
    """
    if told and external_secret.refresh.periodic:
        return Due(min(served, told), told, told + _spread(external_secret, told))
    return due_after(external_secret, served)


def _allowed(external_secret: ExternalSecret, slot: float, when: float) -> Due:
    windows = external_secret.refresh.windows
    if not windows or open_at(windows, when):
        return Due(slot, slot, slot)
    opens = opening_after(windows, when)
    if opens == math.inf:
        return Due(slot, opens, opens)
    return Due(slot, opens, opens + _spread(external_secret, opens))


def _spread(external_secret: ExternalSecret, opens: float) -> float:
    """Seconds behind an opening at which what waited for it is due."""
    refresh = external_secret.refresh
    shortest = min((window.duration for window in refresh.windows), default=LONGEST_SPREAD)
    most = min(LONGEST_SPREAD, refresh.interval, shortest / 2)
    return most * _fraction(refresh_seed(external_secret), f"opens {opens:.0f}")


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
