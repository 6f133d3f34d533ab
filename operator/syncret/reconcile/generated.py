"""An open generator as the engine uses it: what it made is read from it, like from a store."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from syncret.api.externalsecret import KIND
from syncret.api.keys import ObjectKey
from syncret.api.store import Store
from syncret.cache import Cache
from syncret.errors import GeneratedNotKept, KubeError, ProviderRejected
from syncret.generators.base import GeneratorClient
from syncret.providers.base import (
    NOTHING_KNOWN,
    Found,
    Known,
    Outcome,
    Query,
    Ref,
    SecretValue,
    Unchanged,
)
from syncret.reconcile.kept import Kept
from syncret.reconcile.wishes import Wish, wish_of

#: Makes a client of a store out of an open generator.
Wrapping = Callable[[GeneratorClient, Store], "GeneratedClient"]


class GeneratedClient:
    """The credentials of one generator, by :func:`syncret.api.data.generated_ref`."""

    def __init__(
        self, generator: GeneratorClient, *, store: Store, kept: Kept, cache: Cache
    ) -> None:
        self.generator = generator
        #: One at a time: what keeps one from being made says nothing of the others.
        self.limits = replace(generator.limits, batch=1)
        self._store = store
        self._kept = kept
        self._cache = cache

    async def fetch(
        self, refs: Collection[Ref], *, known: Known = NOTHING_KNOWN
    ) -> Mapping[Ref, Outcome]:
        """What is kept, or has to be made. Raises ProviderError.

        One that is known costs nothing. GeneratedNotKept says nothing of the generator.
        """
        return {ref: await self._outcome(ref, known.get(ref, "")) for ref in refs}

    async def rotate(self, key: str, *, token: str) -> str:
        """Makes another credential, once for each token. Raises ProviderError."""
        try:
            credential, _ = await self._kept.obtain(self._wish(key, request=token), self.generator)
        except KubeError as error:
            raise GeneratedNotKept(error.message) from None
        return credential.id

    async def find(self, query: Query, *, page: str = "") -> Found:  # noqa: ARG002
        raise ProviderRejected("A generator cannot be searched: name it by a generatorRef.")

    async def check(self) -> None:
        await self.generator.check()

    async def close(self) -> None:
        await self.generator.close()

    async def _outcome(self, ref: Ref, known: str) -> Outcome:
        wish = self._wish(ref.key)
        good = self._kept.good(wish)
        if good is not None and good.id == known:
            return Unchanged(known, created=_time(good.made))
        try:
            credential, data = await self._kept.obtain(wish, self.generator)
        except KubeError as error:
            raise GeneratedNotKept(error.message) from None
        return SecretValue(
            data,
            version=credential.id,
            created=_time(credential.made),
            # The end of a lease is none: it is renewed, or the credential replaced in time.
            expires=_time(credential.expires) if credential.expires else None,
        )

    def _wish(self, key: str, *, request: str = "") -> Wish:
        namespace, name = key.split("/")[:2]
        external_secret = self._cache.external_secrets.get(ObjectKey(KIND, namespace, name))
        if external_secret is None:
            raise ProviderRejected("The ExternalSecret is not there any more.")
        return wish_of(external_secret, self._store, request=request)


def wrapping(kept: Kept, cache: Cache) -> Wrapping:
    """What makes a client of a store of what a generator opens."""
    return lambda client, store: GeneratedClient(client, store=store, kept=kept, cache=cache)


def _time(wall: float) -> datetime:
    return datetime.fromtimestamp(wall, UTC)
