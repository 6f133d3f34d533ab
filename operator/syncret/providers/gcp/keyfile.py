"""The key file of a service account, as credentials of google-auth."""

import json
from typing import Any, Final

from google.oauth2 import service_account

from syncret.providers.base import SecretValue
from syncret.providers.gcp.config import GcpConfig, KeyFile
from syncret.providers.gcp.errors import CredentialsRefused

SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)

# google-auth says that it has types, and has few.
_ACCOUNT: Final[Any] = service_account.Credentials

_TOKEN_URIS: Final = frozenset(
    {"https://oauth2.googleapis.com/token", "https://accounts.google.com/o/oauth2/token"}
)


def read_key(config: GcpConfig, auth: KeyFile, file: SecretValue) -> tuple[str, Any]:  # noqa: PLR0911 - each fault has its words
    """The key's project, and the credentials or what is wrong with the file."""

    def wrong(why: str) -> CredentialsRefused:
        return CredentialsRefused(
            f'The credentials for {config.place} cannot be used: the key "{auth.secret.key}" of '
            f'the Secret "{auth.secret.name}" {why}.'
        )

    try:
        info = json.loads(file.reveal())
    except (ValueError, RecursionError):
        return "", wrong("is no JSON; it has to be the key file of a service account")
    if not isinstance(info, dict) or info.get("type") != "service_account":
        return "", wrong("is not the key file of a service account")
    if info.get("universe_domain", "googleapis.com") != "googleapis.com":
        return "", wrong("is of another universe than googleapis.com")
    if info.get("token_uri") not in _TOKEN_URIS and not config.endpoint:
        # Whoever fills the Secret would say where the operator sends requests.
        return "", wrong("names a token_uri that is not Google's")
    try:
        made = _ACCOUNT.from_service_account_info(info, scopes=SCOPES)
    except (ValueError, TypeError, AttributeError):
        return "", wrong("is a key file that is damaged")
    except Exception as error:  # noqa: BLE001 - what cryptography raises for keys of other kinds
        return "", wrong(f"holds a key that cannot be used ({type(error).__name__})")
    return str(info.get("project_id") or ""), made
