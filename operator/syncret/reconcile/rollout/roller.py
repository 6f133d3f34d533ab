"""Rolling what consumes a Secret: the plan carried out, and told of.

A restart that cannot be made does not keep the others from theirs. A restart is told where people
look for its cause: as an Event of the workload. What keeps a rollout from its end is told as the
condition RolledOut of the ExternalSecret, and what a person has to do something about as its Event.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Final, Protocol, cast

from syncret.api.externalsecret import ExternalSecret, ExternalSecretStatus
from syncret.api.keys import ObjectKey
from syncret.api.rollout import RolloutTarget
from syncret.api.secret import ManagedSecret
from syncret.api.workload import Workload, WorkloadKey, WorkloadKind
from syncret.cache import Cache
from syncret.clock import Clock, parse_rfc3339, rfc3339
from syncret.constants import ROLLOUT_ANNOTATION
from syncret.digest import Digester
from syncret.errors import KubeNotFound, SyncretError
from syncret.kube.events import EventRecorder, ObjectRef
from syncret.kube.resources import NAMESPACES
from syncret.reconcile.rollout.condition import ALARMING, rolled_out
from syncret.reconcile.rollout.executor import RESOURCES, RollClient, RollResult, roll
from syncret.reconcile.rollout.limits import RollHistory, rolling_now
from syncret.reconcile.rollout.plan import Roll, RolloutPlan, Situation, plan_rollouts

logger = logging.getLogger(__name__)

#: Seconds between two looks at whether the cluster has room for another restart, or whether one
#: that another ExternalSecret makes of the same workload has been made.
_POLL: Final = 1.0

#: Seconds for which it is remembered whether a namespace is to be rolled.
_NAMESPACE_KEPT: Final = 30.0

#: Seconds after which a restart does not count in the limit of the cluster.
_COUNTED: Final = 900.0


class RolloutMetrics(Protocol):
    """What is counted here."""

    def rollout(self, kind: str, result: str) -> None: ...

    def rollout_ended(self, kind: str, seconds: float) -> None: ...

    def set_rolled_out(self, namespace: str, name: str, rolled_out: bool | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Rolled:
    """The status as it is now, and in how many seconds to look again."""

    status: ExternalSecretStatus
    wait: float


def in_progress(
    cache: Cache, clock: Clock, *, of: Callable[[str], bool] = lambda _namespace: True
) -> int:
    """How many workloads of the cluster roll because of us. Safe in any thread.

    ``of``: whose namespaces count.
    """
    rolling = (one for one in cache.workloads.by("rolling", True) if of(one.key.namespace))
    return rolling_now(rolling, now=clock.wall(), timeout=_COUNTED)


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
        limit: int = 20,
        share: Callable[[], float] = lambda: 1.0,
        works_on: Callable[[str], bool] = lambda _namespace: True,
        unlisted: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """``limit``: restarts at the same time in the whole cluster. ``share``: the part of them
        that is this replica's, in the namespaces that it ``works_on``. ``unlisted``: the kinds of
        workloads of which it is not known what there is.
        """
        self._cache = cache
        self._kube = kube
        self._events = events
        self._metrics = metrics
        self._digester = digester
        self._clock = clock
        self._limit = limit
        self._share = share
        self._works_on = works_on
        self._unlisted = unlisted
        self._history = RollHistory()
        #: Workloads that are being written to, whoever asked for it.
        self._busy: set[WorkloadKey] = set()
        #: The data that was seen last of each, and when it was seen first.
        self._seen: dict[ObjectKey, tuple[str, float]] = {}
        self._left_alone: dict[str, tuple[bool, float]] = {}
        #: The last warning that was told of each.
        self._alarms: dict[ObjectKey, str] = {}

    def forget(self, key: ObjectKey) -> None:
        """The ExternalSecret is gone, or another replica's."""
        self._seen.pop(key, None)
        self._alarms.pop(key, None)

    def wait_for(self, workload: Workload) -> float:
        """Seconds until a workload may be restarted for another reason; 0: now."""
        now = self._clock.wall()
        earliest = self._history.earliest(workload, now)
        if earliest > now:
            return earliest - now
        return _POLL if workload.key in self._busy or self._room() < 1 else 0.0

    def retry_in(self, workload: Workload) -> float:
        """Seconds until one that could not be written may be tried again; 0: now."""
        return max(0.0, self._history.retry(workload.uid) - self._clock.wall())

    def written(self, workload: Workload) -> None:
        """One was written to for another reason, without a restart."""
        self._history.written(workload.uid)

    async def leaves_alone(self, namespace: str) -> bool:
        """Whether nothing in a namespace is to be restarted. Raises SyncretError if unknown."""
        unknown = await self._ask_namespace(namespace)
        if unknown is not None:
            raise unknown
        return self._is_left_alone(namespace)

    def rolled(self, workload: Workload) -> None:
        """One was restarted for another reason."""
        self._history.rolled(workload.uid, self._clock.wall())

    def failed(self, workload: Workload) -> None:
        """One could not be restarted for another reason."""
        self._history.failed(workload.uid, self._clock.wall())

    def _room(self) -> int:
        """How many restarts may be begun.

        What another replica has begun is known a moment later, so each has a share of its own: all
        of them together cannot begin more than there may be. One at least, however small the share.
        """
        all_of_them = in_progress(self._cache, self._clock)
        mine = in_progress(self._cache, self._clock, of=self._works_on)
        share = max(1, int(self._limit * self._share()))
        return min(self._limit - all_of_them, share - mine) - len(self._busy)

    async def roll(
        self, external_secret: ExternalSecret, secret: ManagedSecret, status: ExternalSecretStatus
    ) -> Rolled:
        """Restarts what reads ``secret`` and was started with other data of it, as far as it may.

        ``status``: as it is but for the rollout.
        """
        workloads = self._workloads(external_secret, secret)
        named = external_secret.rollout.mode == "Targets"
        if not workloads and not status.targets and not named:
            return Rolled(self._told(external_secret, status, RolloutPlan()), inf)
        changed = self._changed(external_secret, status)
        failed: dict[WorkloadKey, SyncretError] = {}
        done: set[WorkloadKey] = set()
        again = False
        while (plan := self._plan(external_secret, secret, status, changed, done=done)).rolls:
            unknown = await self._ask_namespace(secret.namespace)
            if unknown is not None:
                failed |= {one.key: unknown for one in plan.rolls}
                again = True
                break
            plan = self._plan(external_secret, secret, status, changed, done=done)
            for planned in plan.rolls:
                known = self._cache.workloads.get(planned.key)
                if planned.key in self._busy or known is None or known.uid != planned.uid:
                    done.add(planned.key)
                    again = True
                    continue
                if known.checksum != planned.before or self._room() < 1:
                    break  # others were at work meanwhile: it is planned anew
                failure = await self._roll_one(secret, planned)
                if failure is not None:
                    failed[planned.key] = failure
                    continue
                done.add(planned.key)
                # What changes on and on waits anew, from here.
                status = replace(status, rollout_since=rfc3339(self._clock.wall()))
        self._tell_failed(external_secret, failed)
        wait = max(0.0, plan.again - self._clock.wall())
        if again or plan.gate == "room":
            wait = min(wait, _POLL)
        self._count(status.targets, plan.targets)
        return Rolled(self._told(external_secret, status, plan), wait)

    def _workloads(
        self, external_secret: ExternalSecret, secret: ManagedSecret
    ) -> dict[WorkloadKey, Workload]:
        place = (secret.namespace, secret.name)
        table = self._cache.workloads
        found = {one.key: one for index in ("secret", "named") for one in table.by(index, place)}
        if external_secret.rollout.mode == "Targets":
            found |= {
                one.key: one
                for one in table.by("namespace", secret.namespace)
                if external_secret.rollout.names(one)
            }
        return found

    def _plan(
        self,
        external_secret: ExternalSecret,
        secret: ManagedSecret,
        status: ExternalSecretStatus,
        changed: float,
        *,
        done: Collection[WorkloadKey],
    ) -> RolloutPlan:
        """The plan, with what is known at this moment: it is another after each await.

        ``done``: those that are not to be written to in this round any more.
        """
        now = self._clock.wall()
        workloads = self._workloads(external_secret, secret)

        def earliest(key: WorkloadKey) -> float:
            return inf if key in done else self._history.earliest(workloads[key], now)

        situation = Situation(
            secret=secret,
            rollout=external_secret.rollout,
            targets=status.targets,
            since=status.rollout_since,
            others=lambda name: self._cache.secrets.get((secret.namespace, name)),
            digester=self._digester,
            now=now,
            changed=changed,
            left_alone=self._is_left_alone(secret.namespace),
            room=self._room(),
            earliest=earliest,
            numbered=self._numbered,
            unlisted=self._unlisted(),
        )
        return plan_rollouts(situation, workloads.values())

    def _numbered(self, workload: Workload) -> int:
        """The highest number of a restart of it in the statuses of what writes its Secrets."""
        namespace = workload.key.namespace
        return max(
            (
                target.sequence
                for secret in workload.consumes
                for one in self._cache.external_secrets.by("target", (namespace, secret))
                for target in one.status.targets
                if target.uid == workload.uid
            ),
            default=0,
        )

    def _changed(self, external_secret: ExternalSecret, status: ExternalSecretStatus) -> float:
        """When the data last changed: as it was seen, or as a process before this one wrote it."""
        known = self._seen.get(external_secret.key)
        if known is None:
            known = (status.data_hash, parse_rfc3339(status.last_change_time))
        elif known[0] != status.data_hash:
            known = (status.data_hash, self._clock.wall())
        self._seen[external_secret.key] = known
        return known[1]

    def _is_left_alone(self, namespace: str) -> bool:
        """Whether that is known; unknown, the namespace is asked before anything is restarted."""
        left_alone, until = self._left_alone.get(namespace, (False, 0.0))
        return left_alone and until > self._clock.monotonic()

    async def _ask_namespace(self, namespace: str) -> SyncretError | None:
        """Whether its annotation says that nothing in it is to be restarted; else the failure."""
        now = self._clock.monotonic()
        self._left_alone = {
            name: known for name, known in self._left_alone.items() if known[1] > now
        }
        if namespace in self._left_alone:
            return None
        try:
            body = await self._kube.get_metadata(NAMESPACES, name=namespace)
        except KubeNotFound:
            body = {}  # it is going, and what is in it with it
        except SyncretError as error:
            return error
        annotations = (body.get("metadata") or {}).get("annotations") or {}
        left_alone = annotations.get(ROLLOUT_ANNOTATION) == "false"
        self._left_alone[namespace] = (left_alone, now + _NAMESPACE_KEPT)
        return None

    async def _roll_one(self, secret: ManagedSecret, planned: Roll) -> SyncretError | None:
        """Makes one restart; the failure, if it is one, was logged."""
        key = planned.key
        names = {"kind": key.kind, "namespace": key.namespace, "object": key.name}
        now = self._clock.wall()
        self._busy.add(key)
        try:
            outcome = await roll(self._kube, planned, now=rfc3339(now))
        except SyncretError as error:
            self._metrics.rollout(key.kind, "failed")
            self._history.failed(planned.uid, now)
            logger.warning(
                "Not restarted: %s",
                error.message,
                extra={**names, "secret": secret.name, "reason": error.reason},
            )
            return error
        finally:
            self._busy.discard(key)
        self._metrics.rollout(key.kind, outcome.result.value)
        if outcome.result is RollResult.GONE:
            self._cache.workloads.drop(key)
            return None
        self._history.rolled(planned.uid, now)
        if outcome.workload is not None:
            known = self._cache.workloads.get(key)
            reload = known.reload if known is not None else None
            self._cache.workloads.put(key, replace(outcome.workload, reload=reload))
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
        return None

    def _told(
        self, external_secret: ExternalSecret, status: ExternalSecretStatus, plan: RolloutPlan
    ) -> ExternalSecretStatus:
        """The status with the rollout in it; a change of what there is to say is told."""
        key = external_secret.key

        def owner(target: RolloutTarget) -> str:
            kind = cast("WorkloadKind", target.kind)
            found = self._cache.workloads.get(WorkloadKey(key.namespace, kind, target.name))
            return found.owner if found is not None else ""

        before = status.rolled_out
        condition = rolled_out(
            plan,
            before,
            owner=owner,
            generation=external_secret.generation,
            now=rfc3339(self._clock.wall()),
        )
        told = None if condition is None else condition.status == "True"
        self._metrics.set_rolled_out(key.namespace, key.name, told)
        new = replace(status, targets=plan.targets, rollout_since=plan.since, rolled_out=condition)
        if condition is None or condition.status == "True":
            self._alarms.pop(key, None)
        if condition is not None and condition != before:
            # Told once, however often it comes and goes between other news.
            alarming = condition.reason in ALARMING and self._alarms.get(key) != condition.message
            if alarming:
                self._alarms[key] = condition.message
            ended = condition.status == "True" and before is not None and before.status == "False"
            if alarming or ended:
                self._events.emit(
                    ObjectRef.of(key, external_secret.uid),
                    type="Warning" if alarming else "Normal",
                    reason=condition.reason,
                    message=condition.message,
                    action="Roll",
                )
        return status if new == status else new

    def _count(self, before: Collection[RolloutTarget], after: Collection[RolloutTarget]) -> None:
        """Counts the rollouts that ended, well or not."""
        old = {(one.kind, one.name, one.uid): one for one in before}
        for target in after:
            known = old.get((target.kind, target.name, target.uid))
            if known is None or known.phase == target.phase:
                continue
            if target.phase == "Current" and known.phase == "RollingOut":
                began = parse_rfc3339(target.last_rollout_time)
                self._metrics.rollout_ended(target.kind, max(0.0, self._clock.wall() - began))
            elif target.phase in {"Failed", "Reverted"}:
                self._metrics.rollout(
                    target.kind, "unhealthy" if target.phase == "Failed" else "reverted"
                )

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
