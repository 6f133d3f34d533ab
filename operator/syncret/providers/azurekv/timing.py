"""How long a store waits for Azure, and how often it tries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; ``attempts`` counts the first.

    There is only one more, at once, for the sake of a connection that broke: real waiting is the
    business of the work queue.
    """

    connect: float = 3.0
    read: float = 5.0
    total: float = 30.0  # of a whole fetch, check or search
    attempts: int = 2
    connections: int = 16
