"""The provider ``webhook``: from a store's spec to an open client."""

import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from syncret.errors import SpecInvalid, StoreInvalid
from syncret.providers.base import (
    CallObserver,
    Client,
    CredentialRef,
    SecretValue,
    ServiceAccount,
    StoreIdentity,
)
from syncret.providers.bounds import Bounds
from syncret.providers.hosts import CheckedResolver
from syncret.providers.trusted import CA
from syncret.providers.web import Timing, Web, trust
from syncret.providers.webhook.client import LIMITS, MAX_BYTES, WebhookClient
from syncret.providers.webhook.config import PATH, WebhookConfig, parse_config


class WebhookProvider:
    """All stores of webhooks."""

    name = "webhook"

    def __init__(self, bounds: Bounds, *, total: float = 30.0) -> None:
        """``total``: seconds for a whole fetch or check."""
        self._hosts = bounds.webhook_hosts
        self._digest_key = bounds.digest_key or secrets.token_bytes(32)
        self._total = total

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> WebhookConfig:
        return parse_config(spec, cluster_scoped=cluster_scoped)

    def credential_refs(self, config: WebhookConfig) -> Mapping[str, CredentialRef]:
        # The names of secrets are the spec's own; a prefix keeps them apart from ours.
        secrets = {f"secrets.{name}": reference for name, reference in config.secrets}
        return {**secrets, **config.authority.references}

    def ambient(self, config: WebhookConfig) -> bool:  # noqa: ARG002 - the contract's
        return False

    async def open(
        self,
        config: WebhookConfig,
        credentials: Mapping[str, SecretValue],
        *,
        observe: CallObserver,
        accounts: Mapping[str, ServiceAccount] = MappingProxyType({}),  # noqa: ARG002
        store: StoreIdentity | None = None,  # noqa: ARG002 - the API sees its own credentials only
    ) -> Client:
        """Makes the client. Nothing is asked of the API yet. Raises StoreInvalid, SpecInvalid."""
        if not self._hosts.admits(config.scheme, config.host, config.port):
            raise StoreInvalid(
                f"{PATH}.url names {config.scheme}://{config.host}:{config.port}, which the "
                "operator may not call: have the administrator add it to --webhook-hosts (the "
                "chart's value webhooks.hosts), or correct the url."
            )
        try:
            tls = trust(config.authority.pem(credentials))
        except ValueError:
            tls = None
        if tls is None:
            raise SpecInvalid(f"{config.authority.path} holds no certificates in PEM.")
        web = Web(
            place=config.place,
            timing=Timing(connect=min(3.0, config.timeout), read=config.timeout),
            observe=observe,
            connections=LIMITS.concurrency,
            max_bytes=MAX_BYTES,
            tls=tls,
            resolver=CheckedResolver(self._hosts),
            sockets=self._hosts.sockets,
        )
        given = {
            name.removeprefix("secrets."): value
            for name, value in credentials.items()
            if name != CA
        }
        return WebhookClient(
            config, given, web=web, timeout=self._total, digest_key=self._digest_key
        )
