"""From a message to the ExternalSecrets that it concerns, and to the work queue.

A message concerns the ExternalSecrets that read one of its secrets: by key, or by a search whose
path and name it matches (tags are not in events, so a search by tags alone matches all). Of
those, the ones whose status already names the version that the event tells of are left alone.

Those of namespaces that this replica works on get a hint. For those of another replica (another
shard's; or all of them, where a standby took a hook) an annotation is written, which that
replica's watch shows it. There is no bus of our own: the API server is the one place that every
replica hears.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from syncret.api.data import Query, RemoteRef
from syncret.api.externalsecret import ExternalSecret
from syncret.api.keys import ObjectKey
from syncret.api.remote import words
from syncret.api.store import Store
from syncret.cache import Cache
from syncret.clock import Clock, rfc3339
from syncret.constants import EVENT_ANNOTATION, EVENT_FIELD_MANAGER
from syncret.errors import KubeNotFound, SyncretError
from syncret.hints import GAP, Hints
from syncret.kube.client import KubeClient
from syncret.kube.resources import EXTERNAL_SECRETS
from syncret.reconcile.wanted import place_of
from syncret.sources.events import Event, Malformed, parse
from syncret.sources.names import Subject, is_below, is_same, prefix_of

logger = logging.getLogger(__name__)

#: Seconds for which a hint may be followed before its message is acknowledged all the same.
HOLD: Final = 20.0

#: Ids of events that are remembered, to know those that are delivered twice.
_REMEMBERED: Final = 20_000

#: Seconds that an event may lie in the future before its clock is told to be wrong.
MAX_SKEW: Final = 300.0

#: Annotations that are written at the same time.
_NOTES: Final = 8


class EventMetrics(Protocol):
    """What is counted here."""

    def event(self, source: str, result: str) -> None: ...

    def event_lag(self, source: str, seconds: float) -> None: ...


@dataclass(slots=True)
class _Told:
    """What was told of a source already, so that it is told once."""

    malformed: bool = False
    skewed: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """What came of a message: ``hints`` may be waited for, ``notes`` have to be written."""

    hints: tuple[tuple[ObjectKey, int], ...] = ()
    notes: tuple[ObjectKey, ...] = ()
    matched: int = field(default=0)


class Dispatcher:
    """Takes messages of every source."""

    def __init__(
        self,
        *,
        cache: Cache,
        hints: Hints,
        kube: KubeClient,
        metrics: EventMetrics,
        clock: Clock,
        works_on: Callable[[str], bool],
    ) -> None:
        """``kube``: writes also while nothing is held here: a note is for who works there."""
        self._cache = cache
        self._hints = hints
        self._kube = kube
        self._metrics = metrics
        self._clock = clock
        self._works_on = works_on
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._told: dict[str, _Told] = {}
        self._noted: dict[ObjectKey, float] = {}
        self._turns = asyncio.Semaphore(_NOTES)

    def take(
        self, source: str, body: bytes | str, attributes: Mapping[str, str] | None = None
    ) -> Given:
        """Reads a message and gives its hints. Raises Malformed, after it was counted and told."""
        try:
            events = parse(body, attributes)
        except Malformed as error:
            self._metrics.event(source, "malformed")
            if not self._told.setdefault(source, _Told()).malformed:
                self._told[source].malformed = True
                logger.warning(
                    "A message is not an event that Syncret knows: %s. Further ones are counted "
                    "and not told of",
                    str(error),  # an exception itself is shown by its type alone
                    extra={"source": source},
                )
            raise
        given = [self.tell(source, event) for event in events]
        return Given(
            tuple(hint for one in given for hint in one.hints),
            tuple(note for one in given for note in one.notes),
            sum(one.matched for one in given),
        )

    def tell(self, source: str, event: Event) -> Given:
        """Gives the hints of an event, and counts it."""
        if event.id and (source, event.id) in self._seen:
            self._metrics.event(source, "duplicate")
            return Given()
        if not event.subjects:
            self._metrics.event(source, "ignored")
            return Given()
        concerned = {key for subject in event.subjects for key in self.readers(subject)}
        readers = [
            key
            for key in sorted(concerned)
            if any(self._lacks(key, subject) for subject in event.subjects)
        ]
        result = "matched" if readers else "current" if concerned else "unmatched"
        self._metrics.event(source, result)
        if readers:
            self._observe_lag(source, event)
        here = [key for key in readers if self._works_on(key.namespace)]
        there = tuple(key for key in readers if not self._works_on(key.namespace))
        given = Given(tuple((key, self._hints.give(key)) for key in here), there, len(readers))
        if event.id and not there:  # what has still to be noted may come again
            self._remember(source, event.id)
        return given

    async def settle(self, given: Given, *, hold: float = HOLD) -> None:
        """Returns when the message may be acknowledged: all of it is done, or will be.

        ``hold``: seconds for which its hints are waited for at most; 0: not at all.
        Raises SyncretError if another replica could not be told.
        """
        notes = [asyncio.create_task(self._note(key)) for key in dict.fromkeys(given.notes)]
        if notes:
            for result in await asyncio.gather(*notes, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
        if hold:
            await self._hints.wait(given.hints, timeout=hold)

    def readers(self, subject: Subject) -> list[ObjectKey]:
        """The ExternalSecrets that read that secret, by key or by a search."""
        names = set(subject.names)
        for prefix in {prefix_of(store.provider) for store in self._cache.stores} - {""}:
            names |= {name.removeprefix(prefix) for name in subject.names}
        looked_up = {word for name in names for word in words(name)}
        table = self._cache.external_secrets
        candidates = {es.key: es for word in looked_up for es in table.by("word", word)}
        found = {key: None for key, es in candidates.items() if self._same(es, subject)}
        for external_secret in table.by("search", True):
            if external_secret.key not in found and self._finds(external_secret, subject):
                found[external_secret.key] = None
        return list(found)

    def _lacks(self, key: ObjectKey, subject: Subject) -> bool:
        """Whether an ExternalSecret that reads the secret may have another version of it."""
        external_secret = self._cache.external_secrets.get(key)
        if external_secret is None or not subject.version or self._finds(external_secret, subject):
            return True
        return any(
            remote.metadata or not _has(external_secret, store, remote, subject.version)
            for store, remote in self._same(external_secret, subject)
        )

    def _same(
        self, external_secret: ExternalSecret, subject: Subject
    ) -> list[tuple[ObjectKey, RemoteRef]]:
        """What it reads of that secret by key."""
        return [
            (store, remote)
            for store, remote in _remotes(external_secret)
            if self._is_same(store, remote.key, subject)
        ]

    def _is_same(self, key: ObjectKey, remote: str, subject: Subject) -> bool:
        store = self._store(key)
        return store is not None and is_same(store.provider, key, remote, subject)

    def _finds(self, external_secret: ExternalSecret, subject: Subject) -> bool:
        for entry in external_secret.data_from:
            store = self._store(entry.store) if isinstance(entry.source, Query) else None
            if store is None or not isinstance(entry.source, Query):
                continue
            # The tags are not known here: whoever looks will see.
            query = Query(path=entry.source.path, name=entry.source.name)
            names = is_below(store.provider, entry.store, subject)
            if any(query.matches(name, {}) for name in names):
                return True
        return False

    def _store(self, key: ObjectKey) -> Store | None:
        store = self._cache.stores.get(key)
        return None if store is None or store.foreign else store

    async def _note(self, key: ObjectKey) -> None:
        """Writes the annotation; once in a while, however often it is asked for."""
        now = self._clock.monotonic()
        if self._noted.get(key, float("-inf")) > now - GAP:
            await asyncio.sleep(GAP)
        async with self._turns:
            self._noted[key] = self._clock.monotonic()
            if len(self._noted) > _REMEMBERED:
                self._noted.clear()
            wall = self._clock.wall()
            value = f"{rfc3339(wall).removesuffix('Z')}.{int(wall * 1000) % 1000:03}Z"
            try:
                await self._kube.merge_patch(
                    EXTERNAL_SECRETS,
                    {"metadata": {"annotations": {EVENT_ANNOTATION: value}}},
                    name=key.name,
                    namespace=key.namespace,
                    field_manager=EVENT_FIELD_MANAGER,
                    metadata_only=True,
                )
            except KubeNotFound:
                return
            except SyncretError as error:
                self._noted.pop(key, None)
                logger.warning(
                    "Another replica could not be told of an event: %s",
                    error.message,
                    extra={"namespace": key.namespace, "object": key.name, "reason": error.reason},
                )
                raise

    def _remember(self, source: str, event: str) -> None:
        self._seen[source, event] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def _observe_lag(self, source: str, event: Event) -> None:
        if event.time is None:
            return
        lag = self._clock.wall() - event.time
        told = self._told.setdefault(source, _Told())
        if lag < -MAX_SKEW and not told.skewed:
            told.skewed = True
            logger.warning(
                "An event is said to be %.0f s in the future: check the clocks of the node and of "
                "the sender. It is followed all the same",
                -lag,
                extra={"source": source},
            )
        self._metrics.event_lag(source, max(0.0, lag))


def _remotes(external_secret: ExternalSecret) -> Iterable[tuple[ObjectKey, RemoteRef]]:
    for entry in external_secret.data:
        yield entry.store, entry.remote
    for one in external_secret.data_from:
        if not isinstance(one.source, Query):
            yield one.store, one.source


def _has(
    external_secret: ExternalSecret, store: ObjectKey, remote: RemoteRef, version: str
) -> bool:
    """Whether the status says that the Secret was made from that version."""
    place = place_of(external_secret, store)
    ready = external_secret.status.ready
    return (
        ready is not None
        and ready.status == "True"
        and external_secret.status.synced_generation == external_secret.generation
        and any(
            (source.store, source.key, source.version) == (place, remote.key, version)
            for source in external_secret.status.sources
        )
    )
