"""Rolling what consumes a Secret: the plan carried out, and told of.

The workloads of one Secret are restarted one after the other; one that cannot be restarted does
not keep the others from it. A restart is told where people look for its cause: as an Event of the
workload. A failed one is the ExternalSecret's, whose next round tries it again.
"""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from syncret.api.externalsecret import ExternalSecret, RolloutTarget
from syncret.api.secret import ManagedSecret
from syncret.api.workload import WorkloadKey
from syncret.cache import Cache
from syncret.clock import Clock, rfc3339
from syncret.digest import Digester
from syncret.errors import SyncretError
from syncret.kube.events import EventRecorder, ObjectRef
from syncret.reconcile.rollout.executor import RESOURCES, RollClient, RollResult, roll
from syncret.reconcile.rollout.plan import Roll, plan_rollouts

logger = logging.getLogger(__name__)


class RolloutMetrics(Protocol):
    """What is counted here."""

    def rollout(self, kind: str, result: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Rolled:
    """The targets that the status has to show now, and whether a restart is still to be made."""

    targets: tuple[RolloutTarget, ...]
    failed: bool


class Roller:
    """Restarts the consumers of Secrets that changed."""

    def __init__(
        self,
        *,
        cache: Cache,
        kube: RollClient,
        events: EventRecorder,
        metrics: RolloutMetrics,
        digester: Digester,
        clock: Clock,
    ) -> None:
        self._cache = cache
        self._kube = kube
        self._events = events
        self._metrics = metrics
        self._digester = digester
        self._clock = clock

    async def roll(
        self,
        external_secret: ExternalSecret,
        secret: ManagedSecret,
        baselines: Collection[RolloutTarget],
    ) -> Rolled:
        """Restarts what reads ``secret`` and was started with other data of it."""
        namespace = secret.namespace
        consumers = self._cache.workloads.by("secret", (namespace, secret.name))
        if not consumers and not baselines:
            return Rolled((), failed=False)
        plan = plan_rollouts(
            secret,
            consumers,
            baselines=baselines,
            others=lambda name: self._cache.secrets.get((namespace, name)),
            mode=external_secret.rollout_mode,
            digester=self._digester,
            now=rfc3339(self._clock.wall()),
        )
        failed: dict[WorkloadKey, SyncretError] = {}
        gone: list[WorkloadKey] = []
        for planned in plan.rolls:
            result = await self._roll_one(secret, planned)
            if isinstance(result, SyncretError):
                self._metrics.rollout(planned.key.kind, "failed")
                failed[planned.key] = result
                continue
            self._metrics.rollout(planned.key.kind, result.value)
            if result is RollResult.GONE:
                gone.append(planned.key)
        self._tell_failed(external_secret, failed)
        return Rolled(plan.targets_after(failed=failed, gone=gone), failed=bool(failed))

    def _tell_failed(
        self, external_secret: ExternalSecret, failed: Mapping[WorkloadKey, SyncretError]
    ) -> None:
        """One Event for all: one for each would be told anew by turns, with every attempt."""
        if not failed:
            return
        key, error = min(failed.items(), key=lambda item: item[0])
        more = f" ({len(failed) - 1} more were not restarted either)" if len(failed) > 1 else ""
        self._events.emit(
            ObjectRef.of(external_secret.key, external_secret.uid),
            type="Warning",
            reason="RolloutFailed",
            message=f'{key.kind} "{key.name}" was not restarted{more}: {error.message}',
            action="Roll",
        )

    async def _roll_one(self, secret: ManagedSecret, planned: Roll) -> RollResult | SyncretError:
        """How it ended; a failure was logged."""
        key = planned.key
        names = {"kind": key.kind, "namespace": key.namespace, "object": key.name}
        try:
            outcome = await roll(self._kube, planned)
        except SyncretError as error:
            logger.warning(
                "Not restarted: %s",
                error.message,
                extra={**names, "secret": secret.name, "reason": error.reason},
            )
            return error
        if outcome.result is RollResult.ROLLED:
            if outcome.workload is not None:
                self._cache.workloads.put(key, outcome.workload)
            logger.info("Rolling restart begun", extra={**names, "secret": secret.name})
            self._events.forget(planned.uid)  # two restarts in a row are two Events
            self._events.emit(
                ObjectRef(
                    api_version=RESOURCES[key.kind].api_version,
                    kind=key.kind,
                    namespace=key.namespace,
                    name=key.name,
                    uid=planned.uid,
                ),
                type="Normal",
                reason="SecretChanged",
                message=f'A rolling restart was begun because the Secret "{secret.name}" changed.',
                action="Roll",
            )
        return outcome.result
