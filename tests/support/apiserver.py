"""An API server in memory, behind real HTTP: it keeps objects, and refuses what the real one does.

It knows names, uids, resourceVersions, generations, preconditions, the status subresource, merge
patches, server-side apply of fields that nobody else holds, and answers of metadata only. A write
that changes nothing changes no resourceVersion. It has no watch: what one would tell is in
``changes``. Tests read and change its objects directly, as other users of the cluster do, and make
single requests fail with :meth:`FakeApiServer.intercept`.
"""

import base64
import binascii
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from aiohttp import web
from aiohttp.test_utils import TestServer

from support.patches import differ, merged
from syncret.clock import rfc3339

Body = dict[str, Any]


class Place(NamedTuple):
    """What names an object: the plural of its resource, its namespace ("" without), its name."""

    plural: str
    namespace: str
    name: str


class Call(NamedTuple):
    """A request that arrived."""

    method: str
    place: Place
    subresource: str

    @property
    def writes(self) -> bool:
        return self.method != "GET"


@dataclass(eq=False)
class Refusal(Exception):
    """An answer that is a failure."""

    status: int
    reason: str = ""
    cause: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


#: What the API server does to an object that a finalizer keeps.
_DELETING = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}

#: Looks at a call; may return or raise a Refusal to answer with, or change the world.
Interception = Callable[[Call], Refusal | None]


@dataclass(slots=True)
class _Interceptor:
    matches: Callable[[Call], bool]
    do: Interception
    times: int
    after: bool


class FakeApiServer:
    """The objects, and the requests that change them."""

    def __init__(self) -> None:
        self.url = ""
        self.objects: dict[Place, Body] = {}
        #: What a watch would have told: "ADDED", "MODIFIED" or "DELETED", and the object.
        self.changes: list[tuple[str, Place, Body]] = []
        self.calls: list[Call] = []
        #: Every byte that was sent back.
        self.answered = bytearray()
        #: Whether dependents go with their owner at once, or never.
        self.collects = True
        #: Whether the pods of a workload are replaced as soon as its spec has changed.
        self.rolls = True
        #: The time of what field managers do.
        self.wall: Callable[[], float] = lambda: 0.0
        self._version = 0
        self._uids = 0
        self._interceptors: list[_Interceptor] = []

    # For tests.

    def intercept(
        self,
        method: str,
        plural: str,
        do: Interception | Refusal,
        *,
        subresource: str | None = None,
        times: int = 1,
        after: bool = False,
    ) -> None:
        """Lets the next such requests meet ``do``: before they take effect, or after it."""

        def matches(call: Call) -> bool:
            return (call.method, call.place.plural) == (method, plural) and subresource in {
                None,
                call.subresource,
            }

        def refuse(_call: Call) -> Refusal | None:
            return do if isinstance(do, Refusal) else None

        action = refuse if isinstance(do, Refusal) else do
        self._interceptors.append(_Interceptor(matches, action, times, after))

    def stop_intercepting(self) -> None:
        """All requests are answered as usual again."""
        self._interceptors.clear()

    def intercept_writes(self, do: Interception, *, times: int, after: bool) -> None:
        """The same for every write but that of an Event."""
        self._interceptors.append(
            _Interceptor(
                lambda call: call.writes and call.place.plural != "events", do, times, after
            )
        )

    def get(self, plural: str, namespace: str, name: str) -> Body:
        """An object as it is now."""
        return deepcopy(self.objects[Place(plural, namespace, name)])

    def has(self, plural: str, namespace: str, name: str) -> bool:
        return Place(plural, namespace, name) in self.objects

    def put(self, plural: str, body: Mapping[str, Any]) -> Body:
        """Somebody makes an object."""
        meta = body["metadata"]
        return self._add(Place(plural, meta.get("namespace", ""), meta["name"]), deepcopy(body))

    def edit(self, plural: str, namespace: str, name: str, patch: Mapping[str, Any]) -> Body:
        """Somebody changes an object by a merge patch."""
        place = Place(plural, namespace, name)
        return self._store(place, merged(self.objects[place], patch))

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """Somebody deletes an object; its dependents are collected at once."""
        self._delete(Place(plural, namespace, name))

    def _delete(self, place: Place) -> None:
        if self.objects[place]["metadata"].get("finalizers"):
            self._store(place, merged(self.objects[place], _DELETING))
            return
        body = self.objects.pop(place)
        body["metadata"]["resourceVersion"] = self._next_version()
        self.changes.append(("DELETED", place, deepcopy(body)))
        uid = body["metadata"]["uid"]
        for other, owned in list(self.objects.items()) if self.collects else ():
            references = owned["metadata"].get("ownerReferences") or ()
            if other.namespace == place.namespace and [one["uid"] for one in references] == [uid]:
                self._delete(other)

    def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        """The data of a Secret."""
        data = self.get("secrets", namespace, name).get("data") or {}
        return {key: base64.b64decode(value) for key, value in data.items()}

    def events(self) -> list[tuple[str, str, str]]:
        """Kind of the object, reason and note of every Event."""
        return [
            (body["regarding"]["kind"], body["reason"], body["note"])
            for place, body in self.objects.items()
            if place.plural == "events"
        ]

    # Over HTTP.

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        call = _call(request)
        if request.method == "POST":
            call = call._replace(
                place=call.place._replace(name=json.loads(text)["metadata"]["name"])
            )
        self.calls.append(call)
        try:
            self._meet(call, after=False)
            answer, status = self._do(request, call, json.loads(text) if text else {}), 200
            self._meet(call, after=True)
        except Refusal as refusal:
            return self._answer(_status(refusal, call), refusal.status, refusal.headers)
        accept = request.headers.get("Accept", "")
        if "as=PartialObjectMetadataList" in accept:
            answer["items"] = [{"metadata": item["metadata"]} for item in answer["items"]]
        elif "as=PartialObjectMetadata" in accept:
            answer = {"kind": "PartialObjectMetadata", "metadata": answer["metadata"]}
        return self._answer(answer, status, {})

    def _answer(self, body: Body, status: int, headers: Mapping[str, str]) -> web.Response:
        data = json.dumps(body).encode()
        self.answered += data
        return web.Response(
            body=data, status=status, headers=headers, content_type="application/json"
        )

    def _meet(self, call: Call, *, after: bool) -> None:
        for interceptor in self._interceptors:
            if interceptor.after is after and interceptor.times and interceptor.matches(call):
                interceptor.times -= 1
                refusal = interceptor.do(call)
                if refusal is not None:
                    raise refusal

    def _do(self, request: web.Request, call: Call, body: Body) -> Body:
        place = call.place
        manager = request.query.get("fieldManager", "")
        known = self.objects.get(place)
        match request.method:
            case "POST":
                if known is not None:
                    raise Refusal(409, "AlreadyExists")
                dry_run = request.query.get("dryRun") == "All"
                return self._add(place, body, manager=manager, dry_run=dry_run)
            case "GET" if not place.name:
                return self._list(place, request.query.get("labelSelector", ""))
            case "GET" if known is not None:
                return deepcopy(known)
            case "DELETE" if known is not None:
                _check_deletion(known, body.get("preconditions") or {})
                self._delete(place)
                return deepcopy(known)
            case "PATCH" if "apply-patch" in request.content_type:
                return self._apply(place, body, manager, force=request.query["force"] == "true")
            case "PATCH" if known is not None:
                _check_preconditions(known, body)
                return self._store(place, _patched(known, body, call.subresource), manager)
            case _:
                raise Refusal(404, "NotFound")

    def _list(self, place: Place, selector: str) -> Body:
        """All in one page. The selector: what has each of these labels, or each of these values."""
        wanted = [part.split("=", 1) for part in selector.split(",") if part]
        items = [
            deepcopy(body)
            for there, body in self.objects.items()
            if there.plural == place.plural
            and place.namespace in {"", there.namespace}
            and all(_labelled(body, *term) for term in wanted)
        ]
        return {"metadata": {"resourceVersion": str(self._version)}, "items": items}

    def _apply(self, place: Place, body: Body, manager: str, *, force: bool) -> Body:
        known = self.objects.get(place)
        if known is None:
            if body["metadata"].get("uid"):
                raise Refusal(409, "Conflict")
            return self._add(place, body, manager=manager)
        _check_preconditions(known, body)
        if not force and differ({**known, "metadata": {}}, {**body, "metadata": {}}):
            raise Refusal(409, "Conflict")
        return self._store(place, merged(known, body), manager)

    def _add(
        self, place: Place, body: Mapping[str, Any], *, manager: str = "", dry_run: bool = False
    ) -> Body:
        self._uids += 1
        meta = {"uid": f"{self._uids:08}-0000-4000-8000-000000000000", **body["metadata"]}
        if place.plural not in {"secrets", "events"}:
            meta["generation"] = 1
        if place.plural == "secrets":
            _check_data(body)
        stored = {**body, "metadata": meta}
        if dry_run:
            return {**stored, "metadata": {"resourceVersion": "", **meta}}
        if place.plural in WORKLOADS and self.rolls and "status" not in stored:
            stored["status"] = rolled_status(stored)
        self._write(place, stored, manager)
        self.changes.append(("ADDED", place, deepcopy(stored)))
        return deepcopy(stored)

    def finish_rollout(self, plural: str, namespace: str, name: str) -> None:
        """All pods of the workload are of its present template, and available."""
        place = Place(plural, namespace, name)
        body = self.objects[place]
        self._store(place, {**deepcopy(body), "status": rolled_status(body)})

    def _store(self, place: Place, body: Body, manager: str = "") -> Body:
        known = self.objects[place]
        if place.plural == "secrets":
            _check_data(body)
        if known.get("immutable") and known.get("data") != body.get("data"):
            raise Refusal(422, "Invalid", cause="data")
        if known.get("immutable") and not body.get("immutable"):
            raise Refusal(422, "Invalid", cause="immutable")
        if place.plural == "secrets" and known.get("type") != body.get("type"):
            raise Refusal(422, "Invalid", cause="type")
        body["metadata"] = {
            **body["metadata"],
            "uid": known["metadata"]["uid"],
            "resourceVersion": known["metadata"]["resourceVersion"],
        }
        if body == known:
            return deepcopy(known)
        respecified = body.get("spec") != known.get("spec")
        if respecified:
            body["metadata"]["generation"] = known["metadata"]["generation"] + 1
        self._write(place, body, manager)
        self.changes.append(("MODIFIED", place, deepcopy(body)))
        if respecified and self.rolls and place.plural in WORKLOADS:
            self.finish_rollout(*place)
        return deepcopy(body)

    def _write(self, place: Place, body: Body, manager: str) -> None:
        meta = body["metadata"]
        meta["resourceVersion"] = self._next_version()
        managers = {entry["manager"]: entry for entry in meta.get("managedFields", ())}
        if manager:
            managers[manager] = {"manager": manager, "time": rfc3339(self.wall())}
        meta["managedFields"] = [managers[name] for name in sorted(managers)]
        self.objects[place] = deepcopy(body)

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)


@asynccontextmanager
async def serving() -> AsyncIterator[FakeApiServer]:
    """A fake API server on loopback for the length of the block."""
    api = FakeApiServer()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{tail:.*}", api.handle)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    api.url = str(server.make_url("")).rstrip("/")
    try:
        yield api
    finally:
        await server.close()


def _call(request: web.Request) -> Call:
    parts = request.path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "")[:3]
    return Call(request.method, Place(plural, namespace, name), subresource)


def _labelled(body: Body, label: str, value: str | None = None) -> bool:
    labels = body["metadata"].get("labels") or {}
    return label in labels if value is None else labels.get(label) == value


def _status(refusal: Refusal, call: Call) -> Body:
    causes = [{"field": refusal.cause, "reason": "FieldValueInvalid"}] if refusal.cause else []
    if refusal.cause == "NamespaceTerminating":
        causes = [{"reason": refusal.cause}]
    return {
        "kind": "Status",
        "reason": refusal.reason,
        "details": {"kind": call.place.plural, "name": call.place.name, "causes": causes},
    }


WORKLOADS: Final = frozenset({"deployments", "statefulsets", "daemonsets"})


def rolled_status(body: Body) -> Body:
    """The status of a workload all of whose pods are replaced and available."""
    replicas = body["spec"].get("replicas", 1)
    return {
        "observedGeneration": body["metadata"].get("generation", 1),
        **dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), replicas),
        **dict.fromkeys(
            ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable"), replicas
        ),
    }


def _patched(known: Body, patch: Body, subresource: str) -> Body:
    """What a patch makes of an object: its status through the subresource, the rest without."""
    if subresource:
        return {
            **deepcopy(known),
            **merged({"status": known.get("status")}, _only(patch, "status")),
        }
    return merged(known, {key: value for key, value in patch.items() if key != "status"})


def _only(body: Body, field_name: str) -> Body:
    return {field_name: body[field_name]} if field_name in body else {}


def _check_preconditions(known: Body, patch: Body) -> None:
    meta, wanted = known["metadata"], patch.get("metadata") or {}
    if wanted.get("uid", meta["uid"]) != meta["uid"]:
        raise Refusal(422, "Invalid", cause="metadata.uid")
    if wanted.get("resourceVersion", meta["resourceVersion"]) != meta["resourceVersion"]:
        raise Refusal(409, "Conflict")


def _check_deletion(known: Body, wanted: Mapping[str, str]) -> None:
    meta = known["metadata"]
    if any(value != meta[key] for key, value in wanted.items()):
        raise Refusal(409, "Conflict")


def _check_data(body: Mapping[str, Any]) -> None:
    for value in (body.get("data") or {}).values():
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            raise Refusal(400, "BadRequest") from None
