"""``spec.provider.aws`` as a record."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from syncret.duration import parse_duration
from syncret.errors import SpecInvalid
from syncret.providers.aws.services import SECRETS_MANAGER, SERVICES, Place, Service
from syncret.providers.base import CredentialRef, SecretKeyRef, ServiceAccountRef
from syncret.providers.fields import Fields

PATH: Final = "spec.provider.aws"

# The names under which open() is given the credentials.
ACCESS_KEY_ID: Final = "accessKeyID"
SECRET_ACCESS_KEY: Final = "secretAccessKey"  # noqa: S105 - a name
SESSION_TOKEN: Final = "sessionToken"  # noqa: S105 - a name
SERVICE_ACCOUNT: Final = "serviceAccount"

_REGION: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
# The host is checked by shape only: the point is that nothing else than scheme, host, port and
# path can be in there, no user name and no query that would end up in logs.
_ENDPOINT: Final = re.compile(
    r"https?://([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
    r"(/[-._~%!$&()*+,;=:A-Za-z0-9/]*)?"
)
_PREFIX: Final = re.compile(r"[A-Za-z0-9/_+=.@!-]+")
ROLE: Final = re.compile(r"arn:aws[-a-z]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+")
_EXTERNAL_ID: Final = re.compile(r"[A-Za-z0-9_+=,.@:/-]{2,}")
_TAG: Final = re.compile(r"[^\x00-\x1f]*")

#: What STS gives a session, in seconds.
SHORTEST_SESSION: Final = 900
LONGEST_SESSION: Final = 43_200
SESSION: Final = 3600

#: What ``sessionTagsPolicy: Simple`` tells of the store.
STORE_TAGS: Final = ("syncretNamespace", "syncretStoreKind", "syncretStoreName")


@dataclass(frozen=True, slots=True)
class Assume:
    """The roles to assume, one after the other; what follows is for the last of them.

    ``of_store``: the session is tagged with what store it is for.
    """

    roles: tuple[str, ...]
    external_id: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    transitive: tuple[str, ...] = ()
    of_store: bool = False


@dataclass(frozen=True, slots=True)
class AwsConfig:
    """Which service where, and who reads: the SDK's own chain if there is nothing to sign with."""

    region: str
    service: Service = SECRETS_MANAGER
    endpoint: str = ""
    sts_endpoint: str = ""
    prefix: str = ""
    credentials: tuple[tuple[str, SecretKeyRef], ...] = ()
    account: ServiceAccountRef | None = None
    audiences: tuple[str, ...] = ()
    assume: Assume | None = None
    session_seconds: int = SESSION

    @property
    def place(self) -> Place:
        """What messages call the store."""
        return Place(self.service, self.region)

    @property
    def ambient(self) -> bool:
        """Whether it begins with the operator's own identity."""
        return not self.credentials and self.account is None

    @property
    def references(self) -> Mapping[str, CredentialRef]:
        """What it needs of the cluster."""
        found: dict[str, CredentialRef] = dict(self.credentials)
        if self.account is not None:
            found[SERVICE_ACCOUNT] = self.account
        return found


def parse_config(spec: Mapping[str, Any], *, cluster_scoped: bool) -> AwsConfig:
    """The record. Raises SpecInvalid with the field's path."""
    fields = Fields(spec, PATH)
    service = SERVICES[fields.choice("service", tuple(SERVICES))]
    region = fields.text(
        "region",
        pattern=_REGION,
        limit=63,
        form='the code of an AWS region, such as "eu-central-1"',
    )
    credentials: tuple[tuple[str, SecretKeyRef], ...] = ()
    account: ServiceAccountRef | None = None
    audiences: tuple[str, ...] = ()
    if fields.has("auth"):
        auth = fields.child("auth")
        if auth.one_of(("secretRef", "jwt")) == "jwt":
            jwt = auth.child("jwt")
            account, audiences = jwt.service_account(
                "serviceAccountRef", cluster_scoped=cluster_scoped
            )
            jwt.done()
        else:
            credentials = _credentials(auth.child("secretRef"), cluster_scoped=cluster_scoped)
        auth.done()
    config = AwsConfig(
        region=region,
        service=service,
        endpoint=_endpoint(fields, "endpoint"),
        sts_endpoint=_endpoint(fields, "stsEndpoint"),
        prefix=fields.optional(
            "prefix",
            pattern=_PREFIX,
            limit=512,
            form=f"the beginning of names of {service.thing}s",
        ),
        credentials=credentials,
        account=account,
        audiences=audiences,
        session_seconds=_session_seconds(fields),
        assume=_assume(fields),
    )
    fields.done()
    _refuse(config, fields, cluster_scoped=cluster_scoped)
    return config


def _refuse(config: AwsConfig, given: Fields, *, cluster_scoped: bool) -> None:
    if config.session_seconds != SESSION and config.assume is None and config.account is None:
        raise SpecInvalid(f"{given.path}.sessionDuration needs a role to assume: set role.")
    for name, endpoint in (("endpoint", config.endpoint), ("stsEndpoint", config.sts_endpoint)):
        if endpoint and config.ambient and not cluster_scoped:
            # Requests of the operator's identity carry its session token; only those who own the
            # identity may say where they go.
            raise SpecInvalid(
                f"{PATH}.{name} of a SecretStore needs {PATH}.auth: the operator's own identity is "
                "sent to another endpoint only by a ClusterSecretStore."
            )


def _endpoint(fields: Fields, name: str) -> str:
    form = (
        "an http:// or https:// URL with a host and, if needed, a port and a path, without user "
        "name, password, query or fragment"
    )
    endpoint = fields.optional(name, pattern=_ENDPOINT, limit=2048, form=form)
    try:
        _ = urlsplit(endpoint).port
    except ValueError:  # a port over 65535, or no address between the brackets
        raise SpecInvalid(f"{PATH}.{name} must be {form}.") from None
    return endpoint


def _credentials(keys: Fields, *, cluster_scoped: bool) -> tuple[tuple[str, SecretKeyRef], ...]:
    found = [
        (name, keys.secret_key(f"{name}SecretRef", cluster_scoped=cluster_scoped))
        for name in (ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN)
        if name != SESSION_TOKEN or keys.has(f"{name}SecretRef")
    ]
    keys.done()
    return tuple(found)


def _session_seconds(fields: Fields) -> int:
    text = fields.optional(
        "sessionDuration", pattern=re.compile(r"\S+"), limit=32, form='a duration, such as "1h"'
    )
    try:
        seconds = parse_duration(text) if text else SESSION
    except SpecInvalid as error:
        raise SpecInvalid(f"{PATH}.sessionDuration: {error.message}") from None
    if not SHORTEST_SESSION <= seconds <= LONGEST_SESSION:
        raise SpecInvalid(f"{PATH}.sessionDuration must be from 15m to 12h.")
    return int(seconds)


def _assume(fields: Fields) -> Assume | None:
    form = 'the ARN of a role, such as "arn:aws:iam::111122223333:role/syncret"'
    before = fields.texts("additionalRoles", pattern=ROLE, limit=2048, form=form)
    role = fields.optional("role", pattern=ROLE, limit=2048, form=form)
    tags = [_tag(one) for one in fields.children("sessionTags")]
    transitive = fields.texts(
        "transitiveTagKeys", pattern=_TAG, limit=128, form="the key of a session tag"
    )
    external_id = fields.optional(
        "externalID",
        pattern=_EXTERNAL_ID,
        limit=1224,
        form='an external id: 2 to 1224 letters, digits and "_+=,.@:/-"',
    )
    policy = fields.choice("sessionTagsPolicy", ("None", "Simple"), default="None")
    of_store = policy == "Simple"
    if not role:
        for name, given in (
            ("additionalRoles", before),
            ("externalID", external_id),
            ("sessionTags", tags),
            ("transitiveTagKeys", transitive),
            ("sessionTagsPolicy", of_store),
        ):
            if given:
                raise SpecInvalid(f"{PATH}.{name} needs a role to assume: set {PATH}.role.")
        return None
    keys = [key.lower() for key, _ in tags]  # AWS tells them apart by more than their case
    if len(keys) != len(set(keys)) or (of_store and set(keys) & {k.lower() for k in STORE_TAGS}):
        raise SpecInvalid(f"{PATH}.sessionTags has a key twice, or one that Syncret sets itself.")
    return Assume((*before, role), external_id, tuple(tags), transitive, of_store)


def _tag(fields: Fields) -> tuple[str, str]:
    key = fields.text("key", pattern=_TAG, limit=128, form="the key of a tag")
    value = fields.text("value", pattern=_TAG, limit=256, form="the value of a tag")
    fields.done()
    return key, value
