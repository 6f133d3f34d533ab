"""Rotation policies and ages as people write them."""

import pytest

from support.objects import external_secret
from syncret.api.rotation import CLASS_AGES, DAY, format_age, parse_age
from syncret.errors import SpecInvalid


@pytest.mark.parametrize(
    ("kind", "days"),
    [
        ("database", 90),
        ("apiKey", 90),
        ("encryptionKey", 365),
        ("tlsCertificate", 90),
        ("serviceAccount", 90),
        ("oauthClient", 365),
    ],
)
def test_each_class_has_the_age_of_the_guide(kind: str, days: int) -> None:
    rotation = external_secret(rotation={"class": kind}).rotation
    assert rotation is not None
    assert rotation.max_age == days * DAY
    assert str(rotation) == f"every {days} days (class {kind})"
    assert len(CLASS_AGES) == 6


def test_an_age_goes_before_that_of_the_class() -> None:
    rotation = external_secret(rotation={"class": "database", "maxAge": "36h"}).rotation
    assert rotation is not None
    assert (rotation.max_age, str(rotation)) == (129_600.0, "every 36h (class database)")
    alone = external_secret(rotation={"maxAge": "1d"}).rotation
    assert alone is not None
    assert str(alone) == "every 1 day"
    assert external_secret().rotation is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90d", 90 * DAY), ("1d", DAY), ("3650d", 3650 * DAY), ("1s", 1.0), ("1h30m", 5400.0)],
)
def test_ages(text: str, seconds: float) -> None:
    assert parse_age(text, "path") == seconds


@pytest.mark.parametrize("text", ["", "0d", "3651d", "500ms", "1.5d", "d", "-1d", "1w", "1d12h"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(SpecInvalid):
        parse_age(text, "path")


@pytest.mark.parametrize("rotation", [{}, {"class": "other"}, {"maxAge": "0s"}, {"maxAge": "2w"}])
def test_what_the_rules_refuse_is_a_problem(rotation: dict[str, str]) -> None:
    record = external_secret(rotation=rotation)
    assert record.problem != ""
    assert record.rotation is None


@pytest.mark.parametrize(
    "target",
    [
        {"previous": {}, "immutable": True},
        {"previous": {}, "creationPolicy": "None"},
        {"previous": {"suffix": "/x"}},
        {"previous": {"suffix": "x" * 64}},
        {"previous": {"keepFor": "1w"}},
    ],
)
def test_previous_values_that_cannot_be_kept(target: dict[str, object]) -> None:
    assert external_secret(target=target).problem != ""


def test_the_defaults_of_previous_values() -> None:
    policy = external_secret(target={"previous": {}}).policy.previous
    assert policy is not None
    assert (policy.suffix, policy.keep_for) == ("_previous", DAY)


@pytest.mark.parametrize(
    ("seconds", "text"), [(DAY, "1 day"), (30 * DAY, "30 days"), (129_600.0, "36h"), (2.0, "2s")]
)
def test_ages_are_told(seconds: float, text: str) -> None:
    assert format_age(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0.0), ("0d", 0.0), ("90m", 5400.0), ("30d", 30 * DAY)]
)
def test_when_a_former_credential_is_revoked(text: str, seconds: float) -> None:
    alone = external_secret(rotation={"revokeAfter": text})
    assert (alone.revoke_after, alone.rotation, alone.problem) == (seconds, None, "")
    both = external_secret(rotation={"revokeAfter": text, "maxAge": "1d"})
    assert both.revoke_after == seconds
    assert both.rotation is not None
    assert external_secret(rotation={"maxAge": "1d"}).revoke_after is None


def test_a_former_credential_does_not_live_for_years() -> None:
    assert "revokeAfter" in external_secret(rotation={"revokeAfter": "31d"}).problem
