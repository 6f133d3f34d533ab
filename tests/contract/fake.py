"""The fake store for the contract suite: its real part is the spec of a store."""

import secrets
from collections.abc import Collection, Mapping
from typing import ClassVar

from contract.harness import Ability, Fault, Identity, Lacks, Observations
from syncret.providers.base import NOTHING_KNOWN, Client, Found, Known, Outcome, Query, Ref
from syncret.providers.fake import LIMITS, FakeProvider

_NOWHERE = "its values stand in the store, so nothing is asked for them"


class FakeHarness:
    """The entries of one store."""

    name = "fake"
    separator = "/"
    max_bytes = 65_536
    takes_binary = False
    missing_version = "v999"
    credentials: tuple[str, ...] = ()
    lacks: ClassVar[Lacks] = {
        Ability.TAGS: "it has none",
        Ability.TIMES: "a spec does not say when it was written",
        Ability.DENIES: _NOWHERE,
        Ability.LEAVES: _NOWHERE,
        **dict.fromkeys(Fault, _NOWHERE),
        Identity.UNKNOWN: _NOWHERE,
        Identity.EXPIRED: _NOWHERE,
    }

    def __init__(self, _: None = None) -> None:
        # No test puts this one; a store must have an entry.
        self.data = [{"key": f"there-is-one-{secrets.token_hex(4)}", "value": "x"}]
        self.provider = FakeProvider()
        self.opened: list[Observations] = []

    def put(self, key: str, value: bytes) -> str:
        version = f"v{sum(entry['key'] == key for entry in self.data) + 1}"
        self.data.append({"key": key, "value": value.decode(), "version": version})
        return version

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        raise NotImplementedError

    def delete(self, key: str) -> None:
        self.data = [entry for entry in self.data if entry["key"] != key]

    async def open(
        self,
        observe: Observations,
        *,
        identity: Identity = Identity.GOOD,  # noqa: ARG002 - the suite's
        reachable: bool = True,  # noqa: ARG002 - the suite's
        hasty: bool = False,  # noqa: ARG002 - the suite's
    ) -> Client:
        self.opened.append(observe)
        return _Reopened(self, observe)

    def fail(self, fault: Fault | None, *, saying: str = "") -> None:  # noqa: ARG002
        assert fault is None

    def deny(self, key: str) -> None:
        raise NotImplementedError

    @property
    def requests(self) -> int:
        """The calls that were told of: there are no others."""
        return sum(len(observed.calls) for observed in self.opened)

    def close(self) -> None:
        pass


class _Reopened:
    """A client of the newest spec: an edited store is opened anew, which is the engine's part."""

    def __init__(self, harness: FakeHarness, observe: Observations) -> None:
        self._harness = harness
        self._observe = observe
        self.limits = LIMITS

    async def fetch(
        self, refs: Collection[Ref], *, known: Known = NOTHING_KNOWN
    ) -> Mapping[Ref, Outcome]:
        return await (await self._client()).fetch(refs, known=known)

    async def find(self, query: Query, *, page: str = "") -> Found:
        return await (await self._client()).find(query, page=page)

    async def check(self) -> None:
        await (await self._client()).check()

    async def close(self) -> None:
        pass

    async def _client(self) -> Client:
        provider = self._harness.provider
        config = provider.parse({"data": self._harness.data}, cluster_scoped=False)
        return await provider.open(config, {}, observe=self._observe)
