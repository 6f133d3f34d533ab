"""Which workloads restart when, told as stories of a cluster."""

from dataclasses import replace

import pytest

from syncret.digest import Digester
from syncret.reconcile.rollout.checksum import parse, sequence_of
from syncret.reconcile.rollout.plan import plan_rollouts
from unit.reconcile.rollout.world import Death, World


@pytest.fixture
def world() -> World:
    """Pods that read one key of "db", and all of "cache"; both seen once."""
    world = World(
        secrets={"db": {"password": b"A", "unread": b"A"}, "cache": {"token": b"A"}},
        consumes={"db": frozenset({"password"}), "cache": None},
    )
    assert [world.reconcile("db"), world.reconcile("cache")] == [0, 0]
    return world


def change(world: World, value: bytes, secret: str = "db", key: str = "password") -> None:  # noqa: S107
    world.secrets[secret][key] = value


def test_the_first_sight_is_remembered_and_restarts_nothing(world: World) -> None:
    assert world.annotation == ""
    (target,) = world.statuses["db"]
    assert (target.kind, target.name, target.uid) == ("Deployment", "api", "uid-1")
    assert target.last_rollout_time == ""
    assert world.plan("db").targets == (target,)


def test_the_first_change_restarts_once_and_writes_the_annotation(world: World) -> None:
    change(world, b"B")
    assert world.reconcile("db") == 1
    assert world.current("db")
    (target,) = world.statuses["db"]
    assert str(parse(world.annotation)["db"]) == target.checksum
    assert target.last_rollout_time == world.now
    assert [world.reconcile("db") for _ in range(3)] == [0, 0, 0]
    assert world.statuses["db"] == (target,)


def test_a_key_that_no_pod_reads_restarts_nothing(world: World) -> None:
    seen = world.statuses["db"]
    change(world, b"B", key="unread")
    assert world.reconcile("db") == 0
    assert world.statuses["db"] == seen


def test_a_new_key_restarts_those_that_read_all_keys(world: World) -> None:
    change(world, b"B", "cache", "new")
    change(world, b"B", "db", "new")
    assert [world.reconcile("cache"), world.reconcile("db")] == [1, 0]


def test_several_secrets_that_change_at_once_restart_once(world: World) -> None:
    change(world, b"B")
    change(world, b"B", "cache", "token")
    assert world.reconcile("db") == 1
    assert parse(world.annotation).keys() == {"db", "cache"}
    rolled = world.now
    assert world.reconcile("cache") == 0
    assert world.current("cache")
    # The second one says that it was restarted for, too.
    assert world.statuses["cache"][0].last_rollout_time == rolled


def test_two_plans_made_at_the_same_time_are_one_restart(world: World) -> None:
    change(world, b"B")
    change(world, b"B", "cache", "token")
    rolls = [roll for name in ("db", "cache") for roll in world.plan(name).rolls]
    for roll in rolls:
        world.template(annotation=roll.annotation)
    assert (len(rolls), world.restarts) == (2, 1)


def test_a_template_that_reads_more_keys_is_a_new_start(world: World) -> None:
    change(world, b"B")
    world.reconcile("db")
    world.template(consumes={"db": frozenset({"password", "unread"}), "cache": None})
    change(world, b"C", key="unread")  # between the edit and our look at it
    assert world.reconcile("db") == 0
    change(world, b"D", key="unread")
    assert world.reconcile("db") == 1


def test_an_annotation_that_a_tool_takes_away_is_not_fought_for(world: World) -> None:
    change(world, b"B")
    world.reconcile("db")
    world.template(annotation="")
    assert world.reconcile("db") == 0
    assert world.annotation == ""
    change(world, b"C")
    assert world.reconcile("db") == 1
    assert world.current("db")


def test_rollout_undo_is_not_undone(world: World) -> None:
    change(world, b"B")
    world.reconcile("db")
    old = world.annotation
    change(world, b"C")
    world.reconcile("db")
    world.template(annotation=old)
    assert world.reconcile("db") == 0
    change(world, b"D")
    assert world.reconcile("db") == 1
    assert world.current("db")


@pytest.mark.parametrize("annotated", [False, True])
def test_a_lost_digest_key_restarts_nothing(world: World, annotated: bool) -> None:
    if annotated:
        change(world, b"B")
        world.reconcile("db")
    world.digester = Digester(b"2" * 32)
    assert world.reconcile("db") == 0
    change(world, b"C")
    assert world.reconcile("db") == 1
    assert world.current("db")


@pytest.mark.parametrize(("dies", "then"), [("before the patch", 1), ("before the status", 0)])
def test_a_crash_restarts_neither_never_nor_twice(world: World, dies: Death, then: int) -> None:
    change(world, b"B")
    world.reconcile("db", dies=dies)
    rolled = world.now
    assert world.reconcile("db") == then
    assert world.current("db")
    assert world.statuses["db"][0].last_rollout_time == (world.now if then else rolled)
    assert world.reconcile("db") == 0


def test_changes_while_the_operator_was_down_are_one_restart(world: World) -> None:
    for value in (b"B", b"C", b"D"):
        change(world, value)
    assert world.reconcile("db") == 1
    assert world.current("db")


def test_a_value_that_comes_back_restarts_each_way(world: World) -> None:
    for value in (b"B", b"A", b"B"):
        change(world, value)
        assert world.reconcile("db") == 1
        assert world.current("db")


def test_a_value_that_comes_back_unseen_restarts_nothing(world: World) -> None:
    change(world, b"B")
    change(world, b"A")
    assert world.reconcile("db") == 0


def test_mode_none_restarts_nothing_then_or_later(world: World) -> None:
    world.modes["db"] = "None"
    change(world, b"B")
    assert world.reconcile("db") == 0
    world.modes["db"] = "Auto"
    assert world.reconcile("db") == 0
    change(world, b"C")
    assert world.reconcile("db") == 1


def test_mode_none_of_an_annotated_workload_restarts_nothing_later(world: World) -> None:
    change(world, b"B")
    world.reconcile("db")
    world.modes["db"] = "None"
    change(world, b"C")
    world.reconcile("db")
    world.modes["db"] = "Auto"
    assert world.reconcile("db") == 0
    assert world.statuses["db"][0].last_rollout_time != ""


def test_without_the_secret_nothing_happens(world: World) -> None:
    seen = world.statuses["db"]
    data = world.secrets.pop("db")
    assert world.reconcile("db") == 0
    assert world.statuses["db"] == seen
    world.secrets["db"] = {**data, "password": b"B"}  # deleted while it changed, made again
    assert world.reconcile("db") == 1


def test_a_secret_that_is_missing_has_no_entry(world: World) -> None:
    del world.secrets["cache"]
    change(world, b"B")
    world.reconcile("db")
    assert parse(world.annotation).keys() == {"db"}


def test_a_secret_without_our_label_has_no_entry(world: World) -> None:
    cache, db = world.managed("cache"), world.managed("db")
    assert cache is not None
    assert db is not None
    others = {"cache": replace(cache, labelled=False)}.get
    situation = world.situation("db", replace(db, digests={}), others=others)
    plan = plan_rollouts(situation, [world.workload])
    assert [parse(roll.annotation).keys() for roll in plan.rolls] == [{"db"}]


def test_a_workload_made_anew_is_a_new_start(world: World) -> None:
    world.recreate("")
    change(world, b"B")
    assert world.reconcile("db") == 0
    assert [target.uid for target in world.statuses["db"]] == ["uid-1+"]


def test_a_workload_that_reads_the_secret_no_more_drops_out(world: World) -> None:
    world.template(consumes={"cache": None})
    assert world.reconcile("db") == 0
    assert world.statuses["db"] == ()


def test_an_external_secret_made_anew_goes_by_the_annotation(world: World) -> None:
    change(world, b"B")
    world.reconcile("db")
    del world.statuses["db"]
    assert world.reconcile("db") == 0
    del world.statuses["db"]
    change(world, b"C")
    assert world.reconcile("db") == 1


def test_garbage_in_the_annotation_counts_as_none(world: World) -> None:
    world.template(annotation="db=yes,???")
    assert world.reconcile("db") == 0
    change(world, b"B")
    assert world.reconcile("db") == 1
    assert parse(world.annotation).keys() == {"db", "cache"}


def test_garbage_in_the_status_counts_as_none(world: World) -> None:
    world.statuses["db"] = tuple(replace(t, checksum="yes") for t in world.statuses["db"])
    change(world, b"B")
    assert world.reconcile("db") == 0


# What an annotation that somebody put back, or an old entry of it, does not say any more.


def test_undo_and_then_the_value_that_the_old_annotation_names(world: World) -> None:
    change(world, b"B")
    world.reconcile("db")
    old = world.annotation
    change(world, b"C")
    world.reconcile("db")
    world.template(annotation=old)
    world.reconcile("db")
    change(world, b"B")
    world.reconcile("db")
    assert world.current("db")


def test_a_crash_before_the_status_and_then_the_value_before(world: World) -> None:
    change(world, b"B")
    world.reconcile("db", dies="before the status")
    change(world, b"A")
    world.reconcile("db")
    assert world.current("db")


def test_mode_none_and_then_the_value_that_the_annotation_names(world: World) -> None:
    change(world, b"B")
    world.reconcile("db")
    world.modes["db"] = "None"
    change(world, b"C")
    world.reconcile("db")
    world.modes["db"] = "Auto"
    world.start_pods()  # by hand
    change(world, b"B")
    world.reconcile("db")
    assert world.current("db")


def test_a_secret_read_again_after_a_while_restarts_nothing(world: World) -> None:
    change(world, b"B")
    world.reconcile("db")
    world.template(consumes={"cache": None})
    world.reconcile("db")
    change(world, b"C")
    world.reconcile("db")
    world.template(consumes={"db": frozenset({"password"}), "cache": None})
    assert world.current("db")
    assert world.reconcile("db") == 0
    change(world, b"B")
    assert world.reconcile("db") == 1


def test_an_annotation_taken_away_and_then_other_keys(world: World) -> None:
    change(world, b"B")
    world.reconcile("db")
    world.template(annotation="")
    world.reconcile("db")
    world.template(consumes={"db": frozenset({"password", "unread"}), "cache": None})
    world.reconcile("db")
    world.template(consumes={"db": frozenset({"password"}), "cache": None})
    assert world.reconcile("db") == 0
    change(world, b"C")
    assert world.reconcile("db") == 1
    assert sequence_of(world.annotation, world.uid) == 2
