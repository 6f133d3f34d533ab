"""What the status of an ExternalSecret says of its sources and of its refreshes. Pure."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from math import inf
from typing import Final

from syncret.api.externalsecret import Certificate, ExternalSecret, ExternalSecretStatus, Source
from syncret.api.secret import ManagedSecret, publish_data
from syncret.clock import rfc3339
from syncret.constants import MAX_SOURCES
from syncret.digest import Digester
from syncret.errors import SyncretError
from syncret.providers.base import Outcome, Ref, SecretValue, Unchanged
from syncret.reconcile.assemble import Missing
from syncret.reconcile.secretio import Change
from syncret.reconcile.status import ready_condition
from syncret.reconcile.telling import gone, in_sync
from syncret.reconcile.wanted import Fetched, place_of

#: Tags that say when a value expires, as a date or a time in RFC 3339; "_" counts as "-", and
#: capitals as small letters.
_EXPIRY_TAGS: Final = frozenset({"expires", "expires-on", "expiry", "syncret-expires"})

#: A date before it is a mistake, or stands for none.
_FIRST_YEAR: Final = 1990

#: The reason of Ready after ``deletionPolicy: Delete`` has removed the Secret.
SECRET_DELETED: Final = "SecretDeleted"  # noqa: S105 - a reason


@dataclass(frozen=True, slots=True)
class Synced:
    """What a successful read and write gave; ``secret``: None if there is to be none.

    ``digests``: of the values that are this ExternalSecret's. ``left_out``: keys whose value before
    a rotation was not kept, for want of room.
    """

    secret: ManagedSecret | None
    digests: Mapping[str, bytes]
    change: Change
    sources: tuple[Source, ...]
    missing: tuple[Missing, ...]
    certificates: tuple[Certificate, ...] = ()
    left_out: tuple[str, ...] = ()
    template_input: str = ""
    template_from: str = ""


def succeeded(
    external_secret: ExternalSecret,
    old: ExternalSecretStatus,
    synced: Synced,
    *,
    digester: Digester,
    now: str,
) -> ExternalSecretStatus:
    """What the status says after a sync."""
    missing = tuple(missing.entry for missing in synced.missing)
    namespace, target = external_secret.key.namespace, external_secret.target
    written = synced.secret is not None
    data_hash = publish_data(digester, namespace, target, synced.digests) if written else ""
    # Changed by this write, or by one whose status was not written.
    changed = synced.change is not Change.NONE or (
        data_hash != old.data_hash and (not old.data_hash or digester.knows(old.data_hash))
    )
    deleted = external_secret.policy.writes and not written
    message = in_sync(external_secret, missing=missing)
    status = replace(
        old,
        ready=ready_condition(
            old.ready,
            error=(SECRET_DELETED, gone(external_secret, missing)) if deleted else None,
            message=message,
            generation=external_secret.generation,
            now=now,
        ),
        synced_generation=external_secret.generation,
        last_change_time=now if changed else old.last_change_time,
        data_hash=data_hash,
        sources=synced.sources,
        certificates=synced.certificates,
        keys=tuple(sorted(synced.digests)) if written else (),
        missing=missing,
        force_sync=external_secret.force_sync or old.force_sync,
        template_input=synced.template_input,
        template_from=synced.template_from,
    )
    if not external_secret.policy.writes:
        return status  # what was written before stays as it is
    before = dict.fromkeys((*old.former_secrets, old.secret_name))
    return replace(
        status,
        secret_name=target if written else "",
        former_secrets=tuple(name for name in before if name and name != target),
    )


def failed(
    external_secret: ExternalSecret, old: ExternalSecretStatus, error: SyncretError, *, now: str
) -> ExternalSecretStatus:
    """What the status says after an attempt that failed: the same, but for the condition."""
    ready = ready_condition(
        old.ready,
        error=(error.reason, error.message),
        message="",
        generation=external_secret.generation,
        now=now,
    )
    return replace(old, ready=ready)


def put_right(
    external_secret: ExternalSecret, old: ExternalSecretStatus, *, now: str
) -> ExternalSecretStatus:
    """What the status says after the Secret was put right without the store."""
    ready = ready_condition(
        old.ready,
        error=None,
        message=in_sync(external_secret, missing=old.missing),
        generation=external_secret.generation,
        now=now,
    )
    return replace(old, ready=ready)


def sources_of(external_secret: ExternalSecret, fetched: Fetched) -> tuple[Source, ...]:
    """Where the data came from, as far as the status has room for it."""

    def rows() -> Iterable[Source]:
        for (store, ref), outcome in fetched.outcomes.items():
            place = place_of(external_secret, store)
            if not isinstance(outcome, SecretValue | Unchanged):
                continue
            yield Source(
                ref.key,
                outcome.version,
                created=rfc3339(outcome.created.timestamp()) if outcome.created else "",
                store=place,
                expires=_expiry(outcome, _tags(ref, outcome)),
            )

    return tuple(islice(rows(), MAX_SOURCES))


def _tags(ref: Ref, value: SecretValue | Unchanged) -> Mapping[str, str]:
    """The tags that came along with a value, or that are the value."""
    if value.tags is None and ref.metadata and isinstance(value, SecretValue):
        with suppress(ValueError, AttributeError, RecursionError):
            tags = json.loads(value.reveal())
            return {str(name): str(text) for name, text in tags.items()}
    return value.tags or {}


def _expiry(value: SecretValue | Unchanged, tags: Mapping[str, str]) -> str:
    """When the store takes a value for expired; else what a tag says that people put there."""
    if value.expires is not None:
        return rfc3339(value.expires.timestamp())
    for name, text in sorted(tags.items()):
        if name.lower().replace("_", "-") in _EXPIRY_TAGS:
            try:
                when = datetime.fromisoformat(text.strip())
            except ValueError:
                continue
            utc = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
            if utc.year >= _FIRST_YEAR:
                return rfc3339(utc.timestamp())
    return ""


def same_versions(
    external_secret: ExternalSecret, status: ExternalSecretStatus, fetched: Fetched
) -> bool:
    """Whether what was read is, by its versions, what the Secret was made from.

    False where something is missing or has no version: then only the values tell. So do they where
    a version was made at another time: the secret was deleted and made again.
    """
    if len(status.sources) != len(fetched.outcomes):
        return False
    read = sources_of(external_secret, fetched)
    # An expiry that was put off is news without another version, where it is told.
    return len(read) == len(status.sources) and all(
        new.version != ""
        and (new.store, new.key, new.version) == (old.store, old.key, old.version)
        and (new.created == old.created or not (new.created and old.created))
        and (new.expires == old.expires or not _tells_expiry(outcome))
        for new, old, outcome in zip(read, status.sources, fetched.outcomes.values(), strict=True)
    )


def _tells_expiry(outcome: Outcome) -> bool:
    """Whether no expiry would mean that there is none."""
    if not isinstance(outcome, SecretValue | Unchanged):
        return False
    return outcome.expires is not None or outcome.tags is not None


def with_times(sources: tuple[Source, ...], *told: tuple[Source, ...]) -> tuple[Source, ...]:
    """The sources, with times of the same versions that were told before or since.

    Some stores tell when a version was made only to who asks for it, and not along with the value.
    """
    times = {
        (one.store, one.key, one.version): one.created
        for earlier in reversed(told)
        for one in earlier
        if one.created
    }
    if not times:
        return sources
    return tuple(
        one
        if one.created
        else replace(one, created=times.get((one.store, one.key, one.version), ""))
        for one in sources
    )


def standing(
    external_secret: ExternalSecret, status: ExternalSecretStatus, *, held_until: float | None
) -> ExternalSecretStatus:
    """The status of one that is in order, while nothing is read.

    Its condition tells of a refresh that waits for a sync window, and that CreatedOnce leaves an
    edit without effect.
    """
    ready = status.ready
    outdated = status.synced_generation != external_secret.generation
    if ready is None or ready.status != "True":
        return status
    if not external_secret.refresh.windows and not outdated and not status.held_until:
        return status
    told = replace(
        ready,
        message=in_sync(
            external_secret, missing=status.missing, held_until=held_until, outdated=outdated
        ),
        observed_generation=external_secret.generation,
    )
    until = rfc3339(held_until) if held_until is not None and held_until < inf else ""
    new = replace(status, ready=told, held_until=until)
    return status if new == status else new
