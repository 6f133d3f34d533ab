"""What would end kopf is waited out before kopf sees it."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from support.clock import FakeClock
from syncret.kube.watchguard import DELAYS, WatchGuard
from unit.kube.apiserver import Answer, ApiServer, says

LIST = "/apis/apps/v1/deployments?limit=500"
WATCH = "/apis/apps/v1/deployments?watch=true"


@pytest.fixture
async def session(clock: FakeClock) -> AsyncIterator[aiohttp.ClientSession]:
    guard = WatchGuard(watched=lambda request: "deployments" in request.url.path, clock=clock)
    async with aiohttp.ClientSession(middlewares=(guard,)) as session:
        yield session


async def _get(
    session: aiohttp.ClientSession, api: ApiServer, clock: FakeClock, path: str
) -> tuple[int, bytes]:
    async def get() -> tuple[int, bytes]:
        async with session.get(f"{api.url}{path}") as response:
            chunks = [chunk async for chunk in response.content.iter_chunked(7)]
            return response.status, b"".join(chunks)

    task = asyncio.create_task(get())
    async with asyncio.timeout(20):
        while not task.done():
            await asyncio.sleep(0.001)
            clock.advance(max(DELAYS))
    return task.result()


@pytest.mark.parametrize("path", [LIST, WATCH])
@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
async def test_a_refusal_is_not_handed_on(
    session: aiohttp.ClientSession, api: ApiServer, clock: FakeClock, status: int, path: str
) -> None:
    api.answers.extend([says(status)] * 6 + [says(200, '{"a": 1}\n')])
    assert await _get(session, api, clock, path) == (200, b'{"a": 1}\n')
    assert len(api.seen) == 7


async def test_another_request_is_none_of_its_business(
    session: aiohttp.ClientSession, api: ApiServer, clock: FakeClock
) -> None:
    api.answers.append(says(403))
    assert (await _get(session, api, clock, "/api/v1/pods"))[0] == 403


async def test_an_answer_that_kopf_understands_is_handed_on(
    session: aiohttp.ClientSession, api: ApiServer, clock: FakeClock
) -> None:
    api.answers.append(says(410))
    assert (await _get(session, api, clock, WATCH))[0] == 410


def _lines(*events: object) -> Answer:
    return says(200, "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events))


async def test_an_error_in_the_stream_becomes_a_new_beginning(
    session: aiohttp.ClientSession, api: ApiServer, clock: FakeClock
) -> None:
    added = {"type": "ADDED", "object": {"metadata": {"name": "a"}}}
    for code in (500, 403, 410):
        api.answers.append(_lines(added, {"type": "ERROR", "object": {"code": code}}))
        status, body = await _get(session, api, clock, WATCH)
        first, second = (json.loads(line) for line in body.splitlines())
        assert (status, first) == (200, added)
        assert (second["type"], second["object"]["code"]) == ("ERROR", 410)


async def test_a_stream_without_errors_is_what_it_was(
    session: aiohttp.ClientSession, api: ApiServer, clock: FakeClock
) -> None:
    text = '{"type":"ADDED","object":{"data":"x"}}\n{"type":"BOOKMARK"}\n{"type":"MOD'
    api.answers.append(says(200, text))
    assert await _get(session, api, clock, WATCH) == (200, text.encode())
