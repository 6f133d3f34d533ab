"""From a failed answer of the API server to one of our errors, with a sentence that helps.

The API server explains itself in a ``Status`` body. Its text is used with care: for a Secret it
may quote a value (an invalid label does; a merge patch with broken base64 even gets the whole
Secret back, data included), and so may an admission webhook, so for Secrets only field paths and
reason codes are taken over. The sentences are stable:
nothing in them changes from one try to the next.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from syncret.errors import (
    KubeAlreadyExists,
    KubeConflict,
    KubeError,
    KubeForbidden,
    KubeGone,
    KubeInvalid,
    KubeNotFound,
    KubeThrottled,
    KubeUnauthorized,
    KubeUnavailable,
    NamespaceTerminating,
)
from syncret.kube.resources import SECRETS, Resource

#: What is taken over of the server's own text, in characters, and how many of its causes.
MAX_TEXT: Final = 300
MAX_CAUSES: Final = 5

#: The authorizer's sentence (staging/src/k8s.io/apiserver, responsewriters.forbiddenMessage). The
#: verb may differ from ours: an apply of something that does not exist needs "create".
_RBAC: Final = re.compile(r'cannot (?P<verb>[a-z]+) resource "(?P<resource>[a-z0-9./-]+)"')


def failure(  # noqa: C901, PLR0911 - a table of statuses
    status: int,
    body: Mapping[str, Any],
    *,
    verb: str,
    resource: Resource,
    namespace: str = "",
    name: str = "",
    retry_after: str = "",
) -> KubeError:
    """The error for an answer with that HTTP status and (possibly empty) ``Status`` body."""
    call = _Call(verb, resource, namespace, name, _Status(body))
    if status == 422 and any(cause["field"] == "metadata.uid" for cause in call.status.causes):
        # What a patch with the uid of another object gets (an apply to no object at all gets 409).
        status = 409
    match status:
        case 400 | 413 | 415 | 422:
            return KubeInvalid(_invalid(call), status=status)
        case 401:
            return KubeUnauthorized(
                f"The API server refuses the operator's credentials ({call.what}).", status=status
            )
        case 403:
            kind = NamespaceTerminating if _terminating(call) else KubeForbidden
            return kind(_forbidden(call), status=status)
        case 404:
            return KubeNotFound(_not_found(call), status=status)
        case 409 if call.status.reason == "AlreadyExists":
            return KubeAlreadyExists(f"{call.object} exists already.", status=status)
        case 409:
            return KubeConflict(_conflict(call), status=status)
        case 410:
            return KubeGone(f"The list of {resource.name} is too old to go on with.", status=status)
        case 429:
            return KubeThrottled(
                f"The API server asks for fewer requests ({call.what}).",
                status=status,
                retry_after=_seconds(retry_after) or call.status.retry_after,
            )
        case _ if status >= 500:
            return KubeUnavailable(
                f"The API server failed with HTTP {status} ({call.what}).", status=status
            )
        case _:
            return KubeError(
                f"The API server answered with HTTP {status} ({call.what}).", status=status
            )


class _Status:
    """The parts of a ``Status`` body, whatever their shape is."""

    __slots__ = ("causes", "kind", "message", "reason", "retry_after")

    def __init__(self, body: Mapping[str, Any]) -> None:
        details = body.get("details")
        details = details if isinstance(details, dict) else {}
        causes = details.get("causes")
        self.reason = str(body.get("reason") or "")
        self.message = str(body.get("message") or "")
        self.kind = str(details.get("kind") or "")
        self.retry_after = _seconds(details.get("retryAfterSeconds"))
        self.causes = [
            {part: str(cause.get(part) or "") for part in ("reason", "field", "message")}
            for cause in (causes if isinstance(causes, list) else [])
            if isinstance(cause, dict)
        ]


class _Call:
    """What was asked, in words, and the answer."""

    __slots__ = ("name", "namespace", "resource", "status", "verb")

    def __init__(
        self, verb: str, resource: Resource, namespace: str, name: str, status: _Status
    ) -> None:
        self.verb = verb
        self.resource = resource
        self.namespace = namespace
        self.name = name
        self.status = status

    @property
    def scope(self) -> str:
        if self.namespace:
            return f'in namespace "{self.namespace}"'
        return "in every namespace" if self.resource.namespaced else "in the cluster"

    @property
    def what(self) -> str:
        return f"{self.verb} {self.resource.name} {self.scope}"

    @property
    def object(self) -> str:
        name = f' "{self.name}"' if self.name else ""
        where = f' in namespace "{self.namespace}"' if self.namespace else ""
        return f"{self.resource.kind}{name}{where}"

    @property
    def secret(self) -> bool:
        return self.resource == SECRETS


def _forbidden(call: _Call) -> str:
    rbac = _RBAC.search(call.status.message)
    if rbac is not None:
        verb, resource = rbac["verb"], rbac["resource"]
        return (
            f"The operator may not {verb} {resource} {call.scope}: grant the verb "
            f'"{verb}" on the resource "{_qualified(resource, call.resource)}" to its '
            "ServiceAccount."
        )
    # The operator may do it, but not this one, not here, not now: admission has refused.
    if _terminating(call):
        return f'The namespace "{call.namespace}" is being deleted: nothing is created in it.'
    if "exceeded quota" in call.status.message:
        return (
            f"A ResourceQuota {call.scope} has no room to {call.verb} {call.resource.name}: raise "
            "it, or delete what is not needed."
        )
    return (
        f"An admission rule of the cluster refused to {call.verb} {call.object}"
        f"{_quoted(call)}: see the cluster's admission policies and webhooks."
    )


def _terminating(call: _Call) -> bool:
    return any(cause["reason"] == "NamespaceTerminating" for cause in call.status.causes)


def _not_found(call: _Call) -> str:
    if call.status.kind == "namespaces" and call.namespace:
        return f'The namespace "{call.namespace}" does not exist.'
    if not call.name or not call.status.kind:
        # No Status with details: not an object but the whole resource is unknown.
        return (
            f"The API server does not serve {call.resource.name} in version "
            f"{call.resource.version}: install the CRDs of this release."
        )
    return f"{call.object} does not exist."


def _conflict(call: _Call) -> str:
    held = [
        cause["field"] for cause in call.status.causes if cause["reason"] == "FieldManagerConflict"
    ]
    if held:
        return f"Another field manager holds fields of {call.object}: {_joined(held)}."
    return f"{call.object} has changed, or is another one by now ({call.verb})."


def _invalid(call: _Call) -> str:
    causes = call.status.causes
    if call.secret:
        told = [f"{cause['field'] or 'body'} ({cause['reason'] or 'Invalid'})" for cause in causes]
    else:
        told = [f"{cause['field']}: {cause['message']}".removeprefix(": ") for cause in causes]
    text = f": {_joined(told)}" if told else _quoted(call)
    return f"The API server refuses to {call.verb} {call.object} as it is{text}."


def _quoted(call: _Call) -> str:
    """The server's text, where it cannot hold a secret."""
    if call.secret or not call.status.message:
        return f" ({call.status.reason})" if call.status.reason else ""
    return f": {_short(call.status.message)}"


def _qualified(resource: str, asked: Resource) -> str:
    # The authorizer names the resource with its subresource and without its group.
    plural, slash, subresource = resource.partition("/")
    return f"{asked.name}{slash}{subresource}" if plural == asked.plural else resource


def _joined(parts: Iterable[str]) -> str:
    parts = list(dict.fromkeys(parts))  # the API server says some things twice
    told, more = parts[:MAX_CAUSES], len(parts) - MAX_CAUSES
    return _short("; ".join(told)) + (f"; and {more} more" if more > 0 else "")


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _seconds(value: Any) -> float | None:
    """Retry-After in seconds; the API server never sends its other form, a date."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if 0 < seconds < 3600 else None
