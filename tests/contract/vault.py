"""Vault for the contract suite: a real server behind a proxy that makes it fail."""

import contextlib
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from contract.harness import RETRY_AFTER, Fault, Identity, Observations
from contract.proxy import Action, Hang, Proxy, Reply, Request, Reset, Trickle
from syncret.providers.base import (
    NOTHING_KNOWN,
    Client,
    Found,
    Known,
    Outcome,
    Query,
    Ref,
    SecretValue,
)
from syncret.providers.vault.provider import VaultProvider
from syncret.providers.vault.timing import Timing
from testbed.controlplane import free_ports
from testbed.vault import Vault, VaultError

#: Nothing is looked up in the background: tests count calls.
PATIENT = Timing(connect=10.0, read=20.0, call=40.0, total=60.0, attempts=1, look=3600.0)
HASTY = Timing(connect=1.0, read=1.0, call=30.0, total=2.0, attempts=1, look=3600.0)

MOUNT = "secret"
UNKNOWN_TOKEN = "hvs.fake-token-that-nobody-has-made"

_TYPE = {"Content-Type": "application/json"}


def error_reply(status: int, *errors: str, **headers: str) -> Reply:
    """An error as Vault words it."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps({"errors": list(errors)}).encode(), {**_TYPE, **more})


class VaultHarness:
    """One test's view of Vault."""

    name = "vault"
    separator = "/"
    max_bytes = 512 * 1024
    takes_binary = False
    missing_version = "99"

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.proxy = Proxy(vault.address)
        self.fault: Action | Callable[[Request], Action | None] | None = None
        self.proxy.rules = [self._fault]
        self.policy = f"contract-{uuid4().hex[:12]}"
        self._denied: list[str] = []
        self._write_policy()
        self.token = vault.make_token(policies=[self.policy], ttl="1h")
        self._expired = vault.make_token(policies=[self.policy], ttl="1h")
        vault.call("POST", "auth/token/revoke", {"token": self._expired})
        self.credentials: tuple[str, ...] = (self.token, self._expired, UNKNOWN_TOKEN)

    def put(self, key: str, value: bytes) -> str:
        made = self.vault.call(
            "POST", f"{MOUNT}/data/{quote(key)}", {"data": {"value": value.decode()}}
        )
        return str(made["data"]["version"])

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        path = f"{MOUNT}/metadata/{quote(key)}"
        about = self.vault.call("GET", path)["data"]["custom_metadata"] or {}
        self.vault.call("POST", path, {"custom_metadata": {**about, **tags}})

    def delete(self, key: str) -> None:
        """With all its versions: a secret whose current version alone is deleted is still listed,
        see ``test_vault.py``."""
        self.vault.call("DELETE", f"{MOUNT}/metadata/{quote(key)}")

    async def open(
        self,
        observe: Observations,
        *,
        identity: Identity = Identity.GOOD,
        reachable: bool = True,
        hasty: bool = False,
    ) -> Client:
        provider = VaultProvider(timing=HASTY if hasty else PATIENT)
        server = self.proxy.url if reachable else f"http://127.0.0.1:{free_ports(1)[0]}"
        config = provider.parse(
            {
                "server": server,
                "path": MOUNT,
                "auth": {"tokenSecretRef": {"name": "vault", "key": "token"}},
            },
            cluster_scoped=False,
        )
        token = {
            Identity.GOOD: self.token,
            Identity.UNKNOWN: UNKNOWN_TOKEN,
            Identity.EXPIRED: self._expired,
        }[identity]
        credentials = {"token": SecretValue(token.encode())}
        return FieldClient(await provider.open(config, credentials, observe=observe))

    def fail(self, fault: Fault | None, *, saying: str = "") -> None:
        self.fault = None if fault is None else _action(fault, saying)

    def deny(self, key: str) -> None:
        self._denied.append(key)
        self._write_policy()

    @property
    def requests(self) -> int:
        return len(self.proxy.requests)

    def close(self) -> None:
        self.proxy.close()
        with contextlib.suppress(VaultError):  # a test has done so
            self.vault.call("POST", "auth/token/revoke", {"token": self.token})

    def _fault(self, request: Request) -> Action | None:
        return self.fault(request) if callable(self.fault) else self.fault

    def _write_policy(self) -> None:
        rules = [
            f'path "{MOUNT}/data/*" {{ capabilities = ["read"] }}',
            f'path "{MOUNT}/metadata/*" {{ capabilities = ["read", "list"] }}',
            *(f'path "{MOUNT}/data/{key}" {{ capabilities = ["deny"] }}' for key in self._denied),
        ]
        self.vault.policy(self.policy, "\n".join(rules))


class FieldClient:
    """A client whose values are one field of the secrets.

    A secret of Vault is an object of fields, never a text of its own. What the suite puts is the
    field ``value``, and what it compares is that field, as the engine's ``property`` takes it out.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.limits = client.limits

    async def fetch(
        self, refs: Collection[Ref], *, known: Known = NOTHING_KNOWN
    ) -> Mapping[Ref, Outcome]:
        outcomes = await self._client.fetch(refs, known=known)
        return {ref: _field(ref, outcome) for ref, outcome in outcomes.items()}

    async def find(self, query: Query, *, page: str = "") -> Found:
        return await self._client.find(query, page=page)

    async def check(self) -> None:
        await self._client.check()

    async def close(self) -> None:
        await self._client.close()


def _field(ref: Ref, outcome: Outcome) -> Outcome:
    if ref.metadata or not isinstance(outcome, SecretValue):
        return outcome
    fields: Any = json.loads(outcome.reveal())
    return SecretValue(
        fields["value"].encode(),
        version=outcome.version,
        created=outcome.created,
        expires=outcome.expires,
        tags=outcome.tags,
    )


def _action(fault: Fault, saying: str) -> Action:
    actions: dict[Fault, Action] = {
        Fault.THROTTLED: error_reply(
            429, f"rate limit quota exceeded {saying}", Retry_After=str(int(RETRY_AFTER))
        ),
        Fault.INTERNAL_ERROR: error_reply(500, f"internal error {saying}"),
        Fault.HANGS: Hang(),
        Fault.TRICKLES: Trickle(every=HASTY.read / 10),
        Fault.RESET: Reset(b'{"data": {"data": {"value": "' + saying.encode()),
        Fault.NOT_JSON: Reply(200, f'{{"data": {{"data": "{saying}'.encode(), _TYPE),
        Fault.NOT_THE_STORE: Reply(
            404, f"<html>Not Found {saying}</html>".encode(), {"Content-Type": "text/html"}
        ),
    }
    return actions[fault]
