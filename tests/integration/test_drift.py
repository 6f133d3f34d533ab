"""What people do to the target Secret by hand is undone, and restarts nothing.

The intervals are an hour: what is seen here follows from the watch, not from a refresh.
"""

from collections.abc import Callable

import pytest

from integration.manifests import entry, env_from
from integration.world import World

DATA = {"password": b"from the store", "username": b"shop"}


def edit_a_value(world: World) -> None:
    world.patch("Secret", "app", {"stringData": {"password": "edited by hand"}})


def add_a_key(world: World) -> None:
    world.patch("Secret", "app", {"stringData": {"added": "by hand"}})


def remove_a_key(world: World) -> None:
    world.patch("Secret", "app", {"data": {"username": None}})


def remove_all_keys(world: World) -> None:
    world.patch("Secret", "app", {"data": None})


def delete_it(world: World) -> None:
    world.delete("Secret", "app")


def remove_the_label(world: World) -> None:
    world.patch("Secret", "app", {"metadata": {"labels": None}})


def change_the_label(world: World) -> None:
    world.patch("Secret", "app", {"metadata": {"labels": {"syncret.io/managed": "no"}}})


def remove_the_owner(world: World) -> None:
    world.patch("Secret", "app", {"metadata": {"ownerReferences": None}})


def remove_the_annotation(world: World) -> None:
    world.patch("Secret", "app", {"metadata": {"annotations": None}})


def remove_the_label_and_edit(world: World) -> None:
    """Our watch no longer sees the Secret, so it cannot show the edit either."""
    body = {"metadata": {"labels": None}, "stringData": {"password": "edited by hand"}}
    world.patch("Secret", "app", body)


def replace_it(world: World) -> None:
    """Deleted and made anew by somebody else, with our label and our owner reference."""
    body = world.get("Secret", "app")
    meta = {name: body["metadata"][name] for name in ("labels", "ownerReferences")}
    world.delete("Secret", "app")
    # The operator may be the faster one; then this is an edit.
    world.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "app", "namespace": world.namespace, **meta},
            "stringData": {"password": "another", "foreign": "x"},
        }
    )


@pytest.mark.parametrize(
    "meddle",
    [
        edit_a_value,
        add_a_key,
        remove_a_key,
        remove_all_keys,
        delete_it,
        remove_the_label,
        change_the_label,
        remove_the_owner,
        remove_the_annotation,
        remove_the_label_and_edit,
        replace_it,
    ],
)
def test_what_was_done_by_hand_is_undone(world: World, meddle: Callable[[World], None]) -> None:
    world.put("database", {"password": "from the store", "username": "shop"})
    database = world.key("database")
    world.external_secret(
        data=[entry(key, database, key) for key in ("password", "username")], interval="1h"
    )
    world.workload("reader", container=env_from("app"))
    world.wait_ready()
    world.settle()
    version = world.version("Secret", "app")
    before = world.status()

    meddle(world)

    world.wait(
        lambda: world.find("Secret", "app") and world.version("Secret", "app") != version,
        "it was meddled with",
    )

    def restored() -> bool:
        secret = world.find("Secret", "app")
        meta = secret["metadata"] if secret else {}
        return (
            world.data() == DATA
            and meta.get("labels") == {"syncret.io/managed": "true"}
            and meta.get("annotations") == {"syncret.io/owner": "app"}
            and len(meta.get("ownerReferences", ())) == 1
        )

    world.wait(restored, "the Secret is as it was")
    world.settle()
    assert restored()
    owner = world.get("ExternalSecret", "app")["metadata"]["uid"]
    assert world.get("Secret", "app")["metadata"]["ownerReferences"][0]["uid"] == owner
    assert world.generation("reader") == 1
    assert world.status()["dataHash"] == before["dataHash"]
    assert world.status()["conditions"][0]["status"] == "True"


def test_labels_and_annotations_of_others_stay(world: World) -> None:
    world.put("k", "first")
    world.external_secret(data=[entry("k", world.key("k"))])
    world.wait_ready()
    theirs = {"labels": {"team": "payments"}, "annotations": {"note": "theirs"}}
    world.patch("Secret", "app", {"metadata": theirs})

    world.put("k", "second")

    world.wait_data({"k": b"second"})
    meta = world.get("Secret", "app")["metadata"]
    assert meta["labels"] == {"team": "payments", "syncret.io/managed": "true"}
    assert meta["annotations"] == {"note": "theirs", "syncret.io/owner": "app"}
