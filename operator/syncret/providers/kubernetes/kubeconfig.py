"""A kubeconfig that is kept in a Secret: only what stands in it, nothing that it points to. Pure.

A kubeconfig can start a program (``exec``), read files of whoever uses it (``tokenFile``,
``certificate-authority``) and switch off the checking of certificates. Whoever may write the Secret
of a store must be able to do none of that in the operator's pod.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from syncret.providers.kubernetes.config import URL

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LONGEST: Final = 1_048_576

_CLUSTER: Final = frozenset(
    {"server", "certificate-authority-data", "tls-server-name", "disable-compression", "extensions"}
)
_USER: Final = frozenset({"token", "client-certificate-data", "client-key-data", "extensions"})


class Unusable(Exception):
    """Why a kubeconfig cannot be used; the message quotes nothing but names of fields."""


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """What the current context says."""

    server: str
    ca: bytes | None = None
    tls_server_name: str = ""
    token: bytes = field(default=b"", repr=False)
    cert: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


def parse(data: bytes) -> Kubeconfig:
    """Raises Unusable."""
    document = _load(data)
    context = _named(document, "contexts", "context", document.get("current-context"))
    cluster = _named(document, "clusters", "cluster", context.get("cluster"))
    user = _named(document, "users", "user", context.get("user"))
    _only(cluster, _CLUSTER, "cluster")
    _only(user, _USER, "user")
    server = cluster.get("server")
    if not isinstance(server, str) or not URL.fullmatch(server) or not _has_port(server):
        raise Unusable("its server is not an https:// URL without user name, query and fragment")
    found = Kubeconfig(
        server=server.rstrip("/"),
        ca=_decoded(cluster, "certificate-authority-data") or None,
        tls_server_name=str(cluster.get("tls-server-name") or ""),
        token=str(user.get("token") or "").strip().encode(),
        cert=_decoded(user, "client-certificate-data"),
        key=_decoded(user, "client-key-data"),
    )
    if not found.token and not (found.cert and found.key):
        raise Unusable(
            "its user has neither token nor client-certificate-data with client-key-data"
        )
    return found


def _load(data: bytes) -> Mapping[str, Any]:
    broken = False
    document: Any = None
    try:
        if len(data) <= _LONGEST:
            document = yaml.load(data, Loader=_LOADER)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError):
        broken = True
    if broken or not isinstance(document, Mapping):
        raise Unusable("it is not YAML of a kubeconfig")
    return document


def _named(document: Mapping[str, Any], plural: str, kind: str, name: Any) -> Mapping[str, Any]:
    if not isinstance(name, str) or not name:
        missing = "current-context" if kind == "context" else f"the {kind} of its context"
        raise Unusable(f"{missing} is missing")
    entries = document.get(plural)
    for entry in entries if isinstance(entries, Sequence) else ():
        if isinstance(entry, Mapping) and entry.get("name") == name:
            found = entry.get(kind)
            if isinstance(found, Mapping):
                return found
    raise Unusable(f"it has no {kind} of the name that it uses")


def _only(given: Mapping[str, Any], known: frozenset[str], kind: str) -> None:
    for name in given:
        if name not in known and given[name] not in (None, False, ""):
            shown = str(name)[:40] if str(name).replace("-", "").isalnum() else "another"
            raise Unusable(
                f"its {kind} has the field {shown}, and only what stands in the kubeconfig itself "
                f"is used ({', '.join(sorted(known - {'extensions'}))})"
            )


def _decoded(given: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(str(given.get(name) or ""), validate=True)
    except binascii.Error:
        pass
    raise Unusable(f"its {name} is not base64")


def _has_port(server: str) -> bool:
    try:
        _ = urlsplit(server).port
    except ValueError:
        return False
    return True
