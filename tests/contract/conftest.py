"""The harnesses: a provider joins the contract suite with one line in HARNESSES."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import Any, Final

import pytest

from contract.aws import AwsHarness
from contract.aws_parameter_store import ParameterStoreHarness
from contract.azurekv import AzureHarness, AzurePart
from contract.fake import FakeHarness
from contract.file import FileHarness
from contract.gcp import GcpHarness
from contract.harness import Ability, Fault, Identity, Lacks, ProviderHarness, lacks
from contract.kubernetes import Cluster, KubernetesHarness
from contract.opened import Opener
from contract.vault import VaultHarness
from contract.vaultdatabase import database
from contract.webhook import WebhookHarness
from testbed.binaries import API_SERVER, VAULT, ensure
from testbed.controlplane import ControlPlane
from testbed.gcp.handle import Gcp
from testbed.jsonapi import JsonApi
from testbed.moto import Moto
from testbed.processes import Processes
from testbed.progress import Progress
from testbed.vault import Vault

#: One for all modules: each that imported it would have one of its own.
__all__ = ["database"]

HERE: Final = Path(__file__).parent

#: The fixture that runs the real part, and the harness made from that, by the provider's name; of a
#: provider with several kinds of store, by the kind as well.
HARNESSES: dict[str, tuple[str, Callable[..., ProviderHarness]]] = {
    "aws": ("moto", AwsHarness),
    "azurekv": ("azure_part", AzureHarness),
    "fake": ("nothing", FakeHarness),
    "file": ("directory", FileHarness),
    "gcpsm": ("google", GcpHarness),
    "kubernetes": ("apiserver", KubernetesHarness),
    "vault": ("vault_server", VaultHarness),
    "webhook": ("json_api", WebhookHarness),
    "aws-parameter-store": ("moto", ParameterStoreHarness),
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(abilities): skipped where a harness lacks one")


def _skip_what_is_lacking(test: Any, lacking: Lacks) -> None:
    needed = [one for mark in test.iter_markers("needs") for one in mark.args]
    needed += test.callspec.params.values()  # the faults and identities among them
    for one in needed:
        if isinstance(one, Ability | Fault | Identity) and one in lacking:
            pytest.skip(f"{test.callspec.params['harness']}: {lacking[one]}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's own time counts, and not that of building what it runs against."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(300, func_only=True))


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """The real parts that run as processes, ended with the session."""
    processes = Processes(Path(tmp_path_factory.mktemp("contract")))
    yield processes
    processes.stop()


@pytest.fixture(scope="session")
def moto(processes: Processes) -> Moto:
    moto = Moto(processes)
    # moto loads a service at the first call, for longer than a hasty client waits.
    moto.client("secretsmanager").list_secrets()
    moto.client("ssm").describe_parameters()
    moto.client("sts").get_caller_identity()
    return moto


@pytest.fixture(scope="session")
def azure_part(tmp_path_factory: pytest.TempPathFactory) -> AzurePart:
    return AzurePart(Path(tmp_path_factory.mktemp("azure")))


@pytest.fixture(scope="session")
def nothing() -> None:
    """The real part of what has none."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane of our own, because the integration suite's may be somebody's cluster."""
    programs = [*API_SERVER]
    plane = ControlPlane.start(
        Path(tmp_path_factory.mktemp("apiserver")),
        binaries=ensure(programs, progress=Progress(sys.stderr)),
        controllers=False,
    )
    try:
        yield Cluster(plane)
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def json_api() -> Iterator[JsonApi]:
    api = JsonApi()
    yield api
    api.close()


@pytest.fixture(scope="session")
def vault_server(request: pytest.FixtureRequest, processes: Processes) -> Vault:
    """Vault, which is built where it is not in the cache, for all to see."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        ensure(VAULT, progress=Progress(sys.stderr))
    return Vault(processes)


@pytest.fixture(scope="session")
def google(processes: Processes) -> Gcp:
    return Gcp(processes)


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
def parameters(moto: Moto) -> Iterator[ParameterStoreHarness]:
    """Parameter Store, for what only that does."""
    harness = ParameterStoreHarness(moto)
    yield harness
    harness.close()


@pytest.fixture
def vault(vault_server: Vault) -> Iterator[VaultHarness]:
    """Vault, for what only Vault does."""
    harness = VaultHarness(vault_server)
    yield harness
    harness.close()


@pytest.fixture
def gcp(google: Gcp) -> Iterator[GcpHarness]:
    """Google Cloud, for what only that does."""
    harness = GcpHarness(google)
    yield harness
    harness.close()


@pytest.fixture
def azure(azure_part: AzurePart) -> Iterator[AzureHarness]:
    """Azure Key Vault, for what only it does."""
    harness = AzureHarness(azure_part)
    yield harness
    harness.close()


@pytest.fixture
async def opener() -> AsyncIterator[Opener]:
    """Opens clients and closes them after the test."""
    async with AsyncExitStack() as stack:
        yield Opener(stack)
