"""Refresh slots: computed, spread, in order."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from syncret.reconcile.schedule import next_slot

INTERVALS = st.floats(1.0, 86_400.0)
TIMES = st.floats(1.6e9, 2.2e9)


@given(st.uuids(), INTERVALS, TIMES)
def test_slots_are_ahead_in_order_and_nearly_one_interval_apart(
    uid: object, interval: float, now: float
) -> None:
    slots = [now]
    for _ in range(5):
        slots.append(next_slot(str(uid), interval, slots[-1]))
    assert 0 < slots[1] - now <= 1.2 * interval + 1e-3
    for one, other in pairwise(slots[1:]):
        assert 0.8 * interval - 1e-3 <= other - one <= 1.2 * interval + 1e-3


@given(st.uuids(), INTERVALS, TIMES, st.floats(0.0, 1.0))
def test_a_restart_between_two_slots_computes_the_same_slot(
    uid: object, interval: float, now: float, part: float
) -> None:
    due = next_slot(str(uid), interval, now)
    restart = now + part * (due - now) * 0.999
    assert next_slot(str(uid), interval, restart) == due


def test_a_fleet_is_spread_over_the_interval() -> None:
    now, interval, fleet = 1.8e9, 3600.0, 6000
    tenths = [0] * 12
    for number in range(fleet):
        tenths[int((next_slot(f"uid-{number}", interval, now) - now) / 360)] += 1
    assert max(tenths) < 1.25 * fleet / 10
    assert min(tenths[1:9]) > 0.75 * fleet / 10
