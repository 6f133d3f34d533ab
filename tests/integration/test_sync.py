"""The main path: what AWS holds becomes a Secret, and follows it."""

import base64
import hashlib
import re

import pytest

from integration import manifests
from integration.manifests import entry, remote
from integration.world import World, Worlds
from syncret.digest import Digester
from testbed.cluster import Cluster
from testbed.operator import NAMESPACE

PEM = "-----BEGIN FAKE-----\nbm90aGluZw==\n-----END FAKE-----\n"


def test_values_properties_and_versions_become_the_data_of_a_secret(world: World) -> None:
    first = world.put("plain", "the first text")
    world.put("plain", " a text, kept as it is\n")
    world.put(
        "document",
        {
            "tls.crt": PEM,
            "users": [{"name": "ada"}, {"name": "grace", "roles": {"admin": True}}],
            "price": 1.10,
            "unicode": "ß€",
        },
    )

    document = world.key("document")
    world.external_secret(
        data=[
            entry("whole", world.key("plain")),
            entry("before", world.key("plain"), version="AWSPREVIOUS"),
            entry("pinned", world.key("plain"), version=first),
            entry("tls.crt", document, "tls.crt"),
            entry("user", document, "users.1.name"),
            entry("roles", document, "users.1.roles"),
            entry("unicode", document, "unicode"),
        ]
    )
    world.wait_ready()

    assert world.data() == {
        "whole": b" a text, kept as it is\n",
        "before": b"the first text",
        "pinned": b"the first text",
        "tls.crt": PEM.encode(),
        "user": b"grace",
        "roles": b'{"admin":true}',
        "unicode": "ß€".encode(),
    }


def test_extract_takes_a_secret_apart_and_data_adds_to_it(world: World) -> None:
    world.put("database", {"username": "shop", "port": 5432, "nothing": None})
    world.put("nested", {"inner": {"left": "l", "right": "r"}})
    world.put("token", "t0ken")

    world.external_secret(
        extract=[remote(world.key("database")), remote(world.key("nested"), "inner")],
        data=[entry("token", world.key("token"))],
    )
    world.wait_ready()

    expected = {"username": b"shop", "port": b"5432", "left": b"l", "right": b"r"}
    assert world.data() == {**expected, "token": b"t0ken"}


def test_a_binary_secret_arrives_byte_for_byte(world: World) -> None:
    every_byte = bytes(range(256)) + b"\r\n\x00"
    world.put("binary", every_byte)
    world.put("empty-field", {"empty": ""})

    world.external_secret(
        data=[
            entry("binary", world.key("binary")),
            entry("empty", world.key("empty-field"), "empty"),
        ]
    )
    world.wait_ready()

    assert world.data() == {"binary": every_byte, "empty": b""}


def test_the_secret_is_named_marked_and_owned(world: World) -> None:
    world.put("k", "v")
    world.external_secret(data=[entry("k", world.key("k"))], target={"name": "other"})
    world.wait_ready()

    secret = world.get("Secret", "other")
    owner = world.get("ExternalSecret", "app")
    assert secret["type"] == "Opaque"
    assert secret["metadata"]["labels"] == {"syncret.io/managed": "true"}
    assert secret["metadata"]["annotations"] == {"syncret.io/owner": "app"}
    assert secret["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "syncret.io/v1alpha1",
            "kind": "ExternalSecret",
            "name": "app",
            "uid": owner["metadata"]["uid"],
            "controller": True,
        }
    ]
    assert world.find("Secret", "app") is None
    assert owner["metadata"].get("finalizers") is None
    assert owner["metadata"].get("annotations") is None


def test_the_status_says_what_was_done_and_no_more(world: World) -> None:
    version = world.put("database", {"password": "p4ss"})
    world.external_secret(data=[entry("password", world.key("database"), "password")])
    ready = world.wait_ready()

    body = world.get("ExternalSecret", "app")
    status = body["status"]
    assert (ready["reason"], ready["message"]) == (
        "Synced",
        'The Secret "app" holds what the store holds.',
    )
    assert set(status) == {
        "observedGeneration",
        "conditions",
        "syncedGeneration",
        "lastChangeTime",
        "dataHash",
        "sources",
        "keys",
        "secretName",
    }
    generations = status["observedGeneration"], status["syncedGeneration"]
    assert generations == (1, 1)
    assert body["metadata"]["generation"] == 1
    assert status["keys"] == ["password"]
    (source,) = status["sources"]
    assert (source["key"], source["version"]) == (world.key("database"), version)
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    for time in (status["lastChangeTime"], ready["lastTransitionTime"], source["created"]):
        assert re.fullmatch(moment, time)
    assert world.events() == []  # the condition says it; only changes afterwards are events


def test_the_data_hash_is_made_with_the_operators_key_and_for_this_secret_only(
    world: World, worlds: Worlds
) -> None:
    """Who reads the status can neither test guesses of a value nor see that two are the same."""
    other = worlds.new()
    for each in (world, other):
        each.put("k", "guessable")
        each.external_secret(data=[entry("k", each.key("k"))])
    world.wait_ready()
    other.wait_ready()

    secret = world.api.get("Secret", "syncret-digest-key", NAMESPACE)
    assert secret is not None
    digester = Digester(base64.b64decode(secret["data"]["key"]))
    published = world.status()["dataHash"]
    assert published == digester.publish(
        f"data/{world.namespace}/app", digester.values({"k": b"guessable"})
    )
    for guess in (b"guessable", b"kguessable", b'{"k":"guessable"}'):
        for algorithm in ("md5", "sha1", "sha256", "sha512", "blake2b"):
            assert hashlib.new(algorithm, guess).hexdigest()[:16] not in published
    assert other.status()["dataHash"] != published
    other.clear()


def test_kubectl_get_shows_how_it_is(world: World, cluster: Cluster) -> None:
    world.put("k", "v")
    world.external_secret(data=[entry("k", world.key("k"))], interval="1s")
    world.external_secret("broken", data=[entry("k", world.key("absent"))], interval="1h")
    world.wait_ready()
    world.wait_ready("broken", status="False")

    said = cluster.kubectl("get", "es", "-n", world.namespace)
    header, app, broken = (re.split(r"\s{2,}", line.strip()) for line in said.splitlines())
    assert header == ["NAME", "STORE", "REFRESH", "READY", "REASON", "LAST CHANGE", "AGE"]
    assert app[:5] == ["app", "aws", "1s", "True", "Synced"]
    assert re.fullmatch(r"\d+s", app[5])
    assert broken[:5] == ["broken", "aws", "1h", "False", "KeyNotFound"]
    wide = cluster.kubectl("get", "externalsecrets.syncret.io", "-n", world.namespace, "-o", "wide")
    assert f'has no "{world.key("absent")}" (spec.data[0].remoteRef): create it there' in wide


@pytest.mark.parametrize("how", ["Background", "Foreground"])
def test_the_secret_goes_with_the_external_secret(world: World, how: str) -> None:
    world.put("k", "v")
    world.external_secret(data=[entry("k", world.key("k"))])
    world.external_secret("stays", data=[entry("k", world.key("k"))])
    world.wait_ready()
    world.wait_ready("stays")

    world.delete("ExternalSecret", "app", how=how)

    world.wait(lambda: world.find("Secret", "app") is None, "the Secret is gone")
    world.wait(lambda: world.find("ExternalSecret", "app") is None, "the ExternalSecret is gone")
    world.wait_refreshes("stays")
    assert world.find("Secret", "app") is None  # nobody made it anew
    assert world.data("stays") == {"k": b"v"}
    samples = world.operator.metrics()
    assert not [
        name
        for name, labels in samples
        if ("name", "app") in labels and ("namespace", world.namespace) in labels
    ]


def test_an_external_secret_made_anew_makes_its_secret_anew(world: World) -> None:
    world.put("k", "v")
    for _ in range(2):
        world.external_secret(data=[entry("k", world.key("k"))], interval="1h")
        world.wait_ready()
        uid = world.get("ExternalSecret", "app")["metadata"]["uid"]
        (owner,) = world.get("Secret", "app")["metadata"]["ownerReferences"]
        assert owner["uid"] == uid
        world.delete("ExternalSecret", "app")


def test_a_changed_value_and_a_removed_field_reach_the_secret(world: World) -> None:
    world.put("database", {"password": "old", "extra": "x"})
    world.external_secret(extract=[remote(world.key("database"))])
    world.wait_data({"password": b"old", "extra": b"x"})
    world.wait_ready()
    before = world.get("ExternalSecret", "app")["status"]

    version = world.put("database", {"password": "new", "added": "a"})

    world.wait_data({"password": b"new", "added": b"a"})
    world.wait(lambda: world.status()["dataHash"] != before["dataHash"], "the status follows")
    status = world.status()
    assert status["keys"] == ["added", "password"]
    assert status["sources"][0]["version"] == version
    assert status["lastChangeTime"] >= before["lastChangeTime"]
    assert status["conditions"] == before["conditions"]  # it was Ready and is
    told = ["Updated"]
    world.wait(lambda: [reason for _, reason, _ in world.events()] == told, "the change is told")


def test_an_edited_spec_is_synced_at_once(world: World) -> None:
    world.put("a", "1")
    world.put("b", "2")
    world.external_secret(data=[entry("k", world.key("a"))], interval="1h")
    world.wait_data({"k": b"1"})

    world.external_secret(data=[entry("other", world.key("b"))], interval="1h")

    world.wait_data({"other": b"2"})
    world.wait_ready()
    assert world.status()["syncedGeneration"] == 2


def test_a_cluster_store_serves_the_namespaces_that_it_names(world: World, worlds: Worlds) -> None:
    other = worlds.new()
    name = f"shared-{world.namespace}"
    reference = {"name": name, "kind": "ClusterSecretStore"}

    def shared_with(*namespaces: str) -> dict[str, object]:
        return manifests.cluster_store(
            name, world.endpoint, credentials_in=world.namespace, namespaces=namespaces
        )

    world.apply(shared_with(world.namespace))
    world.put("k", "v")
    for each in (world, other):
        each.external_secret(
            data=[entry("k", world.key("k"))], interval="1h", secretStoreRef=reference
        )

    world.wait_data({"k": b"v"})
    ready = other.wait_ready(status="False", reason="StoreNotAllowed")
    assert ready["message"] == (
        f'ClusterSecretStore {name} does not admit the namespace "{other.namespace}": ask its '
        "owner to add the namespace to spec.conditions, or use another store."
    )
    assert other.data() is None

    world.apply(shared_with(world.namespace, other.namespace))

    other.wait_ready()
    assert other.data() == {"k": b"v"}

    world.apply(shared_with())  # none named: nowhere

    for each in (world, other):
        each.wait_ready(status="False", reason="StoreNotAllowed")
        assert each.data() == {"k": b"v"}  # it stays as it was
    other.clear()


def test_a_store_says_whether_it_works(world: World) -> None:
    world.wait(lambda: world.ready("aws", "SecretStore"), "the store is checked")

    assert world.ready("aws", "SecretStore")["status"] == "True"
    assert world.ready("aws", "SecretStore")["observedGeneration"] == 1
    world.wait(lambda: world.events("aws", "SecretStore"), "it is told")
    assert world.events("aws", "SecretStore") == [
        ("Normal", "Ready", "The store answers and accepts the credentials.")
    ]
