"""One Lease of the Kubernetes API: taken when nobody holds it, renewed, given back.

Whether somebody else still holds it is never judged by comparing two machines' clocks: a Lease
has expired when it has not changed for its duration, by our monotonic clock, since *we* saw it
change. Whether we hold it ourselves ends at the latest one duration after the request of our last
renewal was **sent**, whatever became of the answer. So two holders never overlap, as long as
monotonic clocks run at the same speed.

Others' Leases are not read here: who keeps several shows each what a list said of it
(:meth:`Lease.observe`). Every request has a deadline of its own. Nothing is raised for what happens
to API servers: :meth:`Lease.renew` and :meth:`Lease.try_take` say what is true afterwards.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from syncret.clock import Clock
from syncret.constants import FIELD_MANAGER
from syncret.errors import KubeConflict, KubeError, KubeNotFound
from syncret.kube.client import KubeClient
from syncret.kube.resources import LEASES

logger = logging.getLogger(__name__)

#: Seconds that a Lease holds without a renewal. As client-go's default.
DURATION: Final = 15.0

#: The part of the duration that one request may take.
_REQUEST: Final = 0.27


@dataclass(frozen=True, slots=True)
class _Seen:
    """A Lease as it was seen, and when, by the monotonic clock."""

    holder: str
    renew_time: str
    duration: float
    transitions: int
    resource_version: str
    at: float


class Lease:
    """One Lease and what this process knows of it."""

    def __init__(
        self,
        kube: KubeClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        duration: float = DURATION,
        labels: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self._kube = kube
        self._namespace = namespace
        self._identity = identity
        self._clock = clock
        self._duration = duration
        self._labels = labels or {}
        self._seen: _Seen | None = None
        self._held_until = 0.0
        self._told = ""
        #: When the former holder renewed last, in wall seconds; None if there was none.
        self.former_renewal: float | None = None

    @property
    def held(self) -> bool:
        """Whether it is ours now. Ask it again right before everything that depends on it."""
        return self._clock.monotonic() < self._held_until

    @property
    def remaining(self) -> float:
        """Seconds for which it is ours without another renewal; 0 if it is not."""
        return max(0.0, self._held_until - self._clock.monotonic())

    @property
    def holder(self) -> str:
        """Who held it when it was last seen; "" for nobody."""
        return self._seen.holder if self._seen is not None else ""

    def free_in(self) -> float:
        """Seconds until it may be taken, as far as is known: 0 for now."""
        seen = self._seen
        if seen is None or not seen.holder or seen.holder == self._identity:
            return 0.0
        return max(0.0, seen.at + seen.duration - self._clock.monotonic())

    def observe(self, body: Mapping[str, Any] | None) -> None:
        """Takes in how the API server has it now; None: it has none."""
        if body is None:
            self._seen, self._held_until = None, 0.0
        else:
            self._see(body)

    async def try_take(self) -> bool:
        """Takes it if nobody holds it, by what was observed; whether it is ours afterwards."""
        if self.held:
            return True
        if self.free_in() > 0:
            return False
        seen = self._seen
        former = seen.renew_time if seen is not None else ""
        spec = {
            **self._spec(),
            "acquireTime": self._now(),
            "leaseTransitions": seen.transitions + 1 if seen is not None else 0,
        }
        if await self._write(spec):
            self.former_renewal = _wall(former)
            return True
        return False

    async def renew(self) -> bool:
        """Renews it. False if it is no longer ours, or if the request failed: try again then."""
        return self.held and await self._write(self._spec())

    async def release(self) -> None:
        """Gives it back, so that another need not wait until it expires."""
        if not self.held:
            return
        self._held_until = 0.0
        seen = self._seen
        if seen is not None:
            # The time of the renewal stays: the next holder learns from it what it missed.
            await self._patch({"holderIdentity": "", "leaseDurationSeconds": 1}, seen)

    async def delete(self) -> None:
        """Removes it, where it was made for one process only."""
        self._held_until = 0.0
        try:
            await self._kube.delete(
                LEASES, namespace=self._namespace, name=self.name, timeout=self._duration * _REQUEST
            )
        except KubeError as error:
            logger.debug("A Lease was not deleted", extra={"lease": self.name, **_why(error)})

    async def _write(self, spec: dict[str, Any]) -> bool:
        sent, seen = self._clock.monotonic(), self._seen
        written = await (self._create(spec) if seen is None else self._patch(spec, seen))
        if written:
            self._told = ""
            self._held_until = sent + self._duration
        return written

    async def _create(self, spec: dict[str, Any]) -> bool:
        try:
            body = await self._kube.create(
                LEASES,
                {
                    "apiVersion": LEASES.api_version,
                    "kind": LEASES.kind,
                    "metadata": {
                        "name": self.name,
                        "namespace": self._namespace,
                        "labels": self._labels,
                    },
                    "spec": spec,
                },
                namespace=self._namespace,
                field_manager=FIELD_MANAGER,
                timeout=self._duration * _REQUEST,
            )
        except KubeError as error:
            self._tell(error)
            return False
        self._see(body)
        return True

    async def _patch(self, spec: dict[str, Any], seen: _Seen) -> bool:
        try:
            body = await self._kube.merge_patch(
                LEASES,
                {"metadata": {"resourceVersion": seen.resource_version}, "spec": spec},
                namespace=self._namespace,
                name=self.name,
                field_manager=FIELD_MANAGER,
                timeout=self._duration * _REQUEST,
            )
        except (KubeConflict, KubeNotFound):
            # Somebody else has written it, or we have and did not see the answer. The next list
            # tells.
            return False
        except KubeError as error:
            self._tell(error)
            return False
        self._see(body)
        return True

    def _see(self, body: Mapping[str, Any]) -> None:
        spec = body.get("spec") or {}
        renew_time = str(spec.get("renewTime") or "")
        holder = str(spec.get("holderIdentity") or "")
        old = self._seen
        changed = old is None or (old.holder, old.renew_time) != (holder, renew_time)
        self._seen = _Seen(
            holder=holder,
            renew_time=renew_time,
            duration=float(spec.get("leaseDurationSeconds") or self._duration),
            transitions=int(spec.get("leaseTransitions") or 0),
            resource_version=body["metadata"]["resourceVersion"],
            at=self._clock.monotonic() if old is None or changed else old.at,
        )
        if holder != self._identity:
            self._held_until = 0.0

    def _spec(self) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            # Whole seconds: more than ours are safe, because others wait for what is written here.
            "leaseDurationSeconds": math.ceil(self._duration),
            "renewTime": self._now(),
        }

    def _now(self) -> str:
        moment = datetime.fromtimestamp(self._clock.wall(), UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _tell(self, error: KubeError) -> None:
        # Once for each kind of failure: it is tried again every second.
        level = logging.DEBUG if self._told == error.message else logging.WARNING
        self._told = error.message
        logger.log(
            level, "The Lease %s was not written: %s", self.name, error.message, extra=_why(error)
        )


def _why(error: KubeError) -> dict[str, str]:
    return {"reason": error.reason}


def _wall(renew_time: str) -> float | None:
    try:
        return datetime.fromisoformat(renew_time).timestamp()
    except ValueError:
        return None
