"""The login of one store: one token for all its readers.

azure-identity keeps a token and renews it before it expires, at half of its life or five minutes
before the end; but readers who find none would each ask for one. Here they share one request, and
its failure. While the old token is still good, a renewal that fails is not noticed by anybody.

The token goes to one resource only. What the vault says in its challenge is compared with it: a
wrong ``vaultUrl`` must not get a token for something else.
"""

import asyncio
import copy
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self
from urllib.parse import urlsplit

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.core.pipeline.transport import AioHttpTransport

from syncret.errors import (
    AccessDenied,
    KubeThrottled,
    KubeUnavailable,
    ProviderError,
    ProviderUnavailable,
    SyncretError,
)
from syncret.providers.azurekv.entra import Answered, login_failure, refused
from syncret.providers.azurekv.errors import LOGIN, CredentialsRefused, timed_out
from syncret.providers.base import CallObserver

#: Seconds before its end that a token is renewed, as azure-identity has it.
MARGIN: Final = 300.0

#: Seconds until the next attempt, while the old token is still good.
AGAIN: Final = 30.0

#: Seconds that a refusal holds for all who read. Whoever is told of it opens the store anew.
REFUSED: Final = 5.0

_GUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class TokenTransport(AioHttpTransport):  # type: ignore[misc]  # azure-core exports it untyped
    """The transport of a credential: every request of it is a login that is told of."""

    def __init__(self, *, observe: CallObserver, answered: Answered, **how: Any) -> None:
        super().__init__(**how)
        self._observe = observe
        self._answered = answered

    async def send(self, request: Any, **config: Any) -> Any:
        started = time.monotonic()
        word = "timeout"
        self._answered.status, self._answered.headers = 0, {}
        try:
            response: Any = await super().send(request, **config)
            word = _word(response.status_code)
            self._answered.status = int(response.status_code)
            self._answered.headers = dict(response.headers)
            return response
        except Exception as error:
            word = "timeout" if "Timeout" in type(error).__name__ else "error"
            raise
        finally:
            self._observe(operation=LOGIN, outcome=word, seconds=time.monotonic() - started)


class Login:
    """A credential as the SDK's clients take one, around one of azure-identity."""

    def __init__(
        self,
        make: Callable[[Answered], Any],
        *,
        place: str,
        host: str,
        resource: str,
        tenant: str,
        timeout: float,
        managed: bool = False,
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``make``: makes the credential of azure-identity; it notes what is answered.

        ``host``: the vault's. ``resource``: the only one that tokens are asked for; without it, it
        must be a domain that the host is in.
        ``prepare`` runs before a token is asked for. ``timeout``: seconds for all of that.
        """
        self._answered = Answered()
        self._make = make
        self._inner = make(self._answered)
        self._place = place
        self._host = host
        self._scope = f"{resource.rstrip('/')}/.default" if resource else ""
        self._tenant = tenant if _GUID.fullmatch(tenant) else ""
        self._timeout = timeout
        self._managed = managed
        self._prepare = prepare
        self._token: AccessTokenInfo | None = None
        self._not_before = 0.0  # of the next renewal, by the monotonic clock
        self._refusal: tuple[float, CredentialsRefused] | None = None
        # It ends with the failure, never with a token: asyncio's debug mode prints what tasks
        # end with.
        self._pending: asyncio.Task[ProviderError | None] | None = None

    async def get_token(
        self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, **_: Any
    ) -> AccessToken:
        """The older form of :meth:`get_token_info`."""
        options: TokenRequestOptions = {}
        if claims:
            options["claims"] = claims
        if tenant_id:
            options["tenant_id"] = tenant_id
        token = await self.get_token_info(*scopes, options=options)
        return AccessToken(token.token, token.expires_on)

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        """The token. Raises ProviderError with what is wrong with the credentials."""
        given = options or {}
        self._refuse_foreign(scopes, given.get("tenant_id") or "")
        claims = given.get("claims")
        if self._token is None or claims or not self._is_fresh(self._token):
            self._refuse_again()
            if self._pending is None:
                self._pending = asyncio.create_task(self._renew(scopes, claims), name="azure login")
                self._pending.add_done_callback(self._ended)
            # A reader that is cancelled must not take the login from the others.
            problem = await asyncio.shield(self._pending)
            if problem is not None:
                # A copy: whoever raises one writes a traceback into it.
                raise copy.copy(problem)
        if self._token is None:
            raise refused(self._place, "the login was given up meanwhile; it is tried again")
        return self._token

    async def forget(self) -> None:
        """Forgets the token, since the vault refused it: the next reader logs in anew."""
        self._token = None
        self._refusal = None
        self._not_before = 0.0
        inner, self._inner = self._inner, self._make(self._answered)
        await inner.close()

    async def close(self) -> None:
        """Ends a login that is under way."""
        if self._pending is not None:
            self._pending.cancel()
        await self._inner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """The SDK's clients do not own it."""

    def _refuse_foreign(self, scopes: tuple[str, ...], tenant: str) -> None:
        if not all(map(self._is_ours, scopes)):
            raise CredentialsRefused(
                f"{self._place} asks for a token of another resource than itself, so none is "
                "sent: correct vaultUrl, or customCloudConfig.keyVaultEndpoint."
            )
        if self._tenant and _GUID.fullmatch(tenant) and tenant.lower() != self._tenant.lower():
            raise refused(
                self._place, "the vault belongs to another tenant than tenantId: correct tenantId"
            )

    def _is_ours(self, scope: str) -> bool:
        """Whether a scope is of what the store says, or of what the vault's name is a part of."""
        if self._scope:
            return scope == self._scope
        domain = urlsplit(scope).netloc.lower()
        return bool(domain) and self._host.lower().endswith(f".{domain}")

    def _refuse_again(self) -> None:
        """Raises what Entra ID has just refused, so that a crowd does not ask one by one."""
        if self._refusal is not None and time.monotonic() < self._refusal[0]:
            raise copy.copy(self._refusal[1])

    def _is_fresh(self, token: AccessTokenInfo) -> bool:
        now = time.time()
        if token.expires_on - now > MARGIN and not (token.refresh_on and token.refresh_on <= now):
            return True
        return token.expires_on > now and time.monotonic() < self._not_before

    async def _renew(self, scopes: tuple[str, ...], claims: str | None) -> ProviderError | None:
        """Returns failures: a raised one would keep the frames of the SDK alive."""
        problem: ProviderError
        try:
            async with asyncio.timeout(self._timeout):
                if self._prepare is not None:
                    await self._prepare()
                options: TokenRequestOptions = {"enable_cae": not self._managed}
                if claims:
                    options["claims"] = claims
                self._token = await self._inner.get_token_info(*scopes, options=options)
        except TimeoutError:
            problem = timed_out(f"The login for {self._place}")
        except SyncretError as error:  # of what was to be prepared
            problem = _unprepared(error)
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            problem = login_failure(error, self._place, self._answered, managed=self._managed)
        else:
            # The SDK gives the old token if its renewal failed.
            self._not_before = time.monotonic() + AGAIN
            return None
        if self._token is not None and not claims and self._token.expires_on > time.time():
            self._not_before = time.monotonic() + AGAIN
            return None
        if isinstance(problem, CredentialsRefused):
            self._refusal = time.monotonic() + REFUSED, problem
        return problem

    def _ended(self, _: asyncio.Task[ProviderError | None]) -> None:
        self._pending = None


def _unprepared(error: SyncretError) -> ProviderError:
    """Why there is no token of the ServiceAccount, as a failure of the whole store."""
    if isinstance(error, KubeUnavailable | KubeThrottled):
        return ProviderUnavailable(error.message)
    if isinstance(error, ProviderError) and not isinstance(error, AccessDenied):
        error.__context__ = None
        return error.with_traceback(None)
    return CredentialsRefused(error.message)


def _word(status: int) -> str:
    if status < 300:
        return "ok"
    if status == 429:
        return "throttled"
    return "denied" if status < 500 else "error"
