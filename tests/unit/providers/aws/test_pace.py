"""So many calls in a second."""

from syncret.providers.aws.pace import Pace


async def test_a_few_at_once_and_then_so_many_in_a_second() -> None:
    now, slept = 100.0, []

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))

    pace = Pace(10, burst=3, monotonic=lambda: now, sleep=sleep)
    for _ in range(6):
        await pace.turn()
    assert slept == [0.1, 0.2, 0.3]
    now = 100.3
    await pace.turn()
    assert slept[3:] == [0.1]
    now = 200.0
    for _ in range(3):
        await pace.turn()
    assert len(slept) == 4, "a pause gives no more than a few"
    await pace.turn()
    assert slept[4:] == [0.1]
