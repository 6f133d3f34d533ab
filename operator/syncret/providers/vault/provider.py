"""The provider ``vault``: from a store's spec to an open client."""

import asyncio
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from syncret.clock import Clock, SystemClock
from syncret.errors import ProviderError
from syncret.providers.base import (
    CallObserver,
    Client,
    CredentialRef,
    SecretValue,
    ServiceAccount,
    StoreIdentity,
)
from syncret.providers.calls import THREADS_PER_STORE, Calls, make_threads
from syncret.providers.vault.answers import timed_out
from syncret.providers.vault.config import VaultConfig, parse_config
from syncret.providers.vault.timing import Timing


class VaultProvider:
    """All Vault stores of the process: they share a pool of threads."""

    name = "vault"

    def __init__(
        self,
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
        self._threads = make_threads(self.name)

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> VaultConfig:
        return parse_config(spec, cluster_scoped=cluster_scoped)

    def credential_refs(self, config: VaultConfig) -> Mapping[str, CredentialRef]:
        return dict(config.references)

    def ambient(self, config: VaultConfig) -> bool:
        return config.auth.own

    async def open(
        self,
        config: VaultConfig,
        credentials: Mapping[str, SecretValue],
        *,
        observe: CallObserver,
        accounts: Mapping[str, ServiceAccount] = MappingProxyType({}),
        store: StoreIdentity | None = None,  # noqa: ARG002 - Vault's audit knows the identity
    ) -> Client:
        """Makes the client. Nothing is asked of Vault yet.

        hvac is imported and certificates are read, hence the thread.
        """
        make = partial(
            self._make, config, credentials, accounts, Calls(self._threads, observe=observe)
        )
        client: Client | ProviderError
        try:
            async with asyncio.timeout(self._timing.total):
                client = await asyncio.get_running_loop().run_in_executor(self._threads, make)
        except TimeoutError:
            client = timed_out(config.place)
        if isinstance(client, ProviderError):
            raise client
        return client

    def _make(
        self,
        config: VaultConfig,
        credentials: Mapping[str, SecretValue],
        accounts: Mapping[str, ServiceAccount],
        calls: Calls,
    ) -> Client | ProviderError:
        from syncret.providers.vault import client, login, tls, tokens, wire

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
        return client.VaultClient(config, wire=way, tokens=token, calls=calls, timing=self._timing)
