"""Static roles of Vault, rotated through an annotation: the new password lets in."""

import json
from typing import Any
from uuid import uuid4

import pytest

from contract.vaultdatabase import Database
from integration import manifests
from integration.manifests import remote
from integration.world import World
from testbed.cluster import Cluster, CommandError

RULES = ("read database/static-creds/*", "update database/rotate-role/*")


def prepare(world: World, database: Database) -> str:
    """A store and an ExternalSecret of a new role; its name."""
    role = database.static_role()
    token = database.vault.make_token(policies=[database.policy(*RULES)], ttl="1h")
    provider = {
        "server": database.vault.address,
        "engine": "database",
        "path": "database",
        "auth": {"tokenSecretRef": {"name": "vault-token", "key": "token"}},
    }
    metadata = {"name": "vault", "namespace": world.namespace}
    world.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "vault-token", "namespace": world.namespace},
            "stringData": {"token": token},
        },
        {
            "apiVersion": manifests.API,
            "kind": "SecretStore",
            "metadata": metadata,
            "spec": {"provider": {"vault": provider}},
        },
    )
    world.external_secret(store="vault", extract=[remote(role)])
    world.wait_ready()
    return role


def lets_in(world: World, database: Database) -> bool:
    data = world.data() or {}
    return database.postgres.lets_in(data["username"].decode(), data["password"].decode())


def test_a_role_is_rotated_by_the_annotation(world: World, database: Database) -> None:
    role = prepare(world, database)
    assert lets_in(world, database)
    (before,) = world.status()["sources"]
    old = (world.data() or {})["password"]
    wish = {"metadata": {"annotations": {"syncret.io/rotate": uuid4().hex}}}
    world.patch("ExternalSecret", "app", wish)
    world.wait(
        lambda: world.status().get("rotate", {}).get("state") == "Done", "the role is rotated"
    )
    (after,) = world.status()["sources"]
    assert (after["key"], before["key"]) == (role, role)
    assert after["version"] > before["version"]
    assert after["created"] >= before["created"]
    assert (world.data() or {})["password"] != old
    assert lets_in(world, database)
    world.wait_refreshes(count=3)
    assert world.status()["sources"] == [after], "a refresh rotates nothing"
    log = world.operator.log
    assert (world.data() or {})["password"].decode() not in log


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"engine": "database"}, "name the mount of the engine in path"),
        ({"engine": "ldap", "path": "ldap", "version": "v2"}, "leave out version"),
        ({"engine": "pki", "path": "pki"}, "Unsupported value"),
    ],
)
def test_what_cannot_be_a_store_is_refused(
    installed: Cluster, more: dict[str, Any], sentence: str
) -> None:
    auth = {"tokenSecretRef": {"name": "vault", "key": "token"}}
    body = {
        "apiVersion": manifests.API,
        "kind": "SecretStore",
        "metadata": {"name": "refused", "namespace": "default"},
        "spec": {
            "provider": {"vault": {"server": "https://vault.example.com", "auth": auth, **more}}
        },
    }
    with pytest.raises(CommandError, match=sentence):
        installed.kubectl(
            *("apply", "--dry-run=server", "--validate=strict", "-f", "-"), stdin=json.dumps(body)
        )
