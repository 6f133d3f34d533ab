"""The provider ``gcpsm``: from a store's spec to an open client."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from syncret.providers.base import (
    CallObserver,
    Client,
    CredentialRef,
    SecretValue,
    ServiceAccount,
    StoreIdentity,
)
from syncret.providers.calls import make_threads
from syncret.providers.gcp.config import GcpConfig, parse_config

if TYPE_CHECKING:
    from syncret.providers.gcp.calls import Timing
    from syncret.providers.gcp.opening import Opening


class GcpProvider:
    """All stores of Google Cloud of the process."""

    name = "gcpsm"

    def __init__(
        self,
        *,
        timing: "Callable[[], Timing] | None" = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``timing`` is made when the SDK is there. ``now``: seconds, for the life of tokens."""
        self._timing = timing
        self._now = now
        self._threads = make_threads(self.name)
        self._opening: Opening | None = None

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> GcpConfig:
        return parse_config(spec, cluster_scoped=cluster_scoped)

    def credential_refs(self, config: GcpConfig) -> Mapping[str, CredentialRef]:
        return config.references

    def ambient(self, config: GcpConfig) -> bool:
        return config.auth is None

    async def open(
        self,
        config: GcpConfig,
        credentials: Mapping[str, SecretValue],
        *,
        observe: CallObserver,
        accounts: Mapping[str, ServiceAccount] = MappingProxyType({}),
        store: StoreIdentity | None = None,  # noqa: ARG002 - Google has no session names
    ) -> Client:
        """Makes the client. Nothing is asked of Google yet: the first read logs in."""
        if self._opening is None:
            made = await asyncio.get_running_loop().run_in_executor(self._threads, self._load)
            self._opening = self._opening or made
        return self._opening.open(config, credentials, accounts, observe)

    def _load(self) -> "Opening":
        # Read by gRPC when it is imported. Children are started by exec, never by fork alone, so
        # its handlers only get in the way; and what it prints on stderr is no line of our log.
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")

        from syncret.providers.gcp.calls import Timing
        from syncret.providers.gcp.opening import Opening

        timing = self._timing() if self._timing is not None else Timing()
        return Opening(timing, self._threads, now=self._now)
