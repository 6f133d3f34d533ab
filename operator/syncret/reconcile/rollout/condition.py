"""The condition RolledOut: whether every workload uses what the Secret holds. Pure.

While it is True, nobody needs the credential before any more. Its messages are stable: they count
what is done, and name one workload where a person has to do something.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Final

from syncret.api.externalsecret import Condition
from syncret.api.rollout import Phase, RolloutTarget
from syncret.clock import parse_rfc3339, rfc3339
from syncret.reconcile.rollout.plan import RolloutPlan

#: Reasons of the condition. The first is that of True.
ROLLED_OUT: Final = "RolledOut"
ROLLING_OUT: Final = "RollingOut"
WAITING_FOR_WINDOW: Final = "WaitingForWindow"
FAILED: Final = "RolloutFailed"
REVERTED: Final = "RolloutReverted"
PAUSED: Final = "RolloutPaused"
ON_DELETE: Final = "WaitingForDeletion"
JOBS: Final = "WaitingForJobs"
MISSING: Final = "TargetNotFound"

#: Reasons of which an Event tells, as a warning.
ALARMING: Final = frozenset({FAILED, REVERTED, MISSING})

#: Phases in which pods may have other data than the Secret holds.
_LEFT: Final[frozenset[Phase]] = frozenset(
    {"Pending", "RollingOut", "Failed", "Paused", "OnDelete", "Reverted", "Running"}
)


def rolled_out(
    plan: RolloutPlan,
    old: Condition | None,
    *,
    owner: Callable[[RolloutTarget], str],
    generation: int,
    now: str,
) -> Condition | None:
    """The condition; None where no workload uses the Secret.

    ``owner``: kind and name of what controls a workload, "" for none.
    """
    concerned = [one for one in plan.targets if one.phase not in {"NotRead", "Excluded"}]
    if not concerned and not plan.missing:
        return None
    reason, message = _told(plan, concerned, owner)
    status = "True" if reason == ROLLED_OUT else "False"
    kept = old is not None and old.status == status
    if kept and old is not None and status == "True":
        # It was False in between, and a process that died did not say so.
        since = parse_rfc3339(old.last_transition_time)
        kept = all(parse_rfc3339(one.last_rollout_time) <= since for one in concerned)
    condition = Condition(
        type="RolledOut",
        status=status,
        reason=reason,
        message=message,
        last_transition_time=old.last_transition_time if kept and old is not None else now,
        observed_generation=generation,
    )
    if old is not None and replace(condition, observed_generation=old.observed_generation) == old:
        return old  # an edit that changes nothing here is no reason to write
    return condition


#: What is told where nothing rolls or waits for its turn; the workload comes before it.
_STANDING: Final[tuple[tuple[Phase, str, str], ...]] = (
    ("Paused", PAUSED, "is paused: it goes on when that has ended."),
    (
        "OnDelete",
        ON_DELETE,
        "does not replace all of its pods by itself (OnDelete, or a partition): delete the others.",
    ),
    ("Running", JOBS, "began with the former value, and is left to end."),
)


def _told(
    plan: RolloutPlan, targets: Sequence[RolloutTarget], owner: Callable[[RolloutTarget], str]
) -> tuple[str, str]:
    by_phase: dict[Phase, list[RolloutTarget]] = {}
    for target in targets:
        by_phase.setdefault(target.phase, []).append(target)
    if "Failed" in by_phase:
        return FAILED, _failed(by_phase)
    if "Reverted" in by_phase:
        return REVERTED, _reverted(by_phase, owner)
    if "Pending" in by_phase or "RollingOut" in by_phase:
        return _going_on(plan, targets)
    for phase, reason, sentence in _STANDING:
        if phase in by_phase:
            return reason, f"{_named(by_phase[phase])} {sentence}"
    if plan.missing:
        more = f" and {len(plan.missing) - 1} more" if len(plan.missing) > 1 else ""
        return MISSING, (
            f"spec.rollout.targets names {plan.missing[0]}{more}, which is not in the namespace: "
            "correct the name, or take it out."
        )
    return ROLLED_OUT, f"All workloads use what the Secret holds ({len(targets)})."


def _going_on(plan: RolloutPlan, targets: Sequence[RolloutTarget]) -> tuple[str, str]:
    left = sum(target.phase in _LEFT for target in targets)
    progress = f"{len(targets) - left} of {len(targets)} workloads use what the Secret holds."
    if plan.gate == "window" and all(target.phase != "RollingOut" for target in targets):
        until = f" The next one opens at {rfc3339(plan.until)}." if plan.until < inf else ""
        return WAITING_FOR_WINDOW, f"{progress} The others wait for a window.{until}"
    return ROLLING_OUT, progress


def _failed(by_phase: Mapping[Phase, Sequence[RolloutTarget]]) -> str:
    waiting = len(by_phase.get("Pending", ()))
    were = "was" if waiting == 1 else "were"
    stopped = f" {waiting} more {were} not restarted." if waiting else ""
    return (
        f"{_named(by_phase['Failed'])} was restarted and did not become healthy in time; "
        f"nothing else is restarted.{stopped} Look at its pods: if the new value is wrong, "
        "rotate it again or put the former one back in the store."
    )


def _reverted(
    by_phase: Mapping[Phase, Sequence[RolloutTarget]], owner: Callable[[RolloutTarget], str]
) -> str:
    by = owner(by_phase["Reverted"][0])
    whose = f"{by}, which controls it," if by else "somebody"
    what = (
        f"have {by} restart it"
        if by
        else "restart it by hand, and let the other tool leave the annotation alone"
    )
    return (
        f"{_named(by_phase['Reverted'])} was restarted, and {whose} put its former template "
        f"back, so that pods may still use the former value. It is not tried again: {what}."
    )


def _named(targets: Sequence[RolloutTarget]) -> str:
    more = f" (and {len(targets) - 1} more)" if len(targets) > 1 else ""
    return f'{targets[0].kind} "{targets[0].name}"{more}'
