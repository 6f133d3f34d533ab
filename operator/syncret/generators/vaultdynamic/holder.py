"""What a lease remembers of the token that made it. Pure.

A lease ends with that token. So it has to be known, by a later process, which one it was, and as
long as nobody may look, when it ends; and how long the lease was at first, because it is that much
that is asked for at each renewal. No part of it is a secret: an accessor can neither read nor log
in, and who renews by it needs a policy for that.
"""

import re
from dataclasses import dataclass
from typing import Final

_FORM: Final = re.compile(
    r"(?P<accessor>[^:\s]{0,256}):(?P<first>[0-9]{1,10}):(?P<ends>[0-9]{1,12})"
)


@dataclass(frozen=True, slots=True)
class Holder:
    """``accessor``: of the token, "" if it has none. ``first``: seconds that the lease was given
    at first, 0 if not known. ``ends``: when the token ends as far as it is known, in seconds since
    1970; 0: it has no end."""

    accessor: str = ""
    first: int = 0
    ends: int = 0

    @classmethod
    def of(cls, text: str) -> "Holder":
        """As it was written down; nothing is known from what is not of that form."""
        found = _FORM.fullmatch(text)
        if found is None:
            return cls()
        return cls(found["accessor"], int(found["first"]), int(found["ends"]))

    def __str__(self) -> str:
        return f"{self.accessor}:{self.first}:{self.ends}"

    def left(self, now: float) -> float:
        """Seconds that the token surely has left, by what is written down; infinity for no end."""
        return max(self.ends - now, 0.0) if self.ends else float("inf")


def holder_of(accessor: str, *, first: float, left: float, now: float) -> Holder:
    """Of a token with so many seconds left. ``now``: in seconds since 1970."""
    return Holder(accessor, int(first), 0 if left == float("inf") else int(now + left))
