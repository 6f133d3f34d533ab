"""How many calls the refreshes of a month make, and what they cost. Pure.

Syncret's are counted by the engine's own functions: one interval is played through, object by
object, and what is read in the same window of a store shares calls. What changes meanwhile, what is
tried again, checks of stores and logins are left out: in a month they are few.

Those of External Secrets Operator follow from what it does at each refresh of each ExternalSecret
(version 0.20): a call for each secret that it names. It shares nothing between ExternalSecrets.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from syncret.api.data import Query
from syncret.api.externalsecret import ExternalSecret
from syncret.api.keys import ObjectKey
from syncret.cost.fleet import Fleet
from syncret.cost.prices import PRICES, UNKNOWN, Price
from syncret.providers.aws.ids import batches
from syncret.providers.base import Ref
from syncret.reconcile.schedule import next_slot, refresh_seed, wake_time
from syncret.reconcile.wanted import Wanted, wanted_of

#: Seconds in a month: a twelfth of 365 days.
MONTH: Final = 365 * 86_400 / 12

_SECRETS_MANAGER: Final = PRICES["aws/SecretsManager"]


@dataclass(frozen=True, slots=True)
class Line:
    """A store in a month. ``reads``: of single secrets. ``searches``: the calls that search.

    ``price.title`` is "unknown" where no manifest has the store; its dollars are 0 then.
    """

    store: ObjectKey
    price: Price
    secrets: int
    reads: float
    calls: float
    eso_calls: float
    searches: float = 0.0
    eso_searches: float = 0.0

    @property
    def dollars(self) -> float:
        """For Syncret's calls."""
        reads = self._paid(self.calls, self.searches)
        return max(0.0, reads - self.price.free_a_minute * MONTH / 60) * self.price.call

    @property
    def eso_dollars(self) -> float:
        """For those of External Secrets Operator."""
        return self._paid(self.eso_calls, self.eso_searches) * self.price.call

    def _paid(self, calls: float, searches: float) -> float:
        return calls - (searches if self.price.free_search else 0.0)

    @property
    def storage(self) -> float:
        """For keeping the secrets, whoever reads them."""
        return self.secrets * self.price.secret


def estimate(fleet: Fleet, *, found: int) -> list[Line]:
    """A line for each store that is read. ``found``: the secrets that each search finds."""
    readers: dict[ObjectKey, list[ExternalSecret]] = defaultdict(list)
    for external_secret in fleet.external_secrets:
        for store in external_secret.stores:
            if store.generates:
                continue  # what was made is kept, and read from there
            readers[fleet.place(store, external_secret.key.namespace)].append(external_secret)
    return [_line(fleet, place, several, found) for place, several in readers.items()]


def _line(fleet: Fleet, place: ObjectKey, readers: list[ExternalSecret], found: int) -> Line:
    store = fleet.store(place)
    price = PRICES.get(fleet.kind(store), UNKNOWN)
    intervals: dict[float, list[ExternalSecret]] = defaultdict(list)
    secrets: set[Ref] = set()
    for one in readers:
        secrets |= _refs(wanted_of(one)[store], found)
        if one.refresh.periodic:
            intervals[one.refresh.interval].append(one)
    reads = calls = searches = eso = eso_searches = 0.0
    for interval, several in intervals.items():
        times = MONTH / interval
        for together in _rounds(several, store, price, interval):
            refs, pages = _played(together, price, found)
            reads += times * len(refs)
            calls += times * (_calls(price, refs) + pages)
            searches += times * pages
        for one in several:
            named, pages = _of_eso(one, store, price, found)
            eso += times * (named + pages)
            eso_searches += times * pages
    return Line(
        store=place,
        price=price,
        secrets=len({ref.key for ref in secrets}),
        reads=reads,
        calls=calls,
        eso_calls=eso,
        searches=searches,
        eso_searches=eso_searches,
    )


def _rounds(
    readers: list[ExternalSecret], store: ObjectKey, price: Price, interval: float
) -> Iterator[list[Wanted]]:
    """What is read together, window by window, in one interval."""
    # Those with the same seed want the same, and are woken together.
    wanted: Mapping[str, Wanted] = {refresh_seed(one): wanted_of(one)[store] for one in readers}
    windows: dict[float, list[Wanted]] = defaultdict(list)
    for seed, what in wanted.items():
        due = next_slot(seed, interval, 0.0)
        wake = wake_time(due, interval=interval, readers=len(readers), batch=price.batch)
        windows[wake].append(what)
    yield from windows.values()


def _played(together: Iterable[Wanted], price: Price, found: int) -> tuple[set[Ref], int]:
    """What is read in one window, and the calls of its searches."""
    refs: set[Ref] = set()
    queries: set[Query] = set()
    for what in together:
        refs |= _refs(what, found)
        queries.update(what.queries)
    return refs, len(queries) * _pages(price, found)


def _refs(wanted: Wanted, found: int) -> set[Ref]:
    """What is read, with something for everything that a search finds."""
    searched = (Ref(f"{hash(query):x}-{n}") for query in wanted.queries for n in range(found))
    return {*wanted.refs, *searched}


def _calls(price: Price, refs: Collection[Ref]) -> int:
    if price is _SECRETS_MANAGER:
        together, alone = batches(refs)
        return len(together) + len(alone)
    return ceil(len(refs) / price.batch)


def _pages(price: Price, found: int) -> int:
    return max(1, ceil(found / price.page))


def _of_eso(one: ExternalSecret, store: ObjectKey, price: Price, found: int) -> tuple[int, int]:
    """The calls of one refresh of one ExternalSecret by External Secrets Operator: those that read,
    and those that only search.
    """
    entries = [entry.remote for entry in one.data if entry.store == store]
    sources = [part.source for part in one.data_from if part.store == store]
    named = [*entries, *(part for part in sources if not isinstance(part, Query))]
    if price is _SECRETS_MANAGER:  # the only one that remembers what it read in the same refresh
        calls = len({(part.key, part.version, part.metadata) for part in named})
    else:
        calls = len(named)
    pages = 0
    for query in (part for part in sources if isinstance(part, Query)):
        if price is _SECRETS_MANAGER and (query.path or query.tags):
            calls += max(1, ceil(found / 20))  # a batch call finds and reads
        else:
            calls += found
            pages += _pages(price, found)
    return calls, pages


def table(kind: str, secrets: int, interval: float) -> Line:
    """The line of a fleet of as many ExternalSecrets, each with a secret of its own."""
    fleet = Fleet(stores={_STORE: kind})
    fleet.external_secrets = [_reader(number, interval) for number in range(secrets)]
    (line,) = estimate(fleet, found=0)
    return line


_STORE: Final = ObjectKey("ClusterSecretStore", "", "store")


def _reader(number: int, interval: float) -> ExternalSecret:
    from syncret.api.externalsecret import parse_external_secret

    return parse_external_secret(
        {
            "metadata": {
                "namespace": "n",
                "name": f"es-{number}",
                "uid": str(number),
                "generation": 1,
            },
            "spec": {
                "refreshInterval": f"{interval:.0f}s",
                "secretStoreRef": {"kind": _STORE.kind, "name": _STORE.name},
                "data": [{"secretKey": "value", "remoteRef": {"key": f"app/{number}"}}],
            },
        }
    )
