"""Opening stores of Vault with any spec, and auth methods to log in with."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt
from google.auth import jwt as google_jwt

from contract.harness import Observations
from contract.opened import Opened
from contract.vault import MOUNT, PATIENT, VaultHarness
from syncret.providers.base import Outcome, Ref, SecretValue
from syncret.providers.vault.provider import VaultProvider
from syncret.providers.vault.timing import Timing

CALM = replace(PATIENT, caught_up=(0.01, 0.01, 0.01))
#: With what runs in the background soon, for tokens that live for seconds.
BRISK = replace(CALM, look=0.05, pause=0.05)

SELECTOR = {"name": "vault", "key": "any"}


@dataclass
class Account:
    """A ServiceAccount whose tokens a test makes."""

    make: Callable[[Sequence[str]], str]
    namespace: str = "payments"
    name: str = "app"
    annotations: Mapping[str, str] = field(default_factory=dict)
    asked: list[tuple[tuple[str, ...], int]] = field(default_factory=list)

    async def token(self, audiences: Sequence[str], *, seconds: int = 3600) -> SecretValue:
        self.asked.append((tuple(audiences), seconds))
        expires = datetime.now(UTC) + timedelta(seconds=seconds)
        return SecretValue(self.make(audiences).encode(), expires=expires)


@dataclass
class Stores:
    """Opens stores of one harness; the fixture closes them."""

    vault: VaultHarness
    stack: AsyncExitStack

    async def __call__(
        self,
        auth: Mapping[str, Any],
        secrets: Mapping[str, str | bytes] | None = None,
        *,
        timing: Timing = CALM,
        account: Account | None = None,
        cluster_scoped: bool = False,
        provider: VaultProvider | None = None,
        **spec: Any,
    ) -> Opened:
        """``secrets``: what the selectors name, by the provider's own names."""
        provider = provider or VaultProvider(timing=timing, chance=lambda: 0.5)
        given = {"server": self.vault.proxy.url, "path": MOUNT, **spec, "auth": auth}
        config = provider.parse(
            {name: value for name, value in given.items() if value is not None},
            cluster_scoped=cluster_scoped,
        )
        values = {
            name: SecretValue(value if isinstance(value, bytes) else value.encode())
            for name, value in (secrets or {}).items()
        }
        observed = Observations()
        client = await provider.open(
            config,
            values,
            observe=observed,
            accounts={"serviceAccount": account} if account else {},
        )
        self.stack.push_async_callback(client.close)
        return Opened(client, observed)

    async def with_token(self, token: str = "", **how: Any) -> Opened:
        """A store with a token that is given: that of the harness, or another."""
        return await self({"tokenSecretRef": SELECTOR}, {"token": token or self.vault.token}, **how)

    async def with_app_role(self, how: Mapping[str, Any], **spec: Any) -> Opened:
        """A store that logs in; ``how``: what tokens of the role are like."""
        mount, role_id, secret_id = self.app_role(how)
        return await self(
            {"appRole": {"path": mount, "roleId": role_id, "secretRef": SELECTOR}},
            {"secretId": secret_id},
            **spec,
        )

    def app_role(self, how: Mapping[str, Any]) -> tuple[str, str, str]:
        """An AppRole method of its own: its mount, a role id and a secret id."""
        mount = f"approle-{uuid4().hex[:8]}"
        call = self.vault.vault.call
        self.vault.vault.enable("approle", mount)
        role = f"auth/{mount}/role/app"
        call("POST", role, {"token_policies": [self.vault.policy], **how})
        role_id = call("GET", f"{role}/role-id")["data"]["role_id"]
        secret_id = call("POST", f"{role}/secret-id")["data"]["secret_id"]
        return mount, role_id, secret_id

    def logins(self) -> list[str]:
        """The paths of the logins that Vault was asked for."""
        paths = [request.path for request in self.vault.proxy.requests]
        return [path for path in paths if path.startswith("/v1/auth/") and "/login" in path]

    def asked(self, end: str) -> int:
        """How many requests had a path that ends so."""
        paths = [request.path.partition("?")[0] for request in self.vault.proxy.requests]
        return sum(path.endswith(end) for path in paths)

    def tokens(self) -> list[str]:
        """The tokens that requests carried, each once, in the order of their first use."""
        given = (request.headers.get("X-Vault-Token") for request in self.vault.proxy.requests)
        return list(dict.fromkeys(token for token in given if token))


@pytest.fixture
async def stores(vault: VaultHarness) -> AsyncIterator[Stores]:
    async with AsyncExitStack() as stack:
        yield Stores(vault, stack)


async def until(true: Callable[[], bool], what: str, *, timeout: float = 60.0) -> None:
    """Waits, in the event loop, for something that happens in the background."""
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, f"not seen: {what}"
        await asyncio.sleep(0.02)


async def works(opened: Opened) -> None:
    """The store has logged in once and may read."""
    await opened.client.check()
    assert opened.observed.calls[-2:] == [("Login", "ok"), ("ReadMount", "ok")]


class Keys:
    """A key that signs tokens, made at run time."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        self.public = (
            key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    def token(self, audiences: Sequence[str], subject: str = "payments", *, skew: int = 0) -> str:
        """``skew``: seconds that the clock of whoever signs is ahead."""
        now = int(time.time()) + skew
        claims = {
            "iss": "test",
            "sub": subject,
            "aud": list(audiences),
            "iat": now,
            "nbf": now,
            "exp": now + 600,
        }
        signer = crypt.RSASigner.from_string(self.pem)  # type: ignore[no-untyped-call]
        signed: bytes = google_jwt.encode(signer, claims)  # type: ignore[no-untyped-call]
        return signed.decode()


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys()


def put(vault: VaultHarness, key: str, fields: Any, *, mount: str = MOUNT) -> None:
    vault.vault.call("POST", f"{mount}/data/{key}", {"data": fields})


async def read(opened: Opened, key: str, version: str = "") -> Outcome:
    ref = Ref(key, version)
    return (await opened.client.fetch([ref]))[ref]
