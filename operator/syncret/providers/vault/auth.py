"""``spec.provider.vault.auth`` as a record: which method, and what it proves who asks with."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from syncret.errors import SpecInvalid
from syncret.providers.base import CredentialRef
from syncret.providers.fields import Fields

# The names under which open() is given the credentials.
TOKEN: Final = "token"  # noqa: S105 - a name
ROLE_ID: Final = "roleId"
SECRET_ID: Final = "secretId"  # noqa: S105 - a name
JWT: Final = "jwt"
ACCOUNT: Final = "serviceAccount"
PASSWORD: Final = "password"  # noqa: S105 - a name
CLIENT_CERT: Final = "clientCert"
CLIENT_KEY: Final = "clientKey"
ACCESS_KEY_ID: Final = "accessKeyID"
SECRET_ACCESS_KEY: Final = "secretAccessKey"  # noqa: S105 - a name
SESSION_TOKEN: Final = "sessionToken"  # noqa: S105 - a name
GOOGLE_KEY: Final = "googleKey"

#: What a ServiceAccount's token is made for where nobody says. Not the API server's own audience:
#: whoever is sent a token of that could act as the ServiceAccount in the cluster.
AUDIENCE: Final = "vault"

#: Seconds that such a token is asked to live. It is used once, at the login; the API server takes
#: no less.
TOKEN_SECONDS: Final = 600

#: A path in Vault, without a slash at its ends, and without segments that would make another of it.
MOUNT: Final = re.compile(r"(?!(.*/)?\.\.?(/|$))[^\s/?#%]+(/[^\s/?#%]+)*")
MOUNT_FORM: Final = 'a path of Vault without "/" at its ends, such as "secret" or "team/kv"'
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f]+")
_ROLE_FORM: Final = "the name of a role of the auth method"
_REGION: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_ARN: Final = re.compile(r"arn:[a-z0-9-]+:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,512}")


@dataclass(frozen=True, slots=True)
class Auth:
    """How Syncret logs in.

    ``mount``: where the auth method is mounted, below ``auth/``. ``role``: of the method, or the
    name of the user. ``source``: where the proof comes from, for methods that have several.
    """

    method: str
    mount: str = ""
    role: str = ""
    source: str = ""
    audiences: tuple[str, ...] = ()
    seconds: int = TOKEN_SECONDS
    region: str = ""
    assume: str = ""
    external_id: str = ""
    server_id: str = ""

    @property
    def own(self) -> bool:
        """Whether it is the operator's own identity that logs in."""
        return self.source == OWN

    @property
    def given(self) -> bool:
        """Whether there is no login, because the token itself is given."""
        return self.method == "tokenSecretRef"

    @property
    def field(self) -> str:
        """The method's path in the spec, for messages."""
        return f"spec.provider.vault.auth.{self.method}"


#: Sources of a proof.
SECRET: Final = "Secret"  # noqa: S105 - a word
SERVICE_ACCOUNT: Final = "ServiceAccount"
OWN: Final = "own"

References = dict[str, CredentialRef]

METHODS: Final = (
    "tokenSecretRef",
    "appRole",
    "kubernetes",
    "jwt",
    "cert",
    "userPass",
    "iam",
    "gcp",
)


def parse_auth(auth: Fields, *, cluster_scoped: bool) -> tuple[Auth, References]:
    """The record, and where its credentials are. Raises SpecInvalid with the field's path."""
    method = auth.one_of(METHODS)
    references: References = {}
    if method == "tokenSecretRef":
        references[TOKEN] = auth.secret_key(method, cluster_scoped=cluster_scoped)
        return Auth(method), references
    fields = auth.child(method)
    made = _PARSERS[method](fields, references, cluster_scoped)
    fields.done()
    if made.own and not cluster_scoped:
        # Who owns an identity says where its proofs go, and every store of Vault names an address.
        raise SpecInvalid(
            f"{fields.path} of a SecretStore must name whose identity it uses: the operator's own "
            "is sent to an address only by a ClusterSecretStore."
        )
    return made, references


def _mount(fields: Fields, default: str, *, name: str = "path") -> str:
    return fields.optional(name, pattern=MOUNT, limit=253, form=MOUNT_FORM, default=default)


def _role(fields: Fields, name: str = "role") -> str:
    return fields.text(name, pattern=_TEXT, limit=253, form=_ROLE_FORM)


def _app_role(fields: Fields, references: References, cluster_scoped: bool) -> Auth:
    role = ""
    if fields.one_of(("roleId", "roleRef")) == "roleId":
        role = fields.text("roleId", pattern=_TEXT, limit=1024, form="the id of an AppRole")
    else:
        references[ROLE_ID] = fields.secret_key("roleRef", cluster_scoped=cluster_scoped)
    references[SECRET_ID] = fields.secret_key("secretRef", cluster_scoped=cluster_scoped)
    return Auth("appRole", _mount(fields, "approle"), role)


def _kubernetes(fields: Fields, references: References, cluster_scoped: bool) -> Auth:
    source = OWN
    audiences: tuple[str, ...] = (AUDIENCE,)
    if fields.has("serviceAccountRef") and fields.has("secretRef"):
        raise SpecInvalid(f"{fields.path} must not have both serviceAccountRef and secretRef.")
    if fields.has("serviceAccountRef"):
        source = SERVICE_ACCOUNT
        references[ACCOUNT], named = fields.service_account(
            "serviceAccountRef", cluster_scoped=cluster_scoped
        )
        audiences = named or audiences
    elif fields.has("secretRef"):
        source = SECRET
        references[JWT] = fields.secret_key("secretRef", cluster_scoped=cluster_scoped)
    mount = _mount(fields, "kubernetes", name="mountPath")
    return Auth("kubernetes", mount, _role(fields), source, audiences)


def _jwt(fields: Fields, references: References, cluster_scoped: bool) -> Auth:
    role = fields.optional("role", pattern=_TEXT, limit=253, form=_ROLE_FORM)
    mount = _mount(fields, "jwt")
    if fields.one_of(("secretRef", "kubernetesServiceAccountToken")) == "secretRef":
        references[JWT] = fields.secret_key("secretRef", cluster_scoped=cluster_scoped)
        return Auth("jwt", mount, role, SECRET)
    token = fields.child("kubernetesServiceAccountToken")
    references[ACCOUNT], named = token.service_account(
        "serviceAccountRef", cluster_scoped=cluster_scoped
    )
    listed = token.texts(
        "audiences", pattern=re.compile(r"[!-~]+"), limit=1024, form="an audience, without blanks"
    )
    seconds = token.integer(
        "expirationSeconds", at_least=600, at_most=86_400, default=TOKEN_SECONDS
    )
    token.done()
    audiences = tuple(dict.fromkeys((*listed, *named))) or (AUDIENCE,)
    return Auth("jwt", mount, role, SERVICE_ACCOUNT, audiences, seconds)


def _cert(fields: Fields, references: References, cluster_scoped: bool) -> Auth:
    references[CLIENT_CERT] = fields.secret_key("clientCert", cluster_scoped=cluster_scoped)
    references[CLIENT_KEY] = fields.secret_key("secretRef", cluster_scoped=cluster_scoped)
    role = fields.optional("vaultRole", pattern=_TEXT, limit=253, form=_ROLE_FORM)
    return Auth("cert", _mount(fields, "cert"), role)


def _user_pass(fields: Fields, references: References, cluster_scoped: bool) -> Auth:
    references[PASSWORD] = fields.secret_key("secretRef", cluster_scoped=cluster_scoped)
    name = fields.text("username", pattern=MOUNT, limit=253, form="the name of a user of Vault")
    return Auth("userPass", _mount(fields, "userpass"), name)


def _iam(fields: Fields, references: References, cluster_scoped: bool) -> Auth:
    if fields.has("secretRef") and fields.has("jwt"):
        raise SpecInvalid(f"{fields.path} must not have both secretRef and jwt.")
    source = OWN
    if fields.has("secretRef"):
        source = SECRET
        keys = fields.child("secretRef")
        for name in (ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN):
            if name != SESSION_TOKEN or keys.has(f"{name}SecretRef"):
                references[name] = keys.secret_key(
                    f"{name}SecretRef", cluster_scoped=cluster_scoped
                )
        keys.done()
    elif fields.has("jwt"):
        source = SERVICE_ACCOUNT
        token = fields.child("jwt")
        references[ACCOUNT], _ = token.service_account(
            "serviceAccountRef", cluster_scoped=cluster_scoped
        )
        token.done()
    return Auth(
        method="iam",
        mount=_mount(fields, "aws"),
        role=_role(fields, "vaultRole"),
        source=source,
        region=fields.optional(
            "region",
            pattern=_REGION,
            limit=63,
            form='the code of an AWS region, such as "eu-central-1"',
            default="us-east-1",
        ),
        assume=fields.optional("role", pattern=_ARN, limit=600, form="the ARN of an IAM role"),
        external_id=fields.optional(
            "externalID", pattern=_TEXT, limit=1224, form="the external id of that role"
        ),
        server_id=fields.optional(
            "vaultAwsIamServerID",
            pattern=re.compile(r"[!-~]+"),
            limit=253,
            form="the X-Vault-AWS-IAM-Server-ID of the auth method, without blanks",
        ),
    )


def _gcp(fields: Fields, references: References, cluster_scoped: bool) -> Auth:
    source = OWN
    if fields.has("secretRef"):
        source = SECRET
        keys = fields.child("secretRef")
        references[GOOGLE_KEY] = keys.secret_key(
            "secretAccessKeySecretRef", cluster_scoped=cluster_scoped
        )
        keys.done()
    return Auth("gcp", _mount(fields, "gcp"), _role(fields), source)


_PARSERS: Final[Mapping[str, Callable[[Fields, References, bool], Auth]]] = {
    "appRole": _app_role,
    "kubernetes": _kubernetes,
    "jwt": _jwt,
    "cert": _cert,
    "userPass": _user_pass,
    "iam": _iam,
    "gcp": _gcp,
}
