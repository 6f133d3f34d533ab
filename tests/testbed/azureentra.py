"""Microsoft Entra ID's token endpoint and a managed identity's, as azure-identity calls them.

What a client sends is really proven: a client's certificate by the signature of its assertion, a
federated credential by the signature of the issuer, and by issuer, subject and audience.
"""

import base64
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from testbed.azurevault import Answer

TENANT: Final = "33333333-3333-3333-3333-333333333333"
AUDIENCE: Final = "api://AzureADTokenExchange"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class Federated:
    """A federated credential of an app, and the key that its issuer signs with, in PEM."""

    issuer: str
    subject: str
    public_key: bytes
    audience: str = AUDIENCE


@dataclass
class App:
    """An application and what it may log in with. ``secrets``: until when each is good."""

    client_id: str
    secrets: dict[str, float] = field(default_factory=dict)
    certificates: list[x509.Certificate] = field(default_factory=list)
    federated: list[Federated] = field(default_factory=list)
    disabled: bool = False


@dataclass(frozen=True)
class Token:
    """What an access token stands for."""

    who: str
    resource: str
    expires: float


@dataclass(frozen=True)
class Login:
    """A login that was asked for: how, as whom, and what was decoded of its assertion."""

    form: str
    who: str
    claims: Mapping[str, Any] = field(default_factory=dict)


class _Refused(Exception):
    def __init__(self, code: int, error: str, text: str, status: int = 401) -> None:
        super().__init__(text)
        self.code, self.error, self.text, self.status = code, error, text, status


class Entra:
    """One tenant, its apps, and the identities of the machine."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.url = ""
        self._clock = clock
        self.apps: dict[str, App] = {}
        #: Identities of the machine by client id or resource id; "" is the system-assigned one.
        self.identities: set[str] = set()
        self.identity_header = secrets.token_hex(8)
        #: Seconds that a token is good for.
        self.lifetime = 3599
        self.logins: list[Login] = []
        #: Who got a token, in the order of time.
        self.granted: list[str] = []
        self._tokens: dict[str, Token] = {}

    def app(self, client_id: str, **how: Any) -> App:
        """Registers an application."""
        self.apps[client_id] = App(client_id, **how)
        return self.apps[client_id]

    def owner(self, token: str, resource: str) -> str | None:
        """Who came with a token for the resource; None if it is not good."""
        found = self._tokens.get(token)
        if found is None or found.resource != resource or found.expires <= self._clock():
            return None
        return found.who

    def revoke(self) -> None:
        """Makes every token that was given out worthless."""
        self._tokens.clear()

    # Applications

    def token(self, tenant: str, body: bytes) -> Answer:
        """``POST /{tenant}/oauth2/v2.0/token``."""
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        try:
            who = self._authenticated(tenant, form)
        except _Refused as refused:
            return self._error(refused)
        return Answer.of(
            {
                "token_type": "Bearer",
                "expires_in": self.lifetime,
                "ext_expires_in": self.lifetime,
                "access_token": self._issue(who, form["scope"].removesuffix("/.default")),
            }
        )

    def _authenticated(self, tenant: str, form: Mapping[str, str]) -> str:
        client_id = form.get("client_id", "")
        assertion = form.get("client_assertion", "")
        claims: dict[str, Any] = {}
        if assertion:
            claims = jwt.decode(assertion, options={"verify_signature": False})
        federated = bool(claims) and claims.get("iss") != client_id
        how = "federated" if federated else "certificate" if assertion else "secret"
        self.logins.append(Login(how, client_id, claims))
        if tenant != TENANT:
            raise _Refused(90002, "invalid_request", f"Tenant '{tenant}' not found.", 400)
        app = self.apps.get(client_id)
        if app is None:
            text = f"Application with identifier '{client_id}' was not found in the directory."
            raise _Refused(700016, "unauthorized_client", text, 400)
        if app.disabled:
            raise _Refused(7000112, "unauthorized_client", "Application is disabled.", 400)
        if not assertion:
            self._prove_secret(app, form.get("client_secret", ""))
        elif form.get("client_assertion_type") != _ASSERTION:
            raise _Refused(7000218, "invalid_client", "The request body must have an assertion.")
        elif federated:
            self._prove_federated(app, assertion, claims)
        else:
            self._prove_certificate(app, assertion, tenant)
        return client_id

    def _prove_secret(self, app: App, secret: str) -> None:
        if secret not in app.secrets:
            text = f"Invalid client secret provided. App '{app.client_id}'."
            raise _Refused(7000215, "invalid_client", text)
        if app.secrets[secret] <= self._clock():
            raise _Refused(
                7000222, "invalid_client", "The provided client secret keys are expired."
            )

    def _prove_certificate(self, app: App, assertion: str, tenant: str) -> None:
        thumbprint = jwt.get_unverified_header(assertion).get("x5t#S256", "")
        for certificate in app.certificates:
            digest = base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256()))
            if digest.rstrip(b"=") != thumbprint.rstrip("=").encode():
                continue
            try:
                jwt.decode(
                    assertion,
                    certificate.public_key(),  # type: ignore[arg-type]  # RSA, as Entra wants it
                    algorithms=["PS256"],
                    audience=f"{self.url}/{tenant}/oauth2/v2.0/token",
                    issuer=app.client_id,
                    subject=app.client_id,
                )
            except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError):
                raise _Refused(
                    700024, "invalid_client", "Not within its valid time range."
                ) from None
            except jwt.InvalidTokenError:
                raise _Refused(700027, "invalid_client", "Client assertion failed.") from None
            return
        text = (
            "The certificate with identifier used to sign the client assertion is not registered."
        )
        raise _Refused(700027, "invalid_client", text)

    def _prove_federated(self, app: App, assertion: str, claims: Mapping[str, Any]) -> None:
        given = claims.get("aud")
        audiences = given if isinstance(given, list) else [given]
        left = app.federated
        for code, what, fits in (
            (700211, "issuer", lambda one: one.issuer == claims.get("iss")),
            (700212, "audience", lambda one: one.audience in audiences),
            (700213, "subject", lambda one: one.subject == claims.get("sub")),
        ):
            left = [one for one in left if fits(one)]
            if not left:
                text = (
                    f"No matching federated identity record found for presented assertion {what}."
                )
                raise _Refused(code, "invalid_client", text)
        try:
            jwt.decode(
                assertion, left[0].public_key, algorithms=["RS256"], audience=left[0].audience
            )
        except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError):
            raise _Refused(700024, "invalid_client", "Not within its valid time range.") from None
        except jwt.InvalidTokenError:
            raise _Refused(
                50013, "invalid_grant", "Assertion failed signature validation."
            ) from None

    # Identities of the machine

    def managed(self, query: str, headers: Mapping[str, str]) -> Answer:
        """IMDS and App Service, which differ in the header that keeps others out."""
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        trusted = headers.get("X-IDENTITY-HEADER") == self.identity_header
        if headers.get("Metadata") != "true" and not trusted:
            return Answer.of({"error": "bad_request", "error_description": "no header"}, 400)
        who = asked.get("client_id") or asked.get("mi_res_id") or ""
        self.logins.append(Login("managed", who))
        if who not in self.identities:
            content = {"error": "invalid_request", "error_description": "Identity not found"}
            return Answer.of(content, 400)
        return Answer.of(
            {
                "access_token": self._issue(who, asked["resource"]),
                "expires_in": str(self.lifetime),
                "expires_on": str(int(self._clock()) + self.lifetime),
                "resource": asked["resource"],
                "token_type": "Bearer",
            }
        )

    def _issue(self, who: str, resource: str) -> str:
        token = f"fake-access-token-{secrets.token_hex(16)}"
        self.granted.append(who)
        self._tokens[token] = Token(who, resource, self._clock() + self.lifetime)
        return token

    def _error(self, refused: _Refused) -> Answer:
        trace = secrets.token_hex(8)
        return Answer.of(
            {
                "error": refused.error,
                "error_description": f"AADSTS{refused.code}: {refused.text} Trace ID: {trace}",
                "error_codes": [refused.code],
                "timestamp": "2026-01-01 00:00:00Z",
                "trace_id": trace,
                "correlation_id": trace,
            },
            refused.status,
        )
