"""``spec.provider.vault`` as a record."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from syncret.errors import SpecInvalid
from syncret.providers.base import CredentialRef
from syncret.providers.fields import Fields
from syncret.providers.vault.auth import MOUNT, MOUNT_FORM, Auth, parse_auth

PATH: Final = "spec.provider.vault"

#: The engines of Vault that a store can read: of secrets that people write, and of static roles,
#: whose passwords Vault itself rotates.
KV: Final = "kv"
DATABASE: Final = "database"
LDAP: Final = "ldap"
ENGINES: Final = (KV, DATABASE, LDAP)

# Further names under which open() is given what the store names: those of auth.py are the others.
CA: Final = "ca"
TLS_CERT: Final = "tlsCert"
TLS_KEY: Final = "tlsKey"

#: Characters of a CA bundle in base64, and of a header's value.
MAX_CA_BUNDLE: Final = 262_144
MAX_HEADER: Final = 1024

# The host is checked by shape only: the point is that nothing else than scheme, host, port and
# path can be in there, no user name and no query that would end up in logs.
_SERVER: Final = re.compile(
    r"https?://([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
    r"(/[-._~%!$&()*+,;=:A-Za-z0-9/]*)?"
)
_SERVER_FORM: Final = (
    "an http:// or https:// URL with a host and, if needed, a port and a path, without user name, "
    "password, query or fragment"
)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/=\s]+")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE: Final = re.compile(r"[ -~]*")
#: Headers that are ours, or would make another request of it.
_OUR_HEADERS: Final = re.compile(
    r"(?i)x-vault-.*|authorization|connection|content-.*|cookie|expect|host|te|trailer"
    r"|transfer-encoding|upgrade|proxy-.*"
)


@dataclass(frozen=True, slots=True)
class VaultConfig:
    """Which Vault, which engine of it, and how to log in."""

    server: str
    auth: Auth
    engine: str = KV
    mount: str = ""
    version: int = 2
    namespace: str = ""
    auth_namespace: str = ""
    ca_bundle: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    references: tuple[tuple[str, CredentialRef], ...] = ()

    @property
    def place(self) -> str:
        """What messages call the store."""
        return f"Vault at {urlsplit(self.server).netloc}"


def parse_config(spec: Mapping[str, Any], *, cluster_scoped: bool) -> VaultConfig:
    """The record. Raises SpecInvalid with the field's path."""
    fields = Fields(spec, PATH)
    references: dict[str, CredentialRef] = {}
    server = _server(fields)
    engine = fields.choice("engine", ENGINES, default=KV)
    mount = fields.optional("path", pattern=MOUNT, limit=253, form=MOUNT_FORM)
    if engine != KV and not mount:
        raise SpecInvalid(f"{PATH}.path is missing: it says where the {engine} engine is mounted.")
    if engine != KV and fields.has("version"):
        raise SpecInvalid(f"{PATH}.version must be left out: only the engine kv has versions.")
    version = fields.choice("version", ("v1", "v2"), default="v2")
    namespace = _namespace(fields)
    ca_bundle = _ca(fields, spec, references, cluster_scoped=cluster_scoped)
    if fields.has("tls"):
        tls = fields.child("tls")
        references[TLS_CERT] = tls.secret_key("certSecretRef", cluster_scoped=cluster_scoped)
        references[TLS_KEY] = tls.secret_key("keySecretRef", cluster_scoped=cluster_scoped)
        tls.done()
    headers = _headers(fields)
    auth_fields = fields.child("auth")
    auth_namespace = _namespace(auth_fields, default=namespace)
    auth, proofs = parse_auth(auth_fields, cluster_scoped=cluster_scoped)
    auth_fields.done()
    fields.done()
    if auth.method == "cert" and TLS_CERT in references:
        raise SpecInvalid(
            f"{PATH}.tls must be left out with {auth.field}: its certificate is the one that is "
            "shown to Vault."
        )
    if auth.method == "cert" and not server.startswith("https://"):
        raise SpecInvalid(f"{PATH}.server must be an https:// URL with {auth.field}.")
    return VaultConfig(
        server=server.rstrip("/"),
        auth=auth,
        engine=engine,
        mount=mount,
        version=1 if version == "v1" else 2,
        namespace=namespace,
        auth_namespace=auth_namespace,
        ca_bundle=ca_bundle,
        headers=headers,
        references=tuple({**references, **proofs}.items()),
    )


def _server(fields: Fields) -> str:
    server = fields.text("server", pattern=_SERVER, limit=2048, form=_SERVER_FORM)
    try:
        _ = urlsplit(server).port
    except ValueError:  # a port over 65535, or no address between the brackets
        raise SpecInvalid(f"{PATH}.server must be {_SERVER_FORM}.") from None
    if server.rstrip("/").endswith("/v1"):
        raise SpecInvalid(
            f'{PATH}.server must be the address of Vault without "/v1", which every request has '
            "behind it."
        )
    return server


def _namespace(fields: Fields, default: str = "") -> str:
    return fields.optional(
        "namespace",
        pattern=MOUNT,
        limit=1024,
        form='a namespace of Vault without "/" at its ends, such as "team/payments"',
        default=default,
    )


def _ca(
    fields: Fields,
    spec: Mapping[str, Any],
    references: dict[str, CredentialRef],
    *,
    cluster_scoped: bool,
) -> bytes:
    """The bundle that the spec holds; one that it names goes into the references."""
    if fields.has("caBundle") and fields.has("caProvider"):
        raise SpecInvalid(f"{PATH} must not have both caBundle and caProvider.")
    if fields.has("caProvider"):
        kind = fields.child("caProvider").choice("type", ("Secret", "ConfigMap"))
        # What is left is a selector as elsewhere.
        rest = {name: part for name, part in spec["caProvider"].items() if name != "type"}
        selector = Fields({"caProvider": rest}, PATH)
        read = selector.secret_key if kind == "Secret" else selector.config_map_key
        references[CA] = read("caProvider", cluster_scoped=cluster_scoped)
        return b""
    text = fields.optional(
        "caBundle", pattern=_BASE64, limit=MAX_CA_BUNDLE, form="PEM certificates in base64"
    )
    try:
        bundle = base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        bundle = b""
    if text and b"-----BEGIN CERTIFICATE-----" not in bundle:
        raise SpecInvalid(f"{PATH}.caBundle must be PEM certificates in base64.")
    return bundle


def _headers(fields: Fields) -> tuple[tuple[str, str], ...]:
    headers = fields.mapping("headers", limit=MAX_HEADER)
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise SpecInvalid(f"{PATH}.headers must have names and values of printable ASCII.")
        if _OUR_HEADERS.fullmatch(name):
            raise SpecInvalid(f"{PATH}.headers must not have {name}, which Syncret itself sets.")
    return tuple(sorted(headers.items()))
