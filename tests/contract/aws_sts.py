"""AWS with identities: moto's STS and Secrets Manager behind one proxy, which knows who is who.

moto gives sessions to anybody and believes every signature. The proxy keeps what it leaves out: a
secret is read only by a session that STS gave out and that has not expired, and a role is assumed
only by whom its trust policy names.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from contract.aws import PATIENT, error_reply, operation
from contract.harness import Observations
from contract.proxy import Action, Change, Proxy, Reply, Request
from syncret.providers.aws.provider import AwsProvider
from syncret.providers.aws.session import Timing
from syncret.providers.base import Client, SecretValue, ServiceAccount, StoreIdentity
from testbed.moto import ACCESS_KEY, REGION, SECRET_KEY, Moto

#: The account whose secrets moto shows to those who have assumed no role.
ACCOUNT = "123456789012"
STORE = StoreIdentity(kind="SecretStore", name="aws", namespace="payments")


def role(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


@dataclass
class Clock:
    """The monotonic clock of the sessions, and what it is ahead of the real one."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return 1_000_000.0 + self.ahead


@dataclass
class Account:
    """A ServiceAccount whose tokens say who it is, in the clear."""

    namespace: str = "payments"
    name: str = "reader"
    annotations: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[tuple[str, ...], int]] = field(default_factory=list)
    problem: Exception | None = None

    async def token(self, audiences: Sequence[str], *, seconds: int = 3600) -> SecretValue:
        self.asked.append((tuple(audiences), seconds))
        if self.problem is not None:
            raise self.problem
        text = f"token-of.{self.namespace}.{self.name}.{len(self.asked)}"
        return SecretValue(text.encode(), expires=datetime.now(UTC) + timedelta(seconds=seconds))


@dataclass(frozen=True)
class Login:
    """One call to STS: what was asked, by whom, and the access key that was given out."""

    action: str
    asked: dict[str, str]
    by: str
    key: str = ""

    def parameter(self, name: str) -> str:
        return self.asked.get(name, "")


class StsHarness:
    """One test's view of STS, and of one secret store behind it."""

    def __init__(self, moto: Moto) -> None:
        self.boto = moto.client("secretsmanager")
        self.proxy = Proxy(moto.endpoint)
        self.logins: list[Login] = []
        self.fault: Callable[[Login], Action | None] = lambda _: None
        self.lifetime = 3600.0
        #: Those whose sessions may read secrets; a key that STS did not give out is nobody.
        self.readers: set[str] = set()
        self.clock = Clock()
        self.proxy.rules = [self._sts, self._services]

    def put(self, key: str, value: bytes = b"value") -> None:
        self.boto.create_secret(Name=key, SecretString=value.decode())

    async def open(
        self,
        observe: Observations,
        *,
        account: ServiceAccount | None = None,
        ambient: bool = False,
        store: StoreIdentity = STORE,
        timing: Timing = PATIENT,
        **spec: Any,
    ) -> Client:
        """A client with an access key, with a ServiceAccount, or with what the SDK finds."""
        provider = AwsProvider(timing=timing, monotonic=self.clock)
        reference = {"name": "aws", "key": "any"}
        auth: dict[str, Any] = {
            "secretRef": {"accessKeyIDSecretRef": reference, "secretAccessKeySecretRef": reference}
        }
        credentials = {
            "accessKeyID": SecretValue(ACCESS_KEY.encode()),
            "secretAccessKey": SecretValue(SECRET_KEY.encode()),
        }
        if account is not None:
            auth, credentials = {"jwt": {"serviceAccountRef": {"name": account.name}}}, {}
        config = provider.parse(
            {
                "service": "SecretsManager",
                "region": REGION,
                "endpoint": self.proxy.url,
                "stsEndpoint": self.proxy.url,
                "auth": None if ambient else auth,
                **spec,
            },
            cluster_scoped=ambient,
        )
        return await provider.open(
            config,
            {} if ambient else credentials,
            observe=observe,
            accounts={"serviceAccount": account} if account is not None else {},
            store=store,
        )

    @property
    def reads(self) -> list[str]:
        """The access key that each request for a secret was signed with."""
        return [_signed_by(one) for one in self.proxy.requests if operation(one)]

    def close(self) -> None:
        self.proxy.close()
        self.boto.close()

    def _sts(self, request: Request) -> Action | None:
        if operation(request):
            return None
        asked = {name: values[0] for name, values in parse_qs(request.raw.decode()).items()}
        login = Login(asked.get("Action", ""), asked, _signed_by(request))
        if (fault := self.fault(login)) is not None:
            self.logins.append(login)
            return fault
        return Change(reply=lambda body: self._given(login, body))

    def _given(self, login: Login, body: bytes) -> bytes:
        text = body.decode()
        (key,) = re.findall("<AccessKeyId>(.*)</AccessKeyId>", text)
        self.logins.append(Login(login.action, login.asked, login.by, key))
        until = datetime.now(UTC) + timedelta(seconds=self.lifetime)
        stamp = until.strftime("%Y-%m-%dT%H:%M:%SZ")
        return re.sub(
            "<Expiration>.*</Expiration>", f"<Expiration>{stamp}</Expiration>", text
        ).encode()

    def _services(self, request: Request) -> Action | None:
        given = {login.key for login in self.logins if login.key} | self.readers
        if _signed_by(request) in given:
            return None
        return error_reply("UnrecognizedClientException", message="not a session of ours")


def sts_error(code: str, text: str = "", *, status: int = 400) -> Reply:
    """An error as STS words it, in XML."""
    body = (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>{text}</Message></Error></ErrorResponse>"
    )
    return Reply(status, body.encode(), {"Content-Type": "text/xml"})


def _signed_by(request: Request) -> str:
    found = re.search("Credential=([^/]+)/", request.headers.get("Authorization", ""))
    return found.group(1) if found else ""
