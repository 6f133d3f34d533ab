"""Keeping this replica's shards: taking what is free, renewing, sharing with other replicas.

Without shards there is one, and whoever holds it leads. Every replica watches the cluster and
fills its caches; work is done only for shards that are held, so a replica that takes one over is
at work at once.

One task does everything, one step after the other, so that nothing here happens at the same time:

1. renew what is held, at a third of the lease's duration;
2. list all Leases of this installation: who holds what, and which replicas live;
3. take a free shard, if this replica holds less than its share; give one back if it holds more.

A Lease is named by its shard and by how many there are. While one of another number is held, no
shard is taken: replicas from before and after a change of ``--shards`` divide the namespaces in two
ways, and would do the same work twice.

A shard that cannot be renewed in time is lost, and with it the process: :class:`LeadershipLost`
ends it, and its successor starts from what the cluster has. That is simpler to be sure of than
stopping the work in a process whose requests may still be under way. Every write asks
:meth:`Keeper.may_write` right before it is sent, so a process that was paused past its lease sends
nothing when it wakes up.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from syncret.clock import Clock, sleep
from syncret.errors import LeadershipLost, SyncretError
from syncret.kube.client import KubeClient
from syncret.kube.lease import Lease
from syncret.kube.resources import LEASES
from syncret.shards import fair_share

logger = logging.getLogger(__name__)

#: Steps in the duration of a Lease, and the part of it that one request may take.
STEPS: Final = 15
_REQUEST: Final = 0.27

#: On every Lease of an installation: a list by it shows them all.
LABEL: Final = "syncret.io/lease"
SHARD: Final = "shard"
REPLICA: Final = "replica"


class Keeper:
    """The shards of one replica. ``gained`` is told of a new one, ``emptied`` ends its work."""

    def __init__(
        self,
        kube: KubeClient,
        *,
        namespace: str,
        prefix: str,
        identity: str,
        shards: int,
        duration: float,
        clock: Clock,
        gained: Callable[[int], None],
        emptied: Callable[[int], Awaitable[None]],
    ) -> None:
        def lease(name: str, kind: str) -> Lease:
            return Lease(
                kube,
                namespace=namespace,
                name=name,
                identity=identity,
                clock=clock,
                duration=duration,
                labels={LABEL: kind, "app.kubernetes.io/instance": prefix},
            )

        self._kube = kube
        self._namespace = namespace
        self._selector = f"{LABEL},app.kubernetes.io/instance={prefix}"
        self._clock = clock
        self._duration = duration
        self._gained = gained
        self._emptied = emptied
        self._leases: Sequence[Lease] = [
            lease(f"{prefix}-shard-{number}-of-{shards}", SHARD) for number in range(shards)
        ]
        self._own = lease(f"{prefix}-{identity}"[:253], REPLICA) if shards > 1 else None
        self._held: set[int] = set()
        self._leaving: dict[int, asyncio.Task[None]] = {}
        self._renewed_at = 0.0
        self._problem = ""
        #: Whether it was told that nothing is taken.
        self._waiting = False
        self._replicas: dict[str, Lease] = {}
        #: Shards of another ``--shards``.
        self._foreign: dict[str, Lease] = {}

    @property
    def held(self) -> frozenset[int]:
        """The shards that are worked on here."""
        return frozenset(self._held - self._leaving.keys())

    def problems(self) -> list[str]:
        """A sentence for what keeps this replica from taking part; nothing if all is well."""
        return [self._problem] if self._problem else []

    def may_write(self) -> bool:
        """Whether everything that this replica took is still its own."""
        return bool(self._held) and all(self._leases[shard].held for shard in self._held)

    def worked_until(self, shard: int) -> float | None:
        """The wall time until which a former holder did the work of a shard we hold, if known."""
        return self._leases[shard].former_renewal

    async def run(self) -> None:
        """Keeps the shards until it is cancelled. Raises LeadershipLost."""
        while True:
            await self._step()
            await sleep(self._clock, self._duration / STEPS)

    async def release(self) -> None:
        """Gives everything back, so that others need not wait until it expires."""
        leases = [self._leases[shard] for shard in self._held]
        self._held.clear()
        for work in self._leaving.values():
            work.cancel()
        await asyncio.gather(*(lease.release() for lease in leases))
        if self._own is not None:
            await self._own.delete()

    async def _step(self) -> None:
        # While renewing fails nothing else is worth its time.
        if await self._renew() and await self._look():
            await self._finish_giving()
            await self._take_or_give()

    async def _renew(self) -> bool:
        self._stop_if_lost()
        if self._clock.monotonic() - self._renewed_at < self._duration / 3:
            return True
        leases = [self._leases[shard] for shard in self._held]
        renewed = await asyncio.gather(*(lease.renew() for lease in leases))
        if self._own is not None:
            renewed.append(await self._own.renew() or await self._own.try_take())
        if all(renewed):
            self._renewed_at = self._clock.monotonic()
        self._stop_if_lost()
        return all(renewed)

    def _stop_if_lost(self) -> None:
        for shard in self._held:
            # The last third is for those who still have to find out: writes under way end in it.
            if self._leases[shard].remaining < self._duration / 3:
                raise LeadershipLost(
                    f"The Lease {self._leases[shard].name} was not renewed in time, and another "
                    "replica may hold it by now. This process ends and is started anew."
                )

    async def _look(self) -> bool:
        bodies: dict[str, dict[str, Any]] = {}
        try:
            async for page in self._kube.list_pages(
                LEASES,
                namespace=self._namespace,
                label_selector=self._selector,
                timeout=self._duration * _REQUEST,
            ):
                bodies.update((body["metadata"]["name"], body) for body in page.items)
        except SyncretError as error:
            if self._problem != error.message:
                logger.warning("Leases are not read: %s", error.message)
            self._problem = error.message
            return False
        self._problem = ""
        for lease in self._leases:
            lease.observe(bodies.get(lease.name))
        if self._own is not None:
            self._own.observe(bodies.get(self._own.name))
        ours = {lease.name for lease in self._leases}
        self._see(self._replicas, bodies, kind=REPLICA)
        self._see(self._foreign, {k: v for k, v in bodies.items() if k not in ours}, kind=SHARD)
        return True

    def _see(
        self, leases: dict[str, Lease], bodies: Mapping[str, Mapping[str, Any]], *, kind: str
    ) -> None:
        """Keeps track of others' Leases of that kind."""
        seen = {
            name: body
            for name, body in bodies.items()
            if body["metadata"]["labels"].get(LABEL) == kind
        }
        for name in leases.keys() - seen.keys():
            del leases[name]
        for name, body in seen.items():
            if name not in leases:
                # Nobody's identity: this one is only looked at.
                leases[name] = Lease(
                    self._kube,
                    namespace=self._namespace,
                    name=name,
                    identity="",
                    clock=self._clock,
                )
            leases[name].observe(body)

    async def _take_or_give(self) -> None:
        held_elsewhere = [name for name, lease in self._foreign.items() if lease.free_in() > 0]
        if held_elsewhere:
            if not self._waiting:
                logger.warning(
                    "Replicas with another --shards are still at work; nothing is taken until "
                    "they have ended",
                    extra={"lease": held_elsewhere[0], "shards": len(self._leases)},
                )
            self._waiting = True
            return
        self._waiting = False
        share = fair_share(len(self._leases), self._live())
        if len(self.held) > share:
            shard = max(self.held)
            # In the background: the work of a shard may take longer to end than a Lease lasts.
            self._leaving[shard] = asyncio.create_task(self._empty(shard), name="give")
            return
        free = [
            shard
            for shard, lease in enumerate(self._leases)
            if shard not in self._held and lease.free_in() == 0
        ]
        for shard in free[: share - len(self._held)]:
            if await self._leases[shard].try_take():
                self._held.add(shard)
                self._renewed_at = self._clock.monotonic()
                logger.info("Took over", extra={"shard": shard, "shards": len(self._leases)})
                self._gained(shard)

    def _live(self) -> int:
        others = [lease for lease in self._replicas.values() if lease.free_in() > 0]
        return max(1, len(others))

    async def _empty(self, shard: int) -> None:
        await self._emptied(shard)

    async def _finish_giving(self) -> None:
        """Gives back the Leases of shards whose work has ended, and not before."""
        for shard in [shard for shard, work in self._leaving.items() if work.done()]:
            await self._leases[shard].release()
            self._held.discard(shard)
            del self._leaving[shard]
            logger.info("Gave to another replica", extra={"shard": shard})
