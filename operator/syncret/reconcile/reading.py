"""Reading everything that one ExternalSecret wants, from each of its stores at the same time."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping

from syncret.api.data import Query
from syncret.api.externalsecret import ExternalSecret, Source
from syncret.api.keys import ObjectKey
from syncret.api.store import Store, may_read
from syncret.cache import Cache
from syncret.providers.base import Outcome, Ref
from syncret.reconcile.access import refuse_keys, usable_store
from syncret.reconcile.reads import Reads
from syncret.reconcile.stores import StoreClients
from syncret.reconcile.wanted import Fetched, Wanted, known_of, wanted_of


class Reader:
    """Reads through the open stores."""

    def __init__(self, *, cache: Cache, stores: StoreClients) -> None:
        self._cache = cache
        self._stores = stores

    def usable(self, external_secret: ExternalSecret) -> dict[ObjectKey, Store]:
        """All of its stores. Raises what is wrong with the first that may not be read as wanted.

        StoreNotFound, StoreInvalid, StoreNotAllowed, NamespaceUnknown or KeyNotAllowed.
        """
        namespace = self._cache.namespace(external_secret.key.namespace)
        wanted = wanted_of(external_secret)
        usable = {}
        for key in external_secret.stores:
            named_in = _named_in(external_secret, key)
            usable[key] = usable_store(self._cache.stores, key, namespace, named_in=named_in)
            if key in wanted:
                refuse_keys(usable[key], namespace, (ref.key for ref in wanted[key].refs))
        return usable

    async def read(
        self,
        external_secret: ExternalSecret,
        *,
        asked_at: float,
        patient: bool,
        known: Collection[Source] = (),
    ) -> Fetched:
        """All that it wants. ``asked_at`` and ``patient`` as for :meth:`Reads.fetch`.

        ``known``: what the reader has; of that it needs the versions only, and the outcome may be
        Unchanged.

        Raises what kept a store from being read as a whole: of several, the first in the order of
        the spec, so that the message is the same each time.
        """
        stores = self.usable(external_secret)
        parts = [
            self._of_store(
                stores[key],
                wanted,
                external_secret,
                asked_at=asked_at,
                patient=patient,
                known=known_of(external_secret, known, key),
            )
            for key, wanted in wanted_of(external_secret).items()
        ]
        if len(parts) == 1:
            return await parts[0]
        results = await asyncio.gather(*parts, return_exceptions=True)
        outcomes: dict[tuple[ObjectKey, Ref], Outcome] = {}
        found: dict[tuple[ObjectKey, Query], tuple[str, ...]] = {}
        for result in results:
            if isinstance(result, BaseException):
                raise result
            outcomes |= result.outcomes
            found |= result.found
        return Fetched(outcomes, found)

    async def _of_store(
        self,
        store: Store,
        wanted: Wanted,
        external_secret: ExternalSecret,
        *,
        asked_at: float,
        patient: bool,
        known: Mapping[str, str],
    ) -> Fetched:
        namespace = self._cache.namespace(external_secret.key.namespace)
        async with self._stores.use(store, namespace=namespace.name) as reads:
            searched = await _searched(reads, wanted, asked_at=asked_at, patient=patient)
            # A search finds what the namespace may read, and does not tell of anything else. But
            # what it found before is not gone because the right to it is: the Secret stays.
            before = {source.key for source in external_secret.status.sources}
            found = {}
            for query, keys in searched.items():
                refuse_keys(store, namespace, (key for key in keys if key in before))
                found[query] = tuple(key for key in keys if may_read(store, namespace, key))
            refs = dict(wanted.refs)
            refs |= {Ref(key): None for keys in found.values() for key in keys}
            outcomes = await reads.fetch(
                refs, asked_at=asked_at, patient=patient, known=_versions(refs, known)
            )
        return Fetched(
            {(store.key, ref): outcome for ref, outcome in outcomes.items()},
            {(store.key, query): keys for query, keys in found.items()},
        )


async def _searched(
    reads: Reads, wanted: Wanted, *, asked_at: float, patient: bool
) -> dict[Query, tuple[str, ...]]:
    """What is found for each query; they go at the same time. Raises the first failure."""
    if not wanted.queries:
        return {}
    results = await asyncio.gather(
        *(reads.find(query, asked_at=asked_at, patient=patient) for query in wanted.queries),
        return_exceptions=True,
    )
    found: dict[Query, tuple[str, ...]] = {}
    for query, result in zip(wanted.queries, results, strict=True):
        if isinstance(result, BaseException):
            raise result
        found[query] = result
    return found


def _versions(refs: Collection[Ref], known: Mapping[str, str]) -> dict[Ref, str]:
    """The version that is known of each reference; of a key that is read twice it is not clear."""
    if not known:
        return {}
    times = Counter(ref.key for ref in refs)
    return {
        ref: known[ref.key]
        for ref in refs
        if ref.key in known and times[ref.key] == 1 and not ref.metadata
    }


def _named_in(external_secret: ExternalSecret, store: ObjectKey) -> str:
    """Where the spec names the store, as far as messages need it."""
    if store == external_secret.stores[0] and not store.generates:
        return "spec.secretStoreRef"
    for index, entry in enumerate(external_secret.data_from):
        if entry.store == store:
            kind = "generatorRef" if store.generates else "storeRef"
            return f"spec.dataFrom[{index}].sourceRef.{kind}"
    index = next(n for n, entry in enumerate(external_secret.data) if entry.store == store)
    return f"spec.data[{index}].sourceRef.storeRef"
