"""Stores: who may read what, with which credentials, and how soon a change is seen.

A row of a table is a store's ``conditions``, the namespace's labels, what is read, and what comes
of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from contract.proxy import Proxy
from integration import manifests
from integration.audit import Audit
from integration.conftest import StartAlone
from integration.manifests import entry
from integration.world import World, Worlds

Body = dict[str, Any]
LABEL = "example.com/team"


@dataclass(frozen=True)
class Row:
    """``{me}`` in texts is the namespace's name. ``reads``: the key, without the namespace."""

    name: str
    conditions: tuple[Body, ...]
    reason: str = "Synced"
    labels: dict[str, str] = field(default_factory=dict)
    reads: str = "k"


def by_label(**labels: str) -> Body:
    return {
        "namespaceSelector": {"matchLabels": {f"example.com/{k}": v for k, v in labels.items()}}
    }


ANY: Body = {"namespaceSelector": {}}
ROWS = (
    Row("nobody", (), "StoreNotAllowed"),
    Row("a-name", ({"namespaces": ["other", "{me}"]},)),
    Row("another-name", ({"namespaces": ["other"]},), "StoreNotAllowed"),
    Row("a-regex", ({"namespaceRegexes": ["x", "{me}|y"]},)),
    Row("a-part-of-a-regex", ({"namespaceRegexes": ["regex"]},), "StoreNotAllowed"),
    Row("everybody", (ANY,)),
    Row("a-label", (by_label(team="a"),), labels={LABEL: "a"}),
    Row("another-label", (by_label(team="a"),), "StoreNotAllowed", labels={LABEL: "b"}),
    Row(
        "an-expression",
        (
            {
                "namespaceSelector": {
                    "matchExpressions": [{"key": LABEL, "operator": "NotIn", "values": ["b"]}]
                }
            },
        ),
        labels={LABEL: "a"},
    ),
    Row("any-entry", (by_label(team="b"), {"namespaces": ["{me}"]})),
    Row("a-key", ({**ANY, "remoteKeys": ["{me}/k"]},)),
    Row("keys-of-its-own", ({**ANY, "remoteKeys": ["{namespace}/*"]},)),
    Row("keys-of-others", ({**ANY, "remoteKeys": ["other/*"]},), "KeyNotAllowed"),
    Row("a-way-around", ({**ANY, "remoteKeys": ["{namespace}/*"]},), "KeyNotAllowed", reads="../x"),
    Row("keys-of-any-entry", ({**ANY, "remoteKeys": ["other/*"]}, {"namespaces": ["{me}"]})),
    Row(
        "keys-of-an-entry-for-others",
        ({"namespaces": ["{me}"], "remoteKeys": ["no"]}, {"namespaces": ["other"]}),
        "KeyNotAllowed",
    ),
)


def filled(value: Any, me: str) -> Any:
    """The same with the namespace's name in its texts."""
    match value:
        case str():
            return value.replace("{me}", me)
        case dict():
            return {key: filled(item, me) for key, item in value.items()}
        case list() | tuple():
            return [filled(item, me) for item in value]
        case _:
            return value


@pytest.fixture
def other(worlds: Worlds) -> Iterator[World]:
    world = worlds.new("other")
    yield world
    world.clear()


def label(world: World, labels: dict[str, str | None]) -> None:
    world.api.patch("Namespace", world.namespace, {"metadata": {"labels": labels}})


def shared(world: World) -> str:
    return f"shared-{world.namespace}"


def offer(
    world: World, *conditions: Body, endpoint: str = "", own: bool = False, **spec: Any
) -> None:
    """The shared store of a world. ``own``: with the credentials of whoever reads."""
    world.apply(
        manifests.cluster_store(
            shared(world),
            endpoint or world.endpoint,
            credentials_in="" if own else world.namespace,
            conditions=filled(list(conditions), world.namespace),
            **spec,
        )
    )


def read(world: World, key: str = "k", *, of: World | None = None, interval: str = "1h") -> None:
    """An ExternalSecret that reads from the shared store of a world, its own if not given."""
    reference = {"name": shared(of or world), "kind": "ClusterSecretStore"}
    world.external_secret(
        data=[entry("k", (of or world).key(key))], secretStoreRef=reference, interval=interval
    )


def asked(proxy: Proxy) -> int:
    """How often secrets were read from AWS; checks of stores do not count."""
    return sum(
        b"syncret/store-check" not in request.raw
        for request in proxy.requests
        if request.headers.get("X-Amz-Target", "").endswith("SecretValue")
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_who_may_read_what(world: World, proxy: Proxy, row: Row) -> None:
    world.put("k", "v")
    label(world, dict(row.labels))
    offer(world, *row.conditions, endpoint=proxy.url)

    read(world, row.reads)

    good = row.reason == "Synced"
    world.wait_ready(status=str(good), reason=row.reason)
    assert world.data() == ({"k": b"v"} if good else None)
    if not good:
        assert asked(proxy) == 0


def test_a_label_gives_and_takes_the_right_at_once(world: World) -> None:
    """The ExternalSecret is refreshed once an hour: nothing but the label can have done it."""
    world.put("k", "v")
    offer(world, by_label(team="a"))
    read(world)
    world.wait_ready(status="False", reason="StoreNotAllowed")

    label(world, {LABEL: "a"})
    world.wait_ready()
    label(world, {LABEL: None})
    world.wait_ready(status="False", reason="StoreNotAllowed")

    assert world.data() == {"k": b"v"}


def test_keys_that_are_taken_away_are_refused_at_once(world: World) -> None:
    world.put("k", "v")
    offer(world, ANY)
    read(world)
    world.wait_ready()

    offer(world, {**ANY, "remoteKeys": ["nothing"]})
    ready = world.wait_ready(status="False", reason="KeyNotAllowed")

    assert f'does not let the namespace "{world.namespace}" read' in ready["message"]
    assert world.data() == {"k": b"v"}


def test_every_namespace_reads_with_a_credential_of_its_own(
    world: World, other: World, proxy: Proxy
) -> None:
    world.put("k", "v")
    other.apply(manifests.credentials(other.namespace, id="theirs"))
    offer(world, ANY, endpoint=proxy.url, own=True)
    for each in (world, other):
        read(each, of=world)
    for each in (world, other):
        each.wait_ready()

    signed = {
        request.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
        for request in proxy.requests
    }
    assert len(signed) == 2
    assert "theirs" in signed
    (ready,) = (world.api.get("ClusterSecretStore", shared(world)) or {})["status"]["conditions"]
    assert (ready["status"], ready["reason"]) == ("True", "Referent")

    # One of them loses its credential: it is told there, and nobody else is concerned. The watch
    # may tell of the loss a little late, so there is another read soon.
    before = other.ready()
    world.delete("Secret", "aws")
    world.external_secret(
        "late",
        data=[entry("k", world.key("k"))],
        secretStoreRef={"name": shared(world), "kind": "ClusterSecretStore"},
        interval="5s",
    )
    ready = world.wait_ready("late", status="False", reason="CredentialsNotFound")
    assert f'Secret "aws" in namespace "{world.namespace}"' in ready["message"]
    assert other.ready() == before
    world.apply(manifests.credentials(world.namespace))
    world.wait_ready("late")


def test_a_new_credential_is_used_at_once_and_its_readers_are_synced(
    worlds: Worlds, operator: object, proxy: Proxy
) -> None:
    world = worlds.new(endpoint=proxy.url)
    world.put("k", "v")
    world.external_secret(data=[entry("k", world.key("k"))], interval="1h")
    world.wait_ready()
    count = asked(proxy)

    world.patch("Secret", "aws", {"metadata": {"labels": {"some": "label"}}})
    world.apply(manifests.credentials(world.namespace, id="renewed"))

    def renewed() -> bool:
        return any("Credential=renewed/" in r.headers["Authorization"] for r in proxy.requests)

    world.wait(renewed, "the new credential is used")
    world.wait(lambda: asked(proxy) == count + 1, "its reader is synced again, once")
    world.settle()
    assert asked(proxy) == count + 2  # settling is a read
    world.clear()


def test_a_credential_that_was_missing_is_noticed_when_it_comes(world: World) -> None:
    world.put("k", "v")
    world.apply(manifests.store(world.namespace, world.endpoint, name="late", secret="late"))
    world.external_secret(data=[entry("k", world.key("k"))], store="late", interval="1h")
    world.wait_ready(status="False", reason="CredentialsNotFound")

    world.apply(manifests.credentials(world.namespace, "late"))

    world.wait_ready()
    world.wait(
        lambda: world.ready("late", "SecretStore").get("status") == "True", "the store says so"
    )


def test_a_store_is_checked_at_its_interval_and_not_while_it_is_read(
    world: World, proxy: Proxy
) -> None:
    def store(name: str) -> Body:
        body = manifests.store(world.namespace, proxy.url, name=name)
        body["spec"]["refreshInterval"] = "10s"
        return body

    def checks() -> int:
        return sum(b"syncret/store-check" in request.raw for request in proxy.requests)

    world.put("k", "v")
    world.apply(store("idle"))
    world.wait(lambda: world.ready("idle", "SecretStore"), "it is checked at first")
    version = world.version("SecretStore", "idle")
    count = checks()
    world.wait(lambda: checks() > count + 1, "it is checked again, and again")
    assert world.version("SecretStore", "idle") == version  # nothing new, nothing written
    world.delete("SecretStore", "idle")

    world.apply(store("busy"))
    world.external_secret(data=[entry("k", world.key("k"))], store="busy", interval="1s")
    world.wait_ready()
    world.wait(lambda: world.ready("busy", "SecretStore"), "it is checked at first")
    count = checks()
    world.wait_refreshes(count=14)  # over more than one interval
    assert checks() == count


def test_an_operator_leaves_stores_of_another_class_alone(
    lonely_world: World, alone: StartAlone, audit: Audit
) -> None:
    world = lonely_world
    world.put("k", "v")
    for name, controller in (("plain", None), ("blue", "blue")):
        body = manifests.store(world.namespace, world.endpoint, name=name)
        if controller:
            body["spec"]["controller"] = controller
        world.apply(body)
        world.external_secret(name, data=[entry("k", world.key("k"))], store=name)
    mark = audit.mark()
    world.operator = blue = alone("--controller-class=blue")

    world.wait_ready("blue")
    world.wait(lambda: world.ready("blue", "SecretStore"), "its store is checked")
    world.wait_refreshes("blue")

    untouched = {"observedGeneration": -1}
    assert world.status("plain") == world.status("plain", "SecretStore") == untouched
    assert world.find("Secret", "plain") is None
    assert world.events("plain") == world.events("plain", "SecretStore") == []
    assert not [record for record in blue.log_records() if record.get("object") == "plain"]
    named = [r for r in audit.requests(mark) if r.name == "plain"]
    assert not [r for r in named if r.namespace == world.namespace]
    blue.stop()

    world.operator = alone()
    world.wait_ready("plain")
    assert world.data("plain") == {"k": b"v"}


def test_labels_of_namespaces_are_watched_only_once_somebody_selects_by_them(
    lonely_world: World, alone: StartAlone, audit: Audit, cluster_is_empty: None
) -> None:
    world = lonely_world
    world.put("k", "v")
    mark = audit.mark()
    world.operator = alone()
    offer(world, {"namespaces": ["{me}"], "namespaceRegexes": ["x.*"]})
    read(world)
    world.wait_ready()

    def asked_for_namespaces() -> list[str]:
        return [r.verb for r in audit.requests(mark) if r.resource == "namespaces"]

    assert asked_for_namespaces() == []
    offer(world, ANY)
    world.wait(lambda: {"list", "watch"} <= set(asked_for_namespaces()), "they are watched now")


@pytest.fixture
def cluster_is_empty(lonely_world: World) -> None:
    """Nothing of other tests selects by labels any more."""
    world = lonely_world
    for kind in ("ClusterExternalSecret", "ClusterSecretStore"):
        for body in world.api.list(kind):
            world.api.delete(kind, body["metadata"]["name"])
        world.wait(lambda kind=kind: not world.api.list(kind), f"no {kind} is left")  # type: ignore[misc]


def test_without_the_right_to_watch_namespaces_it_is_said_what_to_grant(
    lonely_world: World, alone: StartAlone, role: Any
) -> None:
    world = lonely_world
    world.put("k", "v")
    role.lack(("", "namespaces", "list"))
    operator = world.operator = alone(service_account=role.name)
    offer(world, ANY)
    read(world)

    ready = world.wait_ready(status="False", reason="NamespaceUnknown")
    assert (
        'grant the operator the verbs "list" and "watch" on the resource "namespaces"'
        in (ready["message"])
    )
    sentence = (
        'The operator may not list namespaces: grant the verb "list" on the resource "namespaces" '
        "to its ServiceAccount."
    )
    world.wait(lambda: sentence in operator.probe("/readyz")[1], "readiness says so")

    role.lack()

    world.wait_ready()
    operator.wait_ready()
