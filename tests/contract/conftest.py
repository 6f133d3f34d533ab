"""The harnesses: a provider joins the contract suite with one line in HARNESSES."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from contract.aws import AwsHarness
from contract.harness import Ability, Fault, Identity, Lacks, ProviderHarness, lacks
from contract.opened import Opener
from testbed.moto import Moto
from testbed.processes import Processes

#: The provider's name, the fixture that runs its real part, and the harness made from that.
HARNESSES: dict[str, tuple[str, Callable[..., ProviderHarness]]] = {
    "aws": ("moto", AwsHarness),
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(abilities): skipped where a harness lacks one")


def _skip_what_is_lacking(test: Any, lacking: Lacks) -> None:
    needed = [one for mark in test.iter_markers("needs") for one in mark.args]
    needed += test.callspec.params.values()  # the faults and identities among them
    for one in needed:
        if isinstance(one, Ability | Fault | Identity) and one in lacking:
            pytest.skip(f"{test.callspec.params['harness']}: {lacking[one]}")


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """The real parts that run as processes, ended with the session."""
    processes = Processes(Path(tmp_path_factory.mktemp("contract")))
    yield processes
    processes.stop()


@pytest.fixture(scope="session")
def moto(processes: Processes) -> Moto:
    return Moto(processes)


@pytest.fixture(params=sorted(HARNESSES))
def harness(request: pytest.FixtureRequest) -> Iterator[ProviderHarness]:
    """Every provider in turn."""
    part, make = HARNESSES[request.param]
    harness = make(request.getfixturevalue(part))
    try:
        _skip_what_is_lacking(request.node, lacks(harness))
        yield harness
    finally:
        harness.close()


@pytest.fixture
def aws(moto: Moto) -> Iterator[AwsHarness]:
    """AWS, for what only AWS does."""
    harness = AwsHarness(moto)
    yield harness
    harness.close()


@pytest.fixture
async def opener() -> AsyncIterator[Opener]:
    """Opens clients and closes them after the test."""
    async with AsyncExitStack() as stack:
        yield Opener(stack)
