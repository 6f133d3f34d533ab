"""Users of a database that Vault makes: renewed, kept over restarts, replaced and revoked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from contract.vaultdatabase import Database
from integration import manifests
from integration.conftest import StartAlone
from integration.manifests import env_from
from integration.world import World

RULES = (
    "read database/creds/*",
    "update sys/leases/renew",
    "update sys/leases/revoke",
    "update auth/token/renew-accessor",
)


@dataclass
class Leases:
    """The ExternalSecret ``app``, whose Secret is a user of the database."""

    world: World
    database: Database

    def start(
        self, *, rules: Sequence[str] = RULES, role: dict[str, Any] | None = None, **spec: Any
    ) -> None:
        """``role``: of Vault, what its leases are like; ``spec``: of the ExternalSecret."""
        world = self.world
        role_id, secret = self.database.approle(*rules, token_ttl="1h")
        login = {"roleId": role_id, "secretRef": {"name": "vault-login", "key": "secret"}}
        provider = {"server": self.database.vault.address, "auth": {"appRole": login}}
        path = self.database.role(**(role or {"default_ttl": "1h", "max_ttl": "24h"}))
        dynamic = {"path": path, "provider": provider}
        world.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "vault-login", "namespace": world.namespace},
                "stringData": {"secret": secret},
            },
            manifests.generator("users", world.namespace, vaultDynamic=dynamic),
        )
        world.workload("api", container=env_from("app"))
        reference = {"sourceRef": {"generatorRef": {"name": "users"}}}
        world.external_secret(dataFrom=[reference], **spec)

    def started(self, **how: Any) -> tuple[str, str]:
        self.start(**how)
        world = self.world
        world.wait_ready()
        world.wait(
            lambda: world.status().get("rollout", {}).get("targets"), "the workload is known"
        )
        return self.account()

    def account(self) -> tuple[str, str]:
        """The user and the password that the Secret has now."""
        data = self.world.data() or {}
        return data["username"].decode(), data["password"].decode()

    def lets_in(self, account: tuple[str, str]) -> bool:
        return self.database.postgres.lets_in(*account)

    def lease(self) -> str:
        """The id of the lease of what is kept."""
        uid = self.world.get("ExternalSecret", "app")["metadata"]["uid"]
        kept = self.world.get("Secret", f"syncret-generated-{uid}")
        return _lease(kept["metadata"]["annotations"])

    def wish(self, value: str) -> None:
        annotations = {"syncret.io/rotate": value}
        self.world.patch("ExternalSecret", "app", {"metadata": {"annotations": annotations}})


def _lease(annotations: dict[str, str]) -> str:
    for text in annotations.values():
        at = text.find("database/creds/")
        if at >= 0:
            return text[at:].split('"', 1)[0]
    pytest.fail(f"no lease is written down in {json.dumps(annotations)}")


@pytest.fixture
def leases(world: World, database: Database) -> Leases:
    return Leases(world, database)


def test_a_lease_is_renewed_and_nothing_restarts(leases: Leases) -> None:
    world, database = leases.world, leases.database
    first = leases.started(role={"default_ttl": "8s", "max_ttl": "24h"})
    assert leases.lets_in(first)
    lease = leases.lease()

    def renewed() -> float:
        return world.operator.metric(
            "syncret_provider_calls_total", operation="RenewLease", namespace=world.namespace
        )

    for count in (1, 2):
        world.wait(lambda count=count: renewed() >= count, "the lease is renewed")  # type: ignore[misc]
    assert database.left(lease) > 0
    assert leases.account() == first
    assert leases.lets_in(first)
    assert world.generation("api") == 1
    assert leases.lease() == lease


def test_what_replaces_a_lease_is_rolled_out_before_the_former_is_revoked(leases: Leases) -> None:
    world, database = leases.world, leases.database
    first = leases.started(rotation={"revokeAfter": "0s"})
    former = leases.lease()
    world.patch("Deployment", "api", {"spec": {"paused": True}})
    leases.wish("now")
    world.wait(lambda: leases.account() != first, "there is another user")
    second = leases.account()
    world.settle()
    assert leases.lets_in(second)
    assert leases.lets_in(first), "the workload still runs with it"
    assert database.left(former) > 0
    world.patch("Deployment", "api", {"spec": {"paused": False}})
    world.wait(lambda: not leases.lets_in(first), "the former user is revoked")
    assert database.left(former) == 0
    assert leases.lets_in(second)
    assert any(reason == "Revoked" for _, reason, _ in world.events())
    world.wait(lambda: world.status().get("rotate", {}).get("state") == "Done", "it is done")
    for _, password in (first, second):
        assert password not in world.operator.log


def test_a_lease_that_nears_its_maximum_is_replaced_while_it_lives(leases: Leases) -> None:
    world = leases.world
    first = leases.started(role={"default_ttl": "20s", "max_ttl": "20s"})
    world.wait(lambda: leases.account() != first, "there is another user")
    second = leases.account()
    assert leases.lets_in(first), "the former still lives"
    assert leases.lets_in(second)
    world.wait(lambda: world.generation("api") >= 2, "the workload is restarted")


def test_a_restart_makes_nothing_and_goes_on_renewing(
    lonely_world: World, alone: StartAlone, database: Database
) -> None:
    world = lonely_world
    world.operator = operator = alone()
    leases = Leases(world, database)
    first = leases.started(role={"default_ttl": "30s", "max_ttl": "24h"})
    lease = leases.lease()
    operator.kill()
    operator.start()
    world.wait_refreshes(count=2)
    before = database.left(lease)
    world.wait(lambda: database.left(lease) > before, "the lease is renewed by the new process")
    assert leases.account() == first
    assert leases.lets_in(first)
    assert world.generation("api") == 1


def test_what_is_deleted_is_revoked(leases: Leases) -> None:
    first = leases.started()
    assert leases.lets_in(first)
    leases.world.delete("ExternalSecret", "app")
    leases.world.wait(lambda: not leases.lets_in(first), "the user is revoked")


def test_a_missing_right_is_named(leases: Leases) -> None:
    leases.start(rules=RULES[1:])
    world = leases.world
    world.wait_ready(status="False", reason="AccessDenied")
    world.wait(
        lambda: world.ready("users", "Generator").get("reason") == "AccessDenied", "it is checked"
    )
    assert "database/creds/" in world.ready("users", "Generator")["message"]
    assert world.find("Secret", "app") is None
