"""Our client of the Kubernetes API: a few verbs on dictionaries, over a shared HTTP session.

Every call has a deadline, the number of calls in flight is bounded, and whatever goes wrong is one
of the KubeErrors of ``errors.py``. A connection that breaks is tried once more where sending a
request twice does no more than sending it once.

Secrets shape two things here. Writes can ask for metadata as their answer (``metadata_only``), so
that the bytes just sent do not come back over the wire; and no body is logged or becomes part of
an exception.

Refused: the generated models of the official client (100 MiB and a validation of every field, for
objects that we pass on as they are); its throughput with sessions of its own is a third of this.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from syncret.errors import KubeInvalid, KubeUnavailable, NotLeading
from syncret.kube.failures import failure
from syncret.kube.resources import Resource

#: Seconds for a call, from asking for its turn to the last byte of the answer.
TIMEOUT: Final = 15.0

#: Calls in flight. Under the session's bound on connections, so that watches keep theirs.
CONCURRENCY: Final = 64

#: Asks for an object's metadata instead of all of it.
METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list. ``resource_version`` is that of the whole list, in every page the same."""

    items: list[Body]
    resource_version: str


@dataclass(frozen=True, slots=True)
class _Request:
    """One call, and the words that its failure is told in."""

    method: str
    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    accept: str = _JSON
    content_type: str = ""
    #: The name in the body, of a request whose path has none.
    creates: str = ""
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    repeatable: bool = False

    @property
    def data(self) -> bytes | None:
        """The body as it is sent."""
        if self.body is None:
            return None
        try:
            return orjson.dumps(self.body)
        except TypeError:  # half of a surrogate pair, which JSON can escape and UTF-8 cannot say
            return json.dumps(self.body, separators=(",", ":")).encode()

    @property
    def what(self) -> str:
        """The verb and the object."""
        place = f"{self.namespace}/{self.name or self.creates}".strip("/")
        return f"{self.verb} {self.resource.name} {place}".strip()

    def url(self, server: str) -> URL:
        path = self.resource.path(self.namespace, self.name, self.subresource)
        query = f"?{urlencode(self.query)}" if self.query else ""
        return URL(f"{server}{path}{query}", encoded=True)


class KubeClient:
    """The verbs. ``session`` is closed by who opened it."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        server: str,
        *,
        timeout: float = TIMEOUT,
        concurrency: int = CONCURRENCY,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """``may_write`` is asked right before each request that changes something."""
        self._session = session
        self._server = server.rstrip("/")
        self._timeout = timeout
        self._turns = asyncio.Semaphore(concurrency)
        self._may_write = may_write

    async def get(
        self, resource: Resource, *, name: str, namespace: str = "", timeout: float | None = None
    ) -> Body:
        """Reads one object."""
        return await self._get(resource, _JSON, name=name, namespace=namespace, timeout=timeout)

    async def get_metadata(
        self, resource: Resource, *, name: str, namespace: str = "", timeout: float | None = None
    ) -> Body:
        """Reads the metadata of one object, as PartialObjectMetadata."""
        return await self._get(resource, METADATA, name=name, namespace=namespace, timeout=timeout)

    async def list_pages(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        metadata_only: bool = False,
        limit: int = 500,
        timeout: float | None = None,
    ) -> AsyncIterator[Page]:
        """Reads a list page by page; ``timeout`` is that of a page.

        Raises KubeGone when the list got too old between two pages: what was read so far is then
        not a whole, and the caller starts anew.
        """
        token = ""
        while True:
            query = {"limit": str(limit)}
            if label_selector:
                query["labelSelector"] = label_selector
            if token:
                query["continue"] = token
            answer = await self._call(
                _Request(
                    "GET",
                    "list",
                    resource,
                    namespace=namespace,
                    query=query,
                    accept=_METADATA_LIST if metadata_only else _JSON,
                    repeatable=True,
                ),
                timeout=timeout,
            )
            meta = answer.get("metadata") or {}
            yield Page(answer.get("items") or [], meta.get("resourceVersion", ""))
            token = meta.get("continue", "")
            if not token:
                return

    async def create(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        field_manager: str,
        metadata_only: bool = False,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> Body:
        """Makes an object; KubeAlreadyExists if the name is taken. Never sent twice.

        ``name`` and ``subresource``: it is made below another object, as a token is.
        ``dry_run``: all that would keep it from being made is looked at, and nothing is made.
        """
        return await self._call(
            _Request(
                "POST",
                "create",
                resource,
                namespace=namespace,
                name=name,
                subresource=subresource,
                query={"fieldManager": field_manager, **({"dryRun": "All"} if dry_run else {})},
                accept=METADATA if metadata_only else _JSON,
                content_type=_JSON,
                creates=(body.get("metadata") or {}).get("name", ""),
                body=body,
            ),
            timeout=timeout,
        )

    async def merge_patch(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        name: str,
        namespace: str = "",
        subresource: str = "",
        field_manager: str,
        metadata_only: bool = False,
        timeout: float | None = None,
    ) -> Body:
        """Changes an object by a JSON merge patch.

        ``metadata.uid`` and ``metadata.resourceVersion`` in the body are preconditions:
        KubeConflict if they do not hold. With one of them, a broken connection is tried again.
        """
        return await self._call(
            _Request(
                "PATCH",
                "patch",
                resource,
                namespace=namespace,
                name=_named(name),
                subresource=subresource,
                query={"fieldManager": field_manager},
                accept=METADATA if metadata_only else _JSON,
                content_type=_MERGE_PATCH,
                body=body,
                repeatable=_has_precondition(body),
            ),
            timeout=timeout,
        )

    async def apply(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        name: str,
        namespace: str = "",
        subresource: str = "",
        field_manager: str,
        force: bool = False,
        metadata_only: bool = False,
        timeout: float | None = None,
    ) -> Body:
        """Server-side apply: the body becomes what this field manager wants, and no more.

        Without ``force``, KubeConflict if another manager holds a field with another value. An
        object that does not exist is created, unless ``metadata.uid`` asks for a certain one: then
        KubeConflict.
        """
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        return await self._call(
            _Request(
                "PATCH",
                "patch",
                resource,
                namespace=namespace,
                name=_named(name),
                subresource=subresource,
                query=query,
                accept=METADATA if metadata_only else _JSON,
                content_type=_APPLY_PATCH,
                body={"apiVersion": resource.api_version, "kind": resource.kind, **body},
                repeatable=True,
            ),
            timeout=timeout,
        )

    async def delete(
        self,
        resource: Resource,
        *,
        name: str,
        namespace: str = "",
        uid: str = "",
        resource_version: str = "",
        timeout: float | None = None,
    ) -> None:
        """Deletes an object, its dependents in the background.

        Only the one with that uid and resourceVersion, where given: KubeConflict for another. A
        connection that breaks may end as KubeNotFound for a deletion that we made ourselves.
        """
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {key: value for key, value in preconditions.items() if value},
        }
        await self._call(
            _Request(
                "DELETE",
                "delete",
                resource,
                namespace=namespace,
                name=_named(name),
                # An object that is kept by a finalizer comes back: without its data, please.
                accept=f"{METADATA},{_JSON}",
                content_type=_JSON,
                body=body,
            ),
            timeout=timeout,
            parse=False,
        )

    async def _get(
        self, resource: Resource, accept: str, *, name: str, namespace: str, timeout: float | None
    ) -> Body:
        request = _Request(
            "GET",
            "get",
            resource,
            namespace=namespace,
            name=_named(name),
            accept=accept,
            repeatable=True,
        )
        return await self._call(request, timeout=timeout)

    async def _call(self, request: _Request, *, timeout: float | None, parse: bool = True) -> Body:
        seconds = self._timeout if timeout is None else timeout
        url = request.url(self._server)
        try:
            async with asyncio.timeout(seconds), self._turns:
                status, headers, data = await self._send(request, url)
        except TimeoutError:
            raise KubeUnavailable(
                f"The API server did not answer within {seconds:g} s ({request.what})."
            ) from None
        except aiohttp.ClientSSLError:
            raise KubeUnavailable(
                "There is no TLS connection to the API server, because one side does not accept "
                f"the other's certificate or protocol: check the CA ({request.what})."
            ) from None
        except (aiohttp.ClientError, OSError):
            # From None: an address is in the text, and changes with every try.
            raise KubeUnavailable(
                f"The API server cannot be reached, or broke the connection ({request.what})."
            ) from None
        except RuntimeError:
            if not self._session.closed:
                raise
            raise KubeUnavailable(
                f"The session to the API server is closed ({request.what})."
            ) from None
        if status >= 300:
            raise failure(
                status,
                _parsed(data) or {},
                verb=request.verb,
                resource=request.resource,
                namespace=request.namespace,
                name=request.name or request.creates,
                retry_after=headers.get("Retry-After", ""),
            )
        answer = _parsed(data) if parse else {}
        if answer is None:
            raise KubeUnavailable(
                f"What answers at the API server's address is not one ({request.what}).",
                status=status,
            )
        return answer

    async def _send(self, request: _Request, url: URL) -> tuple[int, Mapping[str, str], bytes]:
        try:
            return await self._send_once(request, url)
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            # Mostly a kept-alive connection that the other side has closed in the meantime.
            # (aiohttp repeats GET and DELETE by itself in that case, but not PATCH, nor a
            # connection that was refused.)
            if not request.repeatable or self._session.closed:
                raise
        return await self._send_once(request, url)

    async def _send_once(self, request: _Request, url: URL) -> tuple[int, Mapping[str, str], bytes]:
        if request.method != "GET" and not self._may_write():
            raise NotLeading(
                f"Another replica may lead by now, so this was not sent ({request.what})."
            )
        headers = {"Accept": request.accept}
        if request.content_type:
            headers["Content-Type"] = request.content_type
        async with self._session.request(
            request.method, url, headers=headers, data=request.data, allow_redirects=False
        ) as response:
            return response.status, response.headers, await response.read()


def _named(name: str) -> str:
    # Without a name, a PATCH or DELETE would be for the whole collection.
    if not name:
        raise KubeInvalid("An object without a name cannot be read or written.")
    return name


def _has_precondition(body: Mapping[str, Any]) -> bool:
    meta = body.get("metadata") or {}
    return bool(meta.get("resourceVersion") or meta.get("uid"))


def _parsed(data: bytes) -> Body | None:
    try:
        answer = orjson.loads(data)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None
