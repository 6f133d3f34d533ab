"""ClusterExternalSecrets: where an ExternalSecret is made, changed and deleted, and where never."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.apiserver import Call, FakeApiServer, Refusal
from support.clock import FakeClock
from support.engine import Engine, living
from support.objects import (
    cluster_external_secret_body,
    external_secret_body,
    namespace_body,
    store_body,
)
from support.provider import MemoryProvider
from syncret.api.clusterexternalsecret import parse_cluster_external_secret
from syncret.constants import FORCE_SYNC_ANNOTATION, STAMP_ANNOTATION
from syncret.reconcile.stampplan import stamp_patch
from unit.reconcile.opened import until
from unit.reconcile.payments import remote, writes

NAME = "everywhere"
TEAMS = ("team-a", "team-b", "team-c")
BY_LABEL = [{"matchLabels": {"secrets": "yes"}}]


@pytest.fixture
def world(cluster: FakeApiServer) -> FakeApiServer:
    """Three namespaces that are selected, one that is not, and a store for all."""
    for team in TEAMS:
        cluster.put("namespaces", namespace_body(team, secrets="yes"))
    cluster.put("namespaces", namespace_body("other"))
    cluster.put(
        "clustersecretstores", store_body(namespace="", conditions=({"namespaceSelector": {}},))
    )
    return cluster


@pytest.fixture
async def engine(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> AsyncIterator[Engine]:
    provider.values["app/db"] = remote()
    async with living(world, provider=provider, clock=clock) as engine:
        yield engine


def want(world: FakeApiServer, **fields: Any) -> None:
    body = cluster_external_secret_body(**{"namespaceSelectors": BY_LABEL, **fields})
    if world.has("clusterexternalsecrets", "", NAME):
        world.edit("clusterexternalsecrets", "", NAME, body)
    else:
        world.put("clusterexternalsecrets", body)


async def rest(engine: Engine) -> None:
    """Until what was gathered is done."""
    for _ in range(4):
        await engine.advance(0.3)


def where(world: FakeApiServer, name: str = NAME) -> list[str]:
    places = (place for place in world.objects if place.plural == "externalsecrets")
    return sorted(place.namespace for place in places if place.name == name)


def status(world: FakeApiServer) -> dict[str, Any]:
    return dict(world.get("clusterexternalsecrets", "", NAME)["status"])


def told(world: FakeApiServer) -> tuple[str, str, str]:
    (ready,) = status(world)["conditions"]
    return ready["status"], ready["reason"], ready["message"]


async def test_every_selected_namespace_gets_one(engine: Engine, world: FakeApiServer) -> None:
    want(world, externalSecretMetadata={"labels": {"l": "1"}, "annotations": {"a": "2"}})
    await rest(engine)
    assert where(world) == list(TEAMS)
    made = world.get("externalsecrets", "team-a", NAME)
    parent = world.get("clusterexternalsecrets", "", NAME)
    assert made["spec"] == parent["spec"]["externalSecretSpec"]
    assert made["metadata"]["labels"] == {"l": "1"}
    assert made["metadata"]["annotations"].keys() == {"a", STAMP_ANNOTATION}
    assert made["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "syncret.io/v1alpha1",
            "kind": "ClusterExternalSecret",
            "name": NAME,
            "uid": parent["metadata"]["uid"],
            "controller": True,
        }
    ]
    assert "finalizers" not in made["metadata"]
    assert "finalizers" not in parent["metadata"]
    for team in TEAMS:
        assert world.secret(team, NAME)["password"] == b"hunter2-not-real"
    assert status(world)["provisionedNamespaces"] == list(TEAMS)
    assert told(world) == (
        "True",
        "Provisioned",
        'The ExternalSecret "everywhere" is in every selected namespace: 3 of them.',
    )


async def test_an_unchanged_round_makes_no_request(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    want(world)
    await rest(engine)
    calls = len(world.calls)
    for key in [one.key for one in engine.cache.cluster_external_secrets]:
        engine.queue.add(key)
    await rest(engine)
    async with living(world, provider=provider, clock=clock) as again:  # nor does a restart
        await again.settle()
        await again.advance(1)
    assert len(world.calls) == calls


async def test_all_of_them_wait_for_each_other_and_are_one_read(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    engine.stores._waits["patience"] = 1.0
    want(world)
    engine.watch()
    while not any(key.kind == "ExternalSecret" for key in engine.queue._ready):
        await engine.work()
        engine.watch()
    workers = [asyncio.create_task(engine.work()) for _ in TEAMS]
    await until(lambda: len(engine.queue._running) == len(TEAMS))
    await asyncio.sleep(0.05)
    assert provider.reads == 0
    clock.advance(1)
    await asyncio.wait_for(asyncio.gather(*workers), 5)
    assert provider.reads == 1
    for team in TEAMS:
        assert world.secret(team, NAME)["password"] == b"hunter2-not-real"


async def test_labels_decide_from_moment_to_moment(engine: Engine, world: FakeApiServer) -> None:
    want(world)
    await rest(engine)
    world.edit("namespaces", "", "other", {"metadata": {"labels": {"secrets": "yes"}}})
    world.edit("namespaces", "", "team-b", {"metadata": {"labels": {"secrets": "no"}}})
    world.put("namespaces", namespace_body("new", secrets="yes"))
    world.put("namespaces", namespace_body("newer"))
    await rest(engine)
    assert where(world) == ["new", "other", "team-a", "team-c"]
    assert status(world)["provisionedNamespaces"] == ["new", "other", "team-a", "team-c"]
    world.edit("namespaces", "", "team-b", {"metadata": {"labels": {"secrets": "yes"}}})
    await rest(engine)
    assert "team-b" in where(world)


async def test_names_select_as_well_and_also_what_comes_later(
    engine: Engine, world: FakeApiServer
) -> None:
    want(world, namespaces=["other", "later"], namespaceSelectors=[])
    await rest(engine)
    assert where(world) == ["other"]
    world.put("namespaces", namespace_body("later"))
    await rest(engine)
    assert where(world) == ["later", "other"]


async def test_an_edit_reaches_all_of_them(engine: Engine, world: FakeApiServer) -> None:
    want(world, spec={"refreshInterval": "5m", "rollout": {"mode": "None"}})
    await rest(engine)
    spec = {"refreshInterval": "10m", "rollout": None}
    world.edit("clusterexternalsecrets", "", NAME, {"spec": {"externalSecretSpec": spec}})
    await rest(engine)
    for team in TEAMS:
        made = world.get("externalsecrets", team, NAME)["spec"]
        assert made["refreshInterval"] == "10m"
        assert "rollout" not in made


@pytest.mark.parametrize(
    "edit",
    [
        {"spec": {"refreshInterval": "1s"}},
        {"spec": {"target": {"name": "elsewhere"}}},
        {"spec": {"dataFrom": None}},
        {"metadata": {"labels": {"l": "other"}}},
        {"metadata": {"labels": None}},
        {"metadata": {"annotations": {STAMP_ANNOTATION: None}}},
    ],
)
async def test_what_somebody_changes_in_one_of_them_is_set_back(
    engine: Engine, world: FakeApiServer, edit: dict[str, Any]
) -> None:
    want(world, externalSecretMetadata={"labels": {"l": "1"}})
    await rest(engine)
    before = world.get("externalsecrets", "team-a", NAME)
    world.edit("externalsecrets", "team-a", NAME, edit)
    await rest(engine)
    after = world.get("externalsecrets", "team-a", NAME)
    assert after["spec"] == before["spec"]
    for part in ("labels", "annotations"):
        assert after["metadata"][part] == before["metadata"][part]


async def test_what_somebody_adds_to_its_labels_stays(engine: Engine, world: FakeApiServer) -> None:
    want(world)
    await rest(engine)
    before = writes(world)
    world.edit("externalsecrets", "team-a", NAME, {"metadata": {"labels": {"theirs": "1"}}})
    await rest(engine)
    assert world.get("externalsecrets", "team-a", NAME)["metadata"]["labels"] == {"theirs": "1"}
    assert writes(world) == before


async def test_one_that_is_deleted_is_made_again(engine: Engine, world: FakeApiServer) -> None:
    want(world)
    await rest(engine)
    world.remove("externalsecrets", "team-a", NAME)
    await rest(engine)
    assert where(world) == list(TEAMS)


async def test_what_it_does_not_own_is_never_touched(engine: Engine, world: FakeApiServer) -> None:
    theirs = external_secret_body(NAME, namespace="team-b", refreshInterval="9m", data=[])
    del theirs["metadata"]["uid"]
    before = world.put("externalsecrets", theirs)
    want(world)
    await rest(engine)
    assert where(world) == list(TEAMS)
    after = world.get("externalsecrets", "team-b", NAME)
    assert after["spec"] == before["spec"]
    assert "ownerReferences" not in after["metadata"]
    assert status(world)["provisionedNamespaces"] == ["team-a", "team-c"]
    (failed,) = status(world)["failedNamespaces"]
    assert (failed["namespace"], failed["reason"]) == ("team-b", "ExternalSecretNotOwned")
    assert told(world) == ("False", "ExternalSecretNotOwned", failed["message"])
    assert (
        'The ExternalSecret "everywhere" in namespace "team-b" was not made by'
        in (failed["message"])
    )
    tried = [c for c in world.calls if c.method == "POST" and c.place.namespace == "team-b"]
    assert [c for c in tried if c.place.plural == "externalsecrets"] == []
    # Nor when the namespace is not selected any more.
    world.edit("namespaces", "", "team-b", {"metadata": {"labels": {"secrets": "no"}}})
    await rest(engine)
    assert where(world) == list(TEAMS)
    assert told(world)[0] == "True"
    assert status(world)["failedNamespaces"] == []
    # The name becomes free.
    world.edit("namespaces", "", "team-b", {"metadata": {"labels": {"secrets": "yes"}}})
    await rest(engine)
    world.remove("externalsecrets", "team-b", NAME)
    await rest(engine)
    assert status(world)["provisionedNamespaces"] == list(TEAMS)


async def test_one_that_another_one_made_is_not_its_own(
    engine: Engine, world: FakeApiServer
) -> None:
    want(world)
    await rest(engine)
    body = cluster_external_secret_body(
        "second", namespaces=["team-a"], externalSecretName=NAME, spec={"refreshInterval": "3m"}
    )
    world.put("clusterexternalsecrets", body)
    await rest(engine)
    (failed,) = world.get("clusterexternalsecrets", "", "second")["status"]["failedNamespaces"]
    assert failed["reason"] == "ExternalSecretNotOwned"
    assert "refreshInterval" not in world.get("externalsecrets", "team-a", NAME)["spec"]
    world.remove("clusterexternalsecrets", "", "second")
    await rest(engine)
    assert where(world) == list(TEAMS)


async def test_somebody_who_is_faster_keeps_his(engine: Engine, world: FakeApiServer) -> None:
    def make_theirs(call: Call) -> None:
        if call.place.namespace == "team-b":
            body = external_secret_body(NAME, namespace="team-b", data=[])
            world.put("externalsecrets", body)

    world.intercept("POST", "externalsecrets", make_theirs, times=3)
    want(world)
    await rest(engine)
    assert [one["namespace"] for one in status(world)["failedNamespaces"]] == ["team-b"]
    assert "ownerReferences" not in world.get("externalsecrets", "team-b", NAME)["metadata"]


async def test_another_name_moves_all_of_them(engine: Engine, world: FakeApiServer) -> None:
    want(world)
    await rest(engine)
    world.edit("clusterexternalsecrets", "", NAME, {"spec": {"externalSecretName": "renamed"}})
    await rest(engine)
    assert where(world) == []
    assert where(world, "renamed") == list(TEAMS)


async def test_a_failure_in_one_namespace_stops_no_other_and_is_tried_again(
    engine: Engine, world: FakeApiServer
) -> None:
    def refuse(call: Call) -> Refusal | None:
        return Refusal(403, "Forbidden") if call.place.namespace in {"team-a", "team-b"} else None

    world.intercept("POST", "externalsecrets", refuse, times=3)
    want(world)
    await engine.settle()
    assert status(world)["provisionedNamespaces"] == ["team-c"]
    state, reason, message = told(world)
    assert (state, reason) == ("False", "Forbidden")
    assert message.startswith("2 namespaces are not as they should be (status.failedNamespaces")
    await engine.advance(2)
    assert where(world) == list(TEAMS)
    assert told(world)[0] == "True"


async def test_a_request_for_a_sync_is_passed_on(engine: Engine, world: FakeApiServer) -> None:
    want(world)
    await rest(engine)
    ask = {"metadata": {"annotations": {FORCE_SYNC_ANNOTATION: "now"}}}
    world.edit("clusterexternalsecrets", "", NAME, ask)
    await rest(engine)
    for team in TEAMS:
        annotations = world.get("externalsecrets", team, NAME)["metadata"]["annotations"]
        assert annotations[FORCE_SYNC_ANNOTATION] == "now"


async def test_a_namespace_that_is_being_deleted_is_left_alone(
    engine: Engine, world: FakeApiServer
) -> None:
    want(world)
    await rest(engine)
    world.edit(
        "namespaces", "", "team-a", {"metadata": {"deletionTimestamp": "2031-01-01T00:00:00Z"}}
    )
    world.remove("externalsecrets", "team-a", NAME)
    await rest(engine)
    assert where(world) == ["team-b", "team-c"]
    assert told(world)[0] == "True"


async def test_nothing_is_done_once_it_is_deleted(engine: Engine, world: FakeApiServer) -> None:
    """The garbage collector takes what it made; making it again would go on for ever."""
    want(world)
    await rest(engine)
    world.remove("clusterexternalsecrets", "", NAME)
    for team in TEAMS:
        world.remove("externalsecrets", team, NAME)
    before = writes(world)
    await rest(engine)
    assert where(world) == []
    assert writes(world) == before


async def test_without_the_namespaces_nothing_is_deleted_and_it_says_so(
    engine: Engine, world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    want(world)
    await rest(engine)
    life = living(world, provider=provider, clock=clock, may_list_namespaces=False)
    async with life as blind:
        await blind.settle()
        await blind.advance(5)
        assert told(world)[0] == "True"  # for a moment that is nothing to tell
        for _ in range(7):
            await blind.advance(1)
        assert where(world) == list(TEAMS)
        assert told(world)[:2] == ("False", "NamespaceUnknown")
        blind.may_list_namespaces = True
        await rest(blind)
        assert told(world)[0] == "True"


async def test_a_selector_that_cannot_be_is_told(engine: Engine, world: FakeApiServer) -> None:
    want(world, namespaceSelectors=[{"matchExpressions": [{"key": "a", "operator": "Is"}]}])
    await rest(engine)
    state, reason, message = told(world)
    assert (state, reason) == ("False", "SpecInvalid")
    assert message.startswith("spec.namespaceSelectors[0].matchExpressions[0].operator must be")
    assert where(world) == []


async def test_a_store_of_another_class_is_another_operator_s(
    world: FakeApiServer, provider: MemoryProvider, clock: FakeClock
) -> None:
    world.edit("clustersecretstores", "", "aws", {"spec": {"controller": "blue"}})
    want(world)
    async with living(world, provider=provider, clock=clock) as engine:
        await rest(engine)
        assert where(world) == []
        assert "status" not in world.get("clusterexternalsecrets", "", NAME)


def test_a_patch_takes_away_what_we_set_and_keeps_what_others_did() -> None:
    wanted = parse_cluster_external_secret(
        {
            **cluster_external_secret_body(
                externalSecretMetadata={"labels": {"kept": "1"}}, namespaces=["a"]
            ),
            "metadata": {"name": NAME, "uid": "u"},
        }
    )
    fields: dict[str, Any] = {
        "f:labels": {".": {}, "f:kept": {}, "f:dropped": {}},
        "f:annotations": {"f:old": {}},
    }
    body = {
        "metadata": {
            "namespace": "a",
            "uid": "child",
            "resourceVersion": "7",
            "labels": {"kept": "0", "dropped": "x", "theirs": "y"},
            "annotations": {"old": "x", "theirs": "y"},
            "managedFields": [
                {"manager": "syncret-stamp", "fieldsV1": {"f:metadata": fields}},
                {"manager": "kubectl", "fieldsV1": {"f:metadata": {"f:labels": {"f:theirs": {}}}}},
            ],
        },
        "spec": {**wanted.spec, "extra": {"a": 1}},
    }
    patch = stamp_patch(wanted, body, manager="syncret-stamp")
    assert patch["metadata"]["labels"] == {"kept": "1", "dropped": None}
    assert patch["metadata"]["annotations"] == {STAMP_ANNOTATION: wanted.stamp, "old": None}
    assert patch["spec"] == {"extra": None}
    assert (patch["metadata"]["uid"], patch["metadata"]["resourceVersion"]) == ("child", "7")
