"""``spec.provider.aws`` as a record."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from syncret.errors import SpecInvalid
from syncret.providers.base import SecretKeyRef
from syncret.providers.fields import Fields

PATH: Final = "spec.provider.aws"

SECRETS_MANAGER: Final = "SecretsManager"

# The names under which open() is given the credentials.
ACCESS_KEY_ID: Final = "accessKeyID"
SECRET_ACCESS_KEY: Final = "secretAccessKey"  # noqa: S105 - a name
SESSION_TOKEN: Final = "sessionToken"  # noqa: S105 - a name

_REGION: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
# The host is checked by shape only: the point is that nothing else than scheme, host, port and
# path can be in there, no user name and no query that would end up in logs.
_ENDPOINT: Final = re.compile(
    r"https?://([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
    r"(/[-._~%!$&()*+,;=:A-Za-z0-9/]*)?"
)


@dataclass(frozen=True, slots=True)
class AwsConfig:
    """Which service where, and where its credentials are; none: the SDK's own chain."""

    region: str
    endpoint: str = ""
    credentials: tuple[tuple[str, SecretKeyRef], ...] = ()

    @property
    def place(self) -> str:
        """What messages call the store."""
        return f"AWS Secrets Manager in {self.region}"


def parse_config(spec: Mapping[str, Any], *, cluster_scoped: bool) -> AwsConfig:
    """The record. Raises SpecInvalid with the field's path."""
    fields = Fields(spec, PATH)
    fields.choice("service", (SECRETS_MANAGER,))
    region = fields.text(
        "region",
        pattern=_REGION,
        limit=63,
        form='the code of an AWS region, such as "eu-central-1"',
    )
    endpoint = _endpoint(fields) if fields.has("endpoint") else ""
    credentials: tuple[tuple[str, SecretKeyRef], ...] = ()
    if fields.has("auth"):
        credentials = _credentials(fields.child("auth"), cluster_scoped=cluster_scoped)
    fields.done()
    if endpoint and not credentials and not cluster_scoped:
        # Requests of the operator's identity carry its session token; only those who own the
        # identity may say where they go.
        raise SpecInvalid(
            f"{PATH}.endpoint of a SecretStore needs {PATH}.auth: the operator's own identity is "
            "sent to another endpoint only by a ClusterSecretStore."
        )
    return AwsConfig(region=region, endpoint=endpoint, credentials=credentials)


def _endpoint(fields: Fields) -> str:
    form = (
        "an http:// or https:// URL with a host and, if needed, a port and a path, without user "
        "name, password, query or fragment"
    )
    endpoint = fields.text("endpoint", pattern=_ENDPOINT, limit=2048, form=form)
    try:
        _ = urlsplit(endpoint).port
    except ValueError:  # a port over 65535, or no address between the brackets
        raise SpecInvalid(f"{PATH}.endpoint must be {form}.") from None
    return endpoint


def _credentials(auth: Fields, *, cluster_scoped: bool) -> tuple[tuple[str, SecretKeyRef], ...]:
    keys = auth.child("secretRef")
    auth.done()
    found = [
        (name, keys.secret_key(f"{name}SecretRef", cluster_scoped=cluster_scoped))
        for name in (ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN)
        if name != SESSION_TOKEN or keys.has(f"{name}SecretRef")
    ]
    keys.done()
    return tuple(found)
