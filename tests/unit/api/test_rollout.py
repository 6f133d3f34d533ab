"""What a spec says of rollouts, and annotations of Reloader's."""

from typing import Any

import pytest

from syncret.api.reloader import Reloader, parse_reloader
from syncret.api.rollout import Rollout, TargetRef, TargetSelector, parse_rollout
from syncret.api.workload import Workload, WorkloadKey
from syncret.errors import SpecInvalid

R = "reloader.stakater.com"


def test_what_is_left_out() -> None:
    assert parse_rollout({}) == Rollout()
    assert (Rollout().mode, Rollout().debounce, Rollout().max_concurrent) == ("Auto", 1.0, 1)
    assert Rollout().timeout == 600


def test_targets_by_name_and_by_labels() -> None:
    rollout = parse_rollout(
        {
            "rollout": {
                "mode": "Targets",
                "targets": [
                    {"kind": "StatefulSet", "name": "db"},
                    {"selector": {"matchLabels": {"app": "api", "tier": "web"}}},
                ],
            }
        }
    )
    assert rollout.targets == (
        TargetRef("StatefulSet", "db"),
        TargetSelector((("app", "api"), ("tier", "web"))),
    )

    def workload(name: str, **labels: str) -> Workload:
        return Workload(WorkloadKey("a", "StatefulSet", name), "u", {}, labels=labels)

    assert rollout.names(workload("db"))
    assert rollout.names(workload("x", app="api", tier="web", more="y"))
    assert not rollout.names(workload("x", app="api"))


@pytest.mark.parametrize(
    "rollout",
    [
        {"debounce": "2h"},
        {"debounce": "x"},
        {"timeout": "0s"},
        {"windows": [{"kind": "Allow", "schedule": "0 2 30 2 *", "duration": "1h"}]},
        {"windows": [{"kind": "Allow", "schedule": "0 2 * * *", "duration": "1s"}]},
        {"mode": "Targets", "targets": [{"selector": {"matchLabels": {}}}]},
    ],
)
def test_what_the_rules_of_the_crd_do_not_see_or_an_older_crd_let_through(
    rollout: dict[str, Any],
) -> None:
    with pytest.raises(SpecInvalid):
        parse_rollout({"rollout": rollout})


@pytest.mark.parametrize(
    "annotations", [{}, {f"{R}/auto": "false"}, {f"secret.{R}/reload": " , "}, {"auto": "true"}]
)
def test_annotations_that_ask_for_nothing(annotations: dict[str, str]) -> None:
    assert parse_reloader(annotations) is None


def test_a_name_that_is_no_expression_is_a_name() -> None:
    rules = parse_reloader({f"secret.{R}/reload": "a(b, c.d"})
    assert rules is not None
    assert rules.names("Secret", "a(b")
    assert rules.names("Secret", "c.d")
    assert not rules.names("ConfigMap", "c.d")
    assert not rules.names("Secret", "c.d.e"), "an expression is for the whole name"


def test_what_is_to_be_ignored_wins() -> None:
    rules = Reloader(auto=frozenset({"Secret"}), named=(("Secret", "a"),))
    assert rules.concerns("Secret", "a", {}, referred=False)
    assert not rules.concerns("Secret", "a", {f"{R}/ignore": "true"}, referred=True)
    assert not rules.concerns("Secret", "b", {}, referred=False)
