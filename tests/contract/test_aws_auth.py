"""Who AWS is read as: roles, ServiceAccounts, and sessions that are renewed in time."""

import asyncio
import logging
import secrets
from collections.abc import Iterator

import pytest

from contract.aws import HASTY
from contract.aws_sts import Account, Login, StsHarness, role, sts_error
from contract.opened import Opened, Opener, bytes_of, fresh, story
from contract.proxy import Action, Hang
from syncret.errors import (
    AccessDenied,
    CredentialsNotFound,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    Throttled,
)
from syncret.providers.base import Ref, StoreIdentity
from testbed.moto import ACCESS_KEY, SECRET_KEY, Moto

ROLE = role("reader")
ASSUME = "AssumeRole"
BY_TOKEN = "AssumeRoleWithWebIdentity"
DENIED = sts_error(
    "AccessDenied",
    f"User: arn:aws:iam::999:user/u is not authorized to perform: sts:AssumeRole on {ROLE}",
    status=403,
)


@pytest.fixture
def sts(moto: Moto) -> Iterator[StsHarness]:
    harness = StsHarness(moto)
    yield harness
    harness.close()


def irsa(**annotations: str) -> Account:
    return Account(annotations={"eks.amazonaws.com/role-arn": ROLE, **annotations})


async def read(opened: Opened, key: str) -> bytes:
    return bytes_of((await opened.client.fetch([Ref(key)]))[Ref(key)])


# Roles


async def test_a_role_is_assumed_once_for_all_reads(sts: StsHarness, opener: Opener) -> None:
    keys = [fresh() for _ in range(3)]
    for key in keys:
        sts.put(key)
    opened = await opener(
        sts,
        role=ROLE,
        externalID="customer-17",
        sessionDuration="45m",
        sessionTags=[{"key": "team", "value": "payments"}],
        transitiveTagKeys=["team"],
        sessionTagsPolicy="Simple",
    )
    assert sts.logins == []  # not before it is used
    await asyncio.gather(*(read(opened, key) for key in keys for _ in range(10)))
    (login,) = sts.logins
    assert (login.action, login.by) == (ASSUME, ACCESS_KEY)
    asked = {name: value for name, value in login.asked.items() if name != "Version"}
    assert asked == {
        "Action": ASSUME,
        "RoleArn": ROLE,
        "RoleSessionName": "syncret-payments-aws",
        "DurationSeconds": "2700",
        "ExternalId": "customer-17",
        "Tags.member.1.Key": "team",
        "Tags.member.1.Value": "payments",
        "Tags.member.2.Key": "syncretNamespace",
        "Tags.member.2.Value": "payments",
        "Tags.member.3.Key": "syncretStoreKind",
        "Tags.member.3.Value": "SecretStore",
        "Tags.member.4.Key": "syncretStoreName",
        "Tags.member.4.Value": "aws",
        "TransitiveTagKeys.member.1": "team",
    }
    assert set(sts.reads) == {login.key}
    assert opened.observed.calls.count((ASSUME, "ok")) == 1


async def test_roles_are_assumed_one_with_the_other(sts: StsHarness, opener: Opener) -> None:
    key = fresh()
    sts.put(key)
    opened = await opener(
        sts, additionalRoles=[role("one"), role("two")], role=ROLE, externalID="id-1"
    )
    await read(opened, key)
    assert [login.parameter("RoleArn") for login in sts.logins] == [role("one"), role("two"), ROLE]
    assert [login.by for login in sts.logins] == [
        ACCESS_KEY,
        sts.logins[0].key,
        sts.logins[1].key,
    ]
    assert [login.parameter("ExternalId") for login in sts.logins] == ["", "", "id-1"]
    assert sts.reads == [sts.logins[2].key]


async def test_a_namespace_that_is_not_known_is_not_told(sts: StsHarness, opener: Opener) -> None:
    """So a policy that asks for the tag of a namespace denies it."""
    key = fresh()
    sts.put(key)
    store = StoreIdentity(kind="ClusterSecretStore", name="shared")
    opened = await opener(sts, role=ROLE, sessionTagsPolicy="Simple", store=store)
    await read(opened, key)
    told = {value for name, value in sts.logins[0].asked.items() if name.endswith(".Key")}
    assert told == {"syncretStoreKind", "syncretStoreName"}
    assert sts.logins[0].parameter("RoleSessionName") == "syncret-shared"


@pytest.mark.parametrize("service", ["SecretsManager", "ParameterStore"])
async def test_a_check_needs_the_role(sts: StsHarness, opener: Opener, service: str) -> None:
    opened = await opener(sts, role=ROLE, service=service)
    await opened.client.check()
    assert [login.action for login in sts.logins] == [ASSUME]
    assert sts.reads == [sts.logins[0].key]
    sts.fault = lambda _: DENIED
    again = await opener(sts, role=ROLE, service=service)
    with pytest.raises(AccessDenied, match="sts:AssumeRole"):
        await again.client.check()


# ServiceAccounts


async def test_a_service_account_is_exchanged_for_its_role(sts: StsHarness, opener: Opener) -> None:
    key = fresh()
    sts.put(key)
    account = irsa()
    opened = await opener(sts, account=account)
    await asyncio.gather(*(read(opened, key) for _ in range(20)))
    (login,) = sts.logins
    assert (login.action, login.by) == (BY_TOKEN, "")  # nobody signs: the token is the proof
    assert login.parameter("RoleArn") == ROLE
    assert login.parameter("WebIdentityToken") == "token-of.payments.reader.1"
    assert account.asked == [(("sts.amazonaws.com",), 600)]
    assert set(sts.reads) == {login.key}


async def test_roles_follow_a_service_account(sts: StsHarness, opener: Opener) -> None:
    key = fresh()
    sts.put(key)
    account = irsa(**{"eks.amazonaws.com/audience": "sts.example"})
    opened = await opener(sts, account=account, role=role("data"), sessionDuration="30m")
    await read(opened, key)
    first, second = sts.logins
    assert (first.action, second.action) == (BY_TOKEN, ASSUME)
    assert (first.parameter("DurationSeconds"), second.parameter("DurationSeconds")) == (
        "3600",
        "1800",
    )
    assert (second.by, second.parameter("RoleArn")) == (first.key, role("data"))
    assert account.asked == [(("sts.example",), 600)]


@pytest.mark.parametrize(
    ("annotations", "says"),
    [
        ({}, 'has no annotation "eks.amazonaws.com/role-arn"'),
        ({"eks.amazonaws.com/role-arn": "reader"}, "is not the ARN of a role"),
    ],
)
async def test_an_account_without_a_role_is_told(
    sts: StsHarness, opener: Opener, annotations: dict[str, str], says: str
) -> None:
    with pytest.raises(CredentialsNotFound, match=says) as raised:
        await opener(sts, account=Account(annotations=annotations))
    assert '"reader" in namespace "payments"' in raised.value.message


async def test_what_keeps_a_token_from_being_made_is_passed_on(
    sts: StsHarness, opener: Opener
) -> None:
    account = irsa()
    account.problem = AccessDenied("The operator may not make tokens.")
    opened = await opener(sts, account=account)
    with pytest.raises(AccessDenied, match="may not make tokens"):
        await opened.client.check()
    assert sts.logins == []


# Sessions


@pytest.mark.parametrize("how", ["role", "account"])
async def test_a_session_is_renewed_in_the_background_before_it_expires(
    sts: StsHarness, opener: Opener, how: str
) -> None:
    key = fresh()
    sts.put(key)
    opened = await (opener(sts, role=ROLE) if how == "role" else opener(sts, account=irsa()))
    await read(opened, key)
    sts.clock.ahead = 2690
    await read(opened, key)
    assert len(sts.logins) == 1

    sts.clock.ahead = 2710  # a quarter of an hour is left
    await asyncio.gather(*(read(opened, key) for _ in range(10)))
    while len(opened.observed.calls) < 14:  # noqa: ASYNC110 - the login and the reads
        await asyncio.sleep(0.01)
    assert len(sts.logins) == 2
    await read(opened, key)
    assert sts.reads[-1] == sts.logins[1].key
    sts.clock.ahead = 2 * 2690
    await read(opened, key)
    assert len(sts.logins) == 2


async def test_a_session_that_cannot_be_renewed_is_used_to_its_end(
    sts: StsHarness, opener: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    key = fresh()
    sts.put(key)
    opened = await opener(sts, role=ROLE)
    await read(opened, key)
    sts.fault = lambda _: sts_error("InternalFailure", status=500)
    sts.clock.ahead = 3000
    for _ in range(5):
        await read(opened, key)
    while (ASSUME, "error") not in opened.observed.calls:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await read(opened, key)
    assert len(sts.logins) == 2  # not with every read
    told = [one for one in caplog.records if "not renewed yet" in one.getMessage()]
    assert len(told) == 1

    sts.clock.ahead = 3590
    with pytest.raises(ProviderUnavailable, match="AWS STS"):
        await read(opened, key)
    sts.fault = lambda _: None
    await read(opened, key)
    assert sts.reads[-1] == sts.logins[-1].key


async def test_a_session_of_a_quarter_of_an_hour_is_not_renewed_at_once(
    sts: StsHarness, opener: Opener
) -> None:
    key = fresh()
    sts.put(key)
    sts.lifetime = 900
    opened = await opener(sts, role=ROLE, sessionDuration="15m")
    for _ in range(3):
        await read(opened, key)
    assert len(sts.logins) == 1


async def test_a_login_that_hangs_ends(sts: StsHarness, opener: Opener) -> None:
    key = fresh()
    sts.put(key)
    opened = await opener(sts, role=ROLE, timing=HASTY)
    sts.fault = lambda _: Hang()
    with pytest.raises(ProviderTimeout):
        await read(opened, key)
    sts.fault = lambda _: None
    sts.proxy.release()
    assert await read(opened, key) == b"value"


async def test_a_reader_that_goes_does_not_take_the_login_along(
    sts: StsHarness, opener: Opener
) -> None:
    key = fresh()
    sts.put(key)
    opened = await opener(sts, role=ROLE)
    reads = [asyncio.create_task(read(opened, key)) for _ in range(3)]
    await asyncio.sleep(0)
    reads[0].cancel()
    ends = await asyncio.gather(*reads, return_exceptions=True)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert ends[1:] == [b"value", b"value"]
    assert len(sts.logins) == 1


# What AWS refuses


REFUSALS: list[tuple[str, Action, type[ProviderError], str]] = [
    ("role", DENIED, AccessDenied, "allow sts:AssumeRole on it"),
    ("account", DENIED, AccessDenied, "system:serviceaccount:payments:reader"),
    ("account", sts_error("InvalidIdentityToken"), AccessDenied, "IAM OIDC provider"),
    ("account", sts_error("ExpiredTokenException"), AccessDenied, "clocks of the control plane"),
    ("account", sts_error("IDPCommunicationError"), AccessDenied, "OIDC issuer"),
    (
        "role",
        sts_error(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ),
        AccessDenied,
        "shorten sessionDuration",
    ),
    ("role", sts_error("ValidationError", "1 validation error"), AccessDenied, "correct role"),
    ("role", sts_error("PackedPolicyTooLarge"), AccessDenied, "too large"),
    ("role", sts_error("RegionDisabledException", status=403), AccessDenied, "switched off"),
    ("role", sts_error("InvalidClientTokenId", status=403), AccessDenied, "refused the credential"),
    (
        "role",
        sts_error("SignatureDoesNotMatch", "Signature expired: 2015 is now earlier", status=403),
        AccessDenied,
        "check the clock",
    ),
    ("role", sts_error("Throttling"), Throttled, "throttles"),
    ("role", sts_error("InternalFailure", status=500), ProviderUnavailable, "internal error"),
]


@pytest.mark.parametrize(("how", "answer", "kind", "says"), REFUSALS)
async def test_a_refused_login_says_what_to_do(
    sts: StsHarness,
    opener: Opener,
    how: str,
    answer: Action,
    kind: type[ProviderError],
    says: str,
) -> None:
    key = fresh()
    sts.put(key)
    opened = await (opener(sts, role=ROLE) if how == "role" else opener(sts, account=irsa()))
    sts.fault = lambda _: answer
    seen = set()
    for work in (read(opened, key), opened.client.check(), read(opened, key)):
        with pytest.raises(kind, match=says) as raised:
            await work
        seen.add(raised.value.message)
        assert "999" not in raised.value.message  # of AWS's own text
    assert len(seen) == 1  # or conditions would flap
    assert sts.reads == []


async def test_a_refused_login_is_tried_once_for_all_who_wait(
    sts: StsHarness, opener: Opener
) -> None:
    opened = await opener(sts, role=ROLE)
    sts.fault = lambda _: DENIED
    ends = await asyncio.gather(*(read(opened, fresh()) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(end, AccessDenied) for end in ends)
    assert len({id(end) for end in ends}) == 20  # raised apart, they must be apart
    assert len(sts.logins) == 1


async def test_the_message_names_what_the_store_asks_for(sts: StsHarness, opener: Opener) -> None:
    opened = await opener(
        sts,
        additionalRoles=[role("one")],
        role=ROLE,
        externalID="customer-17",
        sessionTagsPolicy="Simple",
    )

    def last(login: Login) -> Action | None:
        return DENIED if login.parameter("RoleArn") == ROLE else None

    sts.fault = last
    with pytest.raises(AccessDenied) as raised:
        await opened.client.check()
    message = raised.value.message
    assert f'"{ROLE}" cannot be assumed by the role "{role("one")}"' in message
    assert "sts:TagSession" in message
    assert "external id" in message
    assert "customer-17" not in message


async def test_the_message_names_the_role_that_a_service_account_stands_for(
    sts: StsHarness, opener: Opener
) -> None:
    opened = await opener(sts, account=irsa(), role=role("data"))
    sts.fault = lambda login: DENIED if login.action == ASSUME else None
    with pytest.raises(AccessDenied) as raised:
        await opened.client.check()
    assert f'"{role("data")}" cannot be assumed by the role "{ROLE}"' in raised.value.message
    assert "TagSession" not in raised.value.message
    assert "external id" not in raised.value.message


async def test_a_session_that_a_service_refuses_is_raised(sts: StsHarness, opener: Opener) -> None:
    """The engine then opens the store anew, which is a new login."""
    key = fresh()
    sts.put(key)
    opened = await opener(sts, role=ROLE)
    await read(opened, key)
    sts.logins[0] = Login(ASSUME, {}, "", "revoked")
    with pytest.raises(AccessDenied, match="refused the credentials"):
        await read(opened, key)


# Secrecy


async def test_no_session_and_no_token_gets_into_logs_or_errors(
    sts: StsHarness, opener: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    asyncio.get_running_loop().slow_callback_duration = 0.0
    key = fresh()
    sts.put(key)
    opened = await opener(sts, account=irsa(), role=role("data"))
    await read(opened, key)
    given = {login.key for login in sts.logins}
    canary = f"canary-{secrets.token_hex(8)}"
    sts.fault = lambda _: sts_error("AccessDenied", canary, status=403)
    sts.clock.ahead = 3599
    with pytest.raises(AccessDenied) as raised:
        await read(opened, key)
    shown = caplog.text + story(raised.value) + repr(opened.client)
    assert raised.value.__context__ is None
    assert any(record.name == "asyncio" for record in caplog.records)
    for secret in {canary, SECRET_KEY, "token-of.", *given}:
        assert secret not in shown
