"""How each auth method proves who asks: one request, whose answer has the token.

What proves it is made anew for each login, where it is made at all: a ServiceAccount's token, a
signed request, a signed JWT. Secrets that are given are used as they are, without the line break
that "echo" and editors add.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from syncret.errors import ProviderError, ProviderRejected
from syncret.providers.base import SecretKeyRef, SecretValue, ServiceAccount
from syncret.providers.vault import auth
from syncret.providers.vault.answers import (
    Answer,
    Call,
    CredentialsRefused,
    not_vault,
    problem,
    seconds_of,
)
from syncret.providers.vault.config import VaultConfig
from syncret.providers.vault.wire import Wire

#: Where the kubelet puts the token of the operator's own ServiceAccount.
OWN_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

LOGIN: Final = "Login"

#: What is to be looked at when a method refuses a login.
_HINTS: Final = {
    "appRole": "check the role id and the secret id, which may have expired or been used up",
    "kubernetes": (
        "check that the role is bound to this ServiceAccount, its namespace and the audience of "
        "its token, and that Vault can review tokens of this cluster"
    ),
    "jwt": (
        "check the role's bound claims and bound audiences, the keys that Vault verifies with, and "
        "that the token has not expired and the clocks agree"
    ),
    "cert": "check that the role trusts the certificate's authority, and its names and dates",
    "userPass": "check the user name and the password",
    "iam": (
        "check the role's bound principals, the region, vaultAwsIamServerID, and that the clocks "
        "agree"
    ),
    "gcp": "check the role's bound service accounts and projects, and that the clocks agree",
}


@dataclass(frozen=True, slots=True)
class Lease:
    """A token as Vault gave it. ``ttl`` in seconds, 0: it has no end.

    ``accessor``: what others may renew and look up the token by, "" for a batch token.
    """

    token: str = field(repr=False)
    ttl: float
    renewable: bool
    batch: bool = False
    accessor: str = ""


class Login:
    """The login of one store."""

    def __init__(
        self,
        config: VaultConfig,
        credentials: Mapping[str, SecretValue],
        accounts: Mapping[str, ServiceAccount],
        *,
        wire: Wire,
        own_token: Path = OWN_TOKEN,
    ) -> None:
        self._config = config
        self._auth = config.auth
        self._credentials = credentials
        self._accounts = accounts
        self._wire = wire
        self._own_token = own_token

    async def prepare(self) -> Callable[[], Lease | ProviderError]:
        """What is needed of the cluster, and then the login itself, which blocks.

        Raises ProviderError.
        """
        proof: SecretValue | None = None
        if self._auth.source == auth.SERVICE_ACCOUNT:
            account = self._accounts[auth.ACCOUNT]
            audiences = self._auth.audiences
            if self._auth.method == "iam":
                from syncret.providers.vault.iam import AUDIENCE

                audiences = (AUDIENCE,)
            proof = await account.token(audiences, seconds=self._auth.seconds)
        return partial(self._log_in, proof)

    def given(self) -> Lease:
        """The token that the store names. Raises CredentialsRefused."""
        return Lease(self._text(auth.TOKEN), ttl=0, renewable=False)

    def _log_in(self, proof: SecretValue | None) -> Lease | ProviderError:
        try:
            request = self._request(proof)
        except ProviderError as error:
            return error.with_traceback(None)
        answer = self._wire.ask(request, own=True, repeat=False)
        if isinstance(answer, ProviderError):
            return answer
        lease = lease_of(answer)
        return lease if lease is not None else self._refusal(answer)

    def _request(self, proof: SecretValue | None) -> Callable[[Any], Any]:
        """The request on hvac's client. Raises CredentialsRefused."""
        who, mount = self._auth, self._auth.mount
        match who.method:
            case "appRole":
                role = who.role or self._text(auth.ROLE_ID)
                fields = {"role_id": role, "secret_id": self._text(auth.SECRET_ID)}
            case "kubernetes" | "jwt":
                fields = {"role": who.role, "jwt": self._jwt(proof)}
            case "cert":
                fields = {"name": who.role} if who.role else {}
            case "userPass":
                return _posted(f"{mount}/login/{who.role}", {"password": self._text(auth.PASSWORD)})
            case "iam":
                from syncret.providers.vault.iam import signed

                given = {
                    name: self._text(name)
                    for name in (auth.ACCESS_KEY_ID, auth.SECRET_ACCESS_KEY, auth.SESSION_TOKEN)
                    if name in self._credentials
                }
                account = self._accounts.get(auth.ACCOUNT)
                fields = signed(self._config, given, account, proof)
            case _:
                from syncret.providers.vault.gcp import proof_of

                key = self._credentials.get(auth.GOOGLE_KEY)
                fields = {"role": who.role, "jwt": proof_of(self._config, key)}
        return _posted(f"{mount}/login", fields)

    def _jwt(self, proof: SecretValue | None) -> str:
        if proof is not None:
            return proof.reveal().decode("ascii")
        if self._auth.source == auth.SECRET:
            return self._text(auth.JWT)
        try:
            return self._own_token.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            pass
        raise CredentialsRefused(
            f"No token of the operator's own ServiceAccount is found for {self._config.place}: "
            f"set serviceAccountRef or secretRef in {self._auth.field}, or run the operator in a "
            "pod with its token (automountServiceAccountToken: true)."
        )

    def _text(self, name: str) -> str:
        """A credential that goes into a request or a header."""
        value = self._credentials[name].reveal().strip()
        # Only user names and passwords may be other than ASCII, and none has a line break.
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            text = ""
        if not text or not text.isprintable() or (name == auth.TOKEN and not text.isascii()):
            reference = dict(self._config.references)[name]
            assert isinstance(reference, SecretKeyRef)  # noqa: S101 - texts are in Secrets
            raise CredentialsRefused(
                f"The credentials for {self._config.place} cannot be used: the key "
                f'"{reference.key}" of the Secret "{reference.name}" is empty or holds what is no '
                "text of one line. Correct it."
            )
        return text

    def _refusal(self, answer: Answer) -> ProviderError:
        place, method, errors = self._config.place, self._auth, answer.errors
        if errors is not None and answer.status in {404, 405}:
            return ProviderRejected(
                f"{place} has no auth method at auth/{method.mount}: correct the path in "
                f"{method.field}, or the namespace."
            )
        if errors is not None and answer.status in {400, 401, 403}:
            # Vault says this also where nothing is mounted: it then wants a token for the path.
            where = f", and that an auth method is mounted at auth/{method.mount}"
            plain = errors.strip() == "permission denied"
            return CredentialsRefused(
                f"{place} refused the credentials of {method.field}: "
                f"{_HINTS[method.method]}{where if plain else ''}."
            )
        found = problem(answer, Call(place, LOGIN))
        return found if isinstance(found, ProviderError) else not_vault(place)


def _posted(path: str, fields: Mapping[str, Any]) -> Callable[[Any], Any]:
    """A login on hvac's client, whose own methods for it differ in what they quote of paths."""
    return lambda client: client.adapter.post(
        f"/v1/auth/{quote(path)}", json=dict(fields), anonymous=True
    )


def lease_of(answer: Answer) -> Lease | None:
    """The token in the answer to a login or a renewal; None if there is none."""
    given = answer.body.get("auth") if answer.ok and isinstance(answer.body, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(given.get("client_token"), str):
        return None
    return Lease(
        given["client_token"],
        ttl=seconds_of(given.get("lease_duration")),
        renewable=bool(given.get("renewable")),
        batch=given.get("token_type") == "batch",
        accessor=str(given.get("accessor") or ""),
    )
