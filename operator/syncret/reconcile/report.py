"""What the status of an ExternalSecret says of its sources and of its refreshes. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from math import inf

from syncret.api.externalsecret import ExternalSecret, ExternalSecretStatus, Source
from syncret.clock import rfc3339
from syncret.constants import MAX_SOURCES
from syncret.providers.base import SecretValue
from syncret.reconcile.telling import in_sync
from syncret.reconcile.wanted import Fetched


def sources_of(external_secret: ExternalSecret, fetched: Fetched) -> tuple[Source, ...]:
    """Where the data came from, as far as the status has room for it."""
    default = external_secret.stores[0]

    def rows() -> Iterable[Source]:
        for (store, ref), outcome in fetched.outcomes.items():
            if isinstance(outcome, SecretValue):
                created = rfc3339(outcome.created.timestamp()) if outcome.created else ""
                place = "" if store == default else f"{store.kind}/{store.name}"
                yield Source(ref.key, outcome.version, created, place)

    return tuple(islice(rows(), MAX_SOURCES))


def same_versions(
    external_secret: ExternalSecret, status: ExternalSecretStatus, fetched: Fetched
) -> bool:
    """Whether what was read is, by its versions, what the Secret was made from.

    False where something is missing or has no version: then only the values tell.
    """
    if len(status.sources) != len(fetched.outcomes):
        return False
    read = sources_of(external_secret, fetched)
    return len(read) == len(status.sources) and all(
        new.version != "" and (new.store, new.key, new.version) == (old.store, old.key, old.version)
        for new, old in zip(read, status.sources, strict=True)
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
