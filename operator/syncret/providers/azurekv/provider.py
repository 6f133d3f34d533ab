"""The provider ``azurekv``: from a store's spec to an open client."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from syncret.providers.azurekv.client import KeyVaultClient
from syncret.providers.azurekv.config import AzureConfig, parse_config
from syncret.providers.azurekv.identity import Identity
from syncret.providers.azurekv.session import Session, quiet, trust
from syncret.providers.azurekv.timing import Timing
from syncret.providers.base import (
    CallObserver,
    Client,
    CredentialRef,
    SecretValue,
    ServiceAccount,
    StoreIdentity,
)


class AzureProvider:
    """All stores of Azure Key Vault of the process."""

    name = "azurekv"

    def __init__(self, *, timing: Timing | None = None) -> None:
        self._timing = timing or Timing()
        quiet()

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> AzureConfig:
        return parse_config(spec, cluster_scoped=cluster_scoped)

    def credential_refs(self, config: AzureConfig) -> Mapping[str, CredentialRef]:
        return dict(config.credentials) | config.trusted.references

    def ambient(self, config: AzureConfig) -> bool:
        return not config.credentials

    async def open(
        self,
        config: AzureConfig,
        credentials: Mapping[str, SecretValue],
        *,
        observe: CallObserver,
        accounts: Mapping[str, ServiceAccount] = MappingProxyType({}),
        store: StoreIdentity | None = None,
    ) -> Client:
        """Makes the client. Nothing is asked of Azure yet."""
        _ = store
        context = trust(config.trusted.pem(credentials), config.place)
        identity = Identity(config, credentials, accounts)
        session = Session(config, context, self._timing)
        try:
            session.login = identity.login(session, self._timing, observe)
        except BaseException:
            await session.close()
            raise
        return KeyVaultClient(session, place=config.place, timing=self._timing, observe=observe)
