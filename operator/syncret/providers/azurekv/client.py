"""An open key vault: reads, searches, the check.

The SDK's asyncio clients are used: calls under way are sockets and no threads. Each is made when
the first reference needs it, because those for keys and certificates cost ten and three MiB.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, TypeVar

from syncret.errors import AccessDenied, ProviderError, ProviderRejected
from syncret.providers.azurekv import objects
from syncret.providers.azurekv.errors import (
    GET,
    LIST,
    STORE_WIDE,
    BrokenOff,
    Call,
    CredentialsRefused,
    TokenRefused,
    Unusable,
    check_denied,
    disabled,
    failure,
    not_understood,
    timed_out,
)
from syncret.providers.azurekv.objects import Address, Kind
from syncret.providers.azurekv.session import Session
from syncret.providers.azurekv.timing import Timing
from syncret.providers.base import (
    NOTHING_KNOWN,
    CallObserver,
    Found,
    Known,
    Limits,
    NotFound,
    Outcome,
    Query,
    Ref,
    SecretValue,
)
from syncret.providers.fetching import Fetching
from syncret.providers.outcomes import outcome_word

T = TypeVar("T")

#: Azure takes 4,000 reads of secrets in 10 s of a vault; half of that is left to others.
LIMITS: Final = Limits(batch=1, concurrency=16, rate=200.0)

#: What the check looks for, until one of them is not denied.
_CHECKED: Final[tuple[Kind, ...]] = ("secret", "cert", "key")


class KeyVaultClient:
    """An open store; ``session`` has the SDK's clients of its vault.

    What is known of versions is not used: Azure tells no version without a call for each secret,
    and a call that reads one costs the same.
    """

    def __init__(
        self, session: Session, *, place: str, timing: Timing, observe: CallObserver
    ) -> None:
        self.limits = LIMITS
        self._session = session
        self._place = place
        self._timing = timing
        self._observe = observe
        self._slots = asyncio.Semaphore(LIMITS.concurrency)

    async def fetch(
        self, refs: Collection[Ref], *, known: Known = NOTHING_KNOWN
    ) -> Mapping[Ref, Outcome]:
        _ = known
        fetching = Fetching(fatal=CredentialsRefused)
        try:
            async with asyncio.timeout(self._timing.total):
                await self._read_all(fetching, dict.fromkeys(refs))
        except TimeoutError:
            fetching.end(timed_out(self._place))
        return fetching.result(refs)

    async def find(self, query: Query, *, page: str = "") -> Found:
        found: Found | NotFound | ProviderError
        try:
            async with asyncio.timeout(self._timing.total):
                found = await self._call(Call(self._place, LIST), lambda: self._page(query, page))
        except TimeoutError:
            found = timed_out(self._place)
        if isinstance(found, Found):
            return found
        raise found if isinstance(found, ProviderError) else not_understood(self._place)

    async def check(self) -> None:
        problem: ProviderError | None = None
        try:
            async with asyncio.timeout(self._timing.total):
                problem = await self._check()
        except TimeoutError:
            problem = timed_out(self._place)
        if problem is not None:
            raise problem

    async def close(self) -> None:
        await self._session.close()

    async def _check(self) -> ProviderError | None:
        for kind in _CHECKED:
            address = Address(kind, objects.CHECK_NAME)
            outcome = await self._get(address, metadata=False)
            if isinstance(outcome, AccessDenied) and not isinstance(outcome, CredentialsRefused):
                continue
            if isinstance(outcome, ProviderError) and not isinstance(outcome, Unusable):
                return outcome
            return None
        return check_denied(self._place)

    async def _read_all(self, fetching: Fetching, refs: Collection[Ref]) -> None:
        if len(refs) == 1:  # the engine's way: a task of its own for each would cost a tenth more
            for ref in refs:
                await self._read(fetching, ref)
            return
        async with asyncio.TaskGroup() as group:
            for ref in refs:
                group.create_task(self._read(fetching, ref))

    async def _read(self, fetching: Fetching, ref: Ref) -> None:
        try:
            address = objects.address(ref, self._place)
        except ProviderRejected as malformed:
            fetching.add(ref, malformed.with_traceback(None))
            return
        async with self._slots:
            if fetching.ended():
                return
            outcome = await self._get(address, metadata=ref.metadata)
        if isinstance(outcome, STORE_WIDE):
            fetching.end(outcome)
        else:
            fetching.add(ref, outcome)

    async def _get(self, address: Address, *, metadata: bool) -> Outcome:
        call = Call(self._place, GET[address.kind], address)
        return await self._call(call, lambda: self._object(address, metadata=metadata))

    async def _call(
        self, call: Call, ask: Callable[[], Awaitable[T | ProviderError]]
    ) -> T | NotFound | ProviderError:
        """One call; another if its connection broke, or with a new token if that was refused."""
        outcome = await self._told(call, ask)
        for _ in range(1, self._timing.attempts):
            if not isinstance(outcome, BrokenOff):
                break
            outcome = await self._told(call, ask)
        if isinstance(outcome, TokenRefused) and self._session.login is not None:
            await self._session.login.forget()
            outcome = await self._told(call, ask)
        return outcome

    async def _told(
        self, call: Call, ask: Callable[[], Awaitable[T | ProviderError]]
    ) -> T | NotFound | ProviderError:
        started = time.monotonic()
        word = "timeout"  # of the whole, which cancels
        try:
            outcome: T | NotFound | ProviderError
            try:
                outcome = await ask()
            except Exception as error:  # noqa: BLE001 - the edge to the SDK
                outcome = failure(error, call)
            word = outcome_word(outcome)
            return outcome
        finally:
            self._observe(
                operation=call.operation, outcome=word, seconds=time.monotonic() - started
            )

    async def _object(self, address: Address, *, metadata: bool) -> SecretValue | ProviderError:
        client = self._session.client(address.kind)
        version = address.version or None
        value: SecretValue | None
        found: Any
        match address.kind:
            case "secret":
                found = await client.get_secret(address.name, version)
                value = objects.secret_value(found)
            case "key":
                found = await client.get_key(address.name, version)
                value = objects.key_value(found)
            case "cert":
                found = await (
                    client.get_certificate_version(address.name, version)
                    if version
                    else client.get_certificate(address.name)
                )
                value = objects.certificate_value(found)
        if value is None:
            return not_understood(self._place)
        if found.properties.enabled is False:  # keys and certificates are given all the same
            return disabled(Call(self._place, GET[address.kind], address))
        if metadata:
            data = objects.tags_json(found.properties)
            return SecretValue(data, expires=value.expires, tags=value.tags)
        return value

    async def _page(self, query: Query, page: str) -> Found | ProviderError:
        """One page of the list, without what is disabled: it could not be read."""
        client = self._session.client("secret")
        pages = client.list_properties_of_secrets(max_page_size=objects.PAGE).by_page(page or None)
        names = [
            str(item.name)
            async for item in await anext(pages)
            if item.enabled and query.matches(str(item.name), objects.tags(item))
        ]
        more = str(pages.continuation_token or "")
        if more and not more.startswith(f"{client.vault_url}/"):
            return not_understood(self._place)  # the next request would leave the vault
        return Found(tuple(names), more)
