"""A restart of Syncret causes nothing, whatever it was doing when it ended; and silence costs none.

The moments at which it is killed are of two kinds: spread over the time around a rotation, and as
soon as a certain step of the work is seen to be done, which hits the gaps between the writes.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest

from contract.proxy import Action, Proxy, Request
from integration import manifests
from integration.audit import Audit
from integration.conftest import StartAlone
from integration.manifests import entry, env, env_from
from integration.world import World
from testbed.operator import Operator

End = Callable[[Operator], object]

CONSUMERS: dict[str, dict[str, Any]] = {
    "alpha": {"container": env("app", "password")},
    "beta": {"container": env_from("app"), "kind": "StatefulSet"},
    "gamma": {"container": env_from("app"), "kind": "DaemonSet"},
}


def stop(operator: Operator) -> None:
    assert operator.stop() == 0


def kill(operator: Operator) -> None:
    operator.kill()


def put(world: World, password: str) -> None:
    world.put("database", {"password": password})


def start(world: World, operator: Operator) -> None:
    """A synced Secret with three consumers, whose start is remembered."""
    world.operator = operator
    for name, spec in CONSUMERS.items():
        world.workload(name, **spec)
    put(world, "first")
    world.external_secret(data=[entry("password", world.key("database"), "password")])
    world.wait_ready()

    def known() -> bool:
        targets = world.status().get("rollout", {}).get("targets", [])
        return {target["name"] for target in targets} == set(CONSUMERS)

    world.wait(known, "the status knows the consumers")
    world.settle()


def restarts(world: World) -> dict[str, int]:
    return {
        name: world.generation(name, str(spec.get("kind", "Deployment"))) - 1
        for name, spec in CONSUMERS.items()
    }


def wait_rolled(world: World, times: int) -> None:
    """Until every consumer has been restarted so often, and then one whole round longer."""
    world.wait(
        lambda: min(restarts(world).values()) >= times, f"every consumer is restarted ({times})"
    )
    world.wait_ready()
    world.settle()
    assert restarts(world) == dict.fromkeys(CONSUMERS, times)


def test_what_does_not_change_is_not_written_nor_read_from_the_cluster(
    world: World, audit: Audit
) -> None:
    start(world, world.operator)
    world.external_secret("broken", data=[entry("k", world.key("absent"))])
    world.wait_ready("broken", status="False")
    world.wait(lambda: world.events("broken"), "the failure is told")
    world.wait_refreshes()
    mark = audit.mark()

    world.wait_refreshes(count=3)

    assert audit.concerning(world.namespace, mark) == []


@pytest.mark.parametrize("end", [stop, kill])
def test_a_restart_causes_nothing(
    lonely_world: World, alone: StartAlone, audit: Audit, proxy: Proxy, end: End
) -> None:
    """Not a write, not a restart of a workload, not a read of the store that is not due."""
    world = lonely_world
    operator = alone()
    start(world, operator)
    world.put("rare", "v")
    world.apply(manifests.store(world.namespace, proxy.url, name="watched"))
    world.external_secret(
        "rare", data=[entry("k", world.key("rare"))], store="watched", interval="1h"
    )
    world.external_secret("broken", data=[entry("k", world.key("absent"))])
    world.wait_ready("rare")
    world.wait_ready("broken", status="False")
    world.wait(lambda: world.ready("watched", "SecretStore"), "the store is checked")
    world.wait(lambda: world.events("broken"), "the failure is told")
    world.settle()

    end(operator)
    mark, calls = audit.mark(), len(proxy.requests)
    operator.start()
    world.wait_refreshes(count=3)

    assert [r for r in audit.concerning(world.namespace, mark) if r.writes] == []
    assert len(proxy.requests) == calls
    assert restarts(world) == dict.fromkeys(CONSUMERS, 0)
    assert len(world.events("broken")) == 1


@pytest.mark.parametrize("end", [stop, kill])
def test_a_rotation_during_a_pause_is_made_up_for_once(
    lonely_world: World, alone: StartAlone, end: End
) -> None:
    world = lonely_world
    operator = alone()
    start(world, operator)

    end(operator)
    put(world, "second")
    put(world, "third")
    operator.start()

    wait_rolled(world, 1)
    assert world.data() == {"password": b"third"}


def at(seconds: float) -> Callable[[World, Proxy], None]:
    """A moment: so long after the rotation."""

    def moment(_world: World, _proxy: Proxy) -> None:
        time.sleep(seconds)

    moment.__name__ = f"after {seconds:.2f} s"
    return moment


def when_the_store_is_asked(world: World, proxy: Proxy) -> None:
    asked = len(proxy.requests)
    world.wait(lambda: len(proxy.requests) > asked, "the store is asked")


def when_the_store_answers_late(world: World, proxy: Proxy) -> None:
    """In the middle of the read: the answer is on its way and never arrives."""
    hanging = []

    def hang(request: Request) -> Action | None:
        hanging.append(request)
        proxy.wait_released(2)
        return None

    proxy.rules = [hang]
    world.wait(lambda: hanging, "the store is asked")
    proxy.rules = []


def when_the_secret_is_written(world: World, _proxy: Proxy) -> None:
    before = world.data()
    world.wait(lambda: world.data() != before, "the Secret is written")


def when_restarted(world: World, count: int) -> None:
    """As soon as so many are, of a rotation before which all had been restarted as often."""
    before = min(restarts(world).values()) * len(CONSUMERS)
    world.wait(
        lambda: sum(restarts(world).values()) >= before + count, f"{count} consumers are restarted"
    )


def when_the_first_is_restarted(world: World, _proxy: Proxy) -> None:
    when_restarted(world, 1)


def when_the_second_is_restarted(world: World, _proxy: Proxy) -> None:
    when_restarted(world, 2)


def when_all_are_restarted(world: World, _proxy: Proxy) -> None:
    when_restarted(world, 3)


#: In two halves, so that one that fails says soon and by its name which it was.
MOMENTS: dict[str, list[Callable[[World, Proxy], None]]] = {
    "after a time": [at(seconds) for seconds in (0.0, 0.3, 0.7, 1.1, 1.6)],
    "at a step": [
        when_the_store_is_asked,
        when_the_store_answers_late,
        when_the_secret_is_written,
        when_the_first_is_restarted,
        when_the_second_is_restarted,
        when_all_are_restarted,
    ],
}


@pytest.mark.timeout(900, func_only=True)  # six operators one after the other
@pytest.mark.parametrize("moments", MOMENTS.values(), ids=MOMENTS)
def test_killed_at_any_moment_it_ends_in_the_same_state(
    lonely_world: World,
    alone: StartAlone,
    proxy: Proxy,
    moments: list[Callable[[World, Proxy], None]],
) -> None:
    """One rotation after the other, and another process for each: it goes on as if nothing was."""
    world = lonely_world
    operator = alone()
    world.apply(manifests.store(world.namespace, proxy.url))
    start(world, operator)

    for times, moment in enumerate(moments, start=1):
        print(moment.__name__)  # shown if it fails
        password = f"rotation {times}"
        put(world, password)
        moment(world, proxy)
        operator.kill()
        operator.start()

        wait_rolled(world, times)
        assert world.data() == {"password": password.encode()}
        status = world.status()
        assert status["sources"][0]["key"] == world.key("database")
        targets = status["rollout"]["targets"]
        assert {target["name"] for target in targets} == set(CONSUMERS)
        assert all(target["lastRolloutTime"] for target in targets)

    put(world, "the last")
    wait_rolled(world, len(moments) + 1)
    assert world.data() == {"password": b"the last"}
