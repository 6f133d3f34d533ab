"""GCP Secret Manager for the contract suite: the stand-in of ``testbed.gcp``, see there."""

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from contract.harness import RETRY_AFTER, Ability, Fault, Identity, Lacks, Observations
from syncret.providers.base import Client, SecretValue
from syncret.providers.gcp.calls import Timing
from syncret.providers.gcp.provider import GcpProvider
from testbed.controlplane import free_ports
from testbed.gcp.handle import PROJECT, Account, Gcp

PATIENT = Timing(call=20.0, connect=10.0, total=60.0, attempts=1)
HASTY = Timing(call=1.0, connect=1.0, total=2.0, attempts=1)

#: What metrics call the requests for tokens.
LOGINS = frozenset({"Token", "ExchangeToken", "GenerateAccessToken", "Metadata"})

#: Made once: a key takes a tenth of a second.
READER = Account("reader")
UNKNOWN = Account("unknown")
EXPIRED = Account("expired")


class WithoutLogins:
    """An observer that leaves out the logins that went well: they come with the first call."""

    def __init__(self, observe: Observations) -> None:
        self._observe = observe

    def __call__(self, *, operation: str, outcome: str, seconds: float) -> None:
        if operation not in LOGINS or outcome != "ok":
            self._observe(operation=operation, outcome=outcome, seconds=seconds)


class GcpHarness:
    """One test's view of the stand-in."""

    name = "gcpsm"
    separator = "-"
    max_bytes = 65_536
    takes_binary = True
    lacks: ClassVar[Lacks] = {
        Ability.ANY_NAMES: "names have letters, digits, - and _ only",
        Ability.ANY_TAGS: "labels have lower-case letters, digits, - and _ only",
    }
    missing_version = "99"
    credentials: tuple[str, ...] = tuple(
        line for account in (READER, UNKNOWN, EXPIRED) for line in account.private.split("\n")[1:-2]
    )

    def __init__(self, gcp: Gcp) -> None:
        self.gcp = gcp
        gcp.clear()
        for account in (READER, EXPIRED):
            gcp.account(email=account.email, key=account.public, key_id=account.key_id)
        gcp.refuse(email=EXPIRED.email)

    def put(self, key: str, value: bytes) -> str:
        return self.gcp.put(key, value)

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        self.gcp.describe(name=key, labels=dict(tags))

    def delete(self, key: str) -> None:
        self.gcp.delete(name=key)

    async def open(
        self,
        observe: Observations,
        *,
        identity: Identity = Identity.GOOD,
        reachable: bool = True,
        hasty: bool = False,
        timing: Timing | None = None,
        logins: bool = False,
        now: Callable[[], float] = time.monotonic,
        **fields: Any,
    ) -> Client:
        """``logins``: they are observed too. ``fields``: further ones of the store.

        ``now``: seconds of the client's clock.
        """
        provider = GcpProvider(timing=lambda: timing or (HASTY if hasty else PATIENT), now=now)
        account = {
            Identity.GOOD: READER,
            Identity.UNKNOWN: UNKNOWN,
            Identity.EXPIRED: EXPIRED,
        }[identity]
        endpoint = self.gcp.endpoint if reachable else f"http://127.0.0.1:{free_ports(1)[0]}"
        spec = {
            "projectID": PROJECT,
            "endpoint": endpoint,
            "auth": {"secretRef": {"secretAccessKeySecretRef": {"name": "gcp", "key": "key.json"}}},
        }
        config = provider.parse(spec | fields, cluster_scoped=False)
        key = SecretValue(account.key_file(f"{self.gcp.http}/token"))
        return await provider.open(
            config,
            {"secretAccessKey": key},
            observe=observe if logins else WithoutLogins(observe),
        )

    def fail(self, fault: Fault | None, *, saying: str = "") -> None:
        self.gcp.fail(**({} if fault is None else _how(fault) | {"saying": saying}))

    def deny(self, key: str) -> None:
        self.gcp.deny(permission="secretmanager.versions.access", name=key)

    @property
    def requests(self) -> int:
        return int(self.gcp.count())

    def close(self) -> None:
        self.gcp.release()
        self.gcp.clear()


def _how(fault: Fault) -> dict[str, Any]:
    how: dict[Fault, dict[str, Any]] = {
        Fault.THROTTLED: {"kind": "throttled", "retry_after": RETRY_AFTER},
        Fault.INTERNAL_ERROR: {"kind": "INTERNAL"},
        Fault.HANGS: {"kind": "hangs"},
        Fault.TRICKLES: {"kind": "trickles", "every": HASTY.call / 10},
        Fault.RESET: {"kind": "reset"},
        Fault.NOT_JSON: {"kind": "garbage"},
        # What a client of gRPC makes of an HTTP 404; test_gcp.py has a server that says it.
        Fault.NOT_THE_STORE: {"kind": "UNIMPLEMENTED"},
    }
    return how[fault]
