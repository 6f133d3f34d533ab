"""Annotations of Reloader's: what restarts for what, once, and nothing that they do not name."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.apiserver import Body, Call, FakeApiServer, Refusal
from support.clock import FakeClock
from support.engine import Engine, living
from support.objects import secret_body, workload_body
from support.provider import MemoryProvider
from unit.reconcile.payments import NAMESPACE, NEW_PASSWORD, remote, restarts, writes

R = "reloader.stakater.com"


def config_map(name: str, value: str, **annotations: str) -> Body:
    meta = {"name": name, "namespace": NAMESPACE, "annotations": annotations}
    return {"kind": "ConfigMap", "metadata": meta, "data": {"key": value}}


def reader(name: str, annotations: dict[str, str], *, own: bool = True) -> Body:
    """Pods that read the Secret "plain" and the ConfigMap "conf"."""
    body = workload_body(name, uid=f"uid-{name}", reads=("plain",))
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["envFrom"].append({"configMapRef": {"name": "conf"}})
    place = body["metadata"] if own else body["spec"]["template"]["metadata"]
    place.setdefault("annotations", {}).update(annotations)
    return body


@pytest.fixture
async def reloading(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> AsyncIterator[Engine]:
    """One Deployment for each way to ask, and what they read."""
    plain = secret_body("plain", {"key": b"a"}, uid="plain", owner="", managed=False)
    world.put("secrets", plain)
    world.put("configmaps", config_map("conf", "a"))
    world.put("configmaps", config_map("unread-1", "a"))
    for name, annotations in WAYS.items():
        world.put("deployments", reader(name, annotations, own=name != "inner"))
    async with living(world, provider=provider, clock=clock, reloader=True) as engine:
        await engine.settle()
        await engine.advance(2)
        yield engine


WAYS: dict[str, dict[str, str]] = {
    "auto": {f"{R}/auto": "true"},
    "inner": {f"{R}/auto": "true"},
    "secrets": {f"secret.{R}/auto": "true"},
    "maps": {f"configmap.{R}/auto": "true"},
    "named": {f"secret.{R}/reload": "other, plain"},
    "pattern": {f"configmap.{R}/reload": "unread-[0-9]+"},
    "search": {f"{R}/search": "true"},
    "exclude": {f"{R}/auto": "true", f"secrets.exclude.{R}/reload": "plain"},
    "off": {f"{R}/auto": "false"},
    "none": {},
}


def change(world: FakeApiServer, plural: str, name: str, value: str) -> None:
    data = base64.b64encode(value.encode()).decode() if plural == "secrets" else value
    world.edit(plural, NAMESPACE, name, {"data": {"key": data}})


def restarted(world: FakeApiServer) -> set[str]:
    found = {name: restarts(world, name) for name in WAYS}
    assert set(found.values()) <= {0, 1}
    return {name for name, count in found.items() if count}


@pytest.mark.parametrize(
    ("plural", "name", "expected"),
    [
        ("secrets", "plain", {"auto", "inner", "secrets", "named"}),
        ("configmaps", "conf", {"auto", "inner", "maps", "exclude"}),
        ("configmaps", "unread-1", {"pattern"}),
    ],
)
async def test_a_change_restarts_what_asked_for_it_once(
    reloading: Engine, world: FakeApiServer, plural: str, name: str, expected: set[str]
) -> None:
    assert restarted(world) == set()
    change(world, plural, name, "b")
    for _ in range(5):
        await reloading.advance(2)
    assert restarted(world) == expected
    before = writes(world)
    for _ in range(5):
        await reloading.advance(60)
    assert writes(world) == before


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [("match", {"auto", "inner", "secrets", "named", "search"}), ("ignore", set())],
)
async def test_what_is_read_has_a_say(
    reloading: Engine, world: FakeApiServer, annotation: str, expected: set[str]
) -> None:
    meta = {"metadata": {"annotations": {f"{R}/{annotation}": "true"}}}
    world.edit("secrets", NAMESPACE, "plain", meta)
    for _ in range(2):
        await reloading.advance(2)
    assert restarted(world) == set(), "metadata are no data"
    change(world, "secrets", "plain", "b")
    await reloading.advance(2)
    await reloading.advance(2)
    assert restarted(world) == expected


async def test_a_change_while_nobody_looked_is_caught_up_once(
    reloading: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    change(world, "secrets", "plain", "b")
    reloading.watch_nothing()
    for _ in range(2):
        async with living(world, provider=provider, clock=clock, reloader=True) as second:
            await second.settle()
            await second.advance(2)
            await second.advance(2)
        assert restarted(world) == {"auto", "inner", "secrets", "named"}


async def test_a_restart_of_the_operator_causes_nothing(
    reloading: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    before = writes(world)
    async with living(world, provider=provider, clock=clock, reloader=True) as second:
        await second.settle()
        await second.advance(5)
    assert writes(world) == before


async def test_what_an_external_secret_rolls_out_is_left_to_it(
    reloading: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.edit(
        "deployments", NAMESPACE, "api", {"metadata": {"annotations": {f"{R}/auto": "true"}}}
    )
    await reloading.advance(2)
    provider.values["app/db"] = remote(NEW_PASSWORD)
    for _ in range(3):
        await reloading.advance(72)
    assert restarts(world, "api") == 1


async def test_without_the_setting_the_annotations_say_nothing(
    world: FakeApiServer, engine: Engine
) -> None:
    plain = secret_body("plain", {"key": b"a"}, uid="plain", owner="", managed=False)
    world.put("secrets", plain)
    world.put("deployments", reader("auto", WAYS["auto"]))
    await engine.settle()
    change(world, "secrets", "plain", "b")
    for _ in range(3):
        await engine.advance(5)
    assert restarts(world, "auto") == 0


async def test_no_value_stands_in_an_annotation(reloading: Engine, world: FakeApiServer) -> None:
    meta: dict[str, Any] = world.get("deployments", NAMESPACE, "auto")["metadata"]
    text = meta["annotations"]["syncret.io/reload-checksum"]
    assert text.startswith("#1.")
    assert {part.split("=")[0] for part in text.split(",")[1:]} == {"plain", "ConfigMap/conf"}


async def test_a_namespace_that_is_left_alone_is_left_alone_here_too(
    reloading: Engine, world: FakeApiServer
) -> None:
    wish = {"metadata": {"annotations": {"syncret.io/rollout": "true"}}}
    world.edit("deployments", NAMESPACE, "secrets", wish)
    alone = {"name": NAMESPACE, "annotations": {"syncret.io/rollout": "false"}}
    world.put("namespaces", {"metadata": alone})
    await reloading.advance(60)
    change(world, "secrets", "plain", "b")
    for _ in range(3):
        await reloading.advance(2)
    assert restarted(world) == {"secrets"}, "its own annotation wins"
    world.put("namespaces", {"metadata": {**alone, "annotations": {}}})
    for _ in range(3):
        await reloading.advance(60)
    assert restarted(world) == {"secrets"}, "what was not restarted is not made up for"


@pytest.mark.parametrize("marked", [True, False], ids=["to restart", "to note the start"])
async def test_what_may_not_be_written_is_told_of_once_and_tried_ever_more_seldom(
    reloading: Engine, world: FakeApiServer, caplog: pytest.LogCaptureFixture, marked: bool
) -> None:
    name = "named" if marked else "late"
    if not marked:
        world.put("deployments", reader("late", WAYS["named"]))
    change(world, "secrets", "plain", "b")
    tries = 0

    def refuse(call: Call) -> Refusal | None:
        nonlocal tries
        if call.place.name != name:
            return None
        tries += 1
        return Refusal(403, "Forbidden")

    world.intercept("PATCH", "deployments", refuse, times=100_000)
    for _ in range(120):
        await reloading.advance(5)
    told = [record for record in caplog.records if record.getMessage().startswith("Not restarted")]
    assert len(told) == 1
    assert 3 <= tries <= 15
    world.stop_intercepting()
    for _ in range(70):
        await reloading.advance(5)
    assert restarts(world, name) == int(marked), "it is made up for"
    assert (
        "syncret.io/reload-checksum"
        in world.get("deployments", NAMESPACE, name)["metadata"]["annotations"]
    )


async def test_a_namespace_that_may_not_be_listed_is_told_of_once(
    reloading: Engine, world: FakeApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    world.intercept("GET", "configmaps", Refusal(403, "Forbidden"), times=100_000)
    change(world, "secrets", "plain", "b")
    for _ in range(60):
        await reloading.advance(5)
    told = [one for one in caplog.records if "are not followed" in one.getMessage()]
    assert len(told) == 1
    world.stop_intercepting()
    for _ in range(70):
        await reloading.advance(5)
    assert restarted(world) == {"auto", "inner", "secrets", "named"}
