"""What is trusted, and what is shown, in TLS connections to a Vault.

A store that names certificate authorities trusts them alone; others trust those of the system and
those that the libraries bring, with one context for all. Python reads a client's key from files
only: it gets one that lives in memory.
"""

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

from syncret.errors import ProviderRejected
from syncret.providers.base import SecretValue
from syncret.providers.vault.answers import CredentialsRefused
from syncret.providers.vault.auth import CLIENT_CERT, CLIENT_KEY
from syncret.providers.vault.config import CA, TLS_CERT, TLS_KEY, VaultConfig


def context(config: VaultConfig, credentials: Mapping[str, SecretValue]) -> ssl.SSLContext:
    """The context of one store. Raises ProviderRejected or CredentialsRefused."""
    bundle = credentials[CA].reveal() if CA in credentials else config.ca_bundle
    pairs = ((TLS_CERT, TLS_KEY), (CLIENT_CERT, CLIENT_KEY))
    shown = next((pair for pair in pairs if pair[0] in credentials), None)
    if not bundle and shown is None:
        return _common()
    made = _trusting(config, bundle) if bundle else _fresh()
    if shown is not None:
        certificate, key = (credentials[name].reveal() for name in shown)
        if not _loaded(made, certificate, key):
            raise CredentialsRefused(
                f"The credentials for {config.place} cannot be used: the client certificate and "
                "its key must be PEM, without a password, and belong together. Correct the Secret."
            )
    return made


@cache
def _common() -> ssl.SSLContext:
    return _fresh()


def _fresh() -> ssl.SSLContext:
    import certifi

    made = ssl.create_default_context()
    made.load_verify_locations(cafile=certifi.where())
    return made


def _trusting(config: VaultConfig, bundle: bytes) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        made.load_verify_locations(cadata=bundle.decode("ascii"))
    except (ssl.SSLError, ValueError):
        made = None  # type: ignore[assignment]
    if made is None:
        raise ProviderRejected(
            f"The certificate authorities for {config.place} cannot be read: caBundle, or what "
            "caProvider names, must be PEM certificates."
        )
    return made


def _loaded(made: ssl.SSLContext, certificate: bytes, key: bytes) -> bool:
    with _in_memory(certificate) as certificate_file, _in_memory(key) as key_file:
        try:
            # Without a password OpenSSL would ask for one at the terminal.
            made.load_cert_chain(certificate_file, key_file, password="")
        except (ssl.SSLError, ValueError, OSError):
            return False
    return True


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """The path of a file that is on no disk, and gone afterwards."""
    descriptor = os.memfd_create("syncret", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
