"""Sync windows: when they are open, across time zones and changes of clocks."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncret.api.refresh import parse_refresh
from syncret.api.window import SyncWindow
from syncret.errors import SpecInvalid
from syncret.reconcile.windows import open_at, opening_after

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600.0


def when(text: str) -> float:
    """A time in UTC."""
    return datetime.fromisoformat(f"{text}+00:00").timestamp()


def berlin(text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


def window(
    schedule: str = "0 2 * * *",
    duration: float = 2 * HOUR,
    *,
    allow: bool = True,
    zone: str = "UTC",
) -> SyncWindow:
    return SyncWindow(allow, schedule, duration, zone)


def test_a_window_has_its_beginning_and_not_its_end() -> None:
    night = [window()]
    seen = {
        text: open_at(night, when(f"2026-11-25T{text}"))
        for text in ("01:59:59", "02:00:00", "03:59:59", "04:00:00")
    }
    assert seen == {"01:59:59": False, "02:00:00": True, "03:59:59": True, "04:00:00": False}


def test_allow_and_deny() -> None:
    noon = when("2026-11-25T12:00")  # a Wednesday
    assert open_at([], noon)
    assert not open_at([window()], noon)
    assert open_at([window(allow=False)], noon)
    midday = window("0 11 * * *")
    assert open_at([window(), midday], noon), "one of several is enough"
    assert not open_at([midday, window("30 11 * * *", allow=False)], noon), "Deny wins"


def test_when_it_opens_next() -> None:
    night = [window("0 2 * * 1-5")]
    assert opening_after(night, when("2026-11-25T01:00")) == when("2026-11-25T02:00")
    assert opening_after(night, when("2026-11-25T03:00")) == when("2026-11-25T03:00")
    assert opening_after(night, when("2026-11-27T04:00")) == when("2026-11-30T02:00"), "a weekend"
    frozen = [window("0 2 * * 1-5"), window("0 0 30 11 *", 24 * HOUR, allow=False)]
    assert opening_after(frozen, when("2026-11-27T04:00")) == when("2026-12-01T02:00")
    deny = [window("0 8 * * *", 10 * HOUR, allow=False)]
    assert opening_after(deny, when("2026-11-25T12:00")) == when("2026-11-25T18:00")


def test_windows_that_run_together_are_one() -> None:
    always = [window("0 * * * *", HOUR)]
    for minute in range(0, 180, 7):
        assert open_at(always, when("2026-11-25T12:00") + 60 * minute)
    overlapping = [window("0 2 * * *"), window("30 3 * * *")]
    assert open_at(overlapping, when("2026-11-25T05:29"))
    assert not open_at(overlapping, when("2026-11-25T05:30"))


def test_windows_that_never_open_are_looked_at_again_some_time() -> None:
    noon = when("2026-11-25T12:00")
    never = [window("* * * * *", 60.0, allow=False)]
    assert not open_at(never, noon)
    assert noon < opening_after(never, noon) < noon + 86_400


def test_the_clocks_of_the_time_zone_count() -> None:
    """Two o'clock in Berlin is 01:00 UTC in winter and midnight in summer."""
    night = [window(zone="Europe/Berlin")]
    assert opening_after(night, when("2026-01-10T12:00")) == when("2026-01-11T01:00")
    assert opening_after(night, when("2026-07-10T12:00")) == when("2026-07-11T00:00")


def test_a_time_that_the_clocks_leave_out_is_made_up_for() -> None:
    """On 29 March 2026 Berlin's clocks go from 02:00 to 03:00."""
    night = [window("30 2 * * *", HOUR, zone="Europe/Berlin")]
    opens = berlin("2026-03-29T03:00")
    assert opening_after(night, berlin("2026-03-29T00:00")) == opens
    assert [open_at(night, opens + shift) for shift in (-1, 0, HOUR - 1, HOUR)] == [
        False,
        True,
        True,
        False,
    ]
    assert opening_after(night, opens + HOUR) == berlin("2026-03-30T02:30")


def test_a_time_that_comes_twice_counts_once() -> None:
    """On 25 October 2026 Berlin's clocks go from 03:00 back to 02:00."""
    night = [window("30 2 * * *", 0.75 * HOUR, zone="Europe/Berlin")]
    first, second = berlin("2026-10-25T02:30"), berlin("2026-10-25T02:30", fold=1)
    assert second - first == HOUR
    assert [open_at(night, first + minutes * 60) for minutes in (-1, 0, 44, 45, 60, 70)] == [
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    assert opening_after(night, berlin("2026-10-25T02:20", fold=1)) == berlin("2026-10-26T02:30")
    # A window that is open while the clocks change lasts as long as it should.
    longer = [window("30 2 * * *", 2 * HOUR, zone="Europe/Berlin")]
    assert open_at(longer, berlin("2026-10-25T02:10", fold=1))
    assert not open_at(longer, first + 2 * HOUR)


SCHEDULES = st.sampled_from(
    ["0 2 * * *", "30 2 * * *", "*/30 * * * *", "15 1,3 * * 0", "0 0 1 * *", "59 23 * * 1-5"]
)
WINDOWS = st.lists(
    st.builds(
        SyncWindow,
        allow=st.booleans(),
        schedule=SCHEDULES,
        duration=st.sampled_from([60.0, 1800.0, 5400.0, 7 * HOUR, 30 * HOUR]),
        time_zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
    ),
    min_size=1,
    max_size=3,
)
#: Around both changes of clocks of 2026, in Europe and in America, and elsewhere.
TIMES = st.one_of(
    st.sampled_from(["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01"]).flatmap(
        lambda day: st.integers(-86_400, 2 * 86_400).map(lambda shift: when(f"{day}T00:00") + shift)
    ),
    st.integers(1_790_000_000, 1_830_000_000).map(float),
)


@given(WINDOWS, TIMES)
def test_the_next_opening_is_the_next_one(windows: list[SyncWindow], now: float) -> None:
    opens = opening_after(windows, now)
    assert opens >= now
    if open_at(windows, now):
        assert opens == now
        return
    # Of windows with very many edges, it is only said when to look again.
    assert opens > now + 6 * HOUR or open_at(windows, opens)
    step = max(60.0, (min(opens, now + 14 * 86_400) - now) / 50)
    looked = now
    while looked < min(opens, now + 14 * 86_400):
        assert not open_at(windows, looked)
        looked += step


@given(SCHEDULES, TIMES)
def test_a_window_is_open_for_its_duration(schedule: str, now: float) -> None:
    one = [window(schedule, 1800.0, zone="Europe/Berlin")]
    opens = opening_after(one, now)
    if opens > now:
        assert open_at(one, opens + 1799)
        assert not open_at(one, opens - 1)


# What is read of a spec.


def spec(**fields: str) -> dict[str, object]:
    given = {"kind": "Allow", "schedule": "0 2 * * *", "duration": "2h", **fields}
    return {"syncWindows": [given]}


def test_a_window_is_read() -> None:
    (read,) = parse_refresh(spec(kind="Deny", timeZone="Europe/Berlin")).windows
    assert read == SyncWindow(False, "0 2 * * *", 2 * HOUR, "Europe/Berlin")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"schedule": "0 2 * *"}, "five fields of cron"),
        ({"schedule": "0 0 2 * * *"}, "five fields of cron"),
        ({"schedule": "61 2 * * *"}, "five fields of cron"),
        ({"schedule": "0 2 31 2 *"}, "for a time that comes"),
        ({"timeZone": "Europe/Atlantis"}, 'timeZone: "Europe/Atlantis" is not a time zone'),
        ({"timeZone": "Europe"}, "is not a time zone"),
        ({"timeZone": "../../etc/passwd"}, "is not a time zone"),
        ({"timeZone": "/etc/localtime"}, "is not a time zone"),
        ({"duration": "30s"}, "from 1m to 168h"),
        ({"duration": "169h"}, "from 1m to 168h"),
    ],
)
def test_what_no_window_can_be_says_where(fields: dict[str, str], says: str) -> None:
    with pytest.raises(SpecInvalid) as caught:
        parse_refresh(spec(**fields))
    assert caught.value.message.startswith("spec.syncWindows[0]")
    assert says in caught.value.message


def test_the_library_and_the_data_of_time_zones_go_far_enough() -> None:
    far = datetime(2037, 1, 1, tzinfo=BERLIN) + timedelta(hours=12)
    assert opening_after([window(zone="Europe/Berlin")], far.timestamp()) > far.timestamp()
