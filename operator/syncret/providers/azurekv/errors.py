"""azure-core's failures as ours.

Azure's texts are never passed on: they hold request ids, ids of callers and addresses, which would
make every condition a new one. What they mean is told by their codes.

Only Key Vault's own codes, such as ``SecretNotFound``, are *not found*. A bare 404 is not: it comes
from a proxy or a wrong address, and to believe it could cost a Secret its keys.
"""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from azure.core import exceptions as core

from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    Throttled,
)
from syncret.providers.azurekv.objects import CHECK_NAME, Address, Kind
from syncret.providers.base import NotFound

#: The operations, named as Azure's REST reference does.
GET: Final[Mapping[Kind, str]] = {
    "secret": "GetSecret",
    "key": "GetKey",
    "cert": "GetCertificate",
}
LIST: Final = "GetSecrets"
LOGIN: Final = "GetToken"

#: What Azure could ask for at most that is still obeyed.
MAX_RETRY_AFTER: Final = 3600.0

_NOT_FOUND: Final = frozenset({"SecretNotFound", "KeyNotFound", "CertificateNotFound"})
_NETWORK: Final = frozenset(
    {"ForbiddenByFirewall", "ForbiddenByConnection", "ForbiddenByPrivateLink", "ForbiddenByNsp"}
)
_STATES: Final[Mapping[str, str]] = {
    "SecretDisabled": "is disabled: enable it, or name another version",
    "KeyDisabled": "is disabled: enable it, or name another version",
    "CertificateDisabled": "is disabled: enable it, or name another version",
    "SecretExpired": "has expired: set a new version, or correct its expiry date",
    "SecretNotYetValid": "is not valid yet: correct its activation date, or name another version",
}

#: The role and the access policy's permission that an operation needs.
_RIGHTS: Final[Mapping[str, tuple[str, str]]] = {
    "GetSecret": ("Key Vault Secrets User", "the secret permission Get"),
    "GetSecrets": ("Key Vault Secrets User", "the secret permission List"),
    "GetKey": ("Key Vault Reader", "the key permission Get"),
    "GetCertificate": ("Key Vault Reader", "the certificate permission Get"),
}


class CredentialsRefused(AccessDenied):
    """The identity itself is not accepted, or there is none: nothing can be read with it."""


class TokenRefused(CredentialsRefused):
    """The vault does not take the token: it may have been revoked since it was given out."""


class BrokenOff(ProviderUnavailable):
    """A connection that was there has ended: it is worth another one, at once."""


class Unusable(ProviderRejected):
    """The object is there, the identity may read it, and it is switched off."""


#: Failures that say nothing about the one object that was asked for: the next call fails as well.
STORE_WIDE: Final = (CredentialsRefused, Throttled, ProviderTimeout, ProviderUnavailable)


@dataclass(frozen=True, slots=True)
class Call:
    """What was tried, for the sentences. ``address``: the one object it was about, if any.

    Sentences on what is store-wide name neither operation nor object: which of several calls fails
    first is chance, and a condition's message should not be.
    """

    place: str
    operation: str
    address: Address | None = None

    @property
    def doing(self) -> str:
        """The beginning of a sentence on this one call."""
        if self.address is None:
            return f"Listing the secrets of {self.place} ({self.operation})"
        return f'Reading "{self.address.name}" from {self.place} ({self.operation})'


def failure(error: Exception, call: Call) -> NotFound | ProviderError:
    """What an exception out of the SDK means. Never raises, never quotes."""
    if isinstance(error, ProviderError):  # of the login, which runs within the SDK's call
        error.__context__ = None
        return error.with_traceback(None)
    if isinstance(error, core.IncompleteReadError):
        return _unconnected(None, call.place)
    if isinstance(error, core.HttpResponseError) and error.response is not None:
        return _answered(error.response, call)
    return unreachable(error, call.place)


def unreachable(error: Exception, place: str) -> ProviderError:
    """What an exception means that came instead of an answer, from a vault or from Entra ID."""
    if isinstance(error, core.ServiceRequestTimeoutError | core.ServiceResponseTimeoutError):
        return timed_out(place)
    if isinstance(error, core.ServiceRequestError | core.ServiceResponseError):
        return _unconnected(error.inner_exception, place)
    return not_understood(place)


def disabled(call: Call) -> Unusable:
    """Azure gives a key or certificate that somebody switched off, and says that it is."""
    return Unusable(f"{call.doing} is refused: it {_STATES['SecretDisabled']}.")


def timed_out(place: str) -> ProviderTimeout:
    """No answer within the timeout of a call, or of the whole."""
    return ProviderTimeout(
        f"{place} did not answer in time: check the address, network policies and proxies."
    )


def not_understood(place: str) -> ProviderUnavailable:
    """A 200 whose body is not what was promised."""
    return ProviderUnavailable(
        f"{place} gave an answer that is not one of Azure: check the address and the proxies "
        "before it."
    )


def retry_after(headers: Mapping[str, Any]) -> float | None:
    """What the answer asks us to wait, in seconds. Azure does not use the form that is a date."""
    for header, unit in (
        ("x-ms-retry-after-ms", 0.001),
        ("retry-after-ms", 0.001),
        ("Retry-After", 1.0),
    ):
        try:
            seconds = float(headers.get(header, "")) * unit
        except ValueError:
            continue
        if seconds >= 0:
            return min(seconds, MAX_RETRY_AFTER)
    return None


def busy(status: int, headers: Mapping[str, Any], place: str) -> ProviderError | None:
    """The failures that pass, of a vault or of Entra ID."""
    if status == 429:
        return Throttled(
            f"{place} throttles our requests: they are tried again; if it lasts, lengthen refresh "
            "intervals, or spread the secrets over several vaults.",
            retry_after=retry_after(headers),
        )
    if status >= 500:
        return ProviderUnavailable(
            f"{place} had an internal error: the request is tried again; if it lasts, check the "
            "state of Azure and the proxies."
        )
    return None


def _unconnected(cause: BaseException | None, place: str) -> ProviderUnavailable:
    if isinstance(cause, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return ProviderUnavailable(
            f"No trusted TLS connection to {place} comes about: check the address, and that its "
            "certificate is signed by a CA that the operator trusts (caBundle or caProvider for a "
            "private cloud)."
        )
    if isinstance(cause, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return ProviderUnavailable(
            f"{place} cannot be reached because the HTTP proxy cannot: check the operator's proxy "
            "settings."
        )
    if isinstance(cause, aiohttp.ClientConnectorError):
        if isinstance(cause.os_error, socket.gaierror):
            return ProviderUnavailable(
                f"The name of {place} is not known: correct vaultUrl (is the vault deleted?), or "
                "check DNS and the zone of the private endpoint."
            )
        return ProviderUnavailable(
            f"{place} cannot be reached: check the address, DNS and network policies."
        )
    return BrokenOff(
        f"The connection to {place} broke off: it is tried again; if it lasts, check the proxies."
    )


def _answered(response: Any, call: Call) -> NotFound | ProviderError:
    status = int(response.status_code or 0)
    if status < 300:
        return not_understood(call.place)
    code, inner = _codes(response)
    if status == 404 and code in _NOT_FOUND:
        return NotFound(version_missing=call.address is not None and bool(call.address.version))
    return (
        busy(status, response.headers, call.place)
        or _refused(status, inner, call)
        or _rejected(code, call)
    )


def _refused(status: int, inner: str, call: Call) -> ProviderError | None:
    if status == 401:
        return TokenRefused(
            f"{call.place} refused the credentials: the token is not for it. Check tenantId, "
            "environmentType and the clock of the operator's node."
        )
    if status == 407:
        return ProviderUnavailable(
            f"The HTTP proxy before {call.place} refuses us: check the operator's proxy settings."
        )
    if status != 403:
        return None
    if inner in _NETWORK:
        return ProviderUnavailable(
            f"{call.place} refuses the operator's network: allow the cluster's outgoing addresses "
            "or its subnet in the vault's firewall, or give it a private endpoint."
        )
    if inner in _STATES and call.address is not None:
        return Unusable(f"{call.doing} is refused: it {_STATES[inner]}.")
    return AccessDenied(denied(call, inner))


def check_denied(place: str) -> AccessDenied:
    """The identity is accepted and may read nothing that the check can see."""
    return AccessDenied(
        f"{place} accepts the identity, but it may not read secrets, certificates or keys: assign "
        'the role "Key Vault Secrets User" on the vault to it (it takes some minutes), or give it '
        "the secret permission Get in the vault's access policies. Where roles are assigned for "
        f'single secrets, make a secret "{CHECK_NAME}" and assign the role there as well.'
    )


def denied(call: Call, inner: str) -> str:
    """What is missing, in the terms of the vault's permission model where its answer shows it."""
    role, permission = _RIGHTS.get(call.operation, _RIGHTS["GetSecret"])
    by_role = f'assign the role "{role}" on the vault to the identity (it takes some minutes)'
    by_policy = f"give the identity {permission} in the vault's access policies"
    if inner == "ForbiddenByRbac":
        return f"{call.doing} is denied: {by_role}."
    if inner == "AccessDenied":
        return f"{call.doing} is denied: {by_policy}."
    return f"{call.doing} is denied: {by_role}, or {by_policy}."


def _rejected(code: str, call: Call) -> ProviderRejected:
    if not code:
        return ProviderRejected(
            f"{call.place} answered as Azure Key Vault does not: check vaultUrl."
        )
    return ProviderRejected(f"{call.doing} is refused: correct the key or the version.")


def _codes(response: Any) -> tuple[str, str]:
    """The code of an error and its inner code; "" each if the body is none of Key Vault's."""
    try:
        error = json.loads(response.text())["error"]
        inner = error.get("innererror") or error.get("innerError") or {}
        return str(error.get("code") or ""), str(inner.get("code") or "")
    except Exception:  # noqa: BLE001 - whatever a proxy says
        return "", ""
