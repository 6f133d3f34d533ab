"""How one workload stands to one Secret, from what the cluster says and what was remembered. Pure.

What its pods were started with is told by two places:

- **our annotation**, which changes in the same write as the restart. It has a number, higher with
  each restart. A number above the one in the status is a restart that the status does not know
  yet: one by a process that died before it could say so, or for another Secret. Then the annotation
  is right. A number that the status knows already says nothing: somebody may have put an older
  annotation back, or taken it away.
- **the baseline** in the status of the ExternalSecret, which is right in every other case.

The pod template tells whether somebody else restarted the pods: it is another one than the status
remembers, and the number is not. Pods that were started so have what the Secret held then.

Silence restarts nothing: a workload never seen before, one that reads other keys than before,
digests made with a key that is lost. What the Secret holds then becomes the baseline.

Limits, with what was refused: ``docs/design/0002-rollout-checksums.md``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from syncret.api.health import Health
from syncret.api.rollout import Phase, RolloutTarget
from syncret.api.secret import ManagedSecret
from syncret.api.workload import RUNS, Workload
from syncret.clock import parse_rfc3339, rfc3339
from syncret.digest import Digester
from syncret.reconcile.rollout.checksum import Entry, entry_for, parse, parse_entry, sequence_of

_STARTED: Final[frozenset[Phase]] = frozenset({"RollingOut", "Failed"})
_WAITING: Final[frozenset[Phase]] = frozenset({"Pending", "Paused"})


@dataclass(frozen=True, slots=True)
class Standing:
    """``stale``: its pods were started with other data. ``target``: what is to be remembered.

    ``disturbed``: it is not as its controller wants it, so that it had better be restarted last.
    """

    workload: Workload
    target: RolloutTarget
    stale: bool
    disturbed: bool = False

    @property
    def rolling(self) -> bool:
        """Whether a restart of ours is under way; of a stale one, with data that is past."""
        if self.stale:
            return self.disturbed and self.target.former != ""
        return self.target.phase == "RollingOut"


@dataclass(frozen=True, slots=True)
class Look:
    """What standings are found with. ``now`` in wall seconds; ``timeout`` of a rolling update.

    ``left_alone``: nothing is to be restarted, and what was not is not made up for later.
    """

    digester: Digester
    now: float
    timeout: float
    left_alone: bool = False

    def entry(self, workload: Workload, secret: ManagedSecret) -> Entry:
        """What the Secret holds of what the workload reads: all of it, if that is not known."""
        return entry_for(
            self.digester,
            secret.digests,
            namespace=secret.namespace,
            secret=secret.name,
            consumed=workload.consumes.get(secret.name),
        )

    def began(self, workload: Workload) -> float:
        """When our last restart of it began.

        As the API server noted it, whose clock may be another: where that would use up most of the
        time that the rollout has, it counts from now.
        """
        at = workload.rolled_at
        return at if self.now - self.timeout / 2 <= at <= self.now else self.now

    def template(self, workload: Workload) -> str:
        """A digest of the pod template that may be published."""
        key = workload.key
        place = f"template/{key.namespace}/{key.kind}/{key.name}"
        return self.digester.publish(place, {"": workload.template})


def standing(
    look: Look, workload: Workload, secret: ManagedSecret, target: RolloutTarget | None
) -> Standing:
    """How it stands; ``target``: what the status remembers of this very workload."""
    now = look.entry(workload, secret)
    target, known = _remembered(look, workload, secret, target)
    if known is None or not _comparable(known, now, look.digester.knows) or look.left_alone:
        phase: Phase = "Excluded" if look.left_alone else "Current"
        return Standing(workload, replace(_with(target, now, phase), former=""), stale=False)
    if known == now:
        return Standing(workload, _served(look, workload, _with(target, now)), stale=False)
    complete = workload.health is Health.COMPLETE
    phase = "Paused" if workload.held == "Paused" else "Pending"
    former = "" if complete else target.former
    return Standing(
        workload,
        replace(target, checksum=str(known), phase=phase, wanted=str(now), former=former),
        stale=True,
        disturbed=not complete,
    )


def not_read(look: Look, workload: Workload) -> RolloutTarget:
    """What is remembered of one whose annotation names the Secret, though its pods read it not.

    Without it, the old entry would count again when they read the Secret once more.
    """
    return RolloutTarget(
        kind=workload.key.kind,
        name=workload.key.name,
        uid=workload.uid,
        checksum="",
        phase="NotRead",
        sequence=_sequence(workload),
        template=look.template(workload),
    )


def running(workload: Workload, changed: float) -> RolloutTarget | None:
    """What is told of a CronJob, and of a Job that began before the data ``changed``."""
    key = workload.key
    if key.kind not in RUNS or (key.kind == "Job" and workload.rolled_at >= changed):
        return None
    phase: Phase = "NextRun" if key.kind == "CronJob" else "Running"
    return RolloutTarget(key.kind, key.name, workload.uid, checksum="", phase=phase)


def _remembered(
    look: Look, workload: Workload, secret: ManagedSecret, target: RolloutTarget | None
) -> tuple[RolloutTarget, Entry | None]:
    """What is remembered, after what has happened since; and what the pods were started with."""
    annotated = parse(workload.checksum).get(secret.name) if _sequence(workload) else None
    if target is None:
        return _new(look, workload), annotated
    sequence, template = _sequence(workload), look.template(workload)
    known = parse_entry(target.checksum)
    seen = replace(target, sequence=max(sequence, target.sequence), template=template)
    if sequence > target.sequence:
        if annotated is None or annotated == known:
            return seen, known
        return (
            replace(
                seen,
                phase="RollingOut",
                former=target.template,
                wanted="",
                last_rollout_time=rfc3339(look.began(workload)),
            ),
            annotated,
        )
    if template != target.template and look.digester.knows(target.template):
        return _moved(look, workload, secret, target, seen)
    return seen, known


def _sequence(workload: Workload) -> int:
    return sequence_of(workload.checksum, workload.uid)


def _new(look: Look, workload: Workload) -> RolloutTarget:
    """One of which nothing is remembered, or of which that was lost."""
    key = workload.key
    new = RolloutTarget(
        key.kind,
        key.name,
        workload.uid,
        checksum="",
        sequence=_sequence(workload),
        template=look.template(workload),
    )
    if workload.rolled_at and workload.rolled_at + look.timeout > look.now:
        at = rfc3339(look.began(workload))
        return replace(new, phase="RollingOut", last_rollout_time=at)
    return new


def _moved(
    look: Look,
    workload: Workload,
    secret: ManagedSecret,
    target: RolloutTarget,
    seen: RolloutTarget,
) -> tuple[RolloutTarget, Entry | None]:
    """Somebody else wrote another template."""
    known = parse_entry(target.checksum)
    if target.phase in _STARTED and seen.template == target.former:
        return replace(seen, phase="Reverted"), known
    started = replace(seen, phase="RollingOut", last_rollout_time=rfc3339(look.now))
    if target.phase in _STARTED:
        return started, known
    served = _served_by_others(look, workload, secret, target)
    if served is not None:
        return replace(started, former=""), served
    return seen, known


def _served_by_others(
    look: Look, workload: Workload, secret: ManagedSecret, target: RolloutTarget
) -> Entry | None:
    """What pods were started with that somebody else restarted while they waited for us."""
    wanted = parse_entry(target.wanted)
    if target.phase in _WAITING and wanted == look.entry(workload, secret):
        return wanted
    if target.phase == "Reverted":
        return parse_entry(target.checksum)
    return None


def _with(target: RolloutTarget, entry: Entry, phase: Phase | None = None) -> RolloutTarget:
    return replace(target, checksum=str(entry), wanted="", phase=phase or target.phase)


def _served(look: Look, workload: Workload, target: RolloutTarget) -> RolloutTarget:
    """One whose template is up to date: how far its pods are."""
    complete = workload.health is Health.COMPLETE
    match target.phase:
        case "RollingOut" | "Failed" | "Paused" | "OnDelete" if complete:
            return replace(target, phase="Current", former="")
        case "Paused" if target.former == "":
            return replace(target, phase="Current")  # the value came back before the restart
        case "RollingOut" | "Paused" | "OnDelete":
            return _under_way(look, workload, target)
        case "Failed" | "Reverted" | "Excluded":
            return target  # what was not restarted is not known to be current
        case _:
            return replace(target, phase="Current", former="")


def _under_way(look: Look, workload: Workload, target: RolloutTarget) -> RolloutTarget:
    if workload.held == "Paused":
        return replace(target, phase="Paused")
    if workload.held:
        return replace(target, phase="OnDelete")
    if target.phase != "RollingOut":  # it goes on now
        target = replace(target, phase="RollingOut", last_rollout_time=rfc3339(look.now))
    late = look.now >= parse_rfc3339(target.last_rollout_time) + look.timeout
    failed = workload.health is Health.STUCK or late
    return replace(target, phase="Failed") if failed else target


def _comparable(entry: Entry, now: Entry, knows: Callable[[str], bool]) -> bool:
    return entry.keys == now.keys and knows(entry.digest)
