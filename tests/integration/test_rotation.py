"""Rotation on a real control plane: both values for a time, and who is told that it is due."""

from datetime import UTC, datetime, timedelta
from typing import Any

from integration.manifests import entry, env_from
from integration.world import World
from support.pki import Issuer
from syncret.constants import PREVIOUS_ANNOTATION

#: Seconds: long enough to be seen on a busy machine.
KEEP = 8


def condition(world: World, kind: str) -> dict[str, Any]:
    """The condition of that type; empty as long as there is none."""
    conditions = world.status().get("conditions") or ()
    return next((dict(one) for one in conditions if one["type"] == kind), {})


def wait_condition(world: World, kind: str, status: str, reason: str) -> dict[str, Any]:
    def told() -> dict[str, Any] | None:
        found = condition(world, kind)
        return found if (found.get("status"), found.get("reason")) == (status, reason) else None

    return world.wait(told, f"{kind} is {status} ({reason})") or {}


def metric(world: World, name: str) -> float:
    return world.operator.metric(
        f"syncret_externalsecret_{name}", namespace=world.namespace, name="app"
    )


def test_the_value_before_is_beside_the_new_one_and_goes_on_time(world: World) -> None:
    world.put("database", {"password": "first-not-real"})
    world.external_secret(
        data=[entry("password", world.key("database"), "password")],
        target={"previous": {"keepFor": f"{KEEP}s"}},
    )
    world.wait_data({"password": b"first-not-real"})
    world.workload("api", container=env_from("app"))
    world.wait(lambda: world.status().get("rollout", {}).get("targets"), "the workload is known")
    world.put("database", {"password": "second-not-real"})
    both = {"password": b"second-not-real", "password_previous": b"first-not-real"}
    world.wait_data(both)
    assert (
        "not-real" not in world.get("Secret", "app")["metadata"]["annotations"][PREVIOUS_ANNOTATION]
    )
    world.wait(lambda: world.generation("api") == 2, "the workload is restarted")
    world.wait_data({"password": b"second-not-real"})
    annotations = world.get("Secret", "app")["metadata"]["annotations"]
    assert PREVIOUS_ANNOTATION not in annotations
    version = world.version("Secret", "app")
    world.settle()
    assert world.version("Secret", "app") == version
    assert world.generation("api") == 2, "what goes restarts nothing"
    assert "PreviousDropped" in [reason for _, reason, _ in world.events()]
    assert "not-real" not in world.operator.log


def test_both_stages_of_the_store_side_by_side(world: World) -> None:
    """The other way to read both: the store keeps the version before, and names the next."""
    first = world.put("key", "first-not-real")
    key = world.key("key")
    stages = {"current": "AWSCURRENT", "before": "AWSPREVIOUS", "next": "AWSPENDING"}
    world.external_secret(
        data=[
            {**entry(name, key, version=label), "optional": True} for name, label in stages.items()
        ],
        rotation={"class": "apiKey"},
    )
    world.wait_data({"current": b"first-not-real"})
    pending = world.aws.put_secret_value(
        SecretId=key, SecretString="second-not-real", VersionStages=["AWSPENDING"]
    )["VersionId"]
    world.wait_data({"current": b"first-not-real", "next": b"second-not-real"})
    world.aws.update_secret_version_stage(
        SecretId=key,
        VersionStage="AWSCURRENT",
        MoveToVersionId=pending,
        RemoveFromVersionId=first,
    )
    world.wait(
        lambda: (
            (data := world.data() or {}).get("current") == b"second-not-real"
            and data.get("before") == b"first-not-real"
        ),
        "the version before is read as well",
    )
    assert wait_condition(world, "RotationOverdue", "False", "InTime")


def test_what_is_too_old_is_told(world: World) -> None:
    world.put("key", "first-not-real")
    world.external_secret(
        data=[entry("key", world.key("key"))], interval="1h", rotation={"maxAge": "3s"}
    )
    told = wait_condition(world, "RotationOverdue", "True", "Overdue")
    assert "is to be rotated every 3s: rotate it in the store." in told["message"]
    assert world.ready()["status"] == "True"
    assert metric(world, "rotation_overdue") == 1
    assert metric(world, "age_seconds") > 2
    world.wait(
        lambda: [reason for _, reason, _ in world.events()] == ["RotationOverdue"],
        "one Event tells of it",
    )
    version = world.version("ExternalSecret", "app")
    world.patch("ExternalSecret", "app", {"spec": {"rotation": {"maxAge": "90d"}}})
    wait_condition(world, "RotationOverdue", "False", "InTime")
    assert world.version("ExternalSecret", "app") != version


def test_a_certificate_that_expires_is_told(world: World) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    ends = now + timedelta(seconds=10)
    leaf = Issuer("leaf", san="shop.example.com", life=(now - timedelta(seconds=10), ends))
    world.put("tls", {"crt": leaf.pem, "key": leaf.key_pem})
    tls = world.key("tls")
    world.external_secret(
        data=[entry("tls.crt", tls, "crt"), entry("tls.key", tls, "key")],
        target={"template": {"type": "kubernetes.io/tls"}},
        interval="1h",
    )
    told = wait_condition(world, "Expiring", "True", "Expired")
    said = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert told["message"] == (
        f'The certificate under "tls.crt" expired at {said}: renew it in the store.'
    )
    (found,) = world.status()["certificates"]
    assert (found["key"], found["notAfter"]) == ("tls.crt", said)
    assert metric(world, "certificate_not_after_timestamp_seconds") == ends.timestamp()
    assert metric(world, "expiring") == 1
    assert "Expired" in [reason for _, reason, _ in world.events()]
    assert "shop.example.com" not in str(world.get("ExternalSecret", "app"))
