"""Refresh slots: computed, spread, in order."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from support.objects import external_secret
from syncret.api.externalsecret import ExternalSecret
from syncret.reconcile.schedule import (
    LONGEST_SPREAD,
    LONGEST_WINDOW,
    NEVER,
    Due,
    due_after,
    first_due,
    held_until,
    next_slot,
    refresh_seed,
    wake_time,
)
from syncret.reconcile.windows import open_at

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


# Sync windows.

NIGHT: dict[str, Any] = {"kind": "Allow", "schedule": "0 2 * * *", "duration": "2h"}
DAY: dict[str, Any] = {"kind": "Deny", "schedule": "0 8 * * *", "duration": "10h"}
MIDNIGHT = datetime(2026, 11, 25, tzinfo=UTC).timestamp()


def record(key: str = "app/db", interval: str = "1h", *windows: dict[str, Any]) -> ExternalSecret:
    return external_secret(
        dataFrom=[{"extract": {"key": key}}],
        refreshInterval=interval,
        syncWindows=list(windows or (NIGHT,)),
    )


KEYS = st.text("abc/", min_size=1, max_size=6)
WINDOWED = st.builds(
    record, KEYS, st.sampled_from(["1m", "1h", "7h", "48h"]), st.sampled_from([NIGHT, DAY])
)
WITHIN = st.floats(MIDNIGHT, MIDNIGHT + 10 * 86_400)


def test_what_falls_due_while_it_is_closed_is_due_when_it_opens() -> None:
    due = due_after(record(), MIDNIGHT + 12 * 3600)
    assert MIDNIGHT + 12 * 3600 < due.slot < MIDNIGHT + 13.2 * 3600
    assert due.opens == MIDNIGHT + 26 * 3600
    assert due.opens <= due.at <= due.opens + LONGEST_SPREAD
    assert due.held(due.slot)
    assert not due.held(due.slot - 1)
    assert not due.held(due.opens)


def test_a_fleet_that_waited_is_spread_when_the_window_opens() -> None:
    dues = [due_after(record(f"key-{number}"), MIDNIGHT + 12 * 3600) for number in range(600)]
    opens = MIDNIGHT + 26 * 3600
    thirds = [0, 0, 0]
    for due in dues:
        thirds[int((due.at - opens) / (LONGEST_SPREAD / 3))] += 1
    assert min(thirds) > 150


@given(WINDOWED, WITHIN)
def test_a_refresh_is_due_in_a_window_and_after_its_slot(es: ExternalSecret, served: float) -> None:
    due = due_after(es, served)
    assert served < due.slot <= due.opens <= due.at
    assert open_at(es.refresh.windows, due.at)


@given(WINDOWED, WITHIN, st.floats(0.0, 1.0))
def test_a_restart_finds_what_waits(es: ExternalSecret, served: float, part: float) -> None:
    """Restarted at any time before the next is due: it is due all the same, and as much is told."""
    due = due_after(es, served)
    restarted = served + part * (due.at - served) * 0.999
    told = due.opens if due.slot <= restarted and due.opens > due.slot else 0.0
    again = first_due(es, served=restarted, told=told)
    assert (again.at, again.opens) == (due.at, due.opens)
    assert again.held(restarted) == due.held(restarted)


def test_what_was_told_to_wait_and_was_not_made_while_nobody_worked_is_due_at_once() -> None:
    opens = MIDNIGHT + 26 * 3600
    late = first_due(record(), served=opens + 3000, told=opens)
    assert late.at < opens + 3000
    assert not late.held(opens + 3000)


def test_a_refresh_that_the_window_closed_on_waits_for_the_next() -> None:
    es = record()
    closing = MIDNIGHT + 4 * 3600
    missed = Due(closing - 5, closing - 5, closing - 5)
    assert held_until(es, missed, closing - 1) is missed
    waiting = held_until(es, missed, closing + 3)
    assert (waiting.slot, waiting.opens) == (missed.slot, MIDNIGHT + 26 * 3600)
    assert waiting.held(closing + 3)


def test_without_the_clock_nothing_is_ever_due() -> None:
    for spec in ({"refreshInterval": "0s"}, {"refreshPolicy": "OnChange"}):
        es = external_secret(**spec)
        assert due_after(es, MIDNIGHT) == first_due(es, served=MIDNIGHT, told=0.0) == NEVER
        assert not NEVER.held(1e18)


def test_who_reads_the_same_refreshes_together_whoever_he_is() -> None:
    def seed(name: str, key: str, **spec: Any) -> str:
        return refresh_seed(external_secret(name, dataFrom=[{"extract": {"key": key}}], **spec))

    one = seed("one", "app/db")
    assert one == seed("other", "app/db", target={"name": "another"})
    assert one != seed("one", "app/more")
    assert one != seed("one", "app/db", secretStoreRef={"name": "elsewhere"})


@given(TIMES, INTERVALS, st.integers(0, 50_000), st.integers(1, 20))
def test_an_object_is_woken_when_it_is_due_or_a_little_later(
    due: float, interval: float, readers: int, batch: int
) -> None:
    wake = wake_time(due, interval=interval, readers=readers, batch=batch)
    assert 0 <= wake - due <= min(interval / 20, LONGEST_WINDOW) + 1e-3


def test_in_a_window_as_many_are_woken_together_as_one_call_reads() -> None:
    interval, readers, batch = 3600.0, 10_000, 20
    woken = [
        wake_time(number * interval / readers, interval=interval, readers=readers, batch=batch)
        for number in range(readers)
    ]
    assert len(set(woken)) <= readers / batch + 1
