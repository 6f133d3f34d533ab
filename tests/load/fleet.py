"""Many ExternalSecrets, their stores and their namespaces: made fast, waited for, deleted.

Everything of a fleet follows from its :class:`Shape`, so that two of the same shape cost the same.
Waiting for it costs the API server nothing: the audit log tells when as many statuses were written
as there are objects, and only then the objects are listed, to see that they say the right thing.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from load.kube import GROUP_PATH, MERGE_PATCH, ApiError, Body, Kube, each
from load.measure import Requests
from testbed.progress import Step

#: The namespace of the stores' credentials.
CREDENTIALS: Final = "load-credentials"
#: Where the probes are; every store admits it.
PROBES: Final = "load-probes"
API: Final = "syncret.io/v1alpha1"

#: Seconds without any progress after which a fleet counts as stuck.
_STUCK: Final = 90.0
_SECRET_KEY: Final = "fake-secret-access-key"


class Stuck(Exception):
    """A fleet does not get where it should; the text says how far it got."""


@dataclass(frozen=True, slots=True)
class Store:
    """A ClusterSecretStore, or a SecretStore in every namespace. ``account``: see standin.py."""

    name: str
    endpoint: str
    account: str
    cluster: bool = True

    @property
    def kind(self) -> str:
        return "ClusterSecretStore" if self.cluster else "SecretStore"

    @property
    def reference(self) -> Body:
        return {"name": self.name, "kind": self.kind}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """``keys``: how many different ones are read; 0: each object reads its own.

    ``prefix`` begins the names of the namespaces, ``path`` those of the keys. ``workloads``: how
    many Deployments use a Secret of the fleet; there is no node, so their pods stay pending.
    """

    size: int
    stores: tuple[Store, ...]
    interval: str = "8760h"
    namespaces: int = 20
    keys: int = 0
    prefix: str = "load"
    path: str = "production/"
    workloads: int = 0

    def names(self) -> Iterator[tuple[int, str, str]]:
        """The number, namespace and name of every object."""
        for number in range(self.size):
            yield number, self.namespace(number), f"app-{number:06}"

    def namespace(self, number: int) -> str:
        return f"{self.prefix}-{number % self.namespaces:03}"

    @property
    def all_namespaces(self) -> list[str]:
        return [self.namespace(number) for number in range(min(self.namespaces, self.size))]

    def external_secret(self, number: int, namespace: str, name: str) -> Body:
        key = f"{self.path}{number % self.keys if self.keys else number:06}"
        # Turns within a namespace, so that no store is tied to some of the namespaces.
        store = self.stores[number // self.namespaces % len(self.stores)]
        return external_secret(namespace, name, key=key, store=store, interval=self.interval)


def external_secret(namespace: str, name: str, *, key: str, store: Store, interval: str) -> Body:
    return {
        "apiVersion": API,
        "kind": "ExternalSecret",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "refreshInterval": interval,
            "secretStoreRef": store.reference,
            "dataFrom": [{"extract": {"key": key}}],
        },
    }


async def prepare(kube: Kube, stores: Sequence[Store], namespaces: Sequence[str]) -> None:
    """Makes the namespaces, the stores for them, and the stores' credentials."""

    async def make_namespace(name: str) -> None:
        await kube.create(
            "/api/v1/namespaces",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        )

    await each([CREDENTIALS, PROBES, *namespaces], make_namespace, in_flight=8)
    for store in stores:
        places = [CREDENTIALS] if store.cluster else [*namespaces, PROBES]
        for place in places:
            await kube.create(f"/api/v1/namespaces/{place}/secrets", _credentials(store, place))
        if store.cluster:
            await _admit(kube, store, sorted({PROBES, *namespaces}))
            continue
        for place in places:
            body = _store(store, ())
            body["metadata"]["namespace"] = place
            await kube.create(f"{GROUP_PATH}/namespaces/{place}/secretstores", body)


async def _admit(kube: Kube, store: Store, namespaces: Sequence[str]) -> None:
    """Makes the ClusterSecretStore for these namespaces, or adds them to the one that there is."""
    collection = f"{GROUP_PATH}/clustersecretstores"
    body = _store(store, namespaces)
    try:
        former = await kube.get(f"{collection}/{store.name}")
    except ApiError as error:
        if error.status != 404:
            raise
        await kube.create(collection, body)
        return
    conditions = [*former["spec"]["conditions"], *body["spec"]["conditions"]]
    if body["spec"]["conditions"][0] not in former["spec"]["conditions"]:
        patch = {"spec": {"conditions": conditions}}
        await kube.send("PATCH", f"{collection}/{store.name}", patch, content=MERGE_PATCH)


async def create(kube: Kube, shape: Shape, *, step: Step) -> None:
    """Makes the objects of a fleet, with all they need."""
    await prepare(kube, shape.stores, shape.all_namespaces)

    async def make(row: tuple[int, str, str]) -> None:
        body = shape.external_secret(*row)
        await kube.create(f"{GROUP_PATH}/namespaces/{row[1]}/externalsecrets", body)

    async def make_workload(row: tuple[int, str, str]) -> None:
        _, namespace, name = row
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        await kube.create(path, workload(namespace, name, secret=name))

    def tell(count: int) -> None:
        step.detail = f"{count:,} of {shape.size:,}"

    rows = list(shape.names())
    await each(rows[: shape.workloads], make_workload)
    await each(rows, make, done=tell)


async def readiness(kube: Kube, shape: Shape) -> Counter[str]:
    """How many say Ready "True", "False", or "" (nothing yet). Reads every object."""
    found: Counter[str] = Counter()
    async for body in kube.items(f"{GROUP_PATH}/externalsecrets"):
        if body["metadata"]["namespace"].startswith(f"{shape.prefix}-"):
            found[_ready(body)] += 1
    return found


async def wait_told(
    kube: Kube, shape: Shape, requests: Requests, *, step: Step, status: str = "True"
) -> None:
    """Until every object says Ready with that status. Raises Stuck.

    ``requests`` was reset before the first of them was synced.
    """
    seen, since, looked = -1, time.monotonic(), 0.0
    while True:
        requests.poll()
        told = requests.succeeded("patch", "externalsecrets/status")
        step.detail = f"{min(told, shape.size):,} of {shape.size:,}"
        now = time.monotonic()
        if told != seen:
            seen, since = told, now
        # All were told, or it looks as if nothing went on: see what they say.
        quiet = now - since > 5
        if (told >= shape.size or quiet) and now - looked > 2:
            found = await readiness(kube, shape)
            if found[status] == shape.size:
                return
            looked = time.monotonic()
            if now - since > _STUCK:
                raise Stuck(
                    f"{found[status]:,} of {shape.size:,} are Ready={status}, and for "
                    f"{_STUCK:.0f} s no status was written; {dict(found)}"
                )
        await asyncio.sleep(0.25)


async def delete(kube: Kube, shape: Shape, *, step: Step) -> None:
    """Deletes the ExternalSecrets, Secrets, Events and Deployments of a fleet."""
    resources = (
        f"{GROUP_PATH}/namespaces/{{}}/externalsecrets",
        "/api/v1/namespaces/{}/secrets",
        "/apis/events.k8s.io/v1/namespaces/{}/events",
        "/apis/apps/v1/namespaces/{}/deployments",
    )
    paths = [
        resource.format(namespace) for resource in resources for namespace in shape.all_namespaces
    ]

    async def clear(path: str) -> None:
        await kube.send("DELETE", path)

    def tell(count: int) -> None:
        step.detail = f"{count} of {len(paths)} collections"

    await each(paths, clear, in_flight=16, done=tell)


async def sample(kube: Kube, shape: Shape) -> Body:
    """What the operator wrote for one object of a synced fleet: its Secret and its status."""
    _, namespace, name = next(shape.names())
    secret = await kube.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
    path = f"{GROUP_PATH}/namespaces/{namespace}/externalsecrets/{name}"
    return {"secret": secret, "status": (await kube.get(path))["status"]}


async def identities(kube: Kube, shape: Shape) -> list[tuple[str, str, str]]:
    """Namespace, name and uid of every object of a fleet."""
    found = []
    async for body in kube.items(f"{GROUP_PATH}/externalsecrets"):
        meta = body["metadata"]
        if meta["namespace"].startswith(f"{shape.prefix}-"):
            found.append((meta["namespace"], meta["name"], meta["uid"]))
    return found


def _ready(body: Body) -> str:
    for condition in body.get("status", {}).get("conditions", ()):
        if condition["type"] == "Ready":
            return str(condition["status"])
    return ""


def _credentials(store: Store, namespace: str) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"aws-{store.name}", "namespace": namespace},
        "stringData": {"id": store.account, "key": _SECRET_KEY},
    }


def _store(store: Store, admitted: Sequence[str]) -> Body:
    secret = {"name": f"aws-{store.name}"}
    if store.cluster:
        secret["namespace"] = CREDENTIALS
    aws: dict[str, Any] = {
        "service": "SecretsManager",
        "region": "eu-central-1",
        "endpoint": store.endpoint,
        "auth": {
            "secretRef": {
                "accessKeyIDSecretRef": {**secret, "key": "id"},
                "secretAccessKeySecretRef": {**secret, "key": "key"},
            }
        },
    }
    spec: Body = {"provider": {"aws": aws}}
    if store.cluster:
        spec["conditions"] = [{"namespaces": list(admitted)}]
    return {
        "apiVersion": API,
        "kind": store.kind,
        "metadata": {"name": store.name},
        "spec": spec,
    }


def workload(namespace: str, name: str, *, secret: str) -> Body:
    """A Deployment of that name whose pods read all keys of a Secret."""
    labels = {"app": name}
    container = {
        "name": "main",
        "image": "registry.invalid/app:1",
        "envFrom": [{"secretRef": {"name": secret}}],
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
