"""Stores that cannot work, a fleet that cannot be synced, and good ones beside them."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial

import pytest

from contract.proxy import Hang, Proxy, Reply
from integration import manifests
from integration.manifests import entry
from integration.world import World
from syncret.providers.aws.secrets_manager import CHECK_KEY
from testbed.controlplane import free_ports
from testbed.moto import Moto

STORES = ("unreachable", "hangs", "garbage")
KEYS = [f"k-{number}" for number in range(20)]
BAD = [f"{store}-{key}" for store in STORES for key in KEYS]
BROKEN = [f"broken-{number}" for number in range(200)]
GOOD = [f"good-{number}" for number in range(10)]

GARBAGE = Reply(200, b"<html>It works!</html>", {"Content-Type": "text/html"})


@pytest.fixture
def hangs(moto: Moto) -> Iterator[Proxy]:
    """AWS that takes every request and answers none."""
    proxy = Proxy(moto.endpoint)
    proxy.rules = [lambda _: Hang()]
    yield proxy
    proxy.close()


@pytest.fixture
def garbage(proxy: Proxy) -> Proxy:
    """AWS behind something that answers in its place."""
    proxy.rules = [lambda _: GARBAGE]
    return proxy


@pytest.fixture
def port() -> int:
    """Where nothing listens."""
    return free_ports(1)[0]


def reads(proxy: Proxy) -> int:
    """What readers have asked of a store, without the checks of the store itself."""
    return sum(CHECK_KEY.encode() not in request.raw for request in list(proxy.requests))


def lines(world: World) -> Counter[str]:
    """Lines of the log about each object of the namespace, as an administrator has it: no debug."""
    records = map(json.loads, world.operator.log.splitlines())
    return Counter(
        record["object"]
        for record in records
        if record.get("namespace") == world.namespace and record["level"] != "debug"
    )


def apply_fleet(world: World, endpoints: Mapping[str, str], known: Callable[[str], object]) -> None:
    """The bad stores with their readers, and the good store with those that can be synced or not.

    Readers of bad stores have keys of their own: what many read of one key is one call anyway.
    They come when their store is ``known``: that it is missing would be a state of its own.
    """
    for key in ("good", *KEYS):
        world.put(key, "value")
    for name, endpoint in endpoints.items():
        world.apply(manifests.store(world.namespace, endpoint, name=name))
        world.wait(lambda name=name: known(name), f"the operator knows the store {name}")  # type: ignore[misc]
        for key in KEYS:
            world.external_secret(f"{name}-{key}", store=name, data=[entry("k", world.key(key))])
    for names, key in ((BROKEN, "absent"), (GOOD, "good")):
        for name in names:
            world.external_secret(name, data=[entry("k", world.key(key))])


def wait_failing(world: World) -> None:
    for name in (*BAD, *BROKEN):
        world.wait_ready(name, status="False")
    for name in STORES:
        ready = partial(world.ready, name, "SecretStore")
        world.wait(lambda ready=ready: ready().get("status") == "False", f"{name} is not ready")  # type: ignore[misc]


def wait_tried_again(world: World) -> None:
    """Until every reader of a bad store has failed once more, from its beginning to its end."""
    before = {name: len(world.records("Not synced", name)) for name in BAD}
    for name in BAD:
        attempts = partial(world.records, "Not synced", name)
        enough = before[name] + 2
        world.wait(lambda a=attempts, n=enough: len(a()) >= n, f"{name} is tried again")  # type: ignore[misc]


def wait_all_data(world: World, names: Sequence[str], value: bytes) -> None:
    for name in names:
        world.wait_data({"k": value}, name)


def test_bad_stores_keep_nothing_from_the_good_and_recover_by_themselves(
    world: World, moto: Moto, port: int, hangs: Proxy, garbage: Proxy
) -> None:
    endpoints = dict(zip(STORES, (f"http://127.0.0.1:{port}", hangs.url, garbage.url), strict=True))
    # What hangs is known by its first check, and read before that fails.
    apply_fleet(
        world,
        endpoints,
        known=lambda name: hangs.requests if name == "hangs" else world.ready(name, "SecretStore"),
    )
    wait_all_data(world, GOOD, b"value")
    wait_failing(world)
    asked = [reads(hangs), reads(garbage)]
    assert max(asked) < len(KEYS)

    # All that fail are tried again and again. The good ones follow their store meanwhile.
    world.put("good", "other")
    wait_all_data(world, GOOD, b"other")
    wait_tried_again(world)

    # Not one of these attempts has reached a store that is known to be dead.
    assert [reads(hangs), reads(garbage)] == asked
    assert [name for name in (*BAD, *BROKEN) if world.data(name) is not None] == []
    told = Counter(dict.fromkeys((*BAD, *BROKEN, *STORES), 1))  # it fails
    told.update((*GOOD, *GOOD, "aws"))  # created, updated; it works
    assert lines(world) == told

    # What hangs is not let go: broken off, it would fail in other words.
    hangs.rules = []
    garbage.rules = []
    with closing(Proxy(moto.endpoint, port=port)):
        wait_all_data(world, BAD, b"value")
        for name in BAD:
            world.wait_ready(name)
        told.update((*BAD, *STORES))  # created; it works
        assert lines(world) == told
