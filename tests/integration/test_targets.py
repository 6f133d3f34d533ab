"""What becomes of Secrets: a row per rule of creationPolicy, deletionPolicy, immutable and names.

Each row is played on a real control plane with its garbage collector: what is there before, the
manifests, what the store holds, what then happens, and the Secrets and conditions in the end.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from integration.audit import Audit
from integration.conftest import StartAlone
from integration.manifests import entry, env_from
from integration.world import World

Body = dict[str, Any]
Data = dict[str, bytes]
Step = Callable[[World], object]

MANAGED = "syncret.io/managed"
OWNER = "syncret.io/owner"
KEYS = "syncret.io/merged-keys"

SHARED = {"creationPolicy": "CreateOrMerge"}
MERGE = {"creationPolicy": "Merge"}


@dataclass(frozen=True)
class Row:
    """One rule.

    Attributes:
        rule: In words.
        first: ``spec.target`` of the ExternalSecrets that are made, by their name; the keys that
            each fills are in ``fills``.
        data: What Secrets hold in the end; None: there is none.
        holds: What the store holds, by name.
        before: Secrets that somebody else has made.
        fills: The keys of an ExternalSecret, each from the secret of that name; else those of
            ``holds``.
        synced: What Secrets hold before ``then``.
        then: What happens then, one after the other.
        reasons: Of Ready, by the name of the ExternalSecret, in the end.
        says: A part of its message.
        owned: Secrets that have an owner reference in the end.
        marked: Whether Secrets have our label in the end.
    """

    rule: str
    first: Mapping[str, Body]
    data: Mapping[str, Data | None]
    holds: Mapping[str, str] = field(default_factory=lambda: {"a": "1", "b": "2"})
    before: Mapping[str, Data] = field(default_factory=dict)
    fills: Mapping[str, str] = field(default_factory=dict)
    synced: Mapping[str, Data] = field(default_factory=dict)
    then: tuple[Step, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    says: str = ""
    owned: Mapping[str, bool] = field(default_factory=dict)
    marked: Mapping[str, bool] = field(default_factory=dict)


def secret(name: str, data: Data, **meta: Any) -> Step:
    """Somebody makes a Secret."""

    def make(world: World) -> None:
        world.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": world.namespace, **meta},
                "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
            }
        )

    return make


def edit(one: str, /, **target: Any) -> Step:
    return lambda world: world.patch("ExternalSecret", one, {"spec": {"target": target}})


def hand_over(name: str) -> Step:
    meta = {"annotations": {OWNER: name}}
    return lambda world: world.patch("Secret", name, {"metadata": meta})


def joins(one: str, keys: str) -> Step:
    """Another ExternalSecret that wants to fill keys of the Secret "s"."""

    def made(world: World) -> None:
        world.external_secret(one, target={"name": "s", **SHARED}, data=entries(world, keys))

    return made


def fill(name: str, keys: str) -> Step:
    def edited(world: World) -> None:
        world.patch("ExternalSecret", name, {"spec": {"data": entries(world, keys)}})

    return edited


def goes(name: str) -> Step:
    return lambda world: world.delete("ExternalSecret", name)


def stored(name: str, value: str) -> Step:
    return lambda world: world.put(name, value)


def lost(*names: str) -> Step:
    def removed(world: World) -> None:
        for name in names:
            world.remove(name)

    return removed


def entries(world: World, keys: str) -> list[Body]:
    return [entry(key, world.key(key)) for key in keys.split()]


AB = {"a": b"1", "b": b"2"}

ROWS = [
    # Creation
    Row(
        "Owner: it goes with the ExternalSecret",
        {"x": {}},
        {"x": None},
        synced={"x": AB},
        then=(goes("x"),),
    ),
    Row("Owner: it has an owner", {"x": {"creationPolicy": "Owner"}}, {"x": AB}, owned={"x": True}),
    Row(
        "Orphan: it stays",
        {"x": {"creationPolicy": "Orphan"}},
        {"x": AB},
        synced={"x": AB},
        then=(goes("x"),),
        owned={"x": False},
    ),
    Row(
        "Retain, if it is said: it stays",
        {"x": {"deletionPolicy": "Retain"}},
        {"x": AB},
        synced={"x": AB},
        then=(goes("x"),),
        owned={"x": False},
    ),
    Row(
        "Retain said later takes the owner away",
        {"x": {}},
        {"x": AB},
        synced={"x": AB},
        then=(edit("x", deletionPolicy="Retain"),),
        owned={"x": False},
    ),
    Row(
        "and no longer said, puts it back",
        {"x": {"deletionPolicy": "Retain"}},
        {"x": AB},
        synced={"x": AB},
        then=(edit("x", deletionPolicy=None),),
        owned={"x": True},
    ),
    Row(
        "Merge waits for the Secret",
        {"x": MERGE},
        {"x": None},
        reasons={"x": "SecretNotThere"},
        says="create it, or set CreateOrMerge",
    ),
    Row(
        "and fills it when it is there",
        {"x": MERGE},
        {"x": {"theirs": b"x", **AB}},
        then=(secret("x", {"theirs": b"x"}),),
        owned={"x": False},
        marked={"x": True},
    ),
    Row(
        "Merge keeps the keys of others",
        {"x": MERGE},
        {"x": {"theirs": b"x", **AB}},
        before={"x": {"theirs": b"x", "a": b"old"}},
    ),
    Row(
        "CreateOrMerge makes the Secret",
        {"x": SHARED},
        {"x": AB},
        owned={"x": False},
        marked={"x": True},
    ),
    Row(
        "CreateOrMerge fills the Secret that is there",
        {"x": SHARED},
        {"x": {"theirs": b"x", **AB}},
        before={"x": {"theirs": b"x"}},
    ),
    Row("None writes nothing", {"x": {"creationPolicy": "None"}}, {"x": None}, says="no Secret"),
    Row(
        "None leaves a Secret of others alone",
        {"x": {"creationPolicy": "None"}},
        {"x": {"theirs": b"x"}},
        before={"x": {"theirs": b"x"}},
        marked={"x": False},
    ),
    Row(
        "None tells what the store does not have",
        {"x": {"creationPolicy": "None"}},
        {"x": None},
        fills={"x": "a c"},
        reasons={"x": "KeyNotFound"},
    ),
    # Adoption
    Row(
        "a Secret of others is refused",
        {"x": {}},
        {"x": {"theirs": b"x"}},
        before={"x": {"theirs": b"x"}},
        reasons={"x": "SecretNotOwned"},
        says="syncret.io/owner: x",
        marked={"x": False},
    ),
    Row(
        "unless they hand it over",
        {"x": {}},
        {"x": AB},
        before={"x": {"theirs": b"x"}},
        then=(
            lambda world: world.patch("Secret", "x", {"metadata": {"annotations": {OWNER: "x"}}}),
        ),
        owned={"x": True},
        marked={"x": True},
    ),
    # Sharing
    Row(
        "two fill one Secret",
        {"x": {"name": "s", **SHARED}, "y": {"name": "s", **SHARED}},
        {"s": AB},
        fills={"x": "a", "y": "b"},
    ),
    Row(
        "one leaves with its keys",
        {"x": {"name": "s", **SHARED}, "y": {"name": "s", **SHARED}},
        {"s": {"b": b"2"}},
        fills={"x": "a", "y": "b"},
        synced={"s": AB},
        then=(goes("x"),),
        marked={"s": True},
    ),
    Row(
        "the last leaves what is of others, unmarked",
        {"x": MERGE},
        {"x": {"theirs": b"x"}},
        before={"x": {"theirs": b"x"}},
        synced={"x": {"theirs": b"x", **AB}},
        then=(goes("x"),),
        marked={"x": False},
    ),
    Row(
        "with Retain its keys stay",
        {"x": {**MERGE, "deletionPolicy": "Retain"}},
        {"x": {"theirs": b"x", **AB}},
        before={"x": {"theirs": b"x"}},
        synced={"x": {"theirs": b"x", **AB}},
        then=(goes("x"),),
        marked={"x": False},
    ),
    Row(
        "a key that the spec does not have any more goes",
        {"x": MERGE},
        {"x": {"theirs": b"x", "a": b"1"}},
        before={"x": {"theirs": b"x"}},
        synced={"x": {"theirs": b"x", **AB}},
        then=(fill("x", "a"),),
    ),
    Row(
        "whole and shared do not mix",
        {"x": {"name": "s"}},
        {"s": {"a": b"1"}},
        fills={"x": "a"},
        synced={"s": {"a": b"1"}},
        then=(
            lambda world: world.external_secret(
                "y", target={"name": "s", **SHARED}, data=entries(world, "b")
            ),
        ),
        reasons={"y": "SecretNotOwned"},
    ),
    Row(
        "a key is filled by who came first",
        {"x": {"name": "s", **SHARED}},
        {"s": {"a": b"1"}},
        fills={"x": "a"},
        synced={"s": {"a": b"1"}},
        then=(
            lambda world: world.external_secret(
                "y", target={"name": "s", **SHARED}, data=entries(world, "a b")
            ),
        ),
        reasons={"y": "KeyClaimed"},
        says='"x" fills "a"',
    ),
    # What the store does not have any more
    Row(
        "Retain keeps all of it",
        {"x": {}},
        {"x": AB},
        synced={"x": AB},
        then=(lost("a"),),
        reasons={"x": "KeyNotFound"},
    ),
    Row(
        "Merge removes the key",
        {"x": {"deletionPolicy": "Merge"}},
        {"x": {"b": b"2"}},
        synced={"x": AB},
        then=(lost("a"),),
        says="left out (deletionPolicy Merge)",
    ),
    Row(
        "Merge keeps an empty Secret",
        {"x": {"deletionPolicy": "Merge"}},
        {"x": {}},
        synced={"x": AB},
        then=(lost("a", "b"),),
    ),
    Row(
        "Merge and Merge: the keys of others stay",
        {"x": {**MERGE, "deletionPolicy": "Merge"}},
        {"x": {"theirs": b"x"}},
        before={"x": {"theirs": b"x"}},
        synced={"x": {"theirs": b"x", **AB}},
        then=(lost("a", "b"),),
    ),
    Row(
        "Delete removes a key",
        {"x": {"deletionPolicy": "Delete"}},
        {"x": {"b": b"2"}},
        synced={"x": AB},
        then=(lost("a"),),
    ),
    Row(
        "Delete removes the Secret with the last",
        {"x": {"deletionPolicy": "Delete"}},
        {"x": None},
        synced={"x": AB},
        then=(lost("a", "b"),),
        reasons={"x": "SecretDeleted"},
        says="made again when the store has it again",
    ),
    Row(
        "and makes it again",
        {"x": {"deletionPolicy": "Delete"}},
        {"x": {"a": b"3"}},
        synced={"x": AB},
        then=(
            lost("a", "b"),
            lambda world: world.wait(lambda: world.data("x") is None, "it is deleted"),
            stored("a", "3"),
        ),
    ),
    # Immutable
    Row(
        "an immutable Secret is made anew",
        {"x": {"immutable": True}},
        {"x": {"a": b"3", "b": b"2"}},
        synced={"x": AB},
        then=(stored("a", "3"),),
        owned={"x": True},
    ),
    Row(
        "what was made immutable by hand is not",
        {"x": {}},
        {"x": AB},
        synced={"x": AB},
        then=(lambda world: world.patch("Secret", "x", {"immutable": True}), stored("a", "3")),
        reasons={"x": "SecretImmutable"},
    ),
    # Names
    Row(
        "another name: the former Secret goes",
        {"x": {"name": "old"}},
        {"old": None, "new": AB},
        synced={"old": AB},
        then=(edit("x", name="new"),),
    ),
    Row(
        "with Retain it stays, and is nobody's",
        {"x": {"name": "old", "deletionPolicy": "Retain"}},
        {"old": AB, "new": AB},
        synced={"old": AB},
        then=(edit("x", name="new"),),
        marked={"old": False, "new": True},
    ),
    Row(
        "while a workload reads it, it stays",
        {"x": {"name": "old"}},
        {"old": AB, "new": AB},
        synced={"old": AB},
        then=(
            lambda world: world.workload("reader", container=env_from("old")),
            lambda world: world.wait(lambda: world.status("x").get("rollout"), "it is known"),
            edit("x", name="new"),
        ),
    ),
    Row(
        "of a shared Secret its keys go",
        {"x": {"name": "s", **SHARED}, "y": {"name": "s", **SHARED}},
        {"s": {"b": b"2"}, "t": {"a": b"1"}},
        fills={"x": "a", "y": "b"},
        synced={"s": AB},
        then=(edit("x", name="t"),),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.rule)
def test_the_rules(world: World, row: Row) -> None:
    begin(world, row)
    for step in row.then:
        step(world)

    def in_the_end() -> bool:
        return all(world.data(name) == wanted for name, wanted in row.data.items())

    world.wait(in_the_end, f"the Secrets hold {row.data}")
    names = [
        name
        for name in dict.fromkeys((*row.first, *row.reasons))
        if world.find("ExternalSecret", name) is not None
    ]
    for name in names:
        reason = row.reasons.get(name, "Synced")
        ready = world.wait_ready(name, status=str(reason == "Synced"), reason=reason)
        if name in row.reasons or not row.reasons:
            assert row.says in ready["message"]
    world.wait(lambda: marks(world, row), "the marks are as they should be")
    # The interval is a second: whatever is still to come would come now.
    for name in names:
        if row.reasons.get(name, "Synced") == "Synced":
            world.wait_refreshes(name)
    assert in_the_end()
    assert marks(world, row)


def begin(world: World, row: Row) -> None:
    """What is there before anything happens."""
    for name, value in row.holds.items():
        world.put(name, value)
    for name, data in row.before.items():
        secret(name, data)(world)
    for name, target in row.first.items():
        keys = row.fills.get(name, " ".join(row.holds))
        world.external_secret(name, target=target, data=entries(world, keys))
    for name, wanted in row.synced.items():
        world.wait_data(wanted, name)
    for name in row.first if row.synced else ():
        world.wait_ready(name)


def marks(world: World, row: Row) -> bool:
    for name, owned in row.owned.items():
        if bool(world.get("Secret", name)["metadata"].get("ownerReferences")) != owned:
            return False
    for name, marked in row.marked.items():
        labels = world.get("Secret", name)["metadata"].get("labels") or {}
        if (MANAGED in labels) != marked:
            return False
    return True


def test_who_fills_what_is_on_record(world: World) -> None:
    world.put("a", "1")
    world.external_secret("x", target={"name": "s", **SHARED}, data=entries(world, "a"))
    world.wait_ready("x")
    record = json.loads(world.get("Secret", "s")["metadata"]["annotations"][KEYS])
    assert record == {"of": f"{world.namespace}/s", "keys": {"x": {"keys": ["a"]}}}


def test_an_immutable_secret_is_not_deleted_while_no_new_one_could_be_made(world: World) -> None:
    """A ResourceQuota, here: it is asked before anything is deleted."""
    world.put("a", "1")
    world.external_secret("x", target={"immutable": True}, data=entries(world, "a"))
    world.wait_ready("x")
    uid = world.get("Secret", "x")["metadata"]["uid"]
    quota = {"apiVersion": "v1", "kind": "ResourceQuota"}
    meta = {"name": "full", "namespace": world.namespace}
    world.apply({**quota, "metadata": meta, "spec": {"hard": {"count/secrets": "1"}}})
    world.wait(lambda: world.get("ResourceQuota", "full").get("status", {}).get("used"), "counted")

    world.put("a", "2")

    ready = world.wait_ready("x", status="False", reason="Forbidden")
    assert "ResourceQuota" in ready["message"]
    assert world.get("Secret", "x")["metadata"]["uid"] == uid
    assert world.data("x") == {"a": b"1"}
    world.delete("ResourceQuota", "full")
    world.wait_data({"a": b"2"}, "x")
    assert world.get("Secret", "x")["metadata"]["uid"] != uid


def test_marks_are_put_back_without_a_look_at_the_store(world: World) -> None:
    world.put("a", "1")
    world.external_secret("x", data=entries(world, "a"), interval="1h")
    world.wait_ready("x")
    world.remove("a")  # who looked would find nothing
    for body in (
        {"metadata": {"labels": None}},
        {"metadata": {"annotations": None}},
        {"metadata": {"ownerReferences": None}},
        {"stringData": {"added": "by hand"}},
    ):
        version = world.version("Secret", "x")
        world.patch("Secret", "x", body)

        def restored(version: str = version) -> bool:
            meta = world.get("Secret", "x")["metadata"]
            return (
                meta["resourceVersion"] != version
                and MANAGED in (meta.get("labels") or {})
                and (meta.get("annotations") or {}).get(OWNER) == "x"
                and len(meta.get("ownerReferences") or ()) == 1
                and world.data("x") == {"a": b"1"}
            )

        world.wait(restored, f"put right after {body}")
    assert world.ready("x")["status"] == "True"


def test_a_namespace_goes_with_few_requests_and_without_waiting(world: World, audit: Audit) -> None:
    """No finalizer keeps an object, and what is being deleted is not made again and again."""
    world.put("a", "1")
    policies = ("Owner", "Orphan", "CreateOrMerge")
    for number in range(12):
        target = {"creationPolicy": policies[number % len(policies)]}
        world.external_secret(f"x{number}", target=target, data=entries(world, "a"))
    for number in range(12):
        world.wait_ready(f"x{number}")
    for number in range(12):
        assert "finalizers" not in world.get("ExternalSecret", f"x{number}")["metadata"]
    mark = audit.mark()

    world.clear()

    world.wait(lambda: world.api.get("Namespace", world.namespace) is None, "the namespace is gone")
    made = [one for one in audit.concerning(world.namespace, mark) if one.writes]
    creations = [one for one in made if (one.resource, one.verb) == ("secrets", "create")]
    # Those who were at it when the first refusal came may have tried as well, and no one twice.
    assert len(creations) <= 12
    assert len([one for one in made if one.resource == "secrets"]) <= 12 + len(creations)


def test_nothing_waits_for_an_operator_that_does_not_run(
    lonely_world: World, alone: StartAlone
) -> None:
    world = lonely_world
    world.operator = alone()
    world.put("a", "1")
    for number, policy in enumerate(("Owner", "Orphan", "CreateOrMerge")):
        target = {"creationPolicy": policy}
        world.external_secret(f"x{number}", target=target, data=entries(world, "a"))
    for number in range(3):
        world.wait_ready(f"x{number}")
    assert world.operator.stop() == 0

    world.delete("ExternalSecret", "x0")
    world.wait(lambda: world.find("ExternalSecret", "x0") is None, "it is gone")
    world.wait(lambda: world.data("x0") is None, "and so is its Secret")
    assert world.data("x1") == {"a": b"1"}
    world.clear()
    world.wait(lambda: world.api.get("Namespace", world.namespace) is None, "the namespace is gone")
