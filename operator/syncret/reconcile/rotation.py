"""How old what is in the store is, and when it expires: the conditions that say so. Pure.

All of it follows from the status and the clock: the times at which the versions were made, at which
the store takes them for expired, and at which certificates cease to be valid, stand there since the
last change. So the conditions move at the right time without a look at the store, and also when
the operator did not run at that time.

RotationOverdue is there with ``spec.rotation`` only; Expiring wherever something is known to
expire. What the store does not tell is said to be unknown, and is no alarm.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from syncret.api.externalsecret import Condition, ExternalSecret, ExternalSecretStatus, Source
from syncret.api.keys import GENERATORS
from syncret.api.rotation import DAY
from syncret.clock import parse_rfc3339, rfc3339
from syncret.reconcile.status import condition_of

#: Seconds before something expires at which it is said to.
NOTICE: Final = 30 * DAY

#: Of what lives shorter than three times as long, the last third: it is renewed by then.
_NOTICE_PART: Final = 1 / 3

#: What is told of something that a generator made.
_MADE_ANEW: Final = (
    "another one is made as soon as its generator can do it, see the condition Ready"
)

OVERDUE: Final = "RotationOverdue"
EXPIRING: Final = "Expiring"


@dataclass(frozen=True, slots=True)
class Moments:
    """Times of an ExternalSecret, in wall seconds; None: not known, or not asked for.

    ``made``: when the oldest of what it reads was made, ``due``: when that is to be rotated.
    ``certificate`` and ``expires``: when the first certificate, and the first value by what the
    store says, expires. ``overdue`` and ``expiring``: what the conditions say.
    """

    made: float | None = None
    due: float | None = None
    certificate: float | None = None
    expires: float | None = None
    overdue: bool | None = None
    expiring: bool | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """The status with its conditions, and when the clock changes them next (infinite: never)."""

    status: ExternalSecretStatus
    moments: Moments
    changes: float


@dataclass(frozen=True, slots=True)
class _Expiry:
    """Something that expires; ``begins``: 0 if not known. ``what`` begins a sentence."""

    what: str
    begins: float
    ends: float
    remedy: str = "renew it in the store"

    @property
    def noticed(self) -> float:
        """When it is said to expire soon."""
        life = self.ends - self.begins if 0 < self.begins < self.ends else inf
        return self.ends - min(NOTICE, life * _NOTICE_PART)


def judge(external_secret: ExternalSecret, status: ExternalSecretStatus, *, now: float) -> Judged:
    """What the conditions say at a time. A status of nothing synced has none of them."""
    if external_secret.problem or status.synced_generation is None:
        return Judged(status, Moments(), inf)
    sources = _latest(status.sources)
    times = [time for one in sources if (time := parse_rfc3339(one.created))]
    rotation = external_secret.rotation
    made = min(times, default=None) if rotation is not None else None
    due = made + rotation.max_age if rotation is not None and made is not None else None
    expiries = _expiries(status, sources)
    overdue = _overdue(external_secret, status, sources, due=due, now=now)
    expiring = _expiring(external_secret, status, expiries, now=now)
    moments = Moments(
        made=made,
        due=due,
        certificate=min((one.ends for one in expiries[0]), default=None),
        expires=min((one.ends for one in expiries[1]), default=None),
        overdue=None if overdue is None or overdue.status == "Unknown" else _is_true(overdue),
        expiring=None if expiring is None else _is_true(expiring),
    )
    edges = [due] if due is not None else []
    edges += [edge for group in expiries for one in group for edge in (one.noticed, one.ends)]
    changes = min((edge for edge in edges if edge > now), default=inf)
    if (overdue, expiring) != (status.rotation_overdue, status.expiring):
        status = replace(status, rotation_overdue=overdue, expiring=expiring)
    return Judged(status, moments, changes)


def _latest(sources: Iterable[Source]) -> list[Source]:
    """Of each remote secret the version that was made last.

    The one before, which is read beside it for a dual read, is older and expires earlier. What has
    neither version nor time are its tags: they say when it expires, where the version does not.
    """
    latest: dict[tuple[str, str], Source] = {}
    tags: dict[tuple[str, str], Source] = {}
    for one in sources:
        place = one.store, one.key
        if not (one.version or one.created):
            tags[place] = one
        elif place not in latest or parse_rfc3339(latest[place].created) < parse_rfc3339(
            one.created
        ):
            latest[place] = one
    for place, one in tags.items():
        known = latest.setdefault(place, one)
        if not known.expires:
            latest[place] = replace(known, expires=one.expires)
    return list(latest.values())


def _overdue(
    external_secret: ExternalSecret,
    status: ExternalSecretStatus,
    sources: list[Source],
    *,
    due: float | None,
    now: float,
) -> Condition | None:
    rotation = external_secret.rotation
    if rotation is None:
        return None
    unknown = sum(not parse_rfc3339(one.created) for one in sources)
    if due is None:
        message = (
            f"It is to be rotated {rotation}, but the store does not tell when what is read was "
            "made, so nobody is told when it is too old."
        )
        said = ("Unknown", "AgeUnknown", message)
    else:
        oldest = min(
            (one for one in sources if one.created), key=lambda one: parse_rfc3339(one.created)
        )
        more = f" When {unknown} more of what is read was made is not known." if unknown else ""
        if now >= due:
            message = (
                f'"{oldest.key}" was made at {oldest.created} and is to be rotated {rotation}: '
                f"{_remedy(oldest)}.{more}"
            )
            said = ("True", "Overdue", message)
        else:
            message = f'"{oldest.key}" is to be rotated {rotation}, next by {rfc3339(due)}.{more}'
            said = ("False", "InTime", message)
    return _condition(external_secret, OVERDUE, status.rotation_overdue, said, now)


def _remedy(source: Source) -> str:
    """What helps against something too old."""
    if is_generated(source):
        return _MADE_ANEW
    return "rotate it in the store"


def is_generated(source: Source) -> bool:
    """Whether a generator made it."""
    return source.store.partition("/")[0] in GENERATORS


def _expiries(
    status: ExternalSecretStatus, sources: list[Source]
) -> tuple[list[_Expiry], list[_Expiry]]:
    """Certificates, and what the store says."""
    certificates = [
        _Expiry(
            f'The certificate under "{one.key}"',
            parse_rfc3339(one.not_before),
            parse_rfc3339(one.not_after),
        )
        for one in status.certificates
    ]
    stored = [
        _Expiry(
            f'"{one.key}", as the store says,',
            parse_rfc3339(one.created),
            parse_rfc3339(one.expires),
            _MADE_ANEW if is_generated(one) else "renew it in the store",
        )
        for one in sources
        if parse_rfc3339(one.expires)
    ]
    return certificates, stored


def _expiring(
    external_secret: ExternalSecret,
    status: ExternalSecretStatus,
    expiries: tuple[list[_Expiry], list[_Expiry]],
    *,
    now: float,
) -> Condition | None:
    known = sorted((one for group in expiries for one in group), key=lambda one: one.ends)
    if not known:
        return None
    expired = [one for one in known if one.ends <= now]
    soon = [one for one in known if one.noticed <= now < one.ends]
    if expired:
        said = ("True", "Expired", f"{_told(expired, 'expired')}: {expired[0].remedy}.")
    elif soon:
        said = ("True", "ExpiresSoon", f"{_told(soon, 'expires')}: {soon[0].remedy}.")
    else:
        first = min(known, key=lambda one: one.noticed)
        message = (
            f"{first.what} expires at {rfc3339(first.ends)}; from {rfc3339(first.noticed)} on, "
            "this condition is True."
        )
        said = ("False", "InTime", message)
    return _condition(external_secret, EXPIRING, status.expiring, said, now)


def _told(several: list[_Expiry], verb: str) -> str:
    first = several[0]
    more = f" ({len(several) - 1} more as well)" if len(several) > 1 else ""
    return f"{first.what} {verb} at {rfc3339(first.ends)}{more}"


def _condition(
    external_secret: ExternalSecret,
    kind: str,
    old: Condition | None,
    said: tuple[str, str, str],
    now: float,
) -> Condition:
    return condition_of(
        kind, old, said=said, generation=external_secret.generation, now=rfc3339(now)
    )


def _is_true(condition: Condition) -> bool:
    return condition.status == "True"
