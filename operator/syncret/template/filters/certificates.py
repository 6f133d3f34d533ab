"""Filters of certificates and keys: PEM, PKCS#12, JSON Web Keys, RSA."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, x448, x25519
from cryptography.hazmat.primitives.serialization import pkcs12

from syncret.template.filters.text import b64decode
from syncret.template.filters.values import bytes_of, from_bytes, text_of
from syncret.template.problem import Problem

_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----[\r\n]+[^-]*-----END \1-----", re.ASCII)
_PEM: Final = serialization.Encoding.PEM
_OPEN: Final = serialization.NoEncryption()
_MOST_CERTIFICATES: Final = 1000


def pem_filter(value: Any, type: str) -> str:  # noqa: A002 - its name in templates
    blocks = [one.group(0) for one in _BLOCK.finditer(text_of(value)) if one.group(1) == type]
    if not blocks:
        raise Problem("finds no PEM block of the type that pem_filter asks for")
    return "".join(f"{block}\n" for block in blocks)


def certificates(value: Any) -> list[x509.Certificate]:
    """The certificates of a text in PEM, in its order."""
    try:
        found = x509.load_pem_x509_certificates(bytes_of(value))
    except ValueError:
        raise Problem("needs certificates in PEM, and one cannot be read") from None
    if len(found) > _MOST_CERTIFICATES:
        raise Problem(f"has more than {_MOST_CERTIFICATES} certificates")
    return found


def private_key(value: Any) -> Any:
    """The private key of a text in PEM, which may hold certificates as well."""
    text = text_of(value)
    blocks = [one.group(0) for one in _BLOCK.finditer(text) if one.group(1).endswith("PRIVATE KEY")]
    try:
        raw = bytes_of(blocks[0])
        if "OPENSSH" in blocks[0][:40]:
            return serialization.load_ssh_private_key(raw, None)
        return serialization.load_pem_private_key(raw, None)
    except (IndexError, ValueError, TypeError, UnsupportedAlgorithm):
        raise Problem("needs a private key in PEM without a passphrase") from None


def pem_of_key(key: Any) -> str:
    """PKCS#8 in PEM."""
    return str(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, _OPEN).decode("ascii"))


def pem_of(found: Sequence[x509.Certificate]) -> str:
    return "".join(one.public_bytes(_PEM).decode("ascii") for one in found)


def self_signed(one: x509.Certificate) -> bool:
    return one.subject == one.issuer


def in_order(found: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Leaf first, each followed by its issuer. Raises Problem unless they are one chain."""
    left = list(dict.fromkeys(found))
    leaves = [
        one
        for one in left
        if not any(other is not one and other.issuer == one.subject for other in left)
    ]
    if len(leaves) != 1:
        raise Problem("needs certificates that are one chain with one leaf")
    chain = [leaves[0]]
    left.remove(leaves[0])
    while left:
        issuer = next((one for one in left if one.subject == chain[-1].issuer), None)
        if issuer is None or self_signed(chain[-1]):
            raise Problem("needs certificates that are one chain, and one does not belong to it")
        chain.append(issuer)
        left.remove(issuer)
    return chain


def cert_chain(value: Any, part: str = "all") -> str:
    chain = in_order(certificates(value))
    match part:
        case "all":
            return pem_of(chain)
        case "leaf":
            return pem_of(chain[:1])
        case "intermediates":
            return pem_of([one for one in chain[1:] if not self_signed(one)])
        case "roots":
            return pem_of([one for one in chain if self_signed(one)])
    raise Problem("asks cert_chain for a part that is not all, leaf, intermediates or roots")


def cert_sans(value: Any) -> list[str]:
    try:
        names = certificates(value)[0].extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        return []
    except ValueError:
        raise Problem("has a certificate with extensions that cannot be read") from None
    return [
        one.value.rfc4514_string() if isinstance(one, x509.DirectoryName) else str(one.value)
        for one in names.value
        if not isinstance(one, x509.OtherName)
    ]


def cert_info(value: Any) -> dict[str, Any]:
    one = certificates(value)[0]
    return {
        "subject": one.subject.rfc4514_string(),
        "issuer": one.issuer.rfc4514_string(),
        "serial": f"{one.serial_number:x}",
        "not_before": one.not_valid_before_utc.isoformat().replace("+00:00", "Z"),
        "not_after": one.not_valid_after_utc.isoformat().replace("+00:00", "Z"),
        "sans": cert_sans(value),
        "fingerprint": one.fingerprint(hashes.SHA256()).hex(),
    }


def _pkcs12(value: Any, password: Any) -> pkcs12.PKCS12KeyAndCertificates:
    try:
        return pkcs12.load_pkcs12(bytes_of(value), bytes_of(password) or None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Problem("needs a PKCS#12 file that its password opens") from None


def pkcs12_key(value: Any, password: Any = "") -> str:
    key = _pkcs12(value, password).key
    if key is None:
        raise Problem("reads a PKCS#12 file that has no private key")
    return pem_of_key(key)


def pkcs12_certs(value: Any, password: Any = "") -> str:
    found = _pkcs12(value, password)
    first = [found.cert.certificate] if found.cert is not None else []
    others = [one.certificate for one in found.additional_certs]
    if not first and not others:
        raise Problem("reads a PKCS#12 file that has no certificate")
    try:
        return pem_of(in_order([*first, *others]))
    except Problem:  # those to trust, for example
        return pem_of([*first, *others])


def to_pkcs12(value: Any, key: Any, password: Any = "", name: Any = "") -> str:
    first, *others = matching(certificates(value), private_key(key))
    secret = bytes_of(password)
    return from_bytes(
        pkcs12.serialize_key_and_certificates(
            bytes_of(name) or None,
            private_key(key),
            first,
            others,
            serialization.BestAvailableEncryption(secret) if secret else _OPEN,
        )
    )


def to_pkcs12_truststore(value: Any, password: Any) -> str:
    secret = bytes_of(password)
    if not secret:
        raise Problem("makes a truststore without a password")
    found = certificates(value)
    return from_bytes(
        pkcs12.serialize_java_truststore(
            [
                pkcs12.PKCS12Certificate(one, f"trusted-{number}".encode())
                for number, one in enumerate(found, 1)
            ],
            serialization.BestAvailableEncryption(secret),
        )
    )


def matching(found: Sequence[x509.Certificate], key: Any) -> list[x509.Certificate]:
    """The certificates, that of the key first, in their order where they have one."""
    public = public_bytes(key.public_key())
    own = [one for one in found if public_bytes(one.public_key()) == public]
    if not own:
        raise Problem("has a private key that belongs to none of the certificates")
    chain = [own[0]]
    left = [one for one in dict.fromkeys(found) if one != own[0]]
    while left and not self_signed(chain[-1]):
        issuer = next((one for one in left if one.subject == chain[-1].issuer), None)
        if issuer is None:
            break
        chain.append(issuer)
        left.remove(issuer)
    return [*chain, *left]


def public_bytes(key: Any) -> bytes:
    return bytes(
        key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def jwk_public_pem(value: Any) -> str:
    key = _jwk(value, private=False)
    return str(
        key.public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode("ascii")
    )


def jwk_private_pem(value: Any) -> str:
    return pem_of_key(_jwk(value, private=True))


_CURVES: Final[Mapping[str, type[ec.EllipticCurve]]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
    "secp256k1": ec.SECP256K1,
}
_OKP: Final[Mapping[str, tuple[Any, Any]]] = {
    "Ed25519": (ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey),
    "Ed448": (ed448.Ed448PublicKey, ed448.Ed448PrivateKey),
    "X25519": (x25519.X25519PublicKey, x25519.X25519PrivateKey),
    "X448": (x448.X448PublicKey, x448.X448PrivateKey),
}


def _jwk(value: Any, *, private: bool) -> Any:
    try:
        jwk = value if isinstance(value, dict) else json.loads(text_of(value))
        if private and "d" not in jwk:
            raise Problem("needs a JSON Web Key with its private part for jwk_private_pem")
        match jwk["kty"]:
            case "RSA":
                return _rsa(jwk, private=private)
            case "EC":
                return _ec(jwk, private=private)
            case "OKP":
                public_class, private_class = _OKP[jwk["crv"]]
                if private:
                    return private_class.from_private_bytes(_octets(jwk["d"]))
                return public_class.from_public_bytes(_octets(jwk["x"]))
    except (ValueError, KeyError, TypeError, AttributeError, UnsupportedAlgorithm):
        raise Problem("needs a JSON Web Key, and this one cannot be read") from None
    raise Problem("needs a JSON Web Key of the kind RSA, EC or OKP")


def _rsa(jwk: Mapping[str, Any], *, private: bool) -> Any:
    public = rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"]))
    if not private:
        return public.public_key()
    d = _number(jwk["d"])
    p, q = (
        (_number(jwk["p"]), _number(jwk["q"]))
        if "p" in jwk
        else rsa.rsa_recover_prime_factors(public.n, public.e, d)
    )
    return rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), public
    ).private_key()


def _ec(jwk: Mapping[str, Any], *, private: bool) -> Any:
    curve = _CURVES[jwk["crv"]]()
    public = ec.EllipticCurvePublicNumbers(_number(jwk["x"]), _number(jwk["y"]), curve)
    if not private:
        return public.public_key()
    return ec.EllipticCurvePrivateNumbers(_number(jwk["d"]), public).private_key()


def _number(text: Any) -> int:
    return int.from_bytes(_octets(text), "big")


def _octets(text: Any) -> bytes:
    return bytes_of(b64decode(text, urlsafe=True))


def rsa_decrypt(value: Any, key: Any, scheme: str = "OAEP", hash: str = "SHA256") -> str:  # noqa: A002 - its name in templates
    algorithms: dict[str, Callable[[], hashes.HashAlgorithm]] = {
        "SHA1": hashes.SHA1,
        "SHA256": hashes.SHA256,
        "SHA512": hashes.SHA512,
    }
    algorithm = algorithms.get(hash)
    if algorithm is None or scheme not in {"OAEP", "PKCS1v15"}:
        raise Problem("asks rsa_decrypt for a scheme or a hash that it does not have")
    used: padding.AsymmetricPadding = padding.PKCS1v15()
    if scheme == "OAEP":
        used = padding.OAEP(padding.MGF1(algorithm()), algorithm(), None)
    loaded = private_key(key)
    if not isinstance(loaded, rsa.RSAPrivateKey):
        raise Problem("needs an RSA key for rsa_decrypt")
    try:
        return from_bytes(loaded.decrypt(bytes_of(value), used))
    except ValueError:
        raise Problem("has bytes that rsa_decrypt cannot decrypt with this key") from None
