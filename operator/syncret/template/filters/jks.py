"""Java keystores (JKS), read and written.

The form is Sun's of 1998: big-endian fields, and at the end a SHA-1 of the password and all before
it. A private key in it is hidden by an XOR with SHA-1 of password and salt. That is weak, and what
some software still asks for; PKCS#12 is better where it is taken. No library that is alive writes
it. The date of each entry is fixed, and the salt made from what is hidden: the same input gives the
same file.
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from jinja2 import pass_environment

from syncret.template.filters.certificates import (
    certificates,
    in_order,
    matching,
    pem_of,
    pem_of_key,
    private_key,
)
from syncret.template.filters.digests import Salted, salt
from syncret.template.filters.values import bytes_of, from_bytes, text_of
from syncret.template.problem import Problem

_MAGIC: Final = 0xFEEDFEED
_VERSION: Final = 2
_KEY, _TRUSTED = 1, 2
_DATE: Final = 1_000_000_000_000  # milliseconds: September 2001
_MARK: Final = b"Mighty Aphrodite"
#: DER of AlgorithmIdentifier {1.3.6.1.4.1.42.2.17.1.1, NULL}: Sun's own protection of keys.
_ALGORITHM: Final = bytes.fromhex("300e060a2b060104012a021101010500")


@dataclass(frozen=True, slots=True)
class _Entry:
    alias: str
    certificates: tuple[x509.Certificate, ...]
    protected: bytes = b""


@pass_environment
def to_jks(
    environment: Salted, value: Any, key: Any, password: Any, alias: Any = "certificate"
) -> str:
    loaded = private_key(key)
    chain = matching(certificates(value), loaded)
    clear = loaded.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    secret = _utf16(password)
    hidden = _hide(clear, secret, salt(environment, "jks", secret, clear)[:20])
    return from_bytes(_written([_Entry(_alias(alias), tuple(chain), hidden)], secret))


def to_jks_truststore(value: Any, password: Any) -> str:
    entries = [
        _Entry(f"trusted-{number}", (one,)) for number, one in enumerate(certificates(value), 1)
    ]
    return from_bytes(_written(entries, _utf16(password)))


def jks_certs(value: Any, password: Any, alias: Any = "") -> str:
    found = [
        one
        for entry in _read(bytes_of(value), _utf16(password))
        if not alias or entry.alias == _alias(alias)
        for one in entry.certificates
    ]
    if not found:
        raise Problem("reads a Java keystore without such a certificate")
    try:
        return pem_of(in_order(found))
    except Problem:  # those to trust, for example
        return pem_of(found)


def jks_key(value: Any, password: Any, alias: Any = "") -> str:
    secret = _utf16(password)
    for entry in _read(bytes_of(value), secret):
        if entry.protected and (not alias or entry.alias == _alias(alias)):
            try:
                key = serialization.load_der_private_key(_shown(entry.protected, secret), None)
            except (ValueError, TypeError, UnsupportedAlgorithm):
                raise Problem("reads a private key of a Java keystore that is not one") from None
            return pem_of_key(key)
    raise Problem("reads a Java keystore without such a private key")


def _alias(alias: Any) -> str:
    name = text_of(alias).lower()  # as Java does
    if not name or not name.isascii() or len(name) > 255:
        raise Problem("names an alias that is empty, too long, or not ASCII")
    return name


def _utf16(password: Any) -> bytes:
    try:
        secret = text_of(password).encode("utf-16-be")
    except UnicodeError:
        raise Problem("has a password of a Java keystore that is not text") from None
    if len(secret) < 12:
        raise Problem("has a password of a Java keystore with fewer than 6 characters")
    return secret


def _stream(secret: bytes, seed: bytes) -> Iterator[int]:
    block = seed
    while True:
        block = hashlib.sha1(secret + block, usedforsecurity=False).digest()
        yield from block


def _hide(clear: bytes, secret: bytes, seed: bytes) -> bytes:
    mixed = bytes(one ^ other for one, other in zip(clear, _stream(secret, seed), strict=False))
    check = hashlib.sha1(secret + clear, usedforsecurity=False).digest()
    octets = _der(0x04, seed + mixed + check)
    return _der(0x30, _ALGORITHM + octets)


def _shown(protected: bytes, secret: bytes) -> bytes:
    try:
        tag, inner, _ = _tlv(protected)
        _, algorithm, rest = _tlv(inner)
        octets_tag, octets, _ = _tlv(rest)
    except IndexError:
        raise Problem("reads a Java keystore that is damaged") from None
    if (tag, octets_tag) != (0x30, 0x04) or _der(0x30, algorithm) != _ALGORITHM:
        raise Problem("reads a private key of a Java keystore that is protected in another way")
    seed, mixed, check = octets[:20], octets[20:-20], octets[-20:]
    clear = bytes(one ^ other for one, other in zip(mixed, _stream(secret, seed), strict=False))
    if hashlib.sha1(secret + clear, usedforsecurity=False).digest() != check:
        raise Problem("has a password that does not open the private key of a Java keystore")
    return clear


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _tlv(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and rest of a DER value. Raises IndexError."""
    size, at = data[1], 2
    if size & 0x80:
        at += size & 0x7F
        size = int.from_bytes(data[2:at], "big")
    if len(data) < at + size:
        raise IndexError
    return data[0], data[at : at + size], data[at + size :]


def _sealed(body: bytes, secret: bytes) -> bytes:
    return hashlib.sha1(secret + _MARK + body, usedforsecurity=False).digest()


def _written(entries: Sequence[_Entry], secret: bytes) -> bytes:
    parts = [struct.pack(">III", _MAGIC, _VERSION, len(entries))]
    for entry in entries:
        parts.append(struct.pack(">I", _KEY if entry.protected else _TRUSTED))
        parts += [_short(entry.alias.encode()), struct.pack(">Q", _DATE)]
        if entry.protected:
            parts += [_long(entry.protected), struct.pack(">I", len(entry.certificates))]
        for one in entry.certificates:
            parts += [_short(b"X.509"), _long(one.public_bytes(serialization.Encoding.DER))]
    body = b"".join(parts)
    return body + _sealed(body, secret)


def _short(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def _long(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise Problem("reads a Java keystore that is damaged")
        self._at += size
        return taken

    def block(self, size: int) -> bytes:
        return self.take(self.number(size))


def _read(data: bytes, secret: bytes) -> list[_Entry]:
    body, seal = data[:-20], data[-20:]
    reader = _Reader(body)
    if reader.number(4) != _MAGIC or reader.number(4) != _VERSION:
        raise Problem("reads as a Java keystore what is not in the form JKS")
    if _sealed(body, secret) != seal:
        raise Problem("has a password that does not open a Java keystore, or one that is damaged")
    entries = []
    for _ in range(reader.number(4)):
        kind = reader.number(4)
        alias = reader.block(2).decode("utf-8", "replace")
        reader.take(8)
        protected = reader.block(4) if kind == _KEY else b""
        count = reader.number(4) if kind == _KEY else 1
        found = []
        for _ in range(count):
            reader.block(2)
            try:
                found.append(x509.load_der_x509_certificate(reader.block(4)))
            except ValueError:
                raise Problem("reads a Java keystore with a certificate that is none") from None
        entries.append(_Entry(alias, tuple(found), protected))
    return entries
