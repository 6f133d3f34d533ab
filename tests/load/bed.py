"""What a scenario runs on: a control plane, the stand-in and the operator, all of its own.

A fresh control plane takes five seconds, which is less than deleting ten thousand objects does. It
is always the built one: a given cluster has no audit log to count in, and other work to do.
"""

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from load import bare, fleet
from load.fleet import Shape, Store
from load.kube import Kube
from load.measure import Process, Requests
from load.standin import Mode
from testbed.binaries import CONTROL_PLANE, ensure
from testbed.cluster import Cluster
from testbed.controlplane import ControlPlane, free_ports
from testbed.operator import NAMESPACE, REPOSITORY, SERVICE_ACCOUNT, Operator, install_chart
from testbed.processes import Processes, StartError, wait_for
from testbed.progress import Progress

#: Seconds until the caches of the largest fleet must be warm.
_READY_TIMEOUT: Final = 180.0
_USER: Final = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
_QUIET: Final = ("--log-format=json",)


class StoreServer:
    """The running stand-in."""

    def __init__(self, processes: Processes, *, latency: float = 0.005) -> None:
        (port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "load.standin", f"--port={port}", f"--latency={latency}"]
        child = processes.start("standin", command, env=_environment())
        self.process = Process(child.process.pid)
        wait_for(self._answers, child, timeout=30, what="the stand-in answers")

    def store(self, name: str, *, endpoint: str = "", cluster: bool = True) -> Store:
        """A store of that name, in an account of its own."""
        return Store(name, endpoint or self.endpoint, f"AKIALOAD{name.upper():0<12}", cluster)

    def behave(self, store: Store, mode: Mode) -> None:
        self._control(f"behaviour?account={store.account}&mode={mode}")

    def rotate(self, key: str = "") -> None:
        """A new version of a key, or of all."""
        self._control(f"rotate?key={key}" if key else "rotate?all=1")

    def reset(self) -> None:
        self._control("reset")

    def calls(self) -> dict[str, int]:
        """Calls by operation since the last reset."""
        return dict(self._control("stats")["calls"])

    def ids(self) -> int:
        """Ids that those calls asked for."""
        return int(self._control("stats")["ids"])

    def _control(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.endpoint}/control/{path}", timeout=10) as answer:  # noqa: S310 - loopback
            return json.load(answer)

    def _answers(self) -> bool:
        try:
            self._control("stats")
        except OSError:
            return False
        return True


@dataclass
class Bed:
    """The running parts. The operator starts when the scenario says so."""

    cluster: Cluster
    processes: Processes
    store_server: StoreServer
    operator: Operator
    kube: Kube
    requests: Requests
    progress: Progress

    @property
    def process(self) -> Process:
        """The operator's process."""
        return Process(self.operator.running.process.pid)

    def start_operator(self) -> Process:
        """Starts it and does not wait."""
        self.operator.start(ready=False)
        return self.process

    async def ready(self) -> float:
        """Waits until /readyz says so; returns the seconds since the start of the process."""
        process = self.process
        deadline = time.monotonic() + _READY_TIMEOUT
        while not await asyncio.to_thread(self.operator.is_ready):
            if not self.operator.running.alive:
                raise StartError(f"the operator ended:\n{self.operator.running.tail()}")
            if time.monotonic() > deadline:
                said = self.operator.probe("/readyz")[1] or self.operator.running.tail()
                raise StartError(f"not ready after {_READY_TIMEOUT:.0f} s:\n{said}")
            await asyncio.sleep(0.05)
        return process.age

    async def stop_operator(self) -> None:
        await asyncio.to_thread(self.operator.stop)

    async def start_replicas(self, count: int) -> None:
        """Starts so many operators, and waits until each has one shard."""
        replicas = [
            replace(self.operator, name=f"replica-{number}", port=0) for number in range(count)
        ]
        for replica in replicas:
            replica.start(ready=False)  # not in a thread: a child dies with the one that made it
        for replica in replicas:
            await asyncio.to_thread(replica.wait_ready)
        deadline = time.monotonic() + _READY_TIMEOUT
        while {replica.metric("syncret_shards") for replica in replicas} != {1.0}:
            if time.monotonic() > deadline:
                raise StartError("the shards were not shared out")
            await asyncio.sleep(0.2)

    async def populate(self, shape: Shape) -> None:
        """Makes the fleet."""
        what = f"{shape.size:,} ExternalSecrets"
        with self.progress.step(
            f"making {what}", done=lambda: f"made {what}", estimate=shape.size / 600
        ) as step:
            await fleet.create(self.kube, shape, step=step)

    async def told(self, shape: Shape, *, status: str = "True") -> None:
        """Waits until the whole fleet says Ready with that status."""
        what = f"{shape.size:,} ExternalSecrets are Ready={status}"
        with self.progress.step(
            f"waiting until {what}", done=lambda: what, estimate=shape.size / 250
        ) as step:
            await fleet.wait_told(self.kube, shape, self.requests, step=step, status=status)

    async def synced(self, shape: Shape) -> None:
        """Makes the fleet, starts the operator, and waits until all is synced."""
        await self.populate(shape)
        self.requests.reset()
        self.start_operator()
        await self.ready()
        await self.told(shape)

    async def sleep(self, seconds: float, why: str) -> None:
        with self.progress.step(why, estimate=seconds):
            await asyncio.sleep(seconds)

    async def metric(self, name: str, **labels: str) -> float:
        return await asyncio.to_thread(lambda: self.operator.metric(name, **labels))

    def log_lines(self) -> int:
        """How many lines the operator has logged."""
        return self.operator.log.count("\n")

    async def bare(self, sample: dict[str, Any], shape: Shape) -> dict[str, float]:
        """Runs the bare loop over a fleet that the operator has not seen."""
        rows = await fleet.identities(self.kube, shape)
        kubeconfig = self.cluster.kubeconfig_as(NAMESPACE, SERVICE_ACCOUNT)
        file = self.cluster.directory / "bare.json"
        _write(file, json.dumps(bare.work(sample, rows)))
        with self.progress.step(f"the bare loop writes {shape.size:,}", estimate=shape.size / 350):
            child = self.processes.start(
                "bare",
                [sys.executable, "-m", "load.bare", str(kubeconfig), str(file)],
                env=_environment(),
            )
            code = await asyncio.to_thread(child.process.wait)
        if code:
            raise StartError(f"the bare loop failed:\n{child.tail()}")
        result: dict[str, float] = json.loads(child.tail(1))
        return result


@asynccontextmanager
async def open_bed(
    progress: Progress,
    *,
    arguments: tuple[str, ...] = (),
    source: Path | None = None,
    logs: Path | None = None,
    latency: float = 0.005,
) -> AsyncIterator[Bed]:
    """Everything but the operator runs in the block.

    ``latency``: seconds that the stand-in takes for a call;
    ``source``: the folder with the package of the operator to measure, if not this repository's;
    ``logs``: where the operator's log is kept.
    """
    with _plane(progress) as cluster:
        processes = Processes(cluster.directory / "logs")
        try:
            store_server = StoreServer(processes, latency=latency)
            operator = Operator(
                cluster,
                processes,
                arguments=(*_QUIET, *arguments),
                env={"PYTHONPATH": str(source or REPOSITORY / "operator")},
            )
            async with Kube(cluster.kubeconfig) as kube:
                assert cluster.plane is not None
                requests = Requests(cluster.plane.audit_log, _USER)
                yield Bed(cluster, processes, store_server, operator, kube, requests, progress)
        finally:
            await asyncio.to_thread(processes.stop)
            if logs is not None:
                _keep(cluster.directory / "logs" / "operator.log", logs)


@contextmanager
def _plane(progress: Progress) -> Iterator[Cluster]:
    """A control plane with the chart in it, and no operator."""
    tools = ensure(CONTROL_PLANE, progress=progress)
    directory = Path(tempfile.mkdtemp(prefix="syncret-load-"))
    try:
        with progress.step("starting a control plane with the chart in it", estimate=8):
            plane = ControlPlane.start(directory, binaries=tools)
            cluster = Cluster(
                kind="built",
                description="a control plane built from source",
                kubeconfig=plane.kubeconfig,
                directory=directory,
                tools=tools,
                real_pods=False,
                plane=plane,
            )
            try:
                install_chart(cluster)
            except BaseException:
                plane.stop()
                raise
        try:
            yield cluster
        finally:
            plane.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}


def _write(file: Path, text: str) -> None:
    file.write_text(text)


def _keep(log: Path, target: Path) -> None:
    if log.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, target)
