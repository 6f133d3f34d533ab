"""The provider ``fake``: values that stand in the store itself, for demonstrations and tests.

Whoever may read the store can read its values, in the API, in backups and in Git. It is no place
for secrets, and nothing here pretends that it is.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from syncret.errors import ProviderRejected, SpecInvalid
from syncret.providers.base import (
    NOTHING_KNOWN,
    CallObserver,
    Client,
    CredentialRef,
    Found,
    Known,
    Limits,
    NotFound,
    Outcome,
    Query,
    Ref,
    SecretValue,
    ServiceAccount,
    StoreIdentity,
)
from syncret.providers.fields import Fields

PATH: Final = "spec.provider.fake"

#: Entries of a store; the CRD has the same bound.
MOST: Final = 2000

LIMITS: Final = Limits(batch=MOST, concurrency=8, rate=1000.0)

_KEY: Final = re.compile(r".+", re.DOTALL)
_VALUE: Final = re.compile(r".*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FakeConfig:
    """The values by key and version. Of each key the last one that is listed is the current."""

    data: tuple[tuple[str, str, str], ...] = field(repr=False)


class FakeProvider:
    """All fake stores."""

    name = "fake"

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> FakeConfig:  # noqa: ARG002
        fields = Fields(spec, PATH)
        found: list[tuple[str, str, str]] = []
        for one in fields.children("data"):
            found.append(
                (
                    one.text("key", pattern=_KEY, limit=1024, form="a key of 1 to 1024 characters"),
                    one.optional(
                        "version",
                        pattern=_VALUE,
                        limit=256,
                        form="a version of at most 256 characters",
                    ),
                    one.text(
                        "value",
                        pattern=_VALUE,
                        limit=65_536,
                        form="a text of at most 65536 characters",
                    ),
                )
            )
            one.done()
        fields.done()
        if not 1 <= len(found) <= MOST:
            raise SpecInvalid(f"{PATH}.data must have 1 to {MOST} entries.")
        if len({(key, version) for key, version, _ in found}) < len(found):
            raise SpecInvalid(f"{PATH}.data has the same key and version twice.")
        return FakeConfig(tuple(found))

    def credential_refs(self, config: FakeConfig) -> Mapping[str, CredentialRef]:  # noqa: ARG002
        return {}

    def ambient(self, config: FakeConfig) -> bool:  # noqa: ARG002 - it needs no identity
        return False

    async def open(
        self,
        config: FakeConfig,
        credentials: Mapping[str, SecretValue],  # noqa: ARG002 - it has none
        *,
        observe: CallObserver,
        accounts: Mapping[str, ServiceAccount] = MappingProxyType({}),  # noqa: ARG002
        store: StoreIdentity | None = None,  # noqa: ARG002
    ) -> Client:
        return FakeClient(config, observe=observe)


class FakeClient:
    """An open store. Its calls are told of as if they went somewhere."""

    def __init__(self, config: FakeConfig, *, observe: CallObserver) -> None:
        self.limits = LIMITS
        self._observe = observe
        self._values: dict[Ref, SecretValue] = {}
        for key, version, text in config.data:
            # A lone surrogate can be written in JSON.
            value = SecretValue(text.encode("utf-8", "surrogatepass"), version=version)
            self._values[Ref(key)] = value
            if version:
                self._values[Ref(key, version)] = value

    async def fetch(
        self,
        refs: Collection[Ref],
        *,
        known: Known = NOTHING_KNOWN,  # noqa: ARG002 - nothing is cheaper than to look
    ) -> Mapping[Ref, Outcome]:
        outcomes = {ref: self._outcome(ref) for ref in refs}
        if outcomes:
            missing = all(isinstance(one, NotFound) for one in outcomes.values())
            self._observe(operation="Get", outcome="not_found" if missing else "ok", seconds=0.0)
        return outcomes

    async def find(self, query: Query, *, page: str = "") -> Found:  # noqa: ARG002 - there is one
        keys = sorted({ref.key for ref in self._values if query.matches(ref.key, {})})
        self._observe(operation="List", outcome="ok", seconds=0.0)
        return Found(tuple(keys))

    async def check(self) -> None:
        """It always works."""
        self._observe(operation="List", outcome="ok", seconds=0.0)

    async def close(self) -> None:
        """Nothing is held open."""

    def _outcome(self, ref: Ref) -> Outcome:
        if ref.metadata:
            return ProviderRejected("A fake store has no tags: leave metadataPolicy out.")
        found = self._values.get(ref)
        if found is None:
            return NotFound(version_missing=Ref(ref.key) in self._values)
        return found
