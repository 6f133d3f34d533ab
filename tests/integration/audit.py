"""What the API server saw of the operator, from the control plane's audit log."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testbed.operator import NAMESPACE, SERVICE_ACCOUNT

OPERATOR: Final = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``resource`` with its subresource, as RBAC names them; "" if it is for none."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    code: int
    allowed: bool
    path: str

    @property
    def writes(self) -> bool:
        return self.verb not in {"get", "list", "watch"}

    @property
    def permission(self) -> tuple[str, str, str]:
        return self.group, self.resource, self.verb


@dataclass(frozen=True, slots=True)
class Audit:
    """The log, which the API server writes before it answers."""

    log: Path

    def mark(self) -> int:
        """Now: what comes later is after it."""
        return self.log.stat().st_size

    def requests(self, since: int = 0, *, user: str = OPERATOR) -> list[Request]:
        """What a user has asked for since a mark."""
        with self.log.open("rb") as log:
            log.seek(since)
            lines = log.read().splitlines(keepends=True)
        wanted = f'"{user}"'.encode()
        events = (json.loads(line) for line in lines if wanted in line and line.endswith(b"\n"))
        return [_request(event) for event in events if event["user"]["username"] == user]

    def concerning(self, namespace: str, since: int) -> list[Request]:
        """What the operator has asked for since a mark, of a namespace or of the whole cluster."""
        return [r for r in self.requests(since) if r.namespace in {namespace, ""}]


def _request(event: dict[str, Any]) -> Request:
    ref = event.get("objectRef") or {}
    subresource = ref.get("subresource")
    resource = ref.get("resource", "")
    return Request(
        verb=event["verb"],
        group=ref.get("apiGroup", ""),
        resource=f"{resource}/{subresource}" if subresource else resource,
        namespace=ref.get("namespace", ""),
        name=ref.get("name", ""),
        code=(event.get("responseStatus") or {}).get("code", 0),
        allowed=(event.get("annotations") or {}).get("authorization.k8s.io/decision") != "forbid",
        path=event["requestURI"],
    )
