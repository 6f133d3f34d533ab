"""gRPC: one connection for all stores of an endpoint, and answers that show no secret.

The identity of a store is in the metadata of each call, not in the channel, so stores of one
endpoint share a channel and a client of the SDK: a channel costs a connection and its keep-alives,
a client half a megabyte. Nothing in here waits for another call: HTTP/2 carries a hundred at once.

Answers are sealed as soon as they are read. The SDK's own messages print their content, asyncio in
debug mode prints the results of tasks, and the SDK's interceptor prints both at DEBUG; so its
loggers are kept at WARNING whatever the root logger says.
"""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc
import grpc.aio
from google.cloud.secretmanager_v1.services.secret_manager_service.async_client import (
    SecretManagerServiceAsyncClient,
)
from google.cloud.secretmanager_v1.services.secret_manager_service.transports.grpc_asyncio import (
    SecretManagerServiceGrpcAsyncIOTransport,
)
from google.cloud.secretmanager_v1.types import resources, service
from google.protobuf.message import DecodeError

from syncret import __version__

_SERVICE: Final = "/google.cloud.secretmanager.v1.SecretManagerService/"
_LOGGERS: Final = ("google", "grpc", "urllib3")

#: Bytes of an answer: a page of a search with the most that labels and annotations can hold.
_LARGEST: Final = 32 * 1024 * 1024

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _LARGEST),
    ("grpc.primary_user_agent", f"syncret/{__version__}"),
    # A connection that died without a word is noticed while calls wait for it.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # The work queue has longer delays; here a store that is back is to be reached soon.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_http_proxy", 1),
)


class Sealed:
    """An answer; ``message`` is the protocol buffer, None if it could not be read as one."""

    __slots__ = ("message",)

    def __init__(self, message: Any) -> None:
        self.message = message

    def __repr__(self) -> str:
        return "Sealed(…)"


def _sealed(kind: Any, raw: bytes) -> Sealed:
    """Raises nothing: gRPC would log the traceback."""
    try:
        return Sealed(kind.pb().FromString(raw))
    except DecodeError:
        return Sealed(None)


class _Transport(SecretManagerServiceGrpcAsyncIOTransport):
    """The SDK's transport, but for how the answers of what we call are read."""

    def _stub(self, method: str, request: Any, answer: Any) -> Any:
        if method not in self._stubs:
            self._stubs[method] = self._logged_channel.unary_unary(
                _SERVICE + method,
                request_serializer=request.serialize,
                response_deserializer=partial(_sealed, answer),
            )
        return self._stubs[method]

    @property
    def access_secret_version(self) -> Any:
        return self._stub(
            "AccessSecretVersion",
            service.AccessSecretVersionRequest,
            service.AccessSecretVersionResponse,
        )

    @property
    def get_secret_version(self) -> Any:
        return self._stub(
            "GetSecretVersion", service.GetSecretVersionRequest, resources.SecretVersion
        )

    @property
    def list_secret_versions(self) -> Any:
        return self._stub(
            "ListSecretVersions",
            service.ListSecretVersionsRequest,
            service.ListSecretVersionsResponse,
        )

    @property
    def get_secret(self) -> Any:
        return self._stub("GetSecret", service.GetSecretRequest, resources.Secret)

    @property
    def list_secrets(self) -> Any:
        return self._stub("ListSecrets", service.ListSecretsRequest, service.ListSecretsResponse)


@dataclass(slots=True)
class _Open:
    client: SecretManagerServiceAsyncClient
    channel: Any
    users: int = 0


class Channels:
    """The clients by endpoint; each lives as long as a store uses it. For one event loop."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, bool], _Open] = {}
        self._tls: Any = None

    def acquire(self, target: tuple[str, bool]) -> SecretManagerServiceAsyncClient:
        """A client of that host; :meth:`release` gives it back."""
        found = self._open.get(target)
        if found is None:
            channel = self._channel(target)
            transport = _Transport(channel=channel, host=target[0])
            client = SecretManagerServiceAsyncClient(transport=transport)
            found = self._open[target] = _Open(client, channel)
        found.users += 1
        return found.client

    async def release(self, target: tuple[str, bool]) -> None:
        found = self._open[target]
        found.users -= 1
        if found.users == 0:
            del self._open[target]
            await found.channel.close()

    def _channel(self, target: tuple[str, bool]) -> Any:
        host, secure = target
        if not secure:
            return grpc.aio.insecure_channel(host, options=_OPTIONS)
        if self._tls is None:
            self._tls = grpc.ssl_channel_credentials()
        return grpc.aio.secure_channel(host, self._tls, options=_OPTIONS)


def quiet() -> None:
    """Keeps the loggers of the SDKs from printing contents."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:  # NOTSET included: it would ask the root
            logger.setLevel(logging.WARNING)
