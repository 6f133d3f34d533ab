"""Vault's answers as failures of ours.

Vault's texts are read, to tell cases apart that share a status, and never passed on: they hold
paths and request ids, and sometimes what was sent.

Only an answer in Vault's own form is *not found*. A bare 404 is not: it comes from a proxy or a
wrong address, and to believe it could cost a Secret its keys.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from syncret.errors import (
    AccessDenied,
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    Throttled,
)
from syncret.providers.base import NotFound

#: What Vault could ask for at most that is still obeyed; a server is not trusted with more.
MAX_RETRY_AFTER: Final = 3600.0

#: How the KV engine of version 2 says that a path is one of version 1.
_VERSIONED: Final = "versioned K/V"


class CredentialsRefused(AccessDenied):
    """Nothing can be read with these credentials, or with this token."""


class TokenRefused(CredentialsRefused):
    """The token is not, or no longer, known to Vault. ``number``: of the token that was sent.

    ``sure``: no if the same words may mean that a policy denies (before Vault 1.17, and OpenBao).
    """

    number: int = 0
    sure: bool = True
    #: What it is if a policy denies.
    otherwise: AccessDenied | None = None


class NotCaughtUp(ProviderUnavailable):
    """A standby that answers reads itself does not know of our token yet: ask again."""


#: Failures that say nothing about the one secret that was asked for: the next call fails as well.
STORE_WIDE: Final = (CredentialsRefused, Throttled, ProviderTimeout, ProviderUnavailable)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of Vault, or of what stands before it. ``number``: of the token that was sent."""

    status: int
    body: Any = field(repr=False, default=None)
    number: int = 0
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def errors(self) -> str | None:
        """What Vault says is wrong, "" if nothing; None if the answer is not Vault's."""
        errors = self.body.get("errors") if isinstance(self.body, Mapping) else None
        return "\n".join(map(str, errors)) if isinstance(errors, list) else None

    @property
    def warnings(self) -> str:
        given = self.body.get("warnings") if isinstance(self.body, Mapping) else None
        return "\n".join(map(str, given)) if isinstance(given, list) else ""


@dataclass(frozen=True, slots=True)
class Call:
    """What was tried, for the sentences.

    ``path`` is Vault's own path of it, as policies name it, ``capability`` what they have to give.
    Sentences on what is store-wide name neither: which of several calls fails first is chance, and
    a condition's message should not be.
    """

    place: str
    operation: str
    path: str = ""
    capability: str = "read"
    key: str = ""
    verb: str = "Reading"

    @property
    def doing(self) -> str:
        """The beginning of a sentence on this one call."""
        if not self.key:
            return f"{self.operation} on {self.place}"
        where = "from" if self.verb == "Reading" else "in"
        return f'{self.verb} "{_short(self.key)}" {where} {self.place}'

    @property
    def rule(self) -> str:
        """The least rule of a policy that allows it."""
        return f'path "{_short(self.path)}" {{ capabilities = ["{self.capability}"] }}'


def problem(answer: Answer, call: Call) -> NotFound | ProviderError:
    """What an answer that is no success means. Never quotes."""
    if answer.ok:
        return not_understood(call.place)
    return (
        _busy(answer, call)
        or _denied(answer, call)
        or _missing(answer, call)
        or _rejected(answer, call)
    )


def timed_out(place: str) -> ProviderTimeout:
    return ProviderTimeout(
        f"{place} did not answer in time: check spec.provider.vault.server, network policies and "
        "proxies."
    )


def not_understood(place: str) -> ProviderUnavailable:
    """A success whose body is not that of Vault."""
    return ProviderUnavailable(
        f"{place} gave an answer that is not one of Vault: check spec.provider.vault.server and "
        "the proxies before it."
    )


def not_vault(place: str) -> ProviderRejected:
    return ProviderRejected(
        f"{place} answered as Vault does not: check spec.provider.vault.server, and the proxies "
        "before it."
    )


def _busy(answer: Answer, call: Call) -> ProviderError | None:  # noqa: PLR0911 - a case for each
    status, text = answer.status, answer.errors or ""
    if status == 429:
        return Throttled(
            f"{call.place} throttles our requests: they are tried again; if it lasts, lengthen "
            "refresh intervals, or raise Vault's rate limit quota.",
            retry_after=answer.retry_after,
        )
    if status == 412:
        return NotCaughtUp(
            f"{call.place} is a standby that has not caught up with its leader: the request is "
            "tried again; if it lasts, check the replication of Vault."
        )
    if status in {472, 473} or "active cluster node not found" in text or "not active" in text:
        return ProviderUnavailable(
            f"{call.place} is a standby without an active node that it could ask: check the state "
            "of Vault's cluster."
        )
    if "Vault is sealed" in text:
        return ProviderUnavailable(f"{call.place} is sealed: unseal it.")
    if status == 501 or "not initialized" in text:
        return ProviderUnavailable(f"{call.place} is not initialized: initialize and unseal it.")
    if "performing token check" in text:
        return _token_refused(answer, call, sure=True)
    if status >= 500:
        return ProviderUnavailable(
            f"{call.place} had an internal error: the request is tried again; if it lasts, check "
            "the state of Vault and the proxies."
        )
    return None


def _denied(answer: Answer, call: Call) -> ProviderError | None:
    if answer.status not in {401, 403, 407}:
        return None
    if answer.errors is None:
        return ProviderRejected(
            f"{call.place} refused the request with HTTP {answer.status}, and not in Vault's "
            "words: check spec.provider.vault.server, and the proxies before it."
        )
    if "invalid token" in answer.errors or "bad token" in answer.errors:
        return _token_refused(answer, call, sure=True)
    if answer.errors.strip() == "permission denied":
        return _token_refused(answer, call, sure=False)
    return denied(call)


def denied(call: Call) -> AccessDenied:
    """A policy does not allow it."""
    return AccessDenied(f"{call.doing} is denied: the policies of the token need {call.rule}.")


def _token_refused(answer: Answer, call: Call, *, sure: bool) -> TokenRefused:
    refused = TokenRefused(
        f"{call.place} refused the credentials: it does not know the token, which has expired or "
        "was revoked, or is of another Vault or namespace. Renew it."
    )
    refused.number = answer.number
    refused.sure = sure
    refused.otherwise = denied(call)
    return refused


def _missing(answer: Answer, call: Call) -> NotFound | ProviderError | None:
    if answer.status != 404:
        return None
    if _VERSIONED in answer.warnings:
        return ProviderRejected(
            f"{call.doing} is not possible: the mount is a key/value engine of another version "
            "than spec.provider.vault.version says."
        )
    if answer.errors is None:
        return not_vault(call.place)
    if "no handler for route" in answer.errors or "unsupported path" in answer.errors:
        return ProviderRejected(
            f'{call.doing} is not possible: nothing is mounted at "{_short(call.path)}". Correct '
            "spec.provider.vault.path (or the key's first segment) and spec.provider.vault."
            "namespace."
        )
    if answer.errors:
        return ProviderRejected(f"{call.doing} is refused: correct the key or the version.")
    return NotFound()


def _rejected(answer: Answer, call: Call) -> ProviderRejected:
    if 300 <= answer.status < 400:
        return ProviderRejected(
            f"{call.place} sends requests on to another address: set spec.provider.vault.server "
            "to the one that answers them."
        )
    text = answer.errors
    if text is None:
        return not_vault(call.place)
    if "DR secondary" in text or "disaster recovery" in text.lower():
        return ProviderRejected(
            f"{call.place} is a secondary for disaster recovery, which answers no reads: set "
            "spec.provider.vault.server to the primary."
        )
    if answer.status == 405 or "unsupported operation" in text:
        return ProviderRejected(
            f"{call.doing} is not possible: what is mounted there is no key/value engine of the "
            "version that spec.provider.vault.version says."
        )
    return ProviderRejected(f"{call.doing} is refused: correct the key or the version.")


def retry_after(text: str | None) -> float | None:
    """What the answer asks us to wait, in seconds. The header's other form, a date, Vault never
    writes."""
    if text is None or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text.strip()):
        return None
    return min(float(text), MAX_RETRY_AFTER)


def seconds_of(given: object) -> float:
    """A length of time in an answer; nought where it is none."""
    return float(given) if isinstance(given, int) and given > 0 else 0.0


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"
