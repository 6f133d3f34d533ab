"""The queue: one place per key, no key twice at once, delays, lanes, and how it ends."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.clock import FakeClock
from syncret.queue import FAIR_SHARE, Priority, Queue, QueueClosed


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> Queue[str]:
    return Queue(clock)


async def _takes_nothing(queue: Queue[str]) -> bool:
    task = asyncio.create_task(queue.take())
    for _ in range(5):
        await asyncio.sleep(0)
    if task.done():
        return False
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return True


async def test_a_key_added_often_is_taken_once(queue: Queue[str]) -> None:
    for _ in range(5):
        queue.add("a")
    assert await queue.take() == "a"
    queue.done("a")
    assert await _takes_nothing(queue)


async def test_a_key_added_while_it_runs_runs_once_more_and_not_before(queue: Queue[str]) -> None:
    queue.add("a")
    await queue.take()
    queue.add("a")
    queue.add("a")
    assert await _takes_nothing(queue)
    queue.done("a")
    assert await queue.take() == "a"
    queue.done("a")
    assert await _takes_nothing(queue)


async def test_a_delayed_key_comes_when_it_is_due(queue: Queue[str], clock: FakeClock) -> None:
    queue.add("a", delay=10)
    task = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    clock.advance(9.9)
    await asyncio.sleep(0)
    assert not task.done()
    clock.advance(0.1)
    assert await task == "a"


async def test_the_earliest_of_several_delays_counts(queue: Queue[str], clock: FakeClock) -> None:
    queue.add("a", delay=10)
    queue.add("a", delay=3)
    queue.add("a", delay=20)
    clock.advance(3)
    assert await queue.take() == "a"
    queue.done("a")
    clock.advance(30)
    assert await _takes_nothing(queue), "the take answered for the later entries"


async def test_urgent_goes_before_periodic(queue: Queue[str]) -> None:
    queue.add("old", priority=Priority.PERIODIC)
    queue.add("new")
    assert [await queue.take(), await queue.take()] == ["new", "old"]


async def test_a_waiting_periodic_key_becomes_urgent(queue: Queue[str]) -> None:
    queue.add("a", priority=Priority.PERIODIC)
    queue.add("b", priority=Priority.PERIODIC)
    queue.add("b")
    assert [await queue.take(), await queue.take()] == ["b", "a"]


async def test_periodic_keys_do_not_starve(queue: Queue[str]) -> None:
    for number in range(100):
        queue.add(f"new-{number}")
    queue.add("old", priority=Priority.PERIODIC)
    taken = [await queue.take() for _ in range(FAIR_SHARE)]
    assert "old" in taken


async def test_a_forgotten_key_does_not_come(queue: Queue[str], clock: FakeClock) -> None:
    queue.add("ready")
    queue.add("delayed", delay=1)
    queue.forget("ready")
    queue.forget("delayed")
    clock.advance(2)
    assert await _takes_nothing(queue)
    assert sum(queue.depth().values()) == 0


async def test_closing_ends_every_waiter(queue: Queue[str]) -> None:
    waiters = [asyncio.create_task(queue.take()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    for waiter in waiters:
        with pytest.raises(QueueClosed):
            await waiter
    queue.add("late")
    assert sum(queue.depth().values()) == 0


async def test_a_cancelled_waiter_passes_its_wake_up_on(queue: Queue[str]) -> None:
    first = asyncio.create_task(queue.take())
    second = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add("a")  # wakes the first
    first.cancel()
    assert await asyncio.wait_for(second, 1) == "a"


def _grouped(clock: FakeClock, *, group_limit: int = 2, periodic_limit: int = 100) -> Queue[str]:
    """Keys are grouped by their first letter."""
    return Queue(
        clock,
        groups_of=lambda key: (key[0],),
        group_limit=group_limit,
        periodic_limit=periodic_limit,
    )


async def test_groups_take_turns(clock: FakeClock) -> None:
    queue = _grouped(clock, group_limit=100)
    for key in ("a1", "a2", "a3", "a4", "b1", "c1", "b2"):
        queue.add(key)
    assert [await queue.take() for _ in range(7)] == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


async def test_a_group_that_hangs_leaves_the_workers_to_the_others(clock: FakeClock) -> None:
    queue = _grouped(clock)
    for number in range(10):
        queue.add(f"a{number}")
    assert [await queue.take(), await queue.take()] == ["a0", "a1"]
    assert await _takes_nothing(queue)
    queue.add("b1")
    assert await queue.take() == "b1"
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.done("a0")
    assert await waiting == "a2", "a worker that waited is woken when the group has room again"


async def test_doubtful_groups_have_a_lower_limit_each_and_together(clock: FakeClock) -> None:
    doubtful = {"a", "b", "c"}
    queue: Queue[str] = Queue(
        clock,
        groups_of=lambda key: (key[0],),
        group_limit=10,
        doubtful=doubtful.__contains__,
        doubtful_limit=2,
        doubtful_limit_together=3,
    )
    for group in "abcd":
        for number in range(4):
            queue.add(f"{group}{number}")
    taken = Counter([(await queue.take())[0] for _ in range(7)])
    assert taken["d"] == 4
    assert sorted(taken[group] for group in doubtful) in ([0, 1, 2], [1, 1, 1])
    waiting = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    assert not waiting.done()

    doubtful.clear()
    queue.done("d0")
    await asyncio.sleep(0)
    assert waiting.done(), "a group that is not doubtful any more has the usual limit"


async def test_in_a_group_tenants_take_turns(clock: FakeClock) -> None:
    queue: Queue[str] = Queue(clock, groups_of=lambda key: (key[0],), tenant_of=lambda key: key[1])
    for key in ("ax1", "ax2", "ax3", "ay1", "bx1"):
        queue.add(key)
    order = [await queue.take() for _ in range(5)]
    assert order == ["ax1", "bx1", "ay1", "ax2", "ax3"]


async def test_a_crowd_is_what_is_ready_of_a_group_but_refreshes(clock: FakeClock) -> None:
    queue: Queue[str] = Queue(clock, groups_of=lambda key: (key[0],))
    for key in ("a1", "a2", "a3", "b1"):
        queue.add(key)
    queue.add("a4", priority=Priority.FORCED)
    queue.add("a5", priority=Priority.PERIODIC)
    queue.add("a6", delay=1.0)
    assert (queue.crowd("a"), queue.crowd("b"), queue.crowd("c")) == (4, 1, 0)
    await queue.take()
    assert queue.crowd("a") == 3


async def test_a_key_of_several_groups_counts_in_each(clock: FakeClock) -> None:
    """Those that read from two stores hang with either of them, and hold up the other in none."""
    queue: Queue[str] = Queue(clock, groups_of=tuple, group_limit=2)
    for key in ("ab", "ba", "a", "b", "c", "ac"):
        queue.add(key)
    assert [await queue.take(), await queue.take()] == ["ab", "ba"]
    assert await queue.take() == "c", "there is room neither for a nor for b"
    assert await _takes_nothing(queue)
    queue.done("ab")
    assert [await queue.take(), await queue.take()] == ["a", "b"]
    assert await _takes_nothing(queue)
    queue.done("c")
    assert await _takes_nothing(queue), "a is full still"
    queue.done("a")
    assert await queue.take() == "ac"
    queue.add("ca")
    assert await _takes_nothing(queue), "c has room, and a has none"
    for key in ("ba", "b", "ac"):
        queue.done(key)
    queue.done(await queue.take())
    assert queue._running_groups == {}
    assert not queue.depth()["urgent"]


async def test_refreshes_leave_workers_for_edits(clock: FakeClock) -> None:
    queue = _grouped(clock, group_limit=100, periodic_limit=1)
    queue.add("a1", priority=Priority.PERIODIC)
    queue.add("b1", priority=Priority.PERIODIC)
    assert await queue.take() == "a1"
    assert await _takes_nothing(queue)
    queue.add("c1")
    queue.add("d1", priority=Priority.FORCED)
    assert [await queue.take(), await queue.take()] == ["c1", "d1"]
    queue.done("a1")
    assert await queue.take() == "b1"


async def test_edits_go_before_what_is_forced_and_that_before_refreshes(clock: FakeClock) -> None:
    queue: Queue[str] = Queue(clock)
    queue.add("refresh", priority=Priority.PERIODIC)
    queue.add("forced", priority=Priority.FORCED)
    queue.add("edit")
    assert [await queue.take() for _ in range(3)] == ["edit", "forced", "refresh"]


async def test_a_run_knows_since_when_it_is_wanted(queue: Queue[str], clock: FakeClock) -> None:
    start = clock.now
    queue.add("a")
    clock.advance(2)
    queue.add("a")  # the newest wish counts: the run has to answer it as well
    queue.add("b", delay=1)
    clock.advance(5)
    assert [await queue.take(), await queue.take()] == ["a", "b"]
    assert (queue.asked_at("a"), queue.asked_at("b")) == (start + 2, start + 3)
    clock.advance(1)
    queue.add("a")
    queue.done("a")
    assert await queue.take() == "a"
    assert queue.asked_at("a") == start + 8


GROUP_LIMIT = 2

_STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"),
            st.sampled_from(["a1", "a2", "a3", "b1", "b2"]),
            st.sampled_from(list(Priority)),
            st.sampled_from([0.0, 1.0, 5.0]),
        ),
        st.tuples(st.just("run"), st.integers(0, 3)),
        st.tuples(st.just("end"), st.integers(0, 3)),
        st.tuples(st.just("time"), st.sampled_from([0.5, 1.0, 10.0])),
    ),
    max_size=60,
)


@given(_STEPS)
@settings(max_examples=300, deadline=None)
def test_no_request_is_lost_and_no_key_runs_twice(  # noqa: C901 - a small machine
    steps: list[tuple[object, ...]],
) -> None:
    """Whatever the order of calls: after each request, its key runs at or after its due time."""

    async def scenario() -> None:  # noqa: C901
        clock = FakeClock()
        queue = _grouped(clock, group_limit=GROUP_LIMIT)
        asked: dict[str, float] = {}  # the earliest due of the requests not yet answered
        running: Counter[str] = Counter()

        def of_group(key: str) -> int:
            return sum(count for other, count in running.items() if other[0] == key[0])

        async def take() -> str | None:
            task = asyncio.create_task(queue.take())
            for _ in range(3):
                await asyncio.sleep(0)
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                return None
            return task.result()

        for step in steps:
            match step:
                case ("add", str(key), Priority() as priority, float(delay)):
                    queue.add(key, priority=priority, delay=delay)
                    asked[key] = min(asked.get(key, float("inf")), clock.now + delay)
                case ("time", float(seconds)):
                    clock.advance(seconds)
                case ("run", int()):
                    taken = await take()
                    if taken is None:
                        due = [k for k, at in asked.items() if at <= clock.now and not running[k]]
                        room = [k for k in due if of_group(k) < GROUP_LIMIT]
                        assert not room, f"{room} should have been taken"
                    else:
                        assert not running[taken], f"{taken} runs twice"
                        assert of_group(taken) < GROUP_LIMIT
                        assert asked.pop(taken) <= clock.now, f"{taken} came early"
                        running[taken] += 1
                case ("end", int(which)):
                    busy = sorted(running.elements())
                    if busy:
                        key = busy[which % len(busy)]
                        running[key] -= 1
                        queue.done(key)

    asyncio.run(scenario())
