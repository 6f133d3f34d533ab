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
from typing import Any, Final

import kopf

from syncret.api.clusterexternalsecret import KIND as CLUSTER_EXTERNAL_SECRET
from syncret.api.clusterexternalsecret import (
    ClusterExternalSecret,
    parse_cluster_external_secret,
    parse_stamped,
)
from syncret.api.externalsecret import KIND as EXTERNAL_SECRET
from syncret.api.externalsecret import ExternalSecret, parse_external_secret
from syncret.api.generated import parse_generated
from syncret.api.keys import Identity, Kind, ObjectKey
from syncret.api.secret import parse_secret
from syncret.api.selector import Namespace, parse_namespace
from syncret.api.store import Store, parse_store
from syncret.api.template import SourceKind
from syncret.api.workload import (
    Workload,
    WorkloadKey,
    WorkloadKind,
    parse_workload,
)
from syncret.cache import Cache
from syncret.constants import GENERATED_PREFIX, GENERATED_TYPE, OWNER_ANNOTATION
from syncret.digest import Digester
from syncret.kube.resources import (
    ARGO_ROLLOUTS,
    CLUSTER_EXTERNAL_SECRETS,
    CLUSTER_GENERATORS,
    CLUSTER_SECRET_STORES,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    EXTERNAL_SECRETS,
    GENERATORS,
    JOBS,
    NAMESPACES,
    SECRET_STORES,
    SECRETS,
    STATEFUL_SETS,
    Resource,
)
from syncret.news import consumed, content, differs, replaced
from syncret.queue import Priority, Queue

logger = logging.getLogger(__name__)

Body = Mapping[str, Any]

#: Seconds over which the readers of a changed store are spread, per reader and at most.
_SPREAD_EACH: Final = 0.02
_SPREAD_MOST: Final = 30.0

#: Seconds that a ClusterExternalSecret waits for more of what concerns it: labels are often put on
#: many namespaces at once, and its own writes come back one by one.
_GATHER: Final = 0.2

#: Seconds that is waited for more changes of what Reloader's annotations name.
_RELOAD: Final = 1.0

#: What kopf does not watch.
REFLECTED: Final = (EXTERNAL_SECRETS, SECRETS)

#: Kinds of workloads without which the operator does its work: they may not be served, or it may
#: not list them.
OPTIONAL: Final = (CRON_JOBS, JOBS, ARGO_ROLLOUTS)


class Watcher:
    """The handlers and what they fill."""

    def __init__(
        self,
        *,
        cache: Cache,
        queue: Queue[ObjectKey],
        digester: Digester,
        works_on: Callable[[str], bool] = lambda _: True,
        controller_class: str = "",
        want_namespaces: Callable[[], None] = lambda: None,
        credential_seen: Callable[[str, str, str], Iterable[ObjectKey]] = lambda *_: (),
        template_changed: Callable[[ObjectKey], None] = lambda _: None,
        want_config_maps: Callable[[], None] = lambda: None,
        gather: float = _GATHER,
        reloader: bool = False,
        hinted: Callable[[ObjectKey], object] = lambda _: None,
    ) -> None:
        """``works_on``: whether objects of a namespace are this replica's to work on.

        ``controller_class``: that of the stores that are this operator's. ``want_namespaces`` is
        called when namespaces have to be watched. ``credential_seen`` is told namespace, name and
        version of a Secret ("" if it is gone), and gives the stores that this concerns.
        ``template_changed`` is told of an ExternalSecret whose templates may have changed
        elsewhere, ``want_config_maps`` called when ConfigMaps have to be watched for that.
        ``gather``: seconds that is waited for more news of the pods of workloads. ``reloader``:
        whether annotations of Reloader's count. ``hinted`` is told of an ExternalSecret of whose
        store another replica heard an event.
        """
        self._reloader = reloader
        self._gather = gather
        self._hinted = hinted
        self._controller_class = controller_class
        self._want_namespaces = want_namespaces
        self._credential_seen = credential_seen
        self._template_changed = template_changed
        self._want_config_maps = want_config_maps
        self._cache = cache
        self._queue = queue
        self._digester = digester
        self._works_on = works_on
        self._handlers: Mapping[Resource, Callable[[Body, bool], None]] = {
            EXTERNAL_SECRETS: self.external_secret,
            SECRET_STORES: partial(self.store, "SecretStore"),
            CLUSTER_SECRET_STORES: partial(self.store, "ClusterSecretStore"),
            GENERATORS: partial(self.store, "Generator"),
            CLUSTER_GENERATORS: partial(self.store, "ClusterGenerator"),
            CLUSTER_EXTERNAL_SECRETS: self.cluster_external_secret,
            SECRETS: self.secret,
            DEPLOYMENTS: partial(self.workload, "Deployment"),
            STATEFUL_SETS: partial(self.workload, "StatefulSet"),
            DAEMON_SETS: partial(self.workload, "DaemonSet"),
            CRON_JOBS: partial(self.workload, "CronJob"),
            JOBS: partial(self.workload, "Job"),
            ARGO_ROLLOUTS: partial(self.workload, "Rollout"),
        }
        self._namespaces_seen = False
        #: Events that were handled, to see when a burst of them is over.
        self.handled = 0

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What is always watched."""
        return tuple(resource for resource in self._handlers if resource not in OPTIONAL)

    @property
    def by_kopf(self) -> tuple[Resource, ...]:
        """What kopf watches."""
        return tuple(resource for resource in self.resources if resource not in REFLECTED)

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Makes kopf watch what is not reflected."""

        def on(resource: Resource) -> None:
            place = (resource.group, resource.version, resource.plural)

            @kopf.on.event(*place, registry=registry, id=resource.plural)
            async def handler(event: Mapping[str, Any], **_: Any) -> None:
                self.take(resource, event["object"], event["type"] == "DELETED")

        for resource in self.by_kopf:
            on(resource)

    def take(self, resource: Resource, body: Body, deleted: bool) -> None:
        """Takes in an object as it is now, or as it was when it was deleted."""
        self.handled += 1
        self._handlers[resource](body, deleted)

    def external_secret(self, body: Body, deleted: bool) -> None:
        meta = body["metadata"]
        key = ObjectKey(EXTERNAL_SECRET, meta["namespace"], meta["name"])
        if deleted:
            if replaced(self._cache.external_secrets.get(key), meta):
                return
            self._cache.external_secrets.drop(key)
            self._stamped(key, body, deleted=True)
            self._queue.forget(key)
            self._add(key)  # one more round, which forgets what is remembered of it
            return
        self._stamped(key, body, deleted=False)
        record = parse_external_secret(body)
        if any(kind == "ConfigMap" for kind, _ in record.template.sources):
            self._want_config_maps()
        old = self._cache.external_secrets.put(key, record)
        if old != record:  # the status does not count: we wrote it
            asked = (
                old is not None
                and replace(old, force_sync=record.force_sync, rotate=record.rotate) == record
            )
            self._add(key, priority=Priority.FORCED if asked else Priority.URGENT)
        if (
            old is not None
            and record.event not in {"", old.event}
            and self._works_on(key.namespace)
        ):
            self._hinted(key)

    def cluster_external_secret(self, body: Body, deleted: bool) -> None:
        record = parse_cluster_external_secret(body)
        table = self._cache.cluster_external_secrets
        if deleted and replaced(table.get(record.key), body["metadata"]):
            return
        if not deleted:
            self._want_namespaces()
        old = table.drop(record.key) if deleted else table.put(record.key, record)
        if deleted or old != record:  # the status does not count: we wrote it
            self._add(record.key)

    def namespace(self, body: Body, deleted: bool) -> None:
        """What matters of a namespace are its labels: to who selects by them."""
        record = parse_namespace(body)
        table = self._cache.namespaces
        if deleted and replaced(table.get(record.name), body["metadata"]):
            return
        old = table.drop(record.name) if deleted else table.put(record.name, record)
        if not self._namespaces_seen or (old == record and not deleted):
            return
        for ces in self._cache.cluster_external_secrets:
            self._add(ces.key, delay=_GATHER)
        before, now = old or Namespace(record.name), self._cache.namespace(record.name)
        for store in self._cache.stores:
            if store.by_labels and store.selections(before) != store.selections(now):
                self._add_readers(store.key._replace(namespace=record.name), first_seen=False)

    def all_namespaces_seen(self) -> None:
        """The first list of them is complete."""
        self._namespaces_seen = True
        for ces in self._cache.cluster_external_secrets:
            self._add(ces.key)
        for store in self._cache.stores:
            if store.by_labels:
                self._add_readers(store.key, first_seen=False)

    def credential(self, body: Body, deleted: bool) -> None:
        """Some Secret, as its metadata: the credential of a store, perhaps, or a template."""
        self.template_source("Secret", body, deleted)
        meta = body["metadata"]
        version = "" if deleted else meta["resourceVersion"]
        self.check_stores(self._credential_seen(meta["namespace"], meta["name"], version))

    def unmanaged(self, body: Body, deleted: bool) -> None:
        """Some Secret without our label, as its metadata, since it changed.

        It may be the credential of a store; or one that an ExternalSecret waits for, to merge into
        it or to be handed over.
        """
        self.credential(body, deleted)
        meta = body["metadata"]
        place = (meta["namespace"], meta["name"])
        if deleted:
            told, said = self._cache.unmanaged.drop(place), None
        elif self._cache.external_secrets.count("target", place):
            said = f"{meta['uid']} {(meta.get('annotations') or {}).get(OWNER_ANNOTATION, '')}"
            told = self._cache.unmanaged.put(place, said)
        else:
            return
        if told != said:
            self._add_consumers_of(meta["namespace"], [meta["name"]])

    def check_stores(self, keys: Iterable[ObjectKey]) -> None:
        """Lets stores see whether their credentials have changed."""
        for key in keys:
            self._add(key)

    def store(self, kind: Kind, body: Body, deleted: bool) -> None:
        record = parse_store(kind, body, controller_class=self._controller_class)
        if record.by_labels and not deleted:
            self._want_namespaces()
        if deleted and replaced(self._cache.stores.get(record.key), body["metadata"]):
            return
        old = (
            self._cache.stores.drop(record.key)
            if deleted
            else self._cache.stores.put(record.key, record)
        )
        changed = deleted or differs(old, record)
        if changed:
            self._add(record.key)
        # Readers that failed try again when the store has recovered.
        if changed or (old is not None and old.ready_status != record.ready_status):
            self._add_readers(record.key, first_seen=old is None)

    def generated(self, body: Body, deleted: bool) -> None:
        """A Secret with what generators made: nobody's target."""
        meta = body["metadata"]
        uid = meta["name"].removeprefix(GENERATED_PREFIX)
        known = self._cache.generated.get(uid)
        if known is not None and deleted and known.uid != meta["uid"]:
            return  # it was made anew meanwhile
        record = None if deleted else parse_generated(body, self._digester)
        if record is None:
            if known is None or known.uid != meta["uid"]:
                return  # nothing of ours: a copy, perhaps
            self._cache.generated.drop(uid)
            if deleted and known.leased and self._works_on(known.namespace):
                self._cache.lost.put(uid, known)
            self._add(ObjectKey(EXTERNAL_SECRET, known.namespace, known.owner))
            return
        if known is not None and record.older_than(known):
            return  # the answer to our own write was faster than the watch
        self._cache.generated.put(record.owner_uid, record)
        if known is None or not record.says_the_same_as(known):
            self._add(ObjectKey(EXTERNAL_SECRET, record.namespace, record.owner))

    def secret(self, body: Body, deleted: bool) -> None:
        if body.get("type") == GENERATED_TYPE or (
            deleted and body["metadata"]["name"].startswith(GENERATED_PREFIX)
        ):
            self.generated(body, deleted)
            return
        record = parse_secret(body, self._digester)
        key = (record.namespace, record.name)
        known = self._cache.secrets.get(key)
        if known is not None and record.older_than(known):
            return  # the answer to our own write was faster than the watch
        if deleted and replaced(known, body["metadata"]):
            return
        if deleted:
            self._cache.secrets.drop(key)
        else:
            self._cache.secrets.put(key, record)
        self.credential(body, deleted)  # what we wrote may be what a store authenticates with
        # A write to a shared Secret is known here by now, but its other users have not heard of it.
        shared = bool(record.claims)
        if deleted or known is None or shared or content(known) != content(record):
            self._add_consumers_of(record.namespace, [record.name])
            for name in () if deleted else record.claims:
                claimant = ObjectKey(EXTERNAL_SECRET, record.namespace, name)
                if self._cache.external_secrets.get(claimant) is None:
                    self._add(claimant)  # it may be gone since before our start

    def template_source(self, kind: SourceKind, body: Body, deleted: bool) -> None:  # noqa: ARG002 - a handler
        """Some ConfigMap or Secret, as its metadata: templates are taken from it, perhaps."""
        meta = body["metadata"]
        self._look_at_templates(
            self._cache.external_secrets.by("template", (kind, meta["namespace"], meta["name"]))
        )
        namespace, name = meta["namespace"], meta["name"]
        for workload in self._cache.workloads.by("reload", namespace):
            if workload.reload is not None and (
                workload.reload.rules.names(kind, name)
                or name in (workload.consumes if kind == "Secret" else workload.reload.config_maps)
            ):
                self._add(ObjectKey("Reload", namespace, ""), delay=_RELOAD)
                break

    def template_sources_missed(self, kind: SourceKind) -> None:
        """Changes of ConfigMaps or Secrets may have gone unseen."""
        self._look_at_templates(
            external_secret
            for external_secret in self._cache.external_secrets
            if any(source == kind for source, _ in external_secret.template.sources)
        )
        for namespace in self._cache.reloads():
            self._add(ObjectKey("Reload", namespace, ""), delay=_RELOAD)

    def _look_at_templates(self, external_secrets: Iterable[ExternalSecret]) -> None:
        for external_secret in external_secrets:
            self._template_changed(external_secret.key)
            self._add(external_secret.key)

    def workload(self, kind: WorkloadKind, body: Body, deleted: bool) -> None:
        meta = body["metadata"]
        key = WorkloadKey(meta["namespace"], kind, meta["name"])
        if deleted and replaced(self._cache.workloads.get(key), meta):
            return
        record = None if deleted else parse_workload(kind, body, reloader=self._reloader)
        if record is None:
            old = self._cache.workloads.drop(key)
        else:
            old = self._cache.workloads.put(key, record)
        if old == record:
            return
        # Pods of many workloads are replaced at the same time, and each tells of it several times.
        pods = old is not None and record is not None and old.template == record.template
        delay = self._gather if pods else 0.0
        self._add_consumers_of(key.namespace, consumed(old) | consumed(record), delay=delay)
        if any(one is not None and one.reload is not None for one in (old, record)):
            self._want_config_maps()
            self._add(ObjectKey("Reload", key.namespace, ""), delay=_RELOAD)
        for external_secret in self._cache.external_secrets.by("rolls", key.namespace):
            names = external_secret.rollout.names
            if any(one is not None and names(one) for one in (old, record)):
                self._add(external_secret.key, delay=delay)

    def store_recovered(self, store: ObjectKey) -> None:
        """Lets the readers of a store that may be read again try at once, spread out."""
        self._add_readers(store, first_seen=False)

    def known(self, resource: Resource) -> list[Identity]:
        """What the cache has of a resource."""
        if resource == EXTERNAL_SECRETS:
            return [(es.key.namespace, es.key.name, es.uid) for es in self._cache.external_secrets]
        if resource == SECRETS:
            ours = [(one.namespace, one.name, one.uid) for one in self._cache.secrets]
            return ours + [(one.namespace, one.name, one.uid) for one in self._cache.generated]
        if resource == NAMESPACES:
            return [("", one.name, one.uid) for one in self._cache.namespaces]
        records: Iterable[Store | Workload | ClusterExternalSecret] = chain(
            self._cache.stores, self._cache.workloads, self._cache.cluster_external_secrets
        )
        return [
            (record.key.namespace, record.key.name, record.uid)
            for record in records
            if record.key.kind == resource.kind
        ]

    def gone(self, resource: Resource, identity: Identity) -> None:
        """An object was deleted, and no watch has told of it."""
        namespace, name, uid = identity
        meta = {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": ""}
        handler = self.namespace if resource == NAMESPACES else self._handlers[resource]
        handler({"metadata": meta}, True)

    def _add(
        self, key: ObjectKey, *, priority: Priority = Priority.URGENT, delay: float = 0.0
    ) -> None:
        if self._works_on(key.namespace):
            self._queue.add(key, priority=priority, delay=delay)

    def _add_readers(self, store: ObjectKey, *, first_seen: bool) -> None:
        """Queues every ExternalSecret that reads the store; spread, where there are many.

        Of a cluster-scoped store with a namespace, those of that namespace.
        """
        key = store.store
        readers = self._cache.external_secrets.by("store", key)
        if key != store:
            readers = [reader for reader in readers if reader.key.namespace == store.namespace]
        # At the start everything is seen for the first time; the rounds are free of calls then.
        gap = 0.0 if first_seen else min(_SPREAD_EACH, _SPREAD_MOST / max(1, len(readers)))
        for number, reader in enumerate(readers):
            self._add(reader.key, priority=Priority.FORCED, delay=number * gap)

    def _stamped(self, key: ObjectKey, body: Body, *, deleted: bool) -> None:
        """What concerns the ClusterExternalSecret that made an ExternalSecret, or wants to."""
        record = None if deleted else parse_stamped(body)
        old = self._cache.stamped.drop(key)
        if record is not None:
            self._cache.stamped.put(key, record)
        if deleted:  # the name is free for whoever wants it
            for ces in self._cache.cluster_external_secrets:
                if ces.name == key.name:
                    self._add(ces.key, delay=_GATHER)
        if old != record:
            for owner in {one.owner for one in (old, record) if one is not None}:
                self._add(ObjectKey(CLUSTER_EXTERNAL_SECRET, "", owner), delay=_GATHER)

    def _add_consumers_of(
        self, namespace: str, secrets: Iterable[str], *, delay: float = 0.0
    ) -> None:
        for secret in secrets:
            for external_secret in self._cache.external_secrets.by("target", (namespace, secret)):
                self._add(external_secret.key, delay=delay)
