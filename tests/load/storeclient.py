"""One process that reads a store: through our client, or as the plain SDK does it best.

Apart from the benchmark, so that its CPU and memory are its own. Reads a task as JSON from the
standard input, and prints one line of JSON. Values are counted and looked at, and not kept.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from syncret.providers.base import Client, Known, Ref, SecretValue, Unchanged
from syncret.providers.registry import parse_provider

#: Rounds over all keys; the first is not counted: it opens connections and fills caches.
ROUNDS: Final = 4


@dataclass(frozen=True)
class Task:
    """``kind``: which reader of ``load.sdk``, "" for ours. ``stores``: how many are opened."""

    provider: str
    spec: dict[str, Any]
    credentials: dict[str, str]
    keys: list[str]
    kind: str = ""
    stores: int = 1


def main() -> None:
    task = Task(**json.loads(sys.stdin.read()))
    if task.kind:
        from load import sdk

        figures = sdk.READERS[task.kind](task, _timed)
    elif task.stores > 1:
        figures = asyncio.run(_many(task))
    else:
        figures = asyncio.run(_ours(task))
    print(json.dumps(figures))


def _observe(**_: object) -> None: ...


async def _open(task: Task) -> Client:
    provider, config = parse_provider({task.provider: task.spec}, cluster_scoped=True)
    values = {name: SecretValue(text.encode()) for name, text in task.credentials.items()}
    return await provider.open(config, values, observe=_observe)


async def _ours(task: Task) -> dict[str, float]:
    started, before = time.monotonic(), memory()
    client = await _open(task)
    await client.check()
    figures = {"start": time.monotonic() - started, "memory": memory(), "imported": before}
    versions: dict[Ref, str] = {}

    async def read(known: Known) -> None:
        turns = asyncio.Semaphore(client.limits.concurrency)
        refs = [Ref(key) for key in task.keys]
        size = client.limits.batch

        async def one(batch: list[Ref]) -> None:
            async with turns:
                part = {ref: known[ref] for ref in batch if ref in known}
                outcomes = await client.fetch(batch, known=part)
            for ref, outcome in outcomes.items():
                assert isinstance(outcome, SecretValue | Unchanged), outcome
                versions[ref] = outcome.version

        await asyncio.gather(
            *(one(refs[start : start + size]) for start in range(0, len(refs), size))
        )

    figures |= await _timed_async(lambda: read({}), "cold")
    figures |= await _timed_async(lambda: read(dict(versions)), "unchanged")
    await client.close()
    return figures


async def _many(task: Task) -> dict[str, float]:
    """What further open stores of one kind take."""
    first = await _open(task)
    await first.check()
    before = memory()
    clients = [await _open(task) for _ in range(task.stores)]
    for client in clients:
        await client.check()
    figures = {"each": (memory() - before) / task.stores}
    for client in (first, *clients):
        await client.close()
    return figures


async def _timed_async(do: Callable[[], Awaitable[None]], name: str) -> dict[str, float]:
    await do()
    wall, cpu = time.monotonic(), _cpu()
    for _ in range(ROUNDS - 1):
        await do()
    return _figures(name, wall, cpu)


def _timed(do: Callable[[], None], name: str = "cold") -> dict[str, float]:
    """Seconds of wall and of CPU of the rounds after the first."""
    do()
    wall, cpu = time.monotonic(), _cpu()
    for _ in range(ROUNDS - 1):
        do()
    return _figures(name, wall, cpu)


def _figures(name: str, wall: float, cpu: float) -> dict[str, float]:
    rounds = ROUNDS - 1
    return {
        f"{name} wall": (time.monotonic() - wall) / rounds,
        f"{name} cpu": (_cpu() - cpu) / rounds,
    }


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def memory() -> float:
    """MiB in use by this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


if __name__ == "__main__":
    main()
