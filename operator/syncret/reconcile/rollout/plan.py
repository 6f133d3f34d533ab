"""Which workloads are restarted because a Secret changed, and what the status says of them. Pure.

Two places tell what the pods of a workload were started with: our annotation on the pod template,
which changes together with the restart, and the baseline in the status of the ExternalSecret,
which covers the time before the first restart and whatever other tools do to the annotation.
Either may be behind: the status after a crash between restart and report, the annotation after
``kubectl rollout undo`` or a GitOps tool that took it away. So a workload is in sync as soon as
one of them agrees with what the Secret holds now.

What both are silent about (a workload never seen before, other keys than before, digests made with
a key that is lost) restarts nothing: what the Secret holds now becomes the baseline.

Limits, with what was refused: ``docs/design/0002-rollout-checksums.md``.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import Enum

from syncret.api.externalsecret import RolloutMode, RolloutTarget
from syncret.api.secret import ManagedSecret
from syncret.api.workload import Workload, WorkloadKey
from syncret.digest import Digester
from syncret.reconcile.rollout.checksum import Entry, entry_for, parse, parse_entry, render


class Verdict(Enum):
    """What is to be done about one workload and one Secret."""

    IN_SYNC = "in sync"
    BASELINE = "baseline"  # remember what the Secret holds now, and restart nothing
    ROLL = "roll"


@dataclass(frozen=True, slots=True)
class Roll:
    """One restart to make: this annotation on the pod template of the workload with this uid.

    ``before`` is what the status said of the workload, and says again if the restart fails.
    """

    key: WorkloadKey
    uid: str
    annotation: str
    before: RolloutTarget | None = None


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """The restarts, and the targets of the status once all of them are made."""

    rolls: tuple[Roll, ...] = ()
    targets: tuple[RolloutTarget, ...] = ()

    def targets_after(
        self, *, failed: Collection[WorkloadKey] = (), gone: Collection[WorkloadKey] = ()
    ) -> tuple[RolloutTarget, ...]:
        """The targets when some restarts failed, or found their workload gone.

        A failed one keeps its old baseline. Were the new one reported, the restart would count as
        made, and the pods would stay on the old data.
        """
        before = {(roll.key.kind, roll.key.name): roll.before for roll in self.rolls}
        lost = {(key.kind, key.name) for key in gone}
        undone = {(key.kind, key.name) for key in failed}
        targets = []
        for target in self.targets:
            place = (target.kind, target.name)
            if place in lost:
                continue
            kept = before.get(place) if place in undone else target
            if kept is not None:
                targets.append(kept)
        return tuple(targets)


def decide(
    now: Entry,
    annotated: Entry | None,
    baseline: Entry | None,
    *,
    knows: Callable[[str], bool],
) -> Verdict:
    """What to do, from the entry for the present data and what is known of the pods' start.

    ``knows`` tells whether a published digest was made with the key in use. An entry of another
    key, or of other keys of the Secret, can be neither equal nor different.
    """
    known = [entry for entry in (annotated, baseline) if entry is not None]
    if now in known:
        return Verdict.IN_SYNC
    if any(_comparable(entry, now, knows) for entry in known):
        return Verdict.ROLL
    return Verdict.BASELINE


def plan_rollouts(
    secret: ManagedSecret | None,
    workloads: Iterable[Workload],
    *,
    baselines: Iterable[RolloutTarget],
    others: Callable[[str], ManagedSecret | None],
    mode: RolloutMode,
    digester: Digester,
    now: str,
) -> RolloutPlan:
    """The plan for one ExternalSecret.

    ``secret`` is its target Secret as it is in the cluster; without it nothing is done, and the
    baselines stay. ``workloads``: those that may consume it. ``baselines``: the targets of the
    status. ``others`` finds the other managed Secrets of the namespace by name. ``now``: RFC 3339.
    """
    known = {(target.kind, target.name, target.uid): target for target in baselines}
    if secret is None:
        return RolloutPlan(targets=tuple(known.values()))
    rolls, targets = [], []
    for workload in sorted(workloads, key=lambda workload: workload.key):
        key = workload.key
        if key.namespace != secret.namespace or secret.name not in workload.consumes:
            continue
        before = known.get((key.kind, key.name, workload.uid))
        entry = _entry(digester, workload, secret)
        annotated = parse(workload.checksum).get(secret.name)
        baseline = parse_entry(before.checksum) if before is not None else None
        verdict = decide(entry, annotated, baseline, knows=digester.knows)
        time = before.last_rollout_time if before is not None else ""
        if verdict is Verdict.ROLL and mode == "Auto":
            annotation = _annotation(digester, workload, secret, others=others)
            rolls.append(Roll(key=key, uid=workload.uid, annotation=annotation, before=before))
            time = now
        elif (
            annotated == entry != baseline
            and baseline is not None
            and _comparable(baseline, entry, digester.knows)
        ):
            # Restarted for this already: by a process that died before it could say so, or
            # together with another Secret. About now; the exact time is not known.
            time = now
        # The baseline follows in every case. An entry left behind would take a later return to
        # the old value for "nothing changed", and mode None for a change that is still to come.
        targets.append(
            RolloutTarget(
                kind=key.kind,
                name=key.name,
                uid=workload.uid,
                checksum=str(entry),
                last_rollout_time=time,
            )
        )
    return RolloutPlan(rolls=tuple(rolls), targets=tuple(targets))


def _comparable(entry: Entry, now: Entry, knows: Callable[[str], bool]) -> bool:
    return entry.keys == now.keys and knows(entry.digest)


def _annotation(
    digester: Digester,
    workload: Workload,
    secret: ManagedSecret,
    *,
    others: Callable[[str], ManagedSecret | None],
) -> str:
    """Entries for every managed Secret that the workload consumes.

    The restarted pods read all of them anew, so that a change of another one that is still to be
    looked at is served by this restart.
    """
    entries = {secret.name: _entry(digester, workload, secret)}
    for name in workload.consumes:
        other = others(name) if name != secret.name else None
        if other is not None and other.labelled:
            entries[name] = _entry(digester, workload, other)
    return render(entries, needed=secret.name)


def _entry(digester: Digester, workload: Workload, secret: ManagedSecret) -> Entry:
    return entry_for(
        digester,
        secret.digests,
        namespace=secret.namespace,
        secret=secret.name,
        consumed=workload.consumes[secret.name],
    )
