"""What stores and generators of Vault share: from a spec's record to the way to its Vault."""

import asyncio
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from syncret.clock import Clock, SystemClock
from syncret.errors import ProviderError
from syncret.providers.base import CallObserver, SecretValue, ServiceAccount
from syncret.providers.calls import THREADS_PER_STORE, Calls, make_threads
from syncret.providers.vault.answers import timed_out
from syncret.providers.vault.config import VaultConfig
from syncret.providers.vault.timing import Timing

if TYPE_CHECKING:
    from syncret.providers.vault.asking import Asking

T = TypeVar("T")


class Opening:
    """Opens what speaks to Vault; all of one kind share a pool of threads."""

    def __init__(
        self,
        name: str,
        *,
        timing: Timing | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        own_token: Path | None = None,
    ) -> None:
        """``own_token``: the file with the token of the operator's ServiceAccount."""
        self._timing = timing or Timing()
        self._clock = clock or SystemClock()
        self._chance = chance
        self._own_token = own_token
        self._threads = make_threads(name)

    async def __call__(
        self,
        config: VaultConfig,
        credentials: Mapping[str, SecretValue],
        accounts: Mapping[str, ServiceAccount],
        *,
        observe: CallObserver,
        make: Callable[["Asking"], T],
    ) -> T:
        """What ``make`` makes of the way to Vault. Nothing is asked of Vault yet.

        hvac is imported and certificates are read, hence the thread. Raises ProviderError.
        """
        calls = Calls(self._threads, observe=observe)
        made: T | ProviderError
        try:
            async with asyncio.timeout(self._timing.total):
                made = await asyncio.get_running_loop().run_in_executor(
                    self._threads, partial(self._make, config, credentials, accounts, calls, make)
                )
        except TimeoutError:
            made = timed_out(config.place)
        if isinstance(made, ProviderError):
            raise made
        return made

    def _make(
        self,
        config: VaultConfig,
        credentials: Mapping[str, SecretValue],
        accounts: Mapping[str, ServiceAccount],
        calls: Calls,
        make: Callable[["Asking"], T],
    ) -> T | ProviderError:
        from syncret.providers.vault import asking, login, tls, tokens, wire

        try:
            context = tls.context(config, credentials)
        except ProviderError as error:
            return error.with_traceback(None)
        way = wire.Wire(config, context=context, timing=self._timing, pool=THREADS_PER_STORE)
        token = tokens.Tokens(
            login.Login(
                config,
                credentials,
                accounts,
                wire=way,
                own_token=self._own_token or login.OWN_TOKEN,
            ),
            wire=way,
            calls=calls,
            place=config.place,
            given=config.auth.given,
            timing=self._timing,
            clock=self._clock,
            chance=self._chance,
        )
        return make(asking.Asking(config, wire=way, tokens=token, calls=calls, timing=self._timing))
