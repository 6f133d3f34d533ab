"""Events and several replicas: none is lost with the one that took it, and every shard hears."""

from pathlib import Path

import pytest

from contract.proxy import Action, Hang, Proxy, Request
from integration import events
from integration.conftest import StartAlone
from integration.events import IDENTITY, SqsBed
from integration.manifests import entry
from integration.world import Worlds, wait_until
from testbed.moto import Moto


@pytest.fixture
def bed(moto: Moto, tmp_path: Path) -> SqsBed:
    return SqsBed.make(moto, tmp_path)


class Stalled(Proxy):
    """AWS that does not answer reads for as long as ``stalled``."""

    stalled = False
    asked = 0

    def decide(self, request: Request) -> Action:
        self.asked += 1
        return Hang() if self.stalled else super().decide(request)


def test_a_message_outlives_the_operator_that_took_it(
    worlds: Worlds, alone: StartAlone, moto: Moto, tmp_path: Path
) -> None:
    """The store hangs, so that the operator dies between the message and the read."""
    bed = SqsBed.make(moto, tmp_path, visibility=3)
    proxy = Stalled(moto.endpoint)
    try:
        operator = alone(f"--event-sources={bed.file}", name="dies", env=IDENTITY)
        world = worlds.new("outlives", endpoint=proxy.url)
        world.operator = operator
        world.put("k", "first")
        world.external_secret(data=[entry("k", world.key("k"))], interval="1h")
        world.wait_ready()
        proxy.stalled, asked = True, proxy.asked
        bed.send(events.label_updated(world.key("k"), world.put("k", "second")))
        wait_until(lambda: proxy.asked > asked, "the store is asked", tell=str)
        operator.kill()
        assert bed.left() == 1, "it is not acknowledged"
        proxy.stalled = False
        proxy.release()
        operator.start()
        world.wait_data({"k": b"second"})
        wait_until(lambda: bed.left() == 0, "it is acknowledged", tell=str)
        world.clear()
    finally:
        proxy.close()


def test_every_shard_hears_what_one_replica_reads(
    worlds: Worlds, alone: StartAlone, bed: SqsBed
) -> None:
    arguments = ("--shards=2", f"--event-sources={bed.file}")
    replicas = [alone(*arguments, name=f"s-{n}", env=IDENTITY, ready=False) for n in range(2)]
    for replica in replicas:
        replica.wait_ready()
    wait_until(
        lambda: all(replica.metric("syncret_shards") == 1 for replica in replicas),
        "each has one shard",
        tell=str,
    )
    fleet = [worlds.new("heard") for _ in range(4)]
    for world in fleet:
        world.operator = replicas[0]
        world.put("k", "first")
        world.external_secret(data=[entry("k", world.key("k"))], interval="1h")
    for world in fleet:
        world.wait_ready()
    syncs = "syncret_externalsecret_last_success_timestamp_seconds"
    working = {
        replica.name
        for world in fleet
        for replica in replicas
        if replica.metric(syncs, namespace=world.namespace)
    }
    bed.send(*(events.label_updated(w.key("k"), w.put("k", "second")) for w in fleet))
    for world in fleet:
        world.wait_data({"k": b"second"})
    wait_until(lambda: bed.left() == 0, "the queue is empty", tell=str)
    told = [
        world.get("ExternalSecret", "app")["metadata"].get("annotations", {}) for world in fleet
    ]
    noted = sum("syncret.io/event" in one for one in told)
    assert noted < len(fleet)
    assert noted or len(working) == 1
    for world in fleet:
        world.clear()
