"""Reading AWS Parameter Store.

Ten parameters are read in a call, versions and labels among them. GetParameters fails as a whole if
one of its parameters may not be read or decrypted, so what a batch was refused for is found by
reading each alone, and read apart from then on, until it can be read.

What tells a version costs a call as well, but no decryption: GetParameters gives a SecureString as
it is stored if it is not told to decrypt. So where the reader knows a version, that is asked first,
and only what changed is read again with its decryption.

Tags are read one parameter at a time (ListTagsForResource); searches: see ``parameter_search.py``.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from syncret.errors import AccessDenied, ProviderError, ProviderRejected
from syncret.providers.aws import parameter_search, parameters
from syncret.providers.aws.client import AwsClient
from syncret.providers.aws.errors import STORE_WIDE, Call, failure, not_understood
from syncret.providers.aws.pace import Pace
from syncret.providers.aws.tags import tags_json
from syncret.providers.base import (
    Found,
    Known,
    Limits,
    NotFound,
    Outcome,
    Query,
    Ref,
    SecretValue,
    Unchanged,
)
from syncret.providers.calls import THREADS_PER_STORE
from syncret.providers.fetching import Fetching, together

T = TypeVar("T")

GET: Final = "GetParameters"
BY_PATH: Final = "GetParametersByPath"
DESCRIBE: Final = "DescribeParameters"
TAGS: Final = "ListTagsForResource"

#: Read to see whether the store works. It need not exist, and should not.
CHECK_KEY: Final = "syncret-store-check"

#: An account has 40 reads a second in a region unless it pays for more; others live there as well.
QUOTA: Final = 40.0
LIMITS: Final = Limits(batch=parameters.BATCH, concurrency=THREADS_PER_STORE, rate=QUOTA / 2)

# Names that are remembered because they are read apart.
_MOST_APART: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One parameter of an answer; without ``value`` it is encrypted and was not decrypted."""

    version: str
    made: datetime | None
    value: SecretValue | None


@dataclass(frozen=True, slots=True)
class _Page:
    """An answer to GetParameters, by what was asked for."""

    found: Mapping[str, _Parameter]
    missing: frozenset[str]


class ParameterStoreClient(AwsClient):
    """An open store."""

    limits = LIMITS

    def __init__(self, boto: Any, **common: Any) -> None:
        super().__init__(boto, **common)
        self._apart: OrderedDict[str, None] = OrderedDict()
        # What the engine asks for is one call each, unless something is denied or was changed.
        self._pace = Pace(QUOTA, burst=parameters.BATCH)

    async def _read(self, fetch: Fetching, refs: Collection[Ref], known: Known) -> None:
        asked: dict[str, Ref] = {}
        tagged: list[Ref] = []
        for ref in refs:
            if ref.metadata:
                tagged.append(ref)
                continue
            try:
                asked[parameters.asked_as(ref)] = ref
            except ProviderRejected as malformed:
                fetch.add(ref, malformed.with_traceback(None))
        calls = [
            self._read_batch(fetch, {name: asked[name] for name in names}, known)
            for names in parameters.batches(asked, apart=self._apart)
        ]
        await together([*calls, *(self._read_tags(fetch, ref) for ref in tagged)])

    async def _search(self, query: Query, page: str) -> Found | Outcome | None:
        listing = parameter_search.listing(self._under_prefix(query))
        if listing is None:
            return Found(())
        operation = BY_PATH if listing.level else DESCRIBE
        call = partial(self._list, query, listing, page)
        return await self._call(operation, call)

    async def _try(self) -> Outcome | None:
        call = partial(self._get, (self._prefix + CHECK_KEY,), decrypt=True)
        answer = await self._call(GET, call)
        return None if isinstance(answer, _Page) else answer

    async def _call(
        self, operation: str, call: Callable[[], T], unless: Callable[[], bool] = lambda: False
    ) -> T | None:
        await self._pace.turn()
        return await self._calls.run(operation, call, unless=unless)

    async def _read_batch(self, fetch: Fetching, batch: Mapping[str, Ref], known: Known) -> None:
        left = dict(batch)
        missing = await self._read_told(fetch, left, known)
        missing |= await self._read_left(fetch, left, missing)
        await self._add_missing(fetch, {name: left.pop(name) for name in missing})
        if left and not fetch.ended():
            await self._read_singly(fetch, left, alone=len(batch) == 1)

    async def _read_told(self, fetch: Fetching, left: dict[str, Ref], known: Known) -> set[str]:
        """Asks for the versions of what is known; takes what is answered; returns what is gone."""
        told = [name for name, ref in left.items() if ref in known]
        page = await self._ask(fetch, told, decrypt=False) if told else None
        if not isinstance(page, _Page):
            return set()
        for name, one in page.found.items():
            if one.value is not None:
                self._add(fetch, name, left.pop(name), one.value)
            elif known[left[name]] == one.version:
                fetch.add(left.pop(name), Unchanged(one.version, one.made))
        return set(page.missing)

    async def _read_left(
        self, fetch: Fetching, left: dict[str, Ref], gone: Collection[str]
    ) -> set[str]:
        """Reads the others; takes what is answered; returns what is not there."""
        wanted = [name for name in left if name not in gone]
        page = await self._ask(fetch, wanted, decrypt=True) if wanted else None
        if isinstance(page, _Page):
            for name, one in page.found.items():
                if one.value is not None:
                    self._add(fetch, name, left.pop(name), one.value)
            return set(page.missing)
        if page is not None and len(wanted) == 1:
            self._failed(fetch, wanted[0], left.pop(wanted[0]), page)
        return set()

    async def _read_singly(self, fetch: Fetching, left: Mapping[str, Ref], *, alone: bool) -> None:
        if alone:  # and unanswered
            fetch.end(not_understood(self._place))
            return
        await together([self._read_batch(fetch, {name: ref}, {}) for name, ref in left.items()])

    async def _add_missing(self, fetch: Fetching, missing: Mapping[str, Ref]) -> None:
        """Tells a parameter that is not there from a version that it does not have."""
        versions = {ref.key for ref in missing.values() if ref.version}
        there: Collection[str] = ()
        if versions:
            page = await self._ask(fetch, sorted(versions), decrypt=False)
            there = page.found if isinstance(page, _Page) else ()
        if not fetch.ended():
            for ref in missing.values():
                fetch.add(ref, parameters.missing(ref, known=ref.key in there))

    async def _ask(
        self, fetch: Fetching, names: Collection[str], *, decrypt: bool
    ) -> _Page | NotFound | ProviderError | None:
        """An answer, or what kept the call from one; what is store-wide ends the fetch: None."""
        call = partial(self._get, tuple(names), decrypt=decrypt)
        answer = await self._call(GET, call, fetch.ended)
        if isinstance(answer, STORE_WIDE):
            fetch.end(answer)
            return None
        return answer

    async def _read_tags(self, fetch: Fetching, ref: Ref) -> None:
        call = partial(self._tags, ref.key)
        outcome = await self._call(TAGS, call, fetch.ended)
        if isinstance(outcome, STORE_WIDE):
            fetch.end(outcome)
        elif outcome is not None:
            fetch.add(ref, outcome)

    def _add(self, fetch: Fetching, name: str, ref: Ref, value: SecretValue) -> None:
        fetch.add(ref, value)
        self._apart.pop(name, None)

    def _failed(self, fetch: Fetching, name: str, ref: Ref, problem: Outcome) -> None:
        fetch.add(ref, problem)
        if isinstance(problem, AccessDenied):
            self._apart[name] = None
            if len(self._apart) > _MOST_APART:
                self._apart.popitem(last=False)

    # What runs in threads. They return failures instead of raising them: see providers/calls.py.

    def _get(self, names: tuple[str, ...], *, decrypt: bool) -> _Page | NotFound | ProviderError:
        call = Call(self._place, GET, names[0] if len(names) == 1 else "")
        try:
            answer = self._boto.get_parameters(Names=list(names), WithDecryption=decrypt)
            if "Parameters" not in answer and "InvalidParameters" not in answer:
                return not_understood(self._place)
            found = parameters.answered(names, answer.get("Parameters") or ())
            missing = frozenset(answer.get("InvalidParameters") or ()) & set(names)
            return _Page(
                {
                    name: one
                    for name, entry in found.items()
                    if (one := _parameter(entry, decrypted=decrypt)) is not None
                },
                missing,
            )
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            return failure(error, call)

    def _tags(self, key: str) -> Outcome:
        try:
            answer = self._boto.list_tags_for_resource(
                ResourceType="Parameter", ResourceId=parameters.tagged_as(key)
            )
            if "TagList" not in answer:
                return not_understood(self._place)
            return SecretValue(tags_json(answer["TagList"]))
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            return failure(error, Call(self._place, TAGS, key))

    def _list(
        self, query: Query, listing: parameter_search.Listing, page: str
    ) -> Found | NotFound | ProviderError:
        more: dict[str, Any] = {"NextToken": page} if page else {}
        where = f'on the level "{listing.level}"' if listing.level else ""
        call = Call(self._place, BY_PATH if listing.level else DESCRIBE, where=where)
        try:
            if listing.level:
                answer = self._boto.get_parameters_by_path(
                    Path=listing.level,
                    Recursive=True,
                    WithDecryption=False,
                    MaxResults=parameter_search.PAGE_BY_PATH,
                    **more,
                )
            else:
                answer = self._boto.describe_parameters(
                    ParameterFilters=list(listing.filters),
                    MaxResults=parameter_search.PAGE,
                    **more,
                )
            if "Parameters" not in answer:
                return not_understood(self._place)
            found = parameter_search.matching(query, answer, self._prefix)
            return Found(found, answer.get("NextToken") or "")
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            return failure(error, call)


def _parameter(entry: Mapping[str, Any], *, decrypted: bool) -> _Parameter | None:
    """A parameter of an answer; None if it has no value, as none of AWS's has."""
    text = entry.get("Value")
    if text is None:
        return None
    version, made = parameters.version_of(entry), parameters.created(entry)
    if parameters.is_encrypted(entry) and not decrypted:
        return _Parameter(version, made, None)
    # Half a surrogate pair can be written in JSON: whoever reads the bytes will notice.
    data = text.encode("utf-8", "surrogatepass")
    return _Parameter(version, made, SecretValue(data, version=version, created=made))
