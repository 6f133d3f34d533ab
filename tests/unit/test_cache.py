"""The tables of the cache, against a dictionary and a search through all of it."""

from collections.abc import Hashable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from support.objects import external_secret, workload_body
from syncret.api.keys import ObjectKey
from syncret.api.workload import parse_workload
from syncret.cache import Cache, Table

Record = tuple[int, tuple[str, ...]]

_KEYS = st.sampled_from("abc")
_RECORDS = st.tuples(st.integers(0, 2), st.lists(st.sampled_from("xyz"), max_size=3).map(tuple))


class TableModel(RuleBasedStateMachine):
    """Whatever is put and dropped: every look-up finds what a search would."""

    def __init__(self) -> None:
        super().__init__()
        self.table: Table[str, Record] = Table(number=lambda r: (r[0],), term=lambda r: r[1])
        self.model: dict[str, Record] = {}

    @rule(key=_KEYS, record=_RECORDS)
    def put(self, key: str, record: Record) -> None:
        assert self.table.put(key, record) == self.model.get(key)
        self.model[key] = record

    @rule(key=_KEYS)
    def drop(self, key: str) -> None:
        assert self.table.drop(key) == self.model.pop(key, None)

    @invariant()
    def every_look_up_finds_what_a_search_would(self) -> None:
        assert len(self.table) == len(self.model)
        assert sorted(self.table) == sorted(self.model.values())
        for key in "abc":
            assert self.table.get(key) == self.model.get(key)
        for number in range(3):
            self._check("number", number, [r for r in self.model.values() if r[0] == number])
        for term in "xyz":
            self._check("term", term, [r for r in self.model.values() if term in r[1]])

    @invariant()
    def nothing_is_left_of_what_was_dropped(self) -> None:
        terms = sum(len(index) for index in self.table._indices.values())
        records = self.model.values()
        assert terms == len({r[0] for r in records}) + len({t for r in records for t in r[1]})

    def _check(self, index: str, term: Hashable, expected: list[Record]) -> None:
        assert sorted(self.table.by(index, term)) == sorted(expected)


TableModel.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
test_any_history = TableModel.TestCase


def test_an_index_that_is_not_there_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Table[str, int]().by("nothing", 1)


def test_how_the_tables_refer_to_each_other() -> None:
    cache = Cache()
    here = external_secret("db", target={"name": "credentials"})
    elsewhere = external_secret("db", namespace="other", target={"name": "credentials"})
    for record in (here, elsewhere):
        cache.external_secrets.put(record.key, record)
    workload = parse_workload("Deployment", workload_body(reads=("credentials", "more")))
    assert workload is not None
    cache.workloads.put(workload.key, workload)
    store = ObjectKey("SecretStore", "payments", "aws")
    assert cache.external_secrets.by("store", store) == [here]
    assert cache.external_secrets.by("target", ("payments", "credentials")) == [here]
    for secret in ("credentials", "more"):
        assert cache.workloads.by("secret", ("payments", secret)) == [workload]
    assert cache.workloads.by("secret", ("other", "credentials")) == []
