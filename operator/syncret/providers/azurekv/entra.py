"""What Microsoft Entra ID and managed identities say when they give no token, as failures of ours.

Entra's texts begin with a code, AADSTS and digits, which says what is wrong; the rest holds ids
and times and is not passed on.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from azure.core import exceptions as core

from syncret.errors import ProviderError
from syncret.providers.azurekv.errors import CredentialsRefused, busy, not_understood, unreachable

_CODE: Final = re.compile(r"AADSTS([0-9]{4,8})")

_TENANT: Final = "the tenant is not known: correct tenantId, and check environmentType"
_CLIENT: Final = (
    "the tenant has no such application: correct the client id, or the tenantId, or consent to the "
    "application in that tenant"
)
_FEDERATED: Final = (
    "no federated credential of the application has the {what} of the ServiceAccount's token: add "
    "one ({hint})"
)
_ISSUER: Final = _FEDERATED.format(
    what="issuer", hint="the issuer is the cluster's OIDC issuer URL, to the letter"
)
_AUDIENCE: Final = _FEDERATED.format(
    what="audience", hint="the audience is api://AzureADTokenExchange in the public cloud"
)
_SUBJECT: Final = _FEDERATED.format(
    what="subject",
    hint="the subject is system:serviceaccount:<namespace>:<name>, in the same case",
)
_ANY: Final = _FEDERATED.format(
    what="issuer, subject and audience",
    hint="the cluster's OIDC issuer URL, system:serviceaccount:<namespace>:<name>, "
    "api://AzureADTokenExchange",
)
_SIGNATURE: Final = (
    "the signature of the token cannot be checked: the issuer's keys must be public, and the "
    "federated credential's issuer that of this cluster"
)
_CLOCK: Final = "the assertion is not within its time: check the clock of the operator's node"

_SAID: Final[Mapping[str, str]] = {
    "7000215": (
        "the client secret is wrong: put its value, not its id, into the Secret, or make a new one"
    ),
    "7000222": "the client secret has expired: make a new one and put it into the Secret",
    "7000218": "the application asks for a client secret or certificate: set one",
    "7000112": "the application is disabled: enable it",
    "700016": _CLIENT,
    "700027": (
        "the certificate is not one of the application's, or does not belong to its key: upload "
        "the certificate to the application"
    ),
    "700024": _CLOCK,
    "700021": _CLOCK,
    "70021": _ANY,
    "700211": _ISSUER,
    "700212": _AUDIENCE,
    "700213": _SUBJECT,
    "7002138": _SUBJECT,
    "50013": _SIGNATURE,
    "5001310": _SIGNATURE,
    "90002": _TENANT,
    "900021": _TENANT,
    "900023": _TENANT,
    "500011": (
        "the tenant has no Key Vault service principal for this cloud: check environmentType and "
        "customCloudConfig"
    ),
    "53003": "a Conditional Access policy blocks the sign-in: exempt the workload identity",
    "530035": "a Conditional Access policy blocks the sign-in: exempt the workload identity",
}

#: Entra's own trouble, said with a status that is not one of 5xx.
_PASSING: Final = frozenset({"90033", "90020", "50196", "90099"})


@dataclass(slots=True)
class Answered:
    """The last answer to a login: the SDK's exceptions do not always have it. 0: there was none."""

    status: int = 0
    headers: Mapping[str, Any] = field(default_factory=dict)


def login_failure(
    error: Exception, place: str, answered: Answered, *, managed: bool
) -> ProviderError:
    """What an exception out of azure-identity means. Never raises, never quotes.

    ``managed``: a managed identity was asked, which has neither tenant nor secret.
    """
    if isinstance(error, ProviderError):
        error.__context__ = None
        return error.with_traceback(None)
    source = (
        f"The managed identity endpoint, for {place},"
        if managed
        else f"Microsoft Entra ID, for {place},"
    )
    if managed:
        return _managed(error, answered, place)
    found = _CODE.search(str(getattr(error, "message", "") or ""))
    code = found.group(1) if found else ""
    status = 503 if code in _PASSING else answered.status
    passing = busy(status, answered.headers, source)
    if passing is not None:
        return passing
    if not isinstance(error, core.ClientAuthenticationError):
        return unreachable(error, source)
    if not code and answered.status not in {400, 401, 403}:
        return not_understood(source)
    return refused(place, _SAID.get(code) or _unknown(code))


def refused(place: str, why: str) -> CredentialsRefused:
    """There is no token with these credentials."""
    return CredentialsRefused(f"Microsoft Entra ID refused the credentials for {place}: {why}.")


def _unknown(code: str) -> str:
    if code:
        return f"it says AADSTS{code}; look that code up in Microsoft's documentation"
    return (
        "its answer has no code: check tenantId, the client id and customCloudConfig, and the "
        "proxies before it"
    )


def _managed(error: Exception, answered: Answered, place: str) -> ProviderError:
    passing = busy(answered.status, answered.headers, "The managed identity endpoint")
    if passing is not None:
        return passing
    from azure.identity import CredentialUnavailableError

    if answered.status == 400:
        return CredentialsRefused(
            f"No managed identity for {place}: assign one to the nodes (or the identity that "
            "identityId names), or correct identityId."
        )
    if isinstance(error, CredentialUnavailableError):
        return CredentialsRefused(
            f"No managed identity for {place}: the endpoint that gives its tokens "
            "(169.254.169.254) is not reached. Let the operator run on Azure and network policies "
            "allow that address, or use WorkloadIdentity."
        )
    return unreachable(error, "The managed identity endpoint")
