"""One restart: the annotation goes to the pod template; the workload's controller does the rest.

An Argo Rollout is restarted in place by its ``spec.restartAt``, since another template would be a
new canary; the annotation, which tells what for, is then one of the Rollout itself.

Server-side apply of exactly one field, under a field manager of our own: whoever manages the rest
of the template does not see a difference in a field of theirs, and can name ours to leave it
alone. Forced, because the field is ours by its name. With the uid as precondition, because an
apply to a name that is not there would create a workload of one annotation.

Sending the same twice restarts once: the second apply changes nothing. (Of a Rollout, its pods are
younger than the second ``restartAt`` only if that was sent within the same second.)

Refused: ``kubectl rollout restart``'s annotation with the time. It would restart again after
every failure whose success was not seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol

from syncret.api.workload import Workload, WorkloadKind, parse_workload
from syncret.constants import CHECKSUM_ANNOTATION, ROLLOUT_FIELD_MANAGER
from syncret.errors import KubeConflict, KubeForbidden, KubeNotFound
from syncret.kube.resources import (
    ARGO_ROLLOUTS,
    DAEMON_SETS,
    DEPLOYMENTS,
    STATEFUL_SETS,
    Resource,
)
from syncret.reconcile.rollout.plan import Roll

#: The resource of each kind that is restarted.
RESOURCES: Final[Mapping[WorkloadKind, Resource]] = {
    "Deployment": DEPLOYMENTS,
    "StatefulSet": STATEFUL_SETS,
    "DaemonSet": DAEMON_SETS,
    "Rollout": ARGO_ROLLOUTS,
}


class RollClient(Protocol):
    """What is needed of the Kubernetes client (``syncret.kube.client``)."""

    async def apply(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        name: str,
        namespace: str = "",
        field_manager: str,
        force: bool = False,
    ) -> Mapping[str, Any]: ...

    async def get_metadata(
        self, resource: Resource, *, name: str, namespace: str = ""
    ) -> Mapping[str, Any]: ...


class RollResult(Enum):
    """How a restart ended; the values are those of the metric. A failure is an exception."""

    ROLLED = "rolled"
    GONE = "gone"  # no such workload, or another one under its name


@dataclass(frozen=True, slots=True)
class RollOutcome:
    """The result, and the workload as the API server has it now: fresher than the watch."""

    result: RollResult
    workload: Workload | None = None


async def roll(client: RollClient, roll: Roll, *, now: str) -> RollOutcome:
    """Makes the restart; ``now``: RFC 3339.

    Raises KubeError if it could not be made and the workload is there.
    """
    key = roll.key
    resource = RESOURCES[key.kind]
    meta: dict[str, Any] = {"name": key.name, "namespace": key.namespace, "uid": roll.uid}
    marked = {"annotations": {CHECKSUM_ANNOTATION: roll.annotation}}
    if key.kind == "Rollout":
        body = {"metadata": {**meta, **marked}, "spec": {"restartAt": now}}
    else:
        body = {"metadata": meta, "spec": {"template": {"metadata": marked}}}
    try:
        answer = await client.apply(
            resource,
            body,
            name=key.name,
            namespace=key.namespace,
            field_manager=ROLLOUT_FIELD_MANAGER,
            force=True,
        )
    except KubeNotFound:
        return RollOutcome(RollResult.GONE)
    except (KubeConflict, KubeForbidden):
        # A conflict is also what an apply gets that lost too many races against other writers,
        # and "may not create" is the answer for a workload that is not there. Taking either at
        # its word would forget a workload that is still to be restarted: look.
        if await _is_there(client, resource, roll):
            raise
        return RollOutcome(RollResult.GONE)
    return RollOutcome(RollResult.ROLLED, parse_workload(key.kind, answer))


async def _is_there(client: RollClient, resource: Resource, roll: Roll) -> bool:
    try:
        found = await client.get_metadata(
            resource, name=roll.key.name, namespace=roll.key.namespace
        )
    except KubeNotFound:
        return False
    return bool((found.get("metadata") or {}).get("uid") == roll.uid)
