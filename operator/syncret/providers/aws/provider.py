"""The provider ``aws``: from a store's spec to an open client."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from syncret.errors import CredentialsNotFound, ProviderError
from syncret.providers.aws.client import AwsClient
from syncret.providers.aws.config import ROLE, SERVICE_ACCOUNT, AwsConfig, parse_config
from syncret.providers.aws.errors import timed_out
from syncret.providers.aws.identity import Identity, Lasting, Session
from syncret.providers.aws.keys import Renewed
from syncret.providers.aws.parameter_store import ParameterStoreClient
from syncret.providers.aws.secrets_manager import SecretsManagerClient
from syncret.providers.aws.services import PARAMETER_STORE, STS, Place
from syncret.providers.aws.session import AwsSession, Timing, static_keys
from syncret.providers.aws.sts import Login, TokenRole
from syncret.providers.base import (
    CallObserver,
    Client,
    CredentialRef,
    SecretValue,
    ServiceAccount,
    StoreIdentity,
)
from syncret.providers.calls import THREADS_PER_STORE, Calls, make_threads

# Annotations of a ServiceAccount, as EKS reads them.
ROLE_ARN: Final = "eks.amazonaws.com/role-arn"
AUDIENCE: Final = "eks.amazonaws.com/audience"
_AUDIENCE: Final = "sts.amazonaws.com"

# Stores whose want of the batch permission is remembered as told: clients come and go, and each
# finds it anew.
_MAX_TOLD: Final = 1000


class AwsProvider:
    """All AWS stores of the process: they share a session and a pool of threads."""

    name = "aws"

    def __init__(
        self, *, timing: Timing | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """``monotonic``: the clock by which sessions expire, in seconds."""
        self._timing = timing or Timing()
        self._monotonic = monotonic
        self._session = AwsSession(self._timing)
        self._threads = make_threads(self.name)
        self._told: OrderedDict[AwsConfig, None] = OrderedDict()

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> AwsConfig:
        return parse_config(spec, cluster_scoped=cluster_scoped)

    def credential_refs(self, config: AwsConfig) -> Mapping[str, CredentialRef]:
        return config.references

    def ambient(self, config: AwsConfig) -> bool:
        return config.ambient

    async def open(
        self,
        config: AwsConfig,
        credentials: Mapping[str, SecretValue],
        *,
        observe: CallObserver,
        accounts: Mapping[str, ServiceAccount] = MappingProxyType({}),
        store: StoreIdentity | None = None,
    ) -> Client:
        """Makes the client. No service is asked yet, and no role assumed.

        The SDK's own chain may ask the pod's credential endpoint, hence the threads.
        """
        base = static_keys(config, credentials)
        by_token = _token_role(config, accounts)
        calls = Calls(self._threads, observe=observe)
        identity: Identity = Lasting()
        signing: Any = base
        if by_token is not None or config.assume is not None:
            signing = Renewed()
            login = Login(
                self._session, config, base=base, by_token=by_token, store=store, calls=calls
            )
            identity = Session(
                login,
                signing,
                timeout=self._timing.total,
                too_late=partial(timed_out, Place(STS, config.region)),
                monotonic=self._monotonic,
            )
        boto = await self._boto(config, signing)
        return self._client(config, boto, identity, calls)

    async def _boto(self, config: AwsConfig, signing: Any) -> Any:
        make = partial(
            self._session.client, config.place, config.endpoint, signing, pool=THREADS_PER_STORE
        )
        boto: Any = None
        try:
            async with asyncio.timeout(self._timing.total):
                boto = await asyncio.get_running_loop().run_in_executor(self._threads, make)
        except TimeoutError:
            boto = timed_out(config.place)
        if isinstance(boto, ProviderError):
            raise boto
        return boto

    def _client(self, config: AwsConfig, boto: Any, identity: Identity, calls: Calls) -> AwsClient:
        common: dict[str, Any] = {
            "place": config.place,
            "prefix": config.prefix,
            "identity": identity,
            "calls": calls,
            "timeout": self._timing.total,
        }
        if config.service is PARAMETER_STORE:
            return ParameterStoreClient(boto, **common)
        return SecretsManagerClient(boto, tell_once=partial(self._tell_once, config), **common)

    def _tell_once(self, config: AwsConfig) -> bool:
        if config in self._told:
            return False
        self._told[config] = None
        if len(self._told) > _MAX_TOLD:
            self._told.popitem(last=False)
        return True


def _token_role(config: AwsConfig, accounts: Mapping[str, ServiceAccount]) -> TokenRole | None:
    """The role of the ServiceAccount that a store names. Raises CredentialsNotFound."""
    if config.account is None:
        return None
    account = accounts[SERVICE_ACCOUNT]
    role = account.annotations.get(ROLE_ARN, "")
    if not ROLE.fullmatch(role):
        wrong = "which is not the ARN of a role" if role else "which says what role it may assume"
        verb = "has an annotation" if role else "has no annotation"
        raise CredentialsNotFound(
            f'The ServiceAccount "{account.name}" in namespace "{account.namespace}", which the '
            f'store authenticates with, {verb} "{ROLE_ARN}", {wrong}: set it to the ARN of an IAM '
            "role that trusts it."
        )
    audience = account.annotations.get(AUDIENCE) or _AUDIENCE
    return TokenRole(account, role, tuple(dict.fromkeys((audience, *config.audiences))))
