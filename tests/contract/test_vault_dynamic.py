"""The generator vaultDynamic, against a real Vault that makes users of a real PostgreSQL."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from contract.harness import Observations
from contract.proxy import Reset
from contract.vault import PATIENT, VaultHarness, error_reply
from contract.vaultdatabase import Database, vault
from contract.vaultstores import SELECTOR, until
from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
)
from syncret.generators.base import Generated, GeneratorClient, Lease
from syncret.generators.vaultdynamic.config import PATH
from syncret.generators.vaultdynamic.generator import VaultDynamic
from syncret.generators.vaultdynamic.holder import Holder
from syncret.providers.base import SecretValue
from testbed.vault import VaultError

__all__ = ["vault"]

TIMING = replace(PATIENT, pause=0.05)
RENEW = "update sys/leases/renew"
RENEW_TOKEN = "update auth/token/renew-accessor"
LOOK_UP_TOKEN = "update auth/token/lookup-accessor"
REVOKE = "update sys/leases/revoke"
ALL = ("read database/creds/*", RENEW, REVOKE, RENEW_TOKEN, LOOK_UP_TOKEN)


@dataclass
class Process:
    """One process of the operator: what it opened, and what it was told."""

    client: GeneratorClient
    observed: Observations = field(default_factory=Observations)

    async def generate(self) -> Generated:
        return await self.client.generate(owner="shop/orders")

    def count(self, operation: str, outcome: str = "ok") -> int:
        return self.observed.calls.count((operation, outcome))


@dataclass
class Generators:
    """Opens generators that log in by an AppRole; the fixture closes them."""

    database: Database
    vault: VaultHarness
    stack: AsyncExitStack

    async def __call__(
        self,
        path: str,
        *,
        rules: Sequence[str] = ALL,
        token: Mapping[str, Any] | None = None,
        login: tuple[str, str] | None = None,
        **spec: Any,
    ) -> Process:
        """``token``: what tokens of the role are like; ``login``: a role that is there."""
        role, secret = login or self.database.approle(*rules, **(token or {"token_ttl": "1h"}))
        auth = {"appRole": {"roleId": role, "secretRef": SELECTOR}}
        return await self.open(path, auth, {"secretId": secret}, **spec)

    async def with_token(self, path: str, token: str, **spec: Any) -> Process:
        return await self.open(path, {"tokenSecretRef": SELECTOR}, {"token": token}, **spec)

    async def open(
        self, path: str, auth: Mapping[str, Any], secrets: Mapping[str, str], **spec: Any
    ) -> Process:
        generator = VaultDynamic(timing=TIMING, chance=lambda: 0.5)
        provider = {"server": self.vault.proxy.url, "auth": auth}
        config = generator.parse({"path": path, "provider": provider, **spec}, cluster_scoped=False)
        observed = Observations()
        credentials = {name: SecretValue(value.encode()) for name, value in secrets.items()}
        client = await generator.open(config, credentials, observe=observed)
        self.stack.push_async_callback(client.close)
        return Process(client, observed)


@pytest.fixture
async def generators(database: Database, vault: VaultHarness) -> AsyncIterator[Generators]:
    async with AsyncExitStack() as stack:
        yield Generators(database, vault, stack)


def account(made: Generated) -> tuple[str, str]:
    """The user name and the password."""
    return made.values["username"].reveal().decode(), made.values["password"].reveal().decode()


def leased(made: Generated) -> Lease:
    assert made.lease is not None
    return made.lease


# Making and revoking


async def test_what_is_made_lets_in_until_it_is_revoked(
    database: Database, generators: Generators
) -> None:
    process = await generators(database.role(default_ttl="1h", max_ttl="24h"))
    await process.client.check()
    made, other = await process.generate(), await process.generate()
    assert set(made.values) == {"username", "password"}
    assert account(made) != account(other)
    lease = leased(made)
    assert lease.seconds == pytest.approx(3600, abs=60)
    assert (lease.renewable, made.expires) == (True, None)
    assert database.postgres.lets_in(*account(made))
    await process.client.revoke(lease)
    assert not database.postgres.lets_in(*account(made))
    assert database.postgres.lets_in(*account(other))
    await process.client.revoke(lease)
    assert await process.client.renew(lease) is None, "there is no such lease any more"
    assert process.count("Login") == 1


async def test_nobody_sees_the_values_by_accident(
    database: Database, generators: Generators
) -> None:
    made = await (await generators(database.role())).generate()
    user, password = account(made)
    assert user not in repr(made)
    assert password not in repr(made)


async def test_many_are_one_login(database: Database, generators: Generators) -> None:
    process = await generators(database.role())
    made = await asyncio.gather(*(process.generate() for _ in range(10)))
    assert len({account(one) for one in made}) == 10
    assert process.count("Login") == 1


# Renewing


async def test_a_renewal_extends_until_the_maximum(
    database: Database, generators: Generators
) -> None:
    process = await generators(database.role(default_ttl="60s", max_ttl="62s"))
    made = await process.generate()
    lease = leased(made)
    assert lease.seconds == 60
    await until(lambda: database.left(lease.id) < 59, "a part of the lease is over")
    renewed = await process.client.renew(lease)
    assert renewed is not None
    assert renewed.id == lease.id
    assert 59 <= renewed.seconds <= 60
    await until(lambda: database.left(lease.id) < 57, "another part")
    near = await process.client.renew(renewed)
    assert near is not None
    assert near.seconds < 60, "its maximum comes near"
    assert database.postgres.lets_in(*account(made))


async def test_as_much_is_asked_for_as_the_lease_was_at_first(
    database: Database, vault: VaultHarness, generators: Generators
) -> None:
    process = await generators(database.role(default_ttl="1h"))
    lease = leased(await process.generate())
    assert await process.client.renew(replace(lease, seconds=60)) is not None
    (asked,) = [one for one in vault.proxy.requests if one.path == "/v1/sys/leases/renew"]
    assert asked.json == {"lease_id": lease.id, "increment": 3600}


async def test_the_lease_outlives_the_process_that_made_it(
    database: Database, generators: Generators
) -> None:
    """Its token is renewed by whoever comes after, and longer than it would have lived."""
    login = generators.database.approle(*ALL, token_ttl="4s", token_max_ttl="1h")
    path = database.role(default_ttl="1h")
    before = await generators(path, login=login)
    made = await before.generate()
    await before.client.close()
    lease = leased(made)
    assert 0 < lease.seconds <= 4, "no longer than the token"
    after = await generators(path, login=login)
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < 6:
        renewed = await after.client.renew(lease)
        assert renewed is not None
        assert 3 <= renewed.seconds <= 4
        lease = renewed
        await asyncio.sleep(1)
    assert after.count("RenewAccessor") >= 4
    assert database.postgres.lets_in(*account(made))

    def ended() -> bool:
        return not database.postgres.lets_in(*account(made))

    await until(ended, "nobody renews, and it ends with its token")
    assert await after.client.renew(lease) is None


async def test_without_anybody_who_renews_the_token_the_lease_ends_with_it(
    database: Database, generators: Generators
) -> None:
    """Where the policy has neither renewal nor look, what was written down of it counts."""
    login = generators.database.approle(*ALL[:2], token_ttl="1h")
    path = database.role(default_ttl="24h")
    before = await generators(path, login=login)
    lease = leased(await before.generate())
    assert lease.seconds <= 3600
    after = await generators(path, login=login)
    renewed = await after.client.renew(lease)
    assert renewed is not None
    assert after.count("RenewAccessor", "denied") == after.count("LookupAccessor", "denied") == 1
    assert 3500 < renewed.seconds <= 3600
    known = Holder.of(lease.holder)
    over = replace(lease, holder=str(replace(known, ends=1)))
    ended = await after.client.renew(over)
    assert ended is not None
    assert ended.seconds == 0, "nothing says that it lives on"


async def test_a_token_that_cannot_be_renewed_is_looked_up(
    database: Database, generators: Generators
) -> None:
    rules = [rule for rule in ALL if rule != RENEW_TOKEN]
    login = generators.database.approle(*rules, token_ttl="100s")
    path = database.role(default_ttl="1h")
    before = await generators(path, login=login)
    lease = leased(await before.generate())
    after = await generators(path, login=login)
    renewed = await after.client.renew(lease)
    assert renewed is not None
    assert 50 < renewed.seconds <= 100
    assert after.count("LookupAccessor") == 1


async def test_a_token_that_nears_its_maximum_makes_no_new_leases(
    database: Database, generators: Generators
) -> None:
    process = await generators(
        database.role(default_ttl="1h"), token={"token_ttl": "6s", "token_max_ttl": "8s"}
    )
    first = leased(await process.generate())
    await until(lambda: process.count("Login") >= 2, "another login")
    second = leased(await process.generate())
    assert Holder.of(first.holder).accessor != Holder.of(second.holder).accessor
    assert second.seconds > 3
    near = await process.client.renew(first)
    assert near is None or near.seconds < 6, "it ends with the token that made it"


async def test_batch_tokens_end_and_their_leases_with_them(
    database: Database, generators: Generators
) -> None:
    process = await generators(
        database.role(default_ttl="1h"), token={"token_type": "batch", "token_ttl": "100s"}
    )
    made = await process.generate()
    lease = leased(made)
    assert 90 < lease.seconds <= 100
    assert Holder.of(lease.holder).accessor == ""
    if lease.renewable:
        renewed = await process.client.renew(lease)
        assert renewed is not None
        assert renewed.seconds <= 100
    assert database.postgres.lets_in(*account(made))


async def test_a_token_that_was_given(database: Database, generators: Generators) -> None:
    policies = [database.policy(*ALL)]
    token = database.vault.make_token(policies=policies, period="100s")
    process = await generators.with_token(database.role(default_ttl="1h"), token)
    lease = leased(await process.generate())
    assert 90 < lease.seconds <= 100
    assert Holder.of(lease.holder).accessor
    renewed = await process.client.renew(lease)
    assert renewed is not None
    assert 90 < renewed.seconds <= 100
    assert process.count("RenewAccessor") == 0, "it is the token in use"
    root = await generators.with_token(database.role(default_ttl="1h"), database.vault.token)
    assert leased(await root.generate()).seconds == 3600
    assert Holder.of(leased(await root.generate()).holder).ends == 0


async def test_closing_ends_no_lease(database: Database, generators: Generators) -> None:
    path = database.role(default_ttl="1h")
    process = await generators(path)
    made = await process.generate()
    await process.client.close()
    assert process.count("RevokeSelf") == 0
    assert database.postgres.lets_in(*account(made))
    idle = await generators(path)
    await idle.client.check()
    await idle.client.close()
    assert idle.count("RevokeSelf") == 1, "a token that made nothing is given back"


# Other results


async def test_a_token_as_a_result_is_renewed_and_revoked_by_its_accessor(
    database: Database, generators: Generators
) -> None:
    rules = ("update auth/token/create", RENEW_TOKEN, "update auth/token/revoke-accessor")
    process = await generators(
        "auth/token/create",
        rules=rules,
        method="POST",
        parameters={"ttl": "30m", "policies": ["default"], "meta": {"app": "shop"}},
        resultType="Auth",
    )
    made = await process.generate()
    token = made.values["client_token"].reveal().decode()
    assert json.loads(made.values["metadata"].reveal()) == {"app": "shop"}
    lease = leased(made)
    assert (lease.seconds, lease.renewable) == (1800, True)
    renewed = await process.client.renew(lease)
    assert renewed is not None
    assert 1790 <= renewed.seconds <= 1800
    database.vault.call("GET", "auth/token/lookup-self", token=token)
    await process.client.revoke(lease)
    with pytest.raises(VaultError):
        database.vault.call("GET", "auth/token/lookup-self", token=token)
    assert await process.client.renew(lease) is None
    await process.client.revoke(lease)


async def test_a_raw_result_is_the_whole_answer(database: Database, generators: Generators) -> None:
    process = await generators(database.role(default_ttl="1h"), resultType="Raw")
    made = await process.generate()
    lease = leased(made)
    assert made.values["lease_id"].reveal().decode() == lease.id
    assert made.values["lease_duration"].reveal() == b"3600"
    assert set(json.loads(made.values["data"].reveal())) == {"username", "password"}


async def test_what_has_no_lease_has_none(database: Database, generators: Generators) -> None:
    database.vault.call("POST", "secret/data/app", {"data": {"a": "b", "n": 1.5}})
    process = await generators("secret/data/app", rules=["read secret/data/*"])
    made = await process.generate()
    assert json.loads(made.values["data"].reveal()) == {"a": "b", "n": 1.5}
    assert made.lease is None


# Failures


@pytest.mark.parametrize(
    ("lacking", "rule"),
    [
        (ALL[0], 'path "database/creds/'),
        (RENEW, 'path "sys/leases/renew" { capabilities = ["update"] }'),
        (REVOKE, 'path "sys/leases/revoke" { capabilities = ["update"] }'),
    ],
)
async def test_a_denial_names_the_rule_that_is_missing(
    database: Database, generators: Generators, lacking: str, rule: str
) -> None:
    path = database.role()
    able = await generators(path)
    lease = leased(await able.generate())
    rules = [one for one in ALL if one != lacking]
    process = await generators(path, rules=rules, token={"token_no_default_policy": True})
    tried: dict[str, Awaitable[object]] = {
        ALL[0]: process.generate(),
        RENEW: process.client.renew(lease),
        REVOKE: process.client.revoke(lease),
    }
    with pytest.raises(AccessDenied) as caught:
        await tried.pop(lacking)
    for one in tried.values():
        await one
    assert rule in caught.value.message


async def test_the_check_names_the_rule_that_is_missing(
    database: Database, generators: Generators
) -> None:
    path = database.role()
    process = await generators(path, rules=[RENEW])
    with pytest.raises(AccessDenied) as caught:
        await process.client.check()
    assert f'path "{path}" {{ capabilities = ["read"] }}' in caught.value.message
    writes = await generators(path, method="POST")
    with pytest.raises(AccessDenied, match=r'capabilities = \["update"\]'):
        await writes.client.check()
    blind = await generators(path, rules=[RENEW], token={"token_no_default_policy": True})
    await blind.client.check()


@pytest.mark.parametrize(
    ("path", "spec", "words"),
    [
        ("database/creds/nobody", {}, "there is no such role"),
        ("elsewhere/creds/app", {}, "there is nothing at"),
        ("database/rotate-root/shop", {}, f"Correct {PATH}.method"),
        ("auth/token/create", {"method": "POST"}, f"set {PATH}.resultType to Auth"),
    ],
)
async def test_what_cannot_be_made_is_told(
    database: Database, generators: Generators, path: str, spec: Any, words: str
) -> None:
    process = await generators.with_token(path, database.vault.token, **spec)
    with pytest.raises(ProviderRejected) as caught:
        await process.generate()
    assert words in caught.value.message


async def test_a_database_that_refuses_is_told(database: Database, generators: Generators) -> None:
    process = await generators(database.role(creation_statements=["CREATE NONSENSE;"]))
    with pytest.raises(ProviderUnavailable, match="See Vault's log") as caught:
        await process.generate()
    assert "NONSENSE" not in caught.value.message


async def test_what_is_made_is_not_asked_for_twice(
    database: Database, vault: VaultHarness, generators: Generators
) -> None:
    """If the answer is lost, there may be a credential already."""
    path = database.role()
    process = await generators(path)
    await process.client.check()
    vault.fault = lambda one: Reset() if one.path == f"/v1/{path}" else None
    with pytest.raises(ProviderUnavailable) as caught:
        await process.generate()
    assert f"check {PATH}.provider.server" in caught.value.message
    assert sum(one.path == f"/v1/{path}" for one in vault.proxy.requests) == 1


async def test_a_vault_that_fails_for_now_loses_no_lease(
    database: Database, vault: VaultHarness, generators: Generators
) -> None:
    login = generators.database.approle(*ALL, token_ttl="1h")
    path = database.role()
    lease = leased(await (await generators(path, login=login)).generate())
    process = await generators(path, login=login)
    for end in ("renew-accessor", "leases/renew"):
        sealed = error_reply(503, "Vault is sealed")

        def fault(one: Any, end: str = end, sealed: Any = sealed) -> Any:
            return sealed if one.path.endswith(end) else None

        vault.fault = fault
        with pytest.raises(ProviderError, match="sealed"):
            await process.client.renew(lease)
    vault.fault = None
    assert await process.client.renew(lease) is not None
