"""What breaks the watches of a running operator, and what it misses meanwhile.

On a control plane of its own, which is started without our CRDs and loses its API server.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from integration import manifests
from integration.link import Link
from integration.manifests import entry
from integration.world import wait_until
from testbed.binaries import CONTROL_PLANE, ensure
from testbed.cluster import Cluster
from testbed.controlplane import ControlPlane, free_ports
from testbed.operator import NAMESPACE, SERVICE_ACCOUNT, Operator, install_chart
from testbed.processes import Processes
from testbed.progress import Progress

SHOP: Final = "shop"
#: Longer than the API server is away: what is tested are the watches.
PATIENT: Final = ("--lease-duration=120s", "--retry-base=200ms", "--retry-cap=1s")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    tools = ensure(CONTROL_PLANE, progress=Progress())
    folder = tmp_path_factory.mktemp("watching")
    plane = ControlPlane.start(folder / "plane", binaries=tools)
    try:
        yield Cluster(
            kind="built",
            description="a control plane without nodes",
            kubeconfig=plane.kubeconfig,
            directory=folder,
            tools=tools,
            real_pods=False,
            plane=plane,
        )
    finally:
        plane.stop()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.stop()


def is_ready(operator: Operator) -> bool:
    assert operator.running.alive, operator.running.tail()
    return operator.is_ready()


def told(operator: Operator, words: str) -> str:
    """What /readyz says, once it has these words."""

    def text() -> str:
        said = operator.probe("/readyz")[1]
        return said if words in said else ""

    return wait_until(
        text,
        f"/readyz says {words}",
        tell=lambda: operator.probe("/readyz")[1] + operator.running.tail(),
    )


def reason(cluster: Cluster, name: str) -> str:
    body: dict[str, Any] = cluster.get("externalsecret", name, SHOP) or {}
    conditions = body.get("status", {}).get("conditions") or [{"reason": ""}]
    return str(conditions[0]["reason"])


def test_crds_that_come_later_are_waited_for(cluster: Cluster, processes: Processes) -> None:
    install_chart(cluster, "crds.install=false")
    operator = Operator(cluster, processes, arguments=PATIENT).start(ready=False)
    told(operator, "CRD")
    assert operator.probe("/healthz")[0] == 200

    install_chart(cluster)

    wait_until(
        lambda: is_ready(operator), "it is ready", tell=lambda: str(operator.probe("/readyz"))
    )


def test_what_is_deleted_while_no_watch_stands_is_noticed(
    cluster: Cluster, processes: Processes
) -> None:
    """An ExternalSecret, whose kind has a reflector, and a store, whose kind kopf watches."""
    install_chart(cluster)
    link = Link(cluster.kubeconfig_as(NAMESPACE, SERVICE_ACCOUNT))
    operator = Operator(
        cluster, processes, arguments=(*PATIENT, f"--kubeconfig={link.kubeconfig}")
    ).start()
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}})
    cluster.apply(manifests.credentials(SHOP))
    cluster.apply(manifests.store(SHOP, endpoint))
    for name in ("stays", "goes"):
        cluster.apply(manifests.external_secret(SHOP, name, data=[entry("k", "k")]))
        wait_until(
            lambda name=name: reason(cluster, name) == "ProviderUnavailable",  # type: ignore[misc]
            f"{name} is told why",
            tell=operator.running.tail,
        )

    def known(name: str) -> bool:
        series = operator.metrics()
        return any({("name", name), ("namespace", SHOP)} <= set(labels) for _, labels in series)

    assert known("goes")
    link.cut()
    cluster.kubectl("delete", "externalsecret/goes", "secretstore/aws", "-n", SHOP)
    told(operator, "API server")
    assert cluster.plane is not None
    cluster.plane.restart_apiserver()
    link.restore()

    wait_until(
        lambda: not known("goes"), "the ExternalSecret is forgotten", tell=operator.running.tail
    )
    wait_until(
        lambda: reason(cluster, "stays") == "StoreNotFound",
        "the store is missed",
        tell=operator.running.tail,
    )
    wait_until(lambda: is_ready(operator), "it is ready", tell=operator.running.tail)
    link.close()


def test_a_token_that_is_not_accepted_any_more_is_told_and_a_new_one_taken(
    cluster: Cluster, processes: Processes
) -> None:
    install_chart(cluster)
    operator = Operator(cluster, processes, arguments=PATIENT).start()
    cluster.kubectl("delete", "serviceaccount", SERVICE_ACCOUNT, "-n", NAMESPACE)

    told(operator, "refuses the operator's credentials")
    cluster.kubectl("create", "serviceaccount", SERVICE_ACCOUNT, "-n", NAMESPACE)
    cluster.kubeconfig_as(NAMESPACE, SERVICE_ACCOUNT)  # the file that the operator reads

    wait_until(lambda: is_ready(operator), "it is ready", tell=operator.running.tail)
