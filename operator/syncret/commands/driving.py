"""Asks for a rotation and follows it to the last pod.

One ExternalSecret is asked to have the store rotate. When it has read the new version, all others
that read the secret are asked to refresh at once, which they do ahead of everything that is due by
the clock. What happens is read from the cluster, so a connection that breaks loses nothing, and a
command that is interrupted stops nothing: the operator goes on.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from syncret.api.keys import ObjectKey
from syncret.api.rotate import request_of
from syncret.api.store import Store
from syncret.commands.looking import Cluster, Scope
from syncret.commands.picture import Picture, Reader
from syncret.commands.timeline import Step, left_over, outcome, steps
from syncret.errors import SyncretError

#: Seconds between two looks.
POLL: Final = 1.0

#: Looks in a row that may fail.
_PATIENCE: Final = 30

#: Exit codes.
DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
LATE: Final = 3
INTERRUPTED: Final = 130


@dataclass(slots=True)
class Report:
    """What came of it. ``reason``: why it failed, or what was still waited for.

    ``unasked``: who reads the secret as well and was not asked to refresh, since it came to no
    rotation while this was followed.
    """

    started: float
    state: str = "running"
    reason: str = ""
    seconds: float = 0.0
    timeline: list[Step] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)
    picture: Picture = field(default_factory=Picture)

    @property
    def code(self) -> int:
        """The exit code."""
        codes = {"done": DONE, "late": LATE, "unseen": LATE, "interrupted": INTERRUPTED}
        return codes.get(self.state, FAILED)

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "outcome": self.state,
            "reason": self.reason,
            "started": stamp(self.started),
            "seconds": round(self.seconds, 1),
            "timeline": [
                {
                    "time": stamp(step.time),
                    "seconds": round(step.time - self.started, 1),
                    "what": step.what,
                    "about": step.about,
                }
                for step in self.timeline
            ],
            "leftOver": self.left_over,
            "notAsked": self.unasked,
        }


async def drive(
    cluster: Cluster,
    scope: Scope,
    stores: Mapping[ObjectKey, Store],
    *,
    rotates: Reader,
    key: str,
    timeout: float,
    say: Callable[[Report, Step], None],
) -> Report:
    """Rotates and follows. ``rotates``: who asks the store; ``key``: which of its keys, "": all.

    Raises SyncretError if the request cannot be made.
    """
    first = await cluster.picture(scope, stores)
    report = Report(time.time(), picture=first)

    def note(step: Step) -> None:
        report.timeline.append(step)
        say(report, step)

    value = f"cli-{time.time_ns()}" + (f":{key}" if key else "")
    await cluster.ask_to_rotate(rotates.namespace, rotates.name, value)
    note(Step(time.time(), "asked to rotate", f"ExternalSecret {rotates.place}"))
    try:
        await _follow(
            cluster,
            (scope, stores),
            report,
            rotates=rotates,
            value=value,
            timeout=timeout,
            note=note,
        )
    except asyncio.CancelledError:  # Ctrl-C: what is known by now is told
        report.state, report.seconds = "interrupted", time.time() - report.started
    return report


async def _follow(
    cluster: Cluster,
    of: tuple[Scope, Mapping[ObjectKey, Store]],
    report: Report,
    *,
    rotates: Reader,
    value: str,
    timeout: float,
    note: Callable[[Step], None],
) -> None:
    """Until there is nothing left to wait for, or no time; the report says which."""
    request, asked, failures = request_of(value).id, False, 0
    first = before = report.picture
    report.unasked = _others(first, rotates)
    while True:
        now = time.time()
        report.seconds = now - report.started
        try:
            picture = await cluster.picture(*of)
            failures = 0
        except SyncretError as error:
            failures += 1
            if failures >= _PATIENCE:
                report.state, report.reason = "failed", error.message
                return
            picture = before
        for step in steps(before, picture, wall=now):
            note(step)
        before = report.picture = picture
        report.state, report.reason = outcome(
            first, picture, request=request, wall=now, rotates=rotates.place
        )
        if report.state == "running" and not asked and _has_rotated(picture, rotates, request):
            asked, report.unasked = True, []
            await _ask_the_others(cluster, picture, rotates, value, note)
        report.left_over = left_over(picture)
        if report.state == "done":
            report.unasked = []
        if report.state != "running":
            return
        if report.seconds >= timeout:
            report.state = "late"
            return
        await asyncio.sleep(POLL)


def _others(picture: Picture, rotates: Reader) -> list[str]:
    return [one.place for one in picture.readers if one.place != rotates.place]


async def _ask_the_others(
    cluster: Cluster, picture: Picture, rotates: Reader, value: str, note: Callable[[Step], None]
) -> None:
    others = [one for one in picture.readers if one.place != rotates.place]

    async def ask(reader: Reader) -> None:
        subject = f"ExternalSecret {reader.place}"
        try:
            await cluster.ask_to_sync(reader.namespace, reader.name, value)
        except SyncretError as error:
            note(Step(time.time(), f"could not be asked to refresh: {error.message}", subject))
        else:
            note(Step(time.time(), "asked to refresh", subject))

    await asyncio.gather(*map(ask, others))


def _has_rotated(picture: Picture, rotates: Reader, request: str) -> bool:
    return any(
        one.place == rotates.place
        and one.rotation is not None
        and (one.rotation.request, one.rotation.state) == (request, "Done")
        for one in picture.readers
    )


def stamp(wall: float) -> str:
    """RFC 3339 with milliseconds."""
    moment = datetime.fromtimestamp(wall, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
