"""Logins: a ServiceAccount's token, then roles, each assumed with the keys of the one before.

The calls go to the STS of the store's region. What runs in threads returns failures instead of
raising them: see providers/calls.py. Everything that keeps an identity from being had is
:class:`CredentialsRefused`: nothing can be read without it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final

from syncret.errors import ProviderError, ProviderUnavailable, SyncretError
from syncret.providers.aws.config import SESSION, STORE_TAGS, AwsConfig
from syncret.providers.aws.errors import (
    Call,
    CredentialsRefused,
    Refusal,
    busy,
    failure,
    is_denied,
    not_understood,
    why_refused,
)
from syncret.providers.aws.keys import Keys
from syncret.providers.aws.services import STS, Place
from syncret.providers.aws.session import AwsSession
from syncret.providers.base import SecretValue, ServiceAccount, StoreIdentity
from syncret.providers.calls import Calls

ASSUME: Final = "AssumeRole"
ASSUME_BY_TOKEN: Final = "AssumeRoleWithWebIdentity"  # noqa: S105 - the name of a call

# The token is used at once; it is the session that lasts.
_TOKEN_SECONDS: Final = 600

_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_+=,.@-]+")


@dataclass(frozen=True, slots=True)
class TokenRole:
    """The role that a ServiceAccount's tokens are exchanged for."""

    account: ServiceAccount
    role: str
    audiences: tuple[str, ...]

    @property
    def who(self) -> str:
        return f'the ServiceAccount "{self.account.name}" in namespace "{self.account.namespace}"'


class Login:
    """Gets the keys of a store's session."""

    def __init__(
        self,
        session: AwsSession,
        config: AwsConfig,
        *,
        base: Keys | None,
        by_token: TokenRole | None,
        store: StoreIdentity | None,
        calls: Calls,
    ) -> None:
        """``base``: the keys that the first role is assumed with; None: the SDK's own chain."""
        self._session = session
        self._config = config
        self._place = Place(STS, config.region)
        self._base = base
        self._by_token = by_token
        self._store = store
        self._calls = calls

    async def __call__(self) -> Keys | ProviderError:
        """New keys, or what keeps them from being got."""
        roles = self._config.assume.roles if self._config.assume else ()
        keys: Keys | ProviderError | None = self._base
        who = "the access key of the store" if self._base else "the operator's own identity"
        if self._by_token is not None:
            keys = await self._exchange(self._by_token, last=not roles)
            who = f'the role "{self._by_token.role}"'
        for number, role in enumerate(roles, start=1):
            if isinstance(keys, ProviderError):
                break
            call = partial(self._assume, role, keys, who, last=number == len(roles))
            keys = await self._run(ASSUME, call)
            who = f'the role "{role}"'
        return keys if keys is not None else not_understood(self._place)

    async def _exchange(self, by_token: TokenRole, *, last: bool) -> Keys | ProviderError:
        try:
            token = await by_token.account.token(by_token.audiences, seconds=_TOKEN_SECONDS)
        except ProviderError as error:
            return error.with_traceback(None)
        except SyncretError:
            return ProviderUnavailable(
                f"There is no token of {by_token.who}, for the role of {self._config.place}: it is "
                "tried again."
            )
        return await self._run(
            ASSUME_BY_TOKEN, partial(self._assume_by_token, by_token, token, last=last)
        )

    async def _run(
        self, operation: str, call: Callable[[], Keys | ProviderError]
    ) -> Keys | ProviderError:
        return await self._calls.run(operation, call) or not_understood(self._place)

    # What runs in threads.

    def _assume_by_token(self, by_token: TokenRole, token: SecretValue, *, last: bool) -> Any:
        asked = {
            "RoleArn": by_token.role,
            "RoleSessionName": self._session_name(),
            "WebIdentityToken": token.reveal().decode("ascii", "replace"),
            "DurationSeconds": self._config.session_seconds if last else SESSION,
        }
        return self._ask(
            "assume_role_with_web_identity",
            asked,
            Call(self._place, ASSUME_BY_TOKEN),
            partial(_not_exchanged, by_token),
            signed=False,
        )

    def _assume(self, role: str, keys: Keys | None, who: str, *, last: bool) -> Any:
        asked: dict[str, Any] = {"RoleArn": role, "RoleSessionName": self._session_name()}
        if last:
            asked |= self._parameters()
        problem = partial(_not_assumed, role, who, asked)
        return self._ask("assume_role", asked, Call(self._place, ASSUME), problem, keys=keys)

    def _ask(
        self,
        method: str,
        asked: Mapping[str, Any],
        call: Call,
        problem: Callable[[Refusal], str],
        *,
        keys: Keys | None = None,
        signed: bool = True,
    ) -> Keys | ProviderError:
        boto = self._session.client(
            self._place, self._config.sts_endpoint, keys, pool=1, signed=signed
        )
        if isinstance(boto, ProviderError):
            return boto
        try:
            answer = getattr(boto, method)(**asked)
            return _keys(answer) or not_understood(self._place)
        except Exception as error:  # noqa: BLE001 - the edge to the SDK
            return self._failure(error, call, problem)
        finally:
            boto.close()

    def _failure(self, error: Any, call: Call, problem: Callable[[Refusal], str]) -> ProviderError:
        if getattr(error, "operation_name", "") == call.operation:
            said = Refusal.of(error)
            why = why_refused(said.code, said.text)
            found = busy(said.code, call, status=said.status, retry_after=said.retry_after)
            if found is None and (text := problem(said)):
                found = CredentialsRefused(text)
            if found is None and why:
                found = CredentialsRefused(f"{self._place} refused the credentials: {why}")
            if found is not None:
                return found
        ours = failure(error, call)
        return ours if isinstance(ours, ProviderError) else not_understood(self._place)

    def _parameters(self) -> dict[str, Any]:
        assume = self._config.assume
        assert assume is not None  # noqa: S101 - there is a role
        asked: dict[str, Any] = {"DurationSeconds": self._config.session_seconds}
        tags = dict(assume.tags)
        if assume.of_store and self._store is not None:
            told = (
                self._store.namespace or self._store.reader,
                self._store.kind,
                self._store.name,
            )
            # Without a namespace there is no tag of it: what a policy wants to see is then missing.
            tags |= {key: value for key, value in zip(STORE_TAGS, told, strict=True) if value}
        if assume.external_id:
            asked["ExternalId"] = assume.external_id
        if tags:
            asked["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
        if assume.transitive:
            asked["TransitiveTagKeys"] = list(assume.transitive)
        return asked

    def _session_name(self) -> str:
        """What CloudTrail calls the session."""
        store = self._store
        names = (store.namespace or store.reader, store.name) if store else ()
        return _NOT_IN_NAME.sub("-", "-".join(filter(None, ("syncret", *names))))[:64]


def _keys(answer: Mapping[str, Any]) -> Keys | None:
    """The keys of an answer; None if it has none.

    How long they live is told by AWS's clock alone, so that the node's does not matter.
    """
    found = answer.get("Credentials") or {}
    expires = found.get("Expiration")
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    if not all(found.get(name) for name in names) or not isinstance(expires, datetime):
        return None
    headers = (answer.get("ResponseMetadata") or {}).get("HTTPHeaders") or {}
    try:
        now = parsedate_to_datetime(headers.get("date") or "")
    except ValueError:
        now = datetime.now(UTC)
    if now.tzinfo is None:
        now = now.replace(tzinfo=UTC)
    return Keys(*(found[name] for name in names), seconds=(expires - now).total_seconds())


def _not_assumed(role: str, who: str, asked: Mapping[str, Any], said: Refusal) -> str:
    """What keeps a role from being assumed; "" if it is something else."""
    if is_denied(said.code):
        tags = ", and sts:TagSession beside it in both, for the session tags" * ("Tags" in asked)
        external = ", under the external id of the store" * ("ExternalId" in asked)
        return (
            f'The role "{role}" cannot be assumed by {who}: allow sts:AssumeRole on it in the '
            f"policy of that identity, and to that identity in the role's trust policy{external}"
            f"{tags}."
        )
    return _not_possible(role, said)


def _not_exchanged(by_token: TokenRole, said: Refusal) -> str:
    name, namespace = by_token.account.name, by_token.account.namespace
    audience = " or ".join(by_token.audiences)
    if is_denied(said.code):
        return (
            f'The role "{by_token.role}" cannot be assumed by {by_token.who}: its trust policy has '
            "to allow sts:AssumeRoleWithWebIdentity to the cluster's OIDC provider, for the "
            f'subject "system:serviceaccount:{namespace}:{name}" and the audience "{audience}".'
        )
    if said.code in {"InvalidIdentityToken", "InvalidIdentityTokenException"}:
        return (
            f"AWS does not take the token of {by_token.who}: see that the account of the role has "
            "an IAM OIDC provider for the issuer of this cluster, and that it lists the audience "
            f'"{audience}".'
        )
    if said.code in {"ExpiredTokenException", "ExpiredToken"}:
        return (
            f"AWS takes the token of {by_token.who} for expired: check the clocks of the control "
            "plane."
        )
    if said.code.startswith("IDPCommunicationError"):
        return (
            "AWS cannot reach the OIDC issuer of this cluster: see that its discovery document and "
            "keys can be read from outside."
        )
    return _not_possible(by_token.role, said)


def _not_possible(role: str, said: Refusal) -> str:
    if said.code == "RegionDisabledException":
        return "AWS STS is switched off in the region of the store: have it switched on in IAM."
    if said.code.startswith("PackedPolicyTooLarge"):
        return f'The session tags for the role "{role}" are too large: use fewer or shorter ones.'
    if said.code in {"ValidationError", "ValidationException"}:
        if "exceeds" in said.text and "Duration" in said.text:
            return (
                f'The role "{role}" does not allow so long a session: shorten sessionDuration to '
                "its maximum, which is an hour where a role is assumed by another role."
            )
        return (
            f'AWS cannot assume the role "{role}" as the store asks for it: correct role, '
            "externalID and sessionTags."
        )
    return ""
