"""A generator in memory, after the contract of ``syncret.generators.base``: it knows what lives."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from syncret.errors import ProviderError
from syncret.generators.base import Generated, Lease
from syncret.providers.base import (
    CallObserver,
    CredentialRef,
    Limits,
    SecretKeyRef,
    SecretValue,
    ServiceAccount,
    StoreIdentity,
)

_LIMITS: Final = Limits(batch=1, concurrency=8, rate=1000.0)


@dataclass
class Living:
    """A credential that was made. ``latest``: the end that no renewal gets past."""

    name: str
    owner: str
    made: float
    ends: float
    latest: float
    revoked: float | None = None
    renewals: list[float] = field(default_factory=list)

    def lives(self, now: float) -> bool:
        return self.revoked is None and now < self.ends


@dataclass
class MemoryGenerator:
    """What makes credentials, and all that it has made, by their names (which are lease ids)."""

    wall: Callable[[], float]
    #: Seconds of a lease, and the most that renewals make of it; None: nothing is leased.
    lease: float | None = None
    most: float = float("inf")
    renewable: bool = True
    #: Seconds after which what is not leased ends.
    life: float | None = None
    made: dict[str, Living] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    closed: int = 0
    #: What every call fails with, while it is set; and a few of them alone.
    failure: ProviderError | None = None
    renew_failure: ProviderError | None = None
    revoke_failure: ProviderError | None = None
    #: What making waits for; and one entry for each that has begun.
    may_make: asyncio.Event | None = None
    begun: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    name: str = "memory"
    limits: Limits = _LIMITS

    @property
    def alive(self) -> list[str]:
        """The names of those that live."""
        return [one.name for one in self.made.values() if one.lives(self.wall())]

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> Mapping[str, Any]:  # noqa: ARG002
        return dict(spec)

    def credential_refs(self, config: Mapping[str, Any]) -> Mapping[str, CredentialRef]:
        reference = config.get("credential")
        return {"token": SecretKeyRef(**reference)} if reference else {}

    def ambient(self, config: Mapping[str, Any]) -> bool:
        return bool(config.get("ambient"))

    async def open(
        self,
        config: Any,  # noqa: ARG002 - the contract's
        credentials: Mapping[str, SecretValue],  # noqa: ARG002
        *,
        observe: CallObserver,  # noqa: ARG002
        accounts: Mapping[str, ServiceAccount] = MappingProxyType({}),  # noqa: ARG002
        store: StoreIdentity | None = None,  # noqa: ARG002
    ) -> "MemoryGenerator":
        return self

    async def generate(self, *, owner: str) -> Generated:
        await asyncio.sleep(0)
        self.begun.put_nowait(owner)
        if self.may_make is not None:
            await self.may_make.wait()
        self._fail(None)
        now = self.wall()
        name = f"user-{len(self.made) + 1}"
        seconds = self.lease if self.lease is not None else self.life
        ends = now + (float("inf") if seconds is None else seconds)
        self.made[name] = Living(name, owner, now, ends, latest=now + self.most)
        values = {"username": name, "password": f"{name}-not-real"}
        return Generated(
            values={key: SecretValue(value.encode()) for key, value in values.items()},
            expires=datetime.fromtimestamp(ends, UTC) if self.life is not None else None,
            lease=None
            if self.lease is None
            else Lease(name, self.lease, self.renewable, holder="login"),
        )

    async def renew(self, lease: Lease) -> Lease | None:
        await asyncio.sleep(0)
        self._fail(self.renew_failure)
        assert lease.renewable
        assert lease.holder == "login"
        living, now = self.made.get(lease.id), self.wall()
        if living is None or not living.lives(now):
            return None
        assert self.lease is not None
        living.ends = min(now + self.lease, living.latest)
        living.renewals.append(now)
        return Lease(lease.id, living.ends - now, renewable=True, holder="login")

    async def revoke(self, lease: Lease) -> None:
        await asyncio.sleep(0)
        self._fail(self.revoke_failure)
        self.revoked.append(lease.id)
        if lease.id in self.made and self.made[lease.id].lives(self.wall()):
            self.made[lease.id].revoked = self.wall()

    async def check(self) -> None:
        self._fail(None)

    async def close(self) -> None:
        self.closed += 1

    def _fail(self, failure: ProviderError | None) -> None:
        failure = failure or self.failure
        if failure is not None:
            raise failure


def generator_body(
    name: str = "maker",
    *,
    namespace: str = "payments",
    uid: str = "generator-1",
    generation: int = 1,
    conditions: tuple[dict[str, Any], ...] = (),
    **generator: Any,
) -> dict[str, Any]:
    """A Generator, or with namespace "" a ClusterGenerator; keywords: its ``spec.generator``."""
    body: dict[str, Any] = {
        "apiVersion": "syncret.io/v1alpha1",
        "kind": "Generator" if namespace else "ClusterGenerator",
        "metadata": {"name": name, "uid": uid, "generation": generation},
        "spec": {"generator": generator or {"memory": {}}},
    }
    if namespace:
        body["metadata"]["namespace"] = namespace
    if conditions:
        body["spec"]["conditions"] = json.loads(json.dumps(conditions))
    return body
