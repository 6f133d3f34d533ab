"""What the middleware makes of lists and watches that pass through it."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from support.clock import FakeClock
from syncret.kube.resources import (
    CLUSTER_SECRET_STORES,
    EXTERNAL_SECRETS,
    SECRET_STORES,
    SECRETS,
    Resource,
)
from syncret.kube.watchhealth import GRACE, WatchHealth
from unit.kube.apiserver import ApiServer, breaks, says


class Asker:
    """Sends what kopf sends, through the middleware."""

    def __init__(self, api: ApiServer, health: WatchHealth, session: aiohttp.ClientSession) -> None:
        self.api = api
        self.health = health
        self.session = session

    async def get(self, path: str, *, status: int = 200) -> None:
        self.api.answers.append(says(status))
        async with self.session.get(f"{self.api.url}{path}") as response:
            assert response.status == status

    async def list_and_watch(self, resource: Resource, namespace: str = "") -> None:
        path = resource.path(namespace)
        await self.get(f"{path}?limit=500")
        await self.get(f"{path}?watch=true&allowWatchBookmarks=true&resourceVersion=7")


@pytest.fixture
async def asker(api: ApiServer, clock: FakeClock) -> AsyncIterator[Asker]:
    health = WatchHealth([SECRETS, CLUSTER_SECRET_STORES], clock=clock)
    async with aiohttp.ClientSession(middlewares=(health,)) as session:
        yield Asker(api, health, session)


async def test_listed_when_the_watch_is_answered(asker: Asker, clock: FakeClock) -> None:
    health = asker.health
    waiting = asyncio.create_task(health.wait_all_listed())
    assert health.problems(clock.monotonic()) == [
        "The first list of secrets is not complete.",
        "The first list of clustersecretstores.syncret.io is not complete.",
    ]
    await asker.get(SECRETS.path() + "?limit=500")
    assert not health.listed(SECRETS)
    await asker.get(SECRETS.path() + "?limit=500&continue=x")
    await asker.get(SECRETS.path() + "?watch=true")
    assert health.listed(SECRETS)
    assert not health.listed(CLUSTER_SECRET_STORES)
    assert not waiting.done()
    await asker.list_and_watch(CLUSTER_SECRET_STORES)
    await waiting
    assert health.problems(clock.monotonic()) == []


async def test_a_refused_watch_does_not_count_as_listed(asker: Asker, clock: FakeClock) -> None:
    await asker.get(SECRETS.path())
    await asker.get(SECRETS.path() + "?watch=true", status=403)
    assert not asker.health.listed(SECRETS)
    assert asker.health.problems(clock.monotonic())[0] == (
        'The operator may not watch secrets: grant the verb "watch" on the resource "secrets" '
        "to its ServiceAccount."
    )


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/configmaps?watch=true",
        "/api/v1/namespaces/ns/secrets?watch=true",  # another scope than the one awaited
        "/api/v1/secrets/watch=true",
        "/apis/other.io/v1alpha1/secrets?watch=true",
        "/apis/syncret.io/v1/clustersecretstores?watch=true",
        "/api/v1/secrets/a?watch=true",
        "/api/v1/secrets?watch=true&sendInitialEvents=true",
        "/version?watch=true",
    ],
)
async def test_other_requests_do_not_count(asker: Asker, clock: FakeClock, path: str) -> None:
    before = asker.health.problems(clock.monotonic())
    await asker.get(path)
    assert asker.health.problems(clock.monotonic()) == before
    assert not asker.health.listed(SECRETS)


async def test_writes_do_not_count(asker: Asker) -> None:
    asker.api.answers.append(says(200))
    async with asker.session.post(f"{asker.api.url}{SECRETS.path()}?watch=true"):
        pass
    assert asker.health.last_success(SECRETS) is None


async def test_a_missing_crd_is_told_at_once(asker: Asker, clock: FakeClock) -> None:
    await asker.get(CLUSTER_SECRET_STORES.path(), status=404)
    assert asker.health.problems(clock.monotonic())[1] == (
        "The API server does not serve clustersecretstores.syncret.io in version v1alpha1: "
        "install the CRDs of this release."
    )


@pytest.mark.parametrize("status", [0, 401, 429, 500])
async def test_a_passing_failure_is_a_problem_when_it_lasts(
    asker: Asker, clock: FakeClock, status: int
) -> None:
    for resource in (SECRETS, CLUSTER_SECRET_STORES):
        await asker.list_and_watch(resource)
    clock.advance(100)
    for _ in range(2):
        if status:
            await asker.get(SECRETS.path() + "?watch=true", status=status)
        else:
            asker.api.answers += [breaks(), breaks()]  # aiohttp repeats a GET by itself
            with pytest.raises(aiohttp.ClientError):
                await asker.session.get(f"{asker.api.url}{SECRETS.path()}?watch=true")
        clock.advance(GRACE / 2)
    assert asker.health.problems(clock.monotonic() - 1) == []
    (problem,) = asker.health.problems(clock.monotonic())
    assert "secrets" in problem
    assert asker.health.listed(SECRETS)

    await asker.list_and_watch(SECRETS)
    assert asker.health.problems(clock.monotonic() + 1000) == []
    assert asker.health.last_success(SECRETS) == clock.monotonic()


async def test_a_list_does_not_hide_that_the_watch_fails(asker: Asker, clock: FakeClock) -> None:
    for _ in range(3):
        await asker.get(SECRETS.path())
        await asker.get(SECRETS.path() + "?watch=true", status=403)
        await asker.get(SECRETS.path())
    assert "may not watch" in asker.health.problems(clock.monotonic())[0]


async def test_namespaces_one_by_one(api: ApiServer, clock: FakeClock) -> None:
    health = WatchHealth([SECRET_STORES, CLUSTER_SECRET_STORES], clock=clock, namespaces=["a", "b"])
    async with aiohttp.ClientSession(middlewares=(health,)) as session:
        asker = Asker(api, health, session)
        await asker.list_and_watch(SECRET_STORES, "a")
        assert not health.listed(SECRET_STORES)
        await asker.get(SECRET_STORES.path("b"), status=403)
        assert 'in namespace "b"' in health.problems(clock.monotonic())[0]
        await asker.list_and_watch(SECRET_STORES, "b")
        assert health.listed(SECRET_STORES)
        await asker.list_and_watch(CLUSTER_SECRET_STORES)
        await health.wait_all_listed()


async def test_a_server_with_a_path_of_its_own(api: ApiServer, clock: FakeClock) -> None:
    health = WatchHealth([EXTERNAL_SECRETS], clock=clock)
    async with aiohttp.ClientSession(middlewares=(health,)) as session:
        asker = Asker(api, health, session)
        await asker.get(f"/k8s/api/clusters/x{EXTERNAL_SECRETS.path()}?watch=true")
    assert health.listed(EXTERNAL_SECRETS)


async def test_nothing_expected_is_listed(clock: FakeClock) -> None:
    await WatchHealth([], clock=clock).wait_all_listed()
