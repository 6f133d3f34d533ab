"""When certificates begin and cease to be valid. Nothing else of them is told.

PEM, DER and PKCS#12 without a password (or with an empty one) are read. Of several certificates in
one value those that are no authorities count, and of them the one that expires first: it is what
the users of the value see fail. Where all are authorities they are there to be trusted, and the
value is of use for as long as the last of them is valid.

Refused: PKCS#12 with a password that stands under another key. Which key that is differs from user
to user, and each wrong guess costs what the file's own iterations say.
"""

import re
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import pkcs12

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----")

#: Certificates of one value that are looked at.
_MOST: Final = 1000


def validity(value: bytes) -> tuple[int, int] | None:
    """From when and until when, in seconds since 1970; None without a readable certificate."""
    found = _certificates(value)
    if not found:
        return None
    leaves = [one for one in found if not _is_authority(one)]
    if leaves:
        one = min(leaves, key=lambda one: one.not_valid_after_utc)
    else:
        one = max(found, key=lambda one: one.not_valid_after_utc)
    # The API has no use for times before 1970, nor for years of less than four digits.
    begins, ends = one.not_valid_before_utc.timestamp(), one.not_valid_after_utc.timestamp()
    return max(0, int(begins)), max(0, int(ends))


def _certificates(value: bytes) -> list[x509.Certificate]:
    blocks = [block.group(0) for block in _PEM.finditer(value)][:_MOST]
    if blocks:
        return [one for block in blocks for one in _one(block, pem=True)]
    found = _one(value, pem=False)
    if found:
        return found
    for password in (None, b""):
        try:
            opened = pkcs12.load_pkcs12(value, password)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
        first = [opened.cert.certificate] if opened.cert is not None else []
        return [*first, *(one.certificate for one in opened.additional_certs[:_MOST])]
    return []


def _one(block: bytes, *, pem: bool) -> list[x509.Certificate]:
    try:
        return [
            x509.load_pem_x509_certificate(block) if pem else x509.load_der_x509_certificate(block)
        ]
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return []


def _is_authority(one: x509.Certificate) -> bool:
    try:
        return bool(one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError, UnsupportedAlgorithm):
        return False
