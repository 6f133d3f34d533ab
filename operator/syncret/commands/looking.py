"""Reads what a picture is made of, as far as the caller may."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from syncret.api.externalsecret import ExternalSecret, parse_external_secret
from syncret.api.keys import ObjectKey
from syncret.api.store import Store, parse_store
from syncret.api.workload import WORKLOAD_KINDS, parse_workload
from syncret.clock import SystemClock
from syncret.commands.picture import Picture, consumers_of, key_read, keys_made, reader_of
from syncret.constants import FORCE_SYNC_ANNOTATION, ROTATE_ANNOTATION
from syncret.errors import KubeError, KubeNotFound, SyncretError
from syncret.kube.client import KubeClient
from syncret.kube.connection import find_connection, open_session
from syncret.kube.people import yours
from syncret.kube.resources import (
    DAEMON_SETS,
    DEPLOYMENTS,
    EXTERNAL_SECRETS,
    STATEFUL_SETS,
    STORES,
    Resource,
)

PODS: Final = Resource("", "v1", "pods", "Pod", namespaced=True)
JOBS: Final = Resource("batch", "v1", "jobs", "Job", namespaced=True)
CRON_JOBS: Final = Resource("batch", "v1", "cronjobs", "CronJob", namespaced=True)
ROLLOUTS: Final = Resource("argoproj.io", "v1alpha1", "rollouts", "Rollout", namespaced=True)

_WORKLOADS: Final = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, CRON_JOBS, JOBS, ROLLOUTS)

#: The field manager of the annotations that people have us write.
_MANAGER: Final = "syncret-cli"

#: Namespaces that are read at the same time.
_AT_ONCE: Final = 8

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a command is about.

    ``names``: ExternalSecrets by name, none: all; ``store`` and ``key``: those that read it.
    """

    namespace: str = ""
    names: frozenset[str] = frozenset()
    store: ObjectKey | None = None
    key: str = ""


@dataclass(slots=True)
class Cluster:
    """The cluster, as the caller may see it."""

    kube: KubeClient
    namespace: str
    problems: dict[str, None] = field(default_factory=dict)
    blind: bool = False
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def stores(self, wanted: ObjectKey) -> dict[ObjectKey, Store]:
        """The stores among which the wanted one is, as far as they may be read."""
        bodies = await self._all(STORES[wanted.kind], wanted.namespace)
        found = [parse_store(wanted.kind, body) for body in bodies]
        return {store.key: store for store in found}

    async def picture(self, scope: Scope, stores: Mapping[ObjectKey, Store]) -> Picture:
        """Who reads the secret now, and with which pods. Raises SyncretError."""
        readers: list[tuple[ExternalSecret, str]] = []
        async for page in self._pages(EXTERNAL_SECRETS, scope.namespace):
            for body in page:
                external_secret = parse_external_secret(body)
                if scope.names and external_secret.key.name not in scope.names:
                    continue
                key = scope.key or next(
                    (source.key for source in external_secret.status.sources), ""
                )
                if scope.store is not None:
                    key = key_read(external_secret, stores, scope.store, scope.key)
                    if not key:
                        continue
                readers.append((external_secret, key))
        namespaces = sorted({one.key.namespace for one, _ in readers})
        seen = dict(
            zip(namespaces, await asyncio.gather(*map(self._consumers, namespaces)), strict=True)
        )
        made = []
        for external_secret, key in readers:
            workloads, pods = seen[external_secret.key.namespace]
            reader = reader_of(external_secret, key)
            keys = keys_made(external_secret, key) if scope.key else None
            consumers = consumers_of(
                reader, keys, workloads=workloads, pods=pods, named=_named(external_secret)
            )
            made.append(replace(reader, consumers=consumers))
        made.sort(key=lambda one: one.place)
        return Picture(tuple(made), tuple(self.problems), self.blind)

    async def annotate(self, namespace: str, name: str, annotation: str, value: str) -> None:
        """Raises KubeError."""
        try:
            await self.kube.merge_patch(
                EXTERNAL_SECRETS,
                {"metadata": {"annotations": {annotation: value}}},
                name=name,
                namespace=namespace,
                field_manager=_MANAGER,
                metadata_only=True,
            )
        except KubeError as error:
            raise yours(error, "patch", EXTERNAL_SECRETS, namespace) from None

    async def ask_to_rotate(self, namespace: str, name: str, value: str) -> None:
        await self.annotate(namespace, name, ROTATE_ANNOTATION, value)

    async def ask_to_sync(self, namespace: str, name: str, value: str) -> None:
        await self.annotate(namespace, name, FORCE_SYNC_ANNOTATION, value)

    async def _consumers(self, namespace: str) -> tuple[list[Body], list[Body]]:
        async with self._turns:
            workloads: list[Body] = []
            for resource in _WORKLOADS:
                workloads += await self._all(resource, namespace, matters=True)
            return workloads, await self._all(PODS, namespace, matters=True)

    async def _all(
        self, resource: Resource, namespace: str = "", *, matters: bool = False
    ) -> list[Body]:
        """What may be read; what may not is a problem that is told.

        ``matters``: pods with an old value may be among what is not seen.
        """
        found: list[Body] = []
        try:
            async for page in self._pages(resource, namespace):
                # The items of a list do not say their kind.
                found += [{**body, "kind": resource.kind} for body in page]
        except KubeNotFound:
            return []  # a kind that this cluster does not have
        except SyncretError as error:
            message = error.message
            if resource is ROLLOUTS:  # who may see nothing of a kind is not told that there is none
                message += " Nothing is missed if the cluster has no Argo Rollouts."
            else:
                self.blind = self.blind or matters
            self.problems[message] = None
        return found

    async def _pages(self, resource: Resource, namespace: str) -> AsyncIterator[list[Body]]:
        try:
            async for page in self.kube.list_pages(resource, namespace=namespace):
                yield list(page.items)
        except KubeError as error:
            raise yours(error, "list", resource, namespace) from None


def _named(external_secret: ExternalSecret) -> Callable[[Body], bool]:
    """Whether the targets of its rollout name a workload."""
    rollout = external_secret.rollout

    def named(body: Body) -> bool:
        if rollout.mode != "Targets" or body["kind"] not in WORKLOAD_KINDS:
            return False
        workload = parse_workload(body["kind"], body)
        return workload is not None and rollout.names(workload)

    return named


@asynccontextmanager
async def open_cluster(kubeconfig: str, context: str) -> AsyncIterator[Cluster]:
    """The cluster of a kubeconfig, or of the usual places; says on stderr which one it is.

    Raises SetupError.
    """
    connection = await find_connection(clock=SystemClock(), kubeconfig=kubeconfig, context=context)
    with contextlib.suppress(OSError):
        print(f"{connection.server} ({connection.source})", file=sys.stderr, flush=True)
    async with open_session(connection, user_agent="syncret-cli") as session:
        kube = KubeClient(session, connection.server)
        yield Cluster(kube, connection.default_namespace or "default")
