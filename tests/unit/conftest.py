"""Fixtures that several folders of unit tests share."""

import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from hypothesis import settings

from support.apiserver import FakeApiServer, serving
from support.clock import FakeClock
from syncret.kube.client import KubeClient

# A machine that is busy makes no test fail: what hangs is ended by pytest-timeout. The examples are
# the same in every run, so that a change is judged by what it changes; HYPOTHESIS_PROFILE=explore
# looks for new ones.
settings.register_profile("unit", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "unit"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def cluster() -> AsyncIterator[FakeApiServer]:
    """An empty API server."""
    async with serving() as api:
        yield api


@pytest.fixture
async def kube(cluster: FakeApiServer) -> AsyncIterator[KubeClient]:
    """Our client of it."""
    async with aiohttp.ClientSession() as session:
        yield KubeClient(session, cluster.url)


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Puts back handlers, levels and hooks."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    before = {name: _level(name) for name in logging.root.manager.loggerDict}
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(before.get(name, logging.NOTSET))
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


def _level(name: str) -> int:
    known = logging.root.manager.loggerDict[name]
    return known.level if isinstance(known, logging.Logger) else logging.NOTSET
