"""Secret Manager over gRPC: the reading half of google.cloud.secretmanager.v1."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
from google.cloud.secretmanager_v1.types import resources, service
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from testbed.gcp.store import NAME, PROJECT, PROJECT_NUMBER, Secret, State, Store, checksum, now

SERVICE: Final = "google.cloud.secretmanager.v1.SecretManagerService"
_BARRIER_TIMEOUT: Final = 20.0
_PAGE: Final = 250

Code = grpc.StatusCode


class Refusal(Exception):
    """A call that ends with a status."""

    def __init__(self, code: grpc.StatusCode, message: str, *details: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details


class SecretManager:
    """The service. Every method checks in the order in which the real one does."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._released = asyncio.Event()
        self._crowd = asyncio.Condition()

    def handler(self) -> grpc.GenericRpcHandler:
        methods: dict[str, tuple[Any, Any]] = {
            "AccessSecretVersion": (self._access, service.AccessSecretVersionRequest),
            "GetSecretVersion": (self._get_version, service.GetSecretVersionRequest),
            "ListSecretVersions": (self._list_versions, service.ListSecretVersionsRequest),
            "ListSecrets": (self._list_secrets, service.ListSecretsRequest),
            "GetSecret": (self._get_secret, service.GetSecretRequest),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._served(name, answer), request_deserializer=request.deserialize
            )
            for name, (answer, request) in methods.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def release(self) -> None:
        """Lets go of the calls that hang."""
        self._released.set()
        self._released = asyncio.Event()

    def _served(
        self, operation: str, answer: Callable[[Any], Awaitable[Any]]
    ) -> Callable[..., Awaitable[bytes]]:
        async def serve(request: Any, context: Any) -> bytes:
            store = self._store
            store.operations.append(operation)
            metadata = dict(context.invocation_metadata())
            store.requests.append(
                {
                    "operation": operation,
                    "request": type(request).to_dict(request, use_integers_for_enums=False),
                    "routing": metadata.get("x-goog-request-params", ""),
                }
            )
            store.now += 1
            store.peak = max(store.peak, store.now)
            try:
                return await self._answered(operation, answer, request, metadata)
            except Refusal as refusal:
                await _end(context, refusal)
                raise
            finally:
                store.now -= 1

        return serve

    async def _answered(
        self, operation: str, answer: Callable[[Any], Awaitable[Any]], request: Any, metadata: Any
    ) -> bytes:
        fault = self._store.fault
        if fault is not None and fault.strikes(operation):
            garbage = await self._failed(fault)
            if garbage is not None:
                return garbage
        self._authenticate(metadata)
        await self._meet()
        response = await answer(request)
        return bytes(type(response).serialize(response))

    async def _failed(self, fault: Any) -> bytes | None:
        saying = fault.saying
        match fault.kind:
            case "throttled":
                wait = duration_pb2.Duration()
                wait.FromNanoseconds(int(fault.retry_after * 1e9))
                details = (
                    [error_details_pb2.RetryInfo(retry_delay=wait)] if fault.retry_after else []
                )
                raise Refusal(Code.RESOURCE_EXHAUSTED, f"Quota exceeded {saying}", *details)
            case "hangs":
                await self._released.wait()
            case "garbage":
                return b"\xff\xff" + bytes(saying, "utf-8")
            case "empty":
                return b""
            case "forbidden":
                raise _denied(fault.reason, f"Forbidden {saying}")
            case kind if kind.isupper():
                raise Refusal(Code[kind], f"It failed {saying}")
        return None  # the relay's faults

    async def _meet(self) -> None:
        """Waits until as many calls as the barrier asks for are here at the same time."""
        if not self._store.barrier:
            return
        async with self._crowd:
            self._crowd.notify_all()
            wanted = self._store.barrier
            try:
                async with asyncio.timeout(_BARRIER_TIMEOUT):
                    await self._crowd.wait_for(lambda: self._store.peak >= wanted)
            except TimeoutError:
                raise Refusal(Code.ABORTED, "They did not come together.") from None

    def _authenticate(self, metadata: Any) -> None:
        scheme, _, text = str(metadata.get("authorization", "")).partition(" ")
        token = self._store.tokens.get(text) if scheme == "Bearer" else None
        if token is None:
            raise _unauthenticated("CREDENTIALS_MISSING" if not text else "ACCESS_TOKEN_INVALID")
        if token.refused or token.expires <= now():
            raise _unauthenticated("ACCESS_TOKEN_EXPIRED")
        if self._store.disabled:
            raise _denied(self._store.disabled, "It is not possible.")
        if self._store.granted is not None and token.principal not in self._store.granted:
            raise _denied("IAM_PERMISSION_DENIED", "Permission denied on resource.")

    # Operations

    async def _access(self, request: Any) -> Any:
        secret, version = self._version(request.name, "secretmanager.versions.access")
        if version.state != State.ENABLED:
            raise Refusal(
                Code.FAILED_PRECONDITION,
                f"Secret Version [{secret.path}/versions/{version.number}] is in "
                f"{version.state.name} state.",
            )
        return service.AccessSecretVersionResponse(
            name=f"{secret.path}/versions/{version.number}",
            payload=resources.SecretPayload(data=version.data, data_crc32c=checksum(version)),
        )

    async def _get_version(self, request: Any) -> Any:
        return _shown(*self._version(request.name, "secretmanager.versions.get"))

    async def _list_versions(self, request: Any) -> Any:
        secret = self._secret(request.parent, "secretmanager.versions.list")
        wanted = request.filter.removeprefix("state:")
        newest_first = secret.versions[::-1]
        start = int(request.page_token or 0)
        end = start + (request.page_size or _PAGE)
        # What is filtered makes a page shorter, or empty: nothing promises that it does not.
        page = [
            _shown(secret, version)
            for version in newest_first[start:end]
            if not wanted or version.state.name == wanted
        ]
        return service.ListSecretVersionsResponse(
            versions=page, next_page_token=str(end) if end < len(newest_first) else ""
        )

    async def _get_secret(self, request: Any) -> Any:
        secret = self._secret(request.name, "secretmanager.secrets.get")
        return _described(secret)

    async def _list_secrets(self, request: Any) -> Any:
        parent = request.parent.replace(PROJECT_NUMBER, PROJECT, 1)
        if self._store.is_denied("secretmanager.secrets.list", "*"):
            raise _denied("IAM_PERMISSION_DENIED", "Permission 'secretmanager.secrets.list' denied")
        found = sorted(
            (
                secret
                for key, secret in self._store.secrets.items()
                if secret.parent == parent and _passes(secret, request.filter)
            ),
            key=lambda secret: secret.name,
        )
        start = int(request.page_token or 0)
        end = start + min(request.page_size or _PAGE, 25_000)
        return service.ListSecretsResponse(
            secrets=[_described(secret) for secret in found[start:end]],
            next_page_token=str(end) if end < len(found) else "",
            total_size=len(found),
        )

    def _secret(self, path: str, permission: str) -> Secret:
        parts = NAME.fullmatch(path)
        if parts is None or not parts["secret"]:
            raise Refusal(Code.INVALID_ARGUMENT, "The provided name does not match the pattern.")
        if self._store.is_denied(permission, parts["secret"]):
            raise _denied("IAM_PERMISSION_DENIED", f"Permission '{permission}' denied for {path}")
        parent = path.partition("/secrets/")[0]
        secret = self._store.find(parent, parts["secret"])
        if secret is None or (not secret.versions and parts["version"] == "latest"):
            name = path.partition("/versions/")[0]
            raise Refusal(Code.NOT_FOUND, f"Secret [{name}] not found or has no versions.")
        return secret

    def _version(self, path: str, permission: str) -> tuple[Secret, Any]:
        secret = self._secret(path, permission)
        wanted = path.rpartition("/versions/")[2]
        version = secret.version(wanted)
        if version is None:
            raise Refusal(
                Code.NOT_FOUND, f"Secret Version [{secret.path}/versions/{wanted}] not found."
            )
        return secret, version


async def _end(context: Any, refusal: Refusal) -> NoReturn:
    details = []
    for detail in refusal.details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        details.append(packed)
    status = status_pb2.Status(code=refusal.code.value[0], message=refusal.message, details=details)
    await context.abort(
        refusal.code,
        refusal.message,
        trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),),
    )
    raise AssertionError("abort raises")


def _denied(reason: str, message: str) -> Refusal:
    domain = "iam.googleapis.com" if reason.startswith("IAM") else "googleapis.com"
    info = error_details_pb2.ErrorInfo(reason=reason, domain=domain)
    return Refusal(Code.PERMISSION_DENIED, message, info)


def _unauthenticated(reason: str) -> Refusal:
    info = error_details_pb2.ErrorInfo(reason=reason, domain="googleapis.com")
    return Refusal(Code.UNAUTHENTICATED, "Request had invalid authentication credentials.", info)


def _shown(secret: Secret, version: Any) -> Any:
    return resources.SecretVersion(
        name=f"{secret.path}/versions/{version.number}",
        create_time=version.created,
        state=version.state,
        etag=f'"{version.number}"',
    )


def _described(secret: Secret) -> Any:
    return resources.Secret(
        name=secret.path,
        labels=secret.labels,
        annotations=secret.annotations,
        create_time=secret.created,
        version_aliases=secret.aliases,
        **({"expire_time": secret.expires} if secret.expires else {}),
    )


def _passes(secret: Secret, written: str) -> bool:
    """Filters as the documentation has them: ``name:part`` and ``labels.key=value``, by AND."""
    for term in written.split(" AND ") if written else ():
        if match := re.fullmatch(r"name:(\S+)", term):
            if match[1].lower() not in secret.name.lower():
                return False
        elif match := re.fullmatch(r"labels\.([^\s=]+)=(\S+)", term):
            if secret.labels.get(match[1]) != match[2]:
                return False
        else:
            raise Refusal(Code.INVALID_ARGUMENT, "Invalid filter.")
    return True
