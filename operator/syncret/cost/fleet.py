"""Who reads what, from which store, how often: from manifests. Pure.

ClusterExternalSecrets are spread over the namespaces that they name, or over as many as they are
said to select. Objects of External Secrets Operator are converted first.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from syncret.api.clusterexternalsecret import parse_cluster_external_secret
from syncret.api.externalsecret import ExternalSecret, parse_external_secret
from syncret.api.keys import ObjectKey
from syncret.api.store import Store, parse_store
from syncret.constants import GROUP, VERSION
from syncret.convert.mapping import MISSHAPEN, OTHER_FORM, convert
from syncret.convert.result import Result
from syncret.errors import SpecInvalid
from syncret.providers.registry import parse_provider
from syncret.reconcile.wanted import wanted_of

_STORES: Final = ("SecretStore", "ClusterSecretStore")


@dataclass(slots=True)
class Fleet:
    """What the manifests say; ``remarks``: of what could not be counted, and why."""

    external_secrets: list[ExternalSecret] = field(default_factory=list)
    stores: dict[ObjectKey, str] = field(default_factory=dict)
    #: ClusterSecretStores that are opened for each namespace apart, with its own credentials.
    referent: set[ObjectKey] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)

    def kind(self, store: ObjectKey) -> str:
        """The kind of a store as price lists name it; "" where no manifest has it."""
        return self.stores.get(store, "")

    def lacks(self, store: ObjectKey) -> bool:
        """Whether no manifest has the store."""
        return store not in self.stores

    def place(self, store: ObjectKey, namespace: str) -> ObjectKey:
        """The store as it is open for a namespace."""
        return store._replace(namespace=namespace) if store in self.referent else store

    def store(self, place: ObjectKey) -> ObjectKey:
        """The store of such a place."""
        return place if place.kind == "SecretStore" else place._replace(namespace="")


def fleet_of(documents: Iterable[Mapping[str, Any]], *, namespaces: int) -> Fleet:
    """The fleet of some manifests.

    ``namespaces``: how many a selector selects.
    """
    fleet = Fleet()
    for body in _ours(documents, fleet):
        try:
            _count(fleet, body, namespaces)
        except MISSHAPEN:
            fleet.remarks.append(f"{Result(body).name} is not counted: {OTHER_FORM}.")
    return fleet


def _count(fleet: Fleet, body: dict[str, Any], namespaces: int) -> None:
    match body["kind"]:
        case "SecretStore" | "ClusterSecretStore":
            _add_store(fleet, body)
        case "ExternalSecret":
            _add(fleet, body)
        case "ClusterExternalSecret":
            _spread(fleet, body, namespaces)


def _ours(documents: Iterable[Mapping[str, Any]], fleet: Fleet) -> Iterator[dict[str, Any]]:
    kinds = (*_STORES, "ExternalSecret", "ClusterExternalSecret")
    for document in documents:
        result = convert(document)
        if result.body is None and document.get("kind") in _STORES:
            # What a store cannot carry over changes nothing of what its calls cost.
            yield _named(document)
        elif result.body is None:
            fleet.remarks.append(f"{result.name} is not counted: {result.remarks[0].text}.")
        elif result.body.get("apiVersion") == f"{GROUP}/{VERSION}" and (
            result.body.get("kind") in kinds
        ):
            yield _named(result.body)


def _named(body: Mapping[str, Any]) -> dict[str, Any]:
    """With the metadata that objects of a cluster always have."""
    meta = body.get("metadata")
    meta = meta if isinstance(meta, Mapping) else {}
    given = {"name": "?", "namespace": "default", "uid": "", "generation": 1, **meta}
    if body["kind"].startswith("Cluster"):
        del given["namespace"]
    return {**body, "metadata": given}


def _add_store(fleet: Fleet, body: dict[str, Any]) -> None:
    store = parse_store(body["kind"], body)
    fleet.stores[store.key] = _kind(store)
    try:
        provider, config = parse_provider(store.provider, cluster_scoped=store.cluster_scoped)
    except SpecInvalid as error:
        fleet.remarks.append(f"{store.key}: {error.message}")
        return
    if store.cluster_scoped and any(
        not one.namespace for one in provider.credential_refs(config).values()
    ):
        fleet.referent.add(store.key)


def _kind(store: Store) -> str:
    named = [name for name, part in (store.provider or {}).items() if part is not None]
    if len(named) != 1:
        return ""
    part = store.provider[named[0]]
    service = part.get("service") if named[0] == "aws" and isinstance(part, Mapping) else ""
    return f"{named[0]}/{service}" if service else named[0]


def _add(fleet: Fleet, body: dict[str, Any]) -> None:
    external_secret = parse_external_secret(body)
    if external_secret.problem:
        fleet.remarks.append(f"{external_secret.key} is not counted: {external_secret.problem}")
        return
    wanted_of(external_secret)  # raises if it is of another form
    fleet.external_secrets.append(external_secret)


def _spread(fleet: Fleet, body: dict[str, Any], namespaces: int) -> None:
    parsed = parse_cluster_external_secret(body)
    if parsed.problem:
        fleet.remarks.append(f"{parsed.key} is not counted: {parsed.problem}")
        return
    spec = body["spec"]
    names = [name for name in spec.get("namespaces") or () if isinstance(name, str)]
    if spec.get("namespaceSelectors"):
        names += [f"selected-{number}" for number in range(1, namespaces + 1)]
        fleet.remarks.append(
            f"{parsed.key} is counted for {namespaces} selected namespace"
            f"{'' if namespaces == 1 else 's'} (--namespaces)."
        )
    for name in dict.fromkeys(names):
        meta = {"name": parsed.name, "namespace": name, "uid": name, "generation": 1}
        _add(fleet, {**body, "kind": "ExternalSecret", "metadata": meta, "spec": parsed.spec})
