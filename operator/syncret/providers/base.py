"""The contract between the engine and an external store.

Two steps: :meth:`Openable.open` turns a store's spec and its resolved credentials into a
:class:`Client`, which is kept and shared by every ExternalSecret that reads the store;
:meth:`Client.fetch` then reads many keys at once, because the stores that bill and throttle by
call have batch reads. Property selection, decoding and templates are not the provider's business:
it returns the bytes of a whole remote secret.

*Not found* is a value, because the caller decides whether it is an error. A failure that concerns
one key is the value of that key; a failure that concerns the whole call is raised.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NoReturn, Protocol, TypeVar, runtime_checkable

from syncret.api.data import Query
from syncret.errors import ProviderError

__all__ = [
    "NOTHING_KNOWN",
    "CallObserver",
    "Client",
    "ConfigMapKeyRef",
    "CredentialRef",
    "Found",
    "Known",
    "Limits",
    "NotFound",
    "Openable",
    "Outcome",
    "Provider",
    "Query",
    "Ref",
    "Rotator",
    "SecretKeyRef",
    "SecretValue",
    "ServiceAccount",
    "ServiceAccountRef",
    "StoreIdentity",
    "Unchanged",
]


class Ref(NamedTuple):
    """One remote secret: ``key`` as the store names it, and a version; "" is the current one.

    ``metadata``: not its value is read but its tags, as a JSON object of texts. A tuple, because
    it is the key of most that is kept about reads, and a dataclass takes four times as long there.
    """

    key: str
    version: str = ""
    metadata: bool = False


class SecretValue:
    """The bytes of a remote secret, which no log line, traceback or pickle can show by accident.

    ``version`` is the store's own version id, ``created`` the time that version was made,
    ``expires`` the time after which the store takes it for expired, ``tags`` the tags (labels) of
    the secret: each where the store tells it along with the value. ``tags`` is None where it does
    not, and empty where the secret has none. Without an expiry and with ``tags`` None it is not
    told whether the secret has an expiry.
    """

    __slots__ = ("_data", "created", "expires", "tags", "version")

    def __init__(
        self,
        data: bytes,
        *,
        version: str = "",
        created: datetime | None = None,
        expires: datetime | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._data = data
        self.version = version
        self.created = created
        self.expires = expires
        self.tags = tags

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


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The current version still is the one that the reader knows; its value was not read.

    ``created``: when it was made, where the store tells it. Stores that count versions begin anew
    with a secret that was deleted and made again: the time then is another. ``expires`` and
    ``tags`` are those of a :class:`SecretValue`; both count as not told while ``tags`` is None.
    """

    version: str
    created: datetime | None = field(default=None, compare=False)
    expires: datetime | None = field(default=None, compare=False)
    tags: Mapping[str, str] | None = field(default=None, compare=False)


#: What became of one reference.
Outcome = SecretValue | Unchanged | NotFound | ProviderError

#: The version id that a reader has of some references.
Known = Mapping[Ref, str]

NOTHING_KNOWN: Final[Known] = MappingProxyType({})


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

    async def fetch(
        self, refs: Collection[Ref], *, known: Known = NOTHING_KNOWN
    ) -> Mapping[Ref, Outcome]:
        """Reads every reference, in as few calls as the store allows.

        The result has exactly the given references. A failure of one key is that key's outcome.
        Where it costs less to learn that a reference still has the version of ``known`` than to
        read it, the outcome may be :class:`Unchanged`; it never is for other references.
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


@runtime_checkable
class Rotator(Protocol):
    """A :class:`Client` whose store can be asked to rotate a secret."""

    async def rotate(self, key: str, *, token: str) -> str:
        """Has the store begin the rotation of a secret; returns the version that it makes, or "".

        The version need not be the current one yet. ``token``: the same for the same wish, so that
        one that is sent twice rotates once. Raises ProviderError.
        """
        ...


class CallObserver(Protocol):
    """Told of every remote call, for metrics: the operation's own name and the outcome's word."""

    def __call__(self, *, operation: str, outcome: str, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class SecretKeyRef:
    """A key of a Kubernetes Secret; ``namespace`` only where the store is cluster-scoped.

    There, "" is the namespace of the ExternalSecret that reads.
    """

    name: str
    key: str
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class ConfigMapKeyRef:
    """A key of a ConfigMap, such as a certificate authority's; ``namespace`` as above."""

    name: str
    key: str
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class ServiceAccountRef:
    """A ServiceAccount whose tokens the store takes as a proof; ``namespace`` as above."""

    name: str
    namespace: str = ""


#: What a store's credentials are made from.
CredentialRef = SecretKeyRef | ConfigMapKeyRef | ServiceAccountRef


class ServiceAccount(Protocol):
    """A ServiceAccount that exists. Its annotations are those that the store was opened with."""

    namespace: str
    name: str
    annotations: Mapping[str, str]

    async def token(self, audiences: Sequence[str], *, seconds: int = 3600) -> SecretValue:
        """A new token for those audiences, with the time at which it ``expires``.

        ``seconds``: how long it is to live; the API server takes no less than 600, and may give
        less than is asked for. Without audiences it is one for the API server itself: never send
        such a token anywhere else. Raises a SyncretError that says what to do.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """Which store is opened, for session names and tags that an audit is to find.

    ``reader``: the namespace of those who read, if the store is opened for each namespace apart.
    """

    kind: str
    name: str
    namespace: str = ""
    reader: str = ""


#: What :meth:`Openable.open` gives: the client of a store, or of a generator.
OpenedT_co = TypeVar("OpenedT_co", covariant=True)


class Openable(Protocol[OpenedT_co]):
    """A kind of store or generator: the name of its key in the spec, and how to open one."""

    name: str

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> Any:
        """What is under that key as a frozen record; raises SpecInvalid with the field's path."""
        ...

    def credential_refs(self, config: Any) -> Mapping[str, CredentialRef]:
        """What :meth:`open` needs of the cluster, by a name of the provider's own."""
        ...

    def ambient(self, config: Any) -> bool:
        """Whether the store is opened with the operator's own identity.

        A SecretStore may not be, unless the operator runs with a setting that allows it.
        """
        ...

    async def open(
        self,
        config: Any,
        credentials: Mapping[str, SecretValue],
        *,
        observe: CallObserver,
        accounts: Mapping[str, ServiceAccount] = MappingProxyType({}),
        store: StoreIdentity | None = None,
    ) -> OpenedT_co:
        """Opens the store, which then stays open for as long as its credentials are the same.

        ``credentials`` has the values of Secrets and ConfigMaps, ``accounts`` the ServiceAccounts,
        by the names of :meth:`credential_refs`. Whatever expires, the client renews.
        """
        ...


class Provider(Openable[Client], Protocol):
    """A kind of store, named in ``spec.provider``."""
