"""The objects of a key vault: what a key names, and what is made of an answer. Pure.

::

    password            the secret "password"
    secret/password     the same
    key/signing         the public part of the key "signing", as a JSON Web Key
    cert/tls            the certificate "tls", in DER

A certificate's private key is in the secret of the same name, as PFX in Base64 or as PEM.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from syncret.errors import ProviderRejected
from syncret.providers.base import Ref, SecretValue

Kind = Literal["secret", "key", "cert"]

#: Secrets in a page of a list: the most that Azure gives.
PAGE: Final = 25

#: Read to see whether the store works. It need not exist.
CHECK_NAME: Final = "syncret-store-check"

_KINDS: Final[Mapping[str, Kind]] = {"secret": "secret", "key": "key", "cert": "cert"}

# What Azure takes. It is looked at before anything is sent: a name becomes a part of a path.
_NAME: Final = re.compile(r"[0-9A-Za-z-]{1,127}")
_VERSION: Final = re.compile(r"[0-9A-Fa-f]{32}")


#: The members of a JSON Web Key that are public, whatever an answer holds.
_PUBLIC: Final = ("kid", "kty", "key_ops", "n", "e", "crv", "x", "y")


@dataclass(frozen=True, slots=True)
class Address:
    """Which object, and which version of it; "" is the current one."""

    kind: Kind
    name: str
    version: str = ""


def address(ref: Ref, place: str) -> Address:
    """What a reference names; raises ProviderRejected for what no vault can have."""
    kind, slash, name = ref.key.partition("/")
    if not slash:
        kind, name = "secret", ref.key
    if kind not in _KINDS or not _NAME.fullmatch(name):
        shown = ref.key if len(ref.key) <= 200 else f"{ref.key[:200]}…"
        raise ProviderRejected(
            f'"{shown}" cannot be in {place}: correct the key. It is a name of up to 127 letters, '
            'digits and "-", after "secret/", "key/" or "cert/" if it is not a secret\'s.'
        )
    if ref.version and not _VERSION.fullmatch(ref.version):
        raise ProviderRejected(
            f'The version of "{name}" in {place} cannot be one: correct it. A version of Azure Key '
            "Vault has 32 hexadecimal digits."
        )
    return Address(_KINDS[kind], name, ref.version)


def secret_value(secret: Any) -> SecretValue | None:
    """A secret of the SDK; None if it has no value, or no id as every one of Azure's has."""
    text = secret.value
    if not isinstance(text, str) or not secret.id:
        return None
    # Half a surrogate pair can be written in JSON. To refuse it would raise an error that holds
    # the whole text; whoever reads the bytes will notice.
    return _value(text.encode("utf-8", "surrogatepass"), secret.properties)


def key_value(key: Any) -> SecretValue | None:
    """The public part of a key as a JSON Web Key, its members in a fixed order."""
    members = {name: _jwk_member(value) for name in _PUBLIC if (value := getattr(key.key, name))}
    if "kty" not in members:
        return None
    data = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    return _value(data, key.properties)


def certificate_value(certificate: Any) -> SecretValue | None:
    """The certificate itself, in DER."""
    der = certificate.cer
    return _value(bytes(der), certificate.properties) if der else None


def tags(properties: Any) -> dict[str, str]:
    """The tags of anything that the SDK has properties of."""
    return {str(name): str(value) for name, value in (properties.tags or {}).items()}


def tags_json(properties: Any) -> bytes:
    """Tags as a JSON object, in the order of their names: the same tags are the same bytes."""
    return json.dumps(tags(properties), ensure_ascii=False, sort_keys=True).encode(
        "utf-8", "surrogatepass"
    )


def _value(data: bytes, properties: Any) -> SecretValue:
    return SecretValue(
        data,
        version=str(properties.version or ""),
        created=_time(properties.created_on),
        expires=_time(properties.expires_on),
        tags=tags(properties),
    )


def _time(at: Any) -> datetime | None:
    if not isinstance(at, datetime):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _jwk_member(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
    if isinstance(value, list | tuple):
        return [_jwk_member(one) for one in value]
    return str(getattr(value, "value", value))
