"""Scenarios of bad input: what cannot work, beside what has to go on working.

Either way the questions are: do the good ones come as fast as alone, does the log have one line for
each change of state and no more, and does memory stay where it is.
"""

from collections.abc import Set as AbstractSet
from typing import Final

from load.bed import Bed
from load.bench import MEMORY_10K, Bench
from load.fleet import Shape, Store
from load.measure import Stalls, percentile
from load.probes import creations
from load.standin import MISSING
from testbed.controlplane import free_ports

#: Seconds for which the operator is watched once it has told of everything.
_WATCHED: Final = 60.0
_GOOD: Final = 10
#: Lines that are about no object: start, first failure of a watch.
_OTHER_LINES: Final = 20


async def bad_stores(bench: Bench, _: AbstractSet[str]) -> None:
    """Stores that refuse, hang, answer after a minute, and answer nonsense."""
    async with bench.bed("badstores") as bed:
        server = bed.store_server
        (closed,) = free_ports(1)
        stores = (
            server.store("refuses", endpoint=f"http://127.0.0.1:{closed}"),
            server.store("hangs"),
            server.store("slow"),
            server.store("garbage"),
            server.store("errors"),
        )
        server.behave(stores[1], "hang")
        server.behave(stores[2], "slow")
        server.behave(stores[3], "garbage")
        server.behave(stores[4], "error")
        bad = Shape(size=bench.size(500), stores=stores, interval="30s", prefix="bad")
        await _beside(bench, "badstores", bed, bad, server.store("good"))


async def broken(bench: Bench, _: AbstractSet[str]) -> None:
    """Ten thousand ExternalSecrets whose keys do not exist."""
    async with bench.bed("broken") as bed:
        store = bed.store_server.store("good")
        bad = Shape(
            size=bench.size(10_000), stores=(store,), interval="1h", prefix="bad", path=MISSING
        )
        await _beside(bench, "broken", bed, bad, store)


async def _beside(bench: Bench, name: str, bed: Bed, bad: Shape, store: Store) -> None:
    report, requests = bench.report, bed.requests
    good = Shape(size=_GOOD, stores=(store,), interval="30s", prefix="good")
    await bed.populate(bad)
    await bed.populate(good)
    requests.reset()
    process = bed.start_operator()
    with Stalls(bed.operator.port).watched() as stalls:
        await bed.ready()
        waits = await creations(bed, store, count=bench.options.probes)
        await bed.told(bad, status="False")
        await bed.told(good)
        told = process.rss
        lines = bed.log_lines()
        requests.poll()
        changes = requests.succeeded("patch", "externalsecrets/status")
        bed.store_server.reset()
        await bed.sleep(_WATCHED, "watching what goes on")
        requests.poll()
    later = requests.succeeded("patch", "externalsecrets/status") - changes
    later_lines = bed.log_lines() - lines
    report.add(name, "ExternalSecrets that cannot be synced", bad.size)
    report.add(name, "good ones: creation until Secret, p50", percentile(waits, 50), "s")
    report.add(name, "good ones: creation until Secret, p99", percentile(waits, 99), "s", target=1)
    report.add(name, "log lines per change of state", (lines - _OTHER_LINES) / changes, target=1)
    report.add(
        name, "log lines in a minute without changes", later_lines - later, target=_OTHER_LINES
    )
    report.add(name, "memory", process.rss, "MiB", target=MEMORY_10K)
    report.add(name, "memory, growth in that minute", process.rss - told, "MiB", target=10)
    await bench.stalls(name, bed, stalls)
    report.detail(
        name,
        requests=requests.table(),
        provider_calls_in_a_minute=bed.store_server.calls(),
        state_changes=changes,
        log_lines=lines,
    )
