"""Opening clients in tests, and reading from them."""

import traceback
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from contract.harness import Observations
from syncret.providers.base import Client, Outcome, SecretValue


@dataclass
class Opened:
    """A client and what it told its observer."""

    client: Client
    observed: Observations


class Openable(Protocol):
    """A harness, as far as it opens clients; it says itself how."""

    @property
    def open(self) -> Callable[..., Awaitable[Client]]: ...


@dataclass
class Opener:
    """Opens clients of a harness; the fixture closes them."""

    stack: AsyncExitStack

    async def __call__(self, harness: Openable, **how: Any) -> Opened:
        observed = Observations()
        client = await harness.open(observed, **how)
        self.stack.push_async_callback(client.close)
        return Opened(client, observed)


def fresh(name: str = "secret", *, separator: str = "/") -> str:
    """A key that no other test uses: the real part is shared."""
    return separator.join(["contract", uuid4().hex[:12], name])


def bytes_of(outcome: Outcome) -> bytes:
    """The bytes of a value; anything else fails the test with what it is."""
    assert isinstance(outcome, SecretValue), outcome
    return outcome.reveal()


def story(error: BaseException) -> str:
    """All that a careless logger could print of an error, the locals of its frames included.

    Not of the first frame: it is the test's own, which knows what must not be found.
    """
    trace = error.__traceback__.tb_next if error.__traceback__ else None
    stack = traceback.TracebackException(type(error), error, trace, capture_locals=True)
    return "".join([repr(error), str(error), *stack.format()])
