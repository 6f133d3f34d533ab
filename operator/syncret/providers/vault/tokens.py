"""One token for all readers of a store: login, renewal, loss.

A store logs in once, however many read. The token is renewed in the background when two thirds of
its life are over. Where it cannot be (a batch token, one that is not renewable, one whose maximum
life comes near), a new login takes its place before it ends; readers notice nothing. If Vault does
not know the token any more, whoever hears of it first logs in anew, for all.

A token that is given is renewed as well, if Vault says that it can be, and it lets itself. It is
never given back: it is somebody else's. Tokens of our own logins are, when the store is closed,
unless leases were made with them, which would end at that moment (:meth:`Tokens.lasting`).

The timers run by a clock that is passed in; what blocks runs through :class:`Calls`.
"""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from syncret.clock import Clock, TimerHandle
from syncret.errors import ProviderError, ProviderTimeout, ProviderUnavailable, Throttled
from syncret.providers.calls import Calls
from syncret.providers.vault.answers import (
    Answer,
    Call,
    CredentialsRefused,
    TokenRefused,
    not_understood,
    problem,
    seconds_of,
    timed_out,
)
from syncret.providers.vault.login import LOGIN, Lease, Login, lease_of
from syncret.providers.vault.timing import Timing
from syncret.providers.vault.wire import Token, Wire

logger = logging.getLogger("syncret.providers.vault")

RENEW: Final = "RenewSelf"
LOOKUP: Final = "LookupSelf"
REVOKE: Final = "RevokeSelf"

#: The part of a token's life after which it is renewed, less up to a tenth of that by chance, so
#: that a thousand stores that were opened together do not renew together.
_RENEW_AT: Final = 2 / 3
_JITTER: Final = 0.1

#: A renewal that gives less than this part of the first life shows that the maximum comes near.
_ENOUGH: Final = 0.5

#: With less than this part of its life left, a token that can be renewed is, before it makes a
#: lease.
_FRESH: Final = 0.9

#: Seconds between two looks at a token that was given, while Vault does not answer.
_LONGEST_LOOK: Final = 300.0

#: What may go over: the token is kept, and it is tried again.
_PASSING: Final = (Throttled, ProviderTimeout, ProviderUnavailable)


@dataclass(frozen=True, slots=True)
class _Held:
    """The token in use. ``ends`` by the monotonic clock, infinity for none."""

    number: int
    lease: Lease
    first_ttl: float
    ends: float


@dataclass(frozen=True, slots=True)
class Life:
    """What is known of a token: its accessor, "" if it has none or does not say; its end by the
    monotonic clock, infinity for none."""

    accessor: str
    ends: float


class Tokens:
    """The token of one open store."""

    def __init__(
        self,
        login: Login,
        *,
        wire: Wire,
        calls: Calls,
        place: str,
        given: bool,
        timing: Timing,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        """``chance``: a number from 0 up to 1, another each time."""
        self._login = login
        self._wire = wire
        self._calls = calls
        self._place = place
        self._given = given
        self._timing = timing
        self._clock = clock
        self._chance = chance
        self._held: _Held | None = None
        self._logging_in: asyncio.Task[ProviderError | None] | None = None
        self._timer: TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._lives: dict[int, Life] = {}
        self._lasting = asyncio.Lock()
        #: Whether leases were made that live no longer than their token.
        self._has_leases = False
        #: Whether plain words of Vault were seen to mean a policy: see :meth:`replace`.
        self.plain_means_policy = False

    async def ready(self) -> ProviderError | None:
        """Sees to it that there is a token; what keeps it from that."""
        held = self._held
        if self._given:  # whether it has ended is for Vault to say
            return None if held is not None else self._take_given()
        if held is not None and self._clock.monotonic() < held.ends:
            return None
        return await self._log_in()

    async def lasting(self) -> ProviderError | None:
        """As :meth:`ready`, before a lease is made or renewed: it lives no longer than its token.

        So a token that has lost a part of its life is renewed before, or replaced where it nears
        its maximum; and from then on no token is given back.
        """
        missing = await self.ready()
        if missing is not None:
            return missing
        self._has_leases = True
        async with self._lasting:
            if self._given and self._held is not None and self._held.number not in self._lives:
                await self._look()
            held = self._held
            if held is None:
                return None
            can = held.lease.renewable and not held.lease.batch
            if self.life(held.number)[1] < held.first_ttl * (_FRESH if can else _ENOUGH):
                await self._renew(held)
        return None

    def life(self, number: int) -> tuple[str, float]:
        """The accessor of a token that was held, and the seconds that it has left.

        "" and infinity: it has none, or nothing is known of it.
        """
        life = self._lives.get(number, Life("", float("inf")))
        return life.accessor, max(life.ends - self._clock.monotonic(), 0.0)

    @property
    def own(self) -> tuple[str, float]:
        """The same of the token in use."""
        return self.life(self._held.number if self._held is not None else 0)

    async def replace(self, refused: TokenRefused) -> ProviderError | None:
        """Sees to it that there is another token than the one that Vault refused.

        Returns what keeps it from that: the refusal itself where no login can help. The same words
        may mean that a policy denies, from servers that do not tell the two apart. One login shows
        it: :meth:`settle` is told what came of it.
        """
        if self._given or (not refused.sure and self.plain_means_policy):
            return refused
        held = self._held
        if held is not None and held.number != refused.number:
            return None  # somebody was faster
        return await self._log_in()

    def settle(self, outcome: object) -> None:
        """What came of a read with a token that was made because another was refused."""
        if isinstance(outcome, TokenRefused) and not outcome.sure:
            self.plain_means_policy = True

    async def close(self) -> None:
        """Ends what runs, and gives back a token of our own login that has made no leases."""
        self._closed = True
        self._schedule(None)
        tasks = [*self._tasks, *([self._logging_in] if self._logging_in else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        held, self._held = self._held, None
        if held is None or self._given or held.lease.batch or self._has_leases:
            return
        try:
            async with asyncio.timeout(self._timing.close):
                await self._ask(REVOKE, lambda client: client.auth.token.revoke_self())
        except TimeoutError:
            pass  # it ends by itself

    def _take_given(self) -> ProviderError | None:
        try:
            lease = self._login.given()
        except CredentialsRefused as error:
            return error.with_traceback(None)
        self._hold(lease)
        self._look_after(self._timing.look)
        return None

    async def _log_in(self) -> ProviderError | None:
        """Logs in, once for all who want it now; what keeps it from that, a copy for each."""
        if self._logging_in is None:
            self._logging_in = asyncio.create_task(self._one_login(), name="log in to Vault")
        # A reader that is cancelled must not take the login from the others.
        return copy.copy(await asyncio.shield(self._logging_in))

    async def _one_login(self) -> ProviderError | None:
        lease: Lease | ProviderError | None
        try:
            async with asyncio.timeout(self._timing.total):
                call = await self._login.prepare()
                lease = await self._calls.run(LOGIN, call)
        except TimeoutError:
            lease = timed_out(self._place)
        except ProviderError as error:
            lease = error.with_traceback(None)
        finally:
            self._logging_in = None
        if not isinstance(lease, Lease):
            return lease or not_understood(self._place)
        held = self._hold(lease)
        self._schedule(self._due(lease.ttl) if lease.ttl else None, partial(self._renew, held))
        return None

    def _hold(self, lease: Lease, *, instead_of: _Held | None = None) -> _Held:
        now = self._clock.monotonic()
        if instead_of is not None:
            number, first = instead_of.number, instead_of.first_ttl
        else:
            number, first = self._wire.token.number + 1, lease.ttl
        self._held = _Held(
            number=number,
            lease=lease,
            first_ttl=max(first, lease.ttl) if self._given else first,
            ends=now + lease.ttl if lease.ttl else float("inf"),
        )
        if not self._given or instead_of is not None:
            self._live(number, lease, self._held.ends)
        self._wire.token = Token(number, lease.token)
        return self._held

    def _live(self, number: int, lease: Lease, ends: float) -> None:
        now = self._clock.monotonic()
        self._lives = {one: life for one, life in self._lives.items() if life.ends > now}
        self._lives[number] = Life(lease.accessor, ends)

    def _look_after(self, seconds: float) -> None:
        self._schedule(seconds, partial(self._look, seconds))

    async def _look(self, waited: float | None = None) -> None:
        """How long a given token lives, and whether it can be renewed.

        ``waited``: the seconds before it. A Vault that does not answer is asked again after twice
        as long, because a store that names the wrong address does so for ever.
        """
        held = self._held
        answer = await self._ask(LOOKUP, lambda client: client.auth.token.lookup_self())
        if isinstance(answer, Answer) and not isinstance(answer.body, dict):
            answer = not_understood(self._place)
        if held is None or held is not self._held:
            return
        if isinstance(answer, _PASSING):
            again = self._timing.look if waited is None else 2 * waited
            self._look_after(min(again, max(self._timing.look, _LONGEST_LOOK)))
            return
        data = answer.body.get("data") if isinstance(answer, Answer) else None
        if not isinstance(data, dict):
            self._live(held.number, held.lease, float("inf"))
            return  # it may not look at itself
        ttl = seconds_of(data.get("ttl"))
        lease = Lease(
            held.lease.token,
            ttl,
            renewable=bool(data.get("renewable")),
            accessor=str(data.get("accessor") or ""),
        )
        now = self._clock.monotonic()
        self._live(held.number, lease, now + ttl if ttl else float("inf"))
        if not lease.renewable or not ttl:
            return  # it cannot be renewed, or has no end
        # Not its end: what Vault says of a token that was given counts for more than our clock.
        first = seconds_of(data.get("creation_ttl")) or ttl
        self._held = replace(held, lease=lease, first_ttl=first)
        self._schedule(self._due(ttl), partial(self._renew, self._held))

    async def _renew(self, held: _Held) -> None:
        """Renews the token, or logs in anew; what fails for now is tried again while it lasts."""
        if held is not self._held:
            return
        renewed: Lease | ProviderError | None = None
        if self._given or (held.lease.renewable and not held.lease.batch):
            renewed = await self._renewed(held)
            if held is not self._held:
                return
        if isinstance(renewed, Lease) and self._is_enough(renewed, held):
            kept = self._hold(renewed, instead_of=held)
            self._schedule(self._due(renewed.ttl), partial(self._renew, kept))
        elif isinstance(renewed, _PASSING):
            self._try_again(held)
        elif self._given:
            if isinstance(renewed, ProviderError):
                logger.info(
                    "The token for %s cannot be renewed: its policies have to allow "
                    '"update" on auth/token/renew-self. It is used until it ends.',
                    self._place,
                )
        else:
            failed = await self._log_in()
            if failed is not None:
                logger.warning("No new token for %s yet: %s", self._place, failed.message)
                self._try_again(held)

    def _is_enough(self, renewed: Lease, held: _Held) -> bool:
        if self._given:
            return renewed.ttl > self._timing.pause
        return renewed.ttl >= held.first_ttl * _ENOUGH

    def _try_again(self, held: _Held) -> None:
        if held is not self._held:
            return
        left = held.ends - self._clock.monotonic() if held.ends != float("inf") else 60.0
        if left > 0:
            self._schedule(max(self._timing.pause, left / 3), partial(self._renew, held))
        # Otherwise whoever reads next logs in.

    async def _renewed(self, held: _Held) -> Lease | ProviderError:
        answer = await self._ask(RENEW, lambda client: client.auth.token.renew_self())
        if isinstance(answer, ProviderError):
            return answer
        lease = lease_of(answer)
        if lease is None:
            return not_understood(self._place)
        return replace(held.lease, ttl=lease.ttl, renewable=lease.renewable)

    async def _ask(self, operation: str, call: Callable[[Any], Any]) -> Answer | ProviderError:
        """One call about the token itself."""

        def asked() -> Answer | ProviderError:
            answer = self._wire.ask(call, own=True)
            if isinstance(answer, ProviderError) or answer.ok:
                return answer
            found = problem(answer, Call(self._place, operation))
            return found if isinstance(found, ProviderError) else not_understood(self._place)

        try:
            async with asyncio.timeout(self._timing.total):
                answer = await self._calls.run(operation, asked)
        except TimeoutError:
            answer = timed_out(self._place)
        return answer or not_understood(self._place)

    def _due(self, ttl: float) -> float:
        return ttl * _RENEW_AT * (1 - _JITTER * self._chance())

    def _schedule(
        self, seconds: float | None, work: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Does that next, in the background, and nothing that was planned before."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is None or work is None or self._closed:
            return

        def begin() -> None:
            task = asyncio.ensure_future(work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._timer = self._clock.call_at(self._clock.monotonic() + seconds, begin)
