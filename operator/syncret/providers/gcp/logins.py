"""What failed when an access token was asked for: which endpoint said what, and what to do.

As everywhere, nothing of a foreign text is passed on. The sentences hold what the store's own spec
says, above all the exact member that a role has to be granted to.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

import urllib3
from google.auth import exceptions as google

from syncret.errors import ProviderError, ProviderTimeout, ProviderUnavailable, Throttled
from syncret.providers.gcp.errors import CredentialsRefused
from syncret.providers.gcp.web import Answer, Web

_ENDPOINTS: Final = {
    "Token": "Google's OAuth 2 token endpoint",
    "ExchangeToken": "Google's Security Token Service",
    "GenerateAccessToken": "Google's IAM Service Account Credentials API",
    "Metadata": "the metadata server",
}

_KEY: Final = (
    ("account not found", "its service account does not exist, or is deleted."),
    ("disabled", "its service account is disabled."),
    (
        "timeframe",
        "the time of the request is off; check the clock of the operator's node.",
    ),
    (
        "signature",
        "the key is not, or no longer, one of its service account; make another one.",
    ),
)
_EXCHANGE: Final = (
    (
        "attribute condition",
        "the attribute condition of the workload identity provider rejects the ServiceAccount.",
    ),
    (
        "audience",
        (
            "the workload identity provider does not accept the audience of the ServiceAccount's "
            "token; correct audience, or the provider's allowed audiences, or name one of them "
            "under serviceAccountRef.audiences."
        ),
    ),
    (
        "issuer",
        (
            "the workload identity provider does not know the cluster's issuer or its keys; "
            "correct the provider's issuer URI, or upload the cluster's JWKS."
        ),
    ),
    ("stale", "the token's time is over; check the clock of the operator's node."),
    ("expired", "the token's time is over; check the clock of the operator's node."),
)


@dataclass(frozen=True, slots=True)
class Who:
    """What the sentences name: the store, the account to act as, and the member that may."""

    place: str
    account: str = ""
    member: str = ""

    def refused(self, why: str) -> CredentialsRefused:
        return CredentialsRefused(f"{self.place} refused the credentials: {why}")


def login_failure(error: BaseException, web: Web, who: Who) -> ProviderError:
    """What an exception of google-auth means. Never raises, never quotes."""
    operation, answer = web.answers[-1] if web.answers else ("", None)
    if operation and answer is None:
        return _unreachable(web.problem, operation, who)
    if answer is not None and answer.status >= 400:
        return _answered(operation, answer, who)
    if isinstance(error, google.DefaultCredentialsError) or operation in {"", "Metadata"}:
        return no_credentials(who.place)
    return ProviderUnavailable(
        f"{_ENDPOINTS[operation]} gave an answer that is not understood, so there is no access "
        f"token for {who.place}: check endpoints and proxies."
    )


def no_credentials(place: str) -> CredentialsRefused:
    """The operator has no identity."""
    return CredentialsRefused(
        f"No Google credentials are found for {place}: set auth in the store, or give the "
        "operator's pod an identity (Workload Identity of GKE, or "
        "GOOGLE_APPLICATION_CREDENTIALS)."
    )


def _unreachable(problem: Exception | None, operation: str, who: Who) -> ProviderError:
    endpoint = _ENDPOINTS[operation]
    if operation == "Metadata":
        return no_credentials(who.place)
    reason = problem
    if isinstance(reason, urllib3.exceptions.MaxRetryError) and reason.reason is not None:
        reason = reason.reason
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return ProviderUnavailable(
            f"The host of {endpoint} is not known to DNS, so there is no access token for "
            f"{who.place}: check the cluster's DNS."
        )
    if isinstance(reason, urllib3.exceptions.SSLError):
        return ProviderUnavailable(
            f"No trusted TLS connection to {endpoint} comes about, so there is no access token "
            f"for {who.place}: check proxies, and that the operator trusts their certificate."
        )
    if isinstance(reason, urllib3.exceptions.TimeoutError) and not isinstance(
        reason, urllib3.exceptions.NewConnectionError
    ):
        return ProviderTimeout(
            f"{endpoint} did not answer in time, so there is no access token for {who.place}: "
            "check network policies and proxies."
        )
    return ProviderUnavailable(
        f"{endpoint} cannot be reached, so there is no access token for {who.place}: check DNS, "
        "network policies and proxies."
    )


def _answered(operation: str, answer: Answer, who: Who) -> ProviderError:  # noqa: PLR0911 - a case for each endpoint
    code, text, reason = _read(answer)
    endpoint = _ENDPOINTS[operation]
    if answer.status == 429:
        return Throttled(
            f"{endpoint} throttles our requests, so there is no access token for {who.place}: it "
            "is tried again."
        )
    if answer.status >= 500:
        return ProviderUnavailable(
            f"{endpoint} had an internal error, so there is no access token for {who.place}: it "
            "is tried again; if it lasts, check the state of Google Cloud."
        )
    if operation == "Metadata":
        return no_credentials(who.place)
    if operation == "GenerateAccessToken":
        return _impersonation(answer.status, reason, who)
    if operation == "ExchangeToken":
        if code == "invalid_target":
            return who.refused(
                "there is no such workload identity pool or provider, or it is disabled; correct "
                "audience, or clusterProjectID, clusterLocation and clusterName."
            )
        return who.refused(
            _found(_EXCHANGE, text)
            or "the Security Token Service does not accept the ServiceAccount's token; check the "
            "workload identity pool and its provider."
        )
    return who.refused(
        _found(_KEY, text) or "Google does not accept the key; make another one, and check it."
    )


def _impersonation(status: int, reason: str, who: Who) -> ProviderError:
    if reason == "SERVICE_DISABLED":
        return who.refused(
            "the IAM Service Account Credentials API is not enabled: gcloud services enable "
            "iamcredentials.googleapis.com."
        )
    if status == 404:
        return who.refused(f"there is no service account {who.account}.")
    if status == 401:
        return who.refused("Google does not accept the token of the ServiceAccount.")
    grant = (
        f'grant roles/iam.workloadIdentityUser on it to "{who.member}"'
        if who.member
        else "grant roles/iam.workloadIdentityUser on it to the identity"
    )
    return who.refused(
        f"it may not act as the service account {who.account}; {grant}. A service account that "
        "does not exist looks the same."
    )


def _found(cases: tuple[tuple[str, str], ...], text: str) -> str:
    lower = text.lower()
    return next((said for words, said in cases if words in lower), "")


def _read(answer: Answer) -> tuple[str, str, str]:
    """The code, the text and the reason of an error, in either of Google's two forms."""
    try:
        body: Any = json.loads(answer.data)
    except ValueError:
        return "", "", ""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        details = error.get("details") or []
        reasons = [one.get("reason") for one in details if isinstance(one, dict)]
        return (
            str(error.get("status", "")),
            str(error.get("message", "")),
            str(next((one for one in reasons if one), "")),
        )
    if isinstance(error, str):
        return error, str(body.get("error_description", "")), ""
    return "", "", ""
