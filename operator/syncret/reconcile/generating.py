"""When a credential is made, renewed, released and revoked. Pure.

Level-based: everything follows from what is kept, from the spec and from the clock; after a restart
the same questions get the same answers. Where many would be due at the same moment they are spread
by a hash of what they are, which a restart does not change.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from enum import Enum
from math import inf
from typing import Final

from syncret.api.generated import Credential, GeneratedState, HeldLease, Retired

#: The part of a lease after which it is renewed, or what cannot be renewed is made anew: up to so
#: much, less a jitter of up to so much.
RENEW_PART: Final = 2 / 3
_RENEW_JITTER: Final = 1 / 15

#: The part of a lease after which renewing is given up and another credential made.
GIVE_UP_PART: Final = 0.9

#: A lease whose renewal gives less than this part of what it had is nearing its end.
SHORT_PART: Final = 0.9

#: The part of an age by which it may be made anew earlier.
_AGE_JITTER: Final = 0.1

#: Seconds for which a new credential is left alone by the clock, however short its life.
SHORTEST_LIFE: Final = 5.0

#: Seconds of a lease that are not worth a renewal.
SHORTEST_LEASE: Final = 2.0


class Why(Enum):
    """Why a credential is made; the values are labels of a metric, and appear in the log."""

    NEW = "new"
    SPEC = "generator_changed"
    EDITED = "edited"
    AGE = "age"
    LEASE = "lease_ends"
    EXPIRY = "expires"
    REQUEST = "requested"


def why_new(
    credential: Credential | None, *, spec: str, max_age: float, now: float, request: str = ""
) -> Why | None:
    """Why a credential has to be made now; None while the one that is kept is good.

    ``spec``: the digest of what the generator is told now. ``max_age``: in seconds, infinite
    without one. ``request``: a wish for a new one, "" without.
    """
    if credential is None:
        return Why.NEW
    if credential.spec != spec:
        return Why.SPEC
    if not credential.intact:
        return Why.EDITED
    if request and credential.request != request:
        return Why.REQUEST
    due = dict(_due(credential, max_age))
    passed = [why for why, at in due.items() if at <= now]
    return passed[0] if passed else None


def next_new(credential: Credential, *, max_age: float) -> float:
    """When the clock asks for another one, in wall seconds; infinite: it does not."""
    return min((at for _, at in _due(credential, max_age)), default=inf)


def _due(credential: Credential, max_age: float) -> Iterable[tuple[Why, float]]:
    """What the clock asks another one for, and when; nothing of it very soon after the making."""
    soonest = credential.made + SHORTEST_LIFE
    if credential.lease is not None:
        yield Why.LEASE, max(soonest, replaced_at(credential.lease))
    if credential.expires:
        life = credential.expires - credential.made
        part = RENEW_PART - _RENEW_JITTER * _fraction(credential.id, "expires")
        yield Why.EXPIRY, max(soonest, credential.made + life * part)
    if max_age < inf:
        part = 1 - _AGE_JITTER * _fraction(credential.id, "age")
        yield Why.AGE, credential.made + max_age * part


def replaced_at(lease: HeldLease) -> float:
    """When the credential of a lease is to be replaced, unless it is renewed before."""
    if not lease.renewable:
        return _soft_end(lease)
    if lease.seconds < SHORT_PART * lease.full:
        return lease.renewed  # it nears the end that it cannot pass, or has ended
    return lease.renewed + GIVE_UP_PART * lease.seconds


def renewed_at(lease: HeldLease) -> float:
    """When a lease is to be renewed; infinite where that is impossible, or not worth a call."""
    if not lease.renewable or lease.seconds < SHORTEST_LEASE:
        return inf
    return _soft_end(lease)


def _soft_end(lease: HeldLease) -> float:
    part = RENEW_PART - _RENEW_JITTER * _fraction(lease.id, f"{lease.renewed:.0f}")
    return lease.renewed + lease.seconds * part


def replaced(
    state: GeneratedState, generator: str, made: Credential, *, now: float
) -> GeneratedState:
    """The state with a new credential of a generator; a lease of the former one is retired."""
    before = state.credentials.get(generator)
    return replace(
        state,
        credentials={**state.credentials, generator: made},
        retired=(*state.retired, *_retired(generator, before, now)),
    )


def without(state: GeneratedState, wanted: Collection[str], *, now: float) -> GeneratedState:
    """The state without what generators made that are not wanted any more."""
    gone = [name for name in state.credentials if name not in wanted]
    if not gone:
        return state
    retired = [one for name in gone for one in _retired(name, state.credentials[name], now)]
    return replace(
        state,
        credentials={name: one for name, one in state.credentials.items() if name in wanted},
        retired=(*state.retired, *retired),
    )


def _retired(generator: str, credential: Credential | None, now: float) -> list[Retired]:
    if credential is None or credential.lease is None or credential.lease.ends <= now:
        return []
    return [Retired(generator, credential.id, credential.lease, now)]


def is_in_use(state: GeneratedState, versions: Mapping[str, str]) -> bool:
    """Whether a Secret was made from the present credentials.

    ``versions``: by generator, what it was made from.
    """
    return all(versions.get(generator) == one.id for generator, one in state.credentials.items())


def released(state: GeneratedState, *, now: float) -> GeneratedState:
    """The state after nobody needs the former credentials any more."""
    if all(one.released for one in state.retired):
        return state
    return replace(
        state,
        retired=tuple(one if one.released else replace(one, released=now) for one in state.retired),
    )


def cleared(state: GeneratedState, *, revoke_after: float | None, now: float) -> GeneratedState:
    """The state without retired leases that have ended, or are left to end by themselves."""
    kept = tuple(
        one
        for one in state.retired
        if one.lease.ends > now and not (one.released and revoke_after is None)
    )
    return state if kept == state.retired else replace(state, retired=kept)


def to_revoke(
    state: GeneratedState, *, revoke_after: float | None, now: float
) -> tuple[Retired, ...]:
    """The retired leases whose time has come."""
    if revoke_after is None:
        return ()
    return tuple(
        one for one in state.retired if one.released and one.released + revoke_after <= now
    )


def to_renew(state: GeneratedState, *, now: float) -> tuple[tuple[str, HeldLease], ...]:
    """The leases that are to be renewed, each with its generator: present ones, and former ones
    that somebody may still use.
    """
    return tuple(
        (generator, lease)
        for generator, lease in _living(state)
        if renewed_at(lease) <= now < lease.ends
    )


def with_lease(state: GeneratedState, *, lease_id: str, renewed: HeldLease) -> GeneratedState:
    """The state with one of its leases as it is after a renewal."""
    credentials = {
        name: replace(one, lease=renewed)
        if one.lease is not None and one.lease.id == lease_id
        else one
        for name, one in state.credentials.items()
    }
    retired = tuple(
        replace(one, lease=renewed) if one.lease.id == lease_id else one for one in state.retired
    )
    return replace(state, credentials=credentials, retired=retired)


def without_lease(state: GeneratedState, *, lease_id: str) -> GeneratedState:
    """The state without what had that lease."""
    retired = tuple(one for one in state.retired if one.lease.id != lease_id)
    credentials = {
        name: one
        for name, one in state.credentials.items()
        if one.lease is None or one.lease.id != lease_id
    }
    return replace(state, credentials=credentials, retired=retired)


def leases(state: GeneratedState) -> tuple[tuple[str, HeldLease], ...]:
    """All of its leases, each with its generator: present ones, then former ones."""
    present = ((name, one.lease) for name, one in state.credentials.items())
    return (
        *((name, lease) for name, lease in present if lease is not None),
        *((one.generator, one.lease) for one in state.retired),
    )


def next_look(
    state: GeneratedState, *, max_age: float, revoke_after: float | None, now: float
) -> float:
    """When the clock asks for something next, in wall seconds; infinite: it never does.

    What should have been done by now does not count: whoever could not do it tries again later.
    """
    times = [next_new(one, max_age=max_age) for one in state.credentials.values()]
    times += [renewed_at(lease) for _, lease in _living(state)]
    for one in state.retired:
        times.append(one.lease.ends)
        if one.released and revoke_after is not None:
            times.append(one.released + revoke_after)
    return min((at for at in times if at > now), default=inf)


def _living(state: GeneratedState) -> Iterable[tuple[str, HeldLease]]:
    for generator, credential in state.credentials.items():
        if credential.lease is not None:
            yield generator, credential.lease
    for one in state.retired:
        if not one.released:
            yield one.generator, one.lease


def _fraction(seed: str, salt: str) -> float:
    """A number in [0, 1) that depends on its arguments only."""
    digest = hashlib.blake2b(f"{seed}/{salt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64
