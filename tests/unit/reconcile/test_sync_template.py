"""Templates in the life of an ExternalSecret: what is rendered when, and what is written."""

from typing import Any

import pytest

from support.apiserver import FakeApiServer, Place
from support.engine import Engine, living
from support.objects import secret_body
from support.provider import MemoryProvider
from syncret.constants import METADATA_ANNOTATION, OWNER_ANNOTATION
from unit.reconcile.payments import NAMESPACE, PASSWORD, outside, ready, status, writes

MINUTES = 72.0  # later than any slot of a refresh interval of one minute
BCRYPT = "{{ password | bcrypt(4) }}"


def edit(world: FakeApiServer, template: dict[str, Any] | None, **spec: Any) -> None:
    """Another template, in the place of the one before; and other fields of the spec."""
    place = Place("externalsecrets", NAMESPACE, "db")
    world.objects[place]["spec"].pop("target", None)
    world.edit(*place, {"spec": {"target": {"template": template}, **spec}})


def config_map(world: FakeApiServer, text: str) -> None:
    if world.has("configmaps", NAMESPACE, "form"):
        world.edit("configmaps", NAMESPACE, "form", {"data": {"conf": text}})
        return
    meta = {"name": "form", "namespace": NAMESPACE, "uid": "form-1"}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"conf": text}}
    world.put("configmaps", body)


FROM = {"templateFrom": [{"configMap": {"name": "form", "items": [{"key": "conf"}]}}]}


def meta(world: FakeApiServer) -> dict[str, Any]:
    found: dict[str, Any] = world.get("secrets", NAMESPACE, "db")["metadata"]
    return found


async def test_an_unchanged_refresh_renders_nothing_and_asks_kubernetes_nothing(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    config_map(world, "user = {{ user }}")
    edit(world, FROM | {"data": {"hash": BCRYPT}, "metadata": {"labels": {"team": "x"}}})
    await engine.settle()
    assert set(world.secret(NAMESPACE, "db")) == {"conf", "hash"}
    assert world.secret(NAMESPACE, "db")["conf"] == b"user = app"

    await engine.pool.close()  # so nothing can be rendered
    calls, reads = len(world.calls), provider.reads
    for _ in range(3):
        await engine.advance(MINUTES)
    assert provider.reads >= reads + 3
    assert world.calls[calls:] == []
    assert ready(world)["status"] == "True"


async def test_what_is_random_stays_while_its_input_does(
    world: FakeApiServer, engine: Engine
) -> None:
    """Even where the whole is looked at again: an edit of something else, or a retry."""
    edit(world, {"data": {"hash": BCRYPT}})
    await engine.settle()
    before = world.secret(NAMESPACE, "db")
    await engine.pool.close()
    edit(world, {"data": {"hash": BCRYPT}}, rollout={"mode": "None"})
    await engine.settle()
    assert ready(world)["status"] == "True"
    assert (
        status(world)["syncedGeneration"]
        == world.get("externalsecrets", NAMESPACE, "db")["metadata"]["generation"]
    )
    assert world.secret(NAMESPACE, "db") == before


async def test_a_restart_renders_nothing(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    config_map(world, "user = {{ user }}")
    edit(world, FROM | {"metadata": {"labels": {"team": "x"}}})
    await engine.settle()
    before, reads = writes(world), provider.reads
    async with living(world, provider=provider, clock=engine.clock) as second:
        await second.settle()
        assert second.pool.pids == []
    assert (writes(world), provider.reads) == (before, reads)


async def test_an_edit_of_the_template_renders(world: FakeApiServer, engine: Engine) -> None:
    edit(world, {"data": {"a": "{{ user }}"}})
    await engine.settle()
    edit(world, {"data": {"b": "{{ user }}!"}})
    await engine.settle()
    assert world.secret(NAMESPACE, "db") == {"b": b"app!"}
    edit(world, None)
    await engine.settle()
    assert "user" in world.secret(NAMESPACE, "db")
    assert "template" not in status(world)


async def test_a_template_that_changed_while_nobody_watched(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    config_map(world, "one {{ user }}")
    edit(world, FROM)
    await engine.settle()
    config_map(world, "two {{ user }}")
    async with living(world, provider=provider, clock=engine.clock) as second:
        await second.settle()
    assert world.secret(NAMESPACE, "db") == {"conf": b"two app"}


async def test_a_template_that_changes_is_rendered_at_once(
    world: FakeApiServer, engine: Engine, provider: MemoryProvider
) -> None:
    config_map(world, "one {{ user }}")
    edit(world, FROM)
    await engine.settle()
    reads = provider.reads
    config_map(world, "two {{ user }}")
    await engine.settle()
    assert world.secret(NAMESPACE, "db") == {"conf": b"two app"}
    assert provider.reads == reads + 1

    # What changes nothing of it costs one look, and neither a read nor a write.
    calls = len(world.calls)
    world.edit("configmaps", NAMESPACE, "form", {"data": {"other": "x"}})
    await engine.settle()
    assert [(call.method, call.place.plural) for call in world.calls[calls:]] == [
        ("GET", "configmaps")
    ]
    assert provider.reads == reads + 1

    world.remove("configmaps", NAMESPACE, "form")
    await engine.settle()
    assert ready(world)["reason"] == "TemplateNotFound"
    assert world.secret(NAMESPACE, "db") == {"conf": b"two app"}


async def test_a_secret_template_that_changes(world: FakeApiServer, engine: Engine) -> None:
    def put(text: bytes, *, managed: bool) -> None:
        body = secret_body("form", {"conf": text}, uid="form-1", owner="", managed=managed)
        if world.has("secrets", NAMESPACE, "form"):
            world.edit("secrets", NAMESPACE, "form", {"data": body["data"]})
        else:
            world.put("secrets", body)

    edit(world, {"templateFrom": [{"secret": {"name": "form", "items": [{"key": "conf"}]}}]})
    for managed in (False, True):
        put(b"one {{ user }}", managed=managed)
        await engine.settle()
        assert world.secret(NAMESPACE, "db") == {"conf": b"one app"}
        put(b"two {{ user }}", managed=managed)
        await engine.settle()
        assert world.secret(NAMESPACE, "db") == {"conf": b"two app"}
        world.remove("secrets", NAMESPACE, "form")
        await engine.settle()


async def test_changes_that_went_unseen(world: FakeApiServer, engine: Engine) -> None:
    config_map(world, "one {{ user }}")
    edit(world, FROM)
    await engine.settle()
    config_map(world, "two {{ user }}")
    engine.watch_nothing()
    engine.watcher.template_sources_missed("Secret")
    await engine.settle()
    assert world.secret(NAMESPACE, "db") == {"conf": b"one app"}
    engine.watcher.template_sources_missed("ConfigMap")
    await engine.settle()
    assert world.secret(NAMESPACE, "db") == {"conf": b"two app"}


async def test_a_template_that_is_not_there_and_then_is(
    world: FakeApiServer, engine: Engine
) -> None:
    edit(world, FROM)
    await engine.settle()
    assert ready(world)["reason"] == "TemplateNotFound"
    assert not world.has("secrets", NAMESPACE, "db")
    config_map(world, "{{ user }}")
    await engine.settle()  # at once
    assert ready(world)["status"] == "True"
    assert world.secret(NAMESPACE, "db") == {"conf": b"app"}


async def test_metadata_are_written_with_what_tells_them_apart(
    world: FakeApiServer, engine: Engine
) -> None:
    edit(world, {"metadata": {"labels": {"a": "1"}, "annotations": {"b": "{{ user }}"}}})
    await engine.settle()
    assert meta(world)["labels"]["a"] == "1"
    assert meta(world)["annotations"]["b"] == "app"
    world.edit("secrets", NAMESPACE, "db", {"metadata": {"labels": {"theirs": "x"}}})
    await engine.settle()
    edit(world, {"metadata": {"labels": {"c": "2"}}})
    await engine.settle()
    labels = meta(world)["labels"]
    assert (labels.get("a"), labels["c"], labels["theirs"]) == (None, "2", "x")
    assert meta(world)["annotations"].keys() == {METADATA_ANNOTATION, OWNER_ANNOTATION}


@pytest.mark.parametrize("patch", [{"labels": {"a": "2"}}, {"labels": {"a": None}}])
@pytest.mark.parametrize("annotation", [None, "nonsense", '{"labels":"a"}'])
async def test_metadata_that_somebody_changes_are_set_back(
    world: FakeApiServer, engine: Engine, patch: dict[str, Any], annotation: str | None
) -> None:
    edit(world, {"metadata": {"labels": {"a": "1"}}})
    await engine.settle()
    said = meta(world)["annotations"][METADATA_ANNOTATION]
    world.edit("secrets", NAMESPACE, "db", {"metadata": patch})
    await engine.settle()
    assert meta(world)["labels"]["a"] == "1"
    world.edit(
        "secrets", NAMESPACE, "db", {"metadata": {"annotations": {METADATA_ANNOTATION: annotation}}}
    )
    await engine.settle()
    assert meta(world)["annotations"][METADATA_ANNOTATION] == said
    count = writes(world)
    await engine.advance(MINUTES)
    assert writes(world) == count


async def test_no_value_is_told(world: FakeApiServer, engine: Engine) -> None:
    edit(
        world,
        {
            "data": {"a": "{{ secrets[password] }}"},
        },
    )
    await engine.settle()
    assert ready(world)["reason"] == "TemplateInvalid"
    assert PASSWORD not in outside(world)
    edit(world, {"metadata": {"labels": {"x": "{{ password ~ '/' }}"}}})
    await engine.settle()
    assert ready(world)["reason"] == "MetadataInvalid"
    assert PASSWORD not in outside(world)


async def test_a_rewrite_by_a_template(world: FakeApiServer, engine: Engine) -> None:
    edit(
        world,
        None,
        dataFrom=[
            {
                "extract": {"key": "app/db"},
                "rewrite": [{"transform": {"template": "DB_{{ value | upper }}"}}],
            }
        ],
        data=None,
    )
    await engine.settle()
    assert ready(world)["status"] == "True", ready(world)
    assert "DB_USER" in world.secret(NAMESPACE, "db")


async def test_a_rewrite_by_a_template_that_fails(world: FakeApiServer, engine: Engine) -> None:
    rewrite = [{"transform": {"template": "{{ valu }}"}}]
    edit(world, None, dataFrom=[{"extract": {"key": "app/db"}, "rewrite": rewrite}], data=None)
    await engine.settle()
    assert ready(world)["reason"] == "TemplateInvalid"
    assert "spec.dataFrom[0].rewrite[0].transform.template, line 1" in ready(world)["message"]


async def test_another_type(world: FakeApiServer, engine: Engine) -> None:
    edit(world, {"data": {"username": "{{ user }}"}, "metadata": {"labels": {"a": "b"}}})
    await engine.settle()
    before = meta(world)["uid"]
    typed = {"type": "kubernetes.io/basic-auth", "data": {"username": "{{ user }}"}}
    edit(world, {**typed, "metadata": {"labels": {"c": "d"}}})
    await engine.settle()
    assert ready(world)["status"] == "True"
    assert world.get("secrets", NAMESPACE, "db")["type"] == "kubernetes.io/basic-auth"
    assert meta(world)["uid"] != before
    assert (meta(world)["labels"].get("a"), meta(world)["labels"]["c"]) == (None, "d")
    count = writes(world)
    await engine.advance(MINUTES)
    assert writes(world) == count


async def test_data_that_do_not_fit_their_type_leave_the_secret(
    world: FakeApiServer, engine: Engine
) -> None:
    edit(world, {"data": {"a": "b"}})
    await engine.settle()
    edit(world, {"type": "kubernetes.io/basic-auth", "data": {"a": "c"}})
    await engine.settle()
    assert ready(world)["reason"] == "TypeMismatch"
    assert world.secret(NAMESPACE, "db") == {"a": b"b"}


async def test_a_template_in_a_shared_secret(world: FakeApiServer, engine: Engine) -> None:
    world.put("secrets", secret_body("db", {"theirs": b"x"}, owner="", managed=False))
    place = Place("externalsecrets", NAMESPACE, "db")
    target = {"creationPolicy": "Merge", "template": {"data": {"mine": "{{ user }}"}}}
    world.edit(*place, {"spec": {"target": target}})
    await engine.settle()
    assert world.secret(NAMESPACE, "db") == {"theirs": b"x", "mine": b"app"}
    calls = len(world.calls)
    await engine.advance(MINUTES)
    assert world.calls[calls:] == []
    edit_target = {"spec": {"target": target, "rollout": {"mode": "None"}}}
    world.edit(*place, edit_target)
    await engine.settle()
    assert ready(world)["status"] == "True"
    assert status(world)["keys"] == ["mine"]
