"""When credentials are made, renewed, released and revoked: each decision, and months of them."""

from dataclasses import dataclass, field, replace
from math import inf
from random import Random

import pytest

from syncret.api.generated import Credential, GeneratedState, HeldLease, Retired
from syncret.reconcile.generating import (
    GIVE_UP_PART,
    RENEW_PART,
    Why,
    cleared,
    is_in_use,
    next_look,
    next_new,
    released,
    renewed_at,
    replaced,
    replaced_at,
    to_renew,
    to_revoke,
    why_new,
    with_lease,
    without,
    without_lease,
)

HOUR = 3600.0
DAY = 24 * HOUR
G = "Generator/db"


def lease(name: str = "l", **fields: float | bool) -> HeldLease:
    given = {"seconds": HOUR, "full": HOUR, "renewed": 0.0, "renewable": True, **fields}
    return HeldLease(name, **given)  # type: ignore[arg-type]


def credential(name: str = "c", **fields: object) -> Credential:
    return Credential(name, **{"spec": "s", "made": 0.0, **fields})  # type: ignore[arg-type]


def state(present: Credential | None = None, *retired: Retired) -> GeneratedState:
    credentials = {G: present} if present is not None else {}
    return GeneratedState("n", "db", "u", "s", "1", credentials, retired)


def why(one: Credential | None, now: float = 1.0, **asked: object) -> Why | None:
    return why_new(one, **{"spec": "s", "max_age": inf, "now": now, **asked})  # type: ignore[arg-type]


def test_what_is_there_and_good_stays() -> None:
    assert why(credential(), now=1e9) is None
    assert why(credential(lease=lease())) is None
    assert next_new(credential(), max_age=inf) == inf


def test_each_reason_for_another_one() -> None:
    assert why(None) is Why.NEW
    assert why(credential(), spec="other") is Why.SPEC
    assert why(credential(intact=False)) is Why.EDITED
    assert why(credential(), request="wish") is Why.REQUEST
    assert why(credential(request="wish"), request="wish") is None
    assert why(credential(), now=DAY, max_age=DAY) is Why.AGE
    assert why(credential(expires=DAY), now=RENEW_PART * DAY) is Why.EXPIRY
    assert why(credential(lease=lease(renewable=False)), now=RENEW_PART * HOUR) is Why.LEASE
    assert why(credential(lease=lease()), now=GIVE_UP_PART * HOUR) is Why.LEASE


def test_a_lease_is_renewed_before_it_is_given_up() -> None:
    one = lease()
    assert 0.6 * HOUR <= renewed_at(one) <= RENEW_PART * HOUR < replaced_at(one) < one.ends
    assert why(credential(lease=one), now=renewed_at(one)) is None
    assert to_renew(state(credential(lease=one)), now=renewed_at(one)) == ((G, one),)
    assert to_renew(state(credential(lease=one)), now=renewed_at(one) - 1) == ()
    assert to_renew(state(credential(lease=one)), now=one.ends) == ()


def test_many_are_not_renewed_at_the_same_moment() -> None:
    times = {renewed_at(lease(f"lease-{number}")) for number in range(100)}
    assert len(times) == 100
    assert max(times) - min(times) > 0.05 * HOUR
    assert times == {renewed_at(lease(f"lease-{number}")) for number in range(100)}
    ages = {next_new(credential(f"c-{number}"), max_age=DAY) for number in range(100)}
    assert len(ages) == 100
    assert min(ages) >= 0.9 * DAY
    assert max(ages) <= DAY


def test_a_renewal_that_gives_less_means_the_end_is_near() -> None:
    short = lease(seconds=0.8 * HOUR, renewed=100.0)
    assert why(credential(lease=short), now=100.0) is Why.LEASE
    assert why(credential(lease=lease(seconds=0.95 * HOUR, renewed=100.0)), now=100.0) is None
    assert why(credential(lease=lease(seconds=0.0, renewed=100.0)), now=100.0) is Why.LEASE


def test_a_new_one_is_left_alone_for_a_moment_however_short_its_lease() -> None:
    tiny = credential(lease=lease(seconds=1.0, full=1.0, renewable=False))
    assert why(tiny, now=4.0) is None
    assert why(tiny, now=5.0) is Why.LEASE
    assert renewed_at(lease(seconds=1.0, full=1.0)) == inf


def test_what_is_replaced_is_retired_if_it_is_leased() -> None:
    new = credential("new", lease=lease("new"))
    assert replaced(state(credential()), G, new, now=5.0).retired == ()
    ended = credential(lease=lease(seconds=4.0))
    assert replaced(state(ended), G, new, now=5.0).retired == ()
    after = replaced(state(credential(lease=lease())), G, new, now=5.0)
    assert after.retired == (Retired(G, "c", lease(), 5.0),)
    assert after.credentials == {G: new}


def test_what_is_retired_is_renewed_until_it_is_released() -> None:
    one = Retired(G, "c", lease(), 5.0)
    now = renewed_at(lease())
    assert to_renew(state(credential(), one), now=now) == ((G, lease()),)
    free = released(state(credential(), one), now=7.0)
    assert free.retired == (replace(one, released=7.0),)
    assert released(free, now=9.0) is free
    assert to_renew(free, now=now) == ()


def test_what_is_released_is_left_to_end_or_revoked() -> None:
    free = state(credential(), Retired(G, "c", lease(), 5.0, released=7.0))
    assert cleared(free, revoke_after=None, now=8.0).retired == ()
    assert cleared(free, revoke_after=60.0, now=8.0) is free
    assert cleared(free, revoke_after=2 * HOUR, now=HOUR).retired == (), "it has ended"
    assert to_revoke(free, revoke_after=None, now=DAY) == ()
    assert to_revoke(free, revoke_after=60.0, now=66.0) == ()
    assert to_revoke(free, revoke_after=60.0, now=67.0) == free.retired
    assert to_revoke(free, revoke_after=0.0, now=7.0) == free.retired
    held = state(credential(), Retired(G, "c", lease(), 5.0))
    assert to_revoke(held, revoke_after=0.0, now=DAY) == ()
    assert cleared(held, revoke_after=None, now=8.0) is held


def test_it_is_in_use_when_the_secret_was_made_from_it() -> None:
    one = state(credential("c"))
    assert is_in_use(one, {G: "c", "SecretStore/other": "v"})
    assert not is_in_use(one, {G: "before"})
    assert not is_in_use(one, {})


def test_what_is_not_wanted_any_more_goes() -> None:
    one = state(credential(lease=lease()))
    assert without(one, {G}, now=1.0) is one
    after = without(one, (), now=1.0)
    assert (after.credentials, len(after.retired)) == ({}, 1)
    assert without_lease(after, lease_id="l").retired == ()
    assert without_lease(one, lease_id="l").credentials == {}


def test_when_to_look_next() -> None:
    one = lease()
    present = state(credential(lease=one))
    look = {"max_age": inf, "revoke_after": None}
    assert next_look(state(credential()), now=1.0, **look) == inf  # type: ignore[arg-type]
    assert next_look(present, now=1.0, **look) == renewed_at(one)  # type: ignore[arg-type]
    # What failed is not counted twice.
    assert next_look(present, now=renewed_at(one), **look) == replaced_at(one)  # type: ignore[arg-type]
    free = state(credential(), Retired(G, "c", one, 5.0, released=7.0))
    assert next_look(free, max_age=inf, revoke_after=60.0, now=8.0) == 67.0


def test_a_renewal_changes_that_lease_alone() -> None:
    both = state(credential(lease=lease("a")), Retired(G, "c", lease("b"), 5.0))
    after = with_lease(both, lease_id="b", renewed=lease("b", renewed=9.0))
    assert after.credentials == both.credentials
    assert after.retired[0].lease.renewed == 9.0


# -- months -------------------------------------------------------------------


@dataclass
class World:
    """A maker, pods that use what it made, and what is written down of it."""

    random: Random
    most: float = inf
    renewable: bool = True
    max_age: float = inf
    revoke_after: float | None = None
    outages: tuple[tuple[float, float], ...] = ()
    now: float = 0.0
    state: GeneratedState = field(default_factory=state)
    #: By name of the credential: when it ends, and the end that it cannot pass.
    ends: dict[str, float] = field(default_factory=dict)
    latest: dict[str, float] = field(default_factory=dict)
    #: What pods use, and when the rollout of the present one ends.
    used: set[str] = field(default_factory=set)
    rolled: float = 0.0
    #: Those that were left to end by themselves.
    let_go: set[str] = field(default_factory=set)
    reasons: list[Why] = field(default_factory=list)
    request: str = ""

    @property
    def up(self) -> bool:
        return not any(begin <= self.now < end for begin, end in self.outages)

    def alive(self) -> set[str]:
        return {name for name, end in self.ends.items() if self.now < end}

    def make(self, reason: Why) -> None:
        name = f"c{len(self.reasons)}"
        self.reasons.append(reason)
        self.ends[name] = self.now + HOUR
        self.latest[name] = self.now + self.most
        held = lease(name, renewed=self.now, renewable=self.renewable)
        made = credential(name, made=self.now, lease=held, request=self.request)
        self.state = replaced(self.state, G, made, now=self.now)
        self.used.add(name)
        # A rollout that is slow, but not slower than a lease lives on.
        self.rolled = self.now + self.random.uniform(0, 1200)

    def round(self) -> bool:
        """What the engine does in one round; whether something failed."""
        failed = False
        reason = why_new(
            self.state.credentials.get(G),
            spec="s",
            max_age=self.max_age,
            now=self.now,
            request=self.request,
        )
        if reason is not None:
            failed = not self.up
            if self.up:
                self.make(reason)
        for _, held in to_renew(self.state, now=self.now):
            if not self.up:
                failed = True
                continue
            seconds = 0.0
            if self.now < self.ends[held.id]:
                self.ends[held.id] = min(self.now + HOUR, self.latest[held.id])
                seconds = self.ends[held.id] - self.now
            after = replace(held, seconds=seconds, renewed=self.now)
            self.state = with_lease(self.state, lease_id=held.id, renewed=after)
        present = self.state.credentials.get(G)
        if present is not None and self.now >= self.rolled:
            self.used = {present.id}
            self.state = released(self.state, now=self.now)
        for one in to_revoke(self.state, revoke_after=self.revoke_after, now=self.now):
            if not self.up:
                failed = True
                continue
            assert one.id not in self.used
            self.ends[one.id] = min(self.ends[one.id], self.now)
            self.state = without_lease(self.state, lease_id=one.id)
        before = {one.id for one in self.state.retired}
        self.state = cleared(self.state, revoke_after=self.revoke_after, now=self.now)
        self.let_go |= before - {one.id for one in self.state.retired}
        return failed

    def next(self, *, failed: bool) -> float:
        at = next_look(
            self.state, max_age=self.max_age, revoke_after=self.revoke_after, now=self.now
        )
        if self.now < self.rolled:
            at = min(at, self.rolled)
        due = why_new(self.state.credentials.get(G), spec="s", max_age=self.max_age, now=self.now)
        if due is not None:
            at = self.now
        return self.now + 60 if failed else max(at, self.now + 1)


@pytest.mark.parametrize("most", [inf, 10 * HOUR, 1.5 * HOUR])
@pytest.mark.parametrize("revoke_after", [None, 0.0, 1800.0])
@pytest.mark.parametrize("outages", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_a_month(most: float, revoke_after: float | None, outages: bool, seed: int) -> None:
    """With wishes, slow rollouts, outages and restarts (of which only what is written is left)."""
    random = Random(f"{seed} {most} {revoke_after}")  # noqa: S311 - a test
    begins = sorted(random.uniform(0, 30 * DAY) for _ in range(12)) if outages else []
    world = World(
        random,
        most=most,
        max_age=random.choice([inf, 3 * DAY]),
        revoke_after=revoke_after,
        outages=tuple((begin, begin + random.uniform(60, 5 * HOUR)) for begin in begins),
    )
    wishes = sorted(random.uniform(0, 30 * DAY) for _ in range(10))
    while world.now < 30 * DAY:
        while wishes and wishes[0] <= world.now:
            world.request = f"wish-{wishes.pop(0):.0f}"
        failed = world.round()
        present = world.state.credentials.get(G)
        known = {one.id for one in world.state.retired} | world.let_go
        assert world.alive() <= known | ({present.id} if present else set()), (
            "all are accounted for"
        )
        if present is not None:
            begun = max((begin for begin, _ in world.outages if begin <= world.now), default=-inf)
            untroubled = world.now - begun > 6 * HOUR
            for name in world.used if untroubled else ():
                assert name in world.alive() or world.now >= world.latest[name], "it lives in use"
            if untroubled:
                assert present.id in world.alive(), "the present one always lives"
        at = world.next(failed=failed)
        world.now = min([at, *wishes[:1], 30 * DAY])
    assert world.reasons[0] is Why.NEW
    assert world.reasons.count(Why.NEW) == 1
    assert world.reasons.count(Why.REQUEST) <= 10
    if most == inf and not outages:
        assert set(world.reasons) <= {Why.NEW, Why.REQUEST, Why.AGE}
    assert world.reasons.count(Why.AGE) <= (0 if world.max_age == inf else 11)
    if most == 10 * HOUR:
        assert world.reasons.count(Why.LEASE) <= 30 * DAY / (8 * HOUR)
    # Restarts: another process decides the same, because nothing else is asked than what is kept.
    assert why_new(world.state.credentials.get(G), spec="s", max_age=inf, now=world.now - 1) in {
        None,
        Why.LEASE,
    }


def test_without_trouble_one_credential_lasts_a_month() -> None:
    world = World(Random(1))  # noqa: S311 - a test
    rounds = 0
    while world.now < 30 * DAY:
        failed = world.round()
        rounds += 1
        world.now = world.next(failed=failed)
    assert world.reasons == [Why.NEW]
    assert 30 * 24 * 1.5 <= rounds <= 30 * 24 * 1.7, "one round for each renewal"
