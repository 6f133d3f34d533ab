"""How long things may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; ``attempts`` counts the first.

    A call is made once more only for the sake of a connection that broke: real waiting is the
    business of the work queue, which holds no thread while it waits.
    """

    connect: float = 3.0
    read: float = 5.0  # between two bytes
    call: float = 15.0  # of one call
    total: float = 30.0  # of a whole fetch, search, check or login
    close: float = 3.0  # for giving a token back
    attempts: int = 2
    #: From the first use of a token that was given until it is looked up: whether, and when, it
    #: is to be renewed.
    look: float = 5.0
    #: The shortest time between two attempts to renew a token.
    pause: float = 1.0
    #: Between reads that a standby could not answer yet.
    caught_up: tuple[float, ...] = (0.1, 0.3, 0.9)
    #: Between reads of a static role whose password is due to be rotated at this moment. Vault
    #: looks for those every five seconds.
    rotating: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 2.0)
