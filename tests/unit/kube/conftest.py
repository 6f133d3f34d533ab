"""Fixtures of the Kubernetes client's tests."""

from collections.abc import AsyncIterator

import pytest

from support.clock import FakeClock
from unit.kube.apiserver import ApiServer, running


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with running() as server:
        yield server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
