"""``spec.provider.azurekv`` as a record."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from syncret.errors import SpecInvalid
from syncret.providers.base import CredentialRef
from syncret.providers.fields import Fields
from syncret.providers.trusted import Authority, authority

PATH: Final = "spec.provider.azurekv"

SERVICE_PRINCIPAL: Final = "ServicePrincipal"
MANAGED_IDENTITY: Final = "ManagedIdentity"
WORKLOAD_IDENTITY: Final = "WorkloadIdentity"

PUBLIC: Final = "PublicCloud"
CUSTOM: Final = "AzureStackCloud"

# The names under which open() is given the credentials.
CLIENT_ID: Final = "clientId"
TENANT_ID: Final = "tenantId"
CLIENT_SECRET: Final = "clientSecret"  # noqa: S105 - a name
CLIENT_CERTIFICATE: Final = "clientCertificate"
SERVICE_ACCOUNT: Final = "serviceAccountRef"

#: What Entra ID expects of a Kubernetes token.
AUDIENCE: Final = "api://AzureADTokenExchange"


@dataclass(frozen=True, slots=True)
class Cloud:
    """Where tokens come from, what they are for, and where vaults are."""

    authority: str
    suffix: str = ""
    resource: str = ""


CLOUDS: Final[Mapping[str, Cloud]] = {
    PUBLIC: Cloud(
        "https://login.microsoftonline.com", "vault.azure.net", "https://vault.azure.net"
    ),
    "USGovernmentCloud": Cloud(
        "https://login.microsoftonline.us",
        "vault.usgovcloudapi.net",
        "https://vault.usgovcloudapi.net",
    ),
    "ChinaCloud": Cloud(
        "https://login.chinacloudapi.cn", "vault.azure.cn", "https://vault.azure.cn"
    ),
}

# Hosts are checked by shape only: the point is that nothing else than scheme, host, port and path
# can be in there, no user name and no query that would end up in logs.
_HOST: Final = (
    r"https://([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
)
_VAULT: Final = re.compile(_HOST + "/?")
_ENDPOINT: Final = re.compile(_HOST + r"(/[-._~A-Za-z0-9/]*)?")
_SUFFIX: Final = re.compile(r"\.?[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?")
_TENANT: Final = re.compile(r"[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?")
_IDENTITY: Final = re.compile(r"[-._()/A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class AzureConfig:
    """Which vault, and who reads it. ``credentials``: none for an identity of the operator."""

    vault_url: str
    auth: str
    cloud: Cloud
    tenant: str = ""
    identity: str = ""
    audiences: tuple[str, ...] = (AUDIENCE,)
    credentials: tuple[tuple[str, CredentialRef], ...] = ()
    trusted: Authority = field(default_factory=lambda: Authority(PATH))

    @property
    def place(self) -> str:
        """What messages call the store."""
        return f"Azure Key Vault {urlsplit(self.vault_url).netloc}"

    def reference(self, name: str) -> CredentialRef | None:
        """The credential of that name."""
        return dict(self.credentials).get(name)


def parse_config(spec: Mapping[str, Any], *, cluster_scoped: bool) -> AzureConfig:
    """The record. Raises SpecInvalid with the field's path."""
    fields = Fields(spec, PATH)
    environment = fields.choice("environmentType", (*CLOUDS, CUSTOM), default=PUBLIC)
    custom = fields.has("customCloudConfig")
    cloud = _cloud(fields, environment)
    vault_url = _vault_url(fields, cloud)
    auth = fields.choice(
        "authType",
        (SERVICE_PRINCIPAL, MANAGED_IDENTITY, WORKLOAD_IDENTITY),
        default=SERVICE_PRINCIPAL,
    )
    tenant = fields.optional(
        "tenantId", pattern=_TENANT, limit=253, form="the id or a domain name of an Entra tenant"
    )
    identity = fields.optional(
        "identityId",
        pattern=_IDENTITY,
        limit=512,
        form="the client id or the resource id of a user-assigned managed identity",
    )
    credentials, audiences = _credentials(fields, auth, cluster_scoped=cluster_scoped)
    trusted = authority(fields, cluster_scoped=cluster_scoped)
    fields.done()
    config = AzureConfig(
        vault_url=vault_url,
        auth=auth,
        cloud=cloud,
        tenant=tenant,
        identity=identity,
        audiences=audiences,
        credentials=credentials,
        trusted=trusted,
    )
    _refuse(config, custom=custom, cluster_scoped=cluster_scoped)
    return config


def _refuse(config: AzureConfig, *, custom: bool, cluster_scoped: bool) -> None:
    """What does not go together."""
    if config.identity and config.auth != MANAGED_IDENTITY:
        raise SpecInvalid(f"{PATH}.identityId is for the authType {MANAGED_IDENTITY} only.")
    if (
        config.auth == SERVICE_PRINCIPAL
        and not config.tenant
        and config.reference(TENANT_ID) is None
    ):
        raise SpecInvalid(
            f"{PATH}.tenantId is missing (or {PATH}.authSecretRef.tenantId, which takes it from a "
            "Secret)."
        )
    if config.credentials or cluster_scoped:
        return
    if custom or config.trusted.bundle is not None or config.trusted.reference is not None:
        # A token of the operator's identity goes to Azure's own vaults, unless those who own the
        # identity say otherwise.
        raise SpecInvalid(
            f"{PATH} of a SecretStore needs credentials of its own beside customCloudConfig, "
            "caBundle or caProvider: the operator's own identity is sent to other addresses only "
            "by a ClusterSecretStore."
        )


def _cloud(fields: Fields, environment: str) -> Cloud:
    known = CLOUDS.get(environment, Cloud(""))
    if not fields.has("customCloudConfig"):
        if environment == CUSTOM:
            raise SpecInvalid(f"{PATH}.customCloudConfig is missing: {CUSTOM} needs it.")
        return known
    custom = fields.child("customCloudConfig")
    form = "an https:// URL with a host and, if needed, a port and a path, without anything else"
    authority = custom.text("activeDirectoryEndpoint", pattern=_ENDPOINT, limit=2048, form=form)
    resource = custom.optional(
        "keyVaultEndpoint", pattern=_ENDPOINT, limit=2048, form=form, default=known.resource
    )
    suffix = custom.optional(
        "keyVaultDNSSuffix",
        pattern=_SUFFIX,
        limit=253,
        form='the end of the vaults\' host names, such as "vault.local.azurestack.external"',
        default=known.suffix,
    )
    custom.done()
    return Cloud(authority.rstrip("/"), suffix.lstrip("."), resource.rstrip("/"))


def _vault_url(fields: Fields, cloud: Cloud) -> str:
    form = 'an https:// URL of a vault without path, such as "https://payments.vault.azure.net"'
    url = fields.text("vaultUrl", pattern=_VAULT, limit=2048, form=form).rstrip("/")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # a port over 65535, or no address between the brackets
        raise SpecInvalid(f"{PATH}.vaultUrl must be {form}.") from None
    if cloud.suffix and (port is not None or not host.endswith(f".{cloud.suffix}")):
        raise SpecInvalid(
            f'{PATH}.vaultUrl must be that of a vault under ".{cloud.suffix}": correct it, or set '
            "environmentType to the vault's cloud."
        )
    return url


def _credentials(
    fields: Fields, auth: str, *, cluster_scoped: bool
) -> tuple[tuple[tuple[str, CredentialRef], ...], tuple[str, ...]]:
    if auth == MANAGED_IDENTITY:
        return (), (AUDIENCE,)  # done() refuses fields of the other ways
    found: list[tuple[str, CredentialRef]] = []
    audiences: tuple[str, ...] = (AUDIENCE,)
    if auth == WORKLOAD_IDENTITY and fields.has("serviceAccountRef"):
        account, listed = fields.service_account("serviceAccountRef", cluster_scoped=cluster_scoped)
        found.append((SERVICE_ACCOUNT, account))
        if not all(one.startswith("api://") for one in listed):
            # A token for the API server must not be had by way of a token endpoint of one's own.
            raise SpecInvalid(
                f'{PATH}.serviceAccountRef.audiences must be such as "{AUDIENCE}": an audience of '
                'Entra ID begins with "api://".'
            )
        audiences = listed or audiences
    if auth == SERVICE_PRINCIPAL or fields.has("authSecretRef"):
        found += _keys(fields.child("authSecretRef"), auth, cluster_scoped=cluster_scoped)
    if found and auth == WORKLOAD_IDENTITY and found[0][0] != SERVICE_ACCOUNT:
        raise SpecInvalid(
            f"{PATH}.serviceAccountRef is missing: with {WORKLOAD_IDENTITY}, authSecretRef only "
            "names the client and the tenant for a ServiceAccount."
        )
    return tuple(found), audiences


def _keys(keys: Fields, auth: str, *, cluster_scoped: bool) -> list[tuple[str, CredentialRef]]:
    names: tuple[str, ...] = (CLIENT_ID, TENANT_ID)
    if auth == SERVICE_PRINCIPAL:
        names += (keys.one_of((CLIENT_SECRET, CLIENT_CERTIFICATE)),)
    found = [
        (name, keys.secret_key(name, cluster_scoped=cluster_scoped))
        for name in names
        if keys.has(name) or (name == CLIENT_ID and auth == SERVICE_PRINCIPAL)
    ]
    keys.done()
    return list(found)
