"""Two replicas: one works, the other takes over when it is gone, and nothing is done twice.

The second runs as a ServiceAccount of its own, so that the audit log tells the two apart.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from contract.proxy import Proxy
from integration import manifests
from integration.audit import OPERATOR, Audit, Request
from integration.conftest import StartAlone
from integration.link import Link
from integration.manifests import entry, env
from integration.roles import NarrowRole
from integration.world import World, wait_until
from testbed.operator import NAMESPACE, SERVICE_ACCOUNT, Operator

SECOND = f"system:serviceaccount:{NAMESPACE}:narrow"


@dataclass
class Pair:
    """A replica that leads, through a network of its own, and one that waits."""

    world: World
    proxy: Proxy
    audit: Audit
    link: Link
    first: Operator
    second: Operator

    def writes(self, since: int, user: str) -> list[Request]:
        """What a replica changed, or tried to, but for Leases."""
        asked = self.audit.requests(since, user=user)
        return [one for one in asked if one.writes and one.resource != "leases"]

    def wait_taken_over(self) -> None:
        wait_until(
            lambda: self.second.metric("syncret_shards") == 1,
            "the second leads",
            tell=self.second.running.tail,
        )
        self.world.operator = self.second

    def wait_idle(self) -> None:
        """Until the second has looked at everything once."""

        def idle() -> bool:
            waiting = self.second.metric("syncret_queue_depth")
            return waiting == self.second.metric("syncret_queue_depth", lane="delayed") > 0

        wait_until(idle, "everything was looked at", tell=self.second.running.tail)

    def rotate(self, value: str) -> None:
        self.world.put("database", {"password": value})
        self.world.patch("ExternalSecret", "app", {"spec": {"refreshInterval": "1s"}})


@pytest.fixture
def pair(
    lonely_world: World, alone: StartAlone, proxy: Proxy, audit: Audit, role: NarrowRole
) -> Iterator[Pair]:
    world = lonely_world
    role.lack()
    cluster = world.operator.cluster
    kubeconfig = cluster.kubeconfig_as(NAMESPACE, SERVICE_ACCOUNT)
    link = Link(kubeconfig)
    first = alone(f"--kubeconfig={link.kubeconfig}", name="first")
    world.operator = first
    world.apply(manifests.store(world.namespace, proxy.url))
    world.put("database", {"password": "first"})
    world.workload("web", container=env("app", "password"))
    world.external_secret(
        data=[entry("password", world.key("database"), "password")], interval="1h"
    )
    world.wait_ready()
    world.settle()
    wait_until(lambda: first.metric("syncret_shards") == 1, "the first leads")
    second = alone(name="second", service_account="narrow")
    yield Pair(world, proxy, audit, link, first, second)
    link.close()


def test_the_second_is_ready_and_does_nothing(pair: Pair) -> None:
    mark = pair.audit.mark()
    assert pair.second.probe("/readyz")[0] == 200
    assert pair.second.metric("syncret_shards") == 0

    pair.rotate("second")
    pair.world.wait_data({"password": b"second"})
    pair.world.wait_ready()

    assert pair.second.metric("syncret_shards") == 0
    assert pair.writes(mark, SECOND) == []
    assert pair.writes(mark, OPERATOR) != []


def _kill(pair: Pair) -> None:
    pair.first.kill()


def _stop(pair: Pair) -> None:
    assert pair.first.stop() == 0


@pytest.mark.parametrize("end", [_kill, _stop], ids=["killed", "stopped"])
def test_a_leader_that_is_gone_is_replaced_and_nothing_is_repeated(
    pair: Pair, end: Callable[[Pair], None]
) -> None:
    asked, generation = len(pair.proxy.requests), pair.world.generation("web")
    mark = pair.audit.mark()

    end(pair)
    pair.wait_taken_over()
    pair.wait_idle()

    assert pair.writes(mark, SECOND) == []
    # The stores are checked by whoever works; no secret is read.
    assert [r.json for r in pair.proxy.requests[asked:] if "app" in str(r.json)] == []
    assert pair.world.generation("web") == generation

    pair.rotate("second")
    pair.world.wait_data({"password": b"second"})
    pair.world.wait(lambda: pair.world.generation("web") == generation + 1, "web is restarted")


def test_a_leader_that_stood_still_past_its_lease_writes_nothing_more(pair: Pair) -> None:
    """It wakes up with the store's answer in its hands, and with a Secret to write."""
    asked = threading.Event()

    def hold(_: object) -> None:
        asked.set()
        pair.proxy.wait_released(60)

    pair.proxy.rules = [hold]
    pair.rotate("second")
    assert asked.wait(60)
    pair.first.running.signal(signal.SIGSTOP)
    pair.proxy.rules = []
    pair.proxy.release()
    pair.wait_taken_over()
    pair.rotate("third")
    pair.world.wait_data({"password": b"third"})
    mark = pair.audit.mark()

    pair.first.running.signal(signal.SIGCONT)

    assert pair.first.running.process.wait(60) == 1
    assert "LeadershipLost" in pair.first.log
    assert pair.writes(mark, OPERATOR) == []
    assert pair.world.data() == {"password": b"third"}


def _freeze(pair: Pair) -> None:
    pair.link.freeze()


def _cut(pair: Pair) -> None:
    pair.link.cut()


@pytest.mark.parametrize("fail", [_freeze, _cut], ids=["hangs", "breaks off"])
def test_a_leader_that_the_api_server_does_not_answer_ends_and_is_replaced(
    pair: Pair, fail: Callable[[Pair], None]
) -> None:
    mark = pair.audit.mark()

    fail(pair)

    assert pair.first.running.process.wait(60) == 1
    assert "LeadershipLost" in pair.first.log
    pair.wait_taken_over()
    pair.rotate("second")
    pair.world.wait_data({"password": b"second"})
    assert pair.writes(mark, OPERATOR) == []
