"""What the conditions RotationOverdue and Expiring say, by the clock alone."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.objects import external_secret
from syncret.api.externalsecret import Certificate, Condition, ExternalSecretStatus, Source
from syncret.api.rotation import DAY
from syncret.clock import rfc3339
from syncret.reconcile.rotation import Moments, judge

NOW = 1_790_000_000.0
ROTATED = external_secret(rotation={"class": "database"})
PLAIN = external_secret()


def status(*sources: Source, certificates: tuple[Certificate, ...] = ()) -> ExternalSecretStatus:
    return ExternalSecretStatus(synced_generation=1, sources=sources, certificates=certificates)


def made(days: float, *, key: str = "app/db", version: str = "v", expires: float = 0) -> Source:
    """Made so many days ago; it expires in so many."""
    return Source(
        key,
        version,
        created=rfc3339(NOW - days * DAY),
        expires=rfc3339(NOW + expires * DAY) if expires else "",
    )


def certificate(ends: float, *, life: float = 90.0, key: str = "tls.crt") -> Certificate:
    """It ceases to be valid in so many days."""
    end = NOW + ends * DAY
    return Certificate(key, rfc3339(end - life * DAY), rfc3339(end))


def said(condition: Condition | None) -> tuple[str, str]:
    return (condition.status, condition.reason) if condition is not None else ("", "")


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([made(10)], ("False", "InTime")),
        ([made(89.9)], ("False", "InTime")),
        ([made(90)], ("True", "Overdue")),
        ([made(10), made(91, key="app/cache")], ("True", "Overdue")),
        # The version before it, read beside it, is older by its nature.
        ([made(10), made(100, version="u")], ("False", "InTime")),
        ([made(100, version="u"), made(10)], ("False", "InTime")),
        ([Source("app/db", "v")], ("Unknown", "AgeUnknown")),
        ([Source("a", "v"), made(91)], ("True", "Overdue")),
        ([Source("a", "v"), made(1)], ("False", "InTime")),
        ([Source("app/db", ""), made(91)], ("True", "Overdue")),  # its tags beside it
        ([], ("Unknown", "AgeUnknown")),
    ],
)
def test_overdue(sources: list[Source], expected: tuple[str, str]) -> None:
    judged = judge(ROTATED, status(*sources), now=NOW)
    assert said(judged.status.rotation_overdue) == expected
    assert judged.moments.overdue is {"True": True, "False": False, "Unknown": None}[expected[0]]


def test_the_messages_of_overdue() -> None:
    def told(*sources: Source) -> str:
        condition = judge(ROTATED, status(*sources), now=NOW).status.rotation_overdue
        assert condition is not None
        return condition.message

    assert told(made(91)) == (
        '"app/db" was made at 2026-06-22T14:13:20Z and is to be rotated every 90 days (class '
        "database): rotate it in the store."
    )
    assert told(made(1), Source("a", "v")) == (
        '"app/db" is to be rotated every 90 days (class database), next by 2026-12-19T14:13:20Z. '
        "When 1 more of what is read was made is not known."
    )
    assert told(Source("a", "v")) == (
        "It is to be rotated every 90 days (class database), but the store does not tell when what "
        "is read was made, so nobody is told when it is too old."
    )


def test_without_a_policy_nothing_is_overdue_and_no_age_is_told() -> None:
    judged = judge(PLAIN, status(made(1000)), now=NOW)
    assert judged.status.rotation_overdue is None
    assert (judged.moments, judged.changes) == (Moments(), inf)


def test_what_was_never_synced_and_what_is_wrong_say_nothing_new() -> None:
    empty = ExternalSecretStatus()
    assert judge(ROTATED, empty, now=NOW).status is empty
    wrong = external_secret(rotation={"class": "nonsense"})
    before = judge(ROTATED, status(made(91)), now=NOW).status
    assert judge(wrong, before, now=NOW).status is before, "the conditions stay as they were"


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (status(certificates=(certificate(31),)), ("False", "InTime")),
        (status(certificates=(certificate(30),)), ("True", "ExpiresSoon")),
        (status(certificates=(certificate(0),)), ("True", "Expired")),
        (status(certificates=(certificate(-400),)), ("True", "Expired")),
        (status(certificates=(certificate(90), certificate(5, key="b"))), ("True", "ExpiresSoon")),
        # What lives for a day is renewed in its last third.
        (status(certificates=(certificate(0.5, life=1.0),)), ("False", "InTime")),
        (status(certificates=(certificate(0.3, life=1.0),)), ("True", "ExpiresSoon")),
        (status(made(20, expires=15)), ("False", "InTime")),  # of 35 days the last third
        (status(made(20, expires=10)), ("True", "ExpiresSoon")),
        (status(made(100, expires=31)), ("False", "InTime")),
        (status(made(100, expires=29)), ("True", "ExpiresSoon")),
        (status(made(100, expires=-1)), ("True", "Expired")),
        (status(Source("a", "v", expires=rfc3339(NOW + DAY))), ("True", "ExpiresSoon")),
        (status(made(100, expires=-1, version="u"), made(1)), ("", "")),
        (status(made(1)), ("", "")),
        # Its tags, read beside it.
        (status(made(1), Source("app/db", "", expires=rfc3339(NOW))), ("True", "Expired")),
        (status(Source("app/db", "", expires=rfc3339(NOW)), made(1)), ("True", "Expired")),
        (
            status(made(1, expires=400), Source("app/db", "", expires=rfc3339(NOW))),
            ("False", "InTime"),
        ),
    ],
)
def test_expiring(what: ExternalSecretStatus, expected: tuple[str, str]) -> None:
    judged = judge(PLAIN, what, now=NOW)
    assert said(judged.status.expiring) == expected
    assert judged.moments.expiring is {"True": True, "False": False, "": None}[expected[0]]


def test_the_messages_of_expiring() -> None:
    def told(what: ExternalSecretStatus) -> str:
        condition = judge(PLAIN, what, now=NOW).status.expiring
        assert condition is not None
        return condition.message

    assert told(status(certificates=(certificate(5), certificate(6, key="b")))) == (
        'The certificate under "tls.crt" expires at 2026-09-26T14:13:20Z (1 more as well): renew '
        "it in the store."
    )
    assert told(status(certificates=(certificate(-5),))) == (
        'The certificate under "tls.crt" expired at 2026-09-16T14:13:20Z: renew it in the store.'
    )
    assert told(status(made(100, expires=5))) == (
        '"app/db", as the store says, expires at 2026-09-26T14:13:20Z: renew it in the store.'
    )
    assert told(status(certificates=(certificate(60),))) == (
        'The certificate under "tls.crt" expires at 2026-11-20T14:13:20Z; from '
        "2026-10-21T14:13:20Z on, this condition is True."
    )


ages = st.floats(0, 400)
ends = st.floats(-50, 400)


@given(
    st.lists(st.tuples(ages, st.one_of(st.just(0.0), ends)), max_size=3),
    st.lists(st.tuples(ends, st.floats(0.01, 800)), max_size=3),
    st.lists(st.floats(0, 200), max_size=5),
)
def test_the_clock_changes_what_is_said_at_the_time_that_was_told(
    sources: list[tuple[float, float]],
    certificates: list[tuple[float, float]],
    passing: list[float],
) -> None:
    """Between two looks nothing changes that the first did not announce."""
    now = NOW
    current = status(
        *(made(age, key=str(n), expires=end) for n, (age, end) in enumerate(sources)),
        certificates=tuple(
            certificate(end, life=life, key=str(n)) for n, (end, life) in enumerate(certificates)
        ),
    )
    judged = judge(ROTATED, current, now=now)
    for days in passing:
        now += days * DAY
        later = judge(ROTATED, judged.status, now=now)
        if now < judged.changes:
            assert later.status is judged.status, "the same is the same object: no patch"
        again = judge(ROTATED, later.status, now=now)
        assert again.status is later.status
        assert later.changes > now
        judged = later


def test_the_time_of_a_transition_moves_with_the_status_only() -> None:
    first = judge(ROTATED, status(made(80)), now=NOW).status
    assert first.rotation_overdue is not None
    assert first.rotation_overdue.last_transition_time == rfc3339(NOW)
    rotated = replace(first, sources=(made(1),))
    second = judge(ROTATED, rotated, now=NOW + 100).status.rotation_overdue
    assert second is not None
    assert second.message != first.rotation_overdue.message
    assert second.last_transition_time == rfc3339(NOW)
    third = judge(ROTATED, first, now=NOW + 10 * DAY).status.rotation_overdue
    assert third is not None
    assert (third.status, third.last_transition_time) == ("True", rfc3339(NOW + 10 * DAY))
