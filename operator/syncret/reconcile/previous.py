"""Which values from before a rotation a Secret keeps, under which keys and until when. Pure.

A value is kept when the store tells of another version of what the Secret was made from: what only
an edit of the spec or of a template changed is no rotation, and neither is what somebody changed in
the Secret by hand. Each key has one value before, the last; it goes after ``keepFor``, and at once
with its key, with ``spec.target.previous``, and when somebody changed it, because it cannot be read
from the store again.

Kept values are nothing that was synced: digests of the data, checksums of rollouts and the keys in
the status leave them out. So that one comes or goes restarts nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Final

from syncret.api.externalsecret import ExternalSecret, ExternalSecretStatus, Source
from syncret.api.previous import (
    MAX_PREVIOUS,
    NO_PREVIOUS,
    Previous,
    PreviousValue,
    previous_digest,
    render_previous,
)
from syncret.api.secret import ManagedSecret, publish_data
from syncret.constants import MAX_SECRET_KEY_LENGTH, MAX_SOURCES
from syncret.digest import Digester
from syncret.errors import DuplicateKey, InvalidKey

#: Seconds by which the clock of the process that wrote a time may have been ahead of ours.
_SKEW: Final = 300.0


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a write needs to know to keep values. ``status``: of before; ``rotated``: see below."""

    status: ExternalSecretStatus
    rotated: bool
    now: float


@dataclass(frozen=True, slots=True)
class Kept:
    """What becomes of the values before, with a write.

    ``take``: the keys that get one, and the key that has it until now. ``drop``: keys that go.
    ``left_out``: keys whose value before is not kept, because there is no room for it.
    """

    after: Previous = NO_PREVIOUS
    take: Mapping[str, str] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()


def rotated(
    external_secret: ExternalSecret,
    status: ExternalSecretStatus,
    sources: Collection[Source],
    *,
    template_from: str,
) -> bool:
    """Whether the store has another version of something than the Secret was made from.

    Where it tells no versions: whether nothing else can have changed the data.
    """
    if status.synced_generation is None:
        return False
    unedited = (
        status.synced_generation == external_secret.generation
        and status.template_from == template_from
    )
    before, now = _versions(status.sources), _versions(sources)
    if len(status.sources) >= MAX_SOURCES:
        return unedited  # of the others the status has no room to tell
    for place in before.keys() & now.keys():
        came, went = now[place] - before[place], before[place] - now[place]
        if unedited and (came or "" in now[place]):
            return True
        # An edit may add or remove a version that is read; only a rotation replaces one.
        if came and went and "" not in came | went:
            return True
    return False


def _versions(sources: Iterable[Source]) -> dict[tuple[str, str], set[str]]:
    """The versions that are read of each remote secret; "" for one that the store does not tell."""
    versions: dict[tuple[str, str], set[str]] = {}
    for one in sources:
        versions.setdefault((one.store, one.key), set()).add(one.version)
    return versions


def refuse_collisions(external_secret: ExternalSecret, keys: Collection[str]) -> None:
    """Raises DuplicateKey or InvalidKey if values before would have the name of another key.

    At every sync, not only at the first rotation: that is no time for a surprise.
    """
    policy = external_secret.policy.previous
    if policy is None:
        return
    for key in sorted(keys):
        name = f"{key}{policy.suffix}"
        if name in keys:
            raise DuplicateKey(
                f'spec.target.previous keeps the value before of "{key}" under "{name}", which is '
                "another key of the Secret: choose another suffix, or rename the key."
            )
        if len(name) > MAX_SECRET_KEY_LENGTH:
            raise InvalidKey(
                f'spec.target.previous keeps the value before of "{key[:40]}…" under a key of '
                f"{len(name)} characters; the key of a Secret has at most {MAX_SECRET_KEY_LENGTH}: "
                "choose a shorter suffix, or shorten the key."
            )


def plan_previous(
    external_secret: ExternalSecret,
    secret: ManagedSecret,
    digests: Mapping[str, bytes],
    keeping: Keeping,
    *,
    digester: Digester,
) -> Kept:
    """What becomes of the values before when the Secret gets the data with these digests."""
    owner = external_secret.key.name
    policy = external_secret.policy.previous
    old = _outdated(external_secret, secret, now=keeping.now, keys=digests)
    if policy is None:
        return Kept(secret.previous.without(old), {}, old - digests.keys())
    values = dict(secret.previous.without(old).values)
    take: dict[str, str] = {}
    left_out = []
    if keeping.rotated:
        for key in sorted(_synced(external_secret, secret, keeping.status, digester)):
            name, held = f"{key}{policy.suffix}", secret.digests[key]
            if digests.get(key, held) == held:
                continue
            if _is_others(external_secret, secret, name):
                left_out.append(key)
                continue
            said = previous_digest(digester, secret.namespace, secret.name, key=name, value=held)
            values[name] = PreviousValue(owner, ceil(keeping.now), said, held, intact=True)
            take[name] = key
    bases = dict(secret.previous.bases)
    bases[owner] = publish_data(digester, secret.namespace, secret.name, digests)
    after = Previous(values, bases).without(frozenset())
    kept = Kept(after, take, old - take.keys() - digests.keys(), tuple(left_out))
    return kept if _has_room(after, secret) else without_taken(kept)


def without_taken(kept: Kept) -> Kept:
    """The same, but that nothing new is kept, because there is no room for it."""
    names = frozenset(kept.take)
    return Kept(
        kept.after.without(names),
        {},
        kept.drop | names,
        (*kept.left_out, *sorted(kept.take.values())),
    )


def outdated(
    external_secret: ExternalSecret, secret: ManagedSecret, *, now: float
) -> frozenset[str]:
    """The keys of values before that have to go by now, while the data stay as they are."""
    return _outdated(external_secret, secret, now=now, keys=secret.digests)


def next_drop(
    external_secret: ExternalSecret, secret: ManagedSecret | None, *, now: float
) -> float:
    """When the next value before has to go, in wall seconds; infinite if none will have to."""
    policy = external_secret.policy.previous
    if secret is None or policy is None or not secret.previous.values:
        return inf
    ends = (
        secret.previous.values[key].since + policy.keep_for
        for key in secret.previous.of(external_secret.key.name)
    )
    return min((end for end in ends if end > now), default=inf)


def _outdated(
    external_secret: ExternalSecret,
    secret: ManagedSecret,
    *,
    now: float,
    keys: Collection[str],
) -> frozenset[str]:
    """``keys``: those that the Secret has, or is to have, beside the values before."""
    policy, owner = external_secret.policy.previous, external_secret.key.name
    gone = set()
    for name, value in secret.previous.values.items():
        if value.owner != owner:
            # In a Secret of one ExternalSecret there is no other; in a shared one, who has gone
            # has no claim any more.
            if not external_secret.policy.shared or value.owner not in secret.claims:
                gone.add(name)
            continue
        stays = (
            policy is not None
            and value.intact
            and name.endswith(policy.suffix)
            and name.removesuffix(policy.suffix) in keys
            and name not in keys
            and value.since <= now + _SKEW
            and now < value.since + policy.keep_for
        )
        if not stays:
            gone.add(name)
    return frozenset(gone)


def _synced(
    external_secret: ExternalSecret,
    secret: ManagedSecret,
    status: ExternalSecretStatus,
    digester: Digester,
) -> Collection[str]:
    """The keys whose values are what was synced, as the status or our annotation on it says.

    None of them if one is not: which, is not known.
    """
    owner = external_secret.key.name
    digests = secret.digests
    if external_secret.policy.shared:
        claim = secret.claims.get(owner)
        digests = {key: digests[key] for key in (claim.keys if claim else ()) if key in digests}
    base = secret.previous.bases.get(owner)
    if base == publish_data(digester, secret.namespace, secret.name, digests):
        return digests.keys()
    return status.keys if secret.holds(status.keys, status.data_hash, digester) else ()


def _is_others(external_secret: ExternalSecret, secret: ManagedSecret, name: str) -> bool:
    """Whether a key of a shared Secret is not ours to put a value before under."""
    if not external_secret.policy.shared:
        return False
    value = secret.previous.values.get(name)
    if value is not None:
        return value.owner != external_secret.key.name
    return name in secret.digests


def _has_room(after: Previous, secret: ManagedSecret) -> bool:
    text = render_previous(after, namespace=secret.namespace, secret=secret.name)
    return text is None or len(text) <= MAX_PREVIOUS
