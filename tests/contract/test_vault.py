"""What only Vault does: mounts and their versions, deleted versions, namespaces, policies."""

import json
from uuid import uuid4

import pytest

from contract.opened import bytes_of, fresh
from contract.vault import MOUNT, VaultHarness
from contract.vaultstores import Stores, put, read, stores
from syncret.errors import (
    AccessDenied,
    ProviderRejected,
    Throttled,
)
from syncret.providers.base import Found, NotFound, Query, Ref, SecretValue
from testbed.vault import Vault

__all__ = ["stores"]


def root_of(vault: VaultHarness, mount: str) -> str:
    """A token that may do all in a mount."""
    policy = f"all-{uuid4().hex[:8]}"
    rule = f'path "{mount}/*" {{ capabilities = ["read", "list"] }}'
    vault.vault.policy(policy, rule)
    return vault.vault.make_token(policies=[policy], ttl="1h")


@pytest.fixture(scope="session")
def old_engine(vault_server: Vault) -> str:
    """A mount of version 1."""
    vault_server.mount("old", version=1)
    return "old"


@pytest.fixture(scope="session")
def deep_engine(vault_server: Vault) -> str:
    """A mount of several segments."""
    vault_server.mount("team/kv")
    return "team/kv"


# Values


async def test_a_secret_is_its_fields_as_json_in_a_stable_order(
    vault: VaultHarness, stores: Stores
) -> None:
    key = fresh()
    put(
        vault,
        key,
        {"b": "x<&>", "a": 1.5, "u": "höflich 秘密", "n": None, "o": {"z": [1], "a": True}},
    )
    value = await read(await stores.with_token(), key)
    assert bytes_of(value).decode() == (
        '{"a":1.5,"b":"x<&>","n":null,"o":{"a":true,"z":[1]},"u":"höflich 秘密"}'
    )


async def test_tags_and_expiry_come_with_the_value(vault: VaultHarness, stores: Stores) -> None:
    key, plain = fresh(), fresh()
    vault.vault.call("POST", f"{MOUNT}/metadata/{key}", {"delete_version_after": "1h"})
    for one in (key, plain):
        put(vault, one, {"a": "b"})
    vault.tag(key, {"team": "payments"})
    opened = await stores.with_token()
    before = vault.requests
    value, other = await read(opened, key), await read(opened, plain)
    assert vault.requests == before + 2
    assert isinstance(value, SecretValue)
    assert isinstance(other, SecretValue)
    assert value.tags == {"team": "payments"}
    assert value.created is not None
    assert value.expires is not None
    assert (value.expires - value.created).total_seconds() == pytest.approx(3600, abs=1)
    assert (other.tags, other.expires) == ({}, None)


@pytest.mark.parametrize("version", ["0", "-1", "latest", "1.5", "v2"])
async def test_a_version_that_is_no_number_from_one_is_refused(
    vault: VaultHarness, stores: Stores, version: str
) -> None:
    """Vault takes 0 and -1 for the current version."""
    key = fresh()
    put(vault, key, {"a": "b"})
    opened = await stores.with_token()
    assert isinstance(await read(opened, key, version), ProviderRejected)
    assert opened.observed.calls == []


# Deleted, destroyed


async def test_a_deleted_current_version_is_not_found_until_it_is_undeleted(
    vault: VaultHarness, stores: Stores
) -> None:
    key, call = fresh(), vault.vault.call
    put(vault, key, {"a": "first"})
    put(vault, key, {"a": "second"})
    opened = await stores.with_token()
    call("DELETE", f"{MOUNT}/data/{key}")
    assert await read(opened, key) == NotFound(), "an older value does not take its place"
    assert await read(opened, key, "2") == NotFound(version_missing=True)
    assert json.loads(bytes_of(await read(opened, key, "1"))) == {"a": "first"}
    tags = Ref(key, metadata=True)
    assert (await opened.client.fetch([tags]))[tags] == NotFound()
    call("POST", f"{MOUNT}/undelete/{key}", {"versions": [2]})
    assert json.loads(bytes_of(await read(opened, key))) == {"a": "second"}
    call("PUT", f"{MOUNT}/destroy/{key}", {"versions": [2]})
    assert await read(opened, key) == NotFound()
    assert await read(opened, key, "2") == NotFound(version_missing=True)


async def test_a_search_lists_a_deleted_version_whose_value_is_not_found(
    vault: VaultHarness, stores: Stores
) -> None:
    """Vault lists it like others; the engine leaves out what is found and has no value."""
    prefix = fresh("")
    put(vault, f"{prefix}gone", {"a": "b"})
    vault.vault.call("DELETE", f"{MOUNT}/data/{prefix}gone")
    opened = await stores.with_token()
    assert await opened.client.find(Query(path=prefix)) == Found((f"{prefix}gone",))
    assert await read(opened, f"{prefix}gone") == NotFound()


# Mounts


@pytest.mark.parametrize("form", ["{key}", "secret/{key}", "secret/data/{key}"])
async def test_a_key_may_repeat_the_mount(vault: VaultHarness, stores: Stores, form: str) -> None:
    key = fresh()
    put(vault, key, {"a": "b"})
    opened = await stores.with_token()
    assert bytes_of(await read(opened, form.format(key=key))) == b'{"a":"b"}'
    assert vault.proxy.requests[-1].path == f"/v1/secret/data/{key}"


async def test_without_a_path_a_key_begins_with_the_mount(
    vault: VaultHarness, stores: Stores, deep_engine: str
) -> None:
    key = fresh()
    put(vault, key, {"a": "shallow"})
    put(vault, key, {"a": "deep"}, mount=deep_engine)
    opened = await stores.with_token(vault.vault.token, path=None)
    for form, expected in (
        (f"secret/{key}", "shallow"),
        (f"secret/data/{key}", "shallow"),
        (f"team/kv/data/{key}", "deep"),
    ):
        assert json.loads(bytes_of(await read(opened, form))) == {"a": expected}
    assert await opened.client.find(Query(path=f"secret/{key}")) == Found((f"secret/{key}",))
    nowhere = await read(opened, f"nowhere/{key}")
    assert isinstance(nowhere, ProviderRejected)
    assert "nothing is mounted" in nowhere.message
    assert isinstance(await read(opened, "secret"), ProviderRejected)
    with pytest.raises(ProviderRejected, match="begins with the mount"):
        await opened.client.find(Query(path="secret"))
    await opened.client.check()


async def test_version_1_is_read_listed_and_has_no_versions(
    vault: VaultHarness, stores: Stores, old_engine: str
) -> None:
    prefix = fresh("")
    vault.vault.call("POST", f"{old_engine}/{prefix}app", {"b": "2", "a": "1"})
    vault.vault.call("POST", f"{old_engine}/{prefix}sub/app", {"a": "1"})
    opened = await stores.with_token(root_of(vault, old_engine), path=old_engine, version="v1")
    await opened.client.check()
    value = await read(opened, f"{prefix}app")
    assert isinstance(value, SecretValue)
    assert (value.reveal(), value.version, value.tags) == (b'{"a":"1","b":"2"}', "", None)
    assert bytes_of(await read(opened, f"{old_engine}/{prefix}app")) == b'{"a":"1","b":"2"}'
    assert await read(opened, f"{prefix}none") == NotFound()
    first = await opened.client.find(Query(path=prefix))
    second = await opened.client.find(Query(path=prefix), page=first.more)
    assert [*first.keys, *second.keys] == [f"{prefix}app", f"{prefix}sub/app"]
    for ref in (Ref(f"{prefix}app", "1"), Ref(f"{prefix}app", metadata=True)):
        refused = (await opened.client.fetch([ref]))[ref]
        assert isinstance(refused, ProviderRejected)
        assert "version 1 has no" in refused.message
    with pytest.raises(ProviderRejected, match="no metadata"):
        await opened.client.find(Query(path=prefix, tags=(("a", "b"),)))


async def test_a_wrong_version_makes_no_secret_missing(
    vault: VaultHarness, stores: Stores, old_engine: str
) -> None:
    """In an engine of version 1, what is read as version 2 is missing in Vault's own words."""
    key = fresh()
    put(vault, key, {"a": "b"})
    vault.vault.call("POST", f"{old_engine}/{key}", {"a": "b"})
    for mount, version, right in ((old_engine, "v2", "v1"), (MOUNT, "v1", "v2")):
        opened = await stores.with_token(vault.vault.token, path=mount, version=version)
        outcome = await read(opened, key)
        assert isinstance(outcome, ProviderRejected)
        assert "version" in outcome.message
        with pytest.raises(ProviderRejected, match=f"set spec.provider.vault.version to {right}"):
            await opened.client.check()


async def test_a_mount_that_is_no_key_value_engine_is_told(
    vault: VaultHarness, stores: Stores
) -> None:
    opened = await stores.with_token(vault.vault.token, path="sys")
    with pytest.raises(ProviderRejected, match="no key/value engine"):
        await opened.client.check()


@pytest.mark.parametrize("key", ["a/../b", "./a", "a//b", "/a", "a/", "..", "a\nb"])
async def test_a_key_that_would_become_another_path_is_not_sent(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    opened = await stores.with_token()
    assert isinstance(await read(opened, key), ProviderRejected)
    with pytest.raises(ProviderRejected):
        await opened.client.find(Query(path=f"{key}/../"))
    assert vault.proxy.requests == []


# Searches


async def test_folders_are_listed_as_deep_as_they_go(vault: VaultHarness, stores: Stores) -> None:
    prefix = fresh("")
    keys = [f"{prefix}{number}/a/b" for number in range(20)] + [f"{prefix}top"]
    for key in keys:
        put(vault, key, {"a": "b"})
    vault.tag(keys[7], {"team": "payments"})
    opened = await stores.with_token()

    async def found(query: Query) -> tuple[set[str], int]:
        names, page, pages = set(), "", 0
        while True:
            one = await opened.client.find(query, page=page)
            names |= set(one.keys)
            pages, page = pages + 1, one.more
            if not page:
                return names, pages

    names, pages = await found(Query(path=prefix))
    assert names == set(keys)
    assert pages < 7, "several folders are listed in one page"
    assert (await found(Query(path=prefix, tags=(("team", "payments"),))))[0] == {keys[7]}
    before = vault.requests
    assert (await found(Query(path=f"{prefix}7/")))[0] == {f"{prefix}7/a/b"}
    assert vault.requests == before + 2, "nothing beside the path is listed"
    names, _ = await found(Query(path=f"secret/{prefix}7/"))
    assert names == {f"secret/{prefix}7/a/b"}, "as it was asked for"


# Permissions


async def test_a_denial_names_the_rule_that_is_missing(vault: VaultHarness, stores: Stores) -> None:
    vault.vault.policy("reads-app", 'path "secret/data/app/*" { capabilities = ["read"] }')
    token = vault.vault.make_token(policies=["reads-app"], no_default_policy=True, ttl="1h")
    opened = await stores.with_token(token)
    await opened.client.check()
    assert await read(opened, "app/none") == NotFound()
    denied = await read(opened, "other/db")
    assert isinstance(denied, AccessDenied)
    assert 'path "secret/data/other/db" { capabilities = ["read"] }' in denied.message
    with pytest.raises(AccessDenied, match=r"secret/metadata/app/.*list"):
        await opened.client.find(Query(path="app/"))
    elsewhere = await stores.with_token(token, path="nowhere")
    with pytest.raises(AccessDenied, match=r'no mount at "nowhere".*nowhere/data'):
        await elsewhere.client.check()


async def test_a_quota_of_vault_is_obeyed(vault: VaultHarness, stores: Stores) -> None:
    call, mount = vault.vault.call, f"limited-{uuid4().hex[:8]}"
    vault.vault.mount(mount)
    put(vault, "app", {"a": "b"}, mount=mount)
    call("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": True})
    quota = f"sys/quotas/rate-limit/{mount}"
    call("POST", quota, {"rate": 1, "interval": "30s", "path": f"{mount}/"})
    direct = vault.vault.address  # the proxy passes on no headers of an answer
    opened = await stores.with_token(vault.vault.token, path=mount, server=direct)
    try:
        assert isinstance(await read(opened, "app"), SecretValue)
        with pytest.raises(Throttled) as raised:
            await read(opened, "app")
    finally:
        call("DELETE", quota)
    assert raised.value.retry_after is not None
    assert 0 < raised.value.retry_after <= 30
