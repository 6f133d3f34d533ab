"""A small world for plans: Secrets, one workload whose pods really restart, and the operator.

The pods restart exactly when the template changes, as in a cluster, and read the Secrets anew
then. The operator is the real plan, with the order of writes of the real one, and can die between
any two of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from syncret.api.externalsecret import RolloutMode, RolloutTarget
from syncret.api.secret import ManagedSecret
from syncret.api.workload import ConsumedKeys, Workload, WorkloadKey
from syncret.digest import Digester
from syncret.reconcile.rollout.plan import RolloutPlan, plan_rollouts

NAMESPACE = "payments"
Data = Mapping[str, bytes]
Death = Literal["before the patch", "before the status"]


@dataclass
class World:
    """``started``: what the pods read of each Secret when they were started."""

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

    def __post_init__(self) -> None:
        self.start_pods()

    @property
    def key(self) -> WorkloadKey:
        return WorkloadKey(NAMESPACE, "Deployment", "api")

    @property
    def workload(self) -> Workload:
        return Workload(self.key, self.uid, dict(self.consumes), self.annotation)

    @property
    def now(self) -> str:
        return f"2026-01-01T00:00:{self.time:02}Z"

    def managed(self, name: str) -> ManagedSecret | None:
        if name not in self.secrets:
            return None
        digests = self.digester.values(self.secrets[name])
        return ManagedSecret(NAMESPACE, name, f"uid-{name}", "1", "owner", digests)

    def read(self, name: str) -> Data:
        """What pods that start now read of a Secret."""
        consumed, data = self.consumes[name], self.secrets.get(name, {})
        return {k: v for k, v in data.items() if consumed is None or k in consumed}

    def current(self, name: str) -> bool:
        """Whether the pods hold what the Secret holds."""
        return self.started[name] == self.read(name)

    def plan(self, name: str) -> RolloutPlan:
        """The plan of the ExternalSecret of that name."""
        return plan_rollouts(
            self.managed(name),
            [self.workload],
            baselines=self.statuses.get(name, ()),
            others=self.managed,
            mode=self.modes.get(name, "Auto"),
            digester=self.digester,
            now=self.now,
        )

    def reconcile(self, name: str, *, dies: Death | None = None) -> int:
        """One round of an ExternalSecret; returns how often the pods restarted."""
        before = self.restarts
        self.time += 1
        plan = self.plan(name)
        if dies == "before the patch":
            return 0
        for roll in plan.rolls:
            assert (roll.key, roll.uid) == (self.key, self.uid)
            self.template(annotation=roll.annotation)
        if dies != "before the status":
            self.statuses[name] = plan.targets
        return self.restarts - before

    def template(
        self, *, annotation: str | None = None, consumes: dict[str, ConsumedKeys] | None = None
    ) -> None:
        """Somebody writes the template."""
        new = (
            self.annotation if annotation is None else annotation,
            self.consumes if consumes is None else consumes,
        )
        if new != (self.annotation, self.consumes):
            self.annotation, self.consumes = new
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
