"""Static roles as a store: Vault rotates the passwords of a PostgreSQL, and both are real.

Of LDAP there is no server here: Vault's LDAP engine is a stand-in that answers as its source says.
"""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from contract.opened import Opened
from contract.proxy import Action, Change, Reply, Request, Reset
from contract.vault import VaultHarness, error_reply
from contract.vaultdatabase import Database, vault
from contract.vaultstores import CALM, Stores, read, stores
from syncret.errors import AccessDenied, ProviderRejected, ProviderUnavailable
from syncret.providers.base import Found, NotFound, Query, Ref, Rotator, SecretValue

__all__ = ["stores", "vault"]

SPEC = {"engine": "database", "path": "database"}
ALL = (
    "read database/static-creds/*",
    "list database/static-roles",
    "update database/rotate-role/*",
)
HURRIED = replace(CALM, rotating=(0.01, 0.01, 0.01))


@pytest.fixture
async def opened(database: Database, stores: Stores) -> Opened:
    """A store that may do all that there is."""
    return await store(database, stores, *ALL)


async def store(database: Database, stores: Stores, *rules: str, **how: Any) -> Opened:
    token = database.vault.make_token(policies=[database.policy(*rules)], ttl="1h")
    return await stores.with_token(token, timing=HURRIED, **{**SPEC, **how})


async def value(opened: Opened, role: str) -> SecretValue:
    found = await read(opened, role)
    assert isinstance(found, SecretValue), found
    return found


def password(value: SecretValue) -> str:
    return str(json.loads(value.reveal())["password"])


async def rotate(opened: Opened, role: str, wish: str = "wish") -> str:
    assert isinstance(opened.client, Rotator)
    return await opened.client.rotate(role, token=wish)


def times(**fields: Any) -> Change:
    """The real answer to a read, with other times."""

    def changed(body: bytes) -> bytes:
        answer = json.loads(body)
        answer["data"].update(fields)
        return json.dumps(answer).encode()

    return Change(reply=changed)


# Values


async def test_a_role_is_an_account_that_lets_in(database: Database, opened: Opened) -> None:
    role = database.static_role()
    first, second = await value(opened, role), await value(opened, role)
    assert set(json.loads(first.reveal())) == {"username", "password"}
    assert database.postgres.lets_in(role, password(first))
    assert first == second, "nothing in it changes with time"
    about = database.vault.call("GET", f"database/static-creds/{role}")["data"]
    assert first.version == about["last_vault_rotation"]
    assert first.created is not None
    assert first.created.isoformat()[:19] == first.version[:19]


async def test_a_role_that_is_not_there_is_missing(opened: Opened) -> None:
    assert await read(opened, "nobody") == NotFound()
    with pytest.raises(ProviderRejected, match='no static role "nobody"'):
        await rotate(opened, "nobody")


async def test_a_role_has_neither_versions_nor_metadata(opened: Opened) -> None:
    assert isinstance(await read(opened, "app", "1"), ProviderRejected)
    ref = Ref("app", metadata=True)
    assert isinstance((await opened.client.fetch([ref]))[ref], ProviderRejected)
    assert isinstance(await read(opened, "../creds/app"), ProviderRejected)
    assert opened.observed.calls == []


async def test_roles_are_found_by_name(database: Database, opened: Opened) -> None:
    roles = {database.static_role() for _ in range(2)}
    found = await opened.client.find(Query(path="app-"))
    assert roles <= set(found.keys)
    assert found.more == ""
    (one, _) = sorted(roles)
    assert await opened.client.find(Query(name=f"^{one}$")) == Found((one,))
    with pytest.raises(ProviderRejected, match="no tags"):
        await opened.client.find(Query(tags=(("a", "b"),)))


# Rotation


async def test_the_new_password_lets_in_and_the_old_one_does_not(
    database: Database, opened: Opened
) -> None:
    role = database.static_role()
    before = await value(opened, role)
    version = await rotate(opened, role, "first wish")
    after = await value(opened, role)
    assert after.version == version != before.version
    assert database.postgres.lets_in(role, password(after))
    assert not database.postgres.lets_in(role, password(before))
    assert await rotate(opened, role, "first wish") == version
    assert await value(opened, role) == after, "the same wish rotates once"
    assert await rotate(opened, role, "second wish") != version


async def test_what_vault_rotates_by_itself_is_a_new_version(
    database: Database, opened: Opened
) -> None:
    """With the shortest period that Vault takes; it looks every five seconds what is due."""
    role = database.static_role(rotation_period="5s")
    after = before = await value(opened, role)
    async with asyncio.timeout(60):
        while after.version == before.version:
            await asyncio.sleep(0.1)
            after = await value(opened, role)
    assert database.postgres.lets_in(role, password(after))


async def test_a_rotation_whose_answer_is_lost_is_seen_by_its_version(
    database: Database, vault: VaultHarness, opened: Opened
) -> None:
    role = database.static_role()
    before = await value(opened, role)

    def lost(request: Request) -> Action | None:
        if "/rotate-role/" not in request.path:
            return None
        database.vault.call("POST", request.path.removeprefix("/v1/"), {})
        return Reset()

    vault.fault = lost
    version = await rotate(opened, role)
    assert version not in {"", before.version}
    assert (await value(opened, role)).version == version


async def test_a_rotation_that_the_database_refuses_is_told(
    database: Database, opened: Opened
) -> None:
    role = database.static_role()
    before = await value(opened, role)
    database.postgres.sql(f'DROP ROLE "{role}"')
    with pytest.raises(ProviderUnavailable, match="may not set its password") as caught:
        await rotate(opened, role)
    assert role in caught.value.message
    assert (await value(opened, role)).version == before.version


@pytest.mark.parametrize(
    ("lacking", "capability"),
    [("static-creds", "read"), ("rotate-role", "update")],
)
async def test_a_denial_names_the_rule_that_is_missing(
    database: Database, stores: Stores, lacking: str, capability: str
) -> None:
    role = database.static_role()
    opened = await store(database, stores, *(rule for rule in ALL if lacking not in rule))
    rule = f'path "database/{lacking}/{role}" {{ capabilities = ["{capability}"] }}'
    if capability == "read":
        denied = await read(opened, role)
        assert isinstance(denied, AccessDenied)
        assert rule in denied.message
        assert await rotate(opened, role) == "", "it is rotated, and may not be looked at"
        return
    with pytest.raises(AccessDenied) as caught:
        await rotate(opened, role)
    assert rule in caught.value.message
    assert f'Rotating "{role}" in Vault' in caught.value.message


async def test_a_key_value_engine_has_nothing_to_rotate(stores: Stores) -> None:
    opened = await stores.with_token()
    with pytest.raises(ProviderRejected, match="nothing to rotate in a key/value engine"):
        await rotate(opened, "app")
    assert opened.observed.calls == []


# Around a rotation


async def test_a_password_that_is_due_is_read_again(
    database: Database, vault: VaultHarness, opened: Opened
) -> None:
    """Vault says that nought is left, then rotates."""
    role = database.static_role()
    old = await value(opened, role)
    reads = 0

    def rotated_at_the_third(request: Request) -> Action | None:
        nonlocal reads
        reads += 1
        if reads < 3:
            return times(ttl=0)
        if reads == 3:
            database.vault.call("POST", f"database/rotate-role/{role}", {})
        return None

    vault.fault = rotated_at_the_third
    new = await value(opened, role)
    assert reads == 3
    assert new.version != old.version
    assert database.postgres.lets_in(role, password(new))


async def test_a_time_that_began_anew_before_the_rotation_is_noticed(
    database: Database, vault: VaultHarness, opened: Opened
) -> None:
    """With a schedule, Vault tells the next time while the password still is that of before."""
    role = database.static_role()
    vault.fault = times(ttl=0.3)
    await value(opened, role)
    vault.fault = times(ttl=86400)
    seen = vault.requests
    while vault.requests - seen < 4:
        before = vault.requests
        await value(opened, role)
        assert vault.requests - before in {1, 4}, "once, or again three times when it is due"
        if vault.requests - before == 1:
            seen = vault.requests


async def test_a_rotation_that_does_not_come_is_waited_for_once(
    database: Database, vault: VaultHarness, opened: Opened
) -> None:
    role = database.static_role()
    vault.fault = times(ttl=0)
    first = await value(opened, role)
    assert vault.requests == 4
    assert await value(opened, role) == first
    assert vault.requests == 5


async def test_what_fails_while_it_is_waited_for_costs_nothing(
    database: Database, vault: VaultHarness, opened: Opened
) -> None:
    role = database.static_role()
    answers = iter([times(ttl=0)])
    vault.fault = lambda _: next(answers, error_reply(500, "internal error"))
    assert isinstance(await read(opened, role), SecretValue)


# The check


async def test_the_mount_has_to_be_what_the_store_says(
    database: Database, stores: Stores, opened: Opened
) -> None:
    await opened.client.check()
    kv = await store(database, stores, "read secret/*", path="secret")
    with pytest.raises(ProviderRejected, match="is no database engine"):
        await kv.client.check()
    assert isinstance(await read(kv, "app"), ProviderRejected), "nothing is missing there"
    none = await store(database, stores, *ALL, path="elsewhere")
    with pytest.raises(AccessDenied, match='"elsewhere/static-creds/\\*"'):
        await none.client.check()
    other = await store(database, stores, *ALL, engine="kv", path="database")
    with pytest.raises(ProviderRejected, match="is no key/value engine"):
        await other.client.check()


# LDAP


async def test_ldap_has_the_same_by_other_paths(vault: VaultHarness, stores: Stores) -> None:
    roles: dict[str, dict[str, Any]] = {
        "svc/billing": {"username": "billing", "dn": "cn=billing", "password": "p1"}
    }
    turn = iter(range(1, 60))

    def moment() -> str:
        return f"2026-01-01T00:00:{next(turn):02}.123456789Z"

    for role in roles.values():
        role |= {"last_vault_rotation": moment(), "rotation_period": 3600, "ttl": 1800}
        role["last_password"] = ""

    def answer(request: Request) -> Action:
        path, _, query = request.path.removeprefix("/v1/").partition("?")
        listed = {"ldap/static-role": ["svc/"], "ldap/static-role/svc": ["billing"]}
        if path == "sys/internal/ui/mounts/ldap":
            return said({"type": "ldap", "options": None})
        if "list" in query:
            return said({"keys": listed[path]})
        kind, _, name = path.removeprefix("ldap/").partition("/")
        if name not in roles:
            return error_reply(400, f"unknown role: {name}")
        if kind == "rotate-role":
            roles[name] |= {
                "last_password": roles[name]["password"],
                "password": "p2",
                "last_vault_rotation": moment(),
            }
            return Reply(204)
        assert kind == "static-cred"
        return said(roles[name])

    vault.fault = answer
    opened = await stores.with_token(timing=HURRIED, engine="ldap", path="ldap")
    await opened.client.check()
    first = await opened.client.find(Query(path="svc/"))
    assert first == Found(("svc/billing",))
    everything = await opened.client.find(Query())
    assert everything.keys == ()
    assert await opened.client.find(Query(), page=everything.more) == Found(("svc/billing",))
    one = await value(opened, "svc/billing")
    assert json.loads(one.reveal()) == {
        "dn": "cn=billing",
        "last_password": "",
        "password": "p1",
        "username": "billing",
    }
    assert await rotate(opened, "svc/billing") == "2026-01-01T00:00:02.123456789Z"
    assert password(await value(opened, "svc/billing")) == "p2"
    assert await read(opened, "svc/nobody") == NotFound()


def said(data: Any) -> Reply:
    return Reply(200, json.dumps({"data": data}).encode(), {"Content-Type": "application/json"})
