"""Generators on a real control plane: made once, kept over restarts, replaced for a reason."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from integration import manifests
from integration.api import ApiError
from integration.audit import Audit
from integration.conftest import StartAlone
from integration.manifests import env_from
from integration.world import Body, World
from testbed.operator import Operator

End = Callable[[Operator], object]


def generator(world: World, name: str = "password", **kind: Any) -> Body:
    kind = kind or {"password": {"length": 32, "allowRepeat": True}}
    return manifests.generator(name, world.namespace, **kind)


def uses(name: str = "password", kind: str = "Generator", **more: Any) -> list[Body]:
    return [{"sourceRef": {"generatorRef": {"name": name, "kind": kind}}, **more}]


def start(world: World, **spec: Any) -> str:
    """A password in a Secret that a workload reads; returns it."""
    world.apply(generator(world))
    world.workload("api", container=env_from("app"))
    world.external_secret(dataFrom=uses(), **spec)
    world.wait_ready()
    world.wait(lambda: world.status().get("rollout", {}).get("targets"), "the workload is known")
    for kind, name in (("SecretStore", "aws"), ("Generator", "password")):
        world.wait(lambda name=name, kind=kind: world.ready(name, kind), f"{kind} is checked")  # type: ignore[misc]
    return password(world)


def password(world: World) -> str:
    return ((world.data() or {}).get("password") or b"").decode()


def state(world: World) -> Body:
    """The Secret that keeps what was made."""
    name = f"syncret-generated-{world.get('ExternalSecret', 'app')['metadata']['uid']}"
    return world.find("Secret", name) or {}


def kept(world: World) -> str:
    data = state(world).get("data") or {}
    text = base64.b64decode(data.get("generator.password", "")) or b"{}"
    return str(json.loads(text).get("password", ""))


def wish(world: World, value: str) -> None:
    annotations = {"syncret.io/rotate": value}
    world.patch("ExternalSecret", "app", {"metadata": {"annotations": annotations}})


def wished(world: World) -> str:
    """How the wish stands."""
    return str(world.status().get("rotate", {}).get("state"))


def condition(world: World, kind: str) -> Body:
    conditions = world.status().get("conditions") or ()
    return next((dict(one) for one in conditions if one["type"] == kind), {})


def test_a_password_is_made_rendered_and_replaced_on_demand(world: World, audit: Audit) -> None:
    template = {"data": {"password": "{{ password }}", "url": "app:{{ password }}@db"}}
    first = start(world, target={"template": template})
    assert len(first) == 32
    assert world.data() == {"password": first.encode(), "url": f"app:{first}@db".encode()}
    assert world.ready("password", "Generator").get("status") == "True"
    assert state(world)["type"] == "syncret.io/generated"
    world.settle()
    mark = audit.mark()
    world.wait_refreshes(count=3)
    assert audit.concerning(world.namespace, mark) == []

    wish(world, "now")
    world.wait(lambda: password(world) not in {"", first}, "there is another password")
    second = password(world)
    world.wait(lambda: world.generation("api") == 2, "the workload is restarted")
    world.wait(lambda: condition(world, "RolledOut").get("status") == "True", "it is rolled out")
    world.wait(lambda: wished(world) == "Done", "the wish is done")

    template["data"]["url"] = "db/{{ password }}"
    world.patch("ExternalSecret", "app", {"spec": {"target": {"template": template}}})
    world.wait(
        lambda: (world.data() or {}).get("url") == f"db/{second}".encode(), "it is rendered anew"
    )
    world.delete("Secret", "app")
    world.wait(lambda: password(world) == second, "the deleted Secret comes back the same")
    assert first not in world.operator.log
    assert second not in world.operator.log


def test_an_age_makes_another_one(world: World) -> None:
    first = start(world, rotation={"maxAge": "5s"}, rollout={"debounce": "0s"})
    world.wait(lambda: password(world) not in {"", first}, "there is another password")
    assert condition(world, "RotationOverdue").get("status") == "False"


@pytest.mark.parametrize("end", [Operator.stop, Operator.kill])
def test_a_restart_makes_nothing(
    lonely_world: World, alone: StartAlone, audit: Audit, end: End
) -> None:
    world = lonely_world
    world.operator = operator = alone()
    first = start(world)
    world.settle()
    end(operator)
    mark = audit.mark()
    operator.start()
    world.wait_refreshes(count=2)
    assert [one for one in audit.concerning(world.namespace, mark) if one.writes] == []
    assert (password(world), world.generation("api")) == (first, 1)


def test_what_was_made_before_a_death_is_used_after_it(
    lonely_world: World, alone: StartAlone
) -> None:
    """Killed as soon as the credential is written down, mostly before it is in the Secret."""
    world = lonely_world
    world.operator = operator = alone()
    first = start(world)
    wish(world, "now")
    world.wait(lambda: kept(world) not in {"", first}, "another one is kept")
    operator.kill()
    made = kept(world)
    operator.start()
    world.wait(lambda: password(world) == made, "it is what the Secret gets")
    world.wait(lambda: wished(world) == "Done", "the wish is done")
    world.settle()
    assert kept(world) == made, "nothing else was made"


def test_it_goes_with_its_external_secret(world: World) -> None:
    start(world)
    name = state(world)["metadata"]["name"]
    world.delete("ExternalSecret", "app")
    world.wait(lambda: world.find("Secret", name) is None, "what was kept is collected")
    world.wait(lambda: world.find("Secret", "app") is None, "so is the Secret")


def test_what_was_made_is_made_anew_when_somebody_deletes_it(world: World) -> None:
    first = start(world)
    world.delete("Secret", state(world)["metadata"]["name"])
    world.wait(lambda: password(world) not in {"", first}, "there is another password")
    assert kept(world) == password(world)


def test_a_cluster_generator_serves_whom_it_admits(world: World) -> None:
    name = f"passwords-{world.namespace}"
    elsewhere = [{"namespaces": ["elsewhere"]}]
    world.apply(manifests.generator(name, conditions=elsewhere, uuid={}))
    world.external_secret(dataFrom=uses(name, "ClusterGenerator"))
    world.wait_ready(status="False", reason="StoreNotAllowed")
    assert state(world) == {}
    admitted = {"spec": {"conditions": [{"namespaces": ["elsewhere", world.namespace]}]}}
    world.api.patch("ClusterGenerator", name, admitted)
    world.wait_ready()
    assert list(world.data() or {}) == ["uuid"]


def test_a_generator_of_another_namespace_cannot_be_named(world: World) -> None:
    world.external_secret(dataFrom=uses("elsewhere"))
    world.wait_ready(status="False", reason="StoreNotFound")
    assert "Generator " in world.ready()["message"]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"dataFrom": uses(extract={"key": "a"})}, "a generator makes its keys itself"),
        ({"dataFrom": uses(optional=True)}, "a generator makes its keys itself"),
        ({"dataFrom": [{"sourceRef": {}}]}, "names either a storeRef"),
        (
            {"dataFrom": [{"extract": {"key": "a"}}], "rotation": {"revokeAfter": "1h"}},
            "revokeAfter is about credentials that a generator makes",
        ),
        ({"dataFrom": uses(), "rotation": {"revokeAfter": "31d"}}, "from 0s to 30d"),
        ({"dataFrom": uses(), "rotation": {}}, "name its class, or an age in maxAge"),
    ],
)
def test_what_cannot_be_meant_is_refused(world: World, spec: Body, says: str) -> None:
    with pytest.raises(ApiError, match=says):
        world.external_secret(**spec)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"password": {}, "uuid": {}}, "name exactly one kind of generator"),
        ({"password": {"length": 64}}, "not enough characters"),
        ({"password": {"length": 8, "digits": 5, "symbols": 4}}, "a part of the length"),
        ({"password": {"symbolCharacters": "ab"}}, "neither letters nor digits"),
        ({"uuid": {"secretKeys": ["a/b"]}}, "a key that a Secret can have"),
    ],
)
def test_what_no_generator_can_make_is_refused(world: World, spec: Body, says: str) -> None:
    with pytest.raises(ApiError, match=says):
        world.apply(generator(world, **spec))
