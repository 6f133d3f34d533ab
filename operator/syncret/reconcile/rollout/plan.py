"""Which workloads are restarted now because a Secret changed, and what the status says. Pure.

How each workload stands is found first (:mod:`syncret.reconcile.rollout.standing`). Of those that
were started with other data than the Secret holds, as many are restarted as the strategy has room
for, and the others wait. Nothing is remembered of a sequence that is under way: who rolls, who is
done and who failed is read from the workloads, each time anew.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, Literal

from syncret.api.rollout import Rollout, RolloutTarget, TargetRef
from syncret.api.secret import ManagedSecret
from syncret.api.workload import RUNS, Workload, WorkloadKey, names_of
from syncret.clock import parse_rfc3339, rfc3339
from syncret.digest import Digester
from syncret.reconcile.rollout.checksum import render, sequence_of
from syncret.reconcile.rollout.standing import Look, Standing, not_read, running, standing
from syncret.reconcile.windows import open_at, opening_after

#: How often a change may put a restart off, in debounce times: data that changes for ever would
#: never be rolled out.
_PATIENCE: Final = 10

#: Why nothing is restarted now though something waits.
Gate = Literal["", "debounce", "window", "failed", "room", "rate"]


@dataclass(frozen=True, slots=True)
class Roll:
    """One restart to make: this annotation on the workload with this uid.

    ``before``: the annotation that it was decided upon.
    """

    key: WorkloadKey
    uid: str
    annotation: str
    before: str = ""


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """The restarts to make now, and what is to be remembered and told before they are made.

    Attributes:
        since: Since when a change waits, RFC 3339; "": none does.
        missing: Targets of the spec that are not there, as a person calls them.
        gate: Why what waits is not restarted now.
        until: In wall seconds, until when; infinite if only an event ends it.
        again: In wall seconds, when to look again although no watch tells of anything.
    """

    rolls: tuple[Roll, ...] = ()
    targets: tuple[RolloutTarget, ...] = ()
    since: str = ""
    missing: tuple[str, ...] = ()
    gate: Gate = ""
    until: float = inf
    again: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a plan is made from, besides the workloads.

    Attributes:
        secret: The target Secret as it is in the cluster.
        rollout: The strategy.
        targets: Those of the status, as they were remembered.
        since: That of the status.
        others: Finds the other managed Secrets of the namespace by name.
        digester: Makes the digests.
        now: Wall seconds.
        changed: When the data last changed, in wall seconds; 0: not known.
        left_alone: The namespace is not to be rolled.
        room: How many restarts may be begun, by the limit of the whole cluster.
        earliest: When a workload may be restarted again, in wall seconds.
        numbered: The highest number of a restart of it that the status of any ExternalSecret knows.
        unlisted: Kinds of workloads that could not be listed: their targets are kept.
    """

    secret: ManagedSecret
    rollout: Rollout
    targets: Sequence[RolloutTarget]
    since: str
    others: Callable[[str], ManagedSecret | None]
    digester: Digester
    now: float
    changed: float = 0.0
    left_alone: bool = False
    room: float = inf
    earliest: Callable[[WorkloadKey], float] = lambda _: 0.0
    numbered: Callable[[Workload], int] = lambda _: 0
    unlisted: Collection[str] = ()


def plan_rollouts(situation: Situation, workloads: Iterable[Workload]) -> RolloutPlan:
    """The plan for one ExternalSecret; ``workloads``: those that may concern it."""
    secret, rollout = situation.secret, situation.rollout
    remembered = {(target.kind, target.name, target.uid): target for target in situation.targets}
    standings: list[Standing] = []
    targets: dict[tuple[str, str], RolloutTarget] = {}
    there: set[tuple[str, str]] = set()
    for workload in sorted(workloads, key=lambda workload: workload.key):
        key = workload.key
        named = rollout.names(workload)
        if named:
            there.add((key.kind, key.name))
        reads = secret.name in workload.consumes
        if key.namespace != secret.namespace or (rollout.mode == "Targets" and not named):
            continue
        look = _look(situation, workload)
        if key.kind in RUNS:
            told = running(workload, situation.changed) if reads or named else None
        elif reads or named:
            found = standing(
                look, workload, secret, remembered.get((key.kind, key.name, workload.uid))
            )
            standings.append(found)
            told = found.target
        else:
            named_by_us = secret.name in names_of(workload.checksum)
            told = not_read(look, workload) if named_by_us else None
        if told is not None:
            targets[key.kind, key.name] = told
    for target in situation.targets:
        if target.kind in situation.unlisted:
            targets.setdefault((target.kind, target.name), target)
    waiting = [one for one in standings if one.target.phase == "Pending"]
    stale = [one for one in standings if one.stale]
    since = (situation.since or rfc3339(situation.now)) if stale else ""
    chosen, gate, until = _choose(situation, standings, waiting, since=since)
    return RolloutPlan(
        rolls=tuple(_roll(situation, one) for one in chosen),
        targets=tuple(targets[place] for place in sorted(targets)),
        since=since,
        missing=_missing(situation, there),
        gate=gate,
        until=until,
        again=min(until, _deadline(situation, standings)),
    )


def _look(situation: Situation, workload: Workload) -> Look:
    left = situation.left_alone if workload.wish is None else not workload.wish
    return Look(
        situation.digester,
        now=situation.now,
        timeout=situation.rollout.timeout,
        left_alone=left or situation.rollout.mode == "None",
    )


def _choose(
    situation: Situation,
    standings: Sequence[Standing],
    waiting: Sequence[Standing],
    *,
    since: str,
) -> tuple[list[Standing], Gate, float]:
    """Those that are restarted now; else why none is, and until when."""
    if not waiting:
        return [], "", inf
    rollout, now = situation.rollout, situation.now
    quiet = min(
        situation.changed + rollout.debounce,
        parse_rfc3339(since) + _PATIENCE * rollout.debounce,
    )
    if now < quiet:
        return [], "debounce", quiet
    if not open_at(rollout.windows, now):
        return [], "window", opening_after(rollout.windows, now)
    if any(one.target.phase == "Failed" for one in standings):
        return [], "failed", inf
    room = rollout.max_concurrent - sum(one.rolling for one in standings)
    return _fill(situation, waiting, room=room)


def _fill(
    situation: Situation, waiting: Sequence[Standing], *, room: int
) -> tuple[list[Standing], Gate, float]:
    """As many as there is room for here and in the whole cluster."""
    chosen: list[Standing] = []
    everywhere, soonest = situation.room, inf
    for one in sorted(waiting, key=_turn):
        earliest = situation.earliest(one.workload.key)
        if earliest > situation.now:
            soonest = min(soonest, earliest)
            continue
        if not one.rolling:
            if room < 1:
                break
            if everywhere < 1:
                return chosen, "room", soonest
            room -= 1
            everywhere -= 1
        chosen.append(one)
    return chosen, "rate" if soonest < inf else "", soonest


def _turn(one: Standing) -> tuple[bool, bool, str, WorkloadKey]:
    """One that rolls already needs no room; one that was in trouble before might stop the others.

    Else those first whose last restart was the longest ago.
    """
    return not one.rolling, one.disturbed, one.target.last_rollout_time, one.workload.key


def _deadline(situation: Situation, standings: Iterable[Standing]) -> float:
    """When the first of those that roll has taken too long."""
    ends = (
        parse_rfc3339(one.target.last_rollout_time) + situation.rollout.timeout
        for one in standings
        if one.target.phase == "RollingOut"
    )
    return min(ends, default=inf)


def _missing(situation: Situation, there: Collection[tuple[str, str]]) -> tuple[str, ...]:
    if situation.rollout.mode != "Targets":
        return ()
    return tuple(
        f'{target.kind} "{target.name}"'
        for target in situation.rollout.targets
        if isinstance(target, TargetRef)
        and (target.kind, target.name) not in there
        and target.kind not in situation.unlisted
    )


def _roll(situation: Situation, one: Standing) -> Roll:
    """The restart, with entries for every managed Secret that the workload reads.

    The restarted pods read all of them anew, so that a change of another one that is still to be
    looked at is served by this restart.
    """
    workload, secret = one.workload, situation.secret
    look = _look(situation, workload)
    entries = {secret.name: look.entry(workload, secret)}
    for name in workload.consumes:
        other = situation.others(name) if name != secret.name else None
        if other is not None and other.labelled:
            entries[name] = look.entry(workload, other)
    # Higher than any that an ExternalSecret knows, also of an annotation that was taken away: each
    # of them takes a number that it knows for an old annotation.
    annotated = sequence_of(workload.checksum, workload.uid)
    sequence = max(annotated, one.target.sequence, situation.numbered(workload)) + 1
    return Roll(
        key=workload.key,
        uid=workload.uid,
        annotation=render(entries, needed=secret.name, sequence=sequence, uid=workload.uid),
        before=workload.checksum,
    )
