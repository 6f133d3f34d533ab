"""The client over a real HTTP connection: what it sends, what it makes of the answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from syncret.errors import (
    KubeAlreadyExists,
    KubeConflict,
    KubeGone,
    KubeInvalid,
    KubeNotFound,
    KubeThrottled,
    KubeUnavailable,
)
from syncret.kube.client import KubeClient
from syncret.kube.resources import DEPLOYMENTS, EXTERNAL_SECRETS, SECRETS
from unit.kube.apiserver import ApiServer, breaks, says

CANARY = "hunter2-not-real"


@pytest.fixture
async def client(api: ApiServer) -> AsyncIterator[KubeClient]:
    async with aiohttp.ClientSession() as session:
        yield KubeClient(session, api.url)


async def test_get(api: ApiServer, client: KubeClient) -> None:
    api.answers.append(says(200, {"metadata": {"name": "a"}}))
    assert await client.get(SECRETS, name="a", namespace="ns") == {"metadata": {"name": "a"}}
    (seen,) = api.seen
    assert (seen.method, seen.path) == ("GET", "/api/v1/namespaces/ns/secrets/a")
    assert seen.headers["Accept"] == "application/json"


async def test_get_metadata_asks_for_metadata(api: ApiServer, client: KubeClient) -> None:
    api.answers.append(says(200, {"kind": "PartialObjectMetadata"}))
    await client.get_metadata(SECRETS, name="a", namespace="ns")
    assert "as=PartialObjectMetadata;" in api.seen[0].headers["Accept"]


async def test_a_list_follows_the_continue_token(api: ApiServer, client: KubeClient) -> None:
    api.answers += [
        says(200, {"metadata": {"resourceVersion": "7", "continue": "a b&c"}, "items": [{"n": 1}]}),
        says(200, {"metadata": {"resourceVersion": "7"}, "items": None}),
    ]
    pages = [page async for page in client.list_pages(SECRETS, label_selector="a=b", limit=1)]
    assert [page.items for page in pages] == [[{"n": 1}], []]
    assert {page.resource_version for page in pages} == {"7"}
    assert [seen.query for seen in api.seen] == [
        {"limit": "1", "labelSelector": "a=b"},
        {"limit": "1", "labelSelector": "a=b", "continue": "a b&c"},
    ]


async def test_a_list_that_got_too_old_is_gone(api: ApiServer, client: KubeClient) -> None:
    api.answers += [says(200, {"metadata": {"continue": "x"}}), says(410, {"reason": "Expired"})]
    with pytest.raises(KubeGone):
        async for _ in client.list_pages(SECRETS, namespace="ns"):
            pass


async def test_create(api: ApiServer, client: KubeClient) -> None:
    api.answers.append(says(201, {"metadata": {"uid": "u"}}))
    body = {"metadata": {"name": "a"}, "data": {"k": "dg=="}}
    answer = await client.create(
        SECRETS, body, namespace="ns", field_manager="m", metadata_only=True
    )
    assert answer == {"metadata": {"uid": "u"}}
    (seen,) = api.seen
    assert (seen.method, seen.path) == ("POST", "/api/v1/namespaces/ns/secrets")
    assert seen.query == {"fieldManager": "m"}
    assert seen.json == body
    assert "PartialObjectMetadata" in seen.headers["Accept"]


async def test_apply(api: ApiServer, client: KubeClient) -> None:
    api.answers.append(says(200))
    await client.apply(
        DEPLOYMENTS, {"spec": {}}, name="a", namespace="ns", field_manager="m", force=True
    )
    (seen,) = api.seen
    assert seen.method == "PATCH"
    assert seen.query == {"fieldManager": "m", "force": "true"}
    assert seen.headers["Content-Type"] == "application/apply-patch+yaml"
    assert seen.json == {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {}}


async def test_merge_patch_of_a_subresource(api: ApiServer, client: KubeClient) -> None:
    api.answers.append(says(200))
    await client.merge_patch(
        EXTERNAL_SECRETS,
        {"status": {}},
        name="a",
        namespace="ns",
        subresource="status",
        field_manager="m",
    )
    (seen,) = api.seen
    assert seen.path.endswith("/externalsecrets/a/status")
    assert seen.headers["Content-Type"] == "application/merge-patch+json"


async def test_delete_sends_preconditions(api: ApiServer, client: KubeClient) -> None:
    api.answers.append(says(200, "not JSON, and nobody reads it"))
    await client.delete(SECRETS, name="a", namespace="ns", uid="u")
    (seen,) = api.seen
    assert seen.method == "DELETE"
    assert seen.json["preconditions"] == {"uid": "u"}


@pytest.mark.parametrize("verb", ["get", "delete", "merge_patch", "apply"])
async def test_nothing_is_sent_without_a_name(
    api: ApiServer, client: KubeClient, verb: str
) -> None:
    arguments: dict[str, Any] = {"name": "", "namespace": "ns"}
    body: tuple[dict[str, Any], ...] = ()
    if verb in {"merge_patch", "apply"}:
        arguments["field_manager"], body = "m", ({},)
    with pytest.raises(KubeInvalid):
        await getattr(client, verb)(SECRETS, *body, **arguments)
    assert api.seen == []


async def test_failures_are_typed(api: ApiServer, client: KubeClient) -> None:
    api.answers += [
        says(404, {"details": {"kind": "secrets"}}),
        says(409, {"reason": "AlreadyExists"}),
        says(429, {}, headers={"Retry-After": "4"}),
    ]
    with pytest.raises(KubeNotFound):
        await client.get(SECRETS, name="a", namespace="ns")
    with pytest.raises(KubeAlreadyExists, match='"b" in namespace "ns" exists already'):
        await client.create(SECRETS, {"metadata": {"name": "b"}}, namespace="ns", field_manager="m")
    with pytest.raises(KubeThrottled) as caught:
        await client.get(SECRETS, name="a", namespace="ns")
    assert caught.value.retry_after == 4


async def test_a_page_that_is_no_api_server(api: ApiServer, client: KubeClient) -> None:
    api.answers += [says(200, f"<html>{CANARY}"), says(302, "", headers={"Location": "/x"})]
    for _ in range(2):
        with pytest.raises(Exception, match="API server") as caught:
            await client.get(SECRETS, name="a", namespace="ns")
        assert CANARY not in str(caught.value)
    assert len(api.seen) == 2  # the redirect was not followed


async def test_a_broken_connection_is_tried_again(api: ApiServer, client: KubeClient) -> None:
    for call in (
        client.apply(DEPLOYMENTS, {}, name="a", namespace="ns", field_manager="m"),
        client.merge_patch(
            SECRETS, {"metadata": {"uid": "u"}}, name="a", namespace="ns", field_manager="m"
        ),
        client.get(SECRETS, name="a", namespace="ns"),
    ):
        api.seen.clear()
        api.answers += [breaks(), says(200, {"ok": 1})]
        assert await call == {"ok": 1}
        assert len(api.seen) == 2


async def test_what_must_not_be_sent_twice_is_not(api: ApiServer, client: KubeClient) -> None:
    for call in (
        client.create(SECRETS, {}, namespace="ns", field_manager="m"),
        client.merge_patch(SECRETS, {}, name="a", namespace="ns", field_manager="m"),
    ):
        api.seen.clear()
        api.answers += [breaks(), says(200)]
        with pytest.raises(KubeUnavailable):
            await call
        assert len(api.seen) == 1
        api.answers.clear()


async def test_no_server() -> None:
    async with aiohttp.ClientSession() as session:
        client = KubeClient(session, "http://127.0.0.1:1")
        with pytest.raises(KubeUnavailable, match="cannot be reached"):
            await client.get(SECRETS, name="a", namespace="ns")


async def test_a_closed_session(api: ApiServer) -> None:
    session = aiohttp.ClientSession()
    client = KubeClient(session, api.url)
    await session.close()
    with pytest.raises(KubeUnavailable, match="closed"):
        await client.apply(SECRETS, {}, name="a", namespace="ns", field_manager="m")


async def test_no_answer_in_time(api: ApiServer, client: KubeClient) -> None:
    never = asyncio.Event()

    async def silent(_request: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    api.answers.append(silent)
    try:
        with pytest.raises(KubeUnavailable, match=r"within 0\.05 s"):
            await client.get(SECRETS, name="a", namespace="ns", timeout=0.05)
    finally:
        never.set()


async def test_calls_in_flight_are_bounded(api: ApiServer) -> None:
    in_flight: list[int] = [0]
    full, proceed = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> web.StreamResponse:
        in_flight.append(in_flight[-1] + 1)
        if in_flight[-1] == 3:
            full.set()
        await proceed.wait()
        in_flight.append(in_flight[-1] - 1)
        return web.json_response({})

    api.answers += [slow] * 10
    async with aiohttp.ClientSession() as session:
        client = KubeClient(session, api.url, concurrency=3)
        calls = [
            asyncio.create_task(client.get(SECRETS, name=str(n), namespace="ns")) for n in range(10)
        ]
        await full.wait()
        proceed.set()
        await asyncio.gather(*calls)
    assert max(in_flight) == 3
    assert all(abs(a - b) == 1 for a, b in pairwise(in_flight))


async def test_a_bound_that_is_used_up_is_given_back(api: ApiServer) -> None:
    async with aiohttp.ClientSession() as session:
        client = KubeClient(session, api.url, concurrency=1)
        for answer in (breaks(), says(409), says(200, "no JSON")):
            api.answers.append(answer)
            with pytest.raises((KubeUnavailable, KubeConflict)):
                await client.create(SECRETS, {}, namespace="ns", field_manager="m")
        api.answers.append(says(200, {"ok": 1}))
        assert await client.get(SECRETS, name="a", namespace="ns") == {"ok": 1}


async def test_no_failure_shows_the_body_that_was_sent(
    api: ApiServer, client: KubeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    async def echo(request: web.Request) -> web.StreamResponse:
        sent = await request.text()
        status = {"reason": "Invalid", "message": sent, "details": {"causes": [{"message": sent}]}}
        return web.json_response(status, status=422)

    body = {"metadata": {"uid": "u"}, "data": {"k": CANARY}}
    for answer in (echo, says(500, json.dumps(body)), breaks()):
        api.answers += [answer] * 2
        with pytest.raises((KubeInvalid, KubeUnavailable)) as caught:
            await client.merge_patch(SECRETS, body, name="a", namespace="ns", field_manager="m")
        api.answers.clear()
        error: BaseException | None = caught.value
        assert error is not None
        assert error.__suppress_context__ or error.__context__ is None
        assert CANARY not in repr(error)
    assert CANARY not in caplog.text
