"""The environment of the tests with real pods.

Made once for a module and ended with it, because one real node at a time fits on a machine.
"""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext

import pytest

from e2e.environment import Environment, running, why_not_here
from testbed.binaries import CONTROL_PLANE, ensure
from testbed.progress import Progress
from testbed.realnode import missing_requirements


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "e2e: needs real pods; runs by `make e2e` only")


@pytest.fixture(scope="module")
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """A cluster whose pods run. Skips, and says what is missing, where there can be none."""
    _skip_unless_asked(request.config)
    no_kind, missing = why_not_here()
    if no_kind and missing:
        pytest.skip(f"kind: {no_kind}. A real node: {' '.join(missing)}")
    with ExitStack() as stack:
        with _shown(request.config):
            # The logs are for whoever has to find out why a test failed.
            keep = lambda: request.session.testsfailed > 0  # noqa: E731
            ready = stack.enter_context(running(Progress(sys.stderr), keep_logs=keep))
        yield ready


@pytest.fixture
def real_node_possible(request: pytest.FixtureRequest) -> None:
    """Skips, and says what is missing, where no real node can run; builds what one needs."""
    _skip_unless_asked(request.config)
    missing = missing_requirements()
    if missing:
        pytest.skip(" ".join(missing))
    with _shown(request.config):
        ensure([*CONTROL_PLANE, "kubelet"], progress=Progress(sys.stderr))


def _skip_unless_asked(config: pytest.Config) -> None:
    if "e2e" not in config.option.markexpr:
        pytest.skip("takes minutes and, for a real node, root: ask for it with `make e2e`")


def _shown(config: pytest.Config) -> AbstractContextManager[None]:
    """Shows at once what is written meanwhile: with nothing cached the set-up takes minutes."""
    manager = config.pluginmanager.getplugin("capturemanager")
    if manager is None:
        return nullcontext()
    shown: AbstractContextManager[None] = manager.global_and_fixture_disabled()
    return shown
