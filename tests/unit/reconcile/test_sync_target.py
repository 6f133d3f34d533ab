"""What the policies of the target make of the Secret, through whole rounds of the engine."""

import asyncio
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from support.apiserver import Call, FakeApiServer, Refusal, serving
from support.clock import FakeClock
from support.engine import Engine, living
from support.objects import secret_body, workload_body
from support.provider import MemoryProvider
from syncret.api.claims import parse_claims
from syncret.constants import KEYS_ANNOTATION, MANAGED_LABEL, OWNER_ANNOTATION
from syncret.errors import AccessDenied
from unit.reconcile.payments import (
    KEY,
    NAMESPACE,
    NEW_PASSWORD,
    PASSWORD,
    database,
    populate,
    ready,
    remote,
    restarts,
    status,
    writes,
)

MINUTES = 72.0  # later than any slot of a refresh interval of one minute
BOTH = {"user": b"app", "password": PASSWORD.encode()}
SHARED = "CreateOrMerge"


def spec(**target: Any) -> dict[str, Any]:
    """A spec with two single values, of which either may go missing."""
    entries = [
        {"secretKey": name, "remoteRef": {"key": f"app/{name}"}} for name in ("user", "password")
    ]
    return {"dataFrom": [], "data": entries, "target": target}


def put(world: FakeApiServer, one: str = "db", /, *, keys: str = "", **target: Any) -> None:
    """Makes an ExternalSecret, or edits it; ``keys``: the keys it fills, each from app/<key>."""
    wanted = spec(**target)
    if keys:
        wanted["data"] = [
            {"secretKey": key, "remoteRef": {"key": f"app/{key}"}} for key in keys.split()
        ]
    body = database(**wanted)
    body["metadata"] |= {"name": one, "uid": f"uid-of-{one}"}
    if world.has("externalsecrets", NAMESPACE, one):
        world.edit("externalsecrets", NAMESPACE, one, {"spec": {**body["spec"]}})
    else:
        world.put("externalsecrets", body)


def meta(world: FakeApiServer, name: str = "db") -> dict[str, Any]:
    return dict(world.get("secrets", NAMESPACE, name)["metadata"])


def owners(world: FakeApiServer, name: str = "db") -> list[str]:
    return [one["name"] for one in meta(world, name).get("ownerReferences") or ()]


def claims(world: FakeApiServer, name: str) -> dict[str, tuple[str, ...]]:
    text = (meta(world, name).get("annotations") or {}).get(KEYS_ANNOTATION, "")
    found = parse_claims(text, namespace=NAMESPACE, secret=name)
    return {one: claim.keys for one, claim in found.items()}


def told(world: FakeApiServer, name: str) -> dict[str, Any]:
    (condition,) = world.get("externalsecrets", NAMESPACE, name)["status"]["conditions"]
    return dict(condition)


def values(**more: bytes) -> dict[str, bytes]:
    return {"app/db": remote(), "app/user": b"app", "app/password": PASSWORD.encode(), **more}


@pytest.fixture
def provider() -> MemoryProvider:
    return MemoryProvider(
        values=values() | {f"app/{key}": key.encode() for key in ("a", "b", "c", "d")}
    )


@pytest.fixture
def world(cluster: FakeApiServer) -> FakeApiServer:
    populate(cluster)
    cluster.remove("externalsecrets", NAMESPACE, "db")
    return cluster


# Creation


async def test_orphan_and_a_retain_that_is_said_make_a_secret_that_stays(
    engine: Engine, world: FakeApiServer
) -> None:
    put(world, "orphan", creationPolicy="Orphan")
    put(world, "kept", deletionPolicy="Retain")
    put(world, "owned")
    await engine.settle()
    assert (owners(world, "orphan"), owners(world, "kept")) == ([], [])
    assert owners(world, "owned") == ["owned"]
    for name in ("orphan", "kept", "owned"):
        assert world.secret(NAMESPACE, name) == BOTH
        world.remove("externalsecrets", NAMESPACE, name)
    before = writes(world)
    await engine.advance(MINUTES)
    assert world.has("secrets", NAMESPACE, "orphan")
    assert world.has("secrets", NAMESPACE, "kept")
    assert not world.has("secrets", NAMESPACE, "owned")
    assert writes(world) == before, "nothing has to be done"
    # Made again, it takes its Secret up again.
    put(world, "kept", keys="user", deletionPolicy="Retain")
    await engine.settle()
    assert world.secret(NAMESPACE, "kept") == {"user": b"app"}


async def test_retain_said_later_takes_the_owner_away_and_back(
    engine: Engine, world: FakeApiServer
) -> None:
    put(world)
    await engine.settle()
    others = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}
    ours = meta(world)["ownerReferences"]
    world.edit("secrets", NAMESPACE, "db", {"metadata": {"ownerReferences": [*ours, others]}})
    put(world, deletionPolicy="Retain")
    await engine.settle()
    assert owners(world) == ["x"], "the reference of others stays"
    put(world)
    world.edit("externalsecrets", NAMESPACE, "db", {"spec": {"target": None}})
    await engine.settle()
    assert owners(world) == ["x", "db"]


async def test_none_writes_no_secret_and_says_what_it_found(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.put("secrets", secret_body("db", {"x": b"theirs"}, owner="", managed=False))
    theirs = world.get("secrets", NAMESPACE, "db")
    put(world, creationPolicy="None")
    await engine.settle()
    assert world.get("secrets", NAMESPACE, "db") == theirs
    assert ready(world)["status"] == "True"
    assert "no Secret is written" in ready(world)["message"]
    reads, before = provider.reads, writes(world)
    engine.list()
    await engine.settle()
    assert provider.reads == reads
    await engine.advance(MINUTES)
    assert (provider.reads > reads, writes(world)) == (True, before)
    provider.values.pop("app/user")
    await engine.advance(MINUTES)
    assert ready(world)["reason"] == "KeyNotFound"


async def test_merge_waits_for_the_secret_without_reading_the_store(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    put(world, creationPolicy="Merge")
    await engine.settle()
    assert ready(world)["reason"] == "SecretNotThere"
    assert not world.has("secrets", NAMESPACE, "db")
    assert provider.reads == 0
    world.put("secrets", secret_body("db", {"theirs": b"x"}, owner="", managed=False))
    await engine.settle()  # it need not wait for the next attempt
    assert world.secret(NAMESPACE, "db") == {"theirs": b"x", **BOTH}
    assert meta(world)["labels"][MANAGED_LABEL] == "true"
    assert claims(world, "db") == {"db": ("password", "user")}
    assert owners(world) == []
    assert ready(world)["status"] == "True"


async def test_a_key_of_others_is_theirs_and_ours_are_kept_right(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.put("secrets", secret_body("db", {"theirs": b"x"}, owner="", managed=False))
    put(world, creationPolicy="Merge")
    await engine.settle()
    reads = provider.reads
    world.edit("secrets", NAMESPACE, "db", {"data": {"theirs": b64encode(b"y").decode()}})
    await engine.settle()
    assert provider.reads == reads
    world.edit("secrets", NAMESPACE, "db", {"data": {"user": None}})
    await engine.settle()
    assert provider.reads > reads
    assert world.secret(NAMESPACE, "db") == {"theirs": b"y", **BOTH}


async def test_several_share_a_secret_and_each_leaves_with_its_keys(
    engine: Engine, world: FakeApiServer
) -> None:
    put(world, "one", keys="a b", name="app", creationPolicy=SHARED)
    put(world, "two", keys="c", name="app", creationPolicy=SHARED)
    await engine.settle()
    assert world.secret(NAMESPACE, "app") == {"a": b"a", "b": b"b", "c": b"c"}
    assert claims(world, "app") == {"one": ("a", "b"), "two": ("c",)}
    put(world, "one", keys="a", name="app", creationPolicy=SHARED)
    await engine.settle()
    assert world.secret(NAMESPACE, "app") == {"a": b"a", "c": b"c"}
    world.remove("externalsecrets", NAMESPACE, "one")
    await engine.settle()
    assert world.secret(NAMESPACE, "app") == {"a": b"a", "c": b"c"}, "a namespace may be going"
    await engine.advance(3)
    assert world.secret(NAMESPACE, "app") == {"c": b"c"}
    world.remove("externalsecrets", NAMESPACE, "two")
    await engine.advance(3)
    await engine.advance(3)
    assert world.secret(NAMESPACE, "app") == {}
    assert MANAGED_LABEL not in (meta(world, "app").get("labels") or {})
    before = writes(world)
    await engine.advance(MINUTES)
    assert writes(world) == before


async def test_keys_stay_when_retain_is_said(engine: Engine, world: FakeApiServer) -> None:
    put(world, "one", keys="a", name="app", creationPolicy=SHARED, deletionPolicy="Retain")
    await engine.settle()
    world.remove("externalsecrets", NAMESPACE, "one")
    await engine.settle()
    await engine.advance(3)
    assert world.secret(NAMESPACE, "app") == {"a": b"a"}
    assert claims(world, "app") == {}


async def test_one_that_went_while_nobody_looked_leaves_after_the_restart(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    put(world, "one", keys="a b", name="app", creationPolicy=SHARED)
    put(world, "two", keys="c", name="app", creationPolicy=SHARED)
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
    world.remove("externalsecrets", NAMESPACE, "one")
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        await engine.advance(3)
    assert world.secret(NAMESPACE, "app") == {"c": b"c"}


async def test_one_whose_watch_is_late_keeps_its_keys(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    """The Secret is known before the ExternalSecret is: that does not mean that it is gone."""
    put(world, "one", keys="a", name="app", creationPolicy=SHARED)
    async with living(world, provider=provider, clock=clock) as engine:
        await engine.settle()
        key = KEY._replace(name="one")
        body = world.get("externalsecrets", NAMESPACE, "one")
        engine.cache.external_secrets.drop(key)
        engine.queue.add(key)
        await engine.settle()
        await engine.advance(3)
        assert world.secret(NAMESPACE, "app") == {"a": b"a"}
        engine.watcher.external_secret(body, False)
        await engine.advance(MINUTES)
        assert world.secret(NAMESPACE, "app") == {"a": b"a"}
        assert told(world, "one")["status"] == "True"


async def test_an_edit_is_made_although_a_repair_had_failed_before_it(
    engine: Engine, world: FakeApiServer
) -> None:
    put(world, keys="a")
    await engine.settle()
    world.intercept("PATCH", "secrets", Refusal(403, "Forbidden"), times=1)
    world.edit("secrets", NAMESPACE, "db", {"metadata": {"labels": None}})
    await engine.settle()
    assert ready(world)["reason"] == "Forbidden"
    put(world, keys="a b")
    await engine.settle()
    assert world.secret(NAMESPACE, "db") == {"a": b"a", "b": b"b"}
    assert ready(world)["status"] == "True"


async def test_a_copy_of_a_shared_secret_is_nobodys(engine: Engine, world: FakeApiServer) -> None:
    put(world, "one", keys="a", name="app", creationPolicy=SHARED)
    await engine.settle()
    copy = world.get("secrets", NAMESPACE, "app")
    copy["metadata"] = {**copy["metadata"], "name": "copy", "uid": "copy"}
    made = world.put("secrets", copy)
    await engine.settle()
    world.remove("externalsecrets", NAMESPACE, "one")
    await engine.settle()
    await engine.advance(3)
    assert world.secret(NAMESPACE, "app") == {}
    assert world.get("secrets", NAMESPACE, "copy")["data"] == made["data"]


async def test_a_key_belongs_to_who_filled_it_first(engine: Engine, world: FakeApiServer) -> None:
    put(world, "two", keys="a b", name="app", creationPolicy=SHARED)
    await engine.settle()
    put(world, "one", keys="b c", name="app", creationPolicy=SHARED)
    await engine.settle()
    assert told(world, "one")["reason"] == "KeyClaimed"
    assert '"two" fills "b"' in told(world, "one")["message"]
    assert told(world, "two")["status"] == "True"
    assert world.secret(NAMESPACE, "app") == {"a": b"a", "b": b"b"}
    put(world, "two", keys="a", name="app", creationPolicy=SHARED)
    await engine.settle()
    assert world.secret(NAMESPACE, "app") == {"a": b"a", "b": b"b", "c": b"c"}
    assert told(world, "one")["status"] == "True", "at once: who shares it has changed"


async def test_whole_and_shared_do_not_mix(engine: Engine, world: FakeApiServer) -> None:
    put(world, "whole", keys="a", name="app")
    await engine.settle()
    put(world, "part", keys="b", name="app", creationPolicy=SHARED)
    await engine.settle()
    assert told(world, "part")["reason"] == "SecretNotOwned"
    assert "CreateOrMerge" in told(world, "part")["message"]
    assert world.secret(NAMESPACE, "app") == {"a": b"a"}
    put(world, "whole", keys="a", name="app", creationPolicy=SHARED)
    await engine.advance(10)
    assert world.secret(NAMESPACE, "app") == {"a": b"a", "b": b"b"}
    assert owners(world, "app") == []
    put(world, "whole", keys="a", name="app", creationPolicy="Owner")
    await engine.settle()
    assert told(world, "whole")["reason"] == "SecretNotOwned"
    assert world.secret(NAMESPACE, "app") == {"a": b"a", "b": b"b"}


async def test_a_workload_of_a_shared_secret_is_restarted_once_for_each_change(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.put("deployments", workload_body("reader", uid="w-2", reads=("app",)))
    put(world, "one", keys="a", name="app", creationPolicy=SHARED)
    put(world, "two", keys="c", name="app", creationPolicy=SHARED)
    await engine.settle()
    first = restarts(world, "reader")
    await engine.advance(MINUTES)
    assert restarts(world, "reader") == first
    assert first <= 1, "the keys of the second are a change of the Secret"
    provider.values["app/a"] = b"changed"
    await engine.advance(MINUTES)
    assert restarts(world, "reader") == first + 1
    # Somebody meddles with a key of one: the other does not take that for a change.
    world.edit("secrets", NAMESPACE, "app", {"data": {"c": b64encode(b"by hand").decode()}})
    await engine.settle()
    assert world.secret(NAMESPACE, "app") == {"a": b"changed", "c": b"c"}
    assert restarts(world, "reader") == first + 1


# Adoption


async def test_a_secret_of_others_that_goes_makes_room_at_once(
    engine: Engine, world: FakeApiServer
) -> None:
    put(world)
    world.put("secrets", secret_body("db", {"theirs": b"x"}, owner="", managed=False))
    await engine.settle()
    assert ready(world)["reason"] == "SecretNotOwned"
    world.remove("secrets", NAMESPACE, "db")
    await engine.settle()
    assert world.secret(NAMESPACE, "db") == BOTH


async def test_a_secret_of_nobody_is_taken_over_if_it_is_handed_over(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    world.put("secrets", secret_body("db", {"theirs": b"x"}, owner="", managed=False))
    put(world)
    await engine.settle()
    assert ready(world)["reason"] == "SecretNotOwned"
    assert f"{OWNER_ANNOTATION}: db" in ready(world)["message"]
    assert world.secret(NAMESPACE, "db") == {"theirs": b"x"}
    reads = provider.reads
    for number in range(3):  # what does not concern us is no reason for an attempt
        world.edit(
            "secrets", NAMESPACE, "db", {"data": {"theirs": b64encode(bytes([number])).decode()}}
        )
        await engine.settle()
    assert provider.reads <= reads + 1
    world.edit("secrets", NAMESPACE, "db", {"metadata": {"annotations": {OWNER_ANNOTATION: "db"}}})
    await engine.settle()
    assert world.secret(NAMESPACE, "db") == BOTH
    assert owners(world) == ["db"]


async def test_what_others_control_is_not_taken_over_even_so(
    engine: Engine, world: FakeApiServer
) -> None:
    body = secret_body("db", {"theirs": b"x"}, owner="x", owner_name="x", managed=False)
    body["metadata"]["annotations"] = {OWNER_ANNOTATION: "db"}
    made = world.put("secrets", body)
    put(world)
    await engine.settle()
    assert ready(world)["reason"] == "SecretNotOwned"
    assert world.get("secrets", NAMESPACE, "db") == made


# Missing keys


@pytest.mark.parametrize("policy", ["Delete", "Merge"])
async def test_a_key_that_is_gone_is_removed(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, policy: str
) -> None:
    put(world, deletionPolicy=policy)
    await engine.settle()
    provider.values.pop("app/user")
    await engine.advance(MINUTES)
    assert world.secret(NAMESPACE, "db") == {"password": PASSWORD.encode()}
    assert status(world)["missing"] == [{"entry": "spec.data[0]", "key": "app/user"}]
    assert ready(world)["status"] == "True"
    assert f"left out (deletionPolicy {policy})" in ready(world)["message"]


async def test_delete_removes_the_secret_when_nothing_is_left_and_makes_it_again(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    put(world, deletionPolicy="Delete")
    await engine.settle()
    held = {key: provider.values.pop(key) for key in ("app/user", "app/password")}
    await engine.advance(MINUTES)
    assert not world.has("secrets", NAMESPACE, "db")
    assert (ready(world)["status"], ready(world)["reason"]) == ("False", "SecretDeleted")
    assert "keys" not in status(world) or not status(world)["keys"]
    before, reads = writes(world), provider.reads
    engine.list()
    await engine.settle()
    assert provider.reads == reads, "that it is not there is as it should be"
    await engine.advance(MINUTES)
    assert (writes(world), provider.reads > reads) == (before, True)
    provider.values |= held
    await engine.advance(MINUTES)
    assert world.secret(NAMESPACE, "db") == BOTH
    assert ready(world)["status"] == "True"


async def test_retain_keeps_the_secret_as_it_is(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    put(world)
    await engine.settle()
    provider.values.pop("app/user")
    await engine.advance(MINUTES)
    assert world.secret(NAMESPACE, "db") == BOTH
    assert ready(world)["reason"] == "KeyNotFound"


async def test_merge_keeps_an_empty_secret(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    put(world, deletionPolicy="Merge")
    await engine.settle()
    provider.values.clear()
    await engine.advance(MINUTES)
    assert world.secret(NAMESPACE, "db") == {}


# What Kubernetes does not change in place


async def test_an_immutable_secret_is_made_anew_with_other_data(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    put(world, immutable=True)
    await engine.settle()
    assert world.get("secrets", NAMESPACE, "db")["immutable"] is True
    uid, before = meta(world)["uid"], restarts(world)
    await engine.advance(MINUTES)
    assert meta(world)["uid"] == uid
    provider.values["app/password"] = NEW_PASSWORD.encode()
    await engine.advance(MINUTES)
    assert world.secret(NAMESPACE, "db") == {**BOTH, "password": NEW_PASSWORD.encode()}
    assert meta(world)["uid"] != uid
    assert world.get("secrets", NAMESPACE, "db")["immutable"] is True
    assert restarts(world) == before + 1


async def test_it_is_made_immutable_when_the_spec_says_so(
    engine: Engine, world: FakeApiServer
) -> None:
    put(world)
    await engine.settle()
    uid = meta(world)["uid"]
    put(world, immutable=True)
    await engine.settle()
    assert world.get("secrets", NAMESPACE, "db")["immutable"] is True
    assert meta(world)["uid"] == uid


async def test_it_is_not_deleted_before_the_api_server_would_take_the_new_one(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    put(world, immutable=True)
    await engine.settle()
    uid = meta(world)["uid"]
    provider.values["app/password"] = NEW_PASSWORD.encode()
    world.intercept("POST", "secrets", Refusal(403, "Forbidden"), times=3)
    await engine.advance(MINUTES)
    assert ready(world)["reason"] == "Forbidden"
    assert (meta(world)["uid"], world.secret(NAMESPACE, "db")) == (uid, BOTH)


async def test_what_was_taken_back_while_it_was_to_be_made_anew_is_not_deleted(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    put(world, immutable=True)
    await engine.settle()
    uid = meta(world)["uid"]
    provider.values["app/password"] = NEW_PASSWORD.encode()

    def take_back(_call: Call) -> None:
        body = {"metadata": {"annotations": None, "ownerReferences": None}}
        world.edit("secrets", NAMESPACE, "db", body)

    world.intercept("POST", "secrets", take_back)
    await engine.advance(MINUTES)
    assert ready(world)["reason"] == "SecretNotOwned"
    assert (meta(world)["uid"], world.secret(NAMESPACE, "db")) == (uid, BOTH)


async def test_what_was_made_immutable_by_hand_keeps_its_type_too(
    engine: Engine, world: FakeApiServer
) -> None:
    put(world)
    await engine.settle()
    body = world.get("secrets", NAMESPACE, "db")
    world.remove("secrets", NAMESPACE, "db")
    made = world.put("secrets", {**body, "type": "example.com/other", "immutable": True})
    await engine.settle()
    assert ready(world)["reason"] == "SecretTypeDiffers"
    assert world.get("secrets", NAMESPACE, "db") == made


async def test_nothing_is_restarted_with_what_was_edited_by_hand(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    put(world)
    await engine.settle()
    before = restarts(world)
    provider.failure = AccessDenied("The store refuses the credentials.")
    world.edit("secrets", NAMESPACE, "db", {"data": {"user": b64encode(b"x").decode()}})
    await engine.settle()
    assert ready(world)["reason"] == "AccessDenied"
    assert restarts(world) == before


async def test_a_finalizer_would_keep_it_so_it_is_not_deleted(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    put(world, immutable=True)
    await engine.settle()
    world.edit("secrets", NAMESPACE, "db", {"metadata": {"finalizers": ["example.com/x"]}})
    provider.values["app/password"] = NEW_PASSWORD.encode()
    await engine.advance(MINUTES)
    assert ready(world)["reason"] == "SecretImmutable"
    assert "deletionTimestamp" not in meta(world)


# Another name


async def test_the_former_secret_goes_once_the_new_one_is_there(
    engine: Engine, world: FakeApiServer
) -> None:
    put(world, name="old")
    await engine.settle()
    gone_at: list[bool] = []
    world.intercept(
        "DELETE", "secrets", lambda _call: gone_at.append(world.has("secrets", NAMESPACE, "new"))
    )
    put(world, name="new")
    await engine.settle()
    assert world.secret(NAMESPACE, "new") == BOTH
    assert not world.has("secrets", NAMESPACE, "old")
    assert gone_at == [True]
    assert status(world)["secretName"] == "new"
    assert "formerSecrets" not in status(world)


async def test_the_former_secret_stays_while_a_workload_reads_it(
    engine: Engine, world: FakeApiServer
) -> None:
    put(world)  # the Deployment reads "db"
    await engine.settle()
    put(world, name="new")
    await engine.settle()
    assert world.has("secrets", NAMESPACE, "db")
    assert status(world)["formerSecrets"] == ["db"]
    template = workload_body(reads=("another",))["spec"]["template"]
    world.edit("deployments", NAMESPACE, "api", {"spec": {"template": template}})
    await engine.settle()
    assert not world.has("secrets", NAMESPACE, "db")
    assert "formerSecrets" not in status(world)


async def test_the_former_secret_is_kept_for_retain_and_is_nobodys_then(
    engine: Engine, world: FakeApiServer
) -> None:
    put(world, name="old", deletionPolicy="Retain")
    await engine.settle()
    put(world, name="new", deletionPolicy="Retain")
    await engine.settle()
    assert world.secret(NAMESPACE, "old") == BOTH
    assert OWNER_ANNOTATION not in (meta(world, "old").get("annotations") or {})
    assert MANAGED_LABEL not in (meta(world, "old").get("labels") or {})


async def test_the_keys_in_a_former_shared_secret_go(engine: Engine, world: FakeApiServer) -> None:
    put(world, "one", keys="a", name="app", creationPolicy=SHARED)
    put(world, "two", keys="c", name="app", creationPolicy=SHARED)
    await engine.settle()
    put(world, "one", keys="a", name="other", creationPolicy=SHARED)
    await engine.settle()
    assert world.secret(NAMESPACE, "app") == {"c": b"c"}
    assert world.secret(NAMESPACE, "other") == {"a": b"a"}


async def test_a_copy_of_the_secret_is_not_the_former_one(
    engine: Engine, world: FakeApiServer
) -> None:
    put(world, name="old")
    await engine.settle()
    copy = world.get("secrets", NAMESPACE, "old")
    copy["metadata"] = {**copy["metadata"], "name": "copy", "uid": "copy"}
    world.put("secrets", copy)
    put(world, name="new")
    await engine.settle()
    assert world.has("secrets", NAMESPACE, "copy")
    assert not world.has("secrets", NAMESPACE, "old")


# Drift


@pytest.mark.parametrize(
    "meddling",
    [
        {"metadata": {"labels": None}},
        {"metadata": {"ownerReferences": None}},
        {"metadata": {"annotations": None}},
        {"metadata": {"labels": None, "annotations": None}},
        {"data": {"added": b64encode(b"by hand").decode()}},
    ],
    ids=["label", "owner", "annotation", "label and annotation", "key"],
)
async def test_what_can_be_had_elsewhere_is_put_right_without_the_store(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, meddling: dict[str, Any]
) -> None:
    put(world)
    await engine.settle()
    before, reads, started = meta(world), provider.reads, restarts(world)
    said = status(world)
    provider.failure = AccessDenied("Nothing is to be asked.")
    world.edit("secrets", NAMESPACE, "db", meddling)
    await engine.settle()
    after = meta(world)
    for part in ("labels", "annotations", "ownerReferences"):
        assert after[part] == before[part]
    assert world.secret(NAMESPACE, "db") == BOTH
    assert provider.reads == reads
    assert restarts(world) == started
    assert status(world) == said
    assert ("ExternalSecret", "Repaired") in [event[:2] for event in world.events()]


@pytest.mark.parametrize("meddling", ["edited", "deleted"])
async def test_a_value_takes_one_read(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, meddling: str
) -> None:
    put(world)
    await engine.settle()
    reads = provider.reads
    if meddling == "deleted":
        world.remove("secrets", NAMESPACE, "db")
    else:
        world.edit("secrets", NAMESPACE, "db", {"data": {"user": b64encode(b"x").decode()}})
    await engine.settle()
    assert world.secret(NAMESPACE, "db") == BOTH
    assert provider.reads == reads + 1


async def test_the_record_of_a_shared_secret_is_put_back_without_the_store(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    put(world, "one", keys="a", name="app", creationPolicy=SHARED)
    put(world, "two", keys="c", name="app", creationPolicy=SHARED)
    await engine.settle()
    reads = provider.reads
    world.edit("secrets", NAMESPACE, "app", {"metadata": {"annotations": None, "labels": None}})
    await engine.settle()
    assert claims(world, "app") == {"one": ("a",), "two": ("c",)}
    assert provider.reads == reads


# A namespace that is being deleted


async def test_a_namespace_that_is_being_deleted_is_left_in_peace(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider
) -> None:
    for name in ("one", "two", "three"):
        put(world, name)
    await engine.settle()

    def terminating(_call: Call) -> Refusal:
        return Refusal(403, "Forbidden", cause="NamespaceTerminating")

    world.intercept("POST", "secrets", terminating, times=100)
    for name in ("one", "two", "three"):
        world.remove("secrets", NAMESPACE, name)
    calls, reads = len(world.calls), provider.reads
    await engine.settle()
    await engine.advance(30)
    made = [call for call in world.calls[calls:] if call.place.plural == "secrets"]
    assert len([call for call in made if call.method == "POST"]) == 1
    assert provider.reads <= reads + 1


# The operator's own end


@pytest.mark.parametrize("scenario", ["rename", "retype", "immutable", "leave", "merge", "delete"])
async def test_a_life_may_end_after_any_request(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock, scenario: str
) -> None:
    """Whatever was done by then, the next life comes to the same end."""
    ends: list[dict[str, dict[str, bytes]]] = []
    for write in range(12):
        for after in (False, True):
            again = await _end_of(scenario, provider, clock, write=write, after=after)
            if again is not None:
                ends.append(again)
    assert len(ends) > 3
    assert all(end == ends[0] for end in ends)


async def _end_of(
    scenario: str, provider: MemoryProvider, clock: FakeClock, *, write: int, after: bool
) -> dict[str, dict[str, bytes]] | None:
    """The Secrets in the end, of lives of which the first dies; None: it did not come to that."""
    provider.values.update(values() | {"app/a": b"a", "app/c": b"c"})
    async with serving() as world:
        populate(world)
        world.remove("externalsecrets", NAMESPACE, "db")
        before, change = _SCENARIOS[scenario]
        before(world)
        async with living(world, provider=provider, clock=clock) as engine:
            await engine.settle()
        change(world, provider)
        died = not write
        async with living(world, provider=provider, clock=clock) as engine:
            if write:
                died = await _work_until(engine, world, write=write, after=after)
            else:
                await engine.settle()
        if not died:
            return None
        for _ in range(2):
            async with living(world, provider=provider, clock=clock) as engine:
                await engine.settle()
                for _ in range(3):
                    await engine.advance(MINUTES)
        quiet = len([call for call in world.calls if call.writes])
        async with living(world, provider=provider, clock=clock) as engine:
            await engine.settle()
        assert len([call for call in world.calls if call.writes]) == quiet
        return {
            place.name: world.secret(NAMESPACE, place.name)
            for place in world.objects
            if place.plural == "secrets"
        }


async def _work_until(engine: Engine, world: FakeApiServer, *, write: int, after: bool) -> bool:
    async def work() -> None:
        await engine.settle()
        for _ in range(3):
            await engine.advance(MINUTES)

    working = asyncio.ensure_future(work())
    count = 0

    def kill(_call: Call) -> Refusal | None:
        nonlocal count
        count += 1
        if count < write:
            return None
        working.cancel()
        return Refusal(500)

    world.intercept_writes(kill, times=write, after=after)
    await asyncio.wait([working])
    return working.cancelled()


def _rename(world: FakeApiServer, _provider: MemoryProvider) -> None:
    put(world, name="new")


def _other_password(_world: FakeApiServer, provider: MemoryProvider) -> None:
    provider.values["app/password"] = NEW_PASSWORD.encode()


def _leave(world: FakeApiServer, _provider: MemoryProvider) -> None:
    world.remove("externalsecrets", NAMESPACE, "one")


def _two(world: FakeApiServer) -> None:
    put(world, "one", keys="a", name="app", creationPolicy=SHARED)
    put(world, "two", keys="c", name="app", creationPolicy=SHARED)


def _retype(world: FakeApiServer, _provider: MemoryProvider) -> None:
    """Made anew by hand with another type, and our marks."""
    body = world.get("secrets", NAMESPACE, "db")
    world.remove("secrets", NAMESPACE, "db")
    world.put("secrets", {**body, "type": "example.com/other"})


_SCENARIOS: dict[
    str,
    tuple[Callable[[FakeApiServer], None], Callable[[FakeApiServer, MemoryProvider], None]],
] = {
    "rename": (lambda world: put(world, name="old"), _rename),
    "retype": (put, _retype),
    "immutable": (lambda world: put(world, immutable=True), _other_password),
    "leave": (_two, _leave),
    "merge": (lambda _world: None, lambda world, _provider: _two(world)),
    "delete": (
        lambda world: put(world, deletionPolicy="Delete"),
        lambda _world, provider: provider.values.clear(),
    ),
}
