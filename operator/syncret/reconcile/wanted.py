"""What is read for an ExternalSecret, and what came of it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from syncret.api.data import Query, RemoteRef
from syncret.api.externalsecret import ExternalSecret, Source
from syncret.api.keys import ObjectKey
from syncret.providers.base import Outcome, Ref, Unchanged


@dataclass(slots=True)
class Wanted:
    """What is wanted of one store, each once, in the order of the spec."""

    refs: dict[Ref, None] = field(default_factory=dict)
    queries: dict[Query, None] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{sorted(self.refs)}{sorted(map(repr, self.queries))}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the stores gave: an outcome for each reference, the keys found for each query.

    The keys found are among the references.
    """

    outcomes: Mapping[tuple[ObjectKey, Ref], Outcome]
    found: Mapping[tuple[ObjectKey, Query], tuple[str, ...]] = field(default_factory=dict)

    @property
    def lacks_values(self) -> bool:
        """Whether of some nothing but the version is known."""
        return any(isinstance(outcome, Unchanged) for outcome in self.outcomes.values())


def ref_of(remote: RemoteRef) -> Ref:
    """The remote secret that an entry takes its value from."""
    return Ref(remote.key, remote.version, remote.metadata)


def wanted_of(external_secret: ExternalSecret) -> dict[ObjectKey, Wanted]:
    """By store, in the order in which the spec names them."""
    wanted: dict[ObjectKey, Wanted] = {store: Wanted() for store in external_secret.stores}
    for source in external_secret.data_from:
        if isinstance(source.source, Query):
            wanted[source.store].queries[source.source] = None
        else:
            wanted[source.store].refs[ref_of(source.source)] = None
    for entry in external_secret.data:
        wanted[entry.store].refs[ref_of(entry.remote)] = None
    return wanted


def place_of(external_secret: ExternalSecret, store: ObjectKey) -> str:
    """A store as ``status.sources`` names it: "" for that of ``spec.secretStoreRef``."""
    if store == external_secret.stores[0] and not store.generates:
        return ""
    return f"{store.kind}/{store.name}"


def known_of(
    external_secret: ExternalSecret, sources: Iterable[Source], store: ObjectKey
) -> dict[str, str]:
    """By key of that store: the version that the Secret was made from, as the status says."""
    place = place_of(external_secret, store)
    return {
        source.key: source.version for source in sources if source.store == place and source.version
    }
