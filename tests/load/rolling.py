"""Scenarios of rotations that have to reach many pods, and of one that never comes to rest.

kwok plays the nodes: the controllers that roll are the real ones. What is asked of the pods is what
a Service would ask: how many are available, compared with how many are wanted.
"""

import asyncio
import time
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final, cast

from load import fleet
from load.bed import Bed
from load.bench import Bench
from load.fleet import Shape, Stuck
from load.kube import GROUP_PATH, MERGE_PATCH, Body, each
from load.measure import percentile
from syncret.api.externalsecret import parse_external_secret
from syncret.api.rollout import Rollout
from syncret.api.secret import ManagedSecret
from syncret.api.workload import WorkloadKind, parse_workload
from syncret.cache import Cache
from syncret.digest import Digester
from syncret.reconcile.rollout.plan import Situation, plan_rollouts
from testbed.kwok import start_kwok

_NAMESPACE: Final = "load-000"
_SECRET: Final = "app-000000"
_PATH: Final = f"/apis/apps/v1/namespaces/{_NAMESPACE}/deployments"
_REPLICAS: Final = 2
_MOST: Final = 10
_PATIENCE: Final = 900.0

#: The last value of a long storm waits for as long as a workload does at most that is restarted on
#: and on (5 minutes).
_STORM_PATIENCE: Final = 600.0

#: Milliseconds to find the consumers of a Secret that changed, and to decide about them.
_FIND: Final = 5.0


@dataclass
class _Seen:
    """What was seen of the Deployments while they rolled."""

    rolling: int = 0
    below: int = 0
    restarts: dict[str, int] = field(default_factory=dict)
    done: bool = False


async def rollouts(bench: Bench, _: AbstractSet[str]) -> None:
    """One rotation, and everything that reads the Secret."""
    name, count = "rollouts", bench.size(200)
    async with bench.bed(name, arguments=("--max-concurrent-rollouts=50",)) as bed:
        await _prepare(bed, count, {"maxConcurrent": _MOST, "debounce": "1s"})
        bed.store_server.rotate()
        began = time.monotonic()
        seen = await _watch(bed, count)
        report = bench.report
        report.add(name, "workloads", count)
        report.add(name, "rolling at the same time, the most", seen.rolling, target=_MOST)
        report.add(name, "restarted", len(seen.restarts), target=count, least=True)
        twice = sum(times > 1 for times in seen.restarts.values())
        report.add(name, "restarted more than once", twice, target=0)
        report.add(name, "pods below the wanted number, the most", seen.below, target=0)
        report.add(name, "from the rotation to the last pod", time.monotonic() - began, "s")


async def storm(bench: Bench, _: AbstractSet[str]) -> None:
    """Rotations of one second apart, on one workload."""
    name, report = "storm", bench.report
    async with bench.bed(name) as bed:
        await _prepare(bed, 1, {"debounce": "1s"})
        rotations = round(bench.options.seconds)
        with bed.progress.step(f"{rotations} rotations", estimate=rotations):
            for _number in range(rotations):
                bed.store_server.rotate()
                await asyncio.sleep(1.0)
        with bed.progress.step("waiting for the last value", estimate=120):
            await _rolled_out(bed)
        (body,) = [one async for one in bed.kube.items(_PATH)]
        restarts = body["metadata"]["generation"] - 1
        report.add(name, "rotations", rotations)
        # Three are free, and each further one waits twice as long as the one before.
        report.add(name, "restarts", restarts, target=12)
        report.add(name, "restarts, at least", restarts, target=1, least=True)


async def consumers(bench: Bench, _: AbstractSet[str]) -> None:
    """How long it takes to find who reads a Secret, from caches alone."""
    name, count = "consumers", bench.size(5_000)
    cache, digester = Cache(), Digester(b"k" * 32)
    for number in range(count):
        body = fleet.workload(_NAMESPACE, f"app-{number:06}", secret=f"secret-{number % 500}")
        body["metadata"]["uid"] = f"uid-{number}"
        kind = cast("WorkloadKind", body["kind"])
        workload = parse_workload(kind, body)
        if workload is not None:
            cache.workloads.put(workload.key, workload)
    external_secret = parse_external_secret(_external_secret({}))
    took = []
    for number in range(500):
        place = (_NAMESPACE, f"secret-{number}")
        digests = digester.values({"key": b"value %d" % number})
        secret = ManagedSecret(*place, "uid", "1", "owner", digests)
        since = time.perf_counter()
        plan_rollouts(
            Situation(
                secret=secret,
                rollout=Rollout(),
                targets=external_secret.status.targets,
                since="",
                others=lambda secret_name: cache.secrets.get((_NAMESPACE, secret_name)),
                digester=digester,
                now=time.time(),
            ),
            cache.workloads.by("secret", place),
        )
        took.append((time.perf_counter() - since) * 1000)
    bench.report.add(name, "workloads", count)
    bench.report.add(name, "a change, p50", percentile(took, 50), "ms")
    bench.report.add(name, "a change, p95", percentile(took, 95), "ms", target=_FIND)


async def _prepare(bed: Bed, count: int, rollout: Body) -> None:
    """A Secret that so many Deployments read, all of their pods, and the operator at work."""
    cluster = bed.cluster
    # Not in a thread: a child dies with the one that made it.
    start_kwok(bed.processes, binaries=cluster.tools, kubeconfig=cluster.kubeconfig, nodes=4)
    shape = Shape(size=1, stores=(bed.store_server.store("aws"),), namespaces=1, interval="1s")
    await bed.populate(shape)
    path = f"{GROUP_PATH}/namespaces/{_NAMESPACE}/externalsecrets/{_SECRET}"
    await bed.kube.send("PATCH", path, {"spec": {"rollout": rollout}}, content=MERGE_PATCH)

    async def make(number: int) -> None:
        body = fleet.workload(_NAMESPACE, f"app-{number:06}", secret=_SECRET)
        body["spec"]["replicas"] = _REPLICAS
        await bed.kube.create(_PATH, body)

    with bed.progress.step(f"making {count} Deployments", estimate=count / 5):
        await each(range(count), make, in_flight=8)
        await _until(bed, lambda bodies: all(map(_complete, bodies)), "the pods are there")
    bed.requests.reset()
    bed.start_operator()
    await bed.ready()
    await bed.told(shape)
    with bed.progress.step("waiting until all of them are known", estimate=2):
        await _known(bed, count)


async def _watch(bed: Bed, count: int) -> _Seen:
    """Looks at the Deployments until all of them were restarted and are complete again."""
    seen = _Seen()

    def look(bodies: list[Body]) -> bool:
        rolled = [body for body in bodies if body["metadata"]["generation"] > 1]
        seen.rolling = max(seen.rolling, sum(not _complete(body) for body in rolled))
        least = min(body["status"].get("availableReplicas", 0) for body in bodies)
        seen.below = max(seen.below, _REPLICAS - least)
        seen.restarts = {
            body["metadata"]["name"]: body["metadata"]["generation"] - 1 for body in rolled
        }
        return len(rolled) == count and all(map(_complete, bodies))

    with bed.progress.step(f"{count} Deployments roll", estimate=count / _MOST * 3):
        await _until(bed, look, "they were restarted")
    await bed.sleep(5, "and nothing else happens")
    look([body async for body in bed.kube.items(_PATH)])
    return seen


async def _until(bed: Bed, true: Any, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not true([body async for body in bed.kube.items(_PATH)]):
        if time.monotonic() > deadline:
            raise Stuck(f"not in {_PATIENCE:.0f} s: {what}")
        await asyncio.sleep(0.1)


async def _known(bed: Bed, count: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while len((await _status(bed)).get("rollout", {}).get("targets", ())) < count:
        if time.monotonic() > deadline:
            raise Stuck("the status does not name the workloads")
        await asyncio.sleep(0.2)


async def _rolled_out(bed: Bed) -> None:
    """Until the condition says that every pod uses what the Secret holds, for some seconds."""
    deadline, calm = time.monotonic() + _STORM_PATIENCE, 0
    while calm < 10:
        conditions = {one["type"]: one["status"] for one in (await _status(bed))["conditions"]}
        calm = calm + 1 if conditions.get("RolledOut") == "True" else 0
        if time.monotonic() > deadline:
            raise Stuck("the last value is not rolled out")
        await asyncio.sleep(0.5)


async def _status(bed: Bed) -> Body:
    path = f"{GROUP_PATH}/namespaces/{_NAMESPACE}/externalsecrets/{_SECRET}"
    return dict((await bed.kube.get(path)).get("status", {}))


def _complete(body: Body) -> bool:
    status = body.get("status", {})
    return bool(
        status.get("observedGeneration") == body["metadata"]["generation"]
        and status.get("updatedReplicas", 0) >= _REPLICAS
        and status.get("replicas", 0) <= _REPLICAS
        and status.get("availableReplicas", 0) >= _REPLICAS
    )


def _external_secret(spec: Body) -> Body:
    meta = {"name": "app", "namespace": _NAMESPACE, "uid": "u", "generation": 1}
    data = [{"extract": {"key": "k"}}]
    return {"metadata": meta, "spec": {"secretStoreRef": {"name": "aws"}, "dataFrom": data, **spec}}
