"""Who reads: the credential of azure-identity that a store asks for."""

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from syncret.providers.azurekv import config as names
from syncret.providers.azurekv.config import AzureConfig
from syncret.providers.azurekv.entra import Answered
from syncret.providers.azurekv.errors import CredentialsRefused
from syncret.providers.azurekv.login import Login, TokenTransport
from syncret.providers.azurekv.session import Session
from syncret.providers.azurekv.timing import Timing
from syncret.providers.base import CallObserver, SecretKeyRef, SecretValue, ServiceAccount

#: What Azure's webhook puts on ServiceAccounts, and into the environment of pods.
CLIENT_ANNOTATION: Final = "azure.workload.identity/client-id"
TENANT_ANNOTATION: Final = "azure.workload.identity/tenant-id"
_ENVIRONMENT: Final = ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE")

#: Seconds that a ServiceAccount's token lives. It is used once, at once.
_TOKEN_SECONDS: Final = 600

# Printable ASCII without blanks; Entra's ids and secrets are.
_TEXT: Final = re.compile(rb"[!-~]+")
_TENANT: Final = re.compile(r"[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?")


#: Makes a credential of azure-identity, given what its transport and retries are to be.
Make = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who reads one store: what its spec says, and what was read for it."""

    config: AzureConfig
    credentials: Mapping[str, SecretValue]
    accounts: Mapping[str, ServiceAccount]

    def login(self, session: Session, timing: Timing, observe: CallObserver) -> Login:
        """The login; nothing is asked of Entra ID yet.

        Raises CredentialsRefused with what to correct.
        """
        tenant, make, prepare = self._form()
        settings: dict[str, Any] = {"retry_total": timing.attempts - 1, "retry_status": 0}
        if self.config.auth != names.MANAGED_IDENTITY:
            settings["authority"] = self.config.cloud.authority

        def made(answered: Answered) -> Any:
            transport = TokenTransport(observe=observe, answered=answered, **session.transport())
            return make({**settings, "transport": transport})

        return Login(
            made,
            place=self.config.place,
            host=urlsplit(self.config.vault_url).netloc,
            resource=self.config.cloud.resource,
            tenant=tenant,
            timeout=timing.total,
            managed=self.config.auth == names.MANAGED_IDENTITY,
            prepare=prepare,
        )

    def _form(self) -> tuple[str, Make, Callable[[], Awaitable[None]] | None]:
        """The tenant, what makes the credential, and what is done before each login."""
        if self.config.auth == names.MANAGED_IDENTITY:
            return "", self._managed(), None
        account = self.accounts.get(names.SERVICE_ACCOUNT)
        if account is not None:
            return self._of_account(account)
        if self.config.auth == names.WORKLOAD_IDENTITY:
            return self._of_the_pod()
        tenant = self.config.tenant or self._text(names.TENANT_ID)
        client = self._text(names.CLIENT_ID)
        if self.config.reference(names.CLIENT_CERTIFICATE) is not None:
            return tenant, self._certificate(tenant, client), None
        from azure.identity.aio import ClientSecretCredential

        secret = self._text(names.CLIENT_SECRET)
        return tenant, lambda how: ClientSecretCredential(tenant, client, secret, **how), None

    def _managed(self) -> Make:
        from azure.identity.aio import ManagedIdentityCredential

        identity = self.config.identity
        # Azure's own names: an id of a resource is a path, that of a client is none.
        which: dict[str, Any] = {}
        if identity.startswith("/"):
            which["identity_config"] = {"mi_res_id": identity}
        elif identity:
            which["client_id"] = identity
        # The pod may have a workload identity as well, which is another authType.
        return lambda how: ManagedIdentityCredential(
            **which, **how, _exclude_workload_identity_credential=True
        )

    def _of_the_pod(self) -> tuple[str, Make, None]:
        from azure.identity.aio import WorkloadIdentityCredential

        client, tenant, file = (os.environ.get(name, "") for name in _ENVIRONMENT)
        tenant = self.config.tenant or tenant
        if not (client and tenant and file):
            raise CredentialsRefused(
                f"The operator's pod has no workload identity for {self.config.place}: label it "
                "azure.workload.identity/use and annotate its ServiceAccount, or name a "
                "serviceAccountRef."
            )
        return (
            tenant,
            lambda how: WorkloadIdentityCredential(
                tenant_id=tenant, client_id=client, token_file_path=file, **how
            ),
            None,
        )

    def _of_account(
        self, account: ServiceAccount
    ) -> tuple[str, Make, Callable[[], Awaitable[None]]]:
        from azure.identity.aio import ClientAssertionCredential

        client = self._optional(names.CLIENT_ID) or account.annotations.get(CLIENT_ANNOTATION, "")
        tenant = (
            self.config.tenant
            or self._optional(names.TENANT_ID)
            or account.annotations.get(TENANT_ANNOTATION, "")
            or os.environ.get("AZURE_TENANT_ID", "")
        )
        for value, annotation, field in (
            (client, CLIENT_ANNOTATION, "authSecretRef.clientId"),
            (tenant, TENANT_ANNOTATION, "tenantId"),
        ):
            if not value:
                raise CredentialsRefused(
                    f'The ServiceAccount "{account.name}" in the namespace "{account.namespace}" '
                    f"cannot be used for {self.config.place}: annotate it with {annotation}, or "
                    f"set {field} in the store."
                )
        self._refuse_tenant(tenant)
        assertion = _Assertion(account, self.config.audiences)
        return (
            tenant,
            lambda how: ClientAssertionCredential(tenant, client, assertion.given, **how),
            assertion.renew,
        )

    def _certificate(self, tenant: str, client: str) -> Make:
        from azure.identity.aio import CertificateCredential

        self._refuse_tenant(tenant)
        data = self.credentials[names.CLIENT_CERTIFICATE].reveal()
        try:
            CertificateCredential(tenant, client, certificate_data=data)
        except Exception:  # noqa: BLE001 - whatever cryptography says of it
            data = b""
        if not data:
            raise CredentialsRefused(
                f"The client certificate for {self.config.place} cannot be used: "
                f"{self._source(names.CLIENT_CERTIFICATE)} must hold a certificate with its RSA "
                "key, in PEM or as PFX without a password."
            )
        return lambda how: CertificateCredential(tenant, client, certificate_data=data, **how)

    def _optional(self, name: str) -> str:
        return self._text(name) if self.config.reference(name) is not None else ""

    def _text(self, name: str) -> str:
        # The line break that "echo" and editors add is no part of a secret.
        value = self.credentials[name].reveal().strip()
        if not _TEXT.fullmatch(value):
            raise CredentialsRefused(
                f"The credentials for {self.config.place} cannot be used: {self._source(name)} is "
                "empty or holds blanks or other than ASCII characters. Correct it."
            )
        text = value.decode("ascii")
        if name == names.TENANT_ID:
            self._refuse_tenant(text)
        return text

    def _refuse_tenant(self, tenant: str) -> None:
        """It becomes a part of the address."""
        if not _TENANT.fullmatch(tenant):
            raise CredentialsRefused(
                f"The tenant for {self.config.place} is neither an id nor a domain name: correct "
                "tenantId, or where it is taken from."
            )

    def _source(self, name: str) -> str:
        reference = self.config.reference(name)
        if not isinstance(reference, SecretKeyRef):
            return "it"
        return f'the key "{reference.key}" of the Secret "{reference.name}"'


class _Assertion:
    """A ServiceAccount's token, for as long as a login takes."""

    def __init__(self, account: ServiceAccount, audiences: tuple[str, ...]) -> None:
        self._account = account
        self._audiences = audiences
        self._token: SecretValue | None = None

    async def renew(self) -> None:
        """Asks for a new token; raises a SyncretError that says what to do."""
        self._token = await self._account.token(self._audiences, seconds=_TOKEN_SECONDS)

    def given(self) -> str:
        """The token, once; the SDK asks for it without waiting."""
        token, self._token = self._token, None
        if token is None:
            raise RuntimeError("a login without a token of the ServiceAccount")
        return token.reveal().decode("ascii")
