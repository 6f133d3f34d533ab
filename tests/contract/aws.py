"""AWS for the contract suite: moto behind a proxy that adds AWS's own rules.

``AwsHarness`` is Secrets Manager; what does not depend on the service is in its base.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from contract.harness import RETRY_AFTER, Ability, Fault, Identity, Lacks, Observations
from contract.proxy import Action, Change, Hang, Proxy, Reply, Request, Reset, Trickle
from syncret.providers.aws.provider import AwsProvider
from syncret.providers.aws.session import Timing
from syncret.providers.base import Client, SecretValue
from testbed.controlplane import free_ports
from testbed.moto import ACCESS_KEY, REGION, SECRET_KEY, Moto

PATIENT = Timing(connect=10.0, read=20.0, total=60.0, attempts=1)
HASTY = Timing(connect=1.0, read=1.0, total=2.0, attempts=1)

UNKNOWN_KEY = "AKIAFAKEUNKNOWNFAKE0"
EXPIRED_TOKEN = "fake-expired-session-token"

_TYPE = {"Content-Type": "application/x-amz-json-1.1"}


def error_reply(code: str, *, status: int = 400, message: str = "", **headers: str) -> Reply:
    """An error as AWS words it."""
    body = json.dumps({"__type": code, "message": message}).encode()
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, body, {**_TYPE, **more})


def operation(request: Request) -> str:
    """The API's operation that a request asks for."""
    return request.headers.get("X-Amz-Target", "").rpartition(".")[2]


class OneService:
    """One test's view of one service of moto."""

    name = "aws"
    separator = "/"
    service = ""
    target = ""
    prefix = ""
    lacks: ClassVar[Lacks] = {Ability.ANY_NAMES: "names have ASCII letters, digits and signs only"}
    credentials: tuple[str, ...] = (SECRET_KEY, EXPIRED_TOKEN)

    def __init__(self, moto: Moto) -> None:
        self.moto = moto
        self.boto = moto.client(self.target)
        self.proxy = Proxy(moto.endpoint)
        self.fault: Action | Callable[[Request], Action | None] | None = None
        self.denied: set[str] = set()
        self.denied_operations: set[str] = set()
        self.proxy.rules = [self._fault, _identity, self._policy]

    def spec(self, **more: Any) -> dict[str, Any]:
        """``spec.provider.aws`` of a store, without its auth."""
        prefix = {"prefix": self.prefix} if self.prefix else {}
        return (
            {"service": self.service, "region": REGION, "endpoint": self.proxy.url} | prefix | more
        )

    async def open(
        self,
        observe: Observations,
        *,
        identity: Identity = Identity.GOOD,
        reachable: bool = True,
        hasty: bool = False,
        timing: Timing | None = None,
        **more: Any,
    ) -> Client:
        """``more``: further fields of ``spec.provider.aws``."""
        provider = AwsProvider(timing=timing or (HASTY if hasty else PATIENT))
        endpoint = self.proxy.url if reachable else f"http://127.0.0.1:{free_ports(1)[0]}"
        reference = {"name": "aws", "key": "any"}
        selectors = {"accessKeyIDSecretRef": reference, "secretAccessKeySecretRef": reference}
        credentials = {
            "accessKeyID": SecretValue(
                (UNKNOWN_KEY if identity is Identity.UNKNOWN else ACCESS_KEY).encode()
            ),
            "secretAccessKey": SecretValue(SECRET_KEY.encode()),
        }
        if identity is Identity.EXPIRED:
            selectors["sessionTokenSecretRef"] = reference
            credentials["sessionToken"] = SecretValue(EXPIRED_TOKEN.encode())
        spec = self.spec(endpoint=endpoint, auth={"secretRef": selectors}) | more
        config = provider.parse(spec, cluster_scoped=False)
        return await provider.open(config, credentials, observe=observe)

    def fail(self, fault: Fault | None, *, saying: str = "") -> None:
        self.fault = None if fault is None else _action(fault, saying)

    def deny(self, key: str) -> None:
        self.denied.add(key)

    @property
    def requests(self) -> int:
        return len(self.proxy.requests)

    @property
    def operations(self) -> list[str]:
        """The operations that were asked for, in the order of arrival."""
        return [operation(request) for request in self.proxy.requests]

    def close(self) -> None:
        self.proxy.close()
        self.boto.close()

    def _fault(self, request: Request) -> Action | None:
        return self.fault(request) if callable(self.fault) else self.fault

    def _policy(self, request: Request) -> Action | None:
        """IAM, of which moto has none."""
        if operation(request) in self.denied_operations:
            return access_denied(self.target, operation(request))
        return None


class AwsHarness(OneService):
    """One test's view of Secrets Manager."""

    service = "SecretsManager"
    target = "secretsmanager"
    max_bytes = 65_536
    takes_binary = True
    missing_version = "id/00000000-0000-0000-0000-000000000000"

    def __init__(self, moto: Moto) -> None:
        super().__init__(moto)
        self.batch_denied = False
        self.proxy.rules.append(_limits)

    def put(self, key: str, value: bytes) -> str:
        content = _content(value)
        try:
            answer = self.boto.create_secret(Name=key, **content)
        except self.boto.exceptions.ResourceExistsException:
            answer = self.boto.put_secret_value(SecretId=key, **content)
        return str(answer["VersionId"])

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        given = [{"Key": name, "Value": value} for name, value in tags.items()]
        self.boto.tag_resource(SecretId=key, Tags=given)

    def delete(self, key: str) -> None:
        self.boto.delete_secret(SecretId=key)

    def _policy(self, request: Request) -> Action | None:
        if (denied := super()._policy(request)) is not None:
            return denied
        if operation(request) == "GetSecretValue" and request.json["SecretId"] in self.denied:
            return access_denied(self.target, "GetSecretValue")
        if operation(request) != "BatchGetSecretValue":
            return None
        if self.batch_denied:
            return access_denied(self.target, "BatchGetSecretValue")
        denied_names = [name for name in request.json["SecretIdList"] if name in self.denied]
        if not denied_names:
            return None
        return Change(
            request=lambda body: _without(body, denied_names),
            reply=lambda body: _with(body, denied_names),
        )


def _identity(request: Request) -> Action | None:
    if request.headers.get("X-Amz-Security-Token") == EXPIRED_TOKEN:
        return error_reply("ExpiredTokenException", message="The security token is expired")
    if f"Credential={ACCESS_KEY}/" not in request.headers.get("Authorization", ""):
        return error_reply(
            "UnrecognizedClientException", message="The security token included is invalid."
        )
    return None


def _limits(request: Request) -> Action | None:
    """The limit of a batch, which moto does not keep."""
    if operation(request) == "BatchGetSecretValue" and len(request.json["SecretIdList"]) > 20:
        return error_reply("InvalidParameterException", message="too many ids")
    return None


def access_denied(service: str, what: str) -> Reply:
    """A denial as AWS words it."""
    return error_reply(
        "AccessDeniedException",
        message=f"User: arn:aws:iam::123456789012:user/u is not authorized to perform: "
        f"{service}:{what} because no identity-based policy allows the action",
    )


def _without(body: bytes, denied: list[str]) -> bytes:
    request = json.loads(body)
    request["SecretIdList"] = [name for name in request["SecretIdList"] if name not in denied]
    return json.dumps(request).encode()


def _with(body: bytes, denied: list[str]) -> bytes:
    answer = json.loads(body)
    answer["Errors"] += [
        {"SecretId": name, "ErrorCode": "AccessDeniedException", "Message": "not authorized"}
        for name in denied
    ]
    return json.dumps(answer).encode()


def _content(value: bytes) -> dict[str, Any]:
    try:
        return {"SecretString": value.decode()}
    except UnicodeDecodeError:
        return {"SecretBinary": value}


def _action(fault: Fault, saying: str) -> Action:
    actions: dict[Fault, Action] = {
        Fault.THROTTLED: error_reply(
            "ThrottlingException", message=saying, Retry_After=str(int(RETRY_AFTER))
        ),
        Fault.INTERNAL_ERROR: error_reply("InternalServiceError", status=500, message=saying),
        Fault.HANGS: Hang(),
        Fault.TRICKLES: Trickle(every=HASTY.read / 10),
        Fault.RESET: Reset(b'{"Value": "' + saying.encode()),
        Fault.NOT_JSON: Reply(200, f'{{"Value": "{saying}'.encode(), _TYPE),
        Fault.NOT_THE_STORE: Reply(
            404, f"<html>Not Found {saying}</html>".encode(), {"Content-Type": "text/html"}
        ),
    }
    return actions[fault]
