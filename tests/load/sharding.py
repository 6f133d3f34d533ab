"""Three shards against one, where the store is what everything waits for.

The stand-in takes two seconds for a call, so what a replica gets from it is bound by its calls at a
time (see the provider's Limits) and not by anybody's CPU: the question is whether three replicas
get three times as much. The replicas stand still with a shard each before the fleet is made, and
it has many namespaces, because those are what is placed on shards.
"""

import time
from collections.abc import Set as AbstractSet
from typing import Final

from load.bench import Bench
from load.fleet import Shape

_SHARDS: Final = 3
_LATENCY: Final = 2.0
_TARGET: Final = 2.5


async def shards(bench: Bench, _: AbstractSet[str]) -> None:
    """The throughput of one shard and of three, on a control plane of its own each."""
    name, report = "shards", bench.report
    one = await _throughput(bench, 1)
    three = await _throughput(bench, _SHARDS)
    report.add(name, "first syncs in a second, one shard", one)
    report.add(name, f"first syncs in a second, {_SHARDS} shards", three)
    report.add(name, f"{_SHARDS} shards, of one", three / one, "times", target=_TARGET, least=True)


async def _throughput(bench: Bench, count: int) -> float:
    """First syncs in a second, from the first object on."""
    async with bench.bed(
        f"shards-{count}", arguments=(f"--shards={count}",), latency=_LATENCY
    ) as bed:
        store = bed.store_server.store("aws")
        shape = Shape(size=bench.size(3_000), stores=(store,), namespaces=500)
        await bed.start_replicas(count)
        bed.requests.reset()
        started = time.time()
        await bed.populate(shape)
        await bed.told(shape)
        bed.requests.poll()
        calls = bed.store_server.calls()
        bench.report.detail("shards", **{f"provider_calls_{count}": calls})
        return shape.size / (bed.requests.last("patch", "externalsecrets/status") - started)
