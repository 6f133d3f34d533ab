"""Certificates made at run time: roots, intermediates, leaves, and their keys, in PEM."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Issuer:
    """A certificate with its key, which may sign others."""

    def __init__(
        self,
        name: str,
        *,
        by: "Issuer | None" = None,
        key: Key | None = None,
        san: str = "",
        life: tuple[datetime, datetime] | None = None,
    ) -> None:
        """``life``: from when until when it is valid."""
        self.key: Key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issuer, signer = (by.certificate.subject, by.key) if by else (subject, self.key)
        now = datetime.now(UTC)
        begins, ends = life or (now - timedelta(days=1), now + timedelta(days=30))
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=not san, path_length=None), critical=True)
        )
        if san:
            names = x509.SubjectAlternativeName([x509.DNSName(san)])
            builder = builder.add_extension(names, critical=False)
        self.certificate: x509.Certificate = builder.sign(signer, hashes.SHA256())

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
