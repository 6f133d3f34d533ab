"""Opening a store: its provider, the credentials it names, and under which key it is open."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, cast

from syncret.api.keys import ObjectKey
from syncret.api.store import Store
from syncret.errors import SpecInvalid, StoreInvalid, SyncretError
from syncret.generators.base import Generator, GeneratorClient
from syncret.providers.base import CallObserver, Client, CredentialRef, Provider, StoreIdentity
from syncret.reconcile.credentials import Credentials, resolved
from syncret.reconcile.generated import Wrapping


class ProviderLookup(Protocol):
    """Finds the provider of a ``spec.provider`` and parses its part; raises SpecInvalid."""

    def __call__(
        self, spec: Mapping[str, Any], *, cluster_scoped: bool
    ) -> tuple[Provider, Any]: ...


class GeneratorLookup(Protocol):
    """The same for a ``spec.generator``."""

    def __call__(
        self, spec: Mapping[str, Any], *, cluster_scoped: bool
    ) -> tuple[Generator, Any]: ...


class ObserverFactory(Protocol):
    """An observer of the remote calls of one store, which is of that provider."""

    def __call__(self, provider: str, store: ObjectKey) -> CallObserver: ...


class Opening:
    """Opens stores. What a store's spec says is parsed once for each of its generations."""

    def __init__(
        self,
        *,
        credentials: Credentials,
        providers: ProviderLookup,
        observer: ObserverFactory,
        ambient_for_secret_stores: bool,
        generators: GeneratorLookup | None = None,
        wrap: Wrapping | None = None,
    ) -> None:
        """``wrap``: makes a client of what a generator opens."""
        self._generators = generators
        self._wrap = wrap
        self._credentials = credentials
        self._providers = providers
        self._observer = observer
        self._ambient_for_secret_stores = ambient_for_secret_stores
        self._configs: dict[ObjectKey, tuple[tuple[str, int], Provider | Generator, Any]] = {}

    def place(self, store: Store, namespace: str) -> ObjectKey:
        """The key under which a store is open for the readers of a namespace."""
        return store.key._replace(namespace=namespace) if self.referent(store) else store.key

    def referent(self, store: Store) -> bool:
        """Whether its credentials are those of the namespace of whoever reads."""
        if not store.cluster_scoped:
            return False
        try:
            provider, config = self.parse(store)
        except SyncretError:
            return False  # whoever opens it is told
        return any(not one.namespace for one in provider.credential_refs(config).values())

    def parse(self, store: Store) -> tuple[Provider | Generator, Any]:
        """The store's provider and what it makes of the spec. Raises SpecInvalid."""
        if store.problem:
            raise SpecInvalid(store.problem)
        version = (store.uid, store.generation)
        known = self._configs.get(store.key)
        if known is None or known[0] != version:
            known = self._configs[store.key] = (version, *self._looked_up(store))
        return known[1], known[2]

    def _looked_up(self, store: Store) -> tuple[Provider | Generator, Any]:
        if not store.key.generates:
            return self._providers(store.provider, cluster_scoped=store.cluster_scoped)
        if self._generators is None:
            raise SpecInvalid("There are no generators here.")
        return self._generators(store.provider, cluster_scoped=store.cluster_scoped)

    def forget(self, key: ObjectKey) -> None:
        """The store is gone."""
        self._configs.pop(key, None)

    def references(self, store: Store, key: ObjectKey) -> dict[str, CredentialRef]:
        """The credentials of a store, with their namespaces. Raises SpecInvalid.

        Those of a SecretStore are in its own, whatever its spec says.
        """
        provider, config = self.parse(store)
        references = provider.credential_refs(config)
        if not store.cluster_scoped:
            references = {name: replace(one, namespace="") for name, one in references.items()}
        return resolved(references, key.namespace)

    async def open(self, store: Store, key: ObjectKey) -> Client:
        """An open client. Raises SpecInvalid, StoreError, ProviderError or KubeError."""
        provider, config = self.parse(store)
        references = self.references(store, key)
        if (
            provider.ambient(config)
            and not store.cluster_scoped
            and not self._ambient_for_secret_stores
        ):
            raise StoreInvalid(_ambient(store, provider.name))
        proofs = await self._credentials.read(key, references)
        opened = await provider.open(
            config,
            proofs.values,
            observe=self._observer(provider.name, key),
            accounts=proofs.accounts,
            store=StoreIdentity(
                kind=store.key.kind,
                name=store.key.name,
                namespace=store.key.namespace,
                reader="" if key == store.key else key.namespace,
            ),
        )
        if self._wrap is not None and store.key.generates:
            return self._wrap(cast("GeneratorClient", opened), store)
        return cast("Client", opened)


def _ambient(store: Store, name: str) -> str:
    kind, field = ("SecretStore", "provider")
    if store.key.generates:
        kind, field = ("Generator", "generator")
    return (
        f"{store.key} names no credentials, and a {kind} may not use what the operator itself may "
        f"read: name some in spec.{field}.{name}, if that kind has any, or use a Cluster{kind} (or "
        "let the operator run with --ambient-credentials-for-secret-stores)."
    )
