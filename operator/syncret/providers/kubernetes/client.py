"""An open namespace: Secrets are read one by one, each once for all that is wanted of it.

There is no batch: a list has every Secret of the namespace, with its bytes, and needs a right that
nobody should have who reads three of them. But a list of *metadata* tells the versions of all, in
one call for up to 500 Secrets, so it replaces the reads where a reader knows many versions
(:data:`LIST_FROM`), and where the identity may list. Below that, a read costs as much as asking.
"""

import asyncio
import json
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

from yarl import URL

from syncret.errors import AccessDenied, ProviderError, ProviderRejected, SyncretError
from syncret.providers.base import (
    NOTHING_KNOWN,
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
from syncret.providers.fetching import Fetching
from syncret.providers.kubernetes import answers
from syncret.providers.kubernetes.answers import Call
from syncret.providers.kubernetes.identity import Identity
from syncret.providers.kubernetes.keys import Key
from syncret.providers.web import (
    STORE_WIDE,
    Answer,
    CredentialsRefused,
    Sent,
    Web,
    not_understood,
    timed_out,
)

#: Of somebody's API server, which has more to do than to serve us.
LIMITS: Final = Limits(batch=20, concurrency=4, rate=10.0)

#: Calls at once, of all fetches of one store.
CONNECTIONS: Final = 8

#: Bytes of an answer: a Secret is at most 1.5 MiB in etcd; a page of metadata is less.
MAX_BYTES: Final = 16 * 1024 * 1024

#: Secrets in a page of a list, as kubectl asks for them.
PAGE: Final = 500

#: Versions that a reader has to know for one list of metadata to be asked for instead of them.
LIST_FROM: Final = 8

GET: Final = "GetSecret"
GET_METADATA: Final = "GetSecretMetadata"
LIST: Final = "ListSecretMetadata"
REVIEW: Final = "CreateSelfSubjectRulesReview"

_JSON: Final = "application/json"
_META: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_META_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

_SECRET: Final = frozenset({"Secret"})
_METADATA: Final = frozenset({"PartialObjectMetadata"})
_LIST: Final = frozenset({"PartialObjectMetadataList"})
_REVIEW: Final = frozenset({"SelfSubjectRulesReview"})


class KubernetesClient:
    """An open store."""

    def __init__(
        self,
        *,
        server: str,
        namespace: str,
        place: str,
        who: str,
        identity: Identity,
        web: Web,
        timeout: float,
        server_name: str = "",
    ) -> None:
        self.limits = LIMITS
        self._server = server
        self._namespace = namespace
        self._place = place
        self._who = who
        self._identity = identity
        self._web = web
        self._timeout = timeout
        self._server_name = server_name
        self._may_list = True

    async def fetch(
        self, refs: Collection[Ref], *, known: Known = NOTHING_KNOWN
    ) -> Mapping[Ref, Outcome]:
        fetch = Fetching(fatal=CredentialsRefused)
        try:
            async with asyncio.timeout(self._timeout):
                wanted = self._wanted(fetch, refs)
                if sum(ref in known for ref in refs) >= LIST_FROM and self._may_list:
                    await self._compare(fetch, wanted, known)
                async with asyncio.TaskGroup() as group:
                    for name, keys in wanted.items():
                        group.create_task(self._read(fetch, name, keys))
        except TimeoutError:
            fetch.end(timed_out(self._place))
        return fetch.result(refs)

    async def find(self, query: Query, *, page: str = "") -> Found:
        selector = answers.selector(query)
        if selector is None:
            return Found(())
        given = {"limit": str(PAGE), "labelSelector": selector, "continue": page}
        call = self._call("list")
        found: Any = None
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._ask(LIST, self._path("", given), _META_LIST, _LIST, call)
        except TimeoutError:
            found = timed_out(self._place)
        if isinstance(found, ProviderError):
            raise found
        if not isinstance(found, dict):
            raise ProviderRejected(f"{self._place} has no list of Secrets: correct the url.")
        return answers.found(query, found)

    async def check(self) -> None:
        """Asks the API server what the identity may do in the namespace."""
        call = self._call("get")
        problem: Any = None
        try:
            async with asyncio.timeout(self._timeout):
                review = await self._review(call)
                if isinstance(review, ProviderError):
                    problem = review
                elif isinstance(review, dict) and not answers.may(review, "get"):
                    problem = call.denied()
        except TimeoutError:
            problem = timed_out(self._place)
        denied = isinstance(problem, _NotReviewed)
        if isinstance(problem, ProviderError) and not denied:
            raise problem

    async def close(self) -> None:
        await self._web.close()

    def _wanted(self, fetch: Fetching, refs: Collection[Ref]) -> dict[str, list[Key]]:
        """What is to be read, by the name of the Secret; what cannot be asked for is settled."""
        wanted: dict[str, list[Key]] = {}
        for ref in dict.fromkeys(refs):
            key = Key.parse(ref)
            if isinstance(key, ProviderError):
                fetch.add(ref, key)
            else:
                wanted.setdefault(key.name, []).append(key)
        return wanted

    async def _compare(self, fetch: Fetching, wanted: dict[str, list[Key]], known: Known) -> None:
        """Settles, and takes out of ``wanted``, what has the version that is known.

        One page is asked for: what is not in it is read.
        """
        path = self._path("", {"limit": str(PAGE)})
        body = await self._ask(LIST, path, _META_LIST, _LIST, self._call("list"))
        if isinstance(body, STORE_WIDE):
            fetch.end(body)
        elif isinstance(body, AccessDenied):
            self._may_list = False
        if not isinstance(body, dict):
            return
        versions = {
            item["metadata"]["name"]: answers.version(item) for item in body.get("items") or ()
        }
        for name in list(wanted):
            current = versions.get(name)
            left = []
            for key in wanted[name]:
                if current and known.get(key.ref) == current:
                    fetch.add(key.ref, Unchanged(current))
                else:
                    left.append(key)
            wanted[name] = left
            if not left:
                del wanted[name]

    async def _read(self, fetch: Fetching, name: str, keys: list[Key]) -> None:
        metadata = all(key.ref.metadata for key in keys)
        operation, accept, kinds = (
            (GET_METADATA, _META, _METADATA) if metadata else (GET, _JSON, _SECRET)
        )
        call = self._call("get", name)
        body = await self._ask(operation, self._path(name), accept, kinds, call, fetch)
        if isinstance(body, STORE_WIDE):
            fetch.end(body)
        elif body is not None:
            for key in keys:
                fetch.add(key.ref, self._outcome(key, body))

    def _outcome(self, key: Key, body: Any) -> Outcome:
        if isinstance(body, NotFound | ProviderError):
            return body
        labels = answers.labels(body)
        made = partial(
            SecretValue,
            version=answers.version(body),
            created=answers.changed_at(body),
            tags=labels,
        )
        if key.ref.metadata:
            return made(json.dumps(labels, ensure_ascii=False, sort_keys=True).encode())
        values = answers.data(body)
        if values is None:
            return not_understood(self._place, answers.WHAT)
        if not key.part:
            return made(answers.as_json(values))
        if key.part not in values:
            return NotFound()
        return made(values[key.part])

    async def _review(self, call: Call) -> Any:
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": self._namespace},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        review = await self._ask(REVIEW, path, _JSON, _REVIEW, call, body=body)
        if isinstance(review, AccessDenied) and not isinstance(review, CredentialsRefused):
            # The identity was accepted, and only this question is not allowed to it.
            return _NotReviewed(review.message)
        return review

    async def _ask(
        self,
        operation: str,
        path: str,
        accept: str,
        kinds: frozenset[str],
        call: Call,
        fetch: Fetching | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        """An object, or what else the answer means; None if the fetch has ended meanwhile."""
        unless = (lambda: False) if fetch is None else fetch.ended
        refused: int | None = None
        while True:
            problem = await self._prepare(refused)
            if problem is not None:
                return problem
            used = self._identity.generation
            found = await self._web.ask(
                operation,
                self._request(path, accept, body),
                partial(_judge, kinds=kinds, call=call),
                unless=unless,
                server_name=self._server_name,
            )
            if not isinstance(found, CredentialsRefused) or refused is not None:
                return found
            refused = used
            problem = await self._prepare(refused)
            if problem is not None or self._identity.generation == used:
                return problem or found

    async def _prepare(self, refused: int | None) -> ProviderError | None:
        try:
            await self._identity.ready(refused=refused)
        except ProviderError as error:
            return error.with_traceback(None)
        except SyncretError as error:
            return CredentialsRefused(error.message)
        return None

    def _request(self, path: str, accept: str, body: Mapping[str, Any] | None) -> Sent:
        headers = {"Accept": accept}
        header = self._identity.header()
        if header:
            headers["Authorization"] = header
        url = URL(f"{self._server}{path}", encoded=True)
        if body is None:
            return Sent("GET", url, headers)
        headers["Content-Type"] = _JSON
        return Sent("POST", url, headers, json.dumps(body).encode())

    def _path(self, name: str, query: Mapping[str, str] | None = None) -> str:
        path = f"/api/v1/namespaces/{self._namespace}/secrets"
        given = {key: value for key, value in (query or {}).items() if value}
        return f"{path}/{name}" if name else f"{path}?{urlencode(given)}"

    def _call(self, verb: str, key: str = "") -> Call:
        return Call(self._place, self._namespace, self._who, verb, key)


class _NotReviewed(AccessDenied):
    """The API server knows who asks, and does not tell what they may do."""


def _judge(answer: Answer, *, kinds: frozenset[str], call: Call) -> Any:
    found = answers.document(answer, kinds, call)
    return _Quiet(found) if isinstance(found, dict) else found


class _Quiet(dict[str, Any]):
    """A body that asyncio's debug mode may print."""

    def __repr__(self) -> str:
        return "{…}"
