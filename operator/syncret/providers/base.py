"""The contract between the engine and an external store.

Two steps: :meth:`Provider.open` turns a store's spec and its resolved credentials into a
:class:`Client`, which is kept and shared by every ExternalSecret that reads the store;
:meth:`Client.fetch` then reads many keys at once, because the stores that bill and throttle by
call have batch reads. Property selection, decoding and templates are not the provider's business:
it returns the bytes of a whole remote secret.

*Not found* is a value, because the caller decides whether it is an error. A failure that concerns
one key is the value of that key; a failure that concerns the whole call is raised.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn, Protocol

from syncret.api.data import Query
from syncret.errors import ProviderError

__all__ = [
    "CallObserver",
    "Client",
    "Found",
    "Limits",
    "NotFound",
    "Outcome",
    "Provider",
    "Query",
    "Ref",
    "SecretKeyRef",
    "SecretValue",
]


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """One remote secret: ``key`` as the store names it, and a version; "" is the current one.

    ``metadata``: not its value is read but its tags, as a JSON object of texts.
    """

    key: str
    version: str = ""
    metadata: bool = False


class SecretValue:
    """The bytes of a remote secret, which no log line, traceback or pickle can show by accident.

    ``version`` is the store's own version id, ``created`` the time that version was made, both
    where the store tells them.
    """

    __slots__ = ("_data", "created", "version")

    def __init__(self, data: bytes, *, version: str = "", created: datetime | None = None) -> None:
        self._data = data
        self.version = version
        self.created = created

    def reveal(self) -> bytes:
        """The bytes. Call it where they are written into a Secret or parsed, nowhere else."""
        return self._data

    def __repr__(self) -> str:
        return "SecretValue(…)"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SecretValue cannot be pickled or copied to another process")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretValue):
            return NotImplemented
        return self._data == other._data and self.version == other.version

    __hash__ = None  # type: ignore[assignment]  # never a key of anything that outlives a reconcile


@dataclass(frozen=True, slots=True)
class NotFound:
    """The store has no such key, or the key has no such version."""

    version_missing: bool = False


#: What became of one reference.
Outcome = SecretValue | NotFound | ProviderError


@dataclass(frozen=True, slots=True)
class Found:
    """One page of a search: keys as :class:`Ref` takes them, and where the next page begins.

    ``more`` is "" on the last page; a page may be empty.
    """

    keys: tuple[str, ...]
    more: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a store takes: references per call, calls at the same time, calls per second."""

    batch: int = 1
    concurrency: int = 8
    rate: float = 50.0


class Client(Protocol):
    """An open store. Shared by concurrent readers; safe to use from one event loop."""

    #: How the engine asks: never for more than ``batch`` references in one :meth:`fetch`.
    limits: Limits

    async def fetch(self, refs: Collection[Ref]) -> Mapping[Ref, Outcome]:
        """Reads every reference, in as few calls as the store allows.

        The result has exactly the given references. A failure of one key is that key's outcome.
        Raises :class:`ProviderError` when nothing could be read, and whenever the credentials are
        refused; when the store failed midway, it is the outcome of the references left unread.
        """
        ...

    async def find(self, query: Query, *, page: str = "") -> Found:
        """One page of the keys of the secrets that match the query, in one call to the store.

        The engine follows the pages, and reads the values by :meth:`fetch`. ``query.matches`` has
        the last word: what the store itself can filter only makes pages fuller. Raises
        :class:`ProviderError`.
        """
        ...

    async def check(self) -> None:
        """Makes the cheapest call that proves that the store answers and accepts the credentials.

        Raises :class:`ProviderError` with what is missing.
        """
        ...

    async def close(self) -> None:
        """Gives back connections and threads. The client is not used afterwards."""
        ...


class CallObserver(Protocol):
    """Told of every remote call, for metrics: the operation's own name and the outcome's word."""

    def __call__(self, *, operation: str, outcome: str, seconds: float) -> None: ...


class Provider(Protocol):
    """A kind of store: the name of its key in ``spec.provider``, and how to open one."""

    name: str

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> Any:
        """``spec.provider.<name>`` as a frozen record; raises SpecInvalid with the field's path."""
        ...

    def credential_refs(self, config: Any) -> Mapping[str, "SecretKeyRef"]:
        """The Kubernetes Secret keys that :meth:`open` needs, by a name of the provider's own."""
        ...

    async def open(
        self, config: Any, credentials: Mapping[str, SecretValue], *, observe: CallObserver
    ) -> Client:
        """Opens the store; without credentials the platform's own identity is used."""
        ...


@dataclass(frozen=True, slots=True)
class SecretKeyRef:
    """A key of a Kubernetes Secret; ``namespace`` only where the store is cluster-scoped.

    There, "" is the namespace of the ExternalSecret that reads.
    """

    name: str
    key: str
    namespace: str = ""
