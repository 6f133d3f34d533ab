"""Rolling restarts by the annotations of Stakater's Reloader, where they are switched on.

One look is at one namespace: what its annotated workloads name is listed (metadata only), what
changed since it was last seen is read, and each workload is compared with what its pods were
started with. That stands in an annotation of the workload itself, which is written when it is first
seen and with each restart, and once more on the pod template, where it makes the restart. So
nothing is remembered here that a restart of the operator would lose, and a change that nobody saw
is caught up.

A Secret that an ExternalSecret rolls out is left to that one.

Refused: Reloader's own marks (``STAKATER_…`` variables, ``last-reloaded-from``). A plain hash of a
Secret is something to test guesses with, and a time in it restarts again with each retry.
"""

import base64
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Protocol

from syncret.api.keys import ObjectKey
from syncret.api.reloader import SourceKind
from syncret.api.workload import Workload, parse_workload
from syncret.cache import Cache
from syncret.clock import Clock, rfc3339
from syncret.constants import RELOAD_ANNOTATION, RELOAD_FIELD_MANAGER
from syncret.digest import Digester
from syncret.errors import KubeConflict, KubeForbidden, KubeNotFound, SyncretError
from syncret.kube.client import KubeClient
from syncret.kube.events import EventRecorder, ObjectRef
from syncret.kube.resources import CONFIG_MAPS, SECRETS, Resource
from syncret.reconcile.rollout.checksum import Entry, entry_for, parse, render, sequence_of
from syncret.reconcile.rollout.executor import RESOURCES
from syncret.reconcile.rollout.roller import Roller
from syncret.worker import Result

logger = logging.getLogger(__name__)

_RESOURCES: Final[Mapping[SourceKind, Resource]] = {"Secret": SECRETS, "ConfigMap": CONFIG_MAPS}

#: Seconds until a namespace is looked at again in which something failed, doubled with each time.
_RETRY: Final = 5.0
_RETRY_MOST: Final = 300.0


class ReloadMetrics(Protocol):
    """What is counted here."""

    def rollout(self, kind: str, result: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Source:
    """A Secret or ConfigMap, as a list of metadata has it."""

    kind: SourceKind
    name: str
    version: str
    annotations: Mapping[str, Any]

    @property
    def label(self) -> str:
        """What it is called in our annotation."""
        return self.name if self.kind == "Secret" else f"ConfigMap/{self.name}"


class ReloadReconciler:
    """Restarts what Reloader would restart, once for each change of data that it uses."""

    def __init__(
        self,
        *,
        cache: Cache,
        kube: KubeClient,
        roller: Roller,
        events: EventRecorder,
        metrics: ReloadMetrics,
        digester: Digester,
        clock: Clock,
    ) -> None:
        """``roller``: whose limits hold for these restarts as well."""
        self._cache = cache
        self._kube = kube
        self._roller = roller
        self._events = events
        self._metrics = metrics
        self._digester = digester
        self._clock = clock
        #: Digests of the values of what was read, with the version that they are of.
        self._read: dict[tuple[SourceKind, str, str], tuple[str, dict[str, bytes]]] = {}
        #: How often in a row a namespace could not be looked at.
        self._failures: dict[str, int] = {}
        #: Workloads that could not be written to, which is told once.
        self._refused: dict[str, None] = {}

    async def reconcile(self, key: ObjectKey) -> Result:
        """One look at a namespace."""
        workloads = self._cache.workloads.by("reload", key.namespace)
        if not workloads:
            self._forget(key.namespace)
            return Result()
        again = inf
        try:
            sources = await self._list(key.namespace)
            for workload in sorted(workloads, key=lambda one: one.key):
                again = min(again, await self._look(workload, sources))
        except SyncretError as error:
            failures = self._failures[key.namespace] = self._failures.get(key.namespace, 0) + 1
            if failures == 1:
                logger.warning(
                    "Annotations of Reloader's are not followed, and it is tried again: %s",
                    error.message,
                    extra={"namespace": key.namespace, "reason": error.reason},
                )
            again = min(_RETRY_MOST, _RETRY * 2.0 ** min(failures - 1, 10))
        else:
            self._failures.pop(key.namespace, None)
        return Result(requeue_after=again if again < inf else None)

    async def _list(self, namespace: str) -> list[_Source]:
        found: list[_Source] = []
        for kind, resource in _RESOURCES.items():
            async for page in self._kube.list_pages(
                resource, namespace=namespace, metadata_only=True
            ):
                found += [
                    _Source(kind, meta["name"], meta["resourceVersion"], _annotations(meta))
                    for meta in (item["metadata"] for item in page.items)
                ]
        return found

    async def _look(self, workload: Workload, sources: list[_Source]) -> float:
        """Compares, and writes what has to be; seconds until the next look is wanted."""
        now = await self._entries(workload, sources)
        if workload.reload is None or not now:
            return inf
        text = workload.reload.checksum
        known = parse(text) if sequence_of(text, workload.uid) else {}
        changed = [
            label
            for label, entry in now.items()
            if label in known and _differs(known[label], entry, self._digester)
        ]
        if not changed and now == known:
            return inf
        sequence = sequence_of(text, workload.uid) + (1 if changed or not known else 0)
        written = render(now, needed=next(iter(now)), sequence=sequence, uid=workload.uid)
        if not changed or await self._is_left_alone(workload):
            wait = self._roller.retry_in(workload)
            if wait > 0:
                return wait
            return await self._write(workload, written, started=workload.reload.started)
        wait = self._roller.wait_for(workload)
        if wait > 0:
            return wait
        return await self._write(workload, written, started=written, because=changed[0])

    async def _is_left_alone(self, workload: Workload) -> bool:
        """By our own annotation, which the workload's namespace may have as well."""
        if workload.wish is None:
            return await self._roller.leaves_alone(workload.key.namespace)
        return not workload.wish

    async def _entries(self, workload: Workload, sources: list[_Source]) -> dict[str, Entry]:
        """What there is now of all that the workload's annotations name."""
        entries: dict[str, Entry] = {}
        if workload.reload is None:
            return entries
        namespace = workload.key.namespace
        for source in sources:
            read = workload.consumes if source.kind == "Secret" else workload.reload.config_maps
            referred = source.name in read
            if not workload.reload.rules.concerns(
                source.kind, source.name, source.annotations, referred=referred
            ) or self._is_rolled_out(source, workload):
                continue
            digests = await self._digests(namespace, source)
            if digests is not None:
                entries[source.label] = entry_for(
                    self._digester,
                    digests,
                    namespace=namespace,
                    secret=source.label,
                    consumed=read.get(source.name),
                )
        return entries

    def _is_rolled_out(self, source: _Source, workload: Workload) -> bool:
        """Whether an ExternalSecret restarts the workload for it already."""
        if source.kind != "Secret" or source.name not in workload.consumes:
            return False
        place = (workload.key.namespace, source.name)
        return any(
            one.rollout.mode == "Auto" or one.rollout.names(workload)
            for one in self._cache.external_secrets.by("target", place)
            if one.rollout.mode != "None"
        )

    async def _digests(self, namespace: str, source: _Source) -> dict[str, bytes] | None:
        """The digests of its values; None if it is gone."""
        place = (source.kind, namespace, source.name)
        known = self._read.get(place)
        if known is not None and known[0] == source.version:
            return known[1]
        try:
            body = await self._kube.get(
                _RESOURCES[source.kind], name=source.name, namespace=namespace
            )
        except KubeNotFound:
            self._read.pop(place, None)
            return None
        digests = self._digester.values(_values(source.kind, body))
        self._read[place] = (body["metadata"]["resourceVersion"], digests)
        return digests

    async def _write(
        self, workload: Workload, text: str, *, started: str, because: str = ""
    ) -> float:
        """Server-side apply of our annotations; seconds until the next look is wanted."""
        key = workload.key
        marked = {RELOAD_ANNOTATION: text}
        meta = {"name": key.name, "namespace": key.namespace, "uid": workload.uid}
        body: dict[str, Any] = {"metadata": {**meta, "annotations": marked}}
        if key.kind == "Rollout":
            if because:
                body["spec"] = {"restartAt": rfc3339(self._clock.wall())}
        elif started:
            template = {"metadata": {"annotations": {RELOAD_ANNOTATION: started}}}
            body["spec"] = {"template": template}
        names = {"kind": key.kind, "namespace": key.namespace, "object": key.name}
        try:
            answer = await self._kube.apply(
                RESOURCES[key.kind],
                body,
                name=key.name,
                namespace=key.namespace,
                field_manager=RELOAD_FIELD_MANAGER,
                force=True,
            )
        except (KubeNotFound, KubeConflict):
            return inf if key not in self._cache.workloads else _RETRY
        except KubeForbidden as error:
            self._metrics.rollout(key.kind, "failed")
            self._roller.failed(workload)
            if workload.uid not in self._refused:
                self._refused[workload.uid] = None
                logger.warning("Not restarted: %s", error.message, extra=names)
            return self._roller.retry_in(workload)
        self._refused.pop(workload.uid, None)
        self._roller.written(workload)
        record = parse_workload(key.kind, answer, reloader=True)
        if record is not None:
            self._cache.workloads.put(key, record)
        if because:
            self._roller.rolled(workload)
            self._metrics.rollout(key.kind, "rolled")
            self._tell(workload, because)
        return inf

    def _tell(self, workload: Workload, because: str) -> None:
        key = workload.key
        kind, _, name = because.rpartition("/")
        what = f'{kind or "Secret"} "{name}"'
        logger.info(
            "Rolling restart begun, by an annotation of Reloader's",
            extra={"kind": key.kind, "namespace": key.namespace, "object": key.name},
        )
        self._events.forget(workload.uid)
        self._events.emit(
            ObjectRef(
                api_version=RESOURCES[key.kind].api_version,
                kind=key.kind,
                namespace=key.namespace,
                name=key.name,
                uid=workload.uid,
            ),
            type="Normal",
            reason=f"{kind or 'Secret'}Changed",
            message=f"A rolling restart was begun because the {what} changed.",
            action="Roll",
        )

    def _forget(self, namespace: str) -> None:
        self._failures.pop(namespace, None)
        self._read = {place: read for place, read in self._read.items() if place[1] != namespace}


def _differs(known: Entry, now: Entry, digester: Digester) -> bool:
    """Another key set, or another digest key: neither equal nor different."""
    return known != now and known.keys == now.keys and digester.knows(known.digest)


def _annotations(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    found = meta.get("annotations")
    return found if isinstance(found, Mapping) else {}


def _values(kind: SourceKind, body: Mapping[str, Any]) -> dict[str, bytes]:
    data = body.get("data") or {}
    if kind == "Secret":
        return {key: base64.b64decode(value or "") for key, value in data.items()}
    binary = body.get("binaryData") or {}
    return {
        **{key: value.encode() for key, value in data.items()},
        **{key: base64.b64decode(value) for key, value in binary.items()},
    }
