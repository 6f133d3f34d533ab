"""Which secrets are read together, and which result answers which reference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncret.errors import ProviderRejected
from syncret.providers.aws.arns import is_arn
from syncret.providers.aws.ids import (
    answered_by_error,
    answered_by_value,
    batches,
    version_parameters,
)
from syncret.providers.base import Ref

PREFIX = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:"
NAMES = st.text("abcXYZ019/_+=.@!-", min_size=1, max_size=20)
REFS = st.builds(
    Ref,
    st.one_of(NAMES, NAMES.map(PREFIX.__add__), st.sampled_from(["", "with blank", "ärger"])),
    st.sampled_from(["", "AWSPREVIOUS"]),
)


@given(st.lists(REFS, max_size=90))
def test_every_reference_is_read_once(refs: list[Ref]) -> None:
    found, alone = batches(refs)
    read = [Ref(secret_id) for batch in found for secret_id in batch] + alone
    assert sorted(read) == sorted(set(refs))


@given(st.lists(REFS, max_size=90))
def test_a_batch_is_of_one_kind_and_within_the_limit(refs: list[Ref]) -> None:
    found, _ = batches(refs)
    for batch in found:
        assert 2 <= len(batch) <= 20
        assert len({is_arn(secret_id) for secret_id in batch}) == 1
    kinds = [is_arn(batch[0]) for batch in found if len(batch) < 20]
    assert len(kinds) == len(set(kinds)), "at most one batch of each kind is not full"


def test_what_aws_may_find_malformed_goes_alone() -> None:
    odd = [Ref("with blank"), Ref("ümlaut"), Ref("arn:aws:s3:::bucket"), Ref("x" * 513), Ref("")]
    assert batches(odd) == ([], odd)


@given(NAMES, st.text("abcXYZ019", min_size=6, max_size=6))
def test_an_arn_is_matched_with_and_without_its_end(name: str, end: str) -> None:
    short = PREFIX + name
    full = f"{short}-{end}"
    assert answered_by_value((full, "arn:other"), arn=full, name=name) == [full]
    assert answered_by_value((short, "arn:other"), arn=full, name=name) == [short]
    assert answered_by_value((short, full), arn=full, name=name) == [full, short]
    assert answered_by_value(("arn:other",), arn=full, name=name) == []
    assert answered_by_value((name,), arn=full, name=name) == [name]
    assert answered_by_value((f"{name}x",), arn=full, name=name) == []


def test_a_name_never_answers_for_an_arn() -> None:
    assert answered_by_value((PREFIX + "a",), arn="arn:other-AbCdEf", name=PREFIX + "a") == []


def test_an_error_is_matched_by_either_id() -> None:
    full = f"{PREFIX}team/db-AbCdEf"
    assert answered_by_error(("team/db", "x"), "team/db") == ["team/db"]
    assert answered_by_error(("team/db", "x"), full) == ["team/db"]
    assert answered_by_error(("team/db", "x"), f"{PREFIX}team/db") == ["team/db"]
    assert answered_by_error((full, "arn:x"), full) == [full]
    assert answered_by_error((f"{PREFIX}team/db",), full) == [f"{PREFIX}team/db"]
    assert answered_by_error(("team/db", "x"), "other") == []
    assert answered_by_error(("team/db", "x"), "") == []


UUID = "12345678-1234-1234-1234-123456789abc"


@pytest.mark.parametrize(
    ("version", "parameters"),
    [
        ("", {}),
        ("AWSPREVIOUS", {"VersionStage": "AWSPREVIOUS"}),
        ("stage/AWSPENDING", {"VersionStage": "AWSPENDING"}),
        (f"stage/{UUID}", {"VersionStage": UUID}),
        (UUID, {"VersionId": UUID}),
        (UUID.upper(), {"VersionId": UUID.upper()}),
        (UUID.replace("-", ""), {"VersionId": UUID.replace("-", "")}),
        (f"id/{UUID}", {"VersionId": UUID}),
        (f"uuid/{UUID}", {"VersionId": UUID}),
        ("id/" + "custom-token-" * 4, {"VersionId": "custom-token-" * 4}),
        (f"{UUID}x", {"VersionStage": f"{UUID}x"}),
        ("7", {"VersionStage": "7"}),
    ],
)
def test_a_version_is_an_id_or_a_stage(version: str, parameters: dict[str, str]) -> None:
    assert version_parameters(version) == parameters


@pytest.mark.parametrize("version", ["id/", "id/short", "uuid/" + "x" * 65, "stage/", "s" * 257])
def test_an_impossible_version_is_refused(version: str) -> None:
    with pytest.raises(ProviderRejected, match="is not usable"):
        version_parameters(version)
