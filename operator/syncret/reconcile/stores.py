"""Open stores: one client per store, shared by everything that reads it.

A client is opened when it is first needed, from the store's spec and the credentials it names, and
kept until the store or its credentials change, or its credentials are refused. After each
:data:`LOOK_AGAIN` seconds its credentials are read once more, for what no watch tells of. A
replaced client is closed when its last reader has left it.

A ClusterSecretStore whose credentials are kept in the namespace of whoever reads is opened once for
each such namespace, under a key of its own: neither a client, nor a value that it has read, nor its
health is shared between two namespaces.

What is known of a store's health outlives its clients: while its breaker is open, readers fail
without a call, until a check finds the store well again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from syncret.api.keys import ObjectKey
from syncret.api.store import Store
from syncret.clock import Clock
from syncret.errors import AccessDenied, SyncretError
from syncret.reconcile.credentials import CredentialReader, Credentials, stores_of
from syncret.reconcile.generated import Wrapping
from syncret.reconcile.limits import Breaker, Rate
from syncret.reconcile.opening import GeneratorLookup, ObserverFactory, Opening, ProviderLookup
from syncret.reconcile.reads import GATHER, PATIENCE, Reads

logger = logging.getLogger(__name__)

#: Seconds after which the credentials of an open store are read once more.
LOOK_AGAIN: Final = 300.0

#: Seconds for a call to a generator, at least: a user of a database takes its time.
GENERATING: Final = 45.0

#: Clients that are kept open. Beyond, the oldest that nobody uses is closed.
MAX_OPEN: Final = 512


@dataclass(slots=True)
class _Open:
    version: tuple[str, int]
    until: float
    reads: asyncio.Task[Reads]
    readers: int = 0
    retired: bool = field(default=False)

    @property
    def failed(self) -> bool:
        """Whether the opening has ended without a client."""
        task = self.reads
        return task.done() and (task.cancelled() or task.exception() is not None)


@dataclass(slots=True)
class _Health:
    """What outlives a client: whether the store is worth asking, and how often it may be asked."""

    version: tuple[str, int]
    breaker: Breaker = field(default_factory=Breaker)
    rate: Rate | None = None
    batch: int = 1


class StoreClients:
    """The open stores of this process."""

    def __init__(
        self,
        *,
        kube: CredentialReader,
        providers: ProviderLookup,
        observer: ObserverFactory,
        clock: Clock,
        ambient_for_secret_stores: bool,
        generators: GeneratorLookup | None = None,
        wrap: Wrapping | None = None,
        timeout: float = 10.0,
        shards: int = 1,
        tripped: Callable[[ObjectKey], None] = lambda _: None,
        forgotten: Callable[[ObjectKey], None] = lambda _: None,
        crowd: Callable[[ObjectKey], int] = lambda _: 0,
        gather: float = GATHER,
        patience: float = PATIENCE,
        max_open: int = MAX_OPEN,
    ) -> None:
        """``timeout``: seconds for a call. ``generators`` finds those, and ``wrap`` makes a client
        of what one opens. ``shards`` share what a store takes in a second.

        ``tripped`` is told when a store is given up: check it, it is asked for nothing else.
        ``forgotten`` is told when one is gone.
        ``crowd``: how many readers of a store wait for a worker.
        """
        self._crowd = crowd
        self._credentials = Credentials(kube)
        self._opening = Opening(
            credentials=self._credentials,
            providers=providers,
            observer=observer,
            ambient_for_secret_stores=ambient_for_secret_stores,
            generators=generators,
            wrap=wrap,
        )
        self._max_open = max_open
        self._timeout = timeout
        self._shards = shards
        self._tripped = tripped
        self._forgotten = forgotten
        self._waits = {"gather": gather, "patience": patience}
        self._clock = clock
        self._open: dict[ObjectKey, _Open] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._healths: dict[ObjectKey, _Health] = {}

    def place(self, store: Store, namespace: str) -> ObjectKey:
        """The key under which a store is open for the readers of a namespace."""
        return self._opening.place(store, namespace)

    def referent(self, store: Store) -> bool:
        """Whether its credentials are those of the namespace of whoever reads."""
        return self._opening.referent(store)

    def validate(self, store: Store) -> None:
        """Raises SpecInvalid if the store cannot work, without asking it anything."""
        self._opening.parse(store)

    @asynccontextmanager
    async def use(
        self, store: Store, *, namespace: str = "", check: bool = False
    ) -> AsyncIterator[Reads]:
        """The reads of the store, for the length of the block.

        ``namespace``: that of whoever reads. Raises what keeps the store from being opened,
        StoreError, ProviderError or KubeError; at once while its breaker is open, unless it is for
        a check.
        """
        key = self.place(store, namespace)
        health = self._health(store, key)
        if not check:
            health.breaker.refuse()
        version = health.version
        opened = self._open.get(key)
        if opened is not None and opened.until <= self._clock.monotonic():
            opened.until = self._clock.monotonic() + LOOK_AGAIN
            if await self._are_others(key):
                self._forget_if(key, opened)
            opened = self._open.get(key)
        if (
            opened is None
            or opened.version != version
            or opened.failed  # with nobody left who waited for it
        ):
            self.forget(key)
            self._make_room()
            opened = _Open(
                version=version,
                until=self._clock.monotonic() + LOOK_AGAIN,
                reads=asyncio.create_task(self._make(store, key, health), name=f"open {key}"),
            )
            self._open[key] = opened
        opened.readers += 1
        try:
            # One reader that is cancelled must not take the client from the others.
            yield await asyncio.shield(opened.reads)
        except AccessDenied:
            self._forget_if(key, opened)  # the next read takes the credentials anew
            raise
        except BaseException:
            if opened.failed:
                self._forget_if(key, opened)
            raise
        finally:
            opened.readers -= 1
            self._close_if_left(opened)

    def forget(self, key: ObjectKey) -> None:
        """Drops the client of a store; those who read through it now may finish."""
        opened = self._open.pop(key, None)
        if opened is not None:
            opened.retired = True
            self._close_if_left(opened)

    def batch(self, store: ObjectKey, namespace: str = "") -> int:
        """How many references one call to the store reads; 1 while that is not known."""
        for key in (store._replace(namespace=namespace), store):
            if key in self._healths:
                return self._healths[key].batch
        return 1

    def is_doubtful(self, key: object) -> bool:
        """Whether a store may well not answer: it never did, or did not the last time."""
        health = self._healths.get(key) if isinstance(key, ObjectKey) else None
        return isinstance(key, ObjectKey) and (health is None or not health.breaker.answers)

    def in_trouble(self, store: Store, key: ObjectKey | None = None) -> bool:
        """Whether its breaker is open. ``key``: of the store as it is open for a namespace."""
        return self._health(store, key or store.key).breaker.open

    def is_well(self, store: Store, key: ObjectKey | None = None) -> bool:
        """A check found it so: it may be read again. True if it was in trouble."""
        breaker = self._health(store, key or store.key).breaker
        was_open = breaker.open
        breaker.reset()
        return was_open

    def is_ill(self, store: Store, error: SyncretError, key: ObjectKey | None = None) -> None:
        """A check failed: its readers are told so without a call."""
        self._health(store, key or store.key).breaker.trip(error)

    def successes(self, store: Store) -> int:
        """A number that grows with each call that goes well."""
        return self._health(store, store.key).breaker.successes

    def epoch(self, store: ObjectKey, namespace: str) -> int:
        """A number that grows with each change of the credentials that its readers there use."""
        keys = {store, store._replace(namespace=namespace)}
        return sum(self._credentials.epoch(key) for key in keys)

    def credential_seen(self, namespace: str, name: str, version: str) -> list[ObjectKey]:
        """Some Secret changed, or ("") is gone: the keys of the stores to reconcile because of it.

        Most Secrets concern no store.
        """
        return self._credentials.seen(namespace, name, version)

    async def look_again(self) -> list[ObjectKey]:
        """The same for what changed while nothing was watched. Raises KubeError."""
        return await self._credentials.look_again()

    async def credentials_changed(self, store: Store, key: ObjectKey) -> bool:
        """Whether they are others than those it was opened with; it is opened anew then.

        Raises KubeError.
        """
        if self.place(store, key.namespace) != key or (self.referent(store) and not key.namespace):
            return False  # nothing is opened under this key
        try:
            self._credentials.note(key, self._opening.references(store, key))
        except SyncretError:
            return False
        if not await self._credentials.changed(key):
            return False
        self.forget(key)
        return True

    def credentials_proven(self, key: ObjectKey) -> bool:
        """They work. True if its readers have to read with them: they were changed."""
        return self._credentials.proven(key)

    def retire(self, store: Store) -> None:
        """Closes what was opened for an earlier state of a store."""
        version = (store.uid, store.generation)
        for key in stores_of(self._open, store.key):
            if self._open[key].version != version:
                self.forget(key)
        for key in stores_of(self._credentials.keys(), store.key):
            if self.place(store, key.namespace) != key:
                self._credentials.forget(key)

    def drop(self, key: ObjectKey) -> None:
        """The store is gone, or another operator's."""
        tables = (self._open, self._healths, self._credentials.keys())
        for one in {one for table in tables for one in stores_of(table, key)}:
            self.forget(one)
            self._healths.pop(one, None)
            self._credentials.forget(one)
            self._forgotten(one)
        self._opening.forget(key)

    def _health(self, store: Store, key: ObjectKey) -> _Health:
        version = (store.uid, store.generation)
        health = self._healths.get(key)
        if health is None or health.version != version:
            health = self._healths[key] = _Health(version)
        return health

    def _make_room(self) -> None:
        """Closes idle clients while there are too many, the oldest first."""
        if len(self._open) < self._max_open:
            return
        idle = [key for key, opened in self._open.items() if opened.readers == 0]
        for key in idle[: len(self._open) - self._max_open + 1]:
            self.forget(key)
            health = self._healths.get(key)
            if key.store != key and health is not None:
                if health.breaker.open:
                    continue  # its check will close it
                del self._healths[key]
                self._credentials.forget(key)

    async def close(self) -> None:
        """Closes every client."""
        for key in list(self._open):
            self.forget(key)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _are_others(self, key: ObjectKey) -> bool:
        """Whether the credentials of an open store have changed; no if that cannot be seen now."""
        try:
            return await self._credentials.changed(key, look=True)
        except SyncretError:
            return False

    def _forget_if(self, key: ObjectKey, opened: _Open) -> None:
        if self._open.get(key) is opened:
            self.forget(key)

    def _close_if_left(self, opened: _Open) -> None:
        if opened.retired and opened.readers == 0:
            task = asyncio.create_task(_close(opened.reads))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _make(self, store: Store, key: ObjectKey, health: _Health) -> Reads:
        try:
            client = await self._opening.open(store, key)
        except SyncretError as error:
            if health.breaker.trip(error):
                self._tripped(key)
            raise
        health.batch = client.limits.batch
        if health.rate is None:
            rate = client.limits.rate / self._shards
            health.rate = Rate(self._clock, rate=rate, burst=max(1, round(rate)))
        return Reads(
            client,
            clock=self._clock,
            rate=health.rate,
            breaker=health.breaker,
            timeout=max(self._timeout, GENERATING) if store.key.generates else self._timeout,
            tripped=lambda: self._tripped(key),
            crowd=lambda: self._crowd(store.key),
            **self._waits,
        )


async def _close(reads: asyncio.Task[Reads]) -> None:
    if not reads.done():
        reads.cancel()
        return
    if reads.cancelled() or reads.exception() is not None:
        return
    try:
        await reads.result().close()
    except Exception as error:  # noqa: BLE001 - nothing depends on it; the next open is a new one
        logger.warning(
            "A store's client did not close cleanly", extra={"error": type(error).__name__}
        )
