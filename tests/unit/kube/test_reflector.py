"""A reflector keeps a cache in step: what a list has, what a watch tells, and what is gone."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from support.clock import FakeClock
from syncret.api.keys import Identity
from syncret.kube.reflector import DELAYS, Reflector
from syncret.kube.resources import SECRETS
from unit.kube.apiserver import Answer, ApiServer, breaks, says

BYTES = "aHVudGVyMg=="


def secret(name: str, version: int, *, uid: str = "") -> dict[str, Any]:
    meta = {
        "namespace": "shop",
        "name": name,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
    }
    return {"metadata": meta, "data": {"k": BYTES}}


def listed(*items: Mapping[str, Any], version: int, more: str = "") -> Answer:
    return says(
        200, {"metadata": {"resourceVersion": str(version), "continue": more}, "items": items}
    )


def told(*events: tuple[str, Mapping[str, Any]], rest: str = "") -> Answer:
    """A watch that tells of some events and is ended by the API server."""
    lines = [json.dumps({"type": kind, "object": body}) + "\n" for kind, body in events]
    return says(200, "".join(lines) + rest)


def stays() -> Answer:
    """A watch that tells nothing and stands."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with_end = asyncio.Event()
        await with_end.wait()
        return response

    return answer


@dataclass
class World:
    """A reflector of Secrets, and the cache that it keeps."""

    api: ApiServer
    clock: FakeClock
    reflector: Reflector = field(init=False)
    cache: dict[Identity, int] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)

    def handle(self, body: Mapping[str, Any], deleted: bool) -> None:
        meta = body["metadata"]
        if meta["name"] in self.bad:
            raise ValueError(body["data"]["k"])
        identity = (meta["namespace"], meta["name"], meta["uid"])
        if deleted:
            self.cache.pop(identity, None)
        else:
            self.cache[identity] = int(meta["resourceVersion"])

    def gone(self, identity: Identity) -> None:
        del self.cache[identity]

    @property
    def names(self) -> dict[str, int]:
        return {name: version for (_, name, _), version in self.cache.items()}

    async def run(self, *answers: Answer) -> None:
        """Lets it work until it has got all of the answers, and stands in a last watch."""
        self.api.answers.extend([*answers, stays()])
        task = asyncio.create_task(self.reflector.run())
        async with asyncio.timeout(20):
            while self.api.answers:
                await asyncio.sleep(0.001)
                self.clock.advance(max(DELAYS))
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def world(api: ApiServer, clock: FakeClock) -> AsyncIterator[World]:
    world = World(api, clock)
    async with aiohttp.ClientSession() as session:
        world.reflector = Reflector(
            session,
            api.url,
            SECRETS,
            handle=world.handle,
            known=lambda: list(world.cache),
            gone=world.gone,
            clock=clock,
            label_selector="syncret.io/managed=true",
        )
        yield world


async def test_a_list_page_by_page_then_a_watch_from_there(world: World) -> None:
    await world.run(
        listed(secret("a", 1), version=7, more="next"),
        listed(secret("b", 2), version=7),
        told(("ADDED", secret("c", 8)), ("MODIFIED", secret("a", 9)), ("DELETED", secret("b", 10))),
    )
    assert world.names == {"a": 9, "c": 8}
    first, second, watch, again = world.api.seen
    assert second.query["continue"] == "next"
    assert {one.query["labelSelector"] for one in world.api.seen} == {"syncret.io/managed=true"}
    assert (watch.query["watch"], watch.query["resourceVersion"]) == ("true", "7")
    assert again.query["resourceVersion"] == "10", "it goes on where it was"
    assert "watch" not in first.query


async def test_a_bookmark_moves_the_place_and_nothing_else(world: World) -> None:
    await world.run(
        listed(secret("a", 1), version=7),
        told(("BOOKMARK", {"metadata": {"resourceVersion": "50"}})),
    )
    assert world.names == {"a": 1}
    assert world.api.seen[-1].query["resourceVersion"] == "50"


_EXPIRED = {"code": 410, "message": "too old resource version"}


@pytest.mark.parametrize(
    "end", [says(410, _EXPIRED), told(("ERROR", _EXPIRED))], ids=["answer", "event"]
)
async def test_what_was_deleted_while_a_watch_was_too_old_is_found(
    world: World, end: Answer
) -> None:
    await world.run(
        listed(secret("a", 1), secret("b", 2), secret("c", 3), version=7),
        end,
        listed(secret("a", 11), secret("c", 12, uid="another"), version=12),
    )
    assert world.cache == {("shop", "a", "uid-a"): 11, ("shop", "c", "another"): 12}
    assert world.api.seen[-1].query["resourceVersion"] == "12"


@pytest.mark.parametrize(
    "failure",
    [
        says(500),
        says(403),
        says(401),
        breaks(),
        told(("ERROR", {"code": 500, "message": "etcd"})),
        told(("MODIFIED", secret("a", 9)), rest='{"type":"MODI\n'),
        told(("ADDED", {"metadata": {}})),
    ],
    ids=["500", "403", "401", "broken", "error event", "half a line", "no object"],
)
async def test_a_watch_that_fails_goes_on_without_another_list(
    world: World, failure: Answer
) -> None:
    await world.run(listed(secret("a", 1), version=7), failure, told(("MODIFIED", secret("a", 20))))
    assert world.names == {"a": 20}
    assert sum("watch" not in one.query for one in world.api.seen) == 1


async def test_a_list_that_fails_takes_nothing_away(world: World) -> None:
    world.cache[("shop", "a", "uid-a")] = 1
    await world.run(
        listed(secret("b", 1), version=7, more="next"),
        says(500),
        says(404),
        listed(secret("a", 2), version=9),
    )
    assert world.names == {"a": 2}


async def test_one_that_cannot_be_taken_in_stops_no_other_and_shows_no_byte(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world.bad = {"bad"}
    await world.run(
        listed(secret("bad", 1), secret("a", 2), version=7),
        told(("MODIFIED", secret("bad", 8)), ("ADDED", secret("b", 9))),
    )
    assert world.names == {"a": 2, "b": 9}
    assert [record.object for record in caplog.records if record.levelname == "ERROR"] == [  # type: ignore[attr-defined]
        "bad",
        "bad",
    ]
    assert BYTES not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


async def test_failures_in_a_row_are_waited_for_longer_and_a_success_ends_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def waited(_clock: object, seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("syncret.kube.reflector.sleep", waited)
    await world.run(*[says(500)] * 6, listed(version=7), says(500))
    assert waits[:6] == [*DELAYS, DELAYS[-1], DELAYS[-1]]
    assert waits[6] == DELAYS[0]
