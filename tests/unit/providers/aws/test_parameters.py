"""Parameter Store: batches, which answer is whose, and what is searched how."""

from typing import Any

import pytest

from syncret.api.data import Query
from syncret.errors import ProviderRejected
from syncret.providers.aws import parameter_search, parameters
from syncret.providers.base import Ref

ARN = "arn:aws:ssm:eu-central-1:111122223333:parameter/app/db"


def named(*refs: Ref) -> dict[str, Ref]:
    return {parameters.asked_as(ref): ref for ref in refs}


def test_names_and_arns_and_odd_names_are_apart() -> None:
    asked = named(Ref("/app/db"), Ref(ARN), Ref("/app/db", "3"), Ref("/ü"), Ref(ARN, "good"))
    assert parameters.batches(asked) == [
        ("/ü",),
        ("/app/db", "/app/db:3"),
        (ARN, f"{ARN}:good"),
    ]
    assert parameters.batches(asked, apart=["/app/db:3"]) == [
        ("/app/db:3",),
        ("/ü",),
        ("/app/db",),
        (ARN, f"{ARN}:good"),
    ]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"Name": "/app/db"}, "/app/db"),
        ({"Name": "/app/db", "Selector": ":3"}, "/app/db:3"),
        ({"Name": "/app/db", "Selector": "3"}, "/app/db:3"),
        ({"Name": "/app/db", "Selector": ":9"}, ""),
        ({"Name": "/app/db", "ARN": ARN, "Selector": ":good"}, f"{ARN}:good"),
        ({"Name": ARN, "Selector": ":good"}, f"{ARN}:good"),
        ({"Name": "/another"}, ""),
        ({}, ""),
    ],
)
def test_an_answer_is_known_by_name_and_selector(entry: dict[str, Any], expected: str) -> None:
    names = ["/app/db", "/app/db:3", f"{ARN}:good"]
    assert parameters.answered_by(names, entry) == expected


def test_the_only_answer_to_the_only_name_is_its() -> None:
    assert parameters.answered_by(["/x"], {"Name": "x"}) == "/x"


def test_two_answers_to_one_name_are_none() -> None:
    """A server that leaves out the selector must not have one version taken for another."""
    names = ["/app/db", "/app/db:3", "/x"]
    entries: list[dict[str, Any]] = [
        {"Name": "/app/db", "Version": 5},
        {"Name": "/app/db", "Version": 3},
        {"Name": "/x"},
    ]
    assert parameters.answered(names, entries) == {"/x": {"Name": "/x"}}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("/app/db", "/app/db"),
        (ARN, "/app/db"),
        ("arn:aws:ssm:eu-central-1:111122223333:parameter/plain", "plain"),
    ],
)
def test_tags_are_asked_for_by_name(key: str, expected: str) -> None:
    assert parameters.tagged_as(key) == expected


NAME = {"Key": "Name", "Option": "BeginsWith"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(path="/app/"), parameter_search.Listing("/app")),
        (Query(path="/app/db"), parameter_search.Listing("/app")),
        (Query(path="/app/db/", name="x"), parameter_search.Listing("/app/db")),
        (Query(path="/"), parameter_search.Listing("")),
        (Query(name="x"), parameter_search.Listing("")),
        (Query(path="/app"), parameter_search.Listing("", ({**NAME, "Values": ["/app"]},))),
        (Query(path="plain"), parameter_search.Listing("", ({**NAME, "Values": ["plain"]},))),
        (Query(path="/ü/"), None),
        (
            Query(path="/app/", tags=(("team", "a"),)),
            parameter_search.Listing(
                "",
                (
                    {**NAME, "Values": ["/app/"]},
                    {"Key": "tag:team", "Option": "Equals", "Values": ["a"]},
                ),
            ),
        ),
    ],
)
def test_what_is_asked_for_a_search(
    query: Query, expected: parameter_search.Listing | None
) -> None:
    assert parameter_search.listing(query) == expected


@pytest.mark.parametrize("tag", [("team", ""), ("k" * 129, "v"), ("k", "v" * 257)])
def test_a_tag_that_aws_cannot_search_for(tag: tuple[str, str]) -> None:
    with pytest.raises(ProviderRejected, match="cannot search"):
        parameter_search.listing(Query(tags=(tag,)))


def test_what_is_found_is_named_without_the_prefix() -> None:
    answer = {"Parameters": [{"Name": "/team/a/db"}, {"Name": "/team/b/db"}, {"Name": "/team/a"}]}
    found = parameter_search.matching(Query(name="^db"), answer, "/team/a/")
    assert found == ("db",)
