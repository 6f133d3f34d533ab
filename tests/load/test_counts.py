"""The benchmark's quick size: what the engine asks for, counted. No times: those are `make bench`.

One control plane and one operator for all; the tests run in the order of the file, each on the
fleet that the one before has left.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import pytest
import pytest_asyncio

from load.bed import Bed, open_bed
from load.fleet import Shape
from testbed.progress import Progress

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120, func_only=True)]

SIZE: Final = 200
BATCH: Final = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed(request: pytest.FixtureRequest) -> AsyncIterator[Bed]:
    with _shown(request.config):
        async with open_bed(Progress(sys.stderr)) as bed:
            yield bed


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shape(bed: Bed) -> Shape:
    """Every object reads a key of its own; some Secrets have consumers."""
    return Shape(
        size=SIZE, stores=(bed.store_server.store("aws"),), namespaces=5, workloads=10, prefix="own"
    )


async def test_a_first_sync_makes_two_writes_for_each_and_a_call_for_each_twenty(
    bed: Bed, shape: Shape
) -> None:
    await bed.synced(shape)
    bed.requests.poll()
    assert bed.requests.succeeded("create", "secrets") == SIZE + 1  # the operator's own key
    assert bed.requests.succeeded("patch", "externalsecrets/status") == SIZE
    assert bed.requests.succeeded("create", "events") <= 1  # the store's
    assert bed.requests.rollouts() == 0
    assert sum(bed.store_server.calls().values()) <= 2 * SIZE / BATCH
    assert bed.store_server.ids() == SIZE + 1  # the check of the store


async def test_a_restart_does_nothing(bed: Bed, shape: Shape) -> None:
    await _events_posted(bed)
    await bed.stop_operator()
    _from_now(bed)
    bed.start_operator()
    await bed.ready()
    await _idle(bed)
    bed.requests.poll()
    assert bed.requests.writes == 0, bed.requests.table()
    assert bed.store_server.calls() == {}


async def test_one_key_that_all_read_is_read_in_a_few_calls(bed: Bed) -> None:
    shared = Shape(
        size=SIZE, stores=(bed.store_server.store("one"),), namespaces=5, keys=1, prefix="one"
    )
    _from_now(bed)
    await bed.populate(shared)
    await bed.told(shared)
    assert bed.requests.succeeded("create", "secrets") == SIZE
    # One read serves all who asked before it began: how many there are depends on how fast the
    # objects were made.
    assert bed.store_server.ids() <= SIZE / 4


async def test_an_unchanged_refresh_asks_kubernetes_nothing_and_shares_its_calls(bed: Bed) -> None:
    often = Shape(
        size=SIZE,
        stores=(bed.store_server.store("often"),),
        namespaces=5,
        interval="3s",
        prefix="often",
    )
    bed.requests.reset()
    await bed.populate(often)
    await bed.told(often)
    await _events_posted(bed)
    before, done = await bed.metric("syncret_syncs_total", result="unchanged"), 0.0
    _from_now(bed)
    while done < 2 * SIZE:
        await asyncio.sleep(0.5)
        done = await bed.metric("syncret_syncs_total", result="unchanged") - before
    calls = sum(bed.store_server.calls().values())
    bed.requests.poll()
    assert bed.requests.writes == 0, bed.requests.table()
    assert bed.requests.reads == 0, bed.requests.table()
    assert calls <= 2 * done / BATCH


def _from_now(bed: Bed) -> None:
    bed.requests.reset()
    bed.store_server.reset()


async def _idle(bed: Bed) -> None:
    """Until nothing waits or runs, and some time more: what should not come would come now."""
    busy = 1.0
    while busy:
        await asyncio.sleep(1)
        busy = await bed.metric("syncret_queue_depth")
        busy -= await bed.metric("syncret_queue_depth", lane="delayed")
    await asyncio.sleep(2)


async def _events_posted(bed: Bed) -> None:
    """Until a second goes by in which no Event is posted."""
    posted = -1
    while posted != (posted := bed.requests.counts["create", "events"]):
        await asyncio.sleep(1)
        bed.requests.poll()


def _shown(config: pytest.Config) -> AbstractContextManager[None]:
    """Shows at once what is written meanwhile: with nothing cached the set-up takes minutes."""
    manager = config.pluginmanager.getplugin("capturemanager")
    if manager is None:
        return nullcontext()
    shown: AbstractContextManager[None] = manager.global_and_fixture_disabled()
    return shown
