"""What is imported when the first store is opened, in a thread: the SDK takes half a second.

It costs 36 MiB once, and a store next to nothing.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from syncret.providers.base import CallObserver, Client, SecretValue, ServiceAccount
from syncret.providers.gcp.budget import Budget
from syncret.providers.gcp.calls import Calls, Timing
from syncret.providers.gcp.channels import Channels, quiet
from syncret.providers.gcp.config import GcpConfig
from syncret.providers.gcp.identity import Ambient, Identity, Logins, identity_of
from syncret.providers.gcp.secret_manager import SecretManagerClient
from syncret.providers.gcp.tokens import Tokens
from syncret.providers.gcp.web import make_pool

# Stores whose want of a permission is remembered as told, and projects whose looks are counted:
# clients come and go.
_MAX_TOLD: Final = 1000
_MAX_BUDGETS: Final = 1000


class Opening:
    """All stores of the process: they share connections, threads, and the operator's identity."""

    def __init__(
        self, timing: Timing, threads: ThreadPoolExecutor, *, now: Callable[[], float]
    ) -> None:
        quiet()
        self._timing = timing
        self._now = now
        self._channels = Channels()
        pool = make_pool(connect=timing.connect, read=timing.call)
        self._logins = Logins(pool, threads, timeout=timing.total)
        self._ambient: tuple[Identity, Tokens] | None = None
        self._budgets: OrderedDict[tuple[str, str], Budget] = OrderedDict()
        self._told: OrderedDict[tuple[GcpConfig, str], None] = OrderedDict()

    def open(
        self,
        config: GcpConfig,
        credentials: Mapping[str, SecretValue],
        accounts: Mapping[str, ServiceAccount],
        observe: CallObserver,
    ) -> Client:
        """The client. Nothing is asked of anybody yet. Raises CredentialsRefused."""
        if config.auth is None:
            identity, tokens = self._operator(observe)
        else:
            identity = identity_of(
                config, credentials, accounts, logins=self._logins, observe=observe
            )
            tokens = Tokens(identity, now=self._now)
        target = config.target
        sdk = self._channels.acquire(target)

        async def project() -> str:
            if config.project:
                return config.project
            await tokens.get()  # which may tell the project
            return await identity.project()

        async def release() -> None:
            if config.auth is not None:
                await tokens.close()
            await self._channels.release(target)

        calls = Calls(
            sdk,
            place=config.place,
            location=config.location,
            tokens=tokens,
            project=project,
            observe=observe,
            timing=self._timing,
        )
        return SecretManagerClient(
            calls,
            fall_back=config.fall_back,
            budget=self._budget(config),
            tell_once=partial(self._tell_once, config),
            release=release,
            now=self._now,
        )

    def _operator(self, observe: CallObserver) -> tuple[Identity, Tokens]:
        if self._ambient is None:
            run = partial(self._logins.run, observe=observe)
            identity = Ambient("GCP Secret Manager", run)
            self._ambient = identity, Tokens(identity, now=self._now)
        return self._ambient

    def _budget(self, config: GcpConfig) -> Budget:
        """Of the project, whose quota it is, however many stores it has."""
        key = config.target[0], config.project
        budget = self._budgets.setdefault(key, Budget(self._now))
        if len(self._budgets) > _MAX_BUDGETS:
            self._budgets.popitem(last=False)
        return budget

    def _tell_once(self, config: GcpConfig, operation: str) -> bool:
        if (config, operation) in self._told:
            return False
        self._told[config, operation] = None
        if len(self._told) > _MAX_TOLD:
            self._told.popitem(last=False)
        return True
