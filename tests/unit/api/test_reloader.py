"""Reloader's annotations, one by one, as its documentation and its source have them."""

from typing import Any

import pytest

from syncret.api.reloader import Reloader, SourceKind, parse_reloader

R = "reloader.stakater.com"
Annotations = dict[str, Any]


def concerns(
    annotations: Annotations,
    kind: SourceKind = "Secret",
    name: str = "db",
    *,
    template: Annotations | None = None,
    source: Annotations | None = None,
    referred: bool = True,
) -> bool:
    rules = parse_reloader(annotations, template)
    return rules is not None and rules.concerns(kind, name, source or {}, referred=referred)


@pytest.mark.parametrize("value", ["true", "True", "TRUE", "t", "T", "1"])
def test_auto_is_read_as_go_reads_it(value: str) -> None:
    assert concerns({f"{R}/auto": value})
    assert concerns({f"{R}/auto": value}, "ConfigMap")
    assert not concerns({f"{R}/auto": value}, referred=False)
    assert concerns({f"secret.{R}/auto": value})
    assert not concerns({f"secret.{R}/auto": value}, "ConfigMap")


@pytest.mark.parametrize("value", ["false", "yes", "on", "tRUE", "", " true", True, None, 1])
def test_anything_else_is_not_true(value: Any) -> None:
    assert not concerns({f"{R}/auto": value})


def test_one_of_auto_and_typed_auto_is_enough() -> None:
    """As its documentation has it: "only one needs to be true"."""
    both = {f"{R}/auto": "false", f"configmap.{R}/auto": "true"}
    assert concerns(both, "ConfigMap")
    assert not concerns(both, "Secret")


def test_names_are_expressions_for_whole_names_and_need_not_be_referred_to() -> None:
    for names in ("db", "other, db", "d.", ".*", "x,[,db"):
        assert concerns({f"secret.{R}/reload": names}, referred=False), names
    for names in ("", ",", "d", "db-.*", "[", "DB"):
        assert not concerns({f"secret.{R}/reload": names}), names
    assert not concerns({f"secret.{R}/reload": "db"}, "ConfigMap")
    assert concerns({f"configmap.{R}/reload": "db"}, "ConfigMap")


def test_search_takes_match_and_a_reference() -> None:
    search, match = {f"{R}/search": "true"}, {f"{R}/match": "true"}
    assert concerns(search, source=match)
    assert not concerns(search)
    assert not concerns(search, source=match, referred=False)
    assert not concerns({f"{R}/search": "True"}, source=match), "these take true alone"


@pytest.mark.parametrize(
    "asks", [{f"{R}/auto": "true"}, {f"secret.{R}/reload": "db"}, {f"{R}/search": "true"}]
)
def test_exclude_and_ignore_win_over_everything(asks: Annotations) -> None:
    source = {f"{R}/match": "true"}
    assert concerns(asks, source=source)
    assert not concerns(asks, source={**source, f"{R}/ignore": "true"})
    assert not concerns({**asks, f"secrets.exclude.{R}/reload": "x, db"}, source=source)
    assert concerns({**asks, f"configmaps.exclude.{R}/reload": "db"}, source=source)


def test_the_pod_template_counts_where_the_workload_says_nothing() -> None:
    auto, no = {f"{R}/auto": "true"}, {f"{R}/auto": "false"}
    assert concerns({}, template=auto)
    assert concerns({"app": "x"}, template=auto)
    assert not concerns(no, template=auto), "what is there counts, also if it says no"
    assert not concerns({f"{R}/search": "true"}, template=auto)
    maps = {f"configmap.{R}/reload": "settings"}
    assert concerns(maps, template=auto), "each kind for itself"
    assert not concerns(maps, "ConfigMap", template=auto)
    assert not concerns({f"secrets.exclude.{R}/reload": "db"}, template=auto)


def test_what_asks_for_nothing_is_none() -> None:
    for annotations in ({}, {f"{R}/auto": "false"}, {f"secrets.exclude.{R}/reload": "db"}):
        assert parse_reloader(annotations) is None
    assert parse_reloader({f"{R}/auto": "true"}) == Reloader(
        auto=frozenset({"Secret", "ConfigMap"})
    )
