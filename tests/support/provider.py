"""A provider whose store is a dictionary, after the contract of ``syncret.providers.base``."""

import asyncio
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from support.generator import MemoryGenerator
from syncret.errors import ProviderError, SpecInvalid
from syncret.generators.base import Generator
from syncret.generators.registry import parse_generator
from syncret.providers.base import (
    NOTHING_KNOWN,
    CallObserver,
    CredentialRef,
    Found,
    Known,
    Limits,
    NotFound,
    Outcome,
    Query,
    Ref,
    SecretKeyRef,
    SecretValue,
    ServiceAccount,
    ServiceAccountRef,
    StoreIdentity,
    Unchanged,
)

_LIMITS: Final = Limits(batch=20)


@dataclass(frozen=True)
class MemoryConfig:
    """``spec.provider.memory``; ``shelf``: which of the provider's stores."""

    credential: SecretKeyRef | None
    shelf: str = ""
    account: ServiceAccountRef | None = None


@dataclass
class MemoryClient:
    """An open store."""

    provider: "MemoryProvider"
    credentials: dict[str, bytes]
    shelf: str = ""
    limits: Limits = _LIMITS
    closed: bool = False
    accounts: Mapping[str, ServiceAccount] = field(default_factory=dict)
    store: StoreIdentity | None = None

    async def fetch(
        self, refs: Collection[Ref], *, known: Known = NOTHING_KNOWN
    ) -> Mapping[Ref, Outcome]:
        assert not self.closed, "a closed client was read"
        self.provider.reads += 1
        await asyncio.sleep(0)
        self._fail()
        outcomes = {ref: self._outcome(ref) for ref in refs}
        if self.provider.tells_versions:
            for ref, version in known.items():
                outcome = outcomes[ref]
                if isinstance(outcome, SecretValue) and outcome.version == version:
                    told = outcome.created, outcome.expires, outcome.tags
                    outcomes[ref] = Unchanged(version, *told)
        if self.provider.tells_times_of_the_known_only:
            for outcome in outcomes.values():
                if isinstance(outcome, SecretValue):
                    outcome.created = None
        self.provider.values_read += sum(isinstance(one, SecretValue) for one in outcomes.values())
        return outcomes

    async def find(self, query: Query, *, page: str = "") -> Found:
        assert not self.closed, "a closed client was searched"
        self.provider.searches += 1
        await asyncio.sleep(0)
        self._fail()
        found = [
            key for key in self._values() if query.matches(key, self.provider.tags.get(key, {}))
        ]
        start, size = int(page or 0), self.provider.page
        more = str(start + size) if len(found) > start + size else ""
        return Found(tuple(found[start : start + size]), more)

    async def rotate(self, key: str, *, token: str) -> str:
        self.provider.rotated.append((key, token))
        self._fail()
        rotated = self.provider.rotates_to
        return hashlib.sha256(rotated).hexdigest()[:12] if rotated is not None else ""

    async def check(self) -> None:
        assert not self.closed, "a closed client was checked"
        self.provider.checks += 1
        await asyncio.sleep(0)
        self._fail()

    async def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True
        if self.provider.closes_badly:
            raise RuntimeError("not ours")

    def _fail(self) -> None:
        failure = self.provider.failures.get(self.shelf) or self.provider.failure
        if failure is not None:
            raise failure

    def _values(self) -> dict[str, bytes]:
        return self.provider.shelves.get(self.shelf, self.provider.values)

    def _outcome(self, ref: Ref) -> Outcome:
        if ref.key not in self._values():
            return NotFound()
        if ref.metadata:
            return SecretValue(json.dumps(self.provider.tags.get(ref.key, {})).encode())
        data, provider = self._values()[ref.key], self.provider
        version = hashlib.sha256(data).hexdigest()[:12] if provider.has_versions else ""
        if ref.key in provider.made:
            return SecretValue(data, version="1", created=provider.made[ref.key])
        return SecretValue(
            data,
            version=version,
            created=provider.created.get(ref.key),
            expires=provider.expires.get(ref.key),
            tags=provider.tags.get(ref.key) if provider.gives_tags else None,
        )


@dataclass
class MemoryProvider:
    """The store: its values, how it fails, and how often it was asked."""

    values: dict[str, bytes] = field(default_factory=dict)
    #: The values of further stores, by ``spec.provider.memory.shelf``; and how single ones fail.
    shelves: dict[str, dict[str, bytes]] = field(default_factory=dict)
    failures: dict[str, ProviderError] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    #: When secrets were made whose only version is "1"; the others' versions follow their values.
    made: dict[str, datetime] = field(default_factory=dict)
    #: Keys in one page of a search.
    page: int = 2
    #: What reading and checking fail with, while it is set.
    failure: ProviderError | None = None
    #: What opening fails with, while it is set; what it waits for.
    open_failure: ProviderError | None = None
    may_open: asyncio.Event | None = None
    closes_badly: bool = False
    #: Whether a version can be told without its value.
    tells_versions: bool = False
    #: Whether it tells when a version was made along with Unchanged, and never with a value.
    tells_times_of_the_known_only: bool = False
    #: Whether it has versions at all; and what it tells along with the value of a key.
    has_versions: bool = True
    gives_tags: bool = True
    created: dict[str, datetime] = field(default_factory=dict)
    expires: dict[str, datetime] = field(default_factory=dict)
    reads: int = 0
    values_read: int = 0
    searches: int = 0
    checks: int = 0
    #: The wishes to rotate: keys and tokens; and the value that a rotation is going to make.
    rotated: list[tuple[str, str]] = field(default_factory=list)
    rotates_to: bytes | None = None
    clients: list[MemoryClient] = field(default_factory=list)
    #: The generator that ``spec.generator.memory`` names.
    maker: MemoryGenerator | None = None
    name: str = "memory"

    def generators(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> tuple[Generator, Any]:
        """What the registry of generators does; its own are there as well."""
        if list(spec) == [self.name] and self.maker is not None:
            return self.maker, self.maker.parse(spec[self.name], cluster_scoped=cluster_scoped)
        return parse_generator(spec, cluster_scoped=cluster_scoped)

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
        reference, account = spec.get("credential"), spec.get("account")
        return MemoryConfig(
            SecretKeyRef(**reference) if reference else None,
            spec.get("shelf") or "",
            ServiceAccountRef(**account) if account else None,
        )

    def credential_refs(self, config: MemoryConfig) -> Mapping[str, CredentialRef]:
        named = {"token": config.credential, "account": config.account}
        return {name: one for name, one in named.items() if one is not None}

    def ambient(self, config: MemoryConfig) -> bool:
        return not self.credential_refs(config)

    async def open(
        self,
        config: MemoryConfig,
        credentials: Mapping[str, SecretValue],
        *,
        observe: CallObserver,  # noqa: ARG002 - the contract's
        accounts: Mapping[str, ServiceAccount] = MappingProxyType({}),
        store: StoreIdentity | None = None,
    ) -> MemoryClient:
        revealed = {name: value.reveal() for name, value in credentials.items()}
        client = MemoryClient(self, revealed, config.shelf, accounts=accounts, store=store)
        self.clients.append(client)
        if self.may_open is not None:
            await self.may_open.wait()
        if self.open_failure is not None:
            raise self.open_failure
        return client
