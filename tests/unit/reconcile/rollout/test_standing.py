"""What happens to workloads that wait, roll, fail, are paused or put back; one workload each."""

import pytest

from syncret.api.health import Health, Held
from syncret.api.rollout import RolloutTarget
from unit.reconcile.rollout.world import World


@pytest.fixture
def world() -> World:
    """Pods that read "db", seen once; a change of it waits for nothing."""
    world = World(secrets={"db": {"a": b"A"}}, consumes={"db": None})
    world.spec |= {"timeout": 60.0}
    assert world.reconcile("db") == 0
    return world


def target(world: World) -> RolloutTarget:
    (found,) = world.statuses["db"]
    return found


def change(world: World, value: bytes) -> None:
    world.secrets["db"]["a"] = value


def roll(world: World, value: bytes = b"B", *, health: Health = Health.ROLLING) -> None:
    """A change is rolled out, and the pods are not there yet."""
    change(world, value)
    world.health = health
    assert world.reconcile("db") == 1


def test_it_rolls_until_all_pods_are_there(world: World) -> None:
    roll(world)
    assert target(world).phase == "RollingOut"
    assert target(world).former
    world.time += 5
    assert world.reconcile("db") == 0
    assert target(world).phase == "RollingOut"
    world.health = Health.COMPLETE
    assert world.reconcile("db") == 0
    assert (target(world).phase, target(world).former) == ("Current", "")
    # What becomes of it later is none of this rollout.
    world.health = Health.ROLLING
    world.reconcile("db")
    assert target(world).phase == "Current"


@pytest.mark.parametrize("how", ["late", "stuck"])
def test_one_that_takes_too_long_has_failed_until_it_is_healthy(world: World, how: str) -> None:
    roll(world)
    if how == "late":
        world.time += 61
    else:
        world.health = Health.STUCK
    assert world.reconcile("db") == 0
    assert target(world).phase == "Failed"
    world.reconcile("db")
    assert target(world).phase == "Failed"
    world.health = Health.COMPLETE
    world.reconcile("db")
    assert target(world).phase == "Current"


def test_one_that_failed_is_restarted_for_what_may_mend_it(world: World) -> None:
    roll(world)
    world.health = Health.STUCK
    world.reconcile("db")
    change(world, b"C")
    assert world.reconcile("db") == 1
    assert target(world).phase in {"RollingOut", "Failed"}
    world.health = Health.COMPLETE
    world.reconcile("db")
    assert target(world).phase == "Current"


def test_progress_is_read_from_the_cluster_after_a_crash(world: World) -> None:
    change(world, b"B")
    world.health = Health.ROLLING
    assert world.reconcile("db", dies="before the status") == 1
    rolled = world.now
    world.time += 20
    assert world.reconcile("db") == 0
    assert (target(world).phase, target(world).last_rollout_time) == ("RollingOut", rolled)
    world.time += 40  # a minute after the restart, and not after the crash
    world.reconcile("db")
    assert target(world).phase == "Failed"


@pytest.mark.parametrize("skew", [-10_000, 10_000])
def test_the_clock_of_the_api_server_may_be_another(world: World, skew: int) -> None:
    change(world, b"B")
    world.health = Health.ROLLING
    assert world.reconcile("db", dies="before the status") == 1
    world.rolled_at += skew
    world.reconcile("db")
    assert (target(world).phase, target(world).last_rollout_time) == ("RollingOut", world.now)


def test_progress_is_read_from_the_cluster_though_the_status_is_lost(world: World) -> None:
    roll(world)
    del world.statuses["db"]
    assert world.reconcile("db") == 0
    assert target(world).phase == "RollingOut"


def test_a_change_that_is_taken_back_while_it_waits_is_none(world: World) -> None:
    world.room = 0
    change(world, b"B")
    assert world.reconcile("db") == 0
    assert target(world).phase == "Pending"
    assert world.since["db"] == world.now
    change(world, b"A")
    assert world.reconcile("db") == 0
    assert (target(world).phase, target(world).wanted, world.since["db"]) == ("Current", "", "")
    world.room = 1
    assert world.reconcile("db") == 0


def test_what_somebody_else_restarted_while_it_waited_is_not_restarted_again(world: World) -> None:
    world.room = 0
    change(world, b"B")
    world.reconcile("db")
    world.template(image=2)
    world.health = Health.ROLLING
    assert world.reconcile("db") == 0
    assert target(world).phase == "RollingOut"
    world.room, world.health = 1, Health.COMPLETE
    assert world.reconcile("db") == 0
    assert target(world).phase == "Current"
    assert world.current("db")


def test_what_was_restarted_before_the_last_change_is_restarted(world: World) -> None:
    world.room = 0
    change(world, b"B")
    world.reconcile("db")
    world.template(image=2)
    change(world, b"C")
    world.room = 1
    assert world.reconcile("db") == 1


def test_a_paused_one_waits_until_it_is_not(world: World) -> None:
    world.held = "Paused"
    change(world, b"B")
    assert world.reconcile("db") == 0
    assert target(world).phase == "Paused"
    world.held = ""
    assert world.reconcile("db") == 1


def test_a_paused_one_whose_value_comes_back_is_as_it_was(world: World) -> None:
    world.held = "Paused"
    change(world, b"B")
    world.reconcile("db")
    change(world, b"A")
    world.reconcile("db")
    assert target(world).phase == "Current"


def test_one_that_is_paused_while_it_rolls_goes_on_afterwards(world: World) -> None:
    roll(world)
    world.held = "Paused"
    world.time += 1000
    assert world.reconcile("db") == 0
    assert target(world).phase == "Paused"
    world.held = ""
    assert world.reconcile("db") == 0
    assert target(world).phase == "RollingOut"
    assert target(world).last_rollout_time == world.now  # it has its whole time again


@pytest.mark.parametrize("held", ["OnDelete", "Partition"])
def test_pods_that_somebody_has_to_delete(world: World, held: Held) -> None:
    world.held = held
    roll(world)
    assert target(world).phase == "OnDelete"
    world.time += 10_000
    world.reconcile("db")
    assert target(world).phase == "OnDelete"
    world.health = Health.COMPLETE
    world.reconcile("db")
    assert target(world).phase == "Current"


@pytest.mark.parametrize("health", [Health.ROLLING, Health.STUCK])
def test_a_former_template_put_back_while_it_rolls_is_told_and_not_fought(
    world: World, health: Health
) -> None:
    """As an operator does that owns the workload, or a person by "rollout undo"."""
    roll(world, health=health)
    world.reconcile("db")
    world.template(annotation="")
    world.health = Health.COMPLETE  # the former pods were never away
    for _ in range(5):
        world.time += 100
        assert world.reconcile("db") == 0
        assert target(world).phase == "Reverted"


def test_one_that_was_put_back_is_tried_again_with_other_data(world: World) -> None:
    roll(world)
    world.template(annotation="")
    world.health = Health.COMPLETE
    world.reconcile("db")
    change(world, b"C")
    assert world.reconcile("db") == 1
    assert target(world).phase == "Current"


def test_one_that_was_put_back_and_then_restarted_by_hand_is_current(world: World) -> None:
    roll(world)
    world.template(annotation="")
    world.health = Health.COMPLETE
    world.reconcile("db")
    world.template(image=2)
    assert world.reconcile("db") == 0
    assert target(world).phase == "Current"


def test_a_template_taken_away_after_the_rollout_is_no_concern(world: World) -> None:
    roll(world, health=Health.COMPLETE)
    world.template(annotation="")
    world.reconcile("db")
    assert target(world).phase == "Current"


def test_another_template_while_it_rolls_is_one_more_of_the_same(world: World) -> None:
    roll(world)
    world.time += 50
    world.template(image=2)
    world.reconcile("db")
    world.time += 50
    assert world.reconcile("db") == 0
    assert target(world).phase == "RollingOut"


def test_an_annotation_of_another_workload_says_nothing(world: World) -> None:
    """A manifest with our annotation was copied."""
    roll(world, health=Health.COMPLETE)
    copied = world.annotation
    world.recreate(copied)
    del world.statuses["db"]
    change(world, b"C")
    world.start_pods()
    assert world.reconcile("db") == 0
    change(world, b"D")
    assert world.reconcile("db") == 1
