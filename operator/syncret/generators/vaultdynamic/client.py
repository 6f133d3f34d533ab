"""Making, renewing and revoking what Vault leases.

A lease lives no longer than the token that made it, so the token comes first: it is renewed before
a lease is made and with each renewal of one, by its accessor where a process before us logged in.
What is told as the seconds of a lease is the shorter life of the two; where nobody lets us look, it
is what was known of the token when the lease was last made or renewed.
"""

import copy
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, TypeGuard, TypeVar
from urllib.parse import quote

from syncret.clock import Clock
from syncret.errors import AccessDenied, ProviderError, ProviderRejected, ProviderUnavailable
from syncret.generators.base import Generated, Lease
from syncret.generators.vaultdynamic.config import PATH, DynamicConfig, in_our_words
from syncret.generators.vaultdynamic.holder import Holder, holder_of
from syncret.generators.vaultdynamic.results import (
    AUTH,
    DATA,
    TOKEN,
    Granted,
    ending,
    granted,
    life_of,
    values_of,
)
from syncret.providers.base import Limits, NotFound
from syncret.providers.calls import THREADS_PER_STORE
from syncret.providers.vault.answers import (
    STORE_WIDE,
    Answer,
    Call,
    denied,
    not_understood,
    not_vault,
    problem,
)
from syncret.providers.vault.asking import Asking, data_of, of_one

GENERATE: Final = "Generate"
RENEW: Final = "RenewLease"
REVOKE: Final = "RevokeLease"
CAPABILITIES: Final = "CapabilitiesSelf"

#: What is done to tokens by their accessors.
_ON_TOKENS: Final = {
    "renew": "RenewAccessor",
    "lookup": "LookupAccessor",
    "revoke": "RevokeAccessor",
}

LIMITS: Final = Limits(batch=1, concurrency=THREADS_PER_STORE, rate=50.0)

#: How Vault says that a lease, or a token, is not there any more or cannot live on.
_GONE: Final = (
    *("lease not found", "lease expired", "lease is expired", "lease is not renewable"),
    *("invalid lease", "invalid accessor", "no valid associated token"),
)

T = TypeVar("T")

#: The name of a call, and the call.
_Asked = tuple[str, Callable[[], Answer | NotFound | ProviderError]]


class VaultDynamicClient:
    """An open generator."""

    def __init__(self, config: DynamicConfig, *, asking: Asking, clock: Clock) -> None:
        self.limits = LIMITS
        self._config = config
        self._asking = asking
        self._tokens = asking.tokens
        self._place = asking.place
        self._clock = clock

    async def generate(self, *, owner: str) -> Generated:  # noqa: ARG002 - Vault takes no tags
        return await self._told(self._generate())

    async def renew(self, lease: Lease) -> Lease | None:
        renewed = await self._told(self._renew(lease))
        return renewed if isinstance(renewed, Lease) else None

    async def revoke(self, lease: Lease) -> None:
        await self._told(self._revoke(lease))

    async def check(self) -> None:
        await self._told(self._checked())

    async def close(self) -> None:
        await self._asking.close()

    async def _told(self, work: Awaitable[T | ProviderError]) -> T:
        try:
            return await self._asking.within(work)
        except ProviderError as error:
            told = copy.copy(error)
            told.message = in_our_words(error.message)
            told.args = (told.message,)
            raise told from None

    # Making

    async def _generate(self) -> Generated | ProviderError:
        missing = await self._tokens.lasting()
        if missing is not None:
            return missing
        answer = await self._asking.asked(GENERATE, self._make)
        if not isinstance(answer, Answer):
            return answer or not_understood(self._place)
        values = values_of(answer.body, self._config.result)
        if values is None:
            return self._empty(answer.body)
        now = self._clock.wall()
        lease = granted(answer.body)
        ends = ending(answer.body)
        return Generated(
            values=values,
            expires=datetime.fromtimestamp(now, UTC) + timedelta(seconds=ends) if ends else None,
            lease=self._lease(lease, answer.number, now) if lease is not None else None,
        )

    def _lease(self, lease: Granted, number: int, now: float) -> Lease:
        accessor, left = self._tokens.life(number)
        holder = holder_of(accessor, first=lease.seconds, left=left, now=now)
        return Lease(lease.id, min(lease.seconds, left), lease.renewable, str(holder))

    def _empty(self, body: Any) -> ProviderRejected:
        other = AUTH if isinstance(body, Mapping) and body.get("auth") else DATA
        hint = f"set {PATH}.resultType to {other}" if other != self._config.result else "correct it"
        return ProviderRejected(
            f'What is at "{self._config.path}" of {self._place} gave no result of the type '
            f"{self._config.result}: {hint}."
        )

    # Renewing

    async def _renew(self, lease: Lease) -> Lease | NotFound | ProviderError:
        missing = await self._tokens.lasting()
        if missing is not None:
            return missing
        holder = Holder.of(lease.holder)
        left = await self._left(holder)
        if not isinstance(left, float):
            return left
        renewed = await self._ask(*self._renewal(lease, holder))
        if not isinstance(renewed, Answer):
            return renewed
        given = granted(renewed.body)
        if given is None:
            return not_understood(self._place)
        now = self._clock.wall()
        holder = holder_of(holder.accessor, first=holder.first, left=left, now=now)
        return Lease(lease.id, min(given.seconds, left), given.renewable, str(holder))

    async def _left(self, holder: Holder) -> float | NotFound | ProviderError:
        """Seconds that the token which made a lease has left, renewed if that is possible."""
        accessor, left = self._tokens.own
        if holder.accessor and holder.accessor == accessor:
            return left
        if not holder.accessor:
            return holder.left(self._clock.wall())
        for what in ("renew", "lookup"):
            answer = await self._ask(*self._on_token(what, holder.accessor))
            if isinstance(answer, NotFound) or _passing(answer):
                return answer
            if isinstance(answer, Answer) and (seconds := life_of(answer.body)) is not None:
                return seconds
        return holder.left(self._clock.wall())

    def _renewal(self, lease: Lease, holder: Holder) -> _Asked:
        if lease.id.startswith(TOKEN):
            accessor = lease.id.removeprefix(TOKEN)
            return self._on_token("renew", accessor, increment=holder.first)
        fields: dict[str, Any] = {"lease_id": lease.id}
        if holder.first:
            fields["increment"] = holder.first
        return RENEW, partial(self._post, RENEW, "sys/leases/renew", fields)

    # Revoking

    async def _revoke(self, lease: Lease) -> bool | ProviderError:
        if lease.id.startswith(TOKEN):
            accessor = lease.id.removeprefix(TOKEN)
            done = await self._ask(*self._on_token("revoke", accessor))
        else:
            # At once: Vault otherwise only promises it.
            fields = {"lease_id": lease.id, "sync": True}
            done = await self._ask(REVOKE, partial(self._post, REVOKE, "sys/leases/revoke", fields))
        return done if isinstance(done, ProviderError) else True

    # The check

    async def _checked(self) -> bool | ProviderError:
        path = self._config.path
        fields = {"paths": [path]}
        asked = partial(self._post, CAPABILITIES, "sys/capabilities-self", fields)
        answer = await self._ask(CAPABILITIES, asked)
        if isinstance(answer, ProviderError) and of_one(answer):
            return True  # a token without the policy "default" may not look at itself, but is one
        if not isinstance(answer, Answer):
            return answer if isinstance(answer, ProviderError) else not_understood(self._place)
        data = data_of(answer.body) or {}
        given = data.get(path, data.get("capabilities"))
        if not isinstance(given, list):
            return not_understood(self._place)
        enough = {"root", "read"} if self._config.method == "GET" else {"root", "update", "create"}
        return True if enough & set(map(str, given)) else denied(self._call())

    # What runs in threads. They return failures instead of raising them: see calls.py.

    def _make(self) -> Answer | ProviderError:
        """Never repeated: if the answer is lost, there may be a credential already."""
        url = f"/v1/{quote(self._config.path)}"
        body = json.loads(self._config.parameters or "{}")
        match self._config.method:
            case "GET":
                made = self._asking.wire.ask(lambda client: client.adapter.get(url), repeat=False)
            case "POST":
                made = self._asking.wire.ask(
                    lambda client: client.adapter.post(url, json=body), repeat=False
                )
            case _:
                made = self._asking.wire.ask(
                    lambda client: client.adapter.put(url, json=body), repeat=False
                )
        if isinstance(made, ProviderError) or made.ok:
            return made
        return self._refused(made)

    def _on_token(self, what: str, accessor: str, *, increment: int = 0) -> _Asked:
        operation = _ON_TOKENS[what]
        fields: dict[str, Any] = {"accessor": accessor}
        if increment:
            fields["increment"] = increment
        path = f"auth/token/{what}-accessor"
        return operation, partial(self._post, operation, path, fields, own=True)

    def _post(
        self, operation: str, path: str, fields: Mapping[str, Any], *, own: bool = False
    ) -> Answer | NotFound | ProviderError:
        answer = self._asking.wire.ask(
            lambda client: client.adapter.post(f"/v1/{path}", json=dict(fields)), own=own
        )
        if isinstance(answer, ProviderError) or answer.ok:
            return answer
        said = answer.errors or ""
        if answer.status in {400, 403, 404} and any(word in said for word in _GONE):
            return NotFound()
        found = problem(answer, Call(self._place, operation, path, "update"))
        if isinstance(found, NotFound):
            return not_vault(self._place)
        if isinstance(found, ProviderUnavailable) and answer.status == 500:
            return ProviderUnavailable(
                f"{operation} on {self._place} failed: Vault does not reach the system that has "
                "the account, or may not change it there. It is tried again; see Vault's log."
            )
        return found

    def _call(self) -> Call:
        capability = "read" if self._config.method == "GET" else "update"
        return Call(self._place, GENERATE, self._config.path, capability)

    def _refused(self, answer: Answer) -> ProviderError:
        call, path = self._call(), f'"{self._config.path}"'
        found = problem(answer, call)
        said = answer.errors
        if said is None or isinstance(found, AccessDenied):
            return found if isinstance(found, ProviderError) else not_vault(self._place)
        if isinstance(found, ProviderUnavailable) and answer.status == 500:
            return ProviderUnavailable(
                f"{call.doing} failed at {path}: Vault does not reach the system that it makes "
                "credentials in, or may not make them there. See Vault's log."
            )
        if answer.status == 404:
            return ProviderRejected(
                f"{call.doing} is not possible: there is nothing at {path}. Correct {PATH}.path "
                f"and {PATH}.provider.namespace."
            )
        if answer.status == 405 or "unsupported operation" in said:
            return ProviderRejected(
                f"{call.doing} is not possible: {path} does not take {self._config.method}. "
                f"Correct {PATH}.method."
            )
        if answer.status == 400:
            return ProviderRejected(
                f"{call.doing} is refused at {path}: there is no such role, or it does not take "
                f"what it is given. Correct {PATH}.path and {PATH}.parameters; see Vault's log."
            )
        return found if isinstance(found, ProviderError) else not_vault(self._place)

    async def _ask(
        self, operation: str, call: Callable[[], Answer | NotFound | ProviderError]
    ) -> Answer | NotFound | ProviderError:
        return await self._asking.asked(operation, call) or not_understood(self._place)


def _passing(outcome: object) -> TypeGuard[ProviderError]:
    """Whether something failed that has nothing to do with what was asked for."""
    return isinstance(outcome, STORE_WIDE) and not of_one(outcome)
