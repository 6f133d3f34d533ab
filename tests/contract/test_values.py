"""What every provider's values go through next: the engine's selection of a property.

And what keys may be called. The rest of the contract is in ``test_contract.py``.
"""

import json
import secrets
from functools import partial

import pytest

from contract.harness import Ability, ProviderHarness, lacks
from contract.opened import Opener, bytes_of, fresh
from syncret.errors import PropertyNotFound, ValueNotJSON
from syncret.providers.base import Query, Ref
from syncret.reconcile.select import expand_properties, select_property


async def read(harness: ProviderHarness, opener: Opener, *values: bytes) -> list[bytes]:
    """Values as they arrive."""
    refs = [Ref(fresh(separator=harness.separator)) for _ in values]
    for ref, value in zip(refs, values, strict=True):
        harness.put(ref.key, value)
    opened = await opener(harness)
    outcomes = await opened.client.fetch(refs)
    return [bytes_of(outcomes[ref]) for ref in refs]


async def test_a_property_of_a_json_value(harness: ProviderHarness, opener: Opener) -> None:
    document = {
        "user": "höflich",
        "port": 5432,
        "a.b": "dotted",
        "nested": {"keys": ["first", "second"]},
        "nothing": None,
    }
    text = json.dumps(document, ensure_ascii=False)
    (arrived,) = await read(harness, opener, text.encode())
    assert select_property(arrived, "user") == "höflich".encode()
    assert select_property(arrived, "port") == b"5432"
    assert select_property(arrived, "a.b") == b"dotted"
    assert select_property(arrived, "nested.keys.1") == b"second"
    assert set(expand_properties(arrived)) == {"user", "port", "a.b", "nested"}
    for missing in ("none", "nested.none", "nested.keys.2", "nothing"):
        with pytest.raises(PropertyNotFound, match="has no property"):
            select_property(arrived, missing)


async def test_a_value_that_is_not_json_has_no_property(
    harness: ProviderHarness, opener: Opener
) -> None:
    canary = f"canary-{secrets.token_hex(8)}"
    forms = (f'{{"user": "{canary}"', canary, f'["{canary}"', f'"{canary}"')
    for arrived in await read(harness, opener, *(form.encode() for form in forms)):
        for select in (partial(select_property, path="user"), expand_properties):
            with pytest.raises(ValueNotJSON) as raised:
                select(arrived)
            assert canary not in str(raised.value)


@pytest.mark.needs(Ability.ANY_NAMES)
async def test_a_name_of_any_script(harness: ProviderHarness, opener: Opener) -> None:
    prefix = fresh("", separator=harness.separator)
    names = ["höflich", "秘密", "🔑 and blanks", "e\u0301"]
    for name in names:
        harness.put(prefix + name, name.encode())
    opened = await opener(harness)
    refs = [Ref(prefix + name) for name in names]
    outcomes = await opened.client.fetch(refs)
    assert [bytes_of(outcomes[ref]) for ref in refs] == [name.encode() for name in names]
    if Ability.SEARCHES not in lacks(harness):
        found = await opened.client.find(Query(path=prefix))
        assert sorted(found.keys) == sorted(prefix + name for name in names)
