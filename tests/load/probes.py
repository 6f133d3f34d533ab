"""How long a person waits: from the request that makes an ExternalSecret to its Secret's event.

Probes come at random, a few each second, whatever became of those before them. The Secret counts
when a watch shows it, as it would to a controller; one that does not come counts as infinite.
"""

import asyncio
import math
import random
import time
from typing import Final

from load import fleet
from load.bed import Bed
from load.fleet import PROBES, Store
from load.kube import GROUP_PATH

_PATIENCE: Final = 30.0


async def creations(
    bed: Bed, store: Store, *, count: int, rate: float = 4.0, interval: str = "1h"
) -> list[float]:
    """Seconds of each probe. ``rate``: probes per second."""
    asked: dict[str, float] = {}
    seen: dict[str, float] = {}
    watching = asyncio.create_task(_watch(bed, seen))
    chance = random.Random(7)  # noqa: S311 - when they come, nothing more
    path = f"{GROUP_PATH}/namespaces/{PROBES}/externalsecrets"
    try:
        await asyncio.sleep(0.5)  # until the watch is there
        with bed.progress.step(f"{count} probes", estimate=count / rate) as step:
            for number in range(count):
                name = f"probe-{number:04}"
                body = fleet.external_secret(
                    PROBES, name, key=f"probes/{number:04}", store=store, interval=interval
                )
                asked[name] = time.monotonic()
                await bed.kube.create(path, body)
                step.detail = f"{len(seen)} answered"
                await asyncio.sleep(chance.expovariate(rate))
            deadline = time.monotonic() + _PATIENCE
            while asked.keys() - seen.keys() and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            step.detail = f"{len(seen)} of {count} probes have their Secret"
    finally:
        watching.cancel()
    return [seen.get(name, math.inf) - since for name, since in asked.items()]


async def _watch(bed: Bed, seen: dict[str, float]) -> None:
    async for event in bed.kube.watch(f"/api/v1/namespaces/{PROBES}/secrets"):
        if event["type"] == "ADDED":
            seen.setdefault(event["object"]["metadata"]["name"], time.monotonic())
