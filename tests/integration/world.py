"""A test's part of the world: a namespace with a store in front of AWS, and a look at all of it."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from integration import manifests
from integration.api import Api, ApiError
from testbed.operator import NAMESPACE, Operator

T = TypeVar("T")
Body = dict[str, Any]

#: Seconds that anything may take that is waited for: far more than it does on a busy machine.
TIMEOUT: Final = 60.0

_SAME: Final = {"1s": "1000ms", "1h": "60m"}


def wait_until(
    true: Callable[[], T], what: str, *, timeout: float = TIMEOUT, tell: Callable[[], str] = str
) -> T:
    """Waits until a state is seen, and returns it; fails with its name and what ``tell`` says."""
    deadline = time.monotonic() + timeout
    while not (seen := true()):
        assert time.monotonic() < deadline, f"not seen in {timeout:.0f} s: {what}\n{tell()}"
        time.sleep(0.02)
    return seen


def is_complete(body: Body) -> bool:
    """As ``kubectl rollout status`` sees a Deployment; other kinds alike."""
    status, wanted = body.get("status", {}), body["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration") == body["metadata"]["generation"]
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("replicas", 0) <= wanted
        and status.get("availableReplicas", 0) >= wanted
    )


@dataclass
class World:
    """A namespace of its own, with the SecretStore ``aws`` and its credentials."""

    namespace: str
    api: Api
    aws: Any
    endpoint: str
    operator: Operator
    cluster_scoped: list[tuple[str, str]] = field(default_factory=list)

    # AWS

    def key(self, name: str) -> str:
        """The name in AWS, which all tests share."""
        return f"{self.namespace}/{name}"

    def put(self, name: str, value: str | bytes | Mapping[str, Any]) -> str:
        """Makes a secret in AWS, or a new version of it; returns the version's id."""
        content: dict[str, Any]
        if isinstance(value, bytes):
            content = {"SecretBinary": value}
        else:
            content = {"SecretString": value if isinstance(value, str) else json.dumps(value)}
        try:
            answer = self.aws.create_secret(Name=self.key(name), **content)
        except self.aws.exceptions.ResourceExistsException:
            answer = self.aws.put_secret_value(SecretId=self.key(name), **content)
        return str(answer["VersionId"])

    def remove(self, name: str) -> None:
        self.aws.delete_secret(SecretId=self.key(name), ForceDeleteWithoutRecovery=True)

    # Objects

    def apply(self, *bodies: Mapping[str, Any]) -> None:
        self.api.apply(*bodies)
        self.cluster_scoped += [
            (body["kind"], body["metadata"]["name"])
            for body in bodies
            if "namespace" not in body["metadata"]
        ]

    def external_secret(self, name: str = "app", **spec: Any) -> None:
        """Applies an ExternalSecret; see :func:`manifests.external_secret`."""
        self.apply(manifests.external_secret(self.namespace, name, **spec))

    def workload(self, name: str, **spec: Any) -> None:
        self.apply(manifests.workload(self.namespace, name, **spec))

    def find(self, kind: str, name: str) -> Body | None:
        return self.api.get(kind, name, self.namespace)

    def get(self, kind: str, name: str) -> Body:
        body = self.find(kind, name)
        assert body is not None, f"there is no {kind} {self.namespace}/{name}"
        return body

    def patch(self, kind: str, name: str, body: Mapping[str, Any], *, query: str = "") -> None:
        self.api.patch(kind, name, body, namespace=self.namespace, query=query)

    def delete(self, kind: str, name: str, *, how: str = "Background") -> None:
        self.api.delete(kind, name, self.namespace, how=how)

    def clear(self) -> None:
        """Deletes all of it, without waiting for the end."""
        self.api.delete("Namespace", self.namespace)
        for kind, name in self.cluster_scoped:
            self.api.delete(kind, name)

    # What is seen

    def data(self, name: str = "app") -> dict[str, bytes] | None:
        """The data of a Secret; None if there is no such Secret."""
        body = self.find("Secret", name)
        if body is None:
            return None
        return {key: base64.b64decode(value) for key, value in (body.get("data") or {}).items()}

    def status(self, name: str = "app", kind: str = "ExternalSecret") -> Body:
        return self.get(kind, name).get("status") or {}

    def ready(self, name: str = "app", kind: str = "ExternalSecret") -> Body:
        """The condition Ready; empty as long as there is none."""
        for condition in self.status(name, kind).get("conditions") or ():
            if condition["type"] == "Ready":
                return dict(condition)
        return {}

    def generation(self, name: str, kind: str = "Deployment") -> int:
        """The workload's generation: 1, and one more for each restart."""
        return int(self.get(kind, name)["metadata"]["generation"])

    def version(self, kind: str, name: str) -> str:
        """The resourceVersion: it is another after any write that changed something."""
        return str(self.get(kind, name)["metadata"]["resourceVersion"])

    def events(self, name: str = "app", kind: str = "ExternalSecret") -> list[tuple[str, str, str]]:
        """Type, reason and note of an object's Events, in the order of their time."""
        about = sorted(
            (event["eventTime"] or "", event["type"], event["reason"], event.get("note", ""))
            for event in self.api.list("Event", self.namespace)
            if (event["regarding"]["kind"], event["regarding"]["name"]) == (kind, name)
            and event.get("reportingController") == "syncret.io/operator"
        )
        return [(kind, reason, note) for _, kind, reason, note in about]

    def records(self, text: str, name: str = "app") -> list[dict[str, Any]]:
        """The operator's log records of an object of this namespace whose message begins so."""
        mine = (
            json.loads(line) for line in self.operator.log.splitlines() if self.namespace in line
        )
        return [
            record
            for record in mine
            if (record.get("namespace"), record.get("object")) == (self.namespace, name)
            and record["message"].startswith(text)
        ]

    # Waiting

    def wait(self, true: Callable[[], T], what: str) -> T:
        return wait_until(true, what, tell=self.situation)

    def wait_ready(self, name: str = "app", *, status: str = "True", reason: str = "") -> Body:
        """Until the ExternalSecret says so of its present generation; returns the condition."""

        def told() -> Body | None:
            body = self.get("ExternalSecret", name)
            ready = self.ready(name)
            current = ready.get("observedGeneration") == body["metadata"]["generation"]
            right = ready.get("status") == status and reason in {"", ready.get("reason")}
            return ready if current and right else None

        return self.wait(told, f"{name} is Ready={status} {reason}") or {}

    def wait_retried(self, name: str = "app") -> None:
        """Until it has failed more than once."""
        self.wait(lambda: len(self.records("Not synced", name)) > 1, f"{name} is tried again")

    def wait_data(self, data: Mapping[str, bytes], name: str = "app") -> None:
        self.wait(lambda: self.data(name) == data, f"the Secret {name} holds what it should")

    def refreshed(self, name: str = "app") -> float:
        """When the operator last found the ExternalSecret in sync; 0 if it never did."""
        return self.operator.metric(
            "syncret_externalsecret_last_success_timestamp_seconds",
            namespace=self.namespace,
            name=name,
        )

    def wait_refreshes(self, name: str = "app", *, count: int = 2) -> None:
        """Until so many further refreshes were seen; with the second, one was made as a whole."""
        for _ in range(count):
            last = self.refreshed(name)
            self.wait(lambda last=last: self.refreshed(name) > last, f"{name} is refreshed")  # type: ignore[misc]

    def wait_refused(self, kind: str, name: str, body: Mapping[str, Any] | None = None) -> None:
        """Until the API server refuses writes of an object: a new policy takes a moment."""
        written = body or {"metadata": {"labels": {"x": "y"}}}

        def refused() -> bool:
            try:
                self.patch(kind, name, written, query="dryRun=All")
            except ApiError as error:
                return error.status in {403, 422}
            return False

        self.wait(refused, f"writes of {kind} {name} are refused")

    def settle(self, name: str = "app") -> None:
        """Until a whole round was made from here on: read, written, restarted, reported.

        The same interval in other words is a new generation, and the status names it last.
        """
        interval = self.get("ExternalSecret", name)["spec"]["refreshInterval"]
        said = _SAME.get(interval) or {same: first for first, same in _SAME.items()}[interval]
        self.patch("ExternalSecret", name, {"spec": {"refreshInterval": said}})
        generation = self.get("ExternalSecret", name)["metadata"]["generation"]
        self.wait(
            lambda: self.status(name).get("syncedGeneration", 0) >= generation,
            f"{name} is synced as it is now",
        )

    def situation(self) -> str:
        """What a person would look at first when something is not as it should be."""
        told = [f"namespace {self.namespace}"]
        told += [
            f"{body['metadata']['name']}: {json.dumps(body.get('status', {}).get('conditions'))}"
            for body in self.api.list("ExternalSecret", self.namespace)
        ]
        lines = [line for line in self.operator.log.splitlines() if self.namespace in line]
        return "\n".join([*told, *lines[-15:]])


@dataclass
class Worlds:
    """Makes worlds. Every name is used once."""

    api: Api
    aws: Any
    endpoint: str
    operator: Operator
    _made: int = 0

    def new(self, name: str = "t", *, endpoint: str = "") -> World:
        """A namespace with the store ``aws``, at moto or at another endpoint."""
        self._made += 1
        namespace = f"{name}-{self._made}"
        world = World(namespace, self.api, self.aws, endpoint or self.endpoint, self.operator)
        metadata = {"name": namespace}
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        world.apply(manifests.credentials(namespace), manifests.store(namespace, world.endpoint))
        return world


def leases(api: Api, name: str, namespace: str, *, account: str) -> tuple[dict[str, Any], ...]:
    """The chart's Role, in another namespace or for another ServiceAccount."""
    chart = api.get("Role", "syncret", NAMESPACE)
    assert chart is not None
    rbac = "rbac.authorization.k8s.io"
    meta = {"name": name, "namespace": namespace}
    return (
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": chart["rules"]},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}],
        },
    )
