"""What the contract suite needs of a provider: one class per provider, see ``aws.py``.

The suite knows nothing of any store. A harness speaks to the real part (an emulator, a server, a
stand-in of ours) behind the provider's back, opens clients of it, and makes it fail.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from syncret.providers.base import Client


class Fault(Enum):
    """How a store fails as a whole."""

    THROTTLED = auto()  # and asks for RETRY_AFTER seconds
    INTERNAL_ERROR = auto()
    HANGS = auto()  # the provider's own timeouts for one call must end it
    TRICKLES = auto()  # only the deadline of the whole operation can end it
    RESET = auto()  # the connection, in the middle of a value
    NOT_JSON = auto()  # a success whose body is not what was promised
    NOT_THE_STORE = auto()  # a web server that says 404 to everything


class Ability(Enum):
    """What most stores can do, and what a harness may say that its store cannot."""

    PINS = auto()  # older versions are kept, and a reference may name one
    TIMES = auto()  # a value tells when it was made
    TAGS = auto()
    ANY_TAGS = auto()  # tags may have any text as their value
    SEARCHES = auto()
    ANY_NAMES = auto()  # keys may have letters of any script
    DENIES = auto()  # one secret of several can be denied
    LEAVES = auto()  # it can be out of reach


class Identity(Enum):
    """Whom a client is opened as."""

    GOOD = auto()
    UNKNOWN = auto()
    EXPIRED = auto()


#: What a store asks to wait under THROTTLED, in seconds.
RETRY_AFTER = 7.0


@dataclass
class Observations:
    """A CallObserver that keeps what it is told."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __call__(self, *, operation: str, outcome: str, seconds: float) -> None:
        self.calls.append((operation, outcome))
        self.seconds.append(seconds)

    @property
    def outcomes(self) -> list[str]:
        return [outcome for _, outcome in self.calls]


#: What a store cannot do, and how it cannot fail, each with the reason: the tests of that are
#: skipped for it, with the reason, and for no other.
Lacks = Mapping[Ability | Fault | Identity, str]


def lacks(harness: object) -> Lacks:
    """What a harness says in its member ``lacks``; most have none, because they lack nothing."""
    found: Lacks = getattr(harness, "lacks", {})
    return found


class ProviderHarness(Protocol):
    """One provider and its real part. Made anew for each test; the part may be shared."""

    #: The provider's name in the registry.
    name: str
    #: What parts of a key are set apart with: "/" where the store takes it in names.
    separator: str
    #: The largest value that the store takes, in bytes.
    max_bytes: int
    #: Whether the store takes bytes that are no text.
    takes_binary: bool
    #: A version that no secret has, in a form that the store accepts.
    missing_version: str
    #: What no log may hold of the identities that clients are opened as.
    credentials: tuple[str, ...]

    def put(self, key: str, value: bytes) -> str:
        """Makes a secret, or a new version of it; returns the version as a reference names it."""
        ...

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        """Gives a secret further tags."""
        ...

    def delete(self, key: str) -> None:
        """Deletes a secret the way the store's users do."""
        ...

    async def open(
        self,
        observe: Observations,
        *,
        identity: Identity = Identity.GOOD,
        reachable: bool = True,
        hasty: bool = False,
    ) -> Client:
        """A client that tries everything once. ``hasty``: its timeouts are about a second.

        They are long otherwise, so that a busy machine does not look like a store that hangs.
        """
        ...

    def fail(self, fault: Fault | None, *, saying: str = "") -> None:
        """Makes every request fail so, until None. ``saying`` gets into what the store answers,
        wherever there is a text in it."""
        ...

    def deny(self, key: str) -> None:
        """Makes the store deny the reading of this one secret."""
        ...

    @property
    def requests(self) -> int:
        """How many requests have arrived."""
        ...

    def close(self) -> None:
        """Ends what it started, hanging requests included."""
        ...
