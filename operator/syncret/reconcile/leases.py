"""Leases of what generators made: renewed while somebody may use it, revoked when nobody does.

All of it is written in the annotation of the Secret that keeps the values, so a renewal writes
nothing else. What fails is tried again with growing delays for as long as the lease lives; what
cannot be renewed in time is made anew by the ExternalSecret's next sync (:meth:`Leases.due`).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

from syncret.api.externalsecret import ExternalSecret, ExternalSecretStatus
from syncret.api.generated import (
    GeneratedState,
    HeldLease,
    generator_key,
    generator_name,
)
from syncret.api.keys import ObjectKey
from syncret.api.store import Store
from syncret.cache import Cache
from syncret.clock import Clock, rfc3339
from syncret.errors import StoreNotFound, SyncretError
from syncret.kube.events import EventRecorder, EventType, ObjectRef
from syncret.reconcile import generating
from syncret.reconcile.access import usable_store
from syncret.reconcile.generated import GeneratedClient
from syncret.reconcile.kept import Kept
from syncret.reconcile.stores import StoreClients
from syncret.reconcile.wishes import given, held, max_age, wish_of
from syncret.worker import Backoff, Result

logger = logging.getLogger(__name__)

#: Attempts to revoke what was made for an ExternalSecret that is gone.
_TRIES: Final = 5

#: The part of what is left of a lease after which a failed renewal is tried again, at the latest.
_RETRY_PART: Final = 0.25
_RETRY_FIRST: Final = 1.0

#: What is added to the message of RolledOut begins with it.
_FORMER: Final = " The former credential"

Change = Callable[[GeneratedState], GeneratedState]


class LeaseMetrics(Protocol):
    """What is counted here."""

    def lease_renewal(self, outcome: str) -> None: ...

    def lease_revocation(self, outcome: str) -> None: ...


@dataclass(slots=True)
class _Failing:
    """Rounds that failed in a row, and when the next one is made, by the monotonic clock."""

    failures: int = 0
    retry: float = 0.0


class Leases:
    """Tends the leases of ExternalSecrets."""

    def __init__(
        self,
        *,
        cache: Cache,
        kept: Kept,
        stores: StoreClients,
        events: EventRecorder,
        metrics: LeaseMetrics,
        clock: Clock,
        backoff: Backoff,
    ) -> None:
        self._cache = cache
        self._kept = kept
        self._stores = stores
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._backoff = backoff
        #: By the uid of the ExternalSecret.
        self._failing: dict[str, _Failing] = {}
        #: Whether the credential of an ExternalSecret goes with it, by its uid.
        self._goes: dict[str, bool] = {}

    def due(self, external_secret: ExternalSecret) -> bool:
        """Whether another credential has to be made, as far as is known without asking."""
        for key in external_secret.generators:
            store = self._cache.stores.get(key)
            if store is None or store.foreign or store.problem:
                continue  # whoever reads it is told
            if self._kept.good(wish_of(external_secret, store)) is None:
                return True
        return False

    async def tend(
        self, external_secret: ExternalSecret, status: ExternalSecretStatus, *, settled: bool
    ) -> None:
        """Renews, releases and revokes what it is time for. What fails is told of.

        ``settled``: the Secret holds what is to be in it, and nothing runs with anything else.
        """
        state = self._kept.known(external_secret)
        if state is None:
            return
        policy = external_secret.policy
        self._goes[external_secret.uid] = not (policy.keeps or policy.creation == "Orphan")
        failing = self._failing.get(external_secret.uid) or _Failing()
        tidied = self._tidied(external_secret, status, settled=settled)
        changes, errors = [tidied], list[SyncretError]()
        attempts = failing.retry <= self._clock.monotonic()
        if attempts:
            changes += await self._renewals(external_secret, state, errors)
            changes += await self._revocations(external_secret, tidied(state), errors)

        def change(one: GeneratedState) -> GeneratedState:
            for step in changes:
                one = step(one)
            return one

        try:
            after = await self._kept.change(state, change)
            if after is not None and not external_secret.generators and _is_empty(after):
                await self._kept.remove(after)
                self._goes.pop(external_secret.uid, None)
        except SyncretError as error:
            errors.append(error)
            logger.warning(
                "What is known of leases could not be written: %s",
                error.message,
                extra=_names(external_secret, error),
            )
        if errors:
            failing.failures += 1
            failing.retry = self._clock.monotonic() + self._delay(state, failing.failures)
            self._failing[external_secret.uid] = failing
        elif attempts:
            self._failing.pop(external_secret.uid, None)

    def told(
        self, external_secret: ExternalSecret, status: ExternalSecretStatus
    ) -> ExternalSecretStatus:
        """The status, whose condition RolledOut says when former credentials are revoked."""
        state, rolled_out = self._kept.known(external_secret), status.rolled_out
        if state is None or rolled_out is None or rolled_out.status != "True":
            return status
        message, after = rolled_out.message.partition(_FORMER)[0], external_secret.revoke_after
        times = [one.released for one in state.retired if one.released]
        if after is not None and times:
            message += f"{_FORMER} is revoked at {rfc3339(max(times) + after)}."
        return replace(status, rolled_out=replace(rolled_out, message=message))

    def wait(self, external_secret: ExternalSecret) -> float | None:
        """Seconds until the clock asks for something here; None: it does not."""
        state = self._kept.known(external_secret)
        if state is None:
            return None
        failing = self._failing.get(external_secret.uid)
        wall = self._clock.wall()
        at = generating.next_look(
            state,
            max_age=max_age(external_secret),
            revoke_after=external_secret.revoke_after,
            now=wall,
        )
        if failing is not None and failing.failures:
            at = min(at, wall + max(0.0, failing.retry - self._clock.monotonic()))
        if at == float("inf"):
            return None
        return max(0.0, at - wall)

    async def leave(self, key: ObjectKey) -> Result:
        """Revokes what was made for an ExternalSecret that is gone with its Secrets.

        As far as the generator can still be reached, some times. One that left its Secret behind
        leaves the credential, too.
        """
        there = self._cache.external_secrets.get(key)
        place = (key.namespace, key.name)
        again: float | None = None
        for state in self._cache.lost.by("owner", place):
            uid = state.owner_uid
            if there is not None and there.uid == uid:
                continue  # only the Secret is gone
            failing = self._failing.setdefault(uid, _Failing())
            left = (
                state if self._goes.get(uid, False) else replace(state, credentials={}, retired=())
            )
            for generator, lease in generating.leases(left):
                try:
                    await self._revoke(key.namespace, generator, lease)
                except SyncretError as error:
                    self._metrics.lease_revocation("failed")
                    failing.failures += 1
                    logger.warning(
                        "The lease of an ExternalSecret that is gone was not revoked: %s",
                        error.message,
                        extra={
                            "namespace": key.namespace,
                            "object": key.name,
                            "generator": generator,
                        },
                    )
                    if isinstance(error, StoreNotFound):
                        failing.failures = _TRIES  # it went as well
                    break
                self._metrics.lease_revocation("revoked")
                left = generating.without_lease(left, lease_id=lease.id)
                self._cache.lost.put(uid, left)
            if not generating.leases(left) or failing.failures >= _TRIES:
                self._cache.lost.drop(uid)
                self._failing.pop(uid, None)
                self._goes.pop(uid, None)
                continue
            delay = self._backoff.delay(failing.failures)
            again = delay if again is None else min(again, delay)
        return Result(requeue_after=again)

    def has_left(self, key: ObjectKey) -> bool:
        """Whether there is something to leave under that name, perhaps."""
        return bool(len(self._cache.lost)) and bool(
            self._cache.lost.count("owner", (key.namespace, key.name))
        )

    def _tidied(
        self, external_secret: ExternalSecret, status: ExternalSecretStatus, *, settled: bool
    ) -> Change:
        """Releases what nobody needs, and forgets what is over."""
        now = self._kept.now()
        wanted = {generator_name(one) for one in external_secret.generators}
        versions = {source.store: source.version for source in status.sources}

        def tidied(state: GeneratedState) -> GeneratedState:
            if settled:
                used = generating.without(state, wanted, now=now)
                if generating.is_in_use(used, versions):
                    state = generating.released(used, now=now)
            return generating.cleared(state, revoke_after=external_secret.revoke_after, now=now)

        return tidied

    async def _renewals(
        self, external_secret: ExternalSecret, state: GeneratedState, errors: list[SyncretError]
    ) -> list[Change]:
        changes: list[Change] = []
        now = self._kept.now()
        for generator, lease in generating.to_renew(state, now=now):
            try:
                renewed = await self._renew(external_secret.key.namespace, generator, lease)
            except SyncretError as error:
                errors.append(error)
                self._metrics.lease_renewal("failed")
                self._told_failure(
                    external_secret,
                    "LeaseNotRenewed",
                    f"The lease of a credential of {generator} was not renewed, and ends at "
                    f"{rfc3339(lease.ends)}: {error.message}",
                    error,
                )
                continue
            self._metrics.lease_renewal("renewed" if renewed.seconds else "lost")
            changes.append(partial(generating.with_lease, lease_id=lease.id, renewed=renewed))
        return changes

    async def _revocations(
        self, external_secret: ExternalSecret, state: GeneratedState, errors: list[SyncretError]
    ) -> list[Change]:
        changes: list[Change] = []
        after, now = external_secret.revoke_after, self._kept.now()
        for one in generating.to_revoke(state, revoke_after=after, now=now):
            try:
                await self._revoke(external_secret.key.namespace, one.generator, one.lease)
            except SyncretError as error:
                errors.append(error)
                self._metrics.lease_revocation("failed")
                self._told_failure(
                    external_secret,
                    "NotRevoked",
                    f"The former credential of {one.generator} was not revoked, and ends by "
                    f"itself at {rfc3339(one.lease.ends)}: {error.message}",
                    error,
                )
                continue
            self._metrics.lease_revocation("revoked")
            self._event(
                external_secret,
                "Normal",
                "Revoked",
                f"The former credential of {one.generator} was revoked: nothing uses it any more.",
            )
            changes.append(partial(generating.without_lease, lease_id=one.lease.id))
        return changes

    async def _renew(self, namespace: str, generator: str, lease: HeldLease) -> HeldLease:
        """The lease as it is afterwards; with no seconds if it is not there any more."""

        async def call(client: object) -> HeldLease:
            assert isinstance(client, GeneratedClient)  # noqa: S101 - the store is a generator
            renewed = await client.generator.renew(given(lease))
            now = self._kept.now()
            if renewed is None:
                return replace(lease, seconds=0.0, renewed=now)
            return held(renewed, now=now, full=lease.full)

        store = self._store(namespace, generator)
        async with self._stores.use(store, namespace=namespace) as reads:
            return await reads.through(call)

    async def _revoke(self, namespace: str, generator: str, lease: HeldLease) -> None:
        async def call(client: object) -> None:
            assert isinstance(client, GeneratedClient)  # noqa: S101 - the store is a generator
            await client.generator.revoke(given(lease))

        store = self._store(namespace, generator, revokes=True)
        async with self._stores.use(store, namespace=namespace) as reads:
            await reads.through(call)

    def _store(self, namespace: str, generator: str, *, revokes: bool = False) -> Store:
        """The generator of a lease. To revoke, it need not admit the namespace any more."""
        key = generator_key(generator, namespace)
        store = self._cache.stores.get(key) if key is not None else None
        if key is None or store is None:
            raise StoreNotFound(f"{generator} does not exist any more.")
        if revokes and not store.foreign and not store.problem:
            return store
        return usable_store(self._cache.stores, key, self._cache.namespace(namespace))

    def _delay(self, state: GeneratedState, failures: int) -> float:
        """Seconds until the next attempt: the sooner, the less is left of the leases."""
        now = self._clock.wall()
        left = [lease.ends - now for _, lease in generating.leases(state) if lease.ends > now]
        longest = max(_RETRY_FIRST, min(left, default=0.0) * _RETRY_PART)
        return min(self._backoff.delay(failures), longest)

    def _told_failure(
        self, external_secret: ExternalSecret, reason: str, message: str, error: SyncretError
    ) -> None:
        logger.warning("%s", message, extra=_names(external_secret, error))
        self._event(external_secret, "Warning", reason, message)

    def _event(
        self, external_secret: ExternalSecret, kind: EventType, reason: str, message: str
    ) -> None:
        self._events.emit(
            ObjectRef.of(external_secret.key, external_secret.uid),
            type=kind,
            reason=reason,
            message=message,
            action="Rotate",
        )


def count_leases(cache: Cache) -> dict[str, int]:
    """The leases of all that is kept, by state. Safe in any thread."""
    states = list(cache.generated)
    retired = sum(len(state.retired) for state in states)
    return {
        "active": sum(len(generating.leases(state)) for state in states) - retired,
        "retired": retired,
    }


def _is_empty(state: GeneratedState) -> bool:
    return not state.credentials and not state.retired


def _names(external_secret: ExternalSecret, error: SyncretError) -> dict[str, str]:
    key = external_secret.key
    return {
        "kind": key.kind,
        "namespace": key.namespace,
        "object": key.name,
        "reason": error.reason,
    }
