"""The contract between the engine and what makes credentials.

A generator is opened as a store is (:class:`syncret.providers.base.Openable` has the rules for its
spec, its credentials and its identity), but what it gives is made, not read: each call makes
another credential. So it is the engine that decides when (:mod:`syncret.reconcile.generated`), and
that keeps what was made; a generator remembers nothing.

Some credentials are leased: they end after a while, can live on by being renewed, and can be
revoked. What was made of a lease is told to the engine, which stores it beside the credential; it
comes back with every later call, perhaps of another process, after years.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from syncret.providers.base import Limits, Openable, SecretValue

__all__ = ["Generated", "Generator", "GeneratorClient", "Lease"]


@dataclass(frozen=True, slots=True)
class Lease:
    """How long a credential lives.

    ``id``: as the generator's system names it. It is no secret by itself: whoever knows it still
    needs rights of his own to renew or revoke. ``seconds``: from when it was made or last renewed.
    ``renewable``: whether it can live longer. ``holder``: what else it lives no longer than, in a
    form of the generator's own, such as the accessor of the login that made it; never a secret.
    """

    id: str
    seconds: float
    renewable: bool = False
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Generated:
    """A new credential, as the keys and values of a Secret.

    ``created``: when, if its maker tells another time than now. ``expires``: when it ends, where
    it does without being leased. ``lease``: None: it cannot be renewed or revoked.
    """

    values: Mapping[str, SecretValue] = field(repr=False)
    created: datetime | None = None
    expires: datetime | None = None
    lease: Lease | None = None


class GeneratorClient(Protocol):
    """An open generator. Shared by everything that it makes credentials for; of one event loop."""

    limits: Limits

    async def generate(self, *, owner: str) -> Generated:
        """Makes a credential. ``owner``: the namespace and name of the ExternalSecret that wants
        it, for names and tags that an audit is to find. Raises ProviderError.
        """
        ...

    async def renew(self, lease: Lease) -> Lease | None:
        """Makes a renewable lease live on; returns it with the ``seconds`` that it now has left.

        These may be fewer than before, when the lease nears the end that it cannot pass. None:
        there is no such lease any more, it has ended or was revoked. Raises ProviderError.
        """
        ...

    async def revoke(self, lease: Lease) -> None:
        """Ends a lease now. One that is not there any more is no error. Raises ProviderError."""
        ...

    async def check(self) -> None:
        """The cheapest call that proves that it works, making nothing. Raises ProviderError."""
        ...

    async def close(self) -> None:
        """Gives back connections and threads, and never what keeps a lease alive."""
        ...


class Generator(Openable[GeneratorClient], Protocol):
    """A kind of generator, named in ``spec.generator``."""
