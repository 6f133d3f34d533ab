"""The environment of the tests with real pods, made once for all of them."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext

import pytest

from e2e.environment import Environment, running, why_not_here
from testbed.progress import Progress


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "e2e: needs real pods; runs by `make e2e` only")


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """A cluster whose pods run. Skips, and says what is missing, where there can be none."""
    if "e2e" not in request.config.option.markexpr:
        pytest.skip("takes minutes and, for a real node, root: ask for it with `make e2e`")
    no_kind, missing = why_not_here()
    if no_kind and missing:
        pytest.skip(f"kind: {no_kind}. A real node: {' '.join(missing)}")
    with ExitStack() as stack:
        with _shown(request.config):
            # The logs are for whoever has to find out why a test failed.
            keep = lambda: request.session.testsfailed > 0  # noqa: E731
            ready = stack.enter_context(running(Progress(sys.stderr), keep_logs=keep))
        yield ready


def _shown(config: pytest.Config) -> AbstractContextManager[None]:
    """Shows at once what is written meanwhile: with nothing cached the set-up takes minutes."""
    manager = config.pluginmanager.getplugin("capturemanager")
    if manager is None:
        return nullcontext()
    shown: AbstractContextManager[None] = manager.global_and_fixture_disabled()
    return shown
