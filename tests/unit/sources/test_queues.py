"""The queues of the other clouds, each by its real SDK, against stand-ins that speak its protocol.

Neither Google's nor Azure's queue, nor a Vault with its event stream (Enterprise), can be run here.
The stand-ins follow the published protocols; what the real services do besides was not seen.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from aiohttp import WSMsgType, web
from google.protobuf import empty_pb2
from google.pubsub_v1.types import pubsub

from syncret.errors import AccessDenied, ProviderRejected, ProviderUnavailable
from syncret.sources.config import PubSub, StorageQueue, VaultEvents
from syncret.sources.pubsub import PubSubQueue
from syncret.sources.storagequeue import AzureQueue
from syncret.sources.vaultevents import VaultStream
from unit.sources.shapes import AZURE, GOOGLE, VAULT

NAME = "projects/acme/subscriptions/syncret"


class Subscriber:
    """Google's Subscriber service: Pull and Acknowledge of one subscription."""

    def __init__(self) -> None:
        self.messages = {
            "ack-1": pubsub.PubsubMessage(data=b"{}", attributes=GOOGLE),
            "ack-2": pubsub.PubsubMessage(data=b"no event", message_id="17"),
        }
        self.attempt = 7

    async def start(self) -> str:
        self.server = grpc.aio.server()
        handlers = {
            "Pull": grpc.unary_unary_rpc_method_handler(
                self.pull,
                request_deserializer=pubsub.PullRequest.deserialize,
                response_serializer=pubsub.PullResponse.serialize,
            ),
            "Acknowledge": grpc.unary_unary_rpc_method_handler(
                self.acknowledge,
                request_deserializer=pubsub.AcknowledgeRequest.deserialize,
                response_serializer=empty_pb2.Empty.SerializeToString,
            ),
        }
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", handlers),)
        )
        port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()
        return f"http://127.0.0.1:{port}"

    async def pull(self, request: pubsub.PullRequest, context: Any) -> pubsub.PullResponse:
        if request.subscription.endswith("denied"):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
        if request.subscription != NAME:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no")
        return pubsub.PullResponse(
            received_messages=[
                pubsub.ReceivedMessage(ack_id=name, message=message, delivery_attempt=self.attempt)
                for name, message in self.messages.items()
            ]
        )

    async def acknowledge(self, request: pubsub.AcknowledgeRequest, _: Any) -> empty_pb2.Empty:
        for name in request.ack_ids:
            self.messages.pop(name, None)
        return empty_pb2.Empty()


async def test_pub_sub() -> None:
    service = Subscriber()
    endpoint = await service.start()
    queue = PubSubQueue(PubSub(NAME, endpoint))
    try:
        first, second = await queue.receive()
        assert first.attributes == GOOGLE
        assert (second.body, second.deliveries) == (b"no event", 1), "left to the dead-letter topic"
        await queue.acknowledge([first])
        assert list(service.messages) == ["ack-2"]
        service.attempt = 0  # as without a dead-letter topic
        (second,) = await queue.receive()
        assert (second.deliveries, second.id) == (0, "17")
        for name, problem in (("denied", AccessDenied), ("gone", ProviderRejected)):
            other = PubSubQueue(PubSub(f"projects/acme/subscriptions/{name}", endpoint))
            with pytest.raises(problem):
                await other.receive()
            await other.close()
    finally:
        await queue.close()
        await service.server.stop(None)
    gone = PubSubQueue(PubSub(NAME, endpoint))
    with pytest.raises(ProviderUnavailable):
        await gone.receive()
    await gone.close()


class Queue:
    """Azure's Queue service: Get Messages and Delete Message of one queue."""

    def __init__(self) -> None:
        content = base64.b64encode(json.dumps(AZURE).encode()).decode()
        self.messages = {"id-1": content}
        self.status = 200
        self.seen: list[str] = []
        self.taken: set[str] = set()

    async def get(self, request: web.Request) -> web.Response:
        self.seen.append(request.query.get("sig", ""))
        if self.status != 200:
            return web.Response(
                status=self.status,
                headers={"x-ms-error-code": "AuthenticationFailed"},
                content_type="application/xml",
                text="<Error><Code>AuthenticationFailed</Code><Message>no</Message></Error>",
            )
        if request.match_info["queue"] != "syncret":
            return web.Response(
                status=404,
                headers={"x-ms-error-code": "QueueNotFound"},
                content_type="application/xml",
                text="<Error><Code>QueueNotFound</Code><Message>no</Message></Error>",
            )
        at = "Fri, 02 Jan 2026 03:04:05 GMT"
        messages = "".join(
            f"<QueueMessage><MessageId>{name}</MessageId><InsertionTime>{at}</InsertionTime>"
            f"<ExpirationTime>{at}</ExpirationTime><PopReceipt>receipt</PopReceipt>"
            f"<TimeNextVisible>{at}</TimeNextVisible><DequeueCount>3</DequeueCount>"
            f"<MessageText>{text}</MessageText></QueueMessage>"
            for name, text in self.messages.items()
            if name not in self.taken
        )
        self.taken |= set(self.messages)  # for a while, nobody else gets them
        return web.Response(
            content_type="application/xml",
            text=f'<?xml version="1.0"?><QueueMessagesList>{messages}</QueueMessagesList>',
        )

    async def delete(self, request: web.Request) -> web.Response:
        assert request.query["popreceipt"] == "receipt"
        self.messages.pop(request.match_info["id"])
        return web.Response(status=204)


async def serve(*routes: web.RouteDef) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def test_azure_queue(tmp_path: Path) -> None:
    service = Queue()
    runner, url = await serve(
        web.get("/acct/{queue}/messages", service.get),
        web.delete("/acct/{queue}/messages/{id}", service.delete),
    )
    token = tmp_path / "sas"
    token.write_text("?sv=2024-01-01&sig=first\n")
    queue = AzureQueue(StorageQueue(f"{url}/acct/syncret", str(token)))
    try:
        (message,) = await queue.receive()
        assert message.deliveries == 3
        await queue.acknowledge([message])
        assert service.messages == {}
        service.status = 403
        with pytest.raises(AccessDenied):
            await queue.receive()
        service.status = 200
        token.write_text("sv=2024-01-01&sig=second")
        service.messages = {"id-2": "eA=="}
        await queue.receive()
        assert service.seen[-1] == "second", "a replaced token is taken up"
        other = AzureQueue(StorageQueue(f"{url}/acct/gone", str(token)))
        with pytest.raises(ProviderRejected):
            await other.receive()
        unreadable = AzureQueue(StorageQueue(f"{url}/acct/syncret", str(tmp_path / "none")))
        with pytest.raises(AccessDenied):
            await unreadable.receive()
    finally:
        await queue.close()
        await runner.cleanup()


class VaultServer:
    """Vault's login and its stream of events, as Enterprise documents them."""

    def __init__(self) -> None:
        self.sockets: list[web.WebSocketResponse] = []

    async def login(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body != {"role": "syncret", "jwt": "pod-token"}:
            return web.Response(status=400)
        return web.json_response({"auth": {"client_token": "vault-token"}})

    async def subscribe(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["kind"] == "none":
            return web.Response(status=404)
        if request.headers.get("X-Vault-Token") != "vault-token":
            return web.Response(status=403)
        assert request.query["json"] == "true"
        assert request.headers["X-Vault-Namespace"] == "team"
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        await socket.send_str(json.dumps(VAULT))
        async for one in socket:
            assert one.type is not WSMsgType.ERROR
        return socket


@pytest.fixture
async def vault() -> AsyncIterator[tuple[VaultServer, str]]:
    service = VaultServer()
    runner, url = await serve(
        web.post("/v1/auth/kubernetes/login", service.login),
        web.get("/v1/sys/events/subscribe/{kind}", service.subscribe),
    )
    yield service, url
    await runner.cleanup()


async def test_vault_events(vault: tuple[VaultServer, str], tmp_path: Path) -> None:
    service, url = vault
    account = tmp_path / "token"
    account.write_text("pod-token\n")
    config = VaultEvents(url, namespace="team", role="syncret", event_types=("kv*", "database*"))
    stream = VaultStream(config, service_account=account)
    seen: list[Any] = []
    while len(seen) < 2:
        seen += await stream.receive()
    assert [json.loads(one.body) for one in seen] == [VAULT, VAULT]
    await stream.acknowledge(seen)
    await service.sockets[0].close()
    with pytest.raises(ProviderUnavailable):
        await stream.receive()
    assert len(await stream.receive()) >= 1, "it is opened again"
    await stream.close()


async def test_vault_that_denies_or_has_no_events(
    vault: tuple[VaultServer, str], tmp_path: Path
) -> None:
    _, url = vault
    token = tmp_path / "token"
    for content, kind, problem, says in (
        ("vault-token", "none", ProviderRejected, "takes Vault Enterprise 1.16"),
        ("other", "kv*", AccessDenied, "allow read on sys/events/subscribe/kv"),
        ("", "kv*", AccessDenied, "tokenFile"),
    ):
        token.write_text(content)
        config = VaultEvents(url, namespace="team", event_types=(kind,), token_file=str(token))
        stream = VaultStream(config)
        with pytest.raises(problem, match=says):
            await stream.receive()
        await stream.close()
    token.write_text("pod-token")
    for role, mount, problem, says in (
        ("wrong", "kubernetes", AccessDenied, 'role "wrong" of the auth mount "kubernetes"'),
        ("syncret", "none", ProviderRejected, 'no auth mount "none"'),
    ):
        config = VaultEvents(url, namespace="team", role=role, mount=mount)
        stream = VaultStream(config, service_account=token)
        with pytest.raises(problem, match=says):
            await stream.receive()
        await stream.close()
    unreachable = VaultStream(VaultEvents("http://127.0.0.1:9", token_file=str(account(tmp_path))))
    with pytest.raises(ProviderUnavailable):
        await asyncio.wait_for(unreachable.receive(), 10)
    await unreachable.close()


def account(directory: Path) -> Path:
    file = directory / "account"
    file.write_text("vault-token")
    return file
