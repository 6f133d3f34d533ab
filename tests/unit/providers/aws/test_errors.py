"""botocore's failures as ours. The contract suite has those that a server can be made to give."""

from typing import Any

import pytest
from botocore import exceptions as boto

from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    Throttled,
)
from syncret.providers.aws.errors import (
    MAX_RETRY_AFTER,
    Call,
    CredentialsRefused,
    failure,
    service_failure,
)
from syncret.providers.aws.services import PARAMETER_STORE, SECRETS_MANAGER, Place
from syncret.providers.base import NotFound, SecretValue
from syncret.providers.outcomes import outcome_word

CALL = Call(Place(SECRETS_MANAGER, "eu-central-1"), "GetSecretValue", "team/db")
PARAMETER = Call(Place(PARAMETER_STORE, "eu-central-1"), "GetParameters", "/team/db")
CANARY = "canary-4711"


def client_error(
    code: str,
    *,
    text: str = CANARY,
    status: int = 400,
    operation: str = "GetSecretValue",
    headers: dict[str, str] | None = None,
) -> boto.ClientError:
    response: dict[str, Any] = {
        "Error": {"Code": code, "Message": text},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers or {}},
    }
    return boto.ClientError(response, operation)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (client_error("AccessDeniedException"), AccessDenied, "secretsmanager:GetSecretValue"),
        (client_error("DecryptionFailure"), AccessDenied, "kms:Decrypt"),
        (client_error("ExpiredTokenException"), CredentialsRefused, "expired"),
        (client_error("UnrecognizedClientException"), CredentialsRefused, "not known"),
        (client_error("InvalidSignatureException"), CredentialsRefused, "signature"),
        (client_error("RequestExpired"), CredentialsRefused, "clock"),
        (
            client_error("InvalidSignatureException", text="Signature expired: 2015 is earlier"),
            CredentialsRefused,
            "check the clock",
        ),
        (
            client_error("SignatureDoesNotMatch", text="Signature not yet current: 2099 is later"),
            CredentialsRefused,
            "check the clock",
        ),
        (client_error("InternalServerError"), ProviderUnavailable, "internal error"),
        (client_error("403", status=403), CredentialsRefused, "HTTP 403"),
        (client_error("ThrottlingException"), Throttled, "throttles"),
        (client_error("429", status=429), Throttled, "throttles"),
        (client_error("SlowDown", status=503), Throttled, "throttles"),
        (client_error("InternalServiceError"), ProviderUnavailable, "internal error"),
        (client_error("502", status=502), ProviderUnavailable, "proxies"),
        (client_error("404", status=404), ProviderRejected, "endpoint"),
        (client_error("", status=301), ProviderRejected, "endpoint"),
        (client_error("InvalidParameterException"), ProviderRejected, "key or the version"),
        (client_error("InvalidRequestException"), ProviderRejected, "key or the version"),
        (boto.ReadTimeoutError(endpoint_url=CANARY), ProviderTimeout, "in time"),
        (boto.ConnectTimeoutError(endpoint_url=CANARY), ProviderTimeout, "in time"),
        (boto.SSLError(endpoint_url=CANARY, error=CANARY), ProviderUnavailable, "certificate"),
        (boto.ProxyConnectionError(proxy_url=CANARY), ProviderUnavailable, "proxy"),
        (
            boto.EndpointConnectionError(endpoint_url=CANARY, error=CANARY),
            ProviderUnavailable,
            "cannot be reached",
        ),
        (boto.ConnectionClosedError(endpoint_url=CANARY), ProviderUnavailable, "broke off"),
        (boto.ResponseStreamingError(error=CANARY), ProviderUnavailable, "broke off"),
        (
            boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
            ProviderUnavailable,
            "broke off",
        ),
        (boto.NoCredentialsError(), CredentialsRefused, "No AWS credentials"),
        (
            boto.CredentialRetrievalError(provider=CANARY, error_msg=CANARY),
            CredentialsRefused,
            "cannot be obtained",
        ),
        (boto.ParamValidationError(report=CANARY), ProviderRejected, "correct the key"),
        (KeyError(CANARY), ProviderUnavailable, "KeyError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_failure_is_told_in_our_words(
    error: Exception, kind: type[ProviderError], says: str
) -> None:
    ours = failure(error, CALL)
    assert type(ours) is kind
    assert isinstance(ours, ProviderError)
    assert says in ours.message
    assert CANARY not in ours.message
    assert "{" not in ours.message
    assert "eu-central-1" in ours.message
    assert ours.message.endswith(".")


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("ResourceNotFoundException", "can't find the specified secret.", NotFound()),
        (
            "ResourceNotFoundException",
            "Secrets Manager can't find the specified secret value for staging label: X",
            NotFound(version_missing=True),
        ),
        (
            "ResourceNotFoundException",
            "Secrets Manager can't find the specified secret value for VersionId: X",
            NotFound(version_missing=True),
        ),
        (
            "InvalidRequestException",
            "You can't perform this operation on the secret because it was marked for deletion.",
            NotFound(),
        ),
        (
            "InvalidRequestException",
            "You tried to perform the operation on a secret that's currently marked deleted.",
            NotFound(),
        ),
    ],
)
def test_what_is_not_there_is_a_value(code: str, text: str, expected: NotFound) -> None:
    assert service_failure(code, text, CALL) == expected


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("ParameterNotFound", "", NotFound()),
        ("InvalidResourceId", "", NotFound()),
        ("ParameterVersionNotFound", "", NotFound(version_missing=True)),
    ],
)
def test_what_parameter_store_does_not_have(code: str, text: str, expected: NotFound) -> None:
    assert service_failure(code, text, PARAMETER) == expected


@pytest.mark.parametrize(
    ("code", "text", "says"),
    [
        ("AccessDeniedException", "", "allow ssm:GetParameters on this parameter"),
        ("AccessDeniedException", "not authorized to perform: kms:Decrypt", "kms:Decrypt"),
        ("InvalidKeyId", "", "see that it is enabled"),
    ],
)
def test_what_parameter_store_denies(code: str, text: str, says: str) -> None:
    problem = service_failure(code, text, PARAMETER)
    assert isinstance(problem, AccessDenied)
    assert says in problem.message
    assert "AWS Parameter Store in eu-central-1" in problem.message


@pytest.mark.parametrize(
    "code", ["AccessDenied", "InvalidIdentityToken", "ResourceNotFoundException"]
)
def test_a_refused_role_is_the_identity_and_not_the_secret(code: str) -> None:
    error = client_error(code, status=403, operation="AssumeRoleWithWebIdentity")
    ours = failure(error, CALL)
    assert isinstance(ours, CredentialsRefused)
    assert "trust policy" in ours.message


def test_throttling_on_the_way_to_an_identity_is_throttling() -> None:
    error = client_error("Throttling", operation="AssumeRoleWithWebIdentity")
    assert isinstance(failure(error, CALL), Throttled)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "0"}, 0.0),
        ({"x-amz-retry-after": "1500"}, 1.5),
        ({"x-amz-retry-after": "1500", "retry-after": "30"}, 1.5),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e99"}, MAX_RETRY_AFTER),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
    ],
)
def test_the_wait_that_is_asked_for(headers: dict[str, str], seconds: float | None) -> None:
    ours = failure(client_error("ThrottlingException", headers=headers), CALL)
    assert isinstance(ours, Throttled)
    assert ours.retry_after == seconds


def test_a_long_key_is_shortened() -> None:
    call = Call(CALL.place, CALL.operation, "k" * 2048)
    ours = failure(client_error("AccessDeniedException"), call)
    assert isinstance(ours, AccessDenied)
    assert len(ours.message) < 500


def test_each_outcome_has_its_word() -> None:
    words = {
        outcome_word(outcome)
        for outcome in (
            SecretValue(b""),
            NotFound(),
            AccessDenied(""),
            CredentialsRefused(""),
            Throttled(""),
            ProviderTimeout(""),
            ProviderUnavailable(""),
            ProviderRejected(""),
        )
    }
    assert words == {"ok", "not_found", "denied", "throttled", "timeout", "error"}
