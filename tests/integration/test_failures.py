"""What only run time shows: said once, in stable words, and no Secret is touched.

All cases (``cases.py``) are played side by side, once, so that their waits are one; each has a
namespace and a proxy in front of AWS of its own. The tests look at what was seen of them.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from contract.aws import error_reply
from contract.proxy import Proxy
from integration.cases import AWS, CASES
from integration.manifests import entry
from integration.sites import Case, Site
from integration.world import TIMEOUT, World, Worlds, wait_until
from testbed.moto import Moto
from testbed.operator import Operator

NAMES = [case.name for case in CASES]

#: Attempts that are seen after the first failure before its words are called stable.
RETRIES = 2


@dataclass
class Seen:
    """What was there at one time."""

    external_secret: dict[str, Any]
    secret: dict[str, Any] | None
    data: dict[str, bytes] | None
    events: list[tuple[str, str, str]]
    failures: list[dict[str, Any]]

    @property
    def ready(self) -> tuple[str, str, str]:
        """Status, reason and message of the condition, and that it is about this generation."""
        (condition,) = self.external_secret["status"]["conditions"]
        assert condition["observedGeneration"] == self.external_secret["metadata"]["generation"]
        return condition["status"], condition["reason"], condition["message"]


@dataclass
class Played:
    """A case, where it plays, and what was seen: broken, failing, still failing, mended."""

    case: Case
    site: Site
    secret: dict[str, Any] | None = None
    failing: Seen | None = None
    still: Seen | None = None
    counted: float = 0
    gauge: float = 1
    mended: Seen | None = None

    def look(self) -> Seen:
        world = self.site.world
        return Seen(
            external_secret=world.get("ExternalSecret", "app"),
            secret=world.find("Secret", "app"),
            data=world.data(),
            events=world.events(),
            failures=world.records("Not synced"),
        )

    def start(self) -> None:
        world = self.site.world
        world.put("good", "old")
        world.put("other", {"password": "p"})
        self.case.prepare(self.site)

    def break_(self) -> None:
        """Breaks it; where that takes a new value, with one."""
        world = self.site.world
        if not self.case.meddles:
            self.secret = world.find("Secret", "app")
        self.case.break_(self.site)
        if self.case.meddles:
            self.secret = world.find("Secret", "app")
            world.put("good", "new")

    def tempt(self) -> None:
        """Changes a value in AWS: a careless operator would write that one."""
        self.site.world.put("good", "new")

    def is_ready(self, status: str) -> bool:
        body = self.site.world.get("ExternalSecret", "app")
        return any(
            condition["status"] == status
            and condition["observedGeneration"] == body["metadata"]["generation"]
            for condition in body.get("status", {}).get("conditions", ())
        )

    def is_tried_again(self) -> bool:
        failing = len(self.failing.failures) if self.failing else 0
        return len(self.site.world.records("Not synced")) >= failing + RETRIES

    def is_told(self) -> bool:
        return any(kind == "Warning" for kind, _, _ in self.site.world.events())

    def message(self) -> str:
        size = 17 * 65_536 + len("new") + len("p")
        return self.case.message.format(namespace=self.site.world.namespace, size=size)


@pytest.fixture(scope="module")
def played(worlds: Worlds, moto: Moto, shared: Operator) -> Iterator[dict[str, Played]]:
    """Every case from its beginning to its end. What is not seen in time fails its own test."""
    if shared.child is None or not shared.child.alive:
        shared.start()
    every = [Played(case, _site(worlds, moto, case)) for case in CASES]
    for each in every:
        each.start()
    started = [each for each in every if not each.case.fresh]
    for each in started:
        each.site.world.wait_ready()
        each.site.world.settle()
    for each in every:
        each.break_()
    _patiently(every, lambda each: each.is_ready("False"))
    for each in every:
        each.failing = each.look()
        each.tempt()
    _patiently(every, lambda each: each.is_tried_again() and each.is_told())
    for each in every:
        each.still = each.look()
        each.counted = shared.metric("syncret_sync_failures_total", reason=each.case.reason)
        each.gauge = shared.metric(
            "syncret_externalsecret_ready", namespace=each.site.world.namespace, name="app"
        )
    for each in every:
        each.case.mend(each.site)
    # A store that throttled for long is left alone for half a minute, and then checked first.
    _patiently(every, lambda each: each.is_ready("True"), seconds=3 * TIMEOUT)
    for each in every:
        each.mended = each.look()
    yield {each.case.name: each for each in every}
    for each in every:
        each.site.proxy.close()
        each.site.world.clear()


def _site(worlds: Worlds, moto: Moto, case: Case) -> Site:
    proxy = Proxy(moto.endpoint)
    return Site(worlds.new(case.name, endpoint=proxy.url), proxy)


def _patiently(
    every: Iterable[Played], true: Callable[[Played], bool], *, seconds: float = TIMEOUT
) -> None:
    """Waits until it holds for all; not for ever, and it is the tests that complain."""
    left = list(every)
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        left = [each for each in left if not true(each)]
        time.sleep(0.1)


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_is_told_once_and_touches_nothing(name: str, played: dict[str, Played]) -> None:
    each = played[name]
    case, failing, still = each.case, each.failing, each.still
    assert failing is not None
    assert still is not None

    assert failing.ready == ("False", case.reason, each.message())
    assert len(still.failures) >= len(failing.failures) + RETRIES
    assert still.external_secret == failing.external_secret  # the same words, so no write
    assert still.secret == each.secret  # to the last byte, resourceVersion included
    warnings = [event for event in still.events if event[0] == "Warning"]
    assert warnings == [("Warning", case.reason, each.message())]
    assert {record["reason"] for record in still.failures} == {case.reason}
    assert each.counted >= len(still.failures)
    assert each.gauge == 0


@pytest.mark.parametrize("name", NAMES)
def test_it_recovers_when_the_cause_is_gone(name: str, played: dict[str, Played]) -> None:
    mended = played[name].mended
    assert mended is not None

    status, reason, _ = mended.ready
    assert (status, reason) == ("True", "Synced")
    assert mended.data == {"good": b"new", "other": b"p"}
    assert mended.secret is not None
    (owner,) = mended.secret["metadata"]["ownerReferences"]
    assert owner["uid"] == mended.external_secret["metadata"]["uid"]


def test_every_outage_is_told_and_so_is_its_end(world: World, proxy: Proxy) -> None:
    """The same failure a second time is news, if it was over in between."""
    site = Site(world, proxy)
    site.store()
    world.put("k", "v")
    world.external_secret(data=[entry("k", world.key("k"))])
    world.wait_ready()

    for _ in range(2):
        site.answer(error_reply("InternalServiceError", status=500))
        world.wait_ready(status="False")
        site.answer(None)
        world.wait_ready()

    down, up = ("Warning", "ProviderUnavailable"), ("Normal", "Synced")
    expected = [down, up, down, up]
    world.wait(lambda: [e[:2] for e in world.events()] == expected, "each outage and each end")


def test_a_store_that_cannot_work_says_why_and_recovers(world: World, proxy: Proxy) -> None:
    site = Site(world, proxy)
    site.answer(error_reply("InvalidSignatureException"))
    site.store()

    def refused() -> bool:
        return world.ready("aws", "SecretStore").get("status") == "False"

    world.wait(refused, "the store is not ready")
    ready = world.ready("aws", "SecretStore")
    assert ready["reason"] == "AccessDenied"
    assert ready["message"] == (
        f"{AWS} refused the credentials: the signature is wrong; check the secret access key, and "
        "the clock of the operator's node."
    )
    version = world.version("SecretStore", "aws")
    checks = len(proxy.requests)
    wait_until(lambda: len(proxy.requests) >= checks + 3, "it is checked again")
    assert world.version("SecretStore", "aws") == version

    site.answer(None)

    world.wait(lambda: not refused(), "the store is ready")
    told = [event[:2] for event in world.events("aws", "SecretStore")]
    assert told.count(("Warning", "AccessDenied")) == 1


def test_one_that_fails_keeps_no_other_from_its_sync(world: World) -> None:
    world.put("k", "first")
    world.external_secret("broken", data=[entry("k", world.key("absent"))])
    world.external_secret(data=[entry("k", world.key("k"))])
    world.wait_ready("broken", status="False")
    world.wait_data({"k": b"first"})

    world.put("k", "second")

    world.wait_data({"k": b"second"})
    assert world.find("Secret", "broken") is None
