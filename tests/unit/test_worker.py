"""The workers: no key twice at once, defects retried and told without their text, and the end."""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import FakeClock
from syncret.queue import Queue
from syncret.telemetry import logs
from syncret.worker import Backoff, Result, Workers

CANARY = "hunter2-not-real"


def _backoff() -> Backoff:
    return Backoff(base=1.0, cap=300.0, random=Random(7))  # noqa: S311 - jitter


class Pool:
    """Workers on a queue; ``reconcile`` is what they do."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.queue: Queue[str] = Queue(clock)
        self.runs: Counter[str] = Counter()
        self.reconcile: Callable[[str], Awaitable[Result]] = self.nothing
        self.workers = Workers(self.queue, self._reconcile, count=4, backoff=_backoff())

    async def nothing(self, _key: str) -> Result:
        return Result()

    async def _reconcile(self, key: str) -> Result:
        self.runs[key] += 1
        return await self.reconcile(key)

    def start(self) -> None:
        self.workers.prepare()
        self.workers.start()

    async def turn(self, seconds: float = 0.0) -> None:
        """Lets time pass, and the workers work."""
        self.clock.advance(seconds)
        for _ in range(30):
            await asyncio.sleep(0)


@pytest.fixture
async def pool(clock: FakeClock) -> AsyncIterator[Pool]:
    pool = Pool(clock)
    yield pool
    await pool.workers.drain(0)


async def test_nothing_is_taken_before_the_start(pool: Pool) -> None:
    pool.queue.add("a")
    pool.workers.prepare()
    await pool.turn()
    assert (pool.runs, pool.workers.started) == ({}, False)
    pool.workers.start()
    await pool.turn()
    assert (pool.runs, pool.workers.started) == ({"a": 1}, True)


async def test_a_key_comes_again_when_it_says_so(pool: Pool) -> None:
    async def hourly(_key: str) -> Result:
        return Result(requeue_after=3600)

    pool.reconcile = hourly
    pool.start()
    pool.queue.add("a")
    await pool.turn()
    assert pool.runs["a"] == 1
    await pool.turn(3599)
    assert pool.runs["a"] == 1
    await pool.turn(1)
    assert pool.runs["a"] == 2
    assert pool.queue.depth()["delayed"] == 1


async def test_a_key_that_does_not_say_so_does_not(pool: Pool) -> None:
    pool.start()
    pool.queue.add("a")
    await pool.turn()
    await pool.turn(1e9)
    assert pool.runs["a"] == 1


async def test_what_comes_again_gives_way_to_what_is_new(pool: Pool) -> None:
    busy = asyncio.Event()

    async def work(key: str) -> Result:
        if key != "a":
            await busy.wait()
        return Result(requeue_after=1)

    pool.reconcile = work
    pool.start()
    pool.queue.add("a")
    await pool.turn()
    for key in "bcde":  # a key for each worker
        pool.queue.add(key)
    await pool.turn(1)
    assert pool.queue.depth()["periodic"] == 1
    busy.set()


async def test_rounds_that_never_wait_let_others_run(pool: Pool) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while len(pool.runs) < 100:
            turns += 1
            await asyncio.sleep(0)

    for number in range(100):
        pool.queue.add(str(number))
    beside = asyncio.create_task(other())
    pool.start()
    await beside
    assert turns >= 10


async def test_no_key_is_in_two_workers_and_all_workers_work(pool: Pool) -> None:
    running: Counter[str] = Counter()
    most = 0

    async def slow(key: str) -> Result:
        nonlocal most
        running[key] += 1
        assert running[key] == 1
        most = max(most, sum(running.values()))
        for _ in range(3):
            await asyncio.sleep(0)
        running[key] -= 1
        return Result()

    pool.reconcile = slow
    pool.start()
    for _ in range(50):
        for key in "abcdef":
            pool.queue.add(key)
        await asyncio.sleep(0)
    await pool.turn()
    assert most == 4
    assert pool.workers.problems() == []
    assert set(pool.runs) == set("abcdef")
    assert sum(pool.queue.depth().values()) == 0


async def test_what_was_asked_for_during_a_run_is_run_after_it(pool: Pool) -> None:
    proceed = asyncio.Event()

    async def wait(_key: str) -> Result:
        await proceed.wait()
        return Result()

    pool.reconcile = wait
    pool.start()
    pool.queue.add("a")
    await pool.turn()
    pool.queue.add("a")
    await pool.turn()
    assert pool.runs["a"] == 1
    proceed.set()
    await pool.turn()
    assert pool.runs["a"] == 2


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


async def test_a_defect_is_retried_and_its_text_is_not_shown(
    pool: Pool, log: io.StringIO, logging_restored: None
) -> None:
    logs.configure("debug", "json", log)
    times = []

    async def defective(_key: str) -> Result:
        times.append(pool.clock.now)
        raise ValueError(CANARY)

    pool.reconcile = defective
    pool.start()
    pool.queue.add("a")
    pool.queue.add("b")  # the others go on
    for _ in range(200):
        await pool.turn(0.1)
    assert pool.runs["a"] == 5  # after 0, 1, 3, 7 and 15 s, each a little less
    assert pool.runs["b"] == 5
    text = log.getvalue()
    assert CANARY not in text
    assert '"error": "ValueError"' in text
    assert " in defective" in text, "where it happened is told"
    assert pool.workers.problems() == []


async def test_after_a_success_delays_begin_anew(pool: Pool) -> None:
    outcomes = [False, False, False, True, False, True]

    async def unsteady(_key: str) -> Result:
        if not outcomes.pop(0):
            raise ValueError
        return Result()

    pool.reconcile = unsteady
    pool.start()
    pool.queue.add("a")
    await pool.turn()
    for seconds in (1, 2, 4):
        await pool.turn(seconds)
    assert outcomes == [False, True]
    pool.queue.add("a")
    await pool.turn()
    await pool.turn(1)
    assert outcomes == []


async def test_draining_waits_for_what_runs_and_takes_nothing_more(pool: Pool) -> None:
    proceed = asyncio.Event()
    finished = []

    async def slow(key: str) -> Result:
        await proceed.wait()
        finished.append(key)
        return Result(requeue_after=0)

    pool.reconcile = slow
    pool.start()
    for key in "abcdef":  # more than there are workers
        pool.queue.add(key)
    await pool.turn()
    draining = asyncio.create_task(pool.workers.drain(60))
    await pool.turn()
    assert not draining.done()
    proceed.set()
    assert await draining is True
    assert sorted(finished) == ["a", "b", "c", "d"]
    assert pool.workers.problems() == [], "they were meant to end"


async def test_draining_does_not_wait_for_ever(pool: Pool) -> None:
    ended = []

    async def hangs(key: str) -> Result:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(key)
        return Result()

    pool.reconcile = hangs
    pool.start()
    pool.queue.add("a")
    await pool.turn()
    assert await pool.workers.drain(0.001) is False
    assert ended == ["a"]


async def test_draining_what_was_never_started(clock: FakeClock) -> None:
    assert await Pool(clock).workers.drain(60) is True
    prepared = Pool(clock)
    prepared.queue.add("a")
    prepared.workers.prepare()
    assert await prepared.workers.drain(60) is True
    assert prepared.runs == {}


async def test_a_worker_that_ended_is_a_problem(pool: Pool) -> None:
    async def dies(_key: str) -> Result:
        raise asyncio.CancelledError

    pool.reconcile = dies
    pool.start()
    pool.queue.add("a")
    await pool.turn()
    (problem,) = pool.workers.problems()
    assert problem.startswith("worker-")
    pool.reconcile = pool.nothing
    pool.queue.add("a")
    await pool.turn()
    assert pool.runs["a"] == 2, "the key went back"


@given(failures=st.integers(1, 10_000), seed=st.integers())
def test_a_delay_is_doubled_up_to_the_cap_and_shortened_by_a_fifth_at_most(
    failures: int, seed: int
) -> None:
    delay = Backoff(base=2.0, cap=60.0, random=Random(seed)).delay(failures)  # noqa: S311
    full = min(60.0, 2.0 * 2 ** min(failures - 1, 20))
    assert 0.8 * full <= delay <= full


@given(failures=st.integers(1, 50), asked=st.floats(0.1, 1000), seed=st.integers())
def test_a_wait_that_was_asked_for_is_never_shortened(
    failures: int, asked: float, seed: int
) -> None:
    backoff = Backoff(base=1.0, cap=60.0, random=Random(seed))  # noqa: S311
    delay = backoff.delay(failures, at_least=asked)
    assert delay >= max(asked, 0.8 * min(60.0, 2.0 ** (failures - 1)))
    assert delay <= max(60.0, 1.2 * asked)


def test_delays_differ() -> None:
    backoff = _backoff()
    assert len({backoff.delay(1) for _ in range(100)}) > 90
    assert len({backoff.delay(1, at_least=50) for _ in range(100)}) > 90
