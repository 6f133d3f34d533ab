"""Calls with a token that Vault knows, for whoever makes them.

A token that is lost costs nobody an error: the call is made again with a new one. A standby that
lags is asked again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, TypeVar

from syncret.errors import AccessDenied, ProviderError
from syncret.providers.base import NotFound
from syncret.providers.calls import Calls
from syncret.providers.vault.answers import (
    Call,
    CredentialsRefused,
    NotCaughtUp,
    TokenRefused,
    not_understood,
    problem,
    timed_out,
)
from syncret.providers.vault.config import VaultConfig
from syncret.providers.vault.timing import Timing
from syncret.providers.vault.tokens import Tokens
from syncret.providers.vault.wire import Wire

LOOKUP: Final = "LookupSelf"

T = TypeVar("T")


class Asking:
    """The way to one Vault with a login of its own; what opens one closes it."""

    def __init__(
        self, config: VaultConfig, *, wire: Wire, tokens: Tokens, calls: Calls, timing: Timing
    ) -> None:
        self.config = config
        self.place = config.place
        self.wire = wire
        self.tokens = tokens
        self.timing = timing
        self._calls = calls

    async def close(self) -> None:
        await self.tokens.close()
        self.wire.close()

    async def within(self, work: Awaitable[T | ProviderError]) -> T:
        """The result of a whole operation. Raises what went wrong, and ProviderTimeout."""
        found: T | ProviderError
        try:
            async with asyncio.timeout(self.timing.total):
                found = await work
        except TimeoutError:
            found = timed_out(self.place)
        if isinstance(found, ProviderError):
            raise found
        return found

    async def asked(
        self,
        operation: str,
        call: Callable[[], T],
        *,
        unless: Callable[[], bool] = lambda: False,
        without: Callable[[ProviderError], None] | None = None,
    ) -> T | ProviderError | None:
        """The result of a call with a token that Vault knows; None if ``unless`` held before it.

        ``call`` blocks, and returns failures instead of raising them: see calls.py. ``without`` is
        told what keeps us from having a token, and None is returned; the reason itself where
        nobody is to be told.
        """

        def lacking(reason: ProviderError) -> ProviderError | None:
            if without is None:
                return reason
            without(reason)
            return None

        waits = iter(self.timing.caught_up)
        replaced = False
        while True:
            missing = await self.tokens.ready()
            if missing is not None:
                return lacking(missing)
            found = await self._calls.run(operation, call, unless=unless)
            if isinstance(found, NotCaughtUp) and (wait := next(waits, None)) is not None:
                await asyncio.sleep(wait)
                continue
            if not isinstance(found, TokenRefused):
                return found
            if replaced:
                self.tokens.settle(found)
            failed = found if replaced else await self.tokens.replace(found)
            if failed is found and not found.sure and self.tokens.plain_means_policy:
                return found.otherwise or found
            if failed is not None:
                return lacking(failed)
            replaced = True

    async def certain(self, operation: str, call: Callable[[], T | ProviderError]) -> T:
        """The same, where only the result itself is of use. Raises ProviderError."""
        found = await self.asked(operation, call)
        if isinstance(found, ProviderError):
            raise found
        if found is None:
            raise not_understood(self.place)
        return found

    async def all(
        self, calls: Collection[Callable[[], T | ProviderError]], operation: str
    ) -> list[T] | ProviderError:
        """The results of all calls, or the first failure."""
        ended: list[ProviderError] = []
        tasks: list[asyncio.Task[T | ProviderError | None]] = []

        async def one(call: Callable[[], T | ProviderError]) -> T | ProviderError | None:
            found = await self.asked(operation, call, unless=lambda: bool(ended))
            if isinstance(found, ProviderError):
                ended.append(found)
            return found

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(call)) for call in calls]
        if ended:
            return ended[0]
        return [
            found
            for task in tasks
            if (found := task.result()) is not None and not isinstance(found, ProviderError)
        ]

    def look_up(self) -> bool | ProviderError:
        """Whether the login works; True, or what is wrong. Blocks."""
        call = Call(self.place, LOOKUP, "auth/token/lookup-self")
        answer = self.wire.ask(lambda client: client.auth.token.lookup_self(), own=True)
        if isinstance(answer, ProviderError):
            return answer
        if answer.ok:
            return True if data_of(answer.body) is not None else not_understood(self.place)
        found = problem(answer, call)
        if isinstance(found, NotFound):
            return not_understood(self.place)
        # A token without the policy "default" may not look at itself, but is one.
        return True if of_one(found) else found


def of_one(error: object) -> bool:
    """Whether a denial is that of one path, and not of the credentials."""
    return isinstance(error, AccessDenied) and not isinstance(error, CredentialsRefused)


def data_of(body: Any) -> Mapping[str, Any] | None:
    """What an answer holds, if it is an object."""
    data = body.get("data") if isinstance(body, Mapping) else None
    return data if isinstance(data, Mapping) else None
