"""The generator ``vaultDynamic``: from a spec to an open client."""

import copy
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from syncret.clock import Clock, SystemClock
from syncret.errors import ProviderError
from syncret.generators.base import GeneratorClient
from syncret.generators.vaultdynamic.config import (
    NAME,
    DynamicConfig,
    in_our_words,
    parse_dynamic,
)
from syncret.providers.base import (
    CallObserver,
    CredentialRef,
    SecretValue,
    ServiceAccount,
    StoreIdentity,
)
from syncret.providers.vault.opening import Opening
from syncret.providers.vault.timing import Timing

if TYPE_CHECKING:
    from syncret.providers.vault.asking import Asking

#: To make a user in a database, or a key in a cloud, takes longer than to read a secret.
TIMING = Timing(read=20.0, call=25.0, total=40.0)


class VaultDynamic:
    """All such generators of the process."""

    name = NAME

    def __init__(
        self,
        *,
        timing: Timing = TIMING,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        own_token: Path | None = None,
    ) -> None:
        """``own_token``: the file with the token of the operator's ServiceAccount."""
        self._clock = clock or SystemClock()
        self._opening = Opening(
            self.name, timing=timing, clock=self._clock, chance=chance, own_token=own_token
        )

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> DynamicConfig:
        return parse_dynamic(spec, cluster_scoped=cluster_scoped)

    def credential_refs(self, config: DynamicConfig) -> Mapping[str, CredentialRef]:
        return dict(config.vault.references)

    def ambient(self, config: DynamicConfig) -> bool:
        return config.vault.auth.own

    async def open(
        self,
        config: DynamicConfig,
        credentials: Mapping[str, SecretValue],
        *,
        observe: CallObserver,
        accounts: Mapping[str, ServiceAccount] = MappingProxyType({}),
        store: StoreIdentity | None = None,  # noqa: ARG002 - Vault's audit knows the identity
    ) -> GeneratorClient:
        """Makes the client. Nothing is asked of Vault yet."""

        def make(asking: "Asking") -> GeneratorClient:
            from syncret.generators.vaultdynamic.client import VaultDynamicClient

            return VaultDynamicClient(config, asking=asking, clock=self._clock)

        try:
            return await self._opening(
                config.vault, credentials, accounts, observe=observe, make=make
            )
        except ProviderError as error:
            told = copy.copy(error)
            told.message = in_our_words(error.message)
            told.args = (told.message,)
            raise told from None
