"""What becomes of messages, and of a queue that fails."""

import asyncio
from collections.abc import Sequence
from random import Random

import pytest

from support.clock import FakeClock
from syncret.errors import ProviderUnavailable
from syncret.sources.dispatch import Given
from syncret.sources.events import Malformed
from syncret.sources.pulling import GIVE_UP, Message, Puller


class Queue:
    """Gives what a test has put in, and then nothing."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Message] | Exception] = []
        self.done: list[object] = []
        self.asked = 0
        self.closed = False

    async def receive(self) -> Sequence[Message]:
        self.asked += 1
        await asyncio.sleep(0)
        batch = self.batches.pop(0) if self.batches else ()
        if isinstance(batch, Exception):
            raise batch
        return batch

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        self.done += [message.handle for message in messages]

    async def close(self) -> None:
        self.closed = True


class Dispatcher:
    """Whom messages concern, by their bodies."""

    def __init__(self) -> None:
        self.may_settle = asyncio.Event()
        self.failure: Exception | None = None

    def take(self, _: str, body: bytes | str, __: object = None) -> Given:
        if body == "malformed":
            raise Malformed("x")
        return Given(matched=int(body == "matched"))

    async def settle(self, _: Given) -> None:
        await self.may_settle.wait()
        if self.failure:
            raise self.failure


class Bed:
    def __init__(self) -> None:
        self.clock, self.queue, self.dispatcher = FakeClock(), Queue(), Dispatcher()
        self.active = True
        self.up: list[bool | None] = []
        self.puller = Puller(
            "aws",
            self.queue,
            dispatcher=self.dispatcher,  # type: ignore[arg-type]
            metrics=self,
            clock=self.clock,
            active=lambda: self.active,
            random=Random(1),  # noqa: S311 - jitter
        )

    def event(self, source: str, result: str) -> None: ...

    def event_lag(self, source: str, seconds: float) -> None: ...

    def event_source_up(self, _: str, up: bool | None) -> None:
        self.up.append(up)

    async def turn(self, seconds: float = 0.0) -> None:
        task = asyncio.create_task(self.puller.run())
        for _ in range(50):
            await asyncio.sleep(0)
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            for _ in range(20):
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert self.queue.closed


async def test_what_concerns_nobody_is_acknowledged_and_what_cannot_be_read_is_left() -> None:
    bed = Bed()
    bed.queue.batches = [
        [
            Message("nobody", "a"),
            Message("malformed", "b"),
            Message("malformed", "c", deliveries=GIVE_UP - 1),
            Message("malformed", "d", deliveries=GIVE_UP),
        ]
    ]
    await bed.turn()
    assert bed.queue.done == ["a", "d"]


async def test_what_cannot_be_read_is_dropped_in_the_end_though_the_queue_does_not_count() -> None:
    """As Pub/Sub, whose subscription has no dead-letter topic."""
    bed = Bed()
    for time in range(1, GIVE_UP + 1):
        batch = [
            Message("malformed", f"a{time}", deliveries=0, id="a"),
            Message("malformed", f"{time}", deliveries=0, id=f"another {time}"),
            Message("malformed", f"x{time}", deliveries=0),
        ]
        bed.queue.batches = [batch]
        await bed.turn()
    assert bed.queue.done == [f"a{GIVE_UP}"]


async def test_what_concerns_somebody_is_acknowledged_when_it_was_followed() -> None:
    bed = Bed()
    bed.queue.batches = [[Message("matched", "a")]]
    await bed.turn()
    assert bed.queue.done == [], "it was stopped before"
    bed.queue.batches = [[Message("matched", "a")]]
    bed.dispatcher.may_settle.set()
    await bed.turn()
    assert bed.queue.done == ["a"]
    bed.queue.batches = [[Message("matched", "b"), Message("nobody", "c")]]
    bed.dispatcher.failure = ProviderUnavailable("another replica could not be told")
    await bed.turn()
    assert bed.queue.done == ["a", "c"]


async def test_nothing_is_taken_by_who_does_not_work() -> None:
    bed = Bed()
    bed.active = False
    await bed.turn(5)
    assert bed.queue.asked == 0
    assert set(bed.up) == {None}


@pytest.mark.parametrize("problem", [ProviderUnavailable("It is away."), RuntimeError("a defect")])
async def test_a_queue_that_fails_is_tried_again_with_growing_waits(
    problem: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bed = Bed()
    bed.queue.batches = [problem] * 6
    await bed.turn(30)
    assert 3 <= bed.queue.asked <= 6
    assert bed.up[-1] is False
    told = [record for record in caplog.records if "No events are received" in record.message]
    assert len(told) == 1
