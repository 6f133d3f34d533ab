"""From the cluster to the caches and the queue: kopf's event handlers.

A handler decides nothing. It turns a body into a slim record, puts it in the cache, and adds the
keys that the difference concerns to the queue. Only ``on.event`` is used: every other kind of kopf
handler writes annotations or finalizers to the objects, and on a Secret would write its data into
an annotation.

Not every event means work. The echo of our own status write changes no record that counts, and a
relist after a lost watch (kopf gives its events no type) repeats what is known: both end here.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
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
from syncret.constants import GROUP, VERSION
from syncret.digest import Digester
from syncret.queue import Queue

logger = logging.getLogger(__name__)

Body = Mapping[str, Any]

#: Seconds over which the readers of a changed store are spread, per reader and at most.
_SPREAD_EACH: Final = 0.02
_SPREAD_MOST: Final = 30.0

_STORE_PLURALS: Final[Mapping[Kind, str]] = {
    "SecretStore": "secretstores",
    "ClusterSecretStore": "clustersecretstores",
}
_WORKLOAD_PLURALS: Final[Mapping[WorkloadKind, str]] = {
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
}


class Watcher:
    """The handlers and what they fill."""

    def __init__(self, *, cache: Cache, queue: Queue[ObjectKey], digester: Digester) -> None:
        self._cache = cache
        self._queue = queue
        self._digester = digester

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Makes kopf watch what we need. Which Secrets it sees is set in ``app.py``."""

        def on(group: str, version: str, plural: str, handle: Callable[[Body, bool], None]) -> None:
            @kopf.on.event(group, version, plural, registry=registry, id=plural)
            async def handler(event: Mapping[str, Any], **_: Any) -> None:
                handle(event["object"], event["type"] == "DELETED")

        on(GROUP, VERSION, "externalsecrets", self.external_secret)
        for kind, plural in _STORE_PLURALS.items():
            on(GROUP, VERSION, plural, partial(self.store, kind))
        on("", "v1", "secrets", self.secret)
        for workload_kind, plural in _WORKLOAD_PLURALS.items():
            on("apps", "v1", plural, partial(self.workload, workload_kind))

    def external_secret(self, body: Body, deleted: bool) -> None:
        meta = body["metadata"]
        key = ObjectKey(EXTERNAL_SECRET, meta["namespace"], meta["name"])
        if deleted:
            if _replaced(self._cache.external_secrets.get(key), meta):
                return
            self._cache.external_secrets.drop(key)
            self._queue.forget(key)
            self._queue.add(key)  # one more round, which forgets what is remembered of it
            return
        record = parse_external_secret(body)
        old = self._cache.external_secrets.put(key, record)
        if old != record:  # the status does not count: we wrote it
            self._queue.add(key)

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
            self._queue.add(record.key)
        # Readers that failed try again when the store has recovered.
        if changed or (old is not None and old.ready_status != record.ready_status):
            self._add_readers(record.key, first_seen=old is None)

    def secret(self, body: Body, deleted: bool) -> None:
        record = parse_secret(body, self._digester)
        key = (record.namespace, record.name)
        known = self._cache.secrets.get(key)
        if known is not None and _older(record, known):
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

    def _add_readers(self, store: ObjectKey, *, first_seen: bool) -> None:
        """Queues every ExternalSecret that reads the store; spread, where there are many."""
        readers = self._cache.external_secrets.by("store", store)
        # At the start everything is seen for the first time; the rounds are free of calls then.
        gap = 0.0 if first_seen else min(_SPREAD_EACH, _SPREAD_MOST / max(1, len(readers)))
        for number, reader in enumerate(readers):
            self._queue.add(reader.key, delay=number * gap)

    def _add_consumers_of(self, namespace: str, secrets: Iterable[str]) -> None:
        for secret in secrets:
            for external_secret in self._cache.external_secrets.by("target", (namespace, secret)):
                self._queue.add(external_secret.key)


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


def _older(record: ManagedSecret, known: ManagedSecret) -> bool:
    """Whether a record shows an earlier state of the same Secret than the known one.

    Resource versions of one object may be compared as numbers (KEP-5504); an API server that has
    others gives no comparison, and the event counts.
    """
    if record.uid != known.uid:
        return False
    try:
        return int(record.resource_version) < int(known.resource_version)
    except ValueError:
        return False


def _content(record: ManagedSecret) -> tuple[Any, ...]:
    return (record.uid, record.owner_uid, record.digests, record.immutable, record.labelled)


def _consumed(workload: Workload | None) -> frozenset[str]:
    return frozenset(workload.consumes) if workload is not None else frozenset()
