"""Open stores: one client per store, shared by everything that reads it.

A client is opened when it is first needed, from the store's spec and the Secrets it names, and
kept until the store changes, its credentials are refused, or it is :data:`MAX_AGE` old (so that
rotated credentials are taken up). A replaced client is closed when its last reader has left it.

What is known of a store's health outlives its clients: while its breaker is open, readers fail
without a call, until a check finds the store well again.
"""

import asyncio
import base64
import binascii
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from syncret.api.keys import ObjectKey
from syncret.api.store import Store
from syncret.clock import Clock
from syncret.errors import (
    AccessDenied,
    CredentialsNotFound,
    KubeNotFound,
    StoreInvalid,
    StoreNotAllowed,
    StoreNotFound,
    SyncretError,
)
from syncret.kube.resources import SECRETS, Resource
from syncret.providers.base import CallObserver, Client, Provider, SecretKeyRef, SecretValue
from syncret.reconcile.limits import Breaker, Rate
from syncret.reconcile.reads import GATHER, PATIENCE, Reads

logger = logging.getLogger(__name__)

#: Seconds after which a store is opened anew, with its credentials read again.
MAX_AGE: Final = 300.0


class SecretReader(Protocol):
    """What is needed of the Kubernetes client."""

    async def get(
        self, resource: Resource, *, name: str, namespace: str = ""
    ) -> Mapping[str, Any]: ...


class ProviderLookup(Protocol):
    """Finds the provider of a ``spec.provider`` and parses its part; raises SpecInvalid."""

    def __call__(
        self, spec: Mapping[str, Any], *, cluster_scoped: bool
    ) -> tuple[Provider, Any]: ...


class ObserverFactory(Protocol):
    """An observer of the remote calls of one provider."""

    def __call__(self, provider: str) -> CallObserver: ...


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


def usable_store(
    stores: Mapping[ObjectKey, Store] | Any,
    key: ObjectKey,
    namespace: str,
    *,
    named_in: str = "spec.secretStoreRef",
) -> Store:
    """The store that an ExternalSecret of that namespace refers to, in ``named_in``.

    Raises StoreNotFound or StoreNotAllowed.
    """
    store: Store | None = stores.get(key)
    if store is None:
        raise StoreNotFound(f"{key} does not exist: create it, or correct {named_in}.")
    if not store.allows(namespace):
        raise StoreNotAllowed(
            f'{key} does not admit the namespace "{namespace}": ask its owner to add the '
            "namespace to spec.conditions, or use another store."
        )
    return store


class StoreClients:
    """The open stores of this process."""

    def __init__(
        self,
        *,
        kube: SecretReader,
        providers: ProviderLookup,
        observer: ObserverFactory,
        clock: Clock,
        ambient_for_secret_stores: bool,
        timeout: float = 10.0,
        shards: int = 1,
        tripped: Callable[[ObjectKey], None] = lambda _: None,
        crowd: Callable[[ObjectKey], int] = lambda _: 0,
        gather: float = GATHER,
        patience: float = PATIENCE,
    ) -> None:
        """``timeout``: seconds for a call. ``shards`` share what a store takes in a second.

        ``tripped`` is told when a store is given up: check it, it is asked for nothing else.
        ``crowd``: how many readers of a store wait for a worker.
        """
        self._crowd = crowd
        self._kube = kube
        self._timeout = timeout
        self._shards = shards
        self._tripped = tripped
        self._waits = {"gather": gather, "patience": patience}
        self._providers = providers
        self._observer = observer
        self._clock = clock
        self._ambient_for_secret_stores = ambient_for_secret_stores
        self._open: dict[ObjectKey, _Open] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._healths: dict[ObjectKey, _Health] = {}

    @asynccontextmanager
    async def use(self, store: Store, *, check: bool = False) -> AsyncIterator[Reads]:
        """The reads of the store, for the length of the block.

        Raises what keeps the store from being opened, StoreError, ProviderError or KubeError; at
        once while its breaker is open, unless it is for a check.
        """
        health = self._health(store)
        if not check:
            health.breaker.refuse()
        version = health.version
        opened = self._open.get(store.key)
        if (
            opened is None
            or opened.version != version
            or opened.until <= self._clock.monotonic()
            or opened.failed  # with nobody left who waited for it
        ):
            self.forget(store.key)
            opened = _Open(
                version=version,
                until=self._clock.monotonic() + MAX_AGE,
                reads=asyncio.create_task(self._make(store, health), name=f"open {store.key}"),
            )
            self._open[store.key] = opened
        opened.readers += 1
        try:
            # One reader that is cancelled must not take the client from the others.
            yield await asyncio.shield(opened.reads)
        except AccessDenied:
            self._forget_if(store.key, opened)  # the next read takes the credentials anew
            raise
        except BaseException:
            if opened.failed:
                self._forget_if(store.key, opened)
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

    def batch(self, key: ObjectKey) -> int:
        """How many references one call to the store reads; 1 while that is not known."""
        health = self._healths.get(key)
        return health.batch if health is not None else 1

    def is_doubtful(self, key: object) -> bool:
        """Whether a store may well not answer: it never did, or did not the last time."""
        health = self._healths.get(key) if isinstance(key, ObjectKey) else None
        return isinstance(key, ObjectKey) and (health is None or not health.breaker.answers)

    def in_trouble(self, store: Store) -> bool:
        """Whether its breaker is open."""
        return self._health(store).breaker.open

    def is_well(self, store: Store) -> bool:
        """A check found it so: it may be read again. True if it was in trouble."""
        breaker = self._health(store).breaker
        was_open = breaker.open
        breaker.reset()
        return was_open

    def is_ill(self, store: Store, error: SyncretError) -> None:
        """A check failed: its readers are told so without a call."""
        self._health(store).breaker.trip(error)

    def drop(self, key: ObjectKey) -> None:
        """The store is gone."""
        self.forget(key)
        self._healths.pop(key, None)

    def _health(self, store: Store) -> _Health:
        version = (store.uid, store.generation)
        health = self._healths.get(store.key)
        if health is None or health.version != version:
            health = self._healths[store.key] = _Health(version)
        return health

    async def close(self) -> None:
        """Closes every client."""
        for key in list(self._open):
            self.forget(key)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _forget_if(self, key: ObjectKey, opened: _Open) -> None:
        if self._open.get(key) is opened:
            self.forget(key)

    def _close_if_left(self, opened: _Open) -> None:
        if opened.retired and opened.readers == 0:
            task = asyncio.create_task(_close(opened.reads))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _make(self, store: Store, health: _Health) -> Reads:
        try:
            client = await self._open_client(store)
        except SyncretError as error:
            if health.breaker.trip(error):
                self._tripped(store.key)
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
            timeout=self._timeout,
            tripped=lambda: self._tripped(store.key),
            crowd=lambda: self._crowd(store.key),
            **self._waits,
        )

    async def _open_client(self, store: Store) -> Client:
        provider, config = self._providers(store.provider, cluster_scoped=store.cluster_scoped)
        references = provider.credential_refs(config)
        if not references and not store.cluster_scoped and not self._ambient_for_secret_stores:
            raise StoreInvalid(
                f"{store.key} names no credentials, and a SecretStore may not use the operator's "
                "own identity: set spec.provider.*.auth, or use a ClusterSecretStore (or let the "
                "operator run with --ambient-credentials-for-secret-stores)."
            )
        credentials = {
            name: await self._credential(store, reference) for name, reference in references.items()
        }
        return await provider.open(config, credentials, observe=self._observer(provider.name))

    async def _credential(self, store: Store, reference: SecretKeyRef) -> SecretValue:
        namespace = reference.namespace if store.cluster_scoped else store.key.namespace
        place = f'Secret "{reference.name}" in namespace "{namespace}"'
        try:
            body = await self._kube.get(SECRETS, namespace=namespace, name=reference.name)
        except KubeNotFound:
            raise CredentialsNotFound(
                f"The {place}, which {store.key} authenticates with, does not exist: create it, "
                "or correct the store's auth."
            ) from None
        try:
            return SecretValue(base64.b64decode(body["data"][reference.key]))
        except (KeyError, TypeError, binascii.Error):
            raise CredentialsNotFound(
                f'The {place}, which {store.key} authenticates with, has no key "{reference.key}": '
                "add it, or correct the store's auth."
            ) from None


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
