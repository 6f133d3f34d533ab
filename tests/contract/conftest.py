"""The harnesses: a provider joins the contract suite with one line in HARNESSES."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from contract.aws import AwsHarness
from contract.harness import ProviderHarness
from contract.opened import Opener
from testbed.moto import Moto
from testbed.processes import Processes

#: The provider's name, the fixture that runs its real part, and the harness made from that.
HARNESSES: dict[str, tuple[str, Callable[..., ProviderHarness]]] = {
    "aws": ("moto", AwsHarness),
}


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
    yield harness
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
