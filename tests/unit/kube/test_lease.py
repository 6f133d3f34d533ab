"""A Lease has one holder at a time, whatever the API server and the clocks do."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from support.apiserver import FakeApiServer, Refusal, serving
from support.clock import FakeClock
from syncret.kube.client import KubeClient
from syncret.kube.lease import DURATION, Lease

NAMESPACE = "syncret"


class Replica:
    """A replica with a clock of its own: monotonic clocks agree on nothing but their speed."""

    def __init__(
        self,
        api: FakeApiServer,
        session: aiohttp.ClientSession,
        name: str,
        duration: float = DURATION,
    ) -> None:
        self.api = api
        self.clock = FakeClock()
        self.lease = Lease(
            KubeClient(session, api.url),
            namespace=NAMESPACE,
            name="leader",
            identity=name,
            clock=self.clock,
            duration=duration,
            labels={"app": "syncret"},
        )

    def look(self) -> None:
        known = self.api.has("leases", NAMESPACE, "leader")
        self.lease.observe(self.api.get("leases", NAMESPACE, "leader") if known else None)

    async def try_take(self) -> bool:
        self.look()
        return await self.lease.try_take()


@pytest.fixture
async def api() -> AsyncIterator[FakeApiServer]:
    async with serving() as server:
        yield server


@pytest.fixture
async def pair(api: FakeApiServer) -> AsyncIterator[tuple[Replica, Replica]]:
    async with aiohttp.ClientSession() as session:
        one, other = Replica(api, session, "one"), Replica(api, session, "other")
        other.clock.now = 77.0
        other.clock.epoch -= 3600.0  # an hour slow
        yield one, other


def pass_time(seconds: float, *replicas: Replica) -> None:
    for replica in replicas:
        replica.clock.advance(seconds)


async def test_the_first_takes_it_and_the_other_waits(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    assert await one.try_take()
    assert not await other.try_take()
    assert (one.lease.held, other.lease.held) == (True, False)
    assert other.lease.holder == "one"


async def test_of_two_at_once_one_gets_it(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    one.look()
    other.look()
    assert await one.lease.try_take()
    assert not await other.lease.try_take()


async def test_a_dead_holder_is_replaced_one_duration_after_its_last_change_was_seen(
    pair: tuple[Replica, Replica],
) -> None:
    one, other = pair
    await one.try_take()
    assert not await other.try_take()
    pass_time(DURATION - 0.1, one, other)
    assert not await other.try_take()
    pass_time(0.2, one, other)
    assert not one.lease.held, "it must not believe in it longer than others do"
    assert await other.try_take()
    assert other.lease.former_renewal == pytest.approx(one.clock.wall() - DURATION - 0.1)


async def test_renewing_keeps_it(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    await one.try_take()
    for _ in range(10):
        pass_time(5.0, one, other)
        assert await one.lease.renew()
        assert not await other.try_take()
    assert one.lease.held


async def test_wall_clocks_that_jump_change_nothing(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    await one.try_take()
    other.look()
    other.clock.epoch += 86_400.0
    assert not await other.try_take()
    one.clock.epoch -= 86_400.0
    pass_time(5.0, one, other)
    assert await one.lease.renew()
    pass_time(DURATION - 0.1, one, other)
    assert not await other.try_take()


async def test_it_is_counted_from_the_sending_of_a_renewal(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    await one.try_take()

    def slow(_call: object) -> None:
        pass_time(3.0, one, other)

    one.api.intercept("PATCH", "leases", slow, after=True)
    assert await one.lease.renew()
    assert one.lease.remaining == DURATION - 3.0


async def test_a_paused_holder_knows_that_it_has_lost(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    await one.try_take()
    other.look()
    pass_time(DURATION + 1, one, other)
    assert await other.try_take()
    assert not one.lease.held
    assert not await one.lease.renew()
    one.look()
    assert not await one.lease.try_take()
    assert other.lease.held


@pytest.mark.parametrize("status", [500, 503, 403, 429])
async def test_a_failing_api_server_extends_nothing(
    pair: tuple[Replica, Replica], status: int
) -> None:
    one, _ = pair
    await one.try_take()
    pass_time(5.0, one)
    one.api.intercept("PATCH", "leases", Refusal(status), times=3)
    for _ in range(3):
        assert not await one.lease.renew()
    assert one.lease.remaining == DURATION - 5.0
    assert await one.lease.renew()
    assert one.lease.remaining == DURATION


async def test_an_answer_that_was_lost_is_found_by_looking(pair: tuple[Replica, Replica]) -> None:
    one, _ = pair
    await one.try_take()
    pass_time(1.0, one)
    one.api.intercept("PATCH", "leases", Refusal(500), after=True)
    assert not await one.lease.renew()
    assert not await one.lease.renew()  # written, though: the version it knows is an old one
    one.look()
    assert await one.lease.renew()


async def test_given_back_it_is_free_at_once_and_says_until_when_work_was_done(
    pair: tuple[Replica, Replica],
) -> None:
    one, other = pair
    await one.try_take()
    other.look()
    renewed = one.clock.wall()
    pass_time(4.0, one, other)
    await one.lease.release()
    assert not one.lease.held
    assert await other.try_take()
    assert other.lease.former_renewal == pytest.approx(renewed)
    assert other.api.get("leases", NAMESPACE, "leader")["spec"]["leaseTransitions"] == 1


async def test_what_is_not_held_is_not_given_back(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    await one.try_take()
    other.look()
    await other.lease.release()
    one.look()
    assert one.lease.held


async def test_others_never_wait_for_less_than_the_holder_counts_on(api: FakeApiServer) -> None:
    """A Lease has whole seconds."""
    async with aiohttp.ClientSession() as session:
        one, other = (Replica(api, session, name, 2.4) for name in ("one", "other"))
        assert await one.try_take()
        other.look()
        pass_time(2.3, one, other)
        assert one.lease.held
        assert not await other.try_take()
