"""``spec.provider.fake``: the last entry of a key is current, and nothing else is pretended."""

from typing import Any

import pytest

from syncret.errors import ProviderRejected, SpecInvalid
from syncret.providers.base import NotFound, Query, Ref, SecretValue
from syncret.providers.fake import MOST, FakeProvider
from syncret.providers.registry import parse_provider

DATA = [
    {"key": "a", "value": "1", "version": "v1"},
    {"key": "b", "value": "x"},
    {"key": "a", "value": "2", "version": "v2"},
]


def quiet(*, operation: str, outcome: str, seconds: float) -> None: ...


async def test_the_last_entry_is_the_current_version() -> None:
    provider = FakeProvider()
    client = await provider.open(
        provider.parse({"data": DATA}, cluster_scoped=False), {}, observe=quiet
    )
    refs = [Ref("a"), Ref("a", "v1"), Ref("a", "v3"), Ref("c"), Ref("b", metadata=True)]
    outcomes = await client.fetch(refs)
    assert outcomes[refs[0]] == SecretValue(b"2", version="v2")
    assert outcomes[refs[1]] == SecretValue(b"1", version="v1")
    assert outcomes[refs[2]] == NotFound(version_missing=True)
    assert outcomes[refs[3]] == NotFound()
    assert isinstance(outcomes[refs[4]], ProviderRejected)
    assert (await client.find(Query())).keys == ("a", "b")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"data": []}, "1 to"),
        ({}, "1 to"),
        ({"data": [{"key": "a", "value": "1"}] * 2}, "twice"),
        ({"data": [{"key": str(n), "value": ""} for n in range(MOST + 1)]}, "1 to"),
        ({"data": [{"key": "", "value": "1"}]}, "key must be"),
        ({"data": [{"key": "a", "value": 1}]}, "value must be"),
        ({"data": [{"key": "a"}]}, "value is missing"),
        ({"data": [{"key": "a", "value": "", "tags": {}}]}, "tags is not known"),
    ],
)
def test_what_is_refused(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecInvalid) as raised:
        parse_provider({"fake": spec}, cluster_scoped=True)
    assert said in raised.value.message
