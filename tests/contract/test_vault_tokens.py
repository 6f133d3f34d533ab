"""The tokens of Vault's stores: one login for all readers, renewal, loss, and giving back.

Against real tokens that live for seconds. What is counted is counted in the proxy.
"""

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from contract.opened import Opened, fresh
from contract.proxy import Hang, Reply
from contract.vault import VaultHarness, error_reply
from contract.vaultstores import BRISK, SELECTOR, Stores, stores, until
from support.clock import FakeClock
from syncret.errors import AccessDenied, ProviderRejected, ProviderUnavailable
from syncret.providers.base import Ref, SecretValue
from syncret.providers.vault.provider import VaultProvider
from testbed.vault import VaultError

__all__ = ["stores"]


@pytest.fixture
def key(vault: VaultHarness) -> str:
    """A secret."""
    key = fresh()
    vault.put(key, b"value")
    return key


async def reads(opened: Opened, key: str, count: int = 1) -> bool:
    """Whether as many readers at once all get the value."""
    ref = Ref(key)
    read = await asyncio.gather(*(opened.client.fetch([ref]) for _ in range(count)))
    return all(isinstance(one[ref], SecretValue) for one in read)


def alive(vault: VaultHarness, token: str) -> bool:
    try:
        vault.vault.call("POST", "auth/token/lookup", {"token": token})
    except VaultError:
        return False
    return True


async def test_fifty_readers_are_one_login(stores: Stores, key: str) -> None:
    opened = await stores.with_app_role({"token_ttl": "1h"})
    assert await reads(opened, key, 50)
    assert await reads(opened, key, 50)
    await opened.client.check()
    assert len(stores.logins()) == 1
    assert len(stores.tokens()) == 1


async def test_a_failed_login_is_one_for_all_who_wait_for_it(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    mount, role_id, _ = stores.app_role({})
    auth = {"path": mount, "roleId": role_id, "secretRef": SELECTOR}
    opened = await stores({"appRole": auth}, {"secretId": "fake-secret-id"})
    with pytest.raises(AccessDenied, match="refused the credentials"):
        await opened.client.fetch([Ref(f"{key}{number}") for number in range(20)])
    assert len(stores.logins()) == 1


async def test_a_method_that_is_not_there_is_asked_once_for_all(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    mount, role_id, secret_id = stores.app_role({})
    auth = {"path": mount, "roleId": role_id, "secretRef": SELECTOR}
    opened = await stores({"appRole": auth}, {"secretId": secret_id})
    vault.fault = error_reply(404, "no handler for route")
    with pytest.raises(ProviderRejected, match="no auth method at auth/approle"):
        await opened.client.fetch([Ref(f"{key}{number}") for number in range(20)])
    assert len(stores.logins()) == 1


async def test_a_cancelled_reader_leaves_the_login_to_the_others(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    opened = await stores.with_app_role({"token_ttl": "1h"})
    impatient = asyncio.create_task(reads(opened, key))
    patient = asyncio.create_task(reads(opened, key))
    await until(lambda: len(stores.logins()) == 1, "the login")
    impatient.cancel()
    assert await patient
    assert len(stores.logins()) == 1


# Renewal


def count(opened: Opened, operation: str) -> int:
    """How often a store did that, and it went well."""
    return opened.observed.calls.count((operation, "ok"))


def renewed_twice(opened: Opened) -> bool:
    return count(opened, "RenewSelf") >= 2


async def test_tokens_are_renewed_before_they_end(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    given = vault.vault.make_token(policies=[vault.policy], ttl="4s", explicit_max_ttl="1h")
    opened = [
        await stores.with_app_role({"token_ttl": "4s", "token_max_ttl": "1h"}, timing=BRISK),
        await stores.with_app_role({"token_period": "4s"}, timing=BRISK),
        await stores.with_token(given, timing=BRISK),
    ]
    for one in opened:
        assert await reads(one, key)
    tokens = stores.tokens()
    for one in opened:
        await until(partial(renewed_twice, one), "two renewals: longer than a life")
        assert await reads(one, key)
    assert len(stores.logins()) == 2
    assert stores.tokens() == tokens, "they stay the same"
    for one in opened:
        await one.client.close()
    assert [alive(vault, token) for token in tokens] == [False, False, True]
    assert stores.asked("revoke-self") == 2, "a token that was given is somebody else's"


async def test_tokens_that_cannot_live_on_are_replaced_before_they_end(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    opened = [
        await stores.with_app_role({"token_ttl": "4s", "token_max_ttl": "5s"}, timing=BRISK),
        await stores.with_app_role({"token_type": "batch", "token_ttl": "4s"}, timing=BRISK),
    ]
    for one in opened:
        assert await reads(one, key)

    def replaced() -> bool:
        return all(count(one, "Login") >= 2 for one in opened)

    await until(replaced, "another token for each")
    for one in opened:
        assert await reads(one, key)
        assert ("ReadSecret", "denied") not in one.observed.calls


async def test_a_renewal_that_fails_for_now_is_tried_again(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    opened = await stores.with_app_role({"token_ttl": "5s"}, timing=BRISK)
    failing = iter([error_reply(503), error_reply(429)])

    def fault(request: Any) -> Any:
        return next(failing, None) if request.path.endswith("renew-self") else None

    vault.fault = fault
    assert await reads(opened, key)
    await until(lambda: ("RenewSelf", "ok") in opened.observed.calls, "a renewal that goes well")
    assert await reads(opened, key)
    assert len(stores.logins()) == 1


async def test_where_renewal_is_denied_a_login_takes_its_place(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    how = {"token_ttl": "2s", "token_no_default_policy": True}
    opened = await stores.with_app_role(how, timing=BRISK)
    assert await reads(opened, key)
    await until(lambda: len(stores.logins()) == 2, "the second login")
    assert ("RenewSelf", "denied") in opened.observed.calls
    assert await reads(opened, key)


# Loss


async def test_a_token_that_is_revoked_costs_no_reader_an_error(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    opened = await stores.with_app_role({"token_ttl": "1h"})
    assert await reads(opened, key)
    (token,) = stores.tokens()
    vault.vault.call("POST", "auth/token/revoke", {"token": token})
    assert await reads(opened, key, 50)
    assert len(stores.logins()) == 2
    (_, second) = stores.tokens()
    vault.vault.call("POST", "auth/token/revoke", {"token": second})
    await opened.client.check()
    assert len(stores.logins()) == 3


async def test_a_token_with_few_uses_is_replaced_when_they_are_used_up(
    stores: Stores, key: str
) -> None:
    opened = await stores.with_app_role({"token_ttl": "1h", "token_num_uses": 3})
    for _ in range(7):
        assert await reads(opened, key)
    assert len(stores.logins()) == 3


async def test_a_policy_that_denies_is_no_lost_token(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    opened = await stores.with_app_role({"token_ttl": "1h"})
    vault.deny(key)
    for _ in range(3):
        assert isinstance((await opened.client.fetch([Ref(key)]))[Ref(key)], AccessDenied)
    assert len(stores.logins()) == 1


async def test_words_that_may_mean_either_cost_one_login(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    """Vault before 1.17, and OpenBao, say the same of a token that they do not know."""
    opened = await stores.with_app_role({"token_ttl": "1h"})
    path = f"/v1/secret/data/{key}"
    vault.fault = lambda one: error_reply(403, "permission denied") if one.path == path else None
    for _ in range(5):
        denied = (await opened.client.fetch([Ref(key)]))[Ref(key)]
        assert isinstance(denied, AccessDenied)
        assert f'path "secret/data/{key}"' in denied.message
    assert len(stores.logins()) == 2


async def test_why_there_is_no_other_token_is_told(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    opened = await stores.with_app_role({"token_ttl": "1h"})
    assert await reads(opened, key)
    (token,) = stores.tokens()
    vault.vault.call("POST", "auth/token/revoke", {"token": token})
    vault.fault = lambda one: error_reply(503, "Vault is sealed") if "/login" in one.path else None
    with pytest.raises(ProviderUnavailable, match="sealed"):
        await opened.client.fetch([Ref(key)])


async def test_login_after_login_that_vault_forgets_is_refused(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    opened = await stores.with_app_role({"token_ttl": "1h"})
    lost = error_reply(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
    vault.fault = lambda one: lost if "/login" not in one.path else None
    with pytest.raises(AccessDenied, match="refused the credentials"):
        await opened.client.fetch([Ref(key)])
    assert len(stores.logins()) == 2


# Tokens that are given


async def test_a_given_token_is_used_until_it_ends(
    vault: VaultHarness, stores: Stores, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One that may not renew itself, and one that has a maximum."""
    caplog.set_level(logging.INFO)
    look = 'path "auth/token/lookup-self" { capabilities = ["read"] }'
    vault.vault.policy("looks", look)
    policies = [vault.policy, "looks"]
    make = vault.vault.make_token
    tokens = [
        make(policies=policies, ttl="2s", no_default_policy=True),
        make(policies=policies, ttl="2s", explicit_max_ttl="3s"),
    ]
    opened = [await stores.with_token(token, timing=BRISK) for token in tokens]
    for one in opened:
        assert await reads(one, key)
    await until(lambda: "auth/token/renew-self" in caplog.text, "what the policies lack")
    await until(lambda: not any(alive(vault, token) for token in tokens), "their ends")
    assert ("RenewSelf", "ok") in opened[1].observed.calls
    for one in opened:
        with pytest.raises(AccessDenied, match="does not know the token"):
            await one.client.fetch([Ref(key)])
    assert stores.logins() == []


async def test_a_given_token_without_end_is_looked_up_once(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    opened = await stores.with_token(vault.vault.token, timing=BRISK)
    assert await reads(opened, key)
    await until(lambda: stores.asked("lookup-self") == 1, "the look")
    assert await reads(opened, key)
    assert stores.asked("renew-self") == 0


@pytest.mark.parametrize(
    "answer", [error_reply(503), Reply(200, b"<html>It works!</html>")], ids=["fails", "not-vault"]
)
async def test_a_given_token_is_looked_up_less_and_less_while_vault_fails(
    vault: VaultHarness, stores: Stores, key: str, answer: Reply
) -> None:
    clock = FakeClock()
    provider = VaultProvider(timing=replace(BRISK, look=5.0), clock=clock)
    opened = await stores.with_token(provider=provider)
    assert await reads(opened, key)
    vault.fault = lambda request: answer if request.path.endswith("lookup-self") else None
    waits = []
    for _ in range(8):
        await until(lambda: clock.due is not None, "the next look is planned")
        waits.append((clock.due or 0.0) - clock.now)
        clock.advance(waits[-1])
    assert waits == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


# The end


async def test_a_token_of_our_own_login_is_given_back(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    opened = await stores.with_app_role({"token_ttl": "1h"})
    assert await reads(opened, key)
    (token,) = stores.tokens()
    assert alive(vault, token)
    await opened.client.close()
    assert not alive(vault, token)


async def test_a_batch_token_is_not_given_back(stores: Stores, key: str) -> None:
    """Vault refuses to revoke one."""
    opened = await stores.with_app_role({"token_type": "batch", "token_ttl": "1h"})
    assert await reads(opened, key)
    await opened.client.close()
    assert stores.asked("revoke-self") == 0


async def test_a_store_that_was_never_read_closes_without_a_call(stores: Stores) -> None:
    opened = await stores.with_app_role({"token_ttl": "1h"})
    await opened.client.close()
    assert opened.observed.calls == []


async def test_closing_waits_not_long_for_a_vault_that_hangs(
    vault: VaultHarness, stores: Stores, key: str
) -> None:
    opened = await stores.with_app_role({"token_ttl": "1h"}, timing=replace(BRISK, close=0.2))
    assert await reads(opened, key)
    vault.fault = Hang()
    async with asyncio.timeout(20):
        await opened.client.close()
