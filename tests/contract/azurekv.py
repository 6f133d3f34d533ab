"""Azure Key Vault for the contract suite: our stand-in of it behind TLS, driven by the real SDK."""

import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from contract.harness import RETRY_AFTER, Ability, Fault, Identity, Lacks, Observations
from contract.proxy import Action, Hang, Proxy, Reply, Request, Reset, Trickle
from syncret.providers.azurekv.errors import LOGIN
from syncret.providers.azurekv.provider import AzureProvider
from syncret.providers.azurekv.timing import Timing
from syncret.providers.base import CallObserver, Client, SecretValue, ServiceAccount
from testbed.azure import RESOURCE, Azure
from testbed.azureentra import TENANT
from testbed.azurevault import Answer, error
from testbed.controlplane import free_ports
from testbed.pki import Authority

PATIENT = Timing(connect=10.0, read=20.0, total=60.0, attempts=1)
HASTY = Timing(connect=1.0, read=1.0, total=2.0, attempts=1)

CLIENT = "44444444-4444-4444-4444-444444444444"
UNKNOWN_CLIENT = "55555555-5555-5555-5555-555555555555"
SECRET = "fake-client-secret"
EXPIRED_SECRET = "fake-expired-client-secret"

_JSON = {"Content-Type": "application/json; charset=utf-8"}


class AzurePart:
    """The certificates of the stand-in, which are costly to make."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        pair = authority.server("azure")
        self.ca = authority.ca.read_bytes()
        self.authority = authority
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.tls.load_cert_chain(pair.cert, pair.key)


class AzureHarness:
    """One test's vault, with a tenant of its own."""

    name = "azurekv"
    separator = "-"
    max_bytes = 25 * 1024
    takes_binary = False
    missing_version = "0" * 32
    lacks: ClassVar[Lacks] = {Ability.ANY_NAMES: "names have ASCII letters, digits and - only"}
    credentials: tuple[str, ...] = (SECRET, EXPIRED_SECRET, "fake-access-token")

    def __init__(self, part: AzurePart) -> None:
        self.part = part
        self.azure = Azure()
        self.vault = self.azure.vault
        self.entra = self.azure.entra
        self.entra.app(CLIENT, secrets={SECRET: float("inf"), EXPIRED_SECRET: time.time() - 1})
        self.fault: Action | Callable[[Request], Action | None] | None = None
        self.proxy = Proxy("", tls=part.tls)  # its last rule has the answer to everything
        self.azure.at(self.proxy.url)
        self.proxy.rules = [self._fault, self._answer]

    # What the suite asks for

    def put(self, key: str, value: bytes) -> str:
        return self.vault.set_secret(key, value.decode())

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        self.vault.update("secrets", key, tags=dict(tags))

    def delete(self, key: str) -> None:
        self.vault.delete(key)

    async def open(
        self,
        observe: Observations,
        *,
        identity: Identity = Identity.GOOD,
        reachable: bool = True,
        hasty: bool = False,
        timing: Timing | None = None,
    ) -> Client:
        """The suite counts calls to the vault; logins are counted by the stand-in."""
        reference = {"name": "azure", "key": "any"}
        spec = self.spec(authSecretRef={"clientId": reference, "clientSecret": reference})
        if not reachable:
            spec["vaultUrl"] = f"https://127.0.0.1:{free_ports(1)[0]}"
        who = UNKNOWN_CLIENT if identity is Identity.UNKNOWN else CLIENT
        secret = EXPIRED_SECRET if identity is Identity.EXPIRED else SECRET
        return await self.client(
            spec,
            {"clientId": who, "clientSecret": secret},
            observe=_without_logins(observe),
            timing=timing or (HASTY if hasty else PATIENT),
        )

    def fail(self, fault: Fault | None, *, saying: str = "") -> None:
        self.fault = None if fault is None else _action(fault, saying)

    def deny(self, key: str) -> None:
        self.vault.denied.add(("secrets", key))

    @property
    def requests(self) -> int:
        """Those to the vault, without the one that only asks where to log in."""
        return len(self.asked)

    def close(self) -> None:
        self.proxy.close()

    # What the tests of Azure alone ask for

    def spec(self, **more: Any) -> dict[str, Any]:
        """``spec.provider.azurekv`` for the stand-in, which is a private cloud."""
        return {
            "vaultUrl": self.proxy.url,
            "tenantId": TENANT,
            "environmentType": "AzureStackCloud",
            "customCloudConfig": {
                "activeDirectoryEndpoint": self.proxy.url,
                "keyVaultEndpoint": RESOURCE,
            },
            "caBundle": self.part.ca.decode(),
        } | more

    async def client(
        self,
        spec: Mapping[str, Any],
        credentials: Mapping[str, str | bytes] | None = None,
        *,
        observe: CallObserver,
        accounts: Mapping[str, ServiceAccount] | None = None,
        timing: Timing = PATIENT,
    ) -> Client:
        """A client of any spec."""
        provider = AzureProvider(timing=timing)
        config = provider.parse(spec, cluster_scoped=True)
        given = {
            name: SecretValue(value.encode() if isinstance(value, str) else value)
            for name, value in (credentials or {}).items()
        }
        return await provider.open(config, given, observe=observe, accounts=accounts or {})

    @property
    def asked(self) -> list[str]:
        """The paths that the vault was asked for with a token, in the order of arrival."""
        return [
            unquote(urlsplit(request.path).path)
            for request in self.proxy.requests
            if "Authorization" in request.headers or self.fault is not None
        ]

    def _fault(self, request: Request) -> Action | None:
        return self.fault(request) if callable(self.fault) else self.fault

    def _answer(self, request: Request) -> Action:
        return reply(self.azure.answer(request.method, request.path, request.headers, request.raw))


def reply(answer: Answer) -> Reply:
    """An answer of the stand-in as the proxy sends it."""
    return Reply(answer.status, answer.body, answer.headers)


def _without_logins(observe: CallObserver) -> CallObserver:
    def told(*, operation: str, outcome: str, seconds: float) -> None:
        if operation != LOGIN:
            observe(operation=operation, outcome=outcome, seconds=seconds)

    return told


def _action(fault: Fault, saying: str) -> Action:
    actions: dict[Fault, Action] = {
        Fault.THROTTLED: reply(error(429, "Throttled", saying, Retry_After=str(int(RETRY_AFTER)))),
        Fault.INTERNAL_ERROR: reply(error(500, "InternalServerError", saying)),
        Fault.HANGS: Hang(),
        Fault.TRICKLES: Trickle(every=HASTY.read / 10),
        Fault.RESET: Reset(b'{"value": "' + saying.encode()),
        Fault.NOT_JSON: Reply(200, f'{{"value": "{saying}'.encode(), _JSON),
        Fault.NOT_THE_STORE: Reply(
            404, f"<html>Not Found {saying}</html>".encode(), {"Content-Type": "text/html"}
        ),
    }
    return actions[fault]
