"""The provider ``aws``: from a store's spec to an open client."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from syncret.errors import ProviderError
from syncret.providers.aws.config import AwsConfig, parse_config
from syncret.providers.aws.errors import timed_out
from syncret.providers.aws.secrets_manager import SecretsManagerClient
from syncret.providers.aws.session import AwsSession, Timing
from syncret.providers.base import (
    CallObserver,
    Client,
    SecretKeyRef,
    SecretValue,
    ServiceAccount,
    StoreIdentity,
)
from syncret.providers.calls import THREADS_PER_STORE, Calls, make_threads

# Stores whose want of the batch permission is remembered as told: clients come and go, and each
# finds it anew.
_MAX_TOLD: Final = 1000


class AwsProvider:
    """All AWS stores of the process: they share a session and a pool of threads."""

    name = "aws"

    def __init__(self, *, timing: Timing | None = None) -> None:
        self._timing = timing or Timing()
        self._session = AwsSession(self._timing)
        self._threads = make_threads(self.name)
        self._told: OrderedDict[AwsConfig, None] = OrderedDict()

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> AwsConfig:
        return parse_config(spec, cluster_scoped=cluster_scoped)

    def credential_refs(self, config: AwsConfig) -> Mapping[str, SecretKeyRef]:
        return dict(config.credentials)

    def ambient(self, config: AwsConfig) -> bool:
        return not config.credentials

    async def open(
        self,
        config: AwsConfig,
        credentials: Mapping[str, SecretValue],
        *,
        observe: CallObserver,
        accounts: Mapping[str, ServiceAccount] = MappingProxyType({}),  # noqa: ARG002
        store: StoreIdentity | None = None,  # noqa: ARG002
    ) -> Client:
        """Makes the client. Nothing is asked of Secrets Manager yet.

        The SDK's own chain may ask the pod's credential endpoint, hence the threads.
        """
        make = partial(
            self._session.client,
            "secretsmanager",
            config,
            credentials,
            pool=THREADS_PER_STORE,
        )
        boto: Any = None
        try:
            async with asyncio.timeout(self._timing.total):
                boto = await asyncio.get_running_loop().run_in_executor(self._threads, make)
        except TimeoutError:
            boto = timed_out(config.place)
        if isinstance(boto, ProviderError):
            raise boto
        return SecretsManagerClient(
            boto,
            place=config.place,
            calls=Calls(self._threads, observe=observe),
            timeout=self._timing.total,
            tell_once=partial(self._tell_once, config),
        )

    def _tell_once(self, config: AwsConfig) -> bool:
        if config in self._told:
            return False
        self._told[config] = None
        if len(self._told) > _MAX_TOLD:
            self._told.popitem(last=False)
        return True
