"""One cluster, one AWS and one operator for the session; one namespace for each test.

A test that needs an operator of its own asks for ``alone``: the shared one stops for it, because
two would do everything twice, and the next test that asks for ``operator`` starts it again.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import pytest

from contract.proxy import Proxy
from contract.vaultdatabase import database
from integration import manifests
from integration.api import Api, ApiError
from integration.audit import Audit
from integration.roles import NarrowRole
from integration.world import World, Worlds, wait_until
from testbed.cluster import Cluster, find_cluster
from testbed.moto import Moto
from testbed.operator import NAMESPACE, Operator, install_chart
from testbed.processes import Processes
from testbed.progress import Progress

__all__ = ["database"]  # a fixture, one for all files

HERE: Final = Path(__file__).parent

#: Short delays, so that several retries fit into a test.
HASTY: Final = (
    "--retry-base=200ms",
    "--retry-cap=1s",
    "--lease-duration=5s",
    "--log-level=debug",
    "--log-format=json",
)

StartAlone = Callable[..., Operator]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gitops: needs built GitOps tools; by `make gitops` only")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's own time counts, and not that of building and starting the cluster."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(300, func_only=True))


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The first cluster that there is; a given one must not have Syncret in it."""
    with _shown(request.config):
        progress = Progress(sys.stderr)
        progress.say()
        cluster = find_cluster(progress=progress)
    try:
        if cluster.get("namespace", NAMESPACE) is not None:
            pytest.fail(
                f'The cluster has a namespace "{NAMESPACE}" already: the tests install Syncret '
                "there themselves. Use an empty cluster, or unset KUBECONFIG.",
                pytrace=False,
            )
        yield cluster
    finally:
        cluster.stop()
        if request.session.testsfailed:  # whoever has to find out why needs them
            with _shown(request.config):
                progress.say(f"\nThe logs are in {cluster.directory / 'logs'}.")
        else:
            shutil.rmtree(cluster.directory)


@pytest.fixture(scope="session")
def processes(cluster: Cluster) -> Iterator[Processes]:
    """What runs beside the cluster; ends before it does."""
    processes = Processes(cluster.directory / "logs")
    yield processes
    processes.stop()


@pytest.fixture(scope="session")
def moto(processes: Processes) -> Moto:
    return Moto(processes)


@pytest.fixture(scope="session")
def api(cluster: Cluster, processes: Processes) -> Api:
    return Api(cluster, processes)


@pytest.fixture(scope="session")
def installed(cluster: Cluster, api: Api) -> Iterator[Cluster]:
    """The cluster with the chart in it: CRDs, ServiceAccount, ClusterRole."""
    install_chart(cluster, "crds.keep=false")
    yield cluster
    if cluster.kind == "given":  # it outlives us, so nothing of ours may stay
        cluster.helm("uninstall", "syncret", "--namespace", NAMESPACE)
        api.delete("Namespace", NAMESPACE)


@pytest.fixture(scope="session")
def shared(installed: Cluster, processes: Processes) -> Operator:
    """The operator of the session, not necessarily running."""
    return Operator(installed, processes, arguments=HASTY)


@pytest.fixture
def operator(shared: Operator) -> Operator:
    """The operator of the session, running."""
    if shared.child is None or not shared.child.alive:
        shared.start()
    return shared


@pytest.fixture(scope="session")
def worlds(api: Api, moto: Moto, shared: Operator) -> Worlds:
    return Worlds(api, moto.client("secretsmanager"), moto.endpoint, shared)


@pytest.fixture
def world(worlds: Worlds, operator: Operator) -> Iterator[World]:
    """A namespace of the test's own, and the operator at work."""
    world = worlds.new()
    yield world
    world.clear()


@pytest.fixture
def alone(shared: Operator, processes: Processes) -> Iterator[StartAlone]:
    """Starts operators of the test's own while the shared one stands still."""
    if shared.child is not None and shared.child.alive:
        shared.stop()
    started: list[Operator] = []

    def start(*arguments: str, name: str = "alone", ready: bool = True, **more: Any) -> Operator:
        operator = Operator(
            shared.cluster,
            processes,
            arguments=(*HASTY, *arguments),
            name=f"{name}-{len(processes._children)}",
            **more,
        )
        started.append(operator)
        return operator.start(ready=ready)

    yield start
    for operator in started:
        operator.stop()


@pytest.fixture
def lonely_world(worlds: Worlds, alone: StartAlone) -> Iterator[World]:
    """A namespace of the test's own, and no operator yet; set ``operator`` to one."""
    world = worlds.new()
    yield world
    world.clear()


@pytest.fixture(scope="session")
def audit(cluster: Cluster) -> Audit:
    """What the API server saw. Only the built control plane keeps it where we can read it."""
    if cluster.plane is None:
        pytest.skip(
            f"needs the audit log of the built control plane; this is {cluster.description}"
        )
    return Audit(cluster.plane.audit_log)


@pytest.fixture
def role(api: Api) -> Iterator[NarrowRole]:
    role = NarrowRole(api)
    yield role
    role.remove()


@pytest.fixture(scope="session")
def argo(api: Api) -> Iterator[None]:
    """The API server knows Argo Rollouts, from here to the end of the session."""
    api.apply(manifests.rollout_crd())

    def served() -> bool:
        try:
            api.list("Rollout", "default")
        except ApiError as error:
            if error.status in {404, 429}:  # not yet, or being set up
                return False
            raise
        return True

    wait_until(served, "Rollouts are served")
    yield
    api.delete("CustomResourceDefinition", "rollouts.argoproj.io")


@pytest.fixture
def proxy(moto: Moto) -> Iterator[Proxy]:
    """AWS behind a proxy that can fail, and that sees what AWS is asked."""
    proxy = Proxy(moto.endpoint)
    yield proxy
    proxy.close()


def _shown(config: pytest.Config) -> AbstractContextManager[None]:
    """Shows at once what is written meanwhile: with nothing cached the set-up takes minutes."""
    manager = config.pluginmanager.getplugin("capturemanager")
    if manager is None:
        return nullcontext()
    shown: AbstractContextManager[None] = manager.global_and_fixture_disabled()
    return shown
