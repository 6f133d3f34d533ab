"""Stores that cannot work, a fleet that cannot be synced, and good ones beside them."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from contract.proxy import Hang, Proxy, Reply
from integration import manifests
from integration.manifests import entry
from integration.world import World
from testbed.controlplane import free_ports
from testbed.moto import Moto

STORES = ("unreachable", "hangs", "garbage")
EACH = 20
BROKEN = 100
GOOD = 10


@pytest.fixture
def hangs(moto: Moto) -> Iterator[Proxy]:
    """AWS that takes every request and answers none."""
    proxy = Proxy(moto.endpoint)
    proxy.rules = [lambda _: Hang()]
    yield proxy
    proxy.close()


def test_what_cannot_work_keeps_nothing_else_from_it_and_is_told_once(
    world: World, proxy: Proxy, hangs: Proxy
) -> None:
    proxy.rules = [lambda _: Reply(200, b"<html>It works!</html>", {"Content-Type": "text/html"})]
    endpoints = (f"http://127.0.0.1:{free_ports(1)[0]}", hangs.url, proxy.url)
    world.put("k", "value")
    key = world.key("k")
    bad = []
    for name, endpoint in zip(STORES, endpoints, strict=True):
        world.apply(manifests.store(world.namespace, endpoint, name=name))
        bad += [f"{name}-{number}" for number in range(EACH)]
    for name in bad:
        world.external_secret(name, store=name.partition("-")[0], data=[entry("k", key)])
    broken = [f"broken-{number}" for number in range(BROKEN)]
    for name in broken:
        world.external_secret(name, data=[entry("k", world.key("absent"))])
    good = [f"good-{number}" for number in range(GOOD)]
    for name in good:
        world.external_secret(name, data=[entry("k", key)])

    for name in good:
        world.wait_data({"k": b"value"}, name)
    for name in (*bad, *broken):
        world.wait_ready(name, status="False")

    # A dead store is asked by a few, and its other readers are told what those were.
    assert len(hangs.requests) < EACH
    told = Counter(
        (record["object"], record["message"].partition(": ")[2])
        for record in map(json.loads, world.operator.log.splitlines())
        if record.get("namespace") == world.namespace
        and record["level"] == "warning"
        and record["message"].startswith("Not synced")
    )
    assert {name for name, _ in told} == {*bad, *broken}
    assert set(told.values()) == {1}, "a line for each change of state"
    assert all(world.data(name) is None for name in (*bad, *broken))

    hangs.rules = []
    hangs.release()

    for name in bad:
        if name.startswith("hangs"):
            world.wait_data({"k": b"value"}, name)
            world.wait_ready(name)
