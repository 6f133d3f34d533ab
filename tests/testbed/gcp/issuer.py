"""The endpoints that give out access tokens, over HTTP, and how tests steer it all.

Each endpoint verifies what the real one verifies: signatures, audiences, times, bindings.
"""

import base64
import binascii
import datetime as dt
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from testbed.gcp.store import PROJECT, PROJECT_NUMBER, Store, Token, now

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
CLOUD_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"
#: What google-auth addresses its assertions to, wherever it sends them.
TOKEN_ENDPOINT: Final = "https://oauth2.googleapis.com/token"
#: For reading, and for acting as a service account only.
SCOPES: Final = (CLOUD_PLATFORM, "https://www.googleapis.com/auth/iam")
_FLAVOR: Final = {"Metadata-Flavor": "Google"}
_SLACK: Final = 300


class Issuer:
    """The HTTP side."""

    def __init__(self, store: Store, *, steering: Mapping[str, Any]) -> None:
        """``steering``: what tests may call by POST /steer/NAME."""
        self._store = store
        self._steering = steering

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.post("/steer/{name}", self._steer),
                web.post("/token", self._oauth2),
                web.post("/v1/token", self._sts),
                web.post("/v1/projects/-/serviceAccounts/{account}", self._iam),
                web.get("/", self._metadata_root),
                web.get("/computeMetadata/v1/{path:.*}", self._metadata),
            ]
        )
        return app

    async def _steer(self, request: web.Request) -> web.Response:
        answer = self._steering[request.match_info["name"]](**await request.json())
        return web.json_response(answer)

    # OAuth 2: a JWT that a service account's key has signed

    async def _oauth2(self, request: web.Request) -> web.Response:  # noqa: PLR0911 - each check
        form = await request.post()
        self._note("oauth2")
        if (failed := self._failed()) is not None:
            return failed
        try:
            header, claims = _parts(str(form.get("assertion", "")))
            keys = self._store.accounts.get(str(claims["iss"]))
            if form.get("grant_type") != JWT_BEARER or claims["aud"] != TOKEN_ENDPOINT:
                return _grant_error("Invalid JWT: audience is not this endpoint.")
            if keys is None:
                return _grant_error("Invalid grant: account not found")
            if not _signed(str(form["assertion"]), keys.get(header.get("kid", ""), "")):
                return _grant_error("Invalid JWT Signature.")
            life = int(claims["exp"]) - int(claims["iat"])
            if abs(time.time() - int(claims["iat"])) > _SLACK or not 0 < life <= 3600:
                return _grant_error(
                    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a "
                    "reasonable timeframe. Check your iat and exp values in the JWT claim."
                )
            if claims.get("scope") != CLOUD_PLATFORM:
                return _error(400, "invalid_scope", "Invalid OAuth scope or ID token audience.")
        except (KeyError, ValueError):
            return _grant_error("Invalid JWT")
        return web.json_response(self._issued(f"serviceAccount:{claims['iss']}"))

    # STS: the token of another issuer

    async def _sts(self, request: web.Request) -> web.Response:  # noqa: PLR0911 - each check
        form = await request.post()
        audience = str(form.get("audience", ""))
        claims: dict[str, Any] = {}
        trust = self._store.trusts.get(audience)
        try:
            _, claims = _parts(str(form.get("subject_token", "")))
        except ValueError:
            return _grant_error("Unable to parse the ID Token.")
        finally:
            self._note("sts", audience=audience, claims=claims)
        if (failed := self._failed()) is not None:
            return failed
        if form.get("grant_type") != EXCHANGE or form.get("scope") not in SCOPES:
            return _error(400, "invalid_request", 'Invalid value for "grant_type" or "scope".')
        if trust is None:
            return _error(400, "invalid_target", "The target service indicated is invalid.")
        audiences = claims.get("aud") or []
        given = audiences if isinstance(audiences, list) else [audiences]
        if claims.get("iss") != trust.issuer or not _signed(str(form["subject_token"]), trust.key):
            return _grant_error("The issuer or the signature of the ID Token is not accepted.")
        if not {*trust.audiences} & {*given}:
            return _grant_error("The audience in ID Token does not match the expected audience.")
        if int(claims.get("exp", 0)) < time.time():
            return _grant_error("ID Token issued at 1 is stale to sign-in.")
        subject = str(claims["sub"])
        namespace, _, name = subject.removeprefix("system:serviceaccount:").partition(":")
        principal = trust.principal.format(sub=subject, namespace=namespace, name=name)
        return web.json_response(
            self._issued(principal)
            | {"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        )

    # IAM credentials: one account as another

    async def _iam(self, request: web.Request) -> web.Response:
        account, _, verb = request.match_info["account"].partition(":")
        body = await request.json()
        self._note("iam", account=account)
        if (failed := self._failed()) is not None:
            return failed
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        token = self._store.tokens.get(text)
        if scheme != "Bearer" or token is None or verb != "generateAccessToken":
            return _api_error(401, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED")
        if token.principal not in self._store.impersonators.get(account, set()):
            return _api_error(403, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED")
        if body.get("scope") != [CLOUD_PLATFORM]:
            return _api_error(400, "INVALID_ARGUMENT", "")
        made = self._issued(f"serviceAccount:{account}")
        until = self._store.tokens[made["access_token"]].expires
        return web.json_response(
            {"accessToken": made["access_token"], "expireTime": f"{until:%Y-%m-%dT%H:%M:%SZ}"}
        )

    # The metadata server of a node

    async def _metadata_root(self, _request: web.Request) -> web.Response:
        return web.Response(text="computeMetadata/", headers=_FLAVOR)

    async def _metadata(self, request: web.Request) -> web.Response:
        path = request.match_info["path"].rstrip("/")
        if request.headers.get("Metadata-Flavor") != "Google" or not self._store.metadata:
            return web.Response(status=403)
        account = self._store.metadata.get("account", "")
        known = {
            "project/project-id": PROJECT,
            "project/numeric-project-id": PROJECT_NUMBER,
            "instance/attributes/cluster-name": self._store.metadata.get("cluster_name"),
            "instance/attributes/cluster-location": self._store.metadata.get("cluster_location"),
            "universe/universe-domain": "googleapis.com",
        }
        if known.get(path):
            return web.Response(text=known[path], headers=_FLAVOR)
        base = "instance/service-accounts/"
        if account and path in {f"{base}default", f"{base}{account}"}:
            body = {"aliases": ["default"], "email": account, "scopes": [CLOUD_PLATFORM]}
            return web.json_response(body, headers=_FLAVOR)
        if account and path in {f"{base}default/token", f"{base}{account}/token"}:
            self._note("metadata")
            return web.json_response(self._issued(f"serviceAccount:{account}"), headers=_FLAVOR)
        return web.Response(status=404, headers=_FLAVOR)

    def _note(self, endpoint: str, **more: Any) -> None:
        self._store.logins.append({"endpoint": endpoint, **more})

    def _failed(self) -> web.Response | None:
        fault = self._store.login_fault
        if fault is None or not fault.strikes():
            return None
        return _error(int(fault.kind), fault.reason or "internal_failure", fault.saying)

    def _issued(self, principal: str) -> dict[str, Any]:
        text = f"ya29.{secrets.token_urlsafe(24)}"
        until = now() + dt.timedelta(seconds=self._store.lifetime)
        self._store.tokens[text] = Token(
            principal, until, refused=principal in self._store.refused_accounts
        )
        return {
            "access_token": text,
            "expires_in": self._store.lifetime,
            "token_type": "Bearer",
        }


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the claims. Raises ValueError."""
    pieces = token.split(".")
    if len(pieces) != 3:
        raise ValueError("no JWT")
    header, claims = (json.loads(_decoded(piece)) for piece in pieces[:2])
    return header, claims


def _decoded(piece: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4))
    except binascii.Error as error:
        raise ValueError("no base64") from error


def _signed(token: str, key: str) -> bool:
    """Whether the key (PEM, public) verifies the signature, RS256."""
    if not key:
        return False
    signed, _, signature = token.rpartition(".")
    public = serialization.load_pem_public_key(key.encode())
    assert isinstance(public, rsa.RSAPublicKey)
    try:
        public.verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _grant_error(text: str) -> web.Response:
    return _error(400, "invalid_grant", text)


def _error(status: int, code: str, text: str) -> web.Response:
    return web.json_response({"error": code, "error_description": text}, status=status)


def _api_error(status: int, code: str, reason: str) -> web.Response:
    detail = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "iam.googleapis.com",
    }
    error = {"code": status, "message": "It is refused.", "status": code, "details": [detail]}
    return web.json_response({"error": error}, status=status)
