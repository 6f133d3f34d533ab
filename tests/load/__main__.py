"""``python -m load``: the benchmark of the engine, behind ``make bench``.

Every scenario runs the operator as users run it, against a control plane of its own and a counting
stand-in for AWS, and asks from outside what it did: the audit log, ``/proc``, ``/metrics``, the
stand-in's counts. Figures are only good on a machine that does nothing else meanwhile. The table
says which targets were met; the exit code is 1 where one was not.
"""

import argparse
import asyncio
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from load import bad, refreshing, rolling, rotations, sharding, standing, stores
from load.bench import LOGS, Bench, Options
from load.fleet import Stuck
from load.kube import ApiError
from testbed.binaries import BuildError
from testbed.cluster import CommandError
from testbed.processes import StartError
from testbed.progress import Progress, duration


@dataclass(frozen=True, slots=True)
class Scenario:
    """``names``: what it can be asked for by; it is told which of them were."""

    names: tuple[str, ...]
    about: str
    run: Callable[[Bench, AbstractSet[str]], Awaitable[None]]
    by_default: bool = True


#: In the order they run.
SCENARIOS: Final = (
    Scenario(("cold", "restart"), "10,000 synced; the operator restarted", standing.ten_thousand),
    Scenario(("refresh",), "what refreshing 2,000 unchanged ones costs", refreshing.refresh),
    Scenario(("new",), "new ones beside 2,000 that refresh", refreshing.new),
    Scenario(("halfdead",), "the same, one of two stores dead", refreshing.half_dead),
    Scenario(("badstores",), "500 of stores that cannot work", bad.bad_stores),
    Scenario(("broken",), "10,000 of keys that do not exist", bad.broken),
    Scenario(("events",), "from an event in SQS to the restart", rotations.events),
    Scenario(("shards",), "three shards against one, a slow store", sharding.shards),
    Scenario(("rollouts",), "200 workloads of one Secret that is rotated", rolling.rollouts),
    Scenario(("storm",), "a rotation every second, on one workload", rolling.storm),
    Scenario(("consumers",), "finding consumers among 5,000 workloads", rolling.consumers),
    Scenario(("stores",), "each provider's client beside the plain SDK", stores.stores),
    Scenario(
        ("memory50k",), "50,000 synced (takes long)", standing.fifty_thousand, by_default=False
    ),
)


async def run(bench: Bench, wanted: AbstractSet[str]) -> None:
    """Runs the wanted scenarios; one that fails does not keep the others from running."""
    for scenario in SCENARIOS:
        asked = wanted & set(scenario.names)
        if not asked:
            continue
        bench.progress.say(f"\n{', '.join(scenario.names)}: {scenario.about}")
        try:
            await scenario.run(bench, asked)
        except (ApiError, CommandError, RuntimeError, StartError, Stuck, OSError) as error:
            bench.report.failures[scenario.names[0]] = str(error)
            bench.progress.say(f"failed: {error}")


def main() -> int:
    options, wanted, file = _arguments(sys.argv[1:])
    bench = Bench(options, Progress())
    try:
        uvloop.run(_until_interrupted(run(bench, wanted)))
    except asyncio.CancelledError:
        return 130
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    took = sum(seconds for _, seconds in bench.progress.times)
    print(f"\n{bench.report.table()}")
    bench.report.write(file, arguments=sys.argv[1:])
    bench.progress.say(f"\n{duration(took)} in all. Figures: {file}; the operator's logs: {LOGS}/")
    return 0 if bench.report.met else 1


async def _until_interrupted(work: Awaitable[None]) -> None:
    """So that every signal lets the parts be stopped in order."""
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    await task


def _arguments(arguments: list[str]) -> tuple[Options, AbstractSet[str], Path]:
    names = [name for scenario in SCENARIOS for name in scenario.names]
    default = [name for scenario in SCENARIOS if scenario.by_default for name in scenario.names]
    parser = argparse.ArgumentParser(
        prog="python -m load",
        description=__doc__,
        epilog="\n".join(f"{', '.join(s.names)}: {s.about}" for s in SCENARIOS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", metavar="NAMES", default=",".join(default), help="comma-separated"
    )
    parser.add_argument("--size", type=int, default=0, help="instead of each scenario's own")
    parser.add_argument(
        "--seconds", type=float, default=120, help="of `refresh`; rotations of `storm`"
    )
    parser.add_argument("--interval", type=float, default=30, help="of what refreshes, in seconds")
    parser.add_argument("--probes", type=int, default=120, help="new ExternalSecrets to wait for")
    parser.add_argument("--operator", default="", metavar="FLAGS", help="further flags for it")
    parser.add_argument("--source", type=Path, help="folder with another `syncret` to measure")
    parser.add_argument("--json", type=Path, default=Path("build") / "bench.json")
    given = parser.parse_args(arguments)
    wanted = set(given.only.split(","))
    if unknown := wanted - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    options = Options(
        size=given.size,
        seconds=given.seconds,
        interval=given.interval,
        probes=given.probes,
        operator=tuple(shlex.split(given.operator)),
        source=given.source.resolve() if given.source else None,
    )
    return options, wanted, given.json


if __name__ == "__main__":
    sys.exit(main())
