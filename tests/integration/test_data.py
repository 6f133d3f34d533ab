"""What data and dataFrom can say: a row per rule, with what is there before and what comes of it.

Every name in a row is that of a secret in AWS, below the namespace of the row. In texts, ``{key}``
stands for that namespace and a slash.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from integration import manifests
from integration.world import World, Worlds
from testbed.operator import Operator

Body = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One rule.

    Attributes:
        rule: In words.
        holds: What the store holds, by name; tags: of some of them.
        spec: The manifest's spec.
        data: What the Secret holds in the end; None: there is none.
        reason, says: Of Ready: its reason, and a part of its message.
        missing: The status of that name.
        before: What the store holds at first, if that is something else: then the Secret is made
            of it by the same manifest, and only after that the store holds ``holds``.
    """

    rule: str
    holds: Mapping[str, Any]
    spec: Body
    data: Mapping[str, bytes] | None
    reason: str = "Synced"
    says: str = ""
    missing: list[Body] = field(default_factory=list)
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    before: Mapping[str, Any] | None = None


def data(secret_key: str, key: str, *, entry: Mapping[str, Any] | None = None, **ref: Any) -> Body:
    return {"secretKey": secret_key, "remoteRef": {"key": f"{{key}}{key}", **ref}, **(entry or {})}


def extract(key: str, *, entry: Mapping[str, Any] | None = None, **ref: Any) -> Body:
    return {"extract": {"key": f"{{key}}{key}", **ref}, **(entry or {})}


def find(path: str = "", *, rewrite: list[Body] | None = None, **query: Any) -> Body:
    """A find below the row's own namespace, whose name is then taken off the keys."""
    own = {"regexp": {"source": "^{key}", "target": ""}}
    return {"find": {"path": f"{{key}}{path}", **query}, "rewrite": [own, *(rewrite or [])]}


def renamed(source: str, target: str) -> Body:
    return {"regexp": {"source": source, "target": target}}


def merged(**how: Any) -> Body:
    return {"merge": how}


SECOND = {"sourceRef": {"storeRef": {"name": "second"}}}
OPTIONAL = {"optional": True}
ENCODED = base64.b64encode(b"\xfb\xff hi").decode()
URL_ENCODED = base64.urlsafe_b64encode(b"\xfb\xff hi").decode()
TWO = {"a": {"user": "one", "port": 1}, "b": {"user": "two"}}

ROWS = [
    # Order and precedence
    Row(
        "data adds to dataFrom",
        {"db": {"user": "app", "port": 1}, "token": "t"},
        {"dataFrom": [extract("db")], "data": [data("token", "token")]},
        {"user": b"app", "port": b"1", "token": b"t"},
    ),
    Row(
        "two entries of dataFrom that give one key are an error",
        {"db": {"user": "app"}, "other": {"user": "x"}},
        {"dataFrom": [extract("db"), extract("other")]},
        None,
        "DuplicateKey",
        "spec.dataFrom[1].extract and spec.dataFrom[0].extract both give the key",
    ),
    Row(
        "data and dataFrom that give one key are an error, and the Secret stays",
        {"db": {"user": "app", "token": "x"}, "token": "t"},
        {"dataFrom": [extract("db")], "data": [data("token", "token")]},
        {"user": b"app", "token": b"t"},
        "DuplicateKey",
        "spec.data[0].remoteRef and spec.dataFrom[0].extract both give the key",
        before={"db": {"user": "app"}, "token": "t"},
    ),
    # Keys
    Row(
        "characters that no key can have become underscores",
        {"db": {"a b": "1", "c/d": "2", "ü": "3"}},
        {"dataFrom": [extract("db")]},
        {"a_b": b"1", "c_d": b"2", "_": b"3"},
    ),
    Row(
        "or their numbers",
        {"db": {"a b": "1", "c/d": "2", "ü": "3"}},
        {"dataFrom": [extract("db", conversionStrategy="Unicode")]},
        {"a_U0020_b": b"1", "c_U002f_d": b"2", "_U00fc_": b"3"},
    ),
    Row(
        "two that become one are an error",
        {"db": {"a b": "1", "a/b": "2"}},
        {"dataFrom": [extract("db")]},
        None,
        "DuplicateKey",
        'gives "a b" and "a/b", which both become the key "a_b"',
    ),
    Row(
        "a key that cannot be made usable is an error",
        {"db": {"..x": "1"}},
        {"dataFrom": [extract("db")]},
        None,
        "InvalidKey",
        'gives the key "..x"',
    ),
    # Values
    Row(
        "values are decoded",
        {"std": ENCODED, "url": URL_ENCODED, "db": {"cert": ENCODED, "plain": "not base64"}},
        {
            "data": [
                data("std", "std", decodingStrategy="Base64"),
                data("url", "url", decodingStrategy="Base64URL"),
                data("raw", "std"),
            ],
            "dataFrom": [extract("db", decodingStrategy="Auto")],
        },
        {
            "std": b"\xfb\xff hi",
            "url": b"\xfb\xff hi",
            "raw": ENCODED.encode(),
            "cert": b"\xfb\xff hi",
            "plain": b"not base64",
        },
    ),
    Row(
        "what cannot be decoded is an error, and the Secret stays",
        {"std": "!"},
        {"data": [data("std", "std", decodingStrategy="Base64")]},
        {"std": b"\xfb\xff hi"},
        "DecodingFailed",
        'The value of "{key}std" is not Base64 (spec.data[0].remoteRef)',
        before={"std": ENCODED},
    ),
    Row(
        "null bytes may be refused",
        {"db": {"a": "x\0y"}},
        {"dataFrom": [extract("db", nullBytePolicy="Fail")]},
        None,
        "NullByte",
        'The value of "a" holds a null byte',
    ),
    Row(
        "and are let pass otherwise",
        {"db": {"a": "x\0y"}},
        {"dataFrom": [extract("db")]},
        {"a": b"x\0y"},
    ),
    Row(
        "tags instead of the value",
        {"db": {"user": "app"}},
        {
            "data": [
                data("team", "db", metadataPolicy="Fetch", property="team"),
                data("user", "db", property="user"),
            ],
            "dataFrom": [
                extract("db", metadataPolicy="Fetch", entry={"rewrite": [renamed("^", "tag-")]})
            ],
        },
        {"team": b"payments", "user": b"app", "tag-team": b"payments", "tag-tier": b"1"},
        tags={"db": {"team": "payments", "tier": "1"}},
    ),
    # Searches
    Row(
        "find by path",
        {"app/one": "1", "app/two": "2", "apple": "3"},
        {"dataFrom": [find("app/")]},
        {"app_one": b"1", "app_two": b"2"},
    ),
    Row(
        "find by a regular expression",
        {"api-one": "1", "two-api": "2", "api-3": "3"},
        {"dataFrom": [find(name={"regexp": "/api-[a-z]+$"})]},
        {"api-one": b"1"},
    ),
    Row(
        "find by tags, all of them",
        {"a": "1", "b": "2", "c": "3"},
        {"dataFrom": [find(tags={"team": "x", "tier": "1"})]},
        {"a": b"1"},
        tags={
            "a": {"team": "x", "tier": "1"},
            "b": {"team": "x", "tier": "12"},
            "c": {"team": "x"},
        },
    ),
    Row(
        "what is found may change, and the Secret with it",
        {"app/two": "2", "app/three": "3"},
        {"dataFrom": [find("app/")]},
        {"app_two": b"2", "app_three": b"3"},
        before={"app/one": "1", "app/two": "2"},
    ),
    Row(
        "more than one page is found",
        {f"many/{number:03}": str(number) for number in range(120)},
        {"dataFrom": [find("many/", rewrite=[renamed("^many/", "n")])]},
        {f"n{number:03}": str(number).encode() for number in range(120)},
    ),
    Row(
        "nothing found is an error",
        {},
        {"dataFrom": [find("none/")]},
        None,
        "KeyNotFound",
        "aws has no secret that spec.dataFrom[0].find finds",
    ),
    Row(
        "unless it is optional",
        {"token": "t"},
        {"dataFrom": [{**find("none/"), **OPTIONAL}], "data": [data("token", "token")]},
        {"token": b"t"},
        missing=[{"entry": "spec.dataFrom[0]"}],
    ),
    # Rewrite
    Row(
        "keys are rewritten step by step",
        {"db": {"api-key": "1", "api-name": "2", "other": "3"}},
        {
            "dataFrom": [
                extract("db", entry={"rewrite": [renamed("^api-(.*)$", "$1"), renamed("^", "X_")]})
            ]
        },
        {"X_key": b"1", "X_name": b"2", "X_other": b"3"},
    ),
    Row(
        "named groups",
        {"db": {"left.right": "1"}},
        {
            "dataFrom": [
                extract("db", entry={"rewrite": [renamed(r"(?P<l>\w+)\.(?P<r>\w+)", "${r}_${l}")]})
            ]
        },
        {"right_left": b"1"},
    ),
    Row(
        "two keys that are rewritten to one are an error",
        {"db": {"a1": "1", "a2": "2"}},
        {"dataFrom": [extract("db", entry={"rewrite": [renamed("[0-9]", "")]})]},
        None,
        "DuplicateKey",
        'spec.dataFrom[0].rewrite[0] turns both "a1" and "a2" into "a"',
    ),
    Row(
        "a group that is not there is an error",
        {"db": {"a": "1"}},
        {"dataFrom": [extract("db", entry={"rewrite": [renamed("a", "$1")]})]},
        None,
        "SpecInvalid",
        'spec.dataFrom[0].rewrite[0].regexp.target names the group "1"',
    ),
    Row(
        "values are merged",
        {"a": {"user": "one"}, "b": {"port": 1}},
        {"dataFrom": [find(rewrite=[merged()])]},
        {"user": b"one", "port": b"1"},
    ),
    Row(
        "a conflict is an error",
        TWO,
        {"dataFrom": [find(rewrite=[merged()])]},
        None,
        "DuplicateKey",
        'spec.dataFrom[0].rewrite[1].merge: "a" and "b" both have the field "user"',
    ),
    Row(
        "unless one of them has priority",
        TWO,
        {"dataFrom": [find(rewrite=[merged(priority=["a"])])]},
        {"user": b"one", "port": b"1"},
    ),
    Row(
        "or conflicts are ignored: then the later one wins",
        TWO,
        {"dataFrom": [find(rewrite=[merged(conflictPolicy="Ignore")])]},
        {"user": b"two", "port": b"1"},
    ),
    Row(
        "priority of a key that is not there is an error",
        TWO,
        {"dataFrom": [find(rewrite=[merged(priority=["a", "c"])])]},
        None,
        "PriorityNotFound",
        'spec.dataFrom[0].rewrite[1].merge.priority names "c"',
    ),
    Row(
        "unless it need not be there",
        TWO,
        {
            "dataFrom": [
                find(rewrite=[merged(priority=["a", "c"], priorityPolicy="IgnoreNotFound")])
            ]
        },
        {"user": b"one", "port": b"1"},
    ),
    Row(
        "merged into one more key",
        {"a": {"x": "1"}, "b": {"y": 2}},
        {"dataFrom": [find(rewrite=[merged(strategy="JSON", into="all")])]},
        {"a": b'{"x": "1"}', "b": b'{"y": 2}', "all": b'{"x":"1","y":2}'},
    ),
    # Several stores
    Row(
        "several stores",
        {"db": {"user": "app"}, "token": "t", "app/one": "1"},
        {
            "data": [data("token", "token", entry=SECOND)],
            "dataFrom": [extract("db"), {**find("app/"), **SECOND}],
        },
        {"user": b"app", "token": b"t", "app_one": b"1"},
    ),
    Row(
        "no store for all, but one for each",
        {"token": "t"},
        {"secretStoreRef": None, "data": [data("token", "token", entry=SECOND)]},
        {"token": b"t"},
    ),
    Row(
        "one of several stores that is not there",
        {"db": {"user": "app"}},
        {
            "data": [data("t", "t", entry={"sourceRef": {"storeRef": {"name": "third"}}})],
            "dataFrom": [extract("db")],
        },
        None,
        "StoreNotFound",
        "create it, or correct spec.data[0].sourceRef.storeRef",
    ),
    # What is missing
    Row(
        "what is optional and missing is left out",
        {"db": {"user": "app"}},
        {
            "data": [
                data("user", "db", property="user"),
                data("a", "none", entry=OPTIONAL),
                data("b", "db", property="none", entry=OPTIONAL),
                data("c", "db", version="NONE", entry=OPTIONAL),
            ],
            "dataFrom": [extract("none", entry=OPTIONAL)],
        },
        {"user": b"app"},
        says='Optional, and missing there: spec.dataFrom[0] ("{key}none"), spec.data[1]',
        missing=[
            {"entry": "spec.dataFrom[0]", "key": "{key}none"},
            {"entry": "spec.data[1]", "key": "{key}none"},
            {"entry": "spec.data[2]", "key": "{key}db", "property": "none"},
            {"entry": "spec.data[3]", "key": "{key}db"},
        ],
    ),
    Row(
        "what is optional and goes, goes from the Secret",
        {"b": "2"},
        {"data": [data("a", "a", entry=OPTIONAL), data("b", "b")]},
        {"b": b"2"},
        missing=[{"entry": "spec.data[0]", "key": "{key}a"}],
        before={"a": "1", "b": "2"},
    ),
    Row(
        "what is required and goes leaves the Secret as it was",
        {"a": "changed"},
        {"data": [data("a", "a"), data("b", "b")]},
        {"a": b"1", "b": b"2"},
        "KeyNotFound",
        'aws has no "{key}b" (spec.data[1].remoteRef)',
        before={"a": "1", "b": "2"},
    ),
    Row(
        "optional does not excuse a value of the wrong form",
        {"db": "plain"},
        {"dataFrom": [extract("db", entry=OPTIONAL)]},
        None,
        "ValueNotJSON",
        'The value of "{key}db" is not JSON',
    ),
    # What the API server cannot know
    Row(
        "a time zone that is not there",
        {"a": "1"},
        {
            "data": [data("a", "a")],
            "syncWindows": [
                {"kind": "Deny", "schedule": "0 2 * * *", "duration": "1h", "timeZone": "Mars/Base"}
            ],
        },
        None,
        "SpecInvalid",
        'spec.syncWindows[0].timeZone: "Mars/Base" is not a time zone',
    ),
    Row(
        "a schedule that never comes",
        {"a": "1"},
        {
            "data": [data("a", "a")],
            "syncWindows": [{"kind": "Deny", "schedule": "0 2 31 2 *", "duration": "1h"}],
        },
        None,
        "SpecInvalid",
        'spec.syncWindows[0].schedule is "0 2 31 2 *"',
    ),
]


def placed(value: Any, world: World) -> Any:
    """With the row's own prefix in the place of ``{key}``."""
    return json.loads(json.dumps(value).replace("{key}", world.key("")))


@dataclass
class Played:
    """A row, and the namespace that it plays in."""

    row: Row
    world: World

    def start(self) -> None:
        row, world = self.row, self.world
        world.apply(manifests.store(world.namespace, world.endpoint, name="second"))
        for name, value in (row.holds if row.before is None else row.before).items():
            world.put(name, value)
        for name, tags in row.tags.items():
            given = [{"Key": key, "Value": value} for key, value in tags.items()]
            world.aws.tag_resource(SecretId=world.key(name), Tags=given)
        body = manifests.external_secret(world.namespace, **placed(row.spec, world))
        body["spec"] = {name: value for name, value in body["spec"].items() if value is not None}
        world.apply(body)

    def change(self) -> None:
        """The Secret has been made of what the store held before, which holds other now."""
        row, world = self.row, self.world
        if row.before is None:
            return
        world.wait_ready()
        for name in row.before.keys() - row.holds.keys():
            world.remove(name)
        for name, value in row.holds.items():
            world.put(name, value)

    def has_come(self) -> bool:
        row, world = self.row, self.world
        ready = world.ready()
        return (
            ready.get("reason") == row.reason
            and placed(row.says, world) in ready["message"]
            and world.data() == row.data
        )


@pytest.fixture(scope="module")
def played(worlds: Worlds, shared: Operator) -> Iterator[dict[str, Played]]:
    """All rows, side by side, so that their waits are one."""
    if shared.child is None or not shared.child.alive:
        shared.start()
    rows = {row.rule: Played(row, worlds.new("row")) for row in ROWS}
    for each in rows.values():
        each.start()
    for each in rows.values():
        each.change()
    yield rows
    for each in rows.values():
        each.world.clear()


@pytest.mark.parametrize("rule", [row.rule for row in ROWS])
def test_what_comes_of_a_manifest(rule: str, played: dict[str, Played]) -> None:
    row, world = played[rule].row, played[rule].world
    world.wait(played[rule].has_come, rule)
    assert world.ready()["status"] == ("True" if row.reason == "Synced" else "False")
    assert world.status().get("missing", []) == placed(row.missing, world)


def test_refreshes_that_find_nothing_new_write_nothing(played: dict[str, Played]) -> None:
    def versions() -> dict[str, tuple[str, str]]:
        return {
            rule: (
                each.world.version("ExternalSecret", "app"),
                each.world.version("Secret", "app"),
            )
            for rule, each in played.items()
            if each.row.reason == "Synced"
        }

    for each in played.values():
        each.world.wait(each.has_come, each.row.rule)
    before = versions()
    for _ in range(2):  # with the second, one was made as a whole
        last = {rule: played[rule].world.refreshed() for rule in before}
        for rule, when in last.items():
            world = played[rule].world
            world.wait(lambda world=world, when=when: world.refreshed() > when, f"{rule}, again")  # type: ignore[misc]
    assert versions() == before
