"""Deletions that no watch told of are found after a list, and nothing else is."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from support.apiserver import FakeApiServer, Refusal, serving
from support.clock import FakeClock
from support.objects import secret_body
from syncret.api.keys import Identity
from syncret.kube.client import KubeClient
from syncret.kube.resources import SECRETS, Resource
from syncret.sweep import Sweeper


class World:
    """The API server, a cache, and the sweeper between them."""

    def __init__(self, api: FakeApiServer, kube: KubeClient) -> None:
        self.api = api
        self.clock = FakeClock()
        self.cache: set[Identity] = set()
        self.gone: list[Identity] = []
        self.sweeper = Sweeper(
            kube,
            known=lambda resource: self.cache if resource == SECRETS else (),
            gone=self._gone,
            clock=self.clock,
        )

    def _gone(self, resource: Resource, identity: Identity) -> None:
        assert resource == SECRETS
        self.gone.append(identity)

    def secret(self, name: str) -> Identity:
        body = self.api.put("secrets", secret_body(name, {"k": b"v"}))
        return body["metadata"]["namespace"], name, body["metadata"]["uid"]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with serving() as api, aiohttp.ClientSession() as session:
        yield World(api, KubeClient(session, api.url))


async def test_what_is_known_and_not_there_is_gone(world: World) -> None:
    here = world.secret("here")
    away = ("payments", "away", "uid-away")
    replaced = (here[0], here[1], "a former uid")
    world.cache = {here, away, replaced}
    await world.sweeper.sweep(SECRETS)
    assert sorted(world.gone) == sorted([away, replaced])


async def test_what_is_made_meanwhile_is_not_gone(world: World) -> None:
    world.secret("old")
    await world.sweeper.sweep(SECRETS)
    world.cache.add(("payments", "new", "uid-new"))
    assert world.gone == []


async def test_a_list_that_fails_takes_nothing_and_is_made_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    away = ("payments", "away", "uid-away")
    world.cache = {away}
    world.api.intercept("GET", "secrets", Refusal(503), times=2)
    world.sweeper.relisted(SECRETS)
    task = asyncio.create_task(world.sweeper.run())
    async with asyncio.timeout(20):
        while not world.gone:
            await asyncio.sleep(0.001)
            world.clock.advance(5.0)
    task.cancel()
    assert world.gone == [away]
    assert sum("Not yet looked" in record.message for record in caplog.records) == 2
