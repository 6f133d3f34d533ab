"""Kubernetes for the contract suite: a real API server behind a proxy that can fail.

A secret of the suite is one entry of a Secret, because the suite's values are bytes and a whole
Secret is an object; what a whole Secret becomes is in ``test_kubernetes.py``.
"""

import base64
import json
import ssl
import threading
from collections.abc import Collection, Mapping
from dataclasses import replace
from http.client import HTTPSConnection
from typing import Any, ClassVar
from urllib.parse import urlsplit

from contract.harness import RETRY_AFTER, Ability, Fault, Identity, Lacks, Observations
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
from syncret.providers.bounds import CLOSED
from syncret.providers.kubernetes.provider import KubernetesProvider
from syncret.providers.web import Timing
from testbed.controlplane import ControlPlane, free_ports

PATIENT = Timing(connect=10.0, read=20.0, total=60.0)
HASTY = Timing(connect=1.0, read=1.0, total=2.0)

NAMESPACE = "vault"
READER = "reader"
ENTRY = "value"

UNKNOWN_TOKEN = "fake-token-that-is-unknown"
EXPIRED_TOKEN = "fake-token-that-has-expired"

_TYPE = {"Content-Type": "application/json"}


class Cluster:
    """The API server, with the namespace that is read and a ServiceAccount that may read it."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.ca = plane.authority.ca.read_bytes()
        self.trust = ssl.create_default_context(cafile=str(plane.authority.ca))
        serving = plane.authority.server("proxy")
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(serving.cert, serving.key)
        admin = plane.authority.client("suite", "suite", "system:masters")
        self._context = ssl.create_default_context(cafile=str(plane.authority.ca))
        self._context.load_cert_chain(admin.cert, admin.key)
        self._lock = threading.Lock()
        self._connection = HTTPSConnection(
            urlsplit(plane.server).netloc, timeout=30, context=self._context
        )
        self.namespace(NAMESPACE)
        self.token = self.reader(READER, ["get", "list"])

    def namespace(self, name: str) -> None:
        self.create("/api/v1/namespaces", {"metadata": {"name": name}})

    def reader(self, name: str, verbs: Collection[str], *, namespace: str = NAMESPACE) -> str:
        """A ServiceAccount with a Role on the Secrets of its namespace; returns a token of it."""
        group = "rbac.authorization.k8s.io"
        rbac = f"/apis/{group}/v1/namespaces/{namespace}"
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.create(accounts, {"metadata": {"name": name}})
        if verbs:
            rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": list(verbs)}
            self.create(f"{rbac}/roles", {"metadata": {"name": name}, "rules": [rule]})
            self.create(
                f"{rbac}/rolebindings",
                {
                    "metadata": {"name": name},
                    "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
                    "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
                },
            )
        made = self.create(f"{accounts}/{name}/token", {"spec": {}})
        return str(made["status"]["token"])

    def create(self, path: str, body: Mapping[str, Any]) -> Any:
        return self.call("POST", path, body)

    def call(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json"
    ) -> Any:
        """Asks as the administrator. Raises AssertionError with the answer."""
        data = None if body is None else json.dumps(body)
        with self._lock:
            # Anew for each call: one that was idle for long, the API server may have closed.
            self._connection.close()
            self._connection.request(method, path, body=data, headers={"Content-Type": kind})
            answer = self._connection.getresponse()
            text = answer.read()
        assert answer.status < 300, text
        return json.loads(text)


class KubernetesHarness:
    """One test's view of the API server."""

    name = "kubernetes"
    separator = "."
    max_bytes = 1_048_576
    takes_binary = True
    missing_version = "1"
    credentials: tuple[str, ...]
    lacks: ClassVar[Lacks] = {
        Ability.ANY_NAMES: "names of Secrets have lower-case letters, digits, - and . only",
        Ability.PINS: "Kubernetes keeps only the current version of a Secret",
        Ability.ANY_TAGS: "a label's value has 63 letters and digits at most",
    }

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.namespace = NAMESPACE
        self.credentials = (cluster.token, UNKNOWN_TOKEN, EXPIRED_TOKEN)
        self.proxy = Proxy(cluster.plane.server, tls=cluster.tls, trust=cluster.trust)
        self.fault: Action | None = None
        self.denied: set[str] = set()
        self.proxy.rules = [lambda _: self.fault, self._policy]

    def put(self, key: str, value: bytes) -> str:
        data = {ENTRY: base64.b64encode(value).decode()}
        return self.write(key, {"data": data})

    def write(self, name: str, fields: Mapping[str, Any]) -> str:
        """Makes or changes a Secret; returns its version."""
        path = f"{self.path}/{name}?fieldManager=suite&force=true"
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **fields}
        made = self.cluster.call("PATCH", path, body, kind="application/apply-patch+yaml")
        return str(made["metadata"]["resourceVersion"])

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        change = {"metadata": {"labels": dict(tags)}}
        kind = "application/merge-patch+json"
        self.cluster.call("PATCH", f"{self.path}/{key}", change, kind=kind)

    def delete(self, key: str) -> None:
        self.cluster.call("DELETE", f"{self.path}/{key}")

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets"

    async def open(
        self,
        observe: Observations,
        *,
        identity: Identity = Identity.GOOD,
        reachable: bool = True,
        hasty: bool = False,
    ) -> Client:
        token = {Identity.UNKNOWN: UNKNOWN_TOKEN, Identity.EXPIRED: EXPIRED_TOKEN}.get(
            identity, self.cluster.token
        )
        return Entries(await self.whole(observe, token, reachable=reachable, hasty=hasty))

    async def whole(
        self,
        observe: Observations,
        token: str = "",
        *,
        reachable: bool = True,
        hasty: bool = False,
    ) -> Client:
        """A client as the engine has it: a Secret is an object."""
        provider = KubernetesProvider(CLOSED, timing=HASTY if hasty else PATIENT)
        url = self.proxy.url if reachable else f"https://127.0.0.1:{free_ports(1)[0]}"
        config = provider.parse(
            {
                "server": {"url": url, "caBundle": self.cluster.ca.decode()},
                "remoteNamespace": self.namespace,
                "auth": {"token": {"bearerToken": {"name": "any", "key": "any"}}},
            },
            cluster_scoped=False,
        )
        credentials = {"bearerToken": SecretValue((token or self.cluster.token).encode())}
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
        """RBAC cannot leave out one Secret of many; its answer is that of a real API server."""
        name = request.path.rpartition("/")[2]
        return _forbidden(name) if name in self.denied else None


class Entries:
    """A client whose references name Secrets and mean their entry ``value``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.limits = client.limits

    async def fetch(
        self, refs: Collection[Ref], *, known: Known = NOTHING_KNOWN
    ) -> Mapping[Ref, Outcome]:
        asked = {_entry(ref): ref for ref in refs}
        outcomes = await self._client.fetch(
            list(asked), known={_entry(ref): version for ref, version in known.items()}
        )
        return {asked[entry]: outcome for entry, outcome in outcomes.items()}

    async def find(self, query: Query, *, page: str = "") -> Found:
        return await self._client.find(query, page=page)

    async def check(self) -> None:
        await self._client.check()

    async def close(self) -> None:
        await self._client.close()


def _entry(ref: Ref) -> Ref:
    return ref if ref.metadata else ref._replace(key=f"{ref.key}/{ENTRY}")


def _forbidden(name: str) -> Reply:
    message = (
        f'secrets "{name}" is forbidden: User "system:serviceaccount:{NAMESPACE}:{READER}" cannot '
        f'get resource "secrets" in API group "" in the namespace "{NAMESPACE}"'
    )
    return status(403, "Forbidden", message, kind="secrets", name=name)


def status(code: int, reason: str, message: str, **details: Any) -> Reply:
    """An answer as an API server words it."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details,
        "code": code,
    }
    return Reply(code, json.dumps(body).encode(), _TYPE)


def _action(fault: Fault, saying: str) -> Action:
    throttled = status(429, "TooManyRequests", saying)
    actions: dict[Fault, Action] = {
        Fault.THROTTLED: replace(
            throttled, headers={**_TYPE, "Retry-After": str(int(RETRY_AFTER))}
        ),
        Fault.INTERNAL_ERROR: status(500, "InternalError", saying),
        Fault.HANGS: Hang(),
        Fault.TRICKLES: Trickle(every=HASTY.read / 10),
        Fault.RESET: Reset(b'{"kind": "Secret", "data": {"' + saying.encode()),
        Fault.NOT_JSON: Reply(200, f'{{"kind": "Secret", "data": "{saying}'.encode(), _TYPE),
        Fault.NOT_THE_STORE: Reply(
            404, f"<html>Not Found {saying}</html>".encode(), {"Content-Type": "text/html"}
        ),
    }
    return actions[fault]
