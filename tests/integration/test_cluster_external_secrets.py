"""ClusterExternalSecrets on a real control plane: labels, ownership, deletion, one read for all."""

from collections.abc import Iterator
from typing import Any

import pytest

from contract.proxy import Proxy
from integration import manifests
from integration.audit import Audit
from integration.manifests import entry
from integration.test_stores import ANY, asked, filled, label, offer, shared
from integration.world import World, Worlds

Body = dict[str, Any]
LABEL = "example.com/wants"


@pytest.fixture
def team(worlds: Worlds, world: World) -> Iterator[list[World]]:
    """Three namespaces; the first is the one with the store's credentials."""
    others = [worlds.new("team") for _ in range(2)]
    yield [world, *others]
    for other in others:
        other.clear()


def name(world: World) -> str:
    return f"ces-{world.namespace}"


def mark(*worlds: World, by: World, value: str = "yes") -> None:
    """Labels namespaces so that the ClusterExternalSecret of a world selects them."""
    for world in worlds:
        label(world, {LABEL: f"{by.namespace}-{value}"})


def want(world: World, *, interval: str = "1h", key: str = "k", **more: Any) -> None:
    """A ClusterExternalSecret that reads from the shared store of a world."""
    spec = manifests.external_secret("", data=[entry("k", world.key(key))], interval=interval)[
        "spec"
    ]
    spec["secretStoreRef"] = {"name": shared(world), "kind": "ClusterSecretStore"}
    selected = {} if "namespaces" in more else {"labels": {LABEL: f"{world.namespace}-yes"}}
    world.apply(
        manifests.cluster_external_secret(
            name(world), spec=spec, **selected, **filled(more, world.namespace)
        )
    )


def status(world: World) -> Body:
    body = world.api.get("ClusterExternalSecret", name(world))
    assert body is not None
    return body.get("status") or {}


def provisioned(world: World) -> list[str]:
    return list(status(world).get("provisionedNamespaces") or ())


def ready(world: World) -> tuple[str, str]:
    for condition in status(world).get("conditions") or ():
        return condition["status"], condition["reason"]
    return "", ""


def names(*worlds: World) -> list[str]:
    return sorted(world.namespace for world in worlds)


def wait_provisioned(world: World, *others: World) -> None:
    world.wait(lambda: provisioned(world) == names(*others), f"it is in {names(*others)}")


def test_every_selected_namespace_gets_its_secret(team: list[World]) -> None:
    world = team[0]
    world.put("k", "v")
    offer(world, ANY)
    mark(*team, by=world)
    want(
        world,
        externalSecretName="app",
        externalSecretMetadata={"labels": {"l": "1"}, "annotations": {"a": "2"}},
    )

    for each in team:
        each.wait(lambda each=each: each.find("ExternalSecret", "app"), "it is made")  # type: ignore[misc]
        each.wait_ready()
        assert each.data() == {"k": b"v"}
        meta = each.get("ExternalSecret", "app")["metadata"]
        assert meta["labels"] == {"l": "1"}
        assert meta["annotations"]["a"] == "2"
        assert "finalizers" not in meta
    wait_provisioned(world, *team)
    assert ready(world) == ("True", "Provisioned")
    body = world.api.get("ClusterExternalSecret", name(world))
    assert body is not None
    assert "finalizers" not in body["metadata"]


def test_labels_make_and_take_it(team: list[World]) -> None:
    world, second, third = team
    world.put("k", "v")
    offer(world, ANY)
    mark(world, second, by=world)
    want(world)
    wait_provisioned(world, world, second)

    mark(third, by=world)
    mark(second, by=world, value="no")

    wait_provisioned(world, world, third)
    third.wait(lambda: third.data(name(world)) == {"k": b"v"}, "the third has it")
    second.wait(lambda: second.find("Secret", name(world)) is None, "the second has it no more")
    assert second.find("ExternalSecret", name(world)) is None


def test_a_namespace_that_is_created_later_gets_it_by_its_name(
    world: World, worlds: Worlds
) -> None:
    world.put("k", "v")
    offer(world, ANY)
    later = f"later-{world.namespace}"
    want(world, namespaces=["{me}", later])
    wait_provisioned(world, world)

    world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": later}})

    world.wait(lambda: provisioned(world) == sorted([world.namespace, later]), "it is there, too")


def test_an_edit_reaches_all_and_meddling_is_undone(team: list[World]) -> None:
    world, second, _ = team
    world.put("k", "first")
    world.put("other", "second")
    offer(world, ANY)
    mark(world, second, by=world)
    want(world, externalSecretMetadata={"labels": {"l": "1", "m": "1"}})
    wait_provisioned(world, world, second)

    want(world, key="other", externalSecretMetadata={"labels": {"l": "2"}})

    for each in (world, second):
        each.wait_data({"k": b"second"}, name(world))
        labels = each.get("ExternalSecret", name(world))["metadata"]["labels"]
        assert labels == {"l": "2"}  # what is wanted no more is gone
    spec = second.get("ExternalSecret", name(world))["spec"]
    meddled = {
        "metadata": {"labels": {"l": "3", "theirs": "1"}},
        "spec": {"refreshInterval": "7m", "rollout": {"mode": "None"}},
    }
    second.patch("ExternalSecret", name(world), meddled)

    def undone() -> bool:
        body = second.get("ExternalSecret", name(world))
        return bool(
            body["spec"] == spec and body["metadata"]["labels"] == {"l": "2", "theirs": "1"}
        )

    second.wait(undone, "the spec is set back, and the label of others kept")
    second.delete("ExternalSecret", name(world))
    second.wait(lambda: second.data(name(world)) is None, "the Secret goes with it")
    second.wait_data({"k": b"second"}, name(world))


def test_what_it_does_not_own_is_never_touched(team: list[World]) -> None:
    world, second, _ = team
    world.put("k", "v")
    world.put("mine", "w")
    offer(world, ANY)
    second.put("mine", "w")
    second.external_secret(name(world), data=[entry("mine", second.key("mine"))], interval="1h")
    second.wait_ready(name(world))
    version = second.version("ExternalSecret", name(world))
    mark(world, second, by=world)

    want(world)

    world.wait(lambda: ready(world) == ("False", "ExternalSecretNotOwned"), "it is told")
    (failed,) = status(world)["failedNamespaces"]
    assert (failed["namespace"], failed["reason"]) == (second.namespace, "ExternalSecretNotOwned")
    assert "was left as it is" in failed["message"]
    assert provisioned(world) == names(world)
    world.api.delete("ClusterExternalSecret", name(world))
    world.wait(lambda: world.data(name(world)) is None, "its own goes with it")
    assert second.version("ExternalSecret", name(world)) == version
    assert second.data(name(world)) == {"mine": b"w"}


@pytest.mark.parametrize("how", ["Background", "Foreground"])
def test_deleting_it_waits_for_nobody(team: list[World], how: str) -> None:
    world, second, _ = team
    world.put("k", "v")
    offer(world, ANY)
    mark(world, second, by=world)
    want(world)
    for each in (world, second):
        each.wait_data({"k": b"v"}, name(world))
    world.operator.stop()
    try:
        world.api.delete("ClusterExternalSecret", name(world), how=how)
        world.wait(
            lambda: world.api.get("ClusterExternalSecret", name(world)) is None, "it is gone"
        )
        for each in (world, second):
            each.wait(lambda each=each: each.data(name(world)) is None, "the Secret is gone")  # type: ignore[misc]
    finally:
        world.operator.start()


def test_a_namespace_goes_without_the_operator(team: list[World]) -> None:
    world, second, _ = team
    world.put("k", "v")
    offer(world, ANY)
    mark(world, second, by=world)
    want(world)
    wait_provisioned(world, world, second)
    world.operator.stop()
    try:
        world.api.delete("Namespace", second.namespace)
        world.wait(
            lambda: world.api.get("Namespace", second.namespace) is None, "the namespace is gone"
        )
    finally:
        world.operator.start()
    wait_provisioned(world, world)
    assert ready(world) == ("True", "Provisioned")


def test_many_namespaces_are_one_call_and_a_quiet_round_is_none(
    world: World, worlds: Worlds, proxy: Proxy, audit: Audit
) -> None:
    many = [worlds.new("many") for _ in range(20)]
    world.put("k", "first")
    offer(world, ANY, endpoint=proxy.url)
    mark(*many, by=world)
    want(world, interval="1h")
    for each in many:
        each.wait_data({"k": b"first"}, name(world))
    wait_provisioned(world, *many)
    # They are made over some moments, and one call is for those that are there when it begins.
    assert asked(proxy) <= 3

    want(world, interval="10s")

    def refreshed(each: World) -> bool:
        return each.status(name(world)).get("syncedGeneration") == 2

    for each in many:
        each.wait(lambda each=each: refreshed(each), "the edit is synced")  # type: ignore[misc]
    count, mark_ = asked(proxy), audit.mark()
    world.put("k", "second")
    for each in many:
        each.wait_data({"k": b"second"}, name(world))
    calls = asked(proxy) - count
    # One for each slot that has passed meanwhile, for 20 namespaces.
    assert calls <= 6, calls
    theirs = {each.namespace for each in many}
    written = [r for r in audit.requests(mark_) if r.namespace in theirs and r.writes]
    assert {r.resource for r in written} <= {"secrets", "externalsecrets/status", "events"}

    # Somebody labels a namespace: a round, in which everything is as it should be.
    quiet = audit.mark()
    label(many[0], {"some": "label"})
    last = many[0].refreshed(name(world))
    many[0].wait(lambda: many[0].refreshed(name(world)) > last, "time has passed")
    touched = [
        r
        for r in audit.requests(quiet)
        if r.resource.startswith(("externalsecrets", "clusterexternalsecrets")) and r.writes
    ]
    assert [r for r in touched if r.namespace in theirs] == []
    for each in many:
        each.clear()


def test_with_shards_one_replica_makes_them_and_all_of_them_sync(
    lonely_world: World, worlds: Worlds, alone: Any, audit: Audit
) -> None:
    world = lonely_world
    many = [worlds.new("shard") for _ in range(6)]
    world.put("k", "v")
    offer(world, ANY)
    mark(*many, by=world)
    replicas = [alone("--shards=3", name=f"replica-{number}") for number in range(2)]
    world.operator = replicas[0]
    world.wait(
        lambda: all(one.metric("syncret_shards") > 0 for one in replicas), "both of them work"
    )
    since = audit.mark()

    want(world)

    for each in many:
        each.wait_data({"k": b"v"}, name(world))
    wait_provisioned(world, *many)
    theirs = {each.namespace for each in many}
    made = [
        r
        for r in audit.requests(since)
        if (r.resource, r.verb) == ("externalsecrets", "create") and r.namespace in theirs
    ]
    assert sorted(r.namespace for r in made) == names(*many)
    assert {r.code for r in made} == {201}
    for each in many:
        each.clear()
