"""A lean client of the API server for the harness: many requests in flight, little CPU for each.

Apart from the operator's own client on purpose: what is measured does not measure itself.
"""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp
from yarl import URL

T = TypeVar("T")
Body = dict[str, Any]

#: Requests in flight, of the harness and of the bare loop alike.
IN_FLIGHT: Final = 64

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

GROUP_PATH: Final = "/apis/syncret.io/v1alpha1"


class ApiError(Exception):
    """The API server refused; the text is what it said."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text[:500]}")
        self.status = status


class Kube:
    """An open session, by a kubeconfig of the test bed (which is JSON)."""

    def __init__(self, kubeconfig: Path) -> None:
        view = json.loads(kubeconfig.read_text())
        cluster, user = view["clusters"][0]["cluster"], view["users"][0]["user"]
        self._server: str = cluster["server"]
        self._headers = {"User-Agent": "syncret-load"}
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        self._tls = _tls(cluster, user)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=IN_FLIGHT + 8, ssl=self._tls),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=120),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is not open")
        return self._session

    async def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content: str = JSON,
        accept: str = METADATA,
    ) -> bytes:
        """Any request; the answer unparsed, of metadata only unless asked otherwise."""
        headers = {"Accept": accept}
        data = None
        if body is not None:
            headers["Content-Type"] = content
            data = json.dumps(body, separators=(",", ":")).encode()
        url = URL(f"{self._server}{path}", encoded=True)
        async with self.session.request(method, url, headers=headers, data=data) as answer:
            said = await answer.read()
            if answer.status >= 300:
                raise ApiError(answer.status, said.decode(errors="replace"))
            return said

    async def get(self, path: str, *, accept: str = JSON) -> Body:
        """An object or a list. Raises ApiError."""
        answer: Body = json.loads(await self.send("GET", path, accept=accept))
        return answer

    async def create(self, path: str, body: Mapping[str, Any]) -> None:
        """An object in a collection; one that is there already stays as it is."""
        try:
            await self.send("POST", path, body)
        except ApiError as error:
            if error.status != 409:
                raise

    async def items(
        self, path: str, *, accept: str = JSON, limit: int = 500
    ) -> AsyncIterator[Body]:
        """Every object of a collection, page by page."""
        token = ""
        while True:
            answer = await self.get(f"{path}?limit={limit}&continue={token}", accept=accept)
            for item in answer["items"]:
                yield item
            token = answer["metadata"].get("continue", "")
            if not token:
                return

    async def watch(self, path: str, *, accept: str = METADATA) -> AsyncIterator[Body]:
        """The events of a collection from now on, until it is left or the server ends it."""
        url = URL(f"{self._server}{path}?watch=1&timeoutSeconds=3600", encoded=True)
        timeout = aiohttp.ClientTimeout(total=None)
        async with self.session.get(url, headers={"Accept": accept}, timeout=timeout) as answer:
            if answer.status >= 300:
                raise ApiError(answer.status, await answer.text())
            async for line in answer.content:
                yield json.loads(line)


async def each(
    items: Iterable[T],
    do: Callable[[T], Awaitable[None]],
    *,
    in_flight: int = IN_FLIGHT,
    done: Callable[[int], None] = lambda _: None,
) -> None:
    """Does it for every item, so many at a time; ``done`` is told how many are."""
    left, count = iter(items), 0

    async def work() -> None:
        nonlocal count
        for item in left:
            await do(item)
            count += 1
            done(count)

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(work())


def _tls(cluster: Mapping[str, str], user: Mapping[str, str]) -> ssl.SSLContext:
    inline = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"),
        cadata=base64.b64decode(inline).decode() if inline else None,
    )
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    return context
