"""What happened between two looks, and whether anything is left to do."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from syncret.api.rotate import RotationState, RotationStatus, request_of
from syncret.clock import parse_rfc3339
from syncret.commands.picture import Consumer, Picture, Pod, Reader
from syncret.commands.timeline import SETTLE, left_over, outcome, steps

BEFORE, AFTER = "2026-01-01T12:00:00Z", "2026-01-01T12:00:10Z"
WALL = parse_rfc3339(AFTER) + 1
WEB = Consumer(
    "Deployment", "web", ("k",), entry="a", pods=(Pod("1", False, True), Pod("2", False, True))
)
READER = Reader("shop", "db", "db", "prod/db", "True", "", "v1", BEFORE, consumers=(WEB,))
OTHER = replace(READER, namespace="team")
FIRST = Picture((READER, OTHER))


def rotation(state: RotationState, message: str = "") -> RotationStatus:
    return RotationStatus("r", state, AFTER, message, (("prod/db", "v2", "v1"),))


def where(*readers: Reader, wall: float = WALL) -> tuple[str, str]:
    return outcome(FIRST, Picture(readers), request="r", wall=wall, rotates="shop/db")


def pods(*old: bool) -> tuple[Pod, ...]:
    return tuple(Pod(str(number), one, True) for number, one in enumerate(old))


def test_the_way_of_a_rotation() -> None:
    assert where(READER, OTHER)[0] == "running"
    asked = replace(READER, rotation=rotation("Rotating"))
    assert where(asked, OTHER) == ("running", "the store's new version")
    read = replace(READER, rotation=rotation("Done"), version="v2", changed=AFTER)
    assert where(read, OTHER) == ("running", "ExternalSecret team/db to read the new version")
    assert where(read, replace(OTHER, pinned=True)) == ("done", "")
    other = replace(OTHER, version="v2", changed=AFTER)
    late = replace(WEB, pods=pods(True, True))
    waiting = ("running", "Deployment shop/web to roll")
    assert where(replace(read, consumers=(late,)), other) == waiting
    begun = replace(late, entry="b", healthy=False, pods=pods(True, False))
    assert where(replace(read, consumers=(begun,)), other) == waiting
    rolled = replace(WEB, entry="b")
    done = replace(read, consumers=(rolled,))
    assert where(done, replace(other, consumers=(rolled,))) == ("done", "")
    assert where(replace(READER, rotation=rotation("Failed", "why"))) == ("failed", "why")
    assert where(OTHER)[0] == "failed"


def test_what_cannot_be_seen_is_not_called_done() -> None:
    done = replace(READER, rotation=rotation("Done"), version="v2")
    now = Picture((done, replace(OTHER, version="v2")), blind=True)
    assert outcome(FIRST, now, request="r", wall=WALL, rotates="shop/db") == ("unseen", "")


def test_a_wish_that_was_refused_before_the_store_was_asked_does_not_say_so() -> None:
    refused = RotationStatus("r", "Failed", AFTER, "not read here", ())
    told = steps(FIRST, Picture((replace(READER, rotation=refused), OTHER)), wall=WALL)
    assert [one.what for one in told] == ["the rotation failed: not read here"]


def test_a_workload_that_nobody_restarts_is_waited_for_only_for_a_while() -> None:
    late = replace(WEB, pods=pods(True))
    read = replace(
        READER, rotation=rotation("Done"), version="v2", changed=AFTER, consumers=(late,)
    )
    end = parse_rfc3339(AFTER) + SETTLE + 1
    assert where(read, wall=end) == ("done", "")
    assert left_over(Picture((read,))) == ["Deployment shop/web"]
    assert where(replace(read, rolls=False)) == ("done", "")
    job = replace(late, kind="CronJob")
    assert where(replace(read, consumers=(job,))) == ("done", "")
    begun = replace(late, entry="b")
    assert where(replace(read, consumers=(begun,)), wall=end)[0] == "running"


def test_the_same_value_again_restarts_nothing() -> None:
    late = replace(WEB, pods=pods(True))
    same = replace(READER, rotation=rotation("Done"), version="v2", consumers=(late,))
    assert where(same) == ("done", "")


def test_steps_are_told_in_their_order() -> None:
    now = replace(
        READER,
        rotation=rotation("Done"),
        version="v2",
        changed=AFTER,
        consumers=(replace(WEB, entry="b", healthy=False, pods=pods(True, True)),),
    )
    told = [step.what for step in steps(FIRST, Picture((now, OTHER)), wall=WALL)]
    assert told == [
        "the store was asked to rotate",
        "the store has rotated",
        "version v2 was read",
        "the Secret was updated",
        "restart begun",
    ]
    later = replace(now, consumers=(replace(WEB, entry="b"),))
    told = [step.what for step in steps(Picture((now,)), Picture((later,)), wall=WALL)]
    assert told == ["2 of 2 pods have the new value", "restarted and available"]
    assert steps(FIRST, FIRST, wall=WALL) == []


@given(st.text(min_size=1))
def test_any_annotation_is_a_request(value: str) -> None:
    request = request_of(value)
    assert len(request.id) == 16
    assert request_of(f"cli-1:{value}").key == value


def test_a_rollout_that_halts_ends_it_when_nobody_else_is_on_the_way() -> None:
    told = 'Deployment "web" was restarted and did not become healthy in time.'
    broken = replace(WEB, entry="b", healthy=False, pods=pods(True, False))
    stopped = {"rollout": told, "halted": True, "consumers": (broken,)}
    read = replace(READER, rotation=rotation("Done"), version="v2", changed=AFTER, **stopped)  # type: ignore[arg-type]
    other = replace(OTHER, version="v2", changed=AFTER)
    rolling = replace(other, consumers=(broken,), rollout="0 of 1 workloads use it.")
    assert where(read, rolling) == (
        "running",
        "Deployment team/web to roll (0 of 1 workloads use it.)",
    )
    rolled = replace(WEB, entry="b")
    assert where(read, replace(other, consumers=(rolled,))) == (
        "failed",
        f"ExternalSecret shop/db: {told}",
    )
    found = steps(FIRST, Picture((read, OTHER)), wall=WALL)
    assert f"the rollout has stopped: {told}" in [step.what for step in found]
