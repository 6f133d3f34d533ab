"""A webhook for the contract suite: a small JSON API behind a proxy that can fail."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from contract.harness import RETRY_AFTER, Ability, Fault, Identity, Lacks, Observations
from contract.proxy import Action, Hang, Proxy, Reply, Request, Reset, Trickle
from syncret.providers.base import Client, SecretValue
from syncret.providers.bounds import Bounds
from syncret.providers.webhook.provider import WebhookProvider
from testbed.controlplane import free_ports
from testbed.jsonapi import TOKEN, JsonApi

UNKNOWN_TOKEN = "fake-token-that-is-unknown"
EXPIRED_TOKEN = "fake-token-that-has-expired"

_TYPE = {"Content-Type": "application/json"}


class WebhookHarness:
    """One test's view of the API."""

    name = "webhook"
    separator = "/"
    max_bytes = 1_048_576
    takes_binary = False
    missing_version = "999"
    credentials: tuple[str, ...] = (TOKEN, UNKNOWN_TOKEN, EXPIRED_TOKEN)
    lacks: ClassVar[Lacks] = {
        Ability.TAGS: "a JSON API that Syncret knows nothing of tells no tags",
        Ability.SEARCHES: "how a JSON API lists its secrets is not known",
    }

    def __init__(self, api: JsonApi) -> None:
        self.api = api
        self.proxy = Proxy(api.url)
        self.fault: Action | None = None
        self.denied: set[str] = set()
        self.proxy.rules = [lambda _: self.fault, self._policy]

    def put(self, key: str, value: bytes) -> str:
        return self.api.put(key, value.decode())

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        raise NotImplementedError

    def delete(self, key: str) -> None:
        self.api.delete(key)

    async def open(
        self,
        observe: Observations,
        *,
        identity: Identity = Identity.GOOD,
        reachable: bool = True,
        hasty: bool = False,
        **changes: Any,
    ) -> Client:
        """``changes``: fields of the spec."""
        url = self.proxy.url if reachable else f"http://127.0.0.1:{free_ports(1)[0]}"
        provider = WebhookProvider(Bounds.of(webhook_hosts=[url]), total=2.0 if hasty else 60.0)
        spec = {
            "url": f"{url}/v1/secret?key={{{{ key }}}}&version={{{{ version }}}}",
            "headers": {"Authorization": "Bearer {{ secrets.token }}"},
            "secrets": [{"name": "token", "secretRef": {"name": "api", "key": "token"}}],
            "result": {"jsonPath": "$.value", "versionJSONPath": "$.version"},
            "notFoundStatus": 404,
            "timeout": "1s" if hasty else "20s",
            **changes,
        }
        config = provider.parse(
            {name: value for name, value in spec.items() if value is not None},
            cluster_scoped=False,
        )
        token = {Identity.UNKNOWN: UNKNOWN_TOKEN, Identity.EXPIRED: EXPIRED_TOKEN}.get(
            identity, TOKEN
        )
        credentials = {"secrets.token": SecretValue(f"{token}\n".encode())}
        return await provider.open(config, credentials, observe=observe)

    def fail(self, fault: Fault | None, *, saying: str = "") -> None:
        self.fault = None if fault is None else _action(fault, saying)

    def deny(self, key: str) -> None:
        self.denied.add(key)

    @property
    def requests(self) -> int:
        return len(self.proxy.requests)

    def close(self) -> None:
        self.proxy.close()

    def _policy(self, request: Request) -> Action | None:
        """What the API lets nobody read."""
        if any(f"key={key.replace('/', '%2F')}&" in request.path for key in self.denied):
            return Reply(403, b'{"error": "forbidden"}', _TYPE)
        return None


def _action(fault: Fault, saying: str) -> Action:
    body = json.dumps({"error": saying}).encode()
    actions: dict[Fault, Action] = {
        Fault.THROTTLED: Reply(429, body, {**_TYPE, "Retry-After": str(int(RETRY_AFTER))}),
        Fault.INTERNAL_ERROR: Reply(500, body, _TYPE),
        Fault.HANGS: Hang(),
        Fault.TRICKLES: Trickle(every=0.1),
        Fault.RESET: Reset(b'{"value": "' + saying.encode()),
        Fault.NOT_JSON: Reply(200, f'{{"value": "{saying}'.encode(), _TYPE),
        Fault.NOT_THE_STORE: Reply(
            404, f"<html>Not Found {saying}</html>".encode(), {"Content-Type": "text/html"}
        ),
    }
    return actions[fault]
