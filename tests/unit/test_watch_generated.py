"""What an event of a Secret makes of the caches that keeps what generators made."""

from typing import Any

import pytest

from syncret.api.generated import Credential, GeneratedState, HeldLease
from syncret.constants import GENERATED_TYPE
from syncret.kube.resources import SECRETS
from unit.api.test_generated import DIGESTER, STATE, body
from unit.test_watch import Watched

ES = "ExternalSecret payments/db"


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
async def known(watched: Watched) -> Watched:
    watched.watcher.secret(body(), False)
    await watched.due()
    return watched


def again(version: str, **state: Any) -> dict[str, Any]:
    return body(GeneratedState("payments", "db", "uid-1", "secret-1", version, **state))


async def test_it_is_no_target(watched: Watched) -> None:
    watched.watcher.secret(body(), False)
    assert await watched.due() == [ES]
    assert len(watched.cache.secrets) == 0
    assert watched.cache.generated.get("uid-1") == STATE
    assert watched.watcher.known(SECRETS) == [("payments", STATE.name, "secret-1")]


async def test_an_echo_is_no_news_and_an_old_word_neither(known: Watched) -> None:
    known.watcher.secret(body(), False)
    known.watcher.secret(again("6"), False)
    assert known.waiting == 0
    assert known.cache.generated.get("uid-1") == STATE


async def test_a_change_is_news(known: Watched) -> None:
    known.watcher.secret(again("8"), False)
    assert await known.due() == [ES]


async def test_a_copy_is_nothing_of_ours(watched: Watched) -> None:
    watched.watcher.secret(body(name="copy"), False)
    watched.watcher.secret(body(ownerReferences=[]), False)
    assert watched.waiting == 0
    assert len(watched.cache.generated) == len(watched.cache.secrets) == 0


async def test_one_that_lost_its_owner_is_ours_no_longer(known: Watched) -> None:
    known.watcher.secret(body(ownerReferences=[]), False)
    assert await known.due() == [ES]
    assert len(known.cache.generated) == len(known.cache.lost) == 0


@pytest.mark.parametrize("told", [True, False])
async def test_what_is_gone_is_remembered_for_its_leases(known: Watched, told: bool) -> None:
    if told:
        known.watcher.secret(body(), True)
    else:
        known.watcher.gone(SECRETS, ("payments", STATE.name, "secret-1"))
    assert await known.due() == [ES]
    assert len(known.cache.generated) == 0
    assert known.cache.lost.get("uid-1") == STATE


async def test_a_late_word_of_a_former_one_is_none(known: Watched) -> None:
    known.watcher.secret(body() | {"metadata": {**body()["metadata"], "uid": "before"}}, True)
    assert known.waiting == 0
    assert known.cache.generated.get("uid-1") == STATE


async def test_what_is_not_leased_leaves_nothing_to_remember(watched: Watched) -> None:
    plain = Credential("one", "spec", 900.0, "fake")
    watched.watcher.secret(again("8", credentials={"Generator/db": plain}), False)
    watched.watcher.secret(again("9", credentials={"Generator/db": plain}), True)
    assert len(watched.cache.lost) == 0
    leased = HeldLease("fake", 1.0, 1.0, 0.0)
    assert GeneratedState("n", "o", "u", credentials={"g": Credential("c", "s", 1.0, lease=leased)}).leased  # noqa: E501  # fmt: skip


def test_the_type_says_what_it_is() -> None:
    assert body()["type"] == GENERATED_TYPE
    assert DIGESTER.knows(STATE.credentials["Generator/db"].digest)
