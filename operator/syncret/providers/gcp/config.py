"""``spec.provider.gcpsm`` as a record. Its fields are named as External Secrets Operator does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from syncret.errors import SpecInvalid
from syncret.providers.base import (
    ConfigMapKeyRef,
    CredentialRef,
    SecretKeyRef,
    ServiceAccountRef,
)
from syncret.providers.fields import Fields

PATH: Final = "spec.provider.gcpsm"

# The names under which open() is given the credentials and the account.
KEY_FILE: Final = "secretAccessKey"
CRED_CONFIG: Final = "credConfig"
SERVICE_ACCOUNT: Final = "serviceAccount"

STS: Final = "https://sts.googleapis.com"
IAM: Final = "https://iamcredentials.googleapis.com"

FAIL: Final = "LatestOrFail"
FETCH: Final = "LatestOrFetch"

_PROJECT: Final = re.compile(r"[a-z0-9][-a-z0-9:.]{0,61}[a-z0-9]|[0-9]")
_LOCATION: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_CLUSTER: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_EMAIL: Final = re.compile(r"[a-z0-9][-a-z0-9.]*@[a-z0-9][-a-z0-9.:]*\.gserviceaccount\.com")
_AUDIENCE: Final = re.compile(
    r"(https:)?//iam\.googleapis\.com/projects/[0-9]{1,20}/locations/global"
    r"/workloadIdentityPools/[-a-z0-9]{4,32}/providers/[-a-z0-9]{4,32}"
)
# The host is checked by shape only: the point is that nothing else than scheme, host and port can
# be in there. gRPC knows no path, and the token endpoints have theirs.
_ENDPOINT: Final = re.compile(
    r"https?://([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
)
_URL: Final = re.compile(r"https?://[-._~%!$&()*+,;=:@A-Za-z0-9/\[\]?]+")


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The key of a service account, as JSON."""

    secret: SecretKeyRef


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """Workload Identity of GKE. "" of the cluster: what the metadata server says."""

    account: ServiceAccountRef
    audiences: tuple[str, ...] = ()
    cluster_location: str = ""
    cluster_name: str = ""
    cluster_project: str = ""


@dataclass(frozen=True, slots=True)
class Federation:
    """Workload Identity Federation with tokens of a ServiceAccount, or as a file describes."""

    account: ServiceAccountRef | None = None
    audiences: tuple[str, ...] = ()
    cred_config: ConfigMapKeyRef | None = None
    audience: str = ""
    token_source: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class GcpConfig:
    """Which secrets, and who reads them; ``auth`` None: the operator's own identity.

    ``endpoint``, ``sts`` and ``iam`` are addresses without a path; ``endpoint`` may be "".
    """

    project: str = ""
    location: str = ""
    fall_back: bool = False
    endpoint: str = ""
    sts: str = STS
    iam: str = IAM
    auth: KeyFile | ClusterIdentity | Federation | None = None

    @property
    def place(self) -> str:
        """What messages call the store."""
        project = f" of the project {self.project}" if self.project else ""
        return f"GCP Secret Manager{project}" + (f" in {self.location}" if self.location else "")

    @property
    def target(self) -> tuple[str, bool]:
        """Host and port as gRPC takes them, and whether it is TLS."""
        if not self.endpoint:
            region = f".{self.location}.rep" if self.location else ""
            return f"secretmanager{region}.googleapis.com:443", True
        parts = urlsplit(self.endpoint)
        secure = parts.scheme == "https"
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{host}:{parts.port or (443 if secure else 80)}", secure

    @property
    def references(self) -> dict[str, CredentialRef]:
        match self.auth:
            case KeyFile(secret):
                return {KEY_FILE: secret}
            case ClusterIdentity(account=account):
                return {SERVICE_ACCOUNT: account}
            case Federation(account=ServiceAccountRef() as account):
                return {SERVICE_ACCOUNT: account}
            case Federation(cred_config=ConfigMapKeyRef() as config):
                return {CRED_CONFIG: config}
            case _:
                return {}


def parse_config(spec: Mapping[str, Any], *, cluster_scoped: bool) -> GcpConfig:
    """The record. Raises SpecInvalid with the field's path."""
    fields = Fields(spec, PATH)
    config = GcpConfig(
        project=fields.optional(
            "projectID", pattern=_PROJECT, limit=63, form="the id or the number of a project"
        ),
        location=fields.optional(
            "location", pattern=_LOCATION, limit=63, form='a location, such as "europe-west3"'
        ),
        fall_back=fields.choice("secretVersionSelectionPolicy", (FAIL, FETCH), default=FAIL)
        == FETCH,
        endpoint=_endpoint(fields, "endpoint", ""),
        sts=_endpoint(fields, "stsEndpoint", STS),
        iam=_endpoint(fields, "iamCredentialsEndpoint", IAM),
        auth=_auth(fields.child("auth"), cluster_scoped) if fields.has("auth") else None,
    )
    fields.done()
    elsewhere = config.endpoint or (config.sts, config.iam) != (STS, IAM)
    if elsewhere and config.auth is None and not cluster_scoped:
        # A token of the operator's identity can be used by whoever gets it; only those who own
        # the identity may say where it goes.
        raise SpecInvalid(
            f"An endpoint in {PATH} of a SecretStore needs {PATH}.auth: the operator's own "
            "identity is sent to another endpoint only by a ClusterSecretStore."
        )
    return config


def _endpoint(fields: Fields, name: str, default: str) -> str:
    form = (
        "an http:// or https:// URL with a host and, if needed, a port, without user name, "
        "password, path, query or fragment"
    )
    endpoint = fields.optional(name, pattern=_ENDPOINT, limit=300, form=form, default=default)
    try:
        _ = urlsplit(endpoint).port
    except ValueError:  # a port over 65535, or no address between the brackets
        raise SpecInvalid(f"{PATH}.{name} must be {form}.") from None
    return endpoint


def _auth(auth: Fields, cluster_scoped: bool) -> KeyFile | ClusterIdentity | Federation:
    way = auth.one_of(("secretRef", "workloadIdentity", "workloadIdentityFederation"))
    fields = auth.child(way)
    auth.done()
    made: KeyFile | ClusterIdentity | Federation
    if way == "secretRef":
        made = KeyFile(fields.secret_key("secretAccessKeySecretRef", cluster_scoped=cluster_scoped))
    elif way == "workloadIdentity":
        made = _cluster_identity(fields, cluster_scoped)
    else:
        made = _federation(fields, cluster_scoped)
    fields.done()
    return made


def _cluster_identity(fields: Fields, cluster_scoped: bool) -> ClusterIdentity:
    account, audiences = fields.service_account("serviceAccountRef", cluster_scoped=cluster_scoped)
    return ClusterIdentity(
        account,
        audiences,
        cluster_location=fields.optional(
            "clusterLocation", pattern=_LOCATION, limit=63, form="the location of a GKE cluster"
        ),
        cluster_name=fields.optional(
            "clusterName", pattern=_CLUSTER, limit=63, form="the name of a GKE cluster"
        ),
        cluster_project=fields.optional(
            "clusterProjectID", pattern=_PROJECT, limit=63, form="the id of a project"
        ),
    )


def _federation(fields: Fields, cluster_scoped: bool) -> Federation:
    email = fields.optional(
        "gcpServiceAccountEmail",
        pattern=_EMAIL,
        limit=320,
        form='the e-mail address of a service account, which ends with ".gserviceaccount.com"',
    )
    # A file may name sources in the operator's own pod and network: what is read there is the
    # operator's, so it is for those who may write cluster-scoped stores.
    ways = ("serviceAccountRef", "credConfig") if cluster_scoped else ("serviceAccountRef",)
    if fields.one_of(ways) == "credConfig":
        return Federation(
            cred_config=fields.config_map_key("credConfig", cluster_scoped=cluster_scoped),
            token_source=fields.optional(
                "externalTokenEndpoint", pattern=_URL, limit=2048, form="an http or https URL"
            ),
            email=email,
        )
    account, audiences = fields.service_account("serviceAccountRef", cluster_scoped=cluster_scoped)
    audience = fields.text(
        "audience",
        pattern=_AUDIENCE,
        limit=300,
        form=(
            "the full name of a workload identity pool's provider: //iam.googleapis.com/projects/"
            "NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER"
        ),
    )
    return Federation(account, audiences, audience=audience.removeprefix("https:"), email=email)
