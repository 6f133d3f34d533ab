"""Secret Manager's failures as ours.

Google's texts are read, to tell cases apart that share a status, and never passed on: they hold
project numbers, addresses and names of peers. What Google says by a machine-readable reason
(``google.rpc.ErrorInfo``) is taken from there.

Only the status NOT_FOUND is *not found*. A bare HTTP 404, of a proxy or a wrong endpoint, arrives
as UNIMPLEMENTED.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from google.api_core import exceptions as google
from google.rpc import error_details_pb2
from grpc import StatusCode

from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    Throttled,
)
from syncret.providers.base import NotFound

ACCESS: Final = "AccessSecretVersion"
GET_VERSION: Final = "GetSecretVersion"
LIST_VERSIONS: Final = "ListSecretVersions"
GET_SECRET: Final = "GetSecret"  # noqa: S105 - an operation
LIST: Final = "ListSecrets"

#: What a store could ask for at most that is still obeyed; an endpoint is not trusted with more.
MAX_RETRY_AFTER: Final = 3600.0

_PERMISSIONS: Final = {
    ACCESS: ("secretmanager.versions.access", "roles/secretmanager.secretAccessor"),
    GET_VERSION: ("secretmanager.versions.get", "roles/secretmanager.viewer"),
    LIST_VERSIONS: ("secretmanager.versions.list", "roles/secretmanager.viewer"),
    GET_SECRET: ("secretmanager.secrets.get", "roles/secretmanager.viewer"),
    LIST: ("secretmanager.secrets.list", "roles/secretmanager.viewer"),
}
#: Reasons for PERMISSION_DENIED that concern the project or the identity, not one secret.
_PROJECT: Final = {
    "SERVICE_DISABLED": (
        "the Secret Manager API is not enabled there: gcloud services enable "
        "secretmanager.googleapis.com."
    ),
    "BILLING_DISABLED": "billing is not enabled for the project.",
    "CONSUMER_INVALID": "there is no such project: correct projectID.",
    "CONSUMER_SUSPENDED": "the project is suspended.",
    "RESOURCE_PROJECT_INVALID": "there is no such project: correct projectID.",
    "USER_PROJECT_DENIED": (
        "the identity may not use the project: grant it roles/serviceusage.serviceUsageConsumer."
    ),
}
_HTTP_STATUS: Final = re.compile(r"(?:http2 header with status:|HTTP status) (\d{3})")
_STATE: Final = re.compile(r"is in (DISABLED|DESTROYED) state")
_CONNECT: Final = re.compile(r"failed to connect|connection refused|unreachable", re.IGNORECASE)
_DNS: Final = re.compile(r"dns|name resolution|domain name|resolver", re.IGNORECASE)
_TLS: Final = re.compile(r"\bssl|\btls|certificate|handshak", re.IGNORECASE)


class CredentialsRefused(AccessDenied):
    """The identity itself is not accepted, or there is none: nothing can be read with it."""


class ProjectRefused(AccessDenied):
    """The project cannot be used at all."""


class NotEnabled(ProviderRejected):
    """The version that was asked for is disabled or destroyed."""

    def __init__(self, message: str, *, destroyed: bool = False) -> None:
        super().__init__(message)
        self.destroyed = destroyed


class Damaged(ProviderUnavailable):
    """A payload whose checksum does not fit, which says nothing of others."""


#: Failures that say nothing about the one secret that was asked for: the next call fails as well.
STORE_WIDE: Final = (
    CredentialsRefused,
    ProjectRefused,
    Throttled,
    ProviderTimeout,
    ProviderUnavailable,
)


@dataclass(frozen=True, slots=True)
class Call:
    """What was tried, for the sentences. ``key``: the one secret that it was about, if any.

    Sentences on what is store-wide name neither operation nor key: which of several calls fails
    first is chance, and a condition's message should not be.
    """

    place: str
    operation: str
    key: str = ""
    version: str = ""

    @property
    def doing(self) -> str:
        """The beginning of a sentence on this one call."""
        if not self.key:
            return f"{self.operation} on {self.place}"
        key = self.key if len(self.key) <= 300 else f"{self.key[:300]}…"
        return f'Reading "{key}" from {self.place} ({self.operation})'


def failure(error: BaseException, call: Call) -> NotFound | ProviderError:
    """What an exception out of a call of the SDK means. Never raises, never quotes."""
    if not isinstance(error, google.GoogleAPICallError):
        return ProviderUnavailable(
            f"The Google SDK failed on an answer of {call.place} ({type(error).__name__}): it is "
            "tried again; if it lasts, check the endpoint."
        )
    code = error.grpc_status_code
    text = str(error.message or "")
    if match := _HTTP_STATUS.search(text):
        return _not_google(int(match[1]), call)
    if code is StatusCode.NOT_FOUND:
        return _not_found(text, call)
    return (
        _busy(code, error, text, call)
        or _unreachable(code, text, call)
        or _refused(code, error, text, call)
        or _rejected(code, text, call)
    )


def timed_out(place: str) -> ProviderTimeout:
    """No answer within a deadline."""
    return ProviderTimeout(
        f"{place} did not answer in time: check the endpoint, network policies and proxies."
    )


def not_understood(place: str) -> ProviderUnavailable:
    """An answer that is no message of Secret Manager."""
    return ProviderUnavailable(
        f"{place} gave an answer that is not one of Secret Manager: check the endpoint and the "
        "proxies before it."
    )


def damaged(call: Call) -> Damaged:
    """A payload whose checksum does not fit."""
    return Damaged(
        f"{call.doing}: the value does not have the checksum that Secret Manager keeps of it. It "
        "is read again; if it lasts, check the proxies."
    )


def none_enabled(call: Call) -> ProviderRejected:
    """No version that could stand in for the latest."""
    return ProviderRejected(
        f"{call.doing} is not possible: the secret has no enabled version. Enable one, or add one."
    )


def _not_found(text: str, call: Call) -> NotFound | ProviderError:
    if re.match(r"(the )?(consumer )?project\b", text, re.IGNORECASE):
        return ProjectRefused(
            f"{call.place} cannot be read: {_PROJECT['RESOURCE_PROJECT_INVALID']}"
        )
    return NotFound(version_missing=text.startswith("Secret Version"))


def _not_google(status: int, call: Call) -> ProviderError:
    """An answer of a web server that does not speak gRPC."""
    if status in {401, 403, 407}:
        return CredentialsRefused(
            f"{call.place} refused the request with HTTP {status}: check the endpoint and the "
            "proxies before it."
        )
    if status == 429 or status >= 500:
        return ProviderUnavailable(
            f"{call.place} cannot be reached: a proxy before it answered with HTTP {status}."
        )
    return ProviderRejected(
        f"{call.place} answered as Google does not: check that the endpoint is that of Secret "
        "Manager."
    )


def _busy(code: Any, error: Any, text: str, call: Call) -> ProviderError | None:
    if code is StatusCode.RESOURCE_EXHAUSTED:
        if "larger than max" in text:
            return ProviderRejected(f"{call.doing} is not possible: the answer is too large.")
        return Throttled(
            f"{call.place} throttles our requests: they are tried again; if it lasts, lengthen "
            "refresh intervals, or have the project's quota raised.",
            retry_after=_retry_after(error),
        )
    if code is StatusCode.DEADLINE_EXCEEDED:
        return timed_out(call.place)
    if code in {StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.ABORTED, StatusCode.DATA_LOSS}:
        return ProviderUnavailable(
            f"{call.place} had an internal error: the request is tried again; if it lasts, check "
            "the state of Google Cloud and the proxies."
        )
    return None


def _unreachable(code: Any, text: str, call: Call) -> ProviderError | None:
    if code not in {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}:
        return None
    if _TLS.search(text):
        return ProviderUnavailable(
            f"No trusted TLS connection to {call.place} comes about: check the endpoint, and that "
            "the operator trusts its certificate (GRPC_DEFAULT_SSL_ROOTS_FILE_PATH)."
        )
    if _DNS.search(text):
        return ProviderUnavailable(
            f"The host of {call.place} is not known to DNS: check location, endpoint and the "
            "cluster's DNS."
        )
    if _CONNECT.search(text):
        return ProviderUnavailable(
            f"{call.place} cannot be reached: check location, endpoint and network policies."
        )
    return ProviderUnavailable(
        f"The connection to {call.place} broke off, or it is not available: it is tried again; if "
        "it lasts, check the proxies and the state of Google Cloud."
    )


def _refused(code: Any, error: Any, text: str, call: Call) -> ProviderError | None:
    reason = str(error.reason or "")
    if code is StatusCode.UNAUTHENTICATED:
        why = (
            "the access token is expired or revoked; check the clock of the operator's node, and "
            "that the account still exists and is enabled."
            if reason == "ACCESS_TOKEN_EXPIRED"
            else "the access token is not known; check the account, and the endpoint."
        )
        return CredentialsRefused(f"{call.place} refused the credentials: {why}")
    if code is not StatusCode.PERMISSION_DENIED:
        return None
    if reason == "ACCESS_TOKEN_SCOPE_INSUFFICIENT":
        return CredentialsRefused(
            f"{call.place} refused the credentials: the access token lacks the scope "
            "cloud-platform. Give the node pool that scope, or use Workload Identity."
        )
    if reason in _PROJECT:
        return ProjectRefused(f"{call.place} cannot be read: {_PROJECT[reason]}")
    if "VPC_SERVICE_CONTROLS" in text or "prohibited by organization" in text:
        return AccessDenied(
            f"{call.doing} is denied by a perimeter of VPC Service Controls: allow the operator's "
            "network or identity in the perimeter."
        )
    return _permission(call)


def _permission(call: Call) -> AccessDenied:
    permission, role = _PERMISSIONS[call.operation]
    what = "the secret, or on its project" if call.key else "the project"
    return AccessDenied(
        f"{call.doing} is denied: grant {role} (permission {permission}) on {what}. A project or "
        "a secret that does not exist looks the same to whoever has no right to it."
    )


def _rejected(code: Any, text: str, call: Call) -> ProviderError:
    if code is StatusCode.UNIMPLEMENTED:
        return _not_google(404, call)
    if code is StatusCode.FAILED_PRECONDITION:
        if match := _STATE.search(text):
            return _not_enabled(match[1] == "DESTROYED", call)
        if "kms" in text.lower() or "key" in text.lower():
            return AccessDenied(
                f"{call.doing} is denied by the secret's Cloud KMS key: see that the key is "
                "enabled, and grant roles/cloudkms.cryptoKeyEncrypterDecrypter on it to the "
                "service agent of Secret Manager."
            )
    return ProviderRejected(
        f"{call.doing} is refused: correct the key, the version, projectID or location."
    )


def _not_enabled(destroyed: bool, call: Call) -> NotEnabled:
    state = "destroyed" if destroyed else "disabled"
    if call.version == "latest":
        advice = (
            "add a version, " if destroyed else "enable it, or add a version, "
        ) + "or set secretVersionSelectionPolicy: LatestOrFetch."
        text = f"{call.doing} is not possible: its latest version is {state}; {advice}"
    else:
        advice = "name another one." if destroyed else "enable it, or name another one."
        text = f"{call.doing} is not possible: the version {call.version} is {state}; {advice}"
    return NotEnabled(text, destroyed=destroyed)


def _retry_after(error: Any) -> float | None:
    for detail in error.details or ():
        if isinstance(detail, error_details_pb2.RetryInfo):
            seconds = detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9
            return float(min(max(seconds, 0.0), MAX_RETRY_AFTER))
    return None
