"""When the store is asked again: without a clock, once, on a wish, and in sync windows."""

from datetime import UTC, datetime, timedelta
from typing import Any

from integration import manifests
from integration.conftest import StartAlone
from integration.manifests import entry
from integration.world import World
from syncret.constants import FORCE_SYNC_ANNOTATION

#: The ExternalSecret by whose refreshes time is measured.
PAUSE_NAME = "beside"


def force(world: World, value: str) -> None:
    annotations = {FORCE_SYNC_ANNOTATION: value}
    world.patch("ExternalSecret", "app", {"metadata": {"annotations": annotations}})


def apply(world: World, *, interval: str | None = None, **spec: Any) -> None:
    body = manifests.external_secret(world.namespace, data=[entry("k", world.key("k"))], **spec)
    if interval is None:
        del body["spec"]["refreshInterval"]
    else:
        body["spec"]["refreshInterval"] = interval
    world.apply(body)


def some_refreshes(world: World) -> None:
    """Waits until another ExternalSecret, of the shortest interval, was refreshed a few times."""
    if world.find("ExternalSecret", PAUSE_NAME) is None:
        world.put(PAUSE_NAME, "v")
        world.external_secret(PAUSE_NAME, data=[entry("k", world.key(PAUSE_NAME))])
        world.wait_ready(PAUSE_NAME)
    world.wait_refreshes(PAUSE_NAME, count=3)


def window(kind: str, *, begins: timedelta, duration: str) -> dict[str, str]:
    """A window that begins that long after now."""
    start = datetime.now(UTC) + begins
    return {"kind": kind, "schedule": f"{start:%-M %-H * * *}", "duration": duration}


def test_without_the_clock_an_edit_and_a_wish_still_refresh(world: World) -> None:
    world.put("k", "first")
    apply(world, interval="0")
    world.wait_data({"k": b"first"})
    world.put("k", "second")
    some_refreshes(world)
    assert world.data() == {"k": b"first"}

    force(world, "1")
    world.wait_data({"k": b"second"})

    world.put("k", "third")
    some_refreshes(world)
    assert world.data() == {"k": b"second"}
    apply(world, interval="0", rollout={"mode": "None"})
    world.wait_data({"k": b"third"})


def test_on_change_is_read_on_change(world: World) -> None:
    world.put("k", "first")
    apply(world, refreshPolicy="OnChange")
    world.wait_data({"k": b"first"})
    world.put("k", "second")
    some_refreshes(world)
    assert world.data() == {"k": b"first"}
    apply(world, refreshPolicy="OnChange", rollout={"mode": "None"})
    world.wait_data({"k": b"second"})


def test_created_once_stays_as_it_is(world: World) -> None:
    world.put("k", "first")
    apply(world, refreshPolicy="CreatedOnce")
    world.wait_data({"k": b"first"})
    world.put("k", "second")
    apply(world, refreshPolicy="CreatedOnce", rollout={"mode": "None"})
    told = world.wait_ready()
    assert "was made once, from an older spec, and stays as it is" in told["message"]
    some_refreshes(world)
    assert world.data() == {"k": b"first"}

    force(world, "now")
    world.wait_data({"k": b"second"})
    world.wait(lambda: "older" not in world.ready()["message"], "the message is the usual one")


def test_outside_of_the_sync_windows_a_refresh_waits_and_says_so(world: World) -> None:
    world.put("k", "first")
    deny = window("Deny", begins=timedelta(minutes=-2), duration="3h")
    apply(world, interval="1s", syncWindows=[deny])
    world.wait_data({"k": b"first"})
    world.put("k", "second")
    world.wait(
        lambda: (
            "the next is due and waits for a sync window to open at" in world.ready()["message"]
        ),
        "it says that it waits",
    )
    labels = {"namespace": world.namespace, "name": "app"}
    assert world.operator.metric("syncret_externalsecret_refresh_held", **labels) == 1
    version = world.version("ExternalSecret", "app")
    some_refreshes(world)
    assert world.data() == {"k": b"first"}
    assert world.version("ExternalSecret", "app") == version
    assert world.ready()["status"] == "True"

    force(world, "1")
    world.wait_data({"k": b"second"})

    world.put("k", "third")
    allow = window("Allow", begins=timedelta(minutes=-2), duration="3h")
    apply(world, interval="1s", syncWindows=[allow])
    world.wait_data({"k": b"third"})
    world.put("k", "fourth")
    world.wait_data({"k": b"fourth"})


def test_a_restart_repeats_no_wish_and_opens_no_window(
    lonely_world: World, alone: StartAlone
) -> None:
    world = lonely_world
    world.operator = alone()
    world.put("k", "first")
    deny = window("Deny", begins=timedelta(minutes=-2), duration="3h")
    apply(world, interval="1s", syncWindows=[deny])
    force(world, "1")
    world.wait_data({"k": b"first"})
    world.wait(lambda: world.status().get("forceSync"), "the wish was met")
    world.wait(lambda: "waits for" in world.ready()["message"], "the next refresh waits")
    version = world.version("ExternalSecret", "app")
    world.put("k", "second")
    world.operator.stop()

    world.operator = alone()
    some_refreshes(world)

    assert world.data() == {"k": b"first"}
    assert world.version("ExternalSecret", "app") == version
    force(world, "2")
    world.wait_data({"k": b"second"})
