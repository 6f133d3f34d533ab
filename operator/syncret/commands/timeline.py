"""What happened between two pictures, and whether anything is left to do. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

from syncret.clock import parse_rfc3339
from syncret.commands.picture import Consumer, Picture, Reader

#: "unseen": all is done that can be seen, and pods may be among what cannot.
Outcome = Literal["running", "done", "failed", "unseen"]

#: Seconds after the change of a Secret within which a workload is restarted, if it is at all.
SETTLE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. ``time``: wall seconds when it was seen; ``about``: the object."""

    time: float
    what: str
    about: str = ""


def steps(before: Picture, now: Picture, *, wall: float) -> list[Step]:
    """What is new, in the order in which it must have happened."""
    known = {reader.place: reader for reader in before.readers}
    found: list[Step] = []
    for reader in now.readers:
        old = known.get(reader.place)
        if old is None:
            found.append(Step(wall, "appeared", f"ExternalSecret {reader.place}"))
            continue
        found += [Step(wall, what, about) for what, about in _of_reader(old, reader)]
    return found


def _of_reader(old: Reader, now: Reader) -> list[tuple[str, str]]:
    subject = f"ExternalSecret {now.place}"
    found = []
    if now.rotation is not None and now.rotation != old.rotation:
        words = {
            "Rotating": "the store was asked to rotate",
            "Done": "the store has rotated",
            "Failed": f"the rotation failed: {now.rotation.message}",
        }
        new = old.rotation is None or old.rotation.request != now.rotation.request
        if new and (now.rotation.versions or now.rotation.state != "Failed"):
            found.append((words["Rotating"], subject))
        if now.rotation.state != "Rotating":
            found.append((words[now.rotation.state], subject))
    if now.version != old.version:
        found.append((f"version {now.version} was read", subject))
    if now.changed != old.changed:
        found.append(("the Secret was updated", f"Secret {now.namespace}/{now.secret}"))
    if now.ready != old.ready or (now.ready == "False" and now.message != old.message):
        ready = "is in sync" if now.ready == "True" else f"is not in sync: {now.message}"
        found.append((ready, subject))
    if now.halted and (not old.halted or now.rollout != old.rollout):
        found.append((f"the rollout has stopped: {now.rollout}", subject))
    before = {(one.kind, one.name): one for one in old.consumers}
    for consumer in now.consumers:
        place = f"{consumer.kind} {now.namespace}/{consumer.name}"
        found += [(what, place) for what in _of_consumer(before, consumer)]
    return found


def _of_consumer(before: dict[tuple[str, str], Consumer], now: Consumer) -> list[str]:
    old = before.get((now.kind, now.name))
    if old is None:
        return [] if now.kind == "Pod" else ["appeared"]
    found = []
    if now.rolled and now.entry != old.entry:
        found.append("restart begun")
    if now.old < old.old:
        found.append(f"{len(now.pods) - now.old} of {len(now.pods)} pods have the new value")
    under_way = not old.healthy or old.old or now.entry != old.entry
    if now.rolled and now.healthy and not now.old and under_way:
        found.append("restarted and available")
    return found


def outcome(
    first: Picture, now: Picture, *, request: str, wall: float, rotates: str
) -> tuple[Outcome, str]:
    """Where it stands, and a sentence on what is waited for, or on what went wrong.

    ``request``: the id of the rotation, asked of the reader ``rotates``.
    """
    leader = next((one for one in now.readers if one.place == rotates), None)
    told = leader.rotation if leader is not None else None
    if leader is None:
        return "failed", f"ExternalSecret {rotates} is gone"
    if told is None or told.request != request:
        return "running", "the operator to take up the request: see whether it runs"
    if told.state != "Done":
        failed = told.state == "Failed"
        return ("failed", told.message) if failed else ("running", "the store's new version")
    return _followed(first, now, leader, wall)


def _followed(first: Picture, now: Picture, leader: Reader, wall: float) -> tuple[Outcome, str]:
    """The same, of what comes after the store has rotated. One that halts stops nobody else."""
    before = {reader.place: reader for reader in first.readers}
    halted = ""
    for reader in now.readers:
        if reader.version != leader.version and not reader.pinned:
            return "running", f"ExternalSecret {reader.place} to read the new version"
        waited = _waited_for(before.get(reader.place), reader, wall)
        if waited and reader.halted:
            halted = halted or f"ExternalSecret {reader.place}: {reader.rollout}"
        elif waited:
            why = f" ({reader.rollout})" if reader.rollout else ""
            return "running", f"{waited} to roll{why}"
    if halted:
        return "failed", halted
    return ("unseen" if now.blind else "done"), ""


def _waited_for(old: Reader | None, now: Reader, wall: float) -> str:
    """A workload that is being restarted, or still may be; "" if there is none."""
    if not now.rolls or (old is not None and old.changed == now.changed):
        return ""
    since = wall - parse_rfc3339(now.changed)
    for consumer in now.consumers:
        late = consumer.old and (since < SETTLE or _was_restarted(old, consumer))
        if consumer.rolled and (late or not consumer.healthy):
            return f"{consumer.kind} {now.namespace}/{consumer.name}"
    return ""


def left_over(now: Picture) -> list[str]:
    """Who still has the old value when all is done that is done without a person."""
    return [
        f"{consumer.kind} {reader.namespace}/{consumer.name}"
        for reader in now.readers
        for consumer in reader.consumers
        if consumer.old
    ]


def _was_restarted(old: Reader | None, now: Consumer) -> bool:
    for consumer in old.consumers if old is not None else ():
        if (consumer.kind, consumer.name) == (now.kind, now.name):
            return consumer.entry != now.entry
    return False
