"""The scenario ``stores``: each provider's client beside the plain SDK, against its real part.

Everything that reads is a process of its own (``load.storeclient``), so CPU and memory are those of
the client. The SDK does the same work in the same number of calls in flight, right before or after,
against the same server: what counts is the ratio.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from contract.azurekv import CLIENT as AZURE_CLIENT
from contract.azurekv import SECRET as AZURE_SECRET
from contract.azurekv import AzureHarness, AzurePart
from load.bench import Bench
from testbed.gcp.handle import PROJECT, Account, Gcp
from testbed.moto import ACCESS_KEY, REGION, SECRET_KEY, Moto
from testbed.processes import Processes
from testbed.vault import Vault

#: The targets of the issue: our time to the SDK's; MiB of one more store; of a start, with seconds.
_RATIO: Final = 1.2
_EACH: Final = 1.0
_MEMORY: Final = 120.0
_START: Final = 1.5

_STORES: Final = 100


@dataclass(frozen=True)
class Shelf:
    """A store with secrets on it."""

    provider: str
    spec: dict[str, Any]
    credentials: dict[str, str]
    keys: list[str]


Opened = AbstractAsyncContextManager[Shelf]


async def stores(bench: Bench, _: AbstractSet[str]) -> None:
    """Every provider in turn."""
    for name, shelf in SHELVES.items():
        async with shelf(bench.size(1_000)) as opened:
            await _measure(bench, name, opened)


async def _measure(bench: Bench, name: str, shelf: Shelf) -> None:
    scenario, count = f"stores: {name}", len(shelf.keys)
    bench.progress.say(f"{name}: reading {count:,} values")
    ours = await _run(shelf)
    plain = await _run(shelf, kind=name)
    again = await _run(shelf)
    many = await _run(shelf, stores=_STORES)
    add = bench.report.add
    for what in ("cold", "unchanged"):
        wall = min(ours[f"{what} wall"], again[f"{what} wall"])
        cpu = min(ours[f"{what} cpu"], again[f"{what} cpu"])
        add(scenario, f"{what}, values in a second", count / wall)
        add(scenario, f"{what}, CPU of a value", cpu * 1000 / count, "ms")
        add(scenario, f"{what}, wall to the SDK's", wall / plain["cold wall"], target=_RATIO)
        add(scenario, f"{what}, CPU to the SDK's", cpu / plain["cold cpu"], target=_RATIO)
    add(scenario, "one more store", many["each"], "MiB", target=_EACH)
    add(scenario, "start and first check", min(ours["start"], again["start"]), "s", target=_START)
    add(scenario, "memory after it", ours["memory"], "MiB", target=_MEMORY)
    bench.report.detail(scenario, ours=ours, again=again, sdk=plain, many=many)


async def _run(shelf: Shelf, **how: Any) -> dict[str, float]:
    task = {
        "provider": shelf.provider,
        "spec": shelf.spec,
        "credentials": shelf.credentials,
        "keys": shelf.keys,
        **how,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "load.storeclient",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate(json.dumps(task).encode())
    if process.returncode:
        raise RuntimeError(f"the reader of {shelf.provider} ended with {process.returncode}")
    figures: dict[str, float] = json.loads(out)
    return figures


@contextmanager
def _processes() -> Iterator[Processes]:
    with TemporaryDirectory(prefix="syncret-load-") as logs:
        processes = Processes(Path(logs))
        try:
            yield processes
        finally:
            processes.stop()


@asynccontextmanager
async def _secrets_manager(size: int) -> AsyncIterator[Shelf]:
    with _processes() as processes:
        moto = Moto(processes)
        client = moto.client("secretsmanager")
        keys = [f"bench/{number}" for number in range(size)]

        def put() -> None:
            for key in keys:
                client.create_secret(Name=key, SecretString=f"value of {key}")

        await asyncio.to_thread(put)
        yield _aws("SecretsManager", moto, keys)


@asynccontextmanager
async def _parameter_store(size: int) -> AsyncIterator[Shelf]:
    with _processes() as processes:
        moto = Moto(processes)
        client = moto.client("ssm")
        keys = [f"/bench/{number}" for number in range(size)]

        def put() -> None:
            for key in keys:
                client.put_parameter(Name=key, Value=f"value of {key}", Type="SecureString")

        await asyncio.to_thread(put)
        yield _aws("ParameterStore", moto, keys)


def _aws(service: str, moto: Moto, keys: list[str]) -> Shelf:
    reference = {"name": "aws", "namespace": "syncret"}
    selectors = {
        "accessKeyIDSecretRef": {**reference, "key": "id"},
        "secretAccessKeySecretRef": {**reference, "key": "secret"},
    }
    spec = {
        "service": service,
        "region": REGION,
        "endpoint": moto.endpoint,
        "auth": {"secretRef": selectors},
    }
    return Shelf("aws", spec, {"accessKeyID": ACCESS_KEY, "secretAccessKey": SECRET_KEY}, keys)


@asynccontextmanager
async def _vault(size: int) -> AsyncIterator[Shelf]:
    with _processes() as processes:
        vault = Vault(processes)
        keys = [f"bench/{number}" for number in range(size)]

        def put() -> None:
            for key in keys:
                vault.call("POST", f"secret/data/{key}", {"data": {"value": f"value of {key}"}})

        await asyncio.to_thread(put)
        vault.policy("bench", 'path "secret/*" { capabilities = ["read"] }')
        reference = {"name": "vault", "namespace": "syncret", "key": "token"}
        yield Shelf(
            "vault",
            {"server": vault.address, "path": "secret", "auth": {"tokenSecretRef": reference}},
            {"token": vault.make_token(policies=["bench"])},
            keys,
        )


@asynccontextmanager
async def _secret_manager(size: int) -> AsyncIterator[Shelf]:
    with _processes() as processes:
        gcp, account = Gcp(processes), Account()
        gcp.account(email=account.email, key=account.public, key_id=account.key_id)
        keys = [f"bench-{number}" for number in range(size)]

        def put() -> None:
            for key in keys:
                gcp.put(key, f"value of {key}".encode())

        await asyncio.to_thread(put)
        reference = {"name": "google", "namespace": "syncret", "key": "key.json"}
        yield Shelf(
            "gcpsm",
            {
                "projectID": PROJECT,
                "endpoint": gcp.endpoint,
                "auth": {"secretRef": {"secretAccessKeySecretRef": reference}},
            },
            {"secretAccessKey": account.key_file(f"{gcp.http}/token").decode()},
            keys,
        )


@asynccontextmanager
async def _key_vault(size: int) -> AsyncIterator[Shelf]:
    """Our stand-in, which runs in this process: its CPU is not that of the readers."""
    with TemporaryDirectory(prefix="syncret-load-") as folder:
        azure = AzureHarness(AzurePart(Path(folder)))
        try:
            keys = [f"bench-{number}" for number in range(size)]
            for key in keys:
                azure.vault.set_secret(key, f"value of {key}")
            reference = {"name": "azure", "namespace": "syncret", "key": "any"}
            yield Shelf(
                "azurekv",
                azure.spec(authSecretRef={"clientId": reference, "clientSecret": reference}),
                {"clientId": AZURE_CLIENT, "clientSecret": AZURE_SECRET},
                keys,
            )
        finally:
            azure.close()


#: By the names of ``load.sdk.READERS``.
SHELVES: Final[dict[str, Callable[[int], Opened]]] = {
    "aws-secrets-manager": _secrets_manager,
    "aws-parameter-store": _parameter_store,
    "vault": _vault,
    "gcp-secret-manager": _secret_manager,
    "azure-key-vault": _key_vault,
}
