"""What the API server's answers mean. Pure.

Its ``Status`` texts are read, to tell cases apart, and never passed on. *Not found* is believed
only as such a ``Status`` about Secrets: a bare 404 comes from a proxy or from something else than
an API server.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from syncret.api.data import Query
from syncret.constants import BASE64_FIELD
from syncret.errors import AccessDenied, ProviderError, ProviderRejected, ProviderUnavailable
from syncret.providers.base import Found, NotFound
from syncret.providers.web import Answer, CredentialsRefused, busy, not_understood

WHAT: Final = "one of the Kubernetes API"
_RBAC: Final = re.compile(r'cannot (?P<verb>[a-z]+) resource "(?P<resource>[a-z0-9./-]+)"')


@dataclass(frozen=True, slots=True)
class Call:
    """What was tried, for the sentences. ``key``: the one Secret that it was about, if any."""

    place: str
    namespace: str
    who: str
    verb: str
    key: str = ""

    @property
    def doing(self) -> str:
        """The beginning of a sentence on this one call."""
        inside = self.place[:1].lower() + self.place[1:]
        if not self.key:
            return f"To {self.verb} Secrets in {inside}"
        return f'Reading the Secret "{self.key[:253]}" in {inside}'

    def denied(self) -> AccessDenied:
        """The sentence that names the missing permission."""
        return AccessDenied(
            f'{self.doing} is denied: grant the verb "{self.verb}" on the resource "secrets" in '
            f'namespace "{self.namespace}" to {self.who}.'
        )


def document(answer: Answer, kinds: frozenset[str], call: Call) -> Any:
    """The object of a successful answer, or what else it means: NotFound or a ProviderError."""
    if 200 <= answer.status < 300:
        body = _json(answer.body)
        if body is None or body.get("kind") not in kinds:
            return not_understood(call.place, WHAT)
        return body
    return _failure(answer, call)


def _failure(answer: Answer, call: Call) -> NotFound | ProviderError:
    status = _json(answer.body) or {}
    told = status.get("kind") == "Status"
    if answer.status == 401:
        return CredentialsRefused(
            f"{call.place}: the API server refused the credentials: {call.who} is not known there, "
            "or the credentials have expired. Renew them."
        )
    problem = busy(answer, call.place)
    if problem is not None:
        return problem
    if not told:
        return ProviderRejected(
            f"{call.place}: what answers is not a Kubernetes API server (HTTP {answer.status}): "
            "correct the url of the server."
        )
    return _told(answer.status, status, call)


def _told(code: int, status: Mapping[str, Any], call: Call) -> NotFound | ProviderError:
    if code == 403:
        return _forbidden(status, call)
    if code == 404 and _is_about_secret(status):
        return NotFound()
    if code == 410:  # the next search begins anew
        return ProviderUnavailable(
            f"{call.place} has changed too much during a search: it is tried again."
        )
    return ProviderRejected(
        f"{call.doing} is refused with HTTP {code}: correct the key, or the url of the server."
    )


def _forbidden(status: Mapping[str, Any], call: Call) -> ProviderError:
    if _RBAC.search(str(status.get("message") or "")):
        return call.denied()
    return AccessDenied(
        f"{call.doing} is denied by something else than RBAC: see the authorizers of that cluster."
    )


def _is_about_secret(status: Mapping[str, Any]) -> bool:
    details = status.get("details")
    return (
        status.get("reason") == "NotFound"
        and isinstance(details, dict)
        and details.get("kind") == "secrets"
    )


def data(secret: Mapping[str, Any]) -> dict[str, bytes] | None:
    """The values of a Secret; None if it is not one."""
    given = secret.get("data") or {}
    try:
        return {str(key): base64.b64decode(value, validate=True) for key, value in given.items()}
    except (AttributeError, TypeError, ValueError, binascii.Error):
        return None


def as_json(values: Mapping[str, bytes]) -> bytes:
    """All values as one JSON object, in the order of their keys.

    JSON has no bytes. What is no text becomes an object with one field that says so, which the
    engine turns into the bytes again where it writes them.
    """
    found: dict[str, Any] = {}
    for key in sorted(values):
        try:
            found[key] = values[key].decode()
        except UnicodeDecodeError:
            found[key] = {BASE64_FIELD: base64.b64encode(values[key]).decode()}
    return json.dumps(found, ensure_ascii=False).encode()


def labels(body: Mapping[str, Any]) -> dict[str, str]:
    given = (body.get("metadata") or {}).get("labels") or {}
    return {str(name): str(value) for name, value in given.items()}


def version(body: Mapping[str, Any]) -> str:
    return str((body.get("metadata") or {}).get("resourceVersion") or "")


def changed_at(body: Mapping[str, Any]) -> datetime | None:
    """When somebody last wrote to an object, by what the API server keeps of its writers."""
    meta = body.get("metadata") or {}
    writers = [one.get("time") for one in meta.get("managedFields") or () if isinstance(one, dict)]
    times = [_time(one) for one in (meta.get("creationTimestamp"), *writers)]
    return max((one for one in times if one is not None), default=None)


def found(query: Query, body: Mapping[str, Any]) -> Found:
    """One page of a search."""
    names = tuple(
        str(item["metadata"]["name"])
        for item in body.get("items") or ()
        if query.matches(str(item["metadata"]["name"]), labels(item))
    )
    return Found(names, str((body.get("metadata") or {}).get("continue") or ""))


def may(review: Mapping[str, Any], verb: str) -> bool:
    """Whether a SelfSubjectRulesReview has a rule for Secrets, or cannot say."""
    status = review.get("status") or {}
    if status.get("incomplete"):
        return True
    return any(
        {verb, "*"} & set(rule.get("verbs") or ())
        and {"", "*"} & set(rule.get("apiGroups") or ())
        and {"secrets", "*"} & set(rule.get("resources") or ())
        for rule in status.get("resourceRules") or ()
    )


_LABEL_KEY: Final = re.compile(
    r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def selector(query: Query) -> str | None:
    """The label selector for a search's tags; None where no Secret can have such labels."""
    if not all(
        _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value) for key, value in query.tags
    ):
        return None
    return ",".join(f"{key}={value}" for key, value in query.tags)


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None
