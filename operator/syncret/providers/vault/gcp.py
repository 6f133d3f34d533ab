"""Google's proof for Vault's ``gcp`` auth method: a JWT that says who asks, for one role.

With the key of a service account (``secretRef``) it is signed here, as the method's type ``iam``
wants it. Without one it is the identity token of the machine or pod that the operator runs on, from
Google's metadata server, as the type ``gce`` wants it.
"""

import json
import time
from typing import Any, Final

from syncret.errors import ProviderError, ProviderUnavailable
from syncret.providers.base import SecretValue
from syncret.providers.vault.answers import CredentialsRefused
from syncret.providers.vault.config import VaultConfig

#: Seconds: Vault takes none that lives longer than 15 minutes.
_LIFE: Final = 600


def proof_of(config: VaultConfig, key: SecretValue | None) -> str:
    """The JWT. Blocks. Raises ProviderError."""
    problem: ProviderError
    try:
        return _signed(config, key.reveal()) if key is not None else _of_the_machine(config)
    except Exception:  # noqa: BLE001 - the edge to the SDK
        problem = _wrong_key(config) if key is not None else _no_machine(config)
    raise problem


def _wrong_key(config: VaultConfig) -> ProviderError:
    return CredentialsRefused(
        f"The credentials for {config.place} cannot be used: {config.auth.field}.secretRef must "
        "name the JSON key of a Google service account. Correct the Secret."
    )


def _no_machine(config: VaultConfig) -> ProviderError:
    return ProviderUnavailable(
        f"No identity token for the login to {config.place} is had from Google's metadata server: "
        f"set {config.auth.field}.secretRef, or run the operator where it has an identity (GKE, "
        "Compute Engine)."
    )


def _signed(config: VaultConfig, key: bytes) -> str:
    from google.auth import crypt, jwt

    info: Any = json.loads(key)
    signer = crypt.RSASigner.from_service_account_info(info)  # type: ignore[no-untyped-call]
    now = int(time.time())
    claims = {
        "sub": info["client_email"],
        "aud": f"vault/{config.auth.role}",
        "iat": now,
        "exp": now + _LIFE,
    }
    signed: bytes = jwt.encode(signer, claims)  # type: ignore[no-untyped-call]
    return signed.decode("ascii")


def _of_the_machine(config: VaultConfig) -> str:
    from google.auth.compute_engine import IDTokenCredentials
    from google.auth.transport.requests import Request

    request = Request()
    credentials: Any = IDTokenCredentials(  # type: ignore[no-untyped-call]
        request,
        f"http://vault/{config.auth.role}",
        use_metadata_identity_endpoint=True,
    )
    credentials.refresh(request)
    token: str = credentials.token
    return token
