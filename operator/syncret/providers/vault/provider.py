"""The provider ``vault``: from a store's spec to an open client."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from syncret.clock import Clock
from syncret.providers.base import (
    CallObserver,
    Client,
    CredentialRef,
    SecretValue,
    ServiceAccount,
    StoreIdentity,
)
from syncret.providers.vault.config import KV, VaultConfig, parse_config
from syncret.providers.vault.opening import Opening
from syncret.providers.vault.timing import Timing

if TYPE_CHECKING:
    from syncret.providers.vault.asking import Asking


class VaultProvider:
    """All Vault stores of the process."""

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
        self._opening = Opening(
            self.name, timing=timing, clock=clock, chance=chance, own_token=own_token
        )

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
        """Makes the client. Nothing is asked of Vault yet."""
        return await self._opening(config, credentials, accounts, observe=observe, make=_client)


def _client(asking: "Asking") -> Client:
    if asking.config.engine == KV:
        from syncret.providers.vault.client import VaultClient

        return VaultClient(asking)
    from syncret.providers.vault.roles import RolesClient

    return RolesClient(asking)
