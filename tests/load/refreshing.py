"""Scenarios of a fleet that is refreshed all the time: what that costs, and who waits for it.

Each begins with a synced fleet and lets one interval pass, so that every object is on its own slot.
"""

from collections.abc import Set as AbstractSet

from load.bed import Bed
from load.bench import Bench
from load.fleet import Shape, Store
from load.measure import Stalls, percentile
from load.probes import creations

#: The targets of the issue.
_CPU: float = 0.3
_CALLS: float = 1 / 20
_WAIT: float = 1.0


async def refresh(bench: Bench, _: AbstractSet[str]) -> None:
    """What an unchanged refresh costs."""
    name, report = "refresh", bench.report
    async with bench.bed(name) as bed:
        await _steady(bench, bed, (bed.store_server.store("aws"),))
        process, requests = bed.process, bed.requests
        unchanged = await _unchanged(bed)
        requests.reset()
        bed.store_server.reset()
        cpu, seconds = process.cpu, bench.options.seconds
        await bed.sleep(seconds, f"counting for {seconds:.0f} s")
        cpu = process.cpu - cpu
        calls = bed.store_server.calls()
        requests.poll()
        unchanged = await _unchanged(bed) - unchanged
        report.add(name, "refreshes in the window", unchanged)
        if not unchanged:
            raise RuntimeError("nothing was refreshed")
        report.add(name, "CPU, each", cpu * 1000 / unchanged, "ms", target=_CPU)
        report.add(name, "provider calls, each", sum(calls.values()) / unchanged, target=_CALLS)
        # Whether a kind of workloads that the cluster does not have is there by now: once a minute.
        looks = requests.refused["list", "rollouts", 404]
        asked = requests.writes + requests.reads - looks
        report.add(name, "Kubernetes requests", asked, target=0)
        report.add(name, "looks for a kind that there is not, a minute", looks * 60 / seconds)
        report.add(name, "memory", process.rss, "MiB")
        expected = bench.size(2_000) * seconds / bench.options.interval
        report.detail(
            name,
            requests=requests.table(),
            provider_calls=calls,
            cpu=cpu,
            expected_refreshes=expected,
        )


async def new(bench: Bench, _: AbstractSet[str]) -> None:
    """How long a new ExternalSecret takes beside the refreshes."""
    name = "new"
    async with bench.bed(name) as bed:
        store = bed.store_server.store("aws")
        await _steady(bench, bed, (store,))
        await _probe(bench, name, bed, store)


async def half_dead(bench: Bench, _: AbstractSet[str]) -> None:
    """The same while the other of two stores answers nothing, from the moment it stops."""
    name = "halfdead"
    async with bench.bed(name) as bed:
        good, bad = bed.store_server.store("good"), bed.store_server.store("bad")
        await _steady(bench, bed, (good, bad))
        bed.store_server.behave(bad, "hang")
        await _probe(bench, name, bed, good)


async def _steady(bench: Bench, bed: Bed, stores: tuple[Store, ...]) -> None:
    interval = bench.options.interval
    shape = Shape(size=bench.size(2_000), stores=stores, interval=f"{interval:g}s")
    await bed.synced(shape)
    await bed.sleep(interval, "letting one interval pass")


async def _probe(bench: Bench, name: str, bed: Bed, store: Store) -> None:
    with Stalls(bed.operator.port).watched() as stalls:
        waits = await creations(bed, store, count=bench.options.probes)
    bench.report.add(name, "creation until Secret, p50", percentile(waits, 50), "s")
    bench.report.add(name, "creation until Secret, p99", percentile(waits, 99), "s", target=_WAIT)
    await bench.stalls(name, bed, stalls)


async def _unchanged(bed: Bed) -> float:
    return await bed.metric("syncret_syncs_total", result="unchanged")
