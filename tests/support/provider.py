"""A provider whose store is a dictionary, after the contract of ``syncret.providers.base``."""

import asyncio
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from syncret.errors import ProviderError, SpecInvalid
from syncret.providers.base import (
    CallObserver,
    Limits,
    NotFound,
    Outcome,
    Ref,
    SecretKeyRef,
    SecretValue,
)

_LIMITS: Final = Limits(batch=20)


@dataclass(frozen=True)
class MemoryConfig:
    """``spec.provider.memory``."""

    credential: SecretKeyRef | None


@dataclass
class MemoryClient:
    """An open store."""

    provider: "MemoryProvider"
    credentials: dict[str, bytes]
    limits: Limits = _LIMITS
    closed: bool = False

    async def fetch(self, refs: Collection[Ref]) -> Mapping[Ref, Outcome]:
        assert not self.closed, "a closed client was read"
        self.provider.reads += 1
        await asyncio.sleep(0)
        if self.provider.failure is not None:
            raise self.provider.failure
        return {ref: self._outcome(ref) for ref in refs}

    async def check(self) -> None:
        assert not self.closed, "a closed client was checked"
        self.provider.checks += 1
        await asyncio.sleep(0)
        if self.provider.failure is not None:
            raise self.provider.failure

    async def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True
        if self.provider.closes_badly:
            raise RuntimeError("not ours")

    def _outcome(self, ref: Ref) -> Outcome:
        if ref.key not in self.provider.values:
            return NotFound()
        data = self.provider.values[ref.key]
        return SecretValue(data, version=hashlib.sha256(data).hexdigest()[:12])


@dataclass
class MemoryProvider:
    """The store: its values, how it fails, and how often it was asked."""

    values: dict[str, bytes] = field(default_factory=dict)
    #: What reading and checking fail with, while it is set.
    failure: ProviderError | None = None
    #: What opening fails with, while it is set; what it waits for.
    open_failure: ProviderError | None = None
    may_open: asyncio.Event | None = None
    closes_badly: bool = False
    reads: int = 0
    checks: int = 0
    clients: list[MemoryClient] = field(default_factory=list)
    name: str = "memory"

    def find(
        self, spec: Mapping[str, Any], *, cluster_scoped: bool
    ) -> tuple["MemoryProvider", Any]:
        """What the registry does."""
        if list(spec) != [self.name]:
            raise SpecInvalid("spec.provider must name exactly one kind of store (memory).")
        return self, self.parse(spec[self.name], cluster_scoped=cluster_scoped)

    def parse(
        self,
        spec: Mapping[str, Any],
        *,
        cluster_scoped: bool,  # noqa: ARG002 - the contract's
    ) -> MemoryConfig:
        reference = spec.get("credential")
        return MemoryConfig(SecretKeyRef(**reference) if reference else None)

    def credential_refs(self, config: MemoryConfig) -> Mapping[str, SecretKeyRef]:
        return {"token": config.credential} if config.credential else {}

    async def open(
        self,
        config: MemoryConfig,  # noqa: ARG002 - the contract's
        credentials: Mapping[str, SecretValue],
        *,
        observe: CallObserver,  # noqa: ARG002 - the contract's
    ) -> MemoryClient:
        client = MemoryClient(self, {name: value.reveal() for name, value in credentials.items()})
        self.clients.append(client)
        if self.may_open is not None:
            await self.may_open.wait()
        if self.open_failure is not None:
            raise self.open_failure
        return client
