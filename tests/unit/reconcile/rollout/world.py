"""A small world for plans: Secrets, one workload whose pods really restart, and the operator.

The pods restart exactly when the template changes, as in a cluster, and read the Secrets anew
then. The operator is the real plan, with the order of writes of the real one, and can die between
any two of them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from syncret.api.health import Health, Held
from syncret.api.rollout import Rollout, RolloutMode, RolloutTarget
from syncret.api.secret import ManagedSecret
from syncret.api.workload import ConsumedKeys, Workload, WorkloadKey, names_of
from syncret.clock import rfc3339
from syncret.digest import Digester
from syncret.reconcile.rollout.plan import RolloutPlan, Situation, plan_rollouts

NAMESPACE = "payments"
EPOCH = 1_767_225_600.0
Data = Mapping[str, bytes]
Death = Literal["before the patch", "before the status"]


@dataclass
class World:
    """``started``: what the pods read of each Secret when they were started.

    ``spec``: of the rollouts, besides their mode.
    """

    secrets: dict[str, dict[str, bytes]]
    consumes: dict[str, ConsumedKeys]
    annotation: str = ""
    uid: str = "uid-1"
    digester: Digester = field(default_factory=lambda: Digester(b"1" * 32))
    statuses: dict[str, tuple[RolloutTarget, ...]] = field(default_factory=dict)
    modes: dict[str, RolloutMode] = field(default_factory=dict)
    started: dict[str, Data] = field(default_factory=dict)
    restarts: int = 0
    time: int = 0
    rolled_at: float = 0.0
    health: Health = Health.COMPLETE
    held: Held = ""
    image: int = 1
    spec: dict[str, Any] = field(default_factory=lambda: {"debounce": 0.0})
    since: dict[str, str] = field(default_factory=dict)
    room: int = 1000

    def __post_init__(self) -> None:
        self.start_pods()

    @property
    def key(self) -> WorkloadKey:
        return WorkloadKey(NAMESPACE, "Deployment", "api")

    @property
    def workload(self) -> Workload:
        template = hashlib.sha256(repr((self.annotation, self.consumes, self.image)).encode())
        return Workload(
            self.key,
            self.uid,
            dict(self.consumes),
            self.annotation,
            template=template.digest(),
            rolled_at=self.rolled_at,
            health=self.health,
            held=self.held,
        )

    @property
    def wall(self) -> float:
        return EPOCH + self.time

    @property
    def now(self) -> str:
        return rfc3339(self.wall)

    def managed(self, name: str) -> ManagedSecret | None:
        if name not in self.secrets:
            return None
        digests = self.digester.values(self.secrets[name])
        return ManagedSecret(NAMESPACE, name, f"uid-{name}", "1", "owner", digests)

    def read(self, name: str) -> Data:
        """What pods that start now read of a Secret."""
        if name not in self.consumes:
            return {}
        consumed, data = self.consumes[name], self.secrets.get(name, {})
        return {k: v for k, v in data.items() if consumed is None or k in consumed}

    def current(self, name: str) -> bool:
        """Whether the pods hold what the Secret holds."""
        return self.started.get(name, {}) == self.read(name)

    def plan(self, name: str) -> RolloutPlan:
        """The plan of the ExternalSecret of that name."""
        secret = self.managed(name)
        if secret is None:
            return RolloutPlan(targets=self.statuses.get(name, ()), since=self.since.get(name, ""))
        workload = self.workload
        concerns = name in workload.consumes or name in names_of(workload.checksum)
        return plan_rollouts(self.situation(name, secret), [workload] if concerns else [])

    def situation(self, name: str, secret: ManagedSecret, **more: Any) -> Situation:
        arguments: dict[str, Any] = {
            "secret": secret,
            "rollout": Rollout(mode=self.modes.get(name, "Auto"), **self.spec),
            "targets": self.statuses.get(name, ()),
            "since": self.since.get(name, ""),
            "others": self.managed,
            "digester": self.digester,
            "now": self.wall,
            "room": self.room,
            "numbered": lambda workload: max(
                (
                    target.sequence
                    for targets in self.statuses.values()
                    for target in targets
                    if target.uid == workload.uid
                ),
                default=0,
            ),
        }
        return Situation(**{**arguments, **more})

    def reconcile(self, name: str, *, dies: Death | None = None) -> int:
        """One round of an ExternalSecret; returns how often the pods restarted."""
        before = self.restarts
        self.time += 1
        plan = self.plan(name)
        if dies == "before the patch":
            return 0
        for roll in plan.rolls:
            assert (roll.key, roll.uid) == (self.key, self.uid)
            self.rolled_at = self.wall
            self.template(annotation=roll.annotation)
        if dies != "before the status":
            plan = self.plan(name)
            self.statuses[name], self.since[name] = plan.targets, plan.since
        return self.restarts - before

    def template(
        self,
        *,
        annotation: str | None = None,
        consumes: dict[str, ConsumedKeys] | None = None,
        image: int | None = None,
    ) -> None:
        """Somebody writes the template."""
        new = (
            self.annotation if annotation is None else annotation,
            self.consumes if consumes is None else consumes,
            self.image if image is None else image,
        )
        if new != (self.annotation, self.consumes, self.image):
            self.annotation, self.consumes, self.image = new
            self.restarts += 1
            self.start_pods()

    def recreate(self, annotation: str) -> None:
        """The workload is deleted and made again."""
        self.uid = f"{self.uid}+"
        self.annotation = annotation
        self.start_pods()

    def start_pods(self) -> None:
        """New pods read the Secrets as they are now."""
        self.started = {name: self.read(name) for name in self.consumes}
