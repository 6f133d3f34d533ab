"""From the cluster to the caches and the queue: the handlers of what is watched.

kopf calls them for stores and workloads, a reflector (:mod:`syncret.kube.reflector`) for what
comes by the ten thousand, ExternalSecrets and their Secrets.

A handler decides nothing. It turns a body into a slim record, puts it in the cache, and adds the
keys that the difference concerns to the queue. Only ``on.event`` is used: every other kind of kopf
handler writes annotations or finalizers to the objects, and on a Secret would write its data into
an annotation.

Not every event means work. The echo of our own status write changes no record that counts, and a
relist after a lost watch (kopf gives its events no type) repeats what is known: both end here.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Final, Protocol

import kopf

from syncret.api.externalsecret import KIND as EXTERNAL_SECRET
from syncret.api.externalsecret import parse_external_secret
from syncret.api.keys import Kind, ObjectKey
from syncret.api.secret import ManagedSecret, parse_secret
from syncret.api.store import Store, parse_store
from syncret.api.workload import (
    Workload,
    WorkloadKey,
    WorkloadKind,
    parse_workload,
)
from syncret.cache import Cache
from syncret.digest import Digester
from syncret.kube.resources import (
    CLUSTER_SECRET_STORES,
    DAEMON_SETS,
    DEPLOYMENTS,
    EXTERNAL_SECRETS,
    SECRET_STORES,
    SECRETS,
    STATEFUL_SETS,
    Resource,
)
from syncret.queue import Priority, Queue

logger = logging.getLogger(__name__)

Body = Mapping[str, Any]

#: Seconds over which the readers of a changed store are spread, per reader and at most.
_SPREAD_EACH: Final = 0.02
_SPREAD_MOST: Final = 30.0

#: What kopf does not watch.
REFLECTED: Final = (EXTERNAL_SECRETS, SECRETS)

#: Namespace, name and uid.
Identity = tuple[str, str, str]


class Watcher:
    """The handlers and what they fill."""

    def __init__(
        self,
        *,
        cache: Cache,
        queue: Queue[ObjectKey],
        digester: Digester,
        works_on: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """``works_on``: whether objects of a namespace are this replica's to work on."""
        self._cache = cache
        self._queue = queue
        self._digester = digester
        self._works_on = works_on
        self._handlers: Mapping[Resource, Callable[[Body, bool], None]] = {
            EXTERNAL_SECRETS: self.external_secret,
            SECRET_STORES: partial(self.store, "SecretStore"),
            CLUSTER_SECRET_STORES: partial(self.store, "ClusterSecretStore"),
            SECRETS: self.secret,
            DEPLOYMENTS: partial(self.workload, "Deployment"),
            STATEFUL_SETS: partial(self.workload, "StatefulSet"),
            DAEMON_SETS: partial(self.workload, "DaemonSet"),
        }
        #: Events that were handled, to see when a burst of them is over.
        self.handled = 0

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What is watched."""
        return tuple(self._handlers)

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Makes kopf watch what is not reflected."""

        def on(resource: Resource) -> None:
            place = (resource.group, resource.version, resource.plural)

            @kopf.on.event(*place, registry=registry, id=resource.plural)
            async def handler(event: Mapping[str, Any], **_: Any) -> None:
                self.take(resource, event["object"], event["type"] == "DELETED")

        for resource in self._handlers:
            if resource not in REFLECTED:
                on(resource)

    def take(self, resource: Resource, body: Body, deleted: bool) -> None:
        """Takes in an object as it is now, or as it was when it was deleted."""
        self.handled += 1
        self._handlers[resource](body, deleted)

    def external_secret(self, body: Body, deleted: bool) -> None:
        meta = body["metadata"]
        key = ObjectKey(EXTERNAL_SECRET, meta["namespace"], meta["name"])
        if deleted:
            if _replaced(self._cache.external_secrets.get(key), meta):
                return
            self._cache.external_secrets.drop(key)
            self._queue.forget(key)
            self._add(key)  # one more round, which forgets what is remembered of it
            return
        record = parse_external_secret(body)
        old = self._cache.external_secrets.put(key, record)
        if old != record:  # the status does not count: we wrote it
            asked = old is not None and replace(old, force_sync=record.force_sync) == record
            self._add(key, priority=Priority.FORCED if asked else Priority.URGENT)

    def store(self, kind: Kind, body: Body, deleted: bool) -> None:
        record = parse_store(kind, body)
        if deleted and _replaced(self._cache.stores.get(record.key), body["metadata"]):
            return
        old = (
            self._cache.stores.drop(record.key)
            if deleted
            else self._cache.stores.put(record.key, record)
        )
        changed = deleted or _differs(old, record)
        if changed:
            self._add(record.key)
        # Readers that failed try again when the store has recovered.
        if changed or (old is not None and old.ready_status != record.ready_status):
            self._add_readers(record.key, first_seen=old is None)

    def secret(self, body: Body, deleted: bool) -> None:
        record = parse_secret(body, self._digester)
        key = (record.namespace, record.name)
        known = self._cache.secrets.get(key)
        if known is not None and record.older_than(known):
            return  # the answer to our own write was faster than the watch
        if deleted and _replaced(known, body["metadata"]):
            return
        if deleted:
            self._cache.secrets.drop(key)
        else:
            self._cache.secrets.put(key, record)
        if deleted or known is None or _content(known) != _content(record):
            self._add_consumers_of(record.namespace, [record.name])

    def workload(self, kind: WorkloadKind, body: Body, deleted: bool) -> None:
        meta = body["metadata"]
        key = WorkloadKey(meta["namespace"], kind, meta["name"])
        if deleted and _replaced(self._cache.workloads.get(key), meta):
            return
        record = None if deleted else parse_workload(kind, body)
        if record is None:
            old = self._cache.workloads.drop(key)
        else:
            old = self._cache.workloads.put(key, record)
        if old != record:
            self._add_consumers_of(key.namespace, _consumed(old) | _consumed(record))

    def store_recovered(self, store: ObjectKey) -> None:
        """Lets the readers of a store that may be read again try at once, spread out."""
        self._add_readers(store, first_seen=False)

    def known(self, resource: Resource) -> list[Identity]:
        """What the cache has of a resource."""
        if resource == EXTERNAL_SECRETS:
            return [(es.key.namespace, es.key.name, es.uid) for es in self._cache.external_secrets]
        if resource == SECRETS:
            return [(one.namespace, one.name, one.uid) for one in self._cache.secrets]
        records: Iterable[Store | Workload] = chain(self._cache.stores, self._cache.workloads)
        return [
            (record.key.namespace, record.key.name, record.uid)
            for record in records
            if record.key.kind == resource.kind
        ]

    def gone(self, resource: Resource, identity: Identity) -> None:
        """An object was deleted, and no watch has told of it."""
        namespace, name, uid = identity
        meta = {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": ""}
        self._handlers[resource]({"metadata": meta}, True)

    def _add(
        self, key: ObjectKey, *, priority: Priority = Priority.URGENT, delay: float = 0.0
    ) -> None:
        if self._works_on(key.namespace):
            self._queue.add(key, priority=priority, delay=delay)

    def _add_readers(self, store: ObjectKey, *, first_seen: bool) -> None:
        """Queues every ExternalSecret that reads the store; spread, where there are many."""
        readers = self._cache.external_secrets.by("store", store)
        # At the start everything is seen for the first time; the rounds are free of calls then.
        gap = 0.0 if first_seen else min(_SPREAD_EACH, _SPREAD_MOST / max(1, len(readers)))
        for number, reader in enumerate(readers):
            self._add(reader.key, priority=Priority.FORCED, delay=number * gap)

    def _add_consumers_of(self, namespace: str, secrets: Iterable[str]) -> None:
        for secret in secrets:
            for external_secret in self._cache.external_secrets.by("target", (namespace, secret)):
                self._add(external_secret.key)


class _Known(Protocol):
    """A record of the cache."""

    @property
    def uid(self) -> str: ...


def _replaced(known: _Known | None, deleted: Mapping[str, Any]) -> bool:
    """Whether what was deleted had been replaced under its name already.

    kopf handles the events of each uid in a task of its own, so those of two objects that had one
    name after the other may change places; and our own writes are known before their events.
    """
    return known is not None and known.uid != deleted["uid"]


def _differs(old: Store | None, new: Store) -> bool:
    return old is None or (old.uid, old.generation) != (new.uid, new.generation)


def _content(record: ManagedSecret) -> tuple[Any, ...]:
    return (record.uid, record.owner_uid, record.digests, record.immutable, record.labelled)


def _consumed(workload: Workload | None) -> frozenset[str]:
    return frozenset(workload.consumes) if workload is not None else frozenset()
