"""botocore's failures as ours, of every service that holds secrets.

AWS's texts are read, to tell cases apart that share a code, and never passed on: they hold request
ids and account numbers, which would make every condition a new one, and sometimes parameters.

Only AWS's own codes are *not found*. A bare 404 is not: it comes from a proxy or a wrong endpoint,
and to believe it could cost a Secret its keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore import exceptions as boto

from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    Throttled,
)
from syncret.providers.aws.services import Place
from syncret.providers.base import NotFound

#: What AWS could ask for at most that is still obeyed; an endpoint is not trusted with more.
MAX_RETRY_AFTER: Final = 3600.0

_THROTTLED: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_UNAVAILABLE: Final = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServiceError",
        "ServiceUnavailable",
    }
)
_REFUSALS: Final = (
    (
        {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"},
        "they have expired; renew them.",
    ),
    (
        {"RequestExpired", "RequestTimeTooSkewed"},
        "the time of the request is off; check the clock of the operator's node.",
    ),
    (
        {
            "IncompleteSignature",
            "IncompleteSignatureException",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
        },
        (
            "the signature is wrong; check the secret access key, and the clock of the operator's "
            "node."
        ),
    ),
    (
        {
            "AuthFailure",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidToken",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "NotAuthorized",
            "OptInRequired",
            "UnrecognizedClientException",
        },
        (
            "they are not known; check the access key id, with temporary credentials the session "
            "token, and that the account has the region switched on."
        ),
    ),
)
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_NO_SUCH: Final = frozenset({"ResourceNotFoundException", "ParameterNotFound", "InvalidResourceId"})
_CLOCK: Final = ("Signature expired", "Signature not yet current")
_DELETED: Final = ("marked for deletion", "marked deleted", "scheduled for deletion")


class CredentialsRefused(AccessDenied):
    """The identity itself is not accepted, or there is none: nothing can be read with it."""


#: Failures that say nothing about the one secret that was asked for: the next call fails as well.
STORE_WIDE: Final = (CredentialsRefused, Throttled, ProviderTimeout, ProviderUnavailable)


@dataclass(frozen=True, slots=True)
class Call:
    """What was tried, for the sentences. ``key``: the one secret that it was about, if any.

    ``where``: what a permission for it is to be given on, if that is not the secret.
    Sentences on what is store-wide name neither operation nor key: which of several calls fails
    first is chance, and a condition's message should not be.
    """

    place: Place
    operation: str
    key: str = ""
    where: str = ""

    @property
    def doing(self) -> str:
        """The beginning of a sentence on this one call."""
        if not self.key:
            return f"{self.operation} on {self.place}"
        key = self.key if len(self.key) <= 200 else f"{self.key[:200]}…"
        return f'Reading "{key}" from {self.place} ({self.operation})'


#: The SDK's own exceptions, the special before the general, and what is said of them.
_SDK: Final[tuple[tuple[tuple[type[Exception], ...], type[ProviderError], str], ...]] = (
    (
        (boto.ConnectTimeoutError, boto.ReadTimeoutError),
        ProviderTimeout,
        "{place} did not answer in time: check the endpoint, network policies and proxies.",
    ),
    (
        (boto.SSLError,),
        ProviderUnavailable,
        (
            "No trusted TLS connection to {place} comes about: check the endpoint, and that the "
            "operator trusts its certificate (AWS_CA_BUNDLE)."
        ),
    ),
    (
        (boto.ProxyConnectionError,),
        ProviderUnavailable,
        (
            "{place} cannot be reached because the HTTP proxy cannot: check the operator's proxy "
            "settings."
        ),
    ),
    (
        (boto.ConnectionError,),
        ProviderUnavailable,
        "{place} cannot be reached: check region, endpoint, DNS and network policies.",
    ),
    (
        (boto.HTTPClientError, boto.IncompleteReadError),
        ProviderUnavailable,
        "The connection to {place} broke off: it is tried again; if it lasts, check the proxies.",
    ),
    (
        (boto.NoCredentialsError, boto.NoAuthTokenError),
        CredentialsRefused,
        (
            "No AWS credentials are found for {place}: set auth in the store, or give the "
            "operator's pod an identity (EKS Pod Identity, IRSA)."
        ),
    ),
    (
        (
            boto.PartialCredentialsError,
            boto.CredentialRetrievalError,
            boto.MetadataRetrievalError,
            boto.TokenRetrievalError,
            boto.UnknownCredentialError,
            boto.ProfileNotFound,
            boto.ConfigParseError,
            # The file of a projected token.
            FileNotFoundError,
            PermissionError,
        ),
        CredentialsRefused,
        (
            "AWS credentials for {place} cannot be obtained: check the identity of the operator's "
            "pod (EKS Pod Identity, IRSA) and its AWS_* settings."
        ),
    ),
    (
        (boto.ParamValidationError, boto.ValidationError),
        ProviderRejected,
        (
            "{doing} is not possible with these parameters: correct the key, the version or the "
            "region."
        ),
    ),
)


def failure(error: Exception, call: Call) -> NotFound | ProviderError:
    """What an exception out of a boto3 call means. Never raises, never quotes."""
    if isinstance(error, boto.ClientError):
        return _client_error(error, call)
    for types, ours, text in _SDK:
        if isinstance(error, types):
            return ours(text.format(place=call.place, doing=call.doing))
    return ProviderUnavailable(
        f"The AWS SDK failed on an answer of {call.place} ({type(error).__name__}): it is tried "
        "again; if it lasts, check the endpoint."
    )


def timed_out(place: Place) -> ProviderTimeout:
    """Our own deadline, which the SDK's timeouts did not keep."""
    return ProviderTimeout(
        f"{place} did not answer in time: check the endpoint, network policies and proxies."
    )


def not_understood(place: Place) -> ProviderUnavailable:
    """A 200 whose body is not that of the service."""
    return ProviderUnavailable(
        f"{place} gave an answer that is not one of {place.service.title}: check the endpoint and "
        "the proxies before it."
    )


def service_failure(
    code: str, text: str, call: Call, *, status: int = 0, retry_after: float | None = None
) -> NotFound | ProviderError:
    """What an error code means, of a whole call or of one entry of a batch."""
    if code in _NO_SUCH:
        # The secret itself: "... can't find the specified secret."
        return NotFound(version_missing="secret value for" in text)
    if code == "ParameterVersionNotFound":
        return NotFound(version_missing=True)
    if code == "InvalidRequestException" and any(words in text for words in _DELETED):
        return NotFound()
    return (
        busy(code, call, status=status, retry_after=retry_after)
        or _refused(code, text, call, status=status)
        or _rejected(code, call)
    )


def busy(code: str, call: Call, *, status: int, retry_after: float | None) -> ProviderError | None:
    """The failure of a service that has no time for the request; None if it is not that."""
    if code in _THROTTLED or status == 429:
        return Throttled(
            f"{call.place} throttles our requests: they are tried again; if it lasts, lengthen "
            "refresh intervals, or have the account's quota raised.",
            retry_after=retry_after,
        )
    if code in _UNAVAILABLE or status >= 500:
        return ProviderUnavailable(
            f"{call.place} had an internal error: the request is tried again; if it lasts, check "
            "the state of AWS and the proxies."
        )
    return None


def _refused(code: str, text: str, call: Call, *, status: int) -> ProviderError | None:
    service = call.place.service
    if why := why_refused(code, text):
        return CredentialsRefused(f"{call.place} refused the credentials: {why}")
    if _is_of_kms(code, text):
        return AccessDenied(
            f"{call.doing} is denied by the KMS key of the {service.thing}: allow kms:Decrypt on "
            "that key, in its policy or in IAM, and see that it is enabled."
        )
    if code in _DENIED:
        what = call.where or (f"on this {service.thing}" if call.key else 'on the resource "*"')
        return AccessDenied(f"{call.doing} is denied: allow {service.iam}:{call.operation} {what}.")
    if status in {401, 403, 407}:
        return CredentialsRefused(
            f"{call.place} refused the request with HTTP {status}: check the credentials, the "
            "endpoint and the proxies before it."
        )
    return None


def why_refused(code: str, text: str) -> str:
    """What is wrong with credentials that a service refuses with that code; "" if nothing is."""
    if any(words in text for words in _CLOCK):
        return "the time of the request is off; check the clock of the operator's node."
    return next((why for codes, why in _REFUSALS if code in codes), "")


def is_denied(code: str) -> bool:
    return code in _DENIED


def _is_of_kms(code: str, text: str) -> bool:
    if code in {"DecryptionFailure", "InvalidKeyId"} or code.startswith("KMS"):
        return True
    return code in _DENIED and ("KMS" in text or "customer master key" in text or "kms:" in text)


def _rejected(code: str, call: Call) -> ProviderRejected:
    if not code or code.isdigit():  # botocore's code for a body without one is the HTTP status
        return ProviderRejected(
            f"{call.place} answered as AWS does not: check that the endpoint is that of "
            f"{call.place.service.title}."
        )
    return ProviderRejected(f"{call.doing} is refused: correct the key or the version.")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What AWS said with an error: read here, and never passed on."""

    code: str
    text: str
    status: int
    retry_after: float | None

    @classmethod
    def of(cls, error: Any) -> "Refusal":
        """That of a ClientError of botocore."""
        response = error.response if isinstance(error.response, dict) else {}
        details = response.get("Error") or {}
        metadata = response.get("ResponseMetadata") or {}
        return cls(
            code=str(details.get("Code") or ""),
            text=str(details.get("Message") or ""),
            status=metadata.get("HTTPStatusCode") or 0,
            retry_after=_retry_after(metadata.get("HTTPHeaders") or {}),
        )


def _client_error(error: Any, call: Call) -> NotFound | ProviderError:
    said = Refusal.of(error)
    code, status, retry_after = said.code, said.status, said.retry_after
    if error.operation_name == call.operation:
        return service_failure(code, said.text, call, status=status, retry_after=retry_after)
    # Another operation than ours: the SDK's chain was getting credentials (from STS).
    return busy(code, call, status=status, retry_after=retry_after) or CredentialsRefused(
        f"AWS refused the operator's identity for {call.place}: check the role of its service "
        "account and the role's trust policy."
    )


def _retry_after(headers: Mapping[str, Any]) -> float | None:
    """What the answer asks us to wait, in seconds: AWS's own header counts milliseconds.

    The standard header's other form, a date, is not used by AWS.
    """
    for header, unit in (("x-amz-retry-after", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(header, "")) * unit
        except ValueError:
            continue
        if seconds >= 0:
            return min(seconds, MAX_RETRY_AFTER)
    return None
