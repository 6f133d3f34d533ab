"""From an event in a queue to the Secret, and to the restart of who reads it.

The queue is moto's SQS, whose own time is in the figures. Events come one by one, at random, in a
fleet that nothing else refreshes.
"""

import asyncio
import json
import math
import random
import time
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from integration.events import IDENTITY, SqsBed, label_updated
from load.bed import Bed
from load.bench import Bench
from load.fleet import Shape, Stuck
from load.measure import percentile
from testbed.kwok import start_kwok
from testbed.moto import Moto

#: The targets: seconds, of nineteen in twenty.
_SECRET: Final = 2.0
_ROLLOUT: Final = 3.0

_PATIENCE: Final = 30.0
_MAKING: Final = 600.0
_DEPLOYMENTS: Final = "/apis/apps/v1/deployments"
_RATE: Final = 4.0

Place = tuple[str, str]


async def events(bench: Bench, _: AbstractSet[str]) -> None:
    """How long a rotation takes to reach the Secret and the workload."""
    name = "events"
    with TemporaryDirectory(prefix="syncret-load-") as directory:
        # What is measured is the way of one rotation, and not the wait for others' restarts to end.
        async with bench.bed(name, arguments=("--max-concurrent-rollouts=1000",)) as bed:
            moto = Moto(bed.processes)  # not in a thread: a child dies with the one that made it
            queue = await asyncio.to_thread(SqsBed.make, moto, Path(directory))
            bed.operator = replace(
                bed.operator,
                arguments=(*bed.operator.arguments, f"--event-sources={queue.file}"),
                env={**bed.operator.env, **IDENTITY},
            )
            size = bench.size(200)
            shape = Shape(size=size, stores=(bed.store_server.store("aws"),), workloads=size)
            # The pods have to become available: the operator rolls few workloads at a time.
            tools, kubeconfig = bed.cluster.tools, bed.cluster.kubeconfig
            start_kwok(bed.processes, binaries=tools, kubeconfig=kubeconfig, nodes=8)
            await bed.synced(shape)
            await _available(bed, size)
            await _probe(bench, name, bed, queue, shape)


async def _available(bed: Bed, count: int) -> None:
    with bed.progress.step("waiting for the pods", estimate=count / 5):
        deadline = time.monotonic() + _MAKING
        while True:
            bodies = [body async for body in bed.kube.items(_DEPLOYMENTS)]
            ready = sum(body["status"].get("availableReplicas", 0) > 0 for body in bodies)
            if ready >= count:
                return
            if time.monotonic() > deadline:
                raise Stuck(f"{ready} of {count} workloads are available")
            await asyncio.sleep(0.5)


async def _probe(bench: Bench, name: str, bed: Bed, queue: SqsBed, shape: Shape) -> None:
    secrets: dict[Place, float] = {}
    restarts: dict[Place, float] = {}
    watching = [
        asyncio.create_task(_watch(bed, "/api/v1/secrets", secrets)),
        asyncio.create_task(_watch(bed, _DEPLOYMENTS, restarts)),
    ]
    chance = random.Random(7)  # noqa: S311 - when they come, nothing more
    rows = list(shape.names())
    chosen = chance.sample(rows, min(len(rows), bench.options.probes))
    sent: dict[Place, float] = {}
    try:
        await asyncio.sleep(1.0)  # until the watches are there
        with bed.progress.step(f"{len(chosen)} events", estimate=len(chosen) / _RATE) as step:
            for number, namespace, app in chosen:
                key = f"{shape.path}{number:06}"
                await asyncio.to_thread(bed.store_server.rotate, key)
                sent[namespace, app] = time.monotonic()
                await asyncio.to_thread(queue.send, label_updated(key))
                step.detail = f"{len(sent.keys() & restarts.keys())} arrived"
                await asyncio.sleep(chance.expovariate(_RATE))
            deadline = time.monotonic() + _PATIENCE
            while sent.keys() - restarts.keys() and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            step.detail = f"{len(sent.keys() & restarts.keys())} arrived"
    finally:
        for task in watching:
            task.cancel()
    for what, seen, target in (
        ("event until Secret", secrets, _SECRET),
        ("event until rollout", restarts, _ROLLOUT),
    ):
        waits = [seen.get(place, math.inf) - since for place, since in sent.items()]
        bench.report.add(name, f"{what}, p50", percentile(waits, 50), "s")
        bench.report.add(name, f"{what}, p95", percentile(waits, 95), "s", target=target)
    calls = bed.store_server.calls()
    bench.report.detail(name, provider_calls=calls, events=json.dumps(len(sent)))


async def _watch(bed: Bed, path: str, seen: dict[Place, float]) -> None:
    """When each object changed first. Of Deployments, their specs: the generation tells."""
    known: dict[Place, Any] = {}
    async for event in bed.kube.watch(path):
        meta = event["object"]["metadata"]
        place = (meta["namespace"], meta["name"])
        state = meta.get("generation") or meta["resourceVersion"]
        if event["type"] == "MODIFIED" and known.get(place, state) != state:
            seen.setdefault(place, time.monotonic())
        known[place] = state
