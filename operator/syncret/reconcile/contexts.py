"""What an attempt depends on, as the caches have it: stores, rights, the Secret."""

from collections.abc import Awaitable, Callable

from syncret.api.externalsecret import ExternalSecret
from syncret.api.secret import ManagedSecret
from syncret.api.store import Store
from syncret.cache import Cache
from syncret.reconcile.plan import Context, Grant, context_of
from syncret.reconcile.schedule import wake_time
from syncret.reconcile.stores import StoreClients


class Contexts:
    """Looks it up.

    ``namespaces_listed`` waits for the labels of namespaces, for as long as that is no problem.
    """

    def __init__(
        self,
        *,
        cache: Cache,
        stores: StoreClients,
        namespaces_listed: Callable[[], Awaitable[object]] | None,
    ) -> None:
        self._cache = cache
        self._stores = stores
        self._namespaces_listed = namespaces_listed

    def of(
        self,
        external_secret: ExternalSecret,
        secret: ManagedSecret | None,
        *,
        template: str = "",
        hint: int = 0,
    ) -> Context:
        """What an attempt made now depends on; ``secret``: the target.

        ``template``: what stands for templates from elsewhere. ``hint``: the number of the last.
        """
        namespace = external_secret.key.namespace
        stores = [self._cache.stores.get(store) for store in external_secret.stores]
        return context_of(
            external_secret,
            stores,
            secret,
            [self._grant(namespace, store) for store in stores],
            template=template,
            hint=hint,
            unmanaged=self._cache.unmanaged.get((namespace, external_secret.target)) or "",
        )

    def is_foreign(self, external_secret: ExternalSecret) -> bool:
        """Whether its first store is another operator's, who does what there is to do."""
        store = self._cache.stores.get(external_secret.stores[0])
        return store is not None and store.foreign

    async def wait_for_labels(self, external_secret: ExternalSecret) -> None:
        """Where labels decide, they may be under way: nobody should be told of that."""
        namespace = self._cache.namespace(external_secret.key.namespace)
        stores = map(self._cache.stores.get, external_secret.stores)
        if self._namespaces_listed and any(
            store is not None and store.admits(namespace) is None for store in stores
        ):
            await self._namespaces_listed()

    def wake(self, external_secret: ExternalSecret, due: float) -> float:
        """When to wake for what is due then, so that calls to its stores are full."""
        return max(
            wake_time(
                due,
                interval=external_secret.refresh.interval,
                readers=self._cache.external_secrets.count("store", store),
                batch=self._stores.batch(store, external_secret.key.namespace),
            )
            for store in external_secret.stores
        )

    def _grant(self, name: str, store: Store | None) -> Grant:
        if store is None:
            return Grant()
        namespace = self._cache.namespace(name)
        return Grant(
            admitted=store.admits(namespace),
            entries=store.selections(namespace),
            credentials=self._stores.epoch(store.key, name),
        )
