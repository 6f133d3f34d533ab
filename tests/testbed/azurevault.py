"""Azure Key Vault as its REST reference describes it, as far as it is read.

There is no server of it to be had, so this is a stand-in of our own: the paths, the shapes, the
error codes and the paging of the data plane (api-version 7.4) for secrets, keys and certificates.
It was written after the documentation and after what the real service was seen to answer by
others; no real vault was at hand. The real SDK drives it.

It holds what a test puts into it behind the SDK's back, and speaks no HTTP itself: see
``azure.py``.
"""

import base64
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

#: What the real one takes: at most 25 items in a page, 25 KiB in a secret.
PAGE: Final = 25
MAX_VALUE: Final = 25 * 1024

_NAME: Final = re.compile(r"[0-9a-zA-Z-]{1,127}")
_VERSION: Final = re.compile(r"[0-9a-fA-F]{32}")

_NOUNS: Final = {"secrets": "secret", "keys": "key", "certificates": "certificate"}
_ACTIONS: Final = {
    ("secrets", "get"): "Microsoft.KeyVault/vaults/secrets/getSecret/action",
    ("secrets", "list"): "Microsoft.KeyVault/vaults/secrets/readMetadata/action",
}


@dataclass(frozen=True)
class Answer:
    """A status, a body and headers."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, content: Any, status: int = 200, **headers: str) -> "Answer":
        """JSON, as every answer of Azure is."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(
            status,
            json.dumps(content).encode(),
            {"Content-Type": "application/json; charset=utf-8", **named},
        )


def error(status: int, code: str, message: str, inner: str = "", **headers: str) -> Answer:
    """An error as Key Vault words it."""
    content: dict[str, Any] = {"code": code, "message": message}
    if inner:
        content["innererror"] = {"code": inner}
    return Answer.of({"error": content}, status, **headers)


@dataclass
class Version:
    """One version of an object; ``content`` is what an answer has beside id, attributes, tags."""

    id: str
    content: dict[str, Any]
    created: int
    updated: int
    enabled: bool = True
    nbf: int | None = None
    exp: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    managed: bool = False

    def attributes(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "enabled": self.enabled,
            "created": self.created,
            "updated": self.updated,
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": 90,
        }
        return found | {
            name: at for name, at in (("nbf", self.nbf), ("exp", self.exp)) if at is not None
        }


class Vault:
    """One vault. ``url`` is set by whoever serves it, as it stands in ids and links."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.url = ""
        self._clock = clock
        self._objects: dict[str, dict[str, list[Version]]] = {kind: {} for kind in _NOUNS}
        self._deleted: dict[str, dict[str, list[Version]]] = {kind: {} for kind in _NOUNS}
        #: Objects whose reading is denied, as (kind, name), and rights that nobody has, such as
        #: "secrets/list".
        self.denied: set[tuple[str, str]] = set()
        self.without: set[str] = set()
        #: Whether it is Azure RBAC that denies; otherwise the vault's access policies.
        self.rbac = True
        #: The inner code of a network rule that refuses everybody, if any.
        self.closed = ""

    # Behind the SDK's back

    def set_secret(self, name: str, value: str, *, content_type: str = "", **how: Any) -> str:
        """A new version of a secret, as ``az keyvault secret set``; returns its id."""
        assert _NAME.fullmatch(name), name
        assert len(value.encode()) <= MAX_VALUE
        assert name not in self._deleted["secrets"], "it is deleted but can be recovered"
        content = {"value": value} | ({"contentType": content_type} if content_type else {})
        return self._add("secrets", name, content, **how)

    def set_key(self, name: str, **how: Any) -> str:
        """A new version of an RSA key; the private part never leaves a vault."""
        numbers = rsa.generate_private_key(65537, 2048).public_key().public_numbers()
        jwk = {
            "kty": "RSA",
            "key_ops": ["sign", "verify"],
            "n": _b64(numbers.n.to_bytes(256, "big")),
            "e": _b64(numbers.e.to_bytes(3, "big")),
        }
        return self._add("keys", name, {"key": jwk}, **how)

    def set_certificate(
        self, name: str, certificate: x509.Certificate, secret: str, content_type: str, **how: Any
    ) -> str:
        """A new version of a certificate, and of the secret and the key that Azure keeps with it.

        ``secret``: the PFX in Base64 or the PEM, with the private key, as the policy wants it.
        """
        der = certificate.public_bytes(Encoding.DER)
        version = self._add("certificates", name, {"cer": base64.b64encode(der).decode()}, **how)
        content = {"value": secret, "contentType": content_type}
        self._add("secrets", name, content, version=version, managed=True, **how)
        return version

    def update(self, kind: str, name: str, version: str = "", **attributes: Any) -> None:
        """Changes attributes or tags of a version, the current one if none is given."""
        versions = self._objects[kind][name]
        one = next(v for v in versions if v.id == version) if version else versions[-1]
        for attribute, value in attributes.items():
            setattr(one, attribute, value)
        one.updated = int(self._clock())

    def delete(self, name: str, kind: str = "secrets") -> None:
        """Soft delete: it can be recovered, and its name is taken until then."""
        self._deleted[kind][name] = self._objects[kind].pop(name)

    def recover(self, name: str, kind: str = "secrets") -> None:
        self._objects[kind][name] = self._deleted[kind].pop(name)

    def _add(
        self, kind: str, name: str, content: dict[str, Any], *, version: str = "", **how: Any
    ) -> str:
        now = int(self._clock())
        one = Version(version or secrets.token_hex(16), content, now, now, **how)
        self._objects[kind].setdefault(name, []).append(one)
        return one.id

    # What the SDK sees

    def answer(self, method: str, path: str, query: str) -> Answer:  # noqa: PLR0911 - a case each
        """The answer to somebody whose token is good."""
        if self.closed:
            return error(403, "Forbidden", "Client address is not authorized.", self.closed)
        asked = parse_qs(query)
        if "api-version" not in asked:
            return error(400, "BadParameter", "api-version must be specified")
        if method != "GET":
            return error(405, "MethodNotAllowed", "this one is only read")
        kind, _, rest = path.strip("/").partition("/")
        name, _, version = rest.rstrip("/").partition("/")
        if kind not in self._objects:
            return error(404, "NotFound", "no such collection")
        if not name:
            return self._list(kind, asked)
        if not _NAME.fullmatch(name):
            return error(400, "BadParameter", f"The request URI contains an invalid name: {name}")
        if version == "versions":
            return self._versions(kind, name, asked)
        if version and not _VERSION.fullmatch(version):
            return error(
                400, "BadParameter", f"The request URI contains an invalid version: {version}"
            )
        return self._get(kind, name, version)

    def _get(self, kind: str, name: str, version: str) -> Answer:
        if (refused := self._refused(kind, "get", name)) is not None:
            return refused
        noun = _NOUNS[kind]
        versions = self._objects[kind].get(name, [])
        found = [one for one in versions if not version or one.id == version][-1:]
        if not found:
            return error(
                404,
                f"{noun.capitalize()}NotFound",
                f"A {noun} with (name/id) {name}{f'/{version}' if version else ''} was not found "
                f"in this key vault. If you recently deleted this {noun} you may be able to "
                "recover it using the correct recovery command.",
            )
        (one,) = found
        if not one.enabled and kind == "secrets":
            return error(
                403,
                "Forbidden",
                "Operation get is not allowed on a disabled secret.",
                "SecretDisabled",
            )
        return Answer.of(self._bundle(kind, name, one))

    def _bundle(self, kind: str, name: str, one: Version) -> dict[str, Any]:
        bundle = dict(one.content)
        address = f"{self.url}/{kind}/{name}/{one.id}"
        if kind == "keys":
            bundle["key"] = {"kid": address, **bundle["key"]}
        else:
            bundle["id"] = address
        if one.tags:
            bundle["tags"] = one.tags
        if one.managed:
            bundle |= {"managed": True, "kid": f"{self.url}/keys/{name}/{one.id}"}
        return bundle | {"attributes": one.attributes()}

    def _list(self, kind: str, asked: Mapping[str, list[str]]) -> Answer:
        """The current version of each object, by name."""
        if (refused := self._refused(kind, "list")) is not None:
            return refused
        items = (self._item(kind, name, versions[-1]) for name, versions in self._sorted(kind))
        return self._page(kind, list(items), asked)

    def _versions(self, kind: str, name: str, asked: Mapping[str, list[str]]) -> Answer:
        if (refused := self._refused(kind, "list", name)) is not None:
            return refused
        versions = self._objects[kind].get(name, [])
        items = [self._item(kind, f"{name}/{one.id}", one) for one in versions]
        return self._page(f"{kind}/{name}/versions", items, asked)

    def _item(self, kind: str, address: str, one: Version) -> dict[str, Any]:
        where = "kid" if kind == "keys" else "id"
        item: dict[str, Any] = {
            where: f"{self.url}/{kind}/{address}",
            "attributes": one.attributes(),
        }
        if "contentType" in one.content:
            item["contentType"] = one.content["contentType"]
        if one.managed:
            item["managed"] = True
        return item | ({"tags": one.tags} if one.tags else {})

    def _page(
        self, path: str, items: list[dict[str, Any]], asked: Mapping[str, list[str]]
    ) -> Answer:
        size = int(asked.get("maxresults", [str(PAGE)])[0])
        if not 1 <= size <= PAGE:
            return error(400, "BadParameter", "maxresults must be between 1 and 25")
        start = int(asked.get("$skiptoken", ["0"])[0])
        end = start + size
        more = None
        if end < len(items):
            query = {"api-version": asked["api-version"][0], "$skiptoken": end, "maxresults": size}
            more = f"{self.url}/{path}?{urlencode(query)}"
        return Answer.of({"value": items[start:end], "nextLink": more})

    def _sorted(self, kind: str) -> Iterator[tuple[str, list[Version]]]:
        yield from sorted(self._objects[kind].items())

    def _refused(self, kind: str, right: str, name: str = "") -> Answer | None:
        if f"{kind}/{right}" not in self.without and (kind, name) not in self.denied:
            return None
        caller = (
            "appid=11111111-1111-1111-1111-111111111111;oid=22222222-2222-2222-2222-222222222222"
        )
        if self.rbac:
            action = _ACTIONS.get((kind, right), f"Microsoft.KeyVault/vaults/{kind}/read")
            return error(
                403,
                "Forbidden",
                "Caller is not authorized to perform action on resource.\r\nIf role assignments, "
                "deny assignments or role definitions were changed recently, please observe "
                f"propagation time.\r\nCaller: {caller}\r\nAction: '{action}'\r\n"
                "Assignment: (not found)\r\nDecisionReason: 'DeniedWithNoValidRBAC' \r\n",
                "ForbiddenByRbac",
            )
        return error(
            403,
            "Forbidden",
            f"The user, group or application '{caller}' does not have {kind} {right} permission on "
            "key vault 'stand-in;location=westeurope'.",
            "AccessDenied",
        )


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
