"""What the cluster may not have, or not show: nothing else waits for it, and it is told once."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest

from support.apiserver import FakeApiServer, Refusal
from support.clock import FakeClock
from syncret.kube import ifserved
from syncret.kube.client import KubeClient
from syncret.kube.ifserved import IfServed
from syncret.kube.reflector import Reflector
from syncret.kube.resources import ARGO_ROLLOUTS


@pytest.fixture
async def one(cluster: FakeApiServer, clock: FakeClock) -> AsyncIterator[IfServed]:
    """Argo Rollouts, running."""
    async with aiohttp.ClientSession() as session:
        reflector = Reflector(
            session,
            cluster.url,
            ARGO_ROLLOUTS,
            handle=lambda *_: None,
            known=tuple,
            gone=lambda _: None,
            clock=clock,
        )
        served = IfServed(reflector, KubeClient(session, cluster.url), ARGO_ROLLOUTS, clock=clock)
        task = asyncio.create_task(served.run())
        yield served
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(true: object) -> None:
    assert callable(true)
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not seen")


async def test_what_is_served_is_listed(one: IfServed) -> None:
    await one.settle()
    assert one.listed
    assert not one.absent


async def test_what_is_not_served_is_looked_for_now_and_then(
    cluster: FakeApiServer, clock: FakeClock, one: IfServed
) -> None:
    cluster.intercept("GET", "rollouts", Refusal(404, "NotFound"))
    await one.settle()
    assert one.absent
    assert not one.listed
    clock.advance(60)
    await until(lambda: one.listed)
    assert not one.absent


async def test_what_may_not_be_listed_is_told_once_and_keeps_nobody(
    cluster: FakeApiServer,
    clock: FakeClock,
    one: IfServed,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ifserved, "PATIENCE", 0.2)
    cluster.intercept("GET", "rollouts", Refusal(403, "Forbidden"), times=3)
    with caplog.at_level(logging.WARNING):
        await one.settle()
        assert not one.listed
        assert not one.absent, "there may be some: their targets are kept"
        for _ in range(4):
            clock.advance(60)
            await asyncio.sleep(0.05)
        await until(lambda: one.listed)
    told = [record.message for record in caplog.records if "to list" in record.message]
    assert len(told) == 1
