"""Who may log in to our stand-in of Entra ID: certificates and ServiceAccounts made up here."""

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from syncret.providers.base import SecretValue

ISSUER = "https://oidc.example.com/cluster/"


class Certificate:
    """A self-signed certificate with its key, in the forms that Azure takes and gives."""

    def __init__(self, name: str = "stand-in") -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=1))
            .sign(self.key, hashes.SHA256())
        )

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The key and the certificate."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + self.certificate.public_bytes(Encoding.PEM)

    @property
    def pfx(self) -> bytes:
        return pkcs12.serialize_key_and_certificates(
            b"stand-in", self.key, self.certificate, None, NoEncryption()
        )


class Issuer:
    """A cluster that signs tokens of ServiceAccounts."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self.public_key = self._key.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, subject: str, audiences: Sequence[str], seconds: float) -> str:
        now = time.time()
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "sub": subject,
            "aud": list(audiences),
            "iat": int(now),
            "nbf": int(now + min(seconds, 0)),
            "exp": int(now + seconds),
        }
        return jwt.encode(claims, self._key, algorithm="RS256")


class Account:
    """A ServiceAccount as a client gets it."""

    def __init__(
        self, issuer: Issuer, annotations: Mapping[str, str], *, lasts: float | None = None
    ) -> None:
        self.namespace, self.name = "payments", "reader"
        self.annotations = annotations
        self.asked: list[tuple[tuple[str, ...], int]] = []
        self._issuer = issuer
        self._lasts = lasts

    @property
    def subject(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    async def token(self, audiences: Sequence[str], *, seconds: int = 3600) -> SecretValue:
        self.asked.append((tuple(audiences), seconds))
        lasts = seconds if self._lasts is None else self._lasts
        return SecretValue(self._issuer.sign(self.subject, audiences, lasts).encode())
