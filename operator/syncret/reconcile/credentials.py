"""What stores authenticate with: read when a store is opened, and noticed when changed.

That is Secrets, ConfigMaps and ServiceAccounts. A watch of metadata tells of changes of Secrets
(:mod:`syncret.kube.tail`), so no bytes come along; what concerns a store that is known here makes
the store *suspect*. Its next check reads its Secrets once more and compares digests, so that a new
label on a Secret is no new credential. ConfigMaps and ServiceAccounts are not watched: they are
looked at again from time to time.

Nothing here outlives the process: the digests are made with a key that is made at its start.
"""

import base64
import binascii
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Protocol

from syncret.api.keys import CLUSTER_STORES, ObjectKey
from syncret.digest import Digester
from syncret.errors import CredentialsNotFound, KubeNotFound
from syncret.kube.resources import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, Resource
from syncret.providers.base import (
    ConfigMapKeyRef,
    CredentialRef,
    SecretKeyRef,
    SecretValue,
    ServiceAccount,
    ServiceAccountRef,
)
from syncret.reconcile.accounts import Account, TokenMaker

#: Namespace and name of a Secret.
Place = tuple[str, str]

#: What is read for each kind of reference.
_RESOURCES: Final[Mapping[type[CredentialRef], Resource]] = {
    SecretKeyRef: SECRETS,
    ConfigMapKeyRef: CONFIG_MAPS,
    ServiceAccountRef: SERVICE_ACCOUNTS,
}


class CredentialReader(TokenMaker, Protocol):
    """What is needed of the Kubernetes client."""

    async def get(
        self, resource: Resource, *, name: str, namespace: str = ""
    ) -> Mapping[str, Any]: ...

    async def get_metadata(
        self, resource: Resource, *, name: str, namespace: str = ""
    ) -> Mapping[str, Any]: ...


class Proofs(NamedTuple):
    """What a store is opened with, by the provider's own names."""

    values: Mapping[str, SecretValue]
    accounts: Mapping[str, ServiceAccount]


@dataclass(slots=True)
class _Known:
    """What one open store, or one that could not be opened, names and has found there."""

    references: Mapping[str, CredentialRef]
    #: The resourceVersion by place, "" of a Secret that is not there; absent: not looked at yet.
    versions: dict[Place, str] = field(default_factory=dict)
    #: By the provider's name of the credential; None: not looked at yet.
    digests: dict[str, bytes] | None = None
    suspect: bool = False
    #: Changed, and not seen to work yet.
    untried: bool = False
    #: Grows with each change that was seen to work.
    epoch: int = 0

    @property
    def places(self) -> set[Place]:
        """The Secrets."""
        return {
            (one.namespace, one.name)
            for one in self.references.values()
            if isinstance(one, SecretKeyRef)
        }


class Credentials:
    """The credentials of every store. Keys are those of open stores."""

    def __init__(self, kube: CredentialReader) -> None:
        self._kube = kube
        self._digester = Digester(secrets.token_bytes(32))
        self._known: dict[ObjectKey, _Known] = {}
        self._users: dict[Place, set[ObjectKey]] = {}

    def note(self, key: ObjectKey, references: Mapping[str, CredentialRef]) -> None:
        """What a store names from now on. ``references`` have their namespaces."""
        known = self._known.get(key)
        if known is not None and known.references == references:
            return
        self.forget(key)
        known = self._known[key] = _Known(references, epoch=known.epoch if known else 0)
        for place in known.places:
            self._users.setdefault(place, set()).add(key)

    def forget(self, key: ObjectKey) -> None:
        known = self._known.pop(key, None)
        for place in known.places if known is not None else ():
            users = self._users[place]
            users.discard(key)
            if not users:
                del self._users[place]

    def keys(self) -> Collection[ObjectKey]:
        """The stores that are known here."""
        return self._known.keys()

    def epoch(self, key: ObjectKey) -> int:
        """Another number after each change to credentials that work."""
        known = self._known.get(key)
        return known.epoch if known is not None else 0

    async def read(self, key: ObjectKey, references: Mapping[str, CredentialRef]) -> Proofs:
        """The credentials themselves. Raises CredentialsNotFound or KubeError."""
        self.note(key, references)
        known = self._known[key]
        before = known.digests
        found = await self._look(known)
        known.untried |= before is not None and before != known.digests
        for name, reference in references.items():
            if name not in found.values and name not in found.accounts:
                raise _missing(key, reference, there=name in found.there)
        return Proofs(
            {name: SecretValue(value) for name, value in found.values.items()}, found.accounts
        )

    def seen(self, namespace: str, name: str, version: str) -> list[ObjectKey]:
        """A Secret is there in that version, or ("") is not: the stores that this may concern."""
        concerned = []
        for key in self._users.get((namespace, name), ()):
            known = self._known[key]
            if _newer(version, known.versions.get((namespace, name))):
                known.suspect = True
                concerned.append(key)
        return concerned

    async def look_again(self) -> list[ObjectKey]:
        """After a time without a watch: the stores whose Secrets are not as they were."""
        concerned: list[ObjectKey] = []
        for namespace, name in list(self._users):
            try:
                body = await self._kube.get_metadata(SECRETS, namespace=namespace, name=name)
                version = body["metadata"]["resourceVersion"]
            except KubeNotFound:
                version = ""
            users = self._users.get((namespace, name), ())
            if any((namespace, name) in self._known[key].versions for key in users):
                concerned += self.seen(namespace, name, version)
        return concerned

    async def changed(self, key: ObjectKey, *, look: bool = False) -> bool:
        """Whether a credential is another than when it was read last. Raises KubeError.

        ``look``: they are read even if nothing tells of a change.
        """
        known = self._known.get(key)
        if known is None or not (known.suspect or look):
            return False
        before = known.digests
        known.suspect = False
        try:
            await self._look(known)
        except BaseException:
            known.suspect = True
            raise
        if known.digests == before:
            return False
        known.untried = True
        return True

    def proven(self, key: ObjectKey) -> bool:
        """They work. True if that is news: they were changed."""
        known = self._known.get(key)
        if known is None or not known.untried:
            return False
        known.untried = False
        known.epoch += 1
        return True

    async def _look(self, known: _Known) -> "_Found":
        """What is there of all that a store names."""
        bodies: dict[tuple[Resource, Place], Mapping[str, Any]] = {}
        for reference in known.references.values():
            resource, place = _RESOURCES[type(reference)], (reference.namespace, reference.name)
            if (resource, place) in bodies:
                continue
            try:
                body = await self._kube.get(resource, namespace=place[0], name=place[1])
            except KubeNotFound:
                body = {}
            bodies[resource, place] = body
        found = _Found({}, {}, set())
        for name, reference in known.references.items():
            body = bodies[_RESOURCES[type(reference)], (reference.namespace, reference.name)]
            if body:
                self._sort(found, name, reference, body)
        known.versions = {
            place: (body.get("metadata") or {}).get("resourceVersion", "")
            for (resource, place), body in bodies.items()
            if resource is SECRETS
        }
        accounts = {name: account.fingerprint for name, account in found.accounts.items()}
        known.digests = self._digester.values({**found.values, **accounts})
        return found

    def _sort(
        self, found: "_Found", name: str, reference: CredentialRef, body: Mapping[str, Any]
    ) -> None:
        found.there.add(name)
        if isinstance(reference, ServiceAccountRef):
            found.accounts[name] = Account(self._kube, body)
            return
        value = _value(body, reference)
        if value is not None:
            found.values[name] = value


class _Found(NamedTuple):
    """By the name of the credential; ``there``: what exists, with its key or without."""

    values: dict[str, bytes]
    accounts: dict[str, Account]
    there: set[str]


def resolved(references: Mapping[str, CredentialRef], namespace: str) -> dict[str, CredentialRef]:
    """The references with the namespace filled in where it is left out."""
    return {
        name: replace(one, namespace=one.namespace or namespace) for name, one in references.items()
    }


def _value(body: Mapping[str, Any], reference: SecretKeyRef | ConfigMapKeyRef) -> bytes | None:
    try:
        if isinstance(reference, ConfigMapKeyRef) and reference.key in (body.get("data") or {}):
            return str(body["data"][reference.key]).encode()
        part = "data" if isinstance(reference, SecretKeyRef) else "binaryData"
        return base64.b64decode(body[part][reference.key])
    except (KeyError, TypeError, binascii.Error):
        return None


def _missing(key: ObjectKey, reference: CredentialRef, *, there: bool) -> CredentialsNotFound:
    kind = _RESOURCES[type(reference)].kind
    place = f'The {kind} "{reference.name}" in namespace "{reference.namespace}"'
    store = key.store
    use, part = "authenticates with", "auth"
    if isinstance(reference, ConfigMapKeyRef):
        use, part = "trusts", "spec"
    if not there or isinstance(reference, ServiceAccountRef):
        return CredentialsNotFound(
            f"{place}, which {store} {use}, does not exist: create it, or correct the store's "
            f"{part}."
        )
    return CredentialsNotFound(
        f'{place}, which {store} {use}, has no key "{reference.key}": '
        f"add it, or correct the store's {part}."
    )


def _newer(version: str, known: str | None) -> bool:
    """Whether a version of a Secret says something new. "": it is not there."""
    if known is None or version == known:
        return known is None
    try:
        return not version or not known or int(version) > int(known)
    except ValueError:
        return True


def stores_of(keys: Collection[ObjectKey], store: ObjectKey) -> list[ObjectKey]:
    """Those of some keys under which a store is open: its own, and those of its namespaces."""
    if store.kind not in CLUSTER_STORES:  # there may be very many
        return [store] if store in keys else []
    return [key for key in keys if (key.kind, key.name) == (store.kind, store.name)]
