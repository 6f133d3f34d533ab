"""Azure, as far as Key Vault needs it: a vault, Entra ID and managed identities at one address.

:meth:`Azure.answer` says what would be answered; a server (``contract.proxy.Proxy``, with a
certificate, since the SDK refuses plain HTTP) passes requests on to it.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from testbed.azureentra import TENANT, Entra
from testbed.azurevault import Answer, Vault, error

#: For whom Key Vault wants tokens to be, in the public cloud.
RESOURCE: Final = "https://vault.azure.net"

IMDS: Final = "/metadata/identity/oauth2/token"
APP_SERVICE: Final = "/msi/token"


class Azure:
    """The vault and who may log in."""

    def __init__(self) -> None:
        self.vault = Vault()
        self.entra = Entra()
        #: What the vault asks tokens to be for, and of which tenant.
        self.resource = RESOURCE
        self.tenant = TENANT

    def at(self, url: str) -> None:
        """Tells where it is served."""
        self.vault.url = self.entra.url = url

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer to a request."""
        parts = urlsplit(target)
        path = unquote(parts.path)
        if path.endswith("/oauth2/v2.0/token"):
            return self.entra.token(path.split("/")[1], body)
        if path in {IMDS, APP_SERVICE}:
            return self.entra.managed(parts.query, headers)
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or self.entra.owner(token, self.resource) is None:
            return self._challenge(given=bool(token))
        return self.vault.answer(method, parts.path, parts.query)

    def _challenge(self, *, given: bool) -> Answer:
        text = (
            "AKV10032: Invalid token."
            if given
            else "AKV10000: Request is missing a Bearer or PoP token."
        )
        authority = f"https://login.windows.net/{self.tenant}"
        return error(
            401,
            "Unauthorized",
            text,
            WWW_Authenticate=f'Bearer authorization="{authority}", resource="{self.resource}"',
        )
