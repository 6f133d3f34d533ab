"""The controls: what the plain SDK of each store does at its best, without anything of ours.

The same connections in flight as our client has, one client for all, batches where there are any.
"""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import aiohttp


class Task(Protocol):
    """What is read, and as whom: see ``load.storeclient``."""

    @property
    def spec(self) -> dict[str, Any]: ...

    @property
    def credentials(self) -> dict[str, str]: ...

    @property
    def keys(self) -> list[str]: ...


Timed = Callable[[Callable[[], None]], dict[str, float]]

#: Calls in flight: those of our client.
_THREADS: Final = 4
_STREAMS: Final = 64
_SOCKETS: Final = 16

#: Calls in a second that an account has of Parameter Store; moto would answer more, AWS does not.
_SSM_QUOTA: Final = 40


def secrets_manager(task: Task, timed: Timed) -> dict[str, float]:
    """BatchGetSecretValue, twenty at a time."""
    client = _boto("secretsmanager", task)
    parts = _parts(task.keys, 20)

    def one(part: list[str]) -> None:
        answer = client.batch_get_secret_value(SecretIdList=part)
        assert len([entry["SecretString"] for entry in answer["SecretValues"]]) == len(part)

    return _threaded(one, parts, timed)


def parameter_store(task: Task, timed: Timed) -> dict[str, float]:
    """GetParameters, ten at a time, and as many calls in a second as AWS answers."""
    client = _boto("ssm", task)
    lock, begins = threading.Lock(), 0.0

    def turn() -> None:
        nonlocal begins
        with lock:
            begins = max(begins, time.monotonic()) + 1 / _SSM_QUOTA
            wait = begins - time.monotonic()
        time.sleep(wait)

    def one(part: list[str]) -> None:
        turn()
        answer = client.get_parameters(Names=part, WithDecryption=True)
        assert len([entry["Value"] for entry in answer["Parameters"]]) == len(part)

    return _threaded(one, _parts(task.keys, 10), timed)


def key_vault(task: Task, timed: Timed) -> dict[str, float]:
    """GetSecret, by the SDK's asyncio client: Key Vault has no batch."""
    with asyncio.Runner() as runner:
        client, close = runner.run(_key_vault_client(task))

        async def all_of_them() -> None:
            turns = asyncio.Semaphore(_SOCKETS)

            async def one(key: str) -> None:
                async with turns:
                    assert (await client.get_secret(key)).value

            await asyncio.gather(*map(one, task.keys))

        figures = timed(lambda: runner.run(all_of_them()))
        runner.run(close())
    return figures


async def _key_vault_client(task: Task) -> tuple[Any, Callable[[], Coroutine[Any, Any, None]]]:
    from azure.core.pipeline.transport import AioHttpTransport
    from azure.identity.aio import ClientSecretCredential
    from azure.keyvault.secrets.aio import SecretClient

    # The session that the SDK makes by default, but for the CA: its own way to trust one reads the
    # file for each request.
    context = ssl.create_default_context(cadata=task.spec["caBundle"])
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=_SOCKETS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=True,
    )

    def transport() -> Any:
        return AioHttpTransport(session=session, session_owner=False)

    credential = ClientSecretCredential(
        task.spec["tenantId"],
        task.credentials["clientId"],
        task.credentials["clientSecret"],
        authority=task.spec["customCloudConfig"]["activeDirectoryEndpoint"],
        transport=transport(),
    )
    client = SecretClient(
        task.spec["vaultUrl"], credential, transport=transport(), verify_challenge_resource=False
    )
    return client, session.close


def _boto(service: str, task: Task) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,
        region_name=task.spec["region"],
        endpoint_url=task.spec["endpoint"],
        aws_access_key_id=task.credentials["accessKeyID"],
        aws_secret_access_key=task.credentials["secretAccessKey"],
        config=Config(max_pool_connections=_THREADS),
    )


def vault(task: Task, timed: Timed) -> dict[str, float]:
    """hvac, a secret in a call: there is no batch."""
    import hvac

    client = hvac.Client(url=task.spec["server"], token=task.credentials["token"])

    def one(part: list[str]) -> None:
        answer = client.secrets.kv.v2.read_secret_version(
            part[0], mount_point=task.spec["path"], raise_on_deleted_version=False
        )
        assert answer["data"]["data"]["value"]

    return _threaded(one, _parts(task.keys, 1), timed)


def _parts(keys: list[str], size: int) -> list[list[str]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def _threaded(
    one: Callable[[list[str]], None], parts: list[list[str]], timed: Timed
) -> dict[str, float]:
    with ThreadPoolExecutor(_THREADS) as pool:

        def all_of_them() -> None:
            for done in [pool.submit(one, part) for part in parts]:
                done.result()

        return timed(all_of_them)


def secret_manager(task: Task, timed: Timed) -> dict[str, float]:
    """AccessSecretVersion, as many at once as our client makes, with one token for all."""
    import grpc.aio
    import urllib3
    from google.auth.transport.urllib3 import Request
    from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
    from google.cloud.secretmanager_v1.services.secret_manager_service import transports
    from google.oauth2 import service_account

    account: Any = service_account.Credentials
    request: Any = Request
    made = account.from_service_account_info(
        json.loads(task.credentials["secretAccessKey"]),
        scopes=["https://www.googleapis.com/auth/cloud-platform"],
    )
    made.refresh(request(urllib3.PoolManager()))
    metadata = (("authorization", f"Bearer {made.token}"),)
    project = task.spec["projectID"]

    async def connect() -> SecretManagerServiceAsyncClient:
        channel = grpc.aio.insecure_channel(task.spec["endpoint"].removeprefix("http://"))
        transport = transports.SecretManagerServiceGrpcAsyncIOTransport(channel=channel)
        return SecretManagerServiceAsyncClient(transport=transport)

    async def read(client: SecretManagerServiceAsyncClient) -> None:
        turns = asyncio.Semaphore(_STREAMS)

        async def one(key: str) -> None:
            name = f"projects/{project}/secrets/{key}/versions/latest"
            async with turns:
                answer = await client.access_secret_version(name=name, metadata=metadata)
            assert answer.payload.data

        await asyncio.gather(*(one(key) for key in task.keys))

    with asyncio.Runner() as runner:
        client = runner.run(connect())
        return timed(lambda: runner.run(read(client)))


#: By the name under which the benchmark knows the store.
READERS: Final[Mapping[str, Callable[[Task, Timed], dict[str, float]]]] = {
    "aws-secrets-manager": secrets_manager,
    "aws-parameter-store": parameter_store,
    "vault": vault,
    "gcp-secret-manager": secret_manager,
    "azure-key-vault": key_vault,
}
