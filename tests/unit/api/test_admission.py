"""Who may use a ClusterSecretStore, and which of its keys: every rule, and the ways around it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.objects import store_body
from syncret.api.selector import Namespace
from syncret.api.store import Store, may_read, parse_store

TEAM_A = Namespace("team-a", {"team": "a", "env": "prod"})


def store(*conditions: dict[str, Any], namespace: str = "") -> Store:
    body = store_body(namespace=namespace, conditions=conditions)
    record = parse_store(body["kind"], body)
    assert record.problem == ""
    return record


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    wanted: dict[str, Any] = {"key": key, "operator": operator}
    if values:
        wanted["values"] = list(values)
    return {"namespaceSelector": {"matchExpressions": [wanted]}}


@pytest.mark.parametrize(
    ("conditions", "admitted"),
    [
        ([], False),
        ([{"namespaces": ["team-a"]}], True),
        ([{"namespaces": ["team"]}], False),
        ([{"namespaces": ["team-b"]}, {"namespaces": ["team-a"]}], True),
        ([{"namespaceRegexes": ["team-.*"]}], True),
        ([{"namespaceRegexes": ["team"]}], False),  # the whole name
        ([{"namespaceRegexes": ["eam-a"]}], False),
        ([{"namespaceRegexes": ["x|team-a"]}], True),
        ([{"namespaceRegexes": ["x", "t.*a"]}], True),
        ([{"namespaceSelector": {}}], True),
        ([{"namespaceSelector": {"matchLabels": {"team": "a"}}}], True),
        ([{"namespaceSelector": {"matchLabels": {"team": "a", "env": "dev"}}}], False),
        ([{"namespaceSelector": {"matchLabels": {"absent": ""}}}], False),
        ([expression("team", "In", "b", "a")], True),
        ([expression("team", "In", "b")], False),
        ([expression("absent", "In", "a")], False),
        ([expression("team", "NotIn", "b")], True),
        ([expression("team", "NotIn", "a")], False),
        ([expression("absent", "NotIn", "a")], True),
        ([expression("team", "Exists")], True),
        ([expression("absent", "Exists")], False),
        ([expression("absent", "DoesNotExist")], True),
        ([expression("team", "DoesNotExist")], False),
        ([{"namespaces": ["x"], "namespaceSelector": {"matchLabels": {"team": "a"}}}], True),
        ([{"namespaces": ["x"], "namespaceRegexes": ["team-a"]}], True),
    ],
)
def test_who_is_admitted(conditions: list[dict[str, Any]], admitted: bool) -> None:
    assert store(*conditions).admits(TEAM_A) is admitted
    assert may_read(store(*conditions), TEAM_A, "any/key") is admitted


def test_labels_that_are_not_known_are_no_answer() -> None:
    unknown = Namespace("team-a")
    by_label = {"namespaceSelector": {"matchLabels": {"team": "a"}}}
    assert store(by_label).admits(unknown) is None
    assert store(by_label, {"namespaces": ["team-a"]}).admits(unknown) is True
    assert store({"namespaces": ["team-b"]}).admits(unknown) is False
    assert not may_read(store(by_label), unknown, "k")


def test_a_secret_store_serves_its_own_namespace_and_every_key() -> None:
    mine = store(namespace="team-a")
    assert mine.admits(TEAM_A)
    assert not mine.admits(Namespace("team-b"))
    assert may_read(mine, TEAM_A, "../anything")
    assert not may_read(mine, Namespace("team-b"), "k")


@pytest.mark.parametrize(
    ("patterns", "key", "allowed"),
    [
        (["app/db"], "app/db", True),
        (["app/db"], "app/db2", False),
        (["app/db"], "xapp/db", False),
        (["app/*"], "app/db", True),
        (["app/*"], "app/a/b/c", True),
        (["app/*"], "app/", True),
        (["app/*"], "app", False),
        (["*"], "anything/at-all", True),
        (["app-?"], "app-1", True),
        (["app-?"], "app-12", False),
        (["{namespace}/*"], "team-a/db", True),
        (["{namespace}/*"], "team-b/db", False),
        (["prod/{namespace}/{namespace}-*"], "prod/team-a/team-a-x", True),
        (["prod/{namespace}/{namespace}-*"], "prod/team-a/team-b-x", False),
        (["x", "shared/*"], "shared/ca", True),
        # What is special in regular expressions is not special here.
        (["a.c"], "abc", False),
        (["a.c"], "a.c", True),
        (["(a|b)"], "a", False),
        (["[ab]"], "a", False),
        (["^a$"], "a", False),
        # Nothing that a server may fold away before it looks.
        (["{namespace}/*"], "team-a/../team-b/db", False),
        (["{namespace}/*"], "team-a/./db", False),
        (["{namespace}/*"], "team-a/..", False),
        (["{namespace}/*"], "team-a/%2e%2e/team-b/db", False),
        (["{namespace}/*"], "team-a/..%2fteam-b", False),
        (["{namespace}/*"], "team-a\\..\\team-b", False),
        (["{namespace}/*"], "team-a/\n", False),
        (["{namespace}/*"], "team-a/\x00", False),
        (["{namespace}/*"], "team-a/v1..2", True),
        (["{namespace}/*"], "TEAM-A/db", False),
        (["{namespace}/*"], "", False),
        (["{namespace}/*"], "arn:aws:secretsmanager:eu-central-1:1:secret:team-a/db", False),
        (["arn:*:secret:{namespace}/*"], "arn:aws:secretsmanager:e:1:secret:team-a/x", True),
    ],
)
def test_which_keys_may_be_read(patterns: list[str], key: str, allowed: bool) -> None:
    scoped = store({"namespaces": ["team-a"], "remoteKeys": patterns})
    assert may_read(scoped, TEAM_A, key) is allowed


def test_a_name_stands_for_itself_in_a_pattern() -> None:
    scoped = store({"namespaceSelector": {}, "remoteKeys": ["{namespace}/*"]})
    odd = Namespace("a.b", {})
    assert may_read(scoped, odd, "a.b/db")
    assert not may_read(scoped, odd, "axb/db")


def test_any_entry_that_selects_the_namespace_allows_what_it_says() -> None:
    scoped = store(
        {"namespaceSelector": {}, "remoteKeys": ["shared/*"]},
        {"namespaces": ["team-a"], "remoteKeys": ["team-a/*"]},
        {"namespaces": ["admin"]},
    )
    assert may_read(scoped, TEAM_A, "shared/x")
    assert may_read(scoped, TEAM_A, "team-a/x")
    assert not may_read(scoped, TEAM_A, "other/x")
    assert may_read(scoped, Namespace("admin"), "other/x") is True
    assert not may_read(scoped, Namespace("team-b", {}), "team-a/x")


@given(st.text(max_size=40), st.text(max_size=20), st.sampled_from(["team-a", "a.b", "x"]))
def test_a_pattern_never_lets_another_namespace_s_keys_through(
    key: str, rest: str, namespace: str
) -> None:
    scoped = store({"namespaceSelector": {}, "remoteKeys": ["{namespace}/*"]})
    reader = Namespace(namespace, {})
    if may_read(scoped, reader, key):
        assert key.startswith(f"{namespace}/")
    assert not may_read(scoped, reader, f"other/{rest}")


@given(st.lists(st.sampled_from(["*", "a", "?", "/"]), max_size=300))
def test_no_pattern_takes_long(parts: list[str]) -> None:
    """Wild cards in a row are what makes backtracking matchers run for ever."""
    pattern = "".join(parts) or "*"
    scoped = store({"namespaces": ["team-a"], "remoteKeys": [pattern]})
    may_read(scoped, TEAM_A, "a/" * 500 + "b")
