"""Which certificate authorities a store trusts: ``caBundle`` and ``caProvider``."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from syncret.errors import SpecInvalid
from syncret.providers.base import ConfigMapKeyRef, CredentialRef, SecretKeyRef, SecretValue
from syncret.providers.fields import Fields

#: The name under which open() is given what caProvider selects.
CA: Final = "ca"

_TEXT: Final = re.compile(r"[\s!-~]+")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_TYPES: Final = ("ConfigMap", "Secret")


@dataclass(frozen=True, slots=True)
class Authority:
    """Certificates in the spec, or a reference to them; neither: those that the system trusts."""

    path: str
    bundle: bytes | None = field(default=None, repr=False)
    reference: SecretKeyRef | ConfigMapKeyRef | None = None

    @property
    def references(self) -> dict[str, CredentialRef]:
        return {} if self.reference is None else {CA: self.reference}

    def pem(self, credentials: Mapping[str, SecretValue]) -> bytes | None:
        """What is trusted; None: what the system trusts."""
        return credentials[CA].reveal() if self.reference is not None else self.bundle


def authority(fields: Fields, *, cluster_scoped: bool) -> Authority:
    """``caBundle`` or ``caProvider`` of an object. Raises SpecInvalid."""
    if fields.has("caBundle") and fields.has("caProvider"):
        raise SpecInvalid(f"{fields.path} must have at most one of caBundle, caProvider.")
    if fields.has("caBundle"):
        path = f"{fields.path}.caBundle"
        form = "certificates in PEM, or base64 of that"
        text = fields.text("caBundle", pattern=_TEXT, limit=262_144, form=form)
        return Authority(path, bundle=_decoded(text, path, form))
    if not fields.has("caProvider"):
        return Authority(f"{fields.path}.caProvider")
    given = fields.child("caProvider")
    kind = given.choice("type", _TYPES)
    path = given.path
    name = given.text("name", pattern=_NAME, limit=253, form=f"the name of a {kind}")
    key = given.text("key", pattern=_KEY, limit=253, form=f"a key of that {kind}")
    namespace = given.namespace(cluster_scoped=cluster_scoped)
    given.done()
    made = ConfigMapKeyRef if kind == "ConfigMap" else SecretKeyRef
    return Authority(path, reference=made(name, key, namespace))


def _decoded(text: str, path: str, form: str) -> bytes:
    if "-----BEGIN" in text:
        return text.encode()
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise SpecInvalid(f"{path} must be {form}.") from None
