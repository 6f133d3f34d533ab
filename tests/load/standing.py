"""Scenarios of a standing fleet: first sync, memory, restart.

The fleet is there before the operator starts. So the cold sync is measured from the start of the
process to the last status, with start, lists and caches in it; and its bare loop, which has none of
them, makes the same number of the same writes at the same API server afterwards. Intervals are a
year, so nothing falls due in between.
"""

import asyncio
from collections.abc import Set as AbstractSet
from typing import Final

from load import fleet
from load.bed import Bed
from load.bench import MEMORY_10K, MEMORY_50K, Bench
from load.fleet import Shape
from load.measure import Stalls

#: Seconds after which memory is read, and for which a restarted operator is watched.
_SETTLE: Final = 5.0
_WATCHED: Final = 30.0


async def ten_thousand(bench: Bench, wanted: AbstractSet[str]) -> None:
    """The cold sync and the restart of one fleet."""
    name = "cold"
    async with bench.bed(name) as bed:
        shape = _shape(bed, bench.size(10_000))
        await bed.populate(shape)
        wall = await _cold(bench, name, bed, shape, memory=MEMORY_10K)
        sample = await fleet.sample(bed.kube, shape)
        await bed.stop_operator()
        if "restart" in wanted:
            await _restart(bench, bed)
            await bed.stop_operator()
        if "cold" in wanted:
            # Last, because the operator must never see this fleet.
            bare_shape = Shape(size=shape.size, stores=shape.stores, prefix="bare")
            await bed.populate(bare_shape)
            bare = await bed.bare(sample, bare_shape)
            bench.report.add(name, "wall of the bare loop", bare["wall"], "s")
            bench.report.add(
                name, "CPU of the bare loop, each", bare["cpu"] * 1000 / shape.size, "ms"
            )
            bench.report.add(
                name, "wall, of that of the bare loop", wall / bare["wall"], "times", target=1.3
            )


async def fifty_thousand(bench: Bench, _: AbstractSet[str]) -> None:
    """Memory with 50,000; the other figures of their sync inform."""
    name = "memory50k"
    async with bench.bed(name) as bed:
        shape = _shape(bed, bench.size(50_000))
        await bed.populate(shape)
        await _cold(bench, name, bed, shape, memory=MEMORY_50K)


def _shape(bed: Bed, size: int) -> Shape:
    return Shape(size=size, stores=(bed.store_server.store("aws"),), workloads=min(50, size // 20))


async def _cold(bench: Bench, name: str, bed: Bed, shape: Shape, *, memory: float) -> float:
    report, requests = bench.report, bed.requests
    requests.reset()
    bed.store_server.reset()
    process = bed.start_operator()
    with Stalls(bed.operator.port).watched() as stalls:
        warm = await bed.ready()
        cpu_warm = process.cpu
        await bed.told(shape)
        await asyncio.sleep(_SETTLE)
        cpu, rss, peak = process.cpu, process.rss, process.peak
    requests.poll()
    calls = bed.store_server.calls()
    wall = requests.last("patch", "externalsecrets/status") - process.started
    each = 1000 / shape.size
    report.add(name, "ExternalSecrets", shape.size)
    report.add(name, "wall, from the start of the process", wall, "s")
    report.add(name, "of that, until the caches were warm", warm, "s")
    report.add(name, "CPU per sync, start included", cpu * each, "ms", target=1.5)
    report.add(name, "CPU per sync, from warm caches on", (cpu - cpu_warm) * each, "ms")
    report.add(name, "memory", rss, "MiB", target=memory)
    report.add(name, "peak memory", peak, "MiB")
    report.add(name, "provider calls, each", sum(calls.values()) / shape.size)
    report.add(name, "Kubernetes writes, each", requests.writes / shape.size)
    await bench.stalls(name, bed, stalls)
    report.detail(name, requests=requests.table(), provider_calls=calls, cpu=cpu, wall=wall)
    return wall


async def _restart(bench: Bench, bed: Bed) -> None:
    name, report, requests = "restart", bench.report, bed.requests
    requests.reset()
    bed.store_server.reset()
    process = bed.start_operator()
    with Stalls(bed.operator.port).watched() as stalls:
        warm = await bed.ready()
        await bed.sleep(_WATCHED, "watching what a restarted operator does")
    requests.poll()
    calls = bed.store_server.calls()
    report.add(name, "until the caches were warm", warm, "s", target=15)
    report.add(name, "provider calls", sum(calls.values()), target=0)
    report.add(name, "Kubernetes writes", requests.writes, target=0)
    report.add(name, "rollouts", requests.rollouts(), target=0)
    report.add(name, "CPU", process.cpu, "s")
    report.add(name, "memory", process.rss, "MiB")
    await bench.stalls(name, bed, stalls)
    report.detail(name, requests=requests.table(), provider_calls=calls)
