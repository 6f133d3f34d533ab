"""The provider ``kubernetes``: from a store's spec to an open client."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from syncret.errors import ProviderError, ProviderRejected
from syncret.providers.base import (
    CallObserver,
    Client,
    CredentialRef,
    SecretValue,
    ServiceAccount,
    StoreIdentity,
)
from syncret.providers.bounds import Bounds
from syncret.providers.kubernetes import kubeconfig
from syncret.providers.kubernetes.client import CONNECTIONS, MAX_BYTES, KubernetesClient
from syncret.providers.kubernetes.config import (
    ACCOUNT,
    CERT,
    KEY,
    KUBECONFIG,
    TOKEN,
    KubernetesConfig,
    parse_config,
)
from syncret.providers.kubernetes.identity import TOKEN as USABLE
from syncret.providers.kubernetes.identity import AccountToken, Fixed, Identity
from syncret.providers.web import CredentialsRefused, Timing, Web, trust


@dataclass(frozen=True, slots=True)
class _Server:
    """Where to, and who."""

    url: str
    tls: ssl.SSLContext | None
    identity: Identity
    name: str = ""
    proxy: str = ""


class KubernetesProvider:
    """All stores of Secrets of clusters."""

    name = "kubernetes"

    def __init__(self, bounds: Bounds, *, timing: Timing | None = None) -> None:
        self._own = bounds.cluster
        self._timing = timing or Timing()

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> KubernetesConfig:
        return parse_config(spec, cluster_scoped=cluster_scoped)

    def credential_refs(self, config: KubernetesConfig) -> Mapping[str, CredentialRef]:
        return {**dict(config.credentials), **config.authority.references}

    def ambient(self, config: KubernetesConfig) -> bool:  # noqa: ARG002 - never the operator's own
        return False

    async def open(
        self,
        config: KubernetesConfig,
        credentials: Mapping[str, SecretValue],
        *,
        observe: CallObserver,
        accounts: Mapping[str, ServiceAccount] = MappingProxyType({}),
        store: StoreIdentity | None = None,  # noqa: ARG002 - an API server sees its own users only
    ) -> Client:
        """Makes the client. Nothing is asked of the API server yet."""
        server = self._server(config, credentials, accounts)
        if isinstance(server, ProviderError):
            raise server
        web = Web(
            place=config.place,
            timing=self._timing,
            observe=observe,
            connections=CONNECTIONS,
            max_bytes=MAX_BYTES,
            tls=server.tls,
            proxy=server.proxy,
        )
        return KubernetesClient(
            server=server.url,
            namespace=config.namespace,
            place=config.place,
            who=config.who,
            identity=server.identity,
            web=web,
            timeout=self._timing.total,
            server_name=server.name,
        )

    def _server(
        self,
        config: KubernetesConfig,
        credentials: Mapping[str, SecretValue],
        accounts: Mapping[str, ServiceAccount],
    ) -> _Server | ProviderError:
        """Returns the failure: the frames here hold credentials."""
        if config.way == KUBECONFIG:
            return _from_kubeconfig(config, credentials[KUBECONFIG].reveal())
        cert = key = b""
        identity: Identity = Fixed()
        if config.way == "cert":
            cert, key = credentials[CERT].reveal(), credentials[KEY].reveal()
        elif config.way == "token":
            if not USABLE.fullmatch(credentials[TOKEN].reveal().strip()):
                return _unusable(config, "its token is empty or holds blanks or other than ASCII")
            identity = Fixed(credentials[TOKEN])
        else:
            identity = AccountToken(accounts[ACCOUNT], config.audiences)
        if config.url:
            try:
                tls = trust(config.authority.pem(credentials), cert=cert, key=key)
            except ValueError as error:
                return _no_tls(config, str(error))
            return _Server(config.url, tls, identity)
        return self._own_server(config, identity, cert, key)

    def _own_server(
        self, config: KubernetesConfig, identity: Identity, cert: bytes, key: bytes
    ) -> _Server | ProviderError:
        own = self._own
        if own is None:
            return ProviderRejected(
                f"{config.place} is in a cluster whose address is not known: set server.url in the "
                "store."
            )
        try:
            tls = own.trust(cert=cert, key=key)
        except ValueError as error:
            return _no_tls(config, str(error))
        return _Server(own.url, tls, identity, name=own.tls_server_name, proxy=own.proxy)


def _from_kubeconfig(config: KubernetesConfig, data: bytes) -> _Server | ProviderError:
    try:
        given = kubeconfig.parse(data)
    except kubeconfig.Unusable as error:
        return _unusable(config, str(error))
    token = SecretValue(given.token) if given.token else None
    if given.token and not USABLE.fullmatch(given.token):
        return _unusable(config, "its token holds blanks or other than ASCII")
    try:
        tls = trust(given.ca, cert=given.cert, key=given.key)
    except ValueError as error:
        return _no_tls(config, str(error))
    return _Server(given.server, tls, Fixed(token), name=given.tls_server_name)


def _unusable(config: KubernetesConfig, why: str) -> CredentialsRefused:
    what = "kubeconfig" if config.way == KUBECONFIG else "Secret"
    return CredentialsRefused(
        f"{config.place} cannot be read with the {what} that the store names: {why}. Correct it."
    )


def _no_tls(config: KubernetesConfig, why: str) -> CredentialsRefused:
    return CredentialsRefused(
        f"{config.place} cannot be read with the certificates that the store names: they are {why},"
        " in PEM. Correct them."
    )
