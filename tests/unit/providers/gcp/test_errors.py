"""Every failure of Secret Manager becomes one of ours that says what to do, and quotes nothing."""

import asyncio
import copy
import re
from typing import Any

import grpc
import pytest
from google.api_core import exceptions as google
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2

from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    SyncretError,
    Throttled,
)
from syncret.providers.base import NotFound
from syncret.providers.gcp.errors import (
    ACCESS,
    MAX_RETRY_AFTER,
    Call,
    CredentialsRefused,
    NotEnabled,
    ProjectRefused,
    damaged,
    failure,
)
from syncret.providers.gcp.identity import Grant
from syncret.providers.gcp.tokens import PAUSE, RENEW, Tokens
from syncret.providers.outcomes import outcome_word

Code = grpc.StatusCode
CALL = Call("GCP Secret Manager", ACCESS, "db", "latest")


def made(code: grpc.StatusCode, text: str = "secret text", *details: Any) -> Any:
    make: Any = google.from_grpc_status
    return make(code, text, errors=(), details=list(details))


@pytest.mark.parametrize(
    ("code", "text", "kind", "said"),
    [
        (Code.DEADLINE_EXCEEDED, "Deadline Exceeded", ProviderTimeout, "did not answer in time"),
        (Code.INTERNAL, "", ProviderUnavailable, "internal error"),
        (Code.UNKNOWN, "", ProviderUnavailable, "internal error"),
        (Code.UNAVAILABLE, "Socket closed", ProviderUnavailable, "broke off"),
        (Code.UNAVAILABLE, "failed to connect to all addresses", ProviderUnavailable, "reached"),
        (Code.UNAVAILABLE, "DNS resolution failed for x", ProviderUnavailable, "not known to DNS"),
        (Code.UNAVAILABLE, "Ssl handshake failed", ProviderUnavailable, "No trusted TLS"),
        (Code.RESOURCE_EXHAUSTED, "Quota exceeded", Throttled, "throttles"),
        (Code.RESOURCE_EXHAUSTED, "Received message larger than max", ProviderRejected, "large"),
        (Code.UNAUTHENTICATED, "", CredentialsRefused, "refused the credentials"),
        (Code.PERMISSION_DENIED, "", AccessDenied, "roles/secretmanager.secretAccessor"),
        (
            Code.PERMISSION_DENIED,
            "Request is prohibited by organization's policy. VPC_SERVICE_CONTROLS",
            AccessDenied,
            "VPC Service Controls",
        ),
        (Code.FAILED_PRECONDITION, "[x] is in DISABLED state.", NotEnabled, "is disabled"),
        (Code.FAILED_PRECONDITION, "The Cloud KMS key is off", AccessDenied, "KMS key"),
        (Code.INVALID_ARGUMENT, "", ProviderRejected, "is refused"),
        (Code.UNIMPLEMENTED, "", ProviderRejected, "answered as Google"),
        (Code.NOT_FOUND, "Project [x] not found", ProjectRefused, "projectID"),
        (
            Code.PERMISSION_DENIED,
            "Received http2 header with status: 403",
            CredentialsRefused,
            "HTTP 403",
        ),
        (
            Code.UNAVAILABLE,
            "Received http2 header with status: 502",
            ProviderUnavailable,
            "HTTP 502",
        ),
    ],
)
def test_a_status_is_told_apart(
    code: grpc.StatusCode, text: str, kind: type[ProviderError], said: str
) -> None:
    found = failure(made(code, f"{text} canary"), CALL)
    assert type(found) is kind
    assert isinstance(found, ProviderError)
    assert re.search(said, found.message)
    assert "canary" not in found.message
    assert found.message.endswith(".")


def test_not_found_says_what_of() -> None:
    secret = failure(made(Code.NOT_FOUND, "Secret [x] not found or has no versions."), CALL)
    version = failure(made(Code.NOT_FOUND, "Secret Version [x] not found."), CALL)
    assert (secret, version) == (NotFound(), NotFound(version_missing=True))
    assert outcome_word(secret) == "not_found"


@pytest.mark.parametrize(("asked", "kept"), [(7.5, 7.5), (1e9, MAX_RETRY_AFTER), (-1.0, 0.0)])
def test_the_wait_that_is_asked_for_is_kept_within_bounds(asked: float, kept: float) -> None:
    wait = duration_pb2.Duration()
    wait.FromNanoseconds(int(asked * 1e9))
    info = error_details_pb2.RetryInfo(retry_delay=wait)
    found = failure(made(Code.RESOURCE_EXHAUSTED, "x", info), CALL)
    assert isinstance(found, Throttled)
    assert found.retry_after == kept
    none = failure(made(Code.RESOURCE_EXHAUSTED), CALL)
    assert isinstance(none, Throttled)
    assert none.retry_after is None


@pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
def test_a_failure_can_be_copied_for_each_reader(state: str) -> None:
    found = failure(made(Code.FAILED_PRECONDITION, f"[x] is in {state} state."), CALL)
    assert isinstance(found, NotEnabled)
    other = copy.copy(found)
    assert (other.message, other.destroyed) == (found.message, state == "DESTROYED")
    assert copy.copy(damaged(CALL)).message == damaged(CALL).message


def test_what_is_not_of_the_service_is_a_failure_too() -> None:
    found = failure(ValueError("canary"), CALL)
    assert isinstance(found, ProviderUnavailable)
    assert "canary" not in found.message


class Logins:
    """An identity whose logins the test answers."""

    def __init__(self) -> None:
        self.count = 0
        self.error: SyncretError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def login(self) -> Grant:
        self.count += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Grant(f"token {self.count}", 3600.0)

    async def project(self) -> str:
        return "p1"


async def test_whoever_waits_for_a_login_gets_the_same_failure_as_their_own() -> None:
    identity = Logins()
    identity.gate.clear()
    identity.error = AccessDenied("no")
    tokens = Tokens(identity, now=lambda: 0.0)
    waiting = [asyncio.create_task(tokens.get()) for _ in range(3)]
    await asyncio.sleep(0)
    identity.gate.set()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert identity.count == 1
    assert [str(end) for end in ends] == ["no"] * 3
    assert len({id(end) for end in ends}) == 3


async def test_one_who_gives_up_does_not_end_the_login_of_others() -> None:
    identity = Logins()
    identity.gate.clear()
    tokens = Tokens(identity, now=lambda: 0.0)
    first, second = (asyncio.create_task(tokens.get()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    identity.gate.set()
    assert (await second).text == "token 1"
    assert "token 1" not in repr(await second)
    await tokens.close()


async def test_a_token_is_renewed_when_little_of_its_life_is_left() -> None:
    now = [0.0]
    identity = Logins()
    tokens = Tokens(identity, now=lambda: now[0])
    await tokens.get()
    now[0] = 3600 - RENEW - 1
    await tokens.get()
    await asyncio.sleep(0)
    assert identity.count == 1
    now[0] += 1
    assert (await tokens.get()).text == "token 1"
    await asyncio.sleep(0)
    assert (await tokens.get()).text == "token 2"


async def test_a_new_token_that_is_refused_is_kept_for_a_while() -> None:
    now = [0.0]
    identity = Logins()
    tokens = Tokens(identity, now=lambda: now[0])
    token = await tokens.get()
    assert not tokens.refused(token)
    now[0] = PAUSE
    assert tokens.refused(token)
    other = await tokens.get()
    assert other.text == "token 2"
    assert tokens.refused(token), "there is another one already"
    assert (await tokens.get()) is other
