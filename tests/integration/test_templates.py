"""What spec.target.template can say, on the real control plane: a row per rule.

Every row is made of the same three remote values; ``{key}`` stands for the row's namespace.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from integration import manifests
from integration.api import ApiError
from integration.test_data import placed
from integration.world import World, Worlds
from support.pki import Issuer
from syncret.constants import GROUP, METADATA_ANNOTATION
from testbed.operator import REPOSITORY, Operator

Body = dict[str, Any]

REMOTE = {"user": "app", "password": "a/b c", "api-key": "k"}
ALL = [{"extract": {"key": "{key}db"}}]
LOOP = "{% for k, v in secrets.items() %}x-{{ k }}: {{ v | to_json }}\n{% endfor %}"
AS_READ = {name: value.encode() for name, value in REMOTE.items()}


OWN, OTHER = Issuer("app", san="app.example.com"), Issuer("other")
CERTIFICATE, KEY, OTHER_KEY = OWN.pem, OWN.key_pem, OTHER.key_pem


@dataclass(frozen=True)
class Row:
    """One rule: a template, and the Secret that comes of it; ``data`` None: there is none."""

    rule: str
    template: Body
    data: Mapping[str, bytes] | None
    reason: str = "Synced"
    says: str = ""
    type: str = "Opaque"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    remote: Mapping[str, str] = field(default_factory=lambda: REMOTE)


def literal(text: str, target: str = "Data") -> Body:
    return {"literal": text, "target": target}


def config_map(key: str, how: str = "Values", name: str = "form") -> Body:
    return {"configMap": {"name": name, "items": [{"key": key, "templateAs": how}]}}


def registry(document: Any) -> dict[str, str]:
    return {".dockerconfigjson": json.dumps(document)}


ROWS = [
    Row(
        "template data replace what was read",
        {"data": {"URL": "db://{{ user }}:{{ password | urlencode }}@h"}},
        {"URL": b"db://app:a%2Fb%20c@h"},
    ),
    Row(
        "with Merge what was read stays, and the template wins",
        {"data": {"user": "{{ user | upper }}"}, "mergePolicy": "Merge"},
        {**AS_READ, "user": b"APP"},
    ),
    Row(
        "a template without data leaves what was read",
        {"metadata": {"labels": {"team": "payments", "of": "{{ user }}"}}},
        AS_READ,
        labels={"team": "payments", "of": "app"},
    ),
    Row(
        "labels and annotations from elsewhere",
        {
            "templateFrom": [
                literal("example.com/user: {{ user }}", "Annotations"),
                literal("tier: gold", "Labels"),
            ]
        },
        AS_READ,
        labels={"tier": "gold"},
        annotations={"example.com/user": "app"},
    ),
    Row("a key that is no name", {"data": {"K": "{{ secrets['api-key'] }}"}}, {"K": b"k"}),
    Row(
        "a literal gives keys and values",
        {"templateFrom": [literal(LOOP)]},
        {f"x-{name}": value for name, value in AS_READ.items()},
    ),
    Row(
        "a ConfigMap's key as a value",
        {"templateFrom": [config_map("app.conf")]},
        {"app.conf": b"user = app\n"},
    ),
    Row(
        "a ConfigMap's key as keys and values",
        {"templateFrom": [config_map("pairs", "KeysAndValues")]},
        {"A": b"app", "B": b"007"},
    ),
    Row(
        "a Secret's key",
        {"templateFrom": [{"secret": {"name": "form", "items": [{"key": "t"}]}}]},
        {"t": b"secret app"},
    ),
    Row(
        "a ConfigMap that is not there",
        {"templateFrom": [config_map("x", name="nowhere")]},
        None,
        "TemplateNotFound",
        'There is no ConfigMap "nowhere" with the key "x"',
    ),
    Row(
        "a key that is not there is named",
        {"data": {"a": "{{ user }}\n{{ pasword }}"}},
        None,
        "TemplateInvalid",
        'spec.target.template.data["a"], line 2, uses the key "pasword", which is not there '
        '(is "password" meant?).',
    ),
    Row(
        "an unknown filter",
        {"data": {"a": "{{ user | b64 }}"}},
        None,
        "TemplateInvalid",
        'line 1, uses the filter "b64", which is not available',
    ),
    Row(
        "a syntax error",
        {"data": {"a": "{{ user"}},
        None,
        "TemplateInvalid",
        "line 1, has a syntax error",
    ),
    Row(
        "a loop without end is stopped",
        {
            "data": {
                "a": "{% for i in range(9999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
            }
        },
        None,
        "TemplateTooExpensive",
        "took more than 1 s to render and was stopped",
    ),
    Row(
        "a text without end is stopped",
        {"data": {"a": "{{ 'a'.center(10000000000) }}"}},
        None,
        "TemplateTooExpensive",
        "took more than 64 MiB of memory",
    ),
    Row(
        "internals are out of reach",
        {"data": {"a": "{{ ''.__class__.__mro__ }}"}},
        None,
        "TemplateInvalid",
        'uses the attribute "__mro__", which is not available',
    ),
    Row(
        "the same key twice",
        {"data": {"a": "1"}, "templateFrom": [literal("a: 2")]},
        None,
        "DuplicateKey",
        'spec.target.template.templateFrom[0].literal and spec.target.template.data["a"]',
    ),
    Row(
        "a label's value that no label can have",
        {"metadata": {"labels": {"a": "{{ password }}"}}},
        None,
        "MetadataInvalid",
        'gives the label "a" a value that no label can have',
    ),
    Row(
        "an annotation that gives an identity",
        {"templateFrom": [literal("kubernetes.io/service-account.name: x", "Annotations")]},
        None,
        "MetadataInvalid",
        "which gives an identity",
    ),
    Row(
        "a TLS Secret",
        {"type": "kubernetes.io/tls", "data": {"tls.crt": "{{ crt }}", "tls.key": "{{ key }}"}},
        {"tls.crt": CERTIFICATE.encode(), "tls.key": KEY.encode()},
        type="kubernetes.io/tls",
        remote={"crt": CERTIFICATE, "key": KEY},
    ),
    Row(
        "a TLS Secret whose key belongs to another certificate",
        {"type": "kubernetes.io/tls", "data": {"tls.crt": "{{ crt }}", "tls.key": "{{ key }}"}},
        None,
        "TypeMismatch",
        "tls.key does not belong to the first certificate of tls.crt",
        remote={"crt": CERTIFICATE, "key": OTHER_KEY},
    ),
    Row(
        "a TLS Secret without its key",
        {"type": "kubernetes.io/tls"},
        None,
        "TypeMismatch",
        'A Secret of the type kubernetes.io/tls needs "tls.crt", a certificate in PEM',
    ),
    Row(
        "a TLS Secret with something else",
        {"type": "kubernetes.io/tls", "data": {"tls.crt": "{{ user }}", "tls.key": "x"}},
        None,
        "TypeMismatch",
        "tls.crt is not a certificate in PEM",
    ),
    Row(
        "a registry's credentials",
        {
            "type": "kubernetes.io/dockerconfigjson",
            "data": {
                ".dockerconfigjson": "{{ {'auths': {'r.example.com': {'auth': (user ~ ':' ~ "
                "password) | b64encode}}} | to_json }}"
            },
        },
        {
            ".dockerconfigjson": json.dumps(
                {"auths": {"r.example.com": {"auth": base64.b64encode(b"app:a/b c").decode()}}}
            ).encode()
        },
        type="kubernetes.io/dockerconfigjson",
    ),
    Row(
        "a registry's credentials that are not JSON",
        {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "{{ user }}"}},
        None,
        "TypeMismatch",
        "of a Secret of the type kubernetes.io/dockerconfigjson is not a JSON object",
    ),
    Row(
        "basic-auth without user and password",
        {"type": "kubernetes.io/basic-auth", "data": {"a": "b"}},
        None,
        "TypeMismatch",
        'needs "username" or "password"',
    ),
    Row(
        "ssh-auth without a key",
        {"type": "kubernetes.io/ssh-auth", "data": {"ssh-privatekey": "{{ user }}"}},
        None,
        "TypeMismatch",
        'The "ssh-privatekey" of a Secret of the type kubernetes.io/ssh-auth is not a private key',
    ),
]


@dataclass
class Played:
    """A row, and the namespace that it plays in."""

    row: Row
    world: World

    def start(self) -> None:
        world = self.world
        meta = {"name": "form", "namespace": world.namespace}
        forms = {"app.conf": "user = {{ user }}\n", "pairs": "A: {{ user | to_json }}\nB: 007\n"}
        world.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": forms},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": meta,
                "stringData": {"t": "secret {{ user }}"},
            },
        )
        world.put("db", self.row.remote)
        spec = {"dataFrom": placed(ALL, world), "target": {"template": self.row.template}}
        world.apply(manifests.external_secret(world.namespace, **spec))

    def has_come(self) -> bool:
        row, world = self.row, self.world
        ready = world.ready()
        return (
            ready.get("reason") == row.reason
            and row.says in ready["message"]
            and world.data() == row.data
        )


@pytest.fixture(scope="module")
def played(worlds: Worlds, shared: Operator) -> Iterator[dict[str, Played]]:
    """All rows, side by side, so that their waits are one."""
    if shared.child is None or not shared.child.alive:
        shared.start()
    rows = {row.rule: Played(row, worlds.new("template")) for row in ROWS}
    for each in rows.values():
        each.start()
    yield rows
    for each in rows.values():
        each.world.clear()


@pytest.mark.parametrize("rule", [row.rule for row in ROWS])
def test_what_comes_of_a_template(rule: str, played: dict[str, Played]) -> None:
    row, world = played[rule].row, played[rule].world
    world.wait(played[rule].has_come, rule)
    told = json.dumps([world.status(), world.events()]) + "".join(map(str, world.records("")))
    assert REMOTE["password"] not in told
    if row.data is None:
        return
    secret = world.get("Secret", "app")
    theirs = secret["metadata"].get("annotations", {}).items()
    assert secret["type"] == row.type
    assert {
        name: value
        for name, value in secret["metadata"]["labels"].items()
        if not name.startswith(GROUP)
    } == row.labels
    assert {name: value for name, value in theirs if not name.startswith(GROUP)} == row.annotations


def test_refreshes_that_find_nothing_new_write_nothing(played: dict[str, Played]) -> None:
    for each in played.values():
        each.world.wait(each.has_come, each.row.rule)
    synced = {rule: each.world for rule, each in played.items() if each.row.reason == "Synced"}

    def versions() -> dict[str, tuple[str, str]]:
        return {
            rule: (world.version("ExternalSecret", "app"), world.version("Secret", "app"))
            for rule, world in synced.items()
        }

    before = versions()
    for _ in range(2):  # with the second, one was made as a whole
        last = {rule: world.refreshed() for rule, world in synced.items()}
        for rule, when in last.items():
            world = synced[rule]
            world.wait(lambda world=world, when=when: world.refreshed() > when, f"{rule}, again")  # type: ignore[misc]
    assert versions() == before


def template(world: World, **template: Any) -> None:
    """Applies an ExternalSecret with that template."""
    spec = {"dataFrom": placed(ALL, world), "target": {"template": template}}
    world.apply(manifests.external_secret(world.namespace, **spec))


def test_what_is_taken_out_of_the_template_goes_and_others_stay(world: World) -> None:
    world.put("db", REMOTE)
    template(
        world, metadata={"labels": {"a": "1", "b": "2"}, "annotations": {"example.com/c": "3"}}
    )
    world.wait_ready()
    theirs = {"metadata": {"labels": {"theirs": "x"}, "annotations": {"theirs": "y"}}}
    world.patch("Secret", "app", theirs)

    template(world, metadata={"labels": {"a": "changed"}})
    world.wait_ready()
    meta = world.get("Secret", "app")["metadata"]
    assert {n: v for n, v in meta["labels"].items() if GROUP not in n} == {
        "a": "changed",
        "theirs": "x",
    }
    assert {n: v for n, v in meta["annotations"].items() if GROUP not in n} == {"theirs": "y"}

    template(world, data={"k": "v"})
    world.wait_data({"k": b"v"})
    meta = world.get("Secret", "app")["metadata"]
    assert (meta["annotations"]["theirs"], "a" in meta["labels"]) == ("y", False)
    assert METADATA_ANNOTATION not in meta["annotations"]


def test_a_label_that_somebody_changes_is_set_back(world: World) -> None:
    world.put("db", REMOTE)
    template(world, metadata={"labels": {"a": "1"}})
    world.wait_ready()
    for tampered in ("other", None):
        world.patch("Secret", "app", {"metadata": {"labels": {"a": tampered}}})
        world.wait(
            lambda: world.get("Secret", "app")["metadata"]["labels"].get("a") == "1",
            "the label is set back",
        )


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_a_template_elsewhere_that_changes_is_rendered_at_once(world: World, kind: str) -> None:
    world.put("db", REMOTE)

    def form(text: str) -> None:
        field = "data" if kind == "ConfigMap" else "stringData"
        meta = {"name": "form", "namespace": world.namespace}
        world.apply({"apiVersion": "v1", "kind": kind, "metadata": meta, field: {"t": text}})

    form("one {{ user }}")
    source = {
        "configMap" if kind == "ConfigMap" else "secret": {"name": "form", "items": [{"key": "t"}]}
    }
    spec = {"dataFrom": placed(ALL, world), "target": {"template": {"templateFrom": [source]}}}
    world.apply(manifests.external_secret(world.namespace, refreshInterval="1h", **spec))
    world.wait_data({"t": b"one app"})
    for text in ("two", "three"):
        form(text + " {{ user }}")
        world.wait_data({"t": f"{text} app".encode()})
    world.delete(kind, "form")
    world.wait_ready(status="False", reason="TemplateNotFound")
    assert world.data() == {"t": b"three app"}
    form("four {{ user }}")
    world.wait_data({"t": b"four app"})


def test_another_type_is_another_secret(world: World) -> None:
    world.put("db", REMOTE)
    template(world, data={"username": "{{ user }}"})
    world.wait_ready()
    template(world, type="kubernetes.io/basic-auth", data={"username": "{{ user }}"})
    world.wait(
        lambda: (world.find("Secret", "app") or {}).get("type") == "kubernetes.io/basic-auth",
        "the Secret is made anew",
    )
    world.wait_data({"username": b"app"})


def test_a_template_fills_keys_of_a_shared_secret(world: World) -> None:
    world.put("db", REMOTE)
    meta = {"name": "app", "namespace": world.namespace}
    world.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"a": "b"}})
    spec = {
        "dataFrom": placed(ALL, world),
        "target": {"creationPolicy": "Merge", "template": {"data": {"x": "{{ user }}"}}},
    }
    world.apply(manifests.external_secret(world.namespace, **spec))
    world.wait_data({"a": b"b", "x": b"app"})


def test_the_api_server_takes_the_examples_of_the_documentation(world: World) -> None:
    page = (REPOSITORY / "docs" / "templates.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    bodies = [body for block in blocks for body in yaml.safe_load_all(block)]
    assert len(bodies) >= 6
    for body in bodies:
        body["metadata"]["namespace"] = world.namespace
    world.apply(*bodies)


REFUSED = [
    (
        {"type": "kubernetes.io/service-account-token"},
        "Kubernetes makes credentials of the cluster",
    ),
    ({"type": "bootstrap.kubernetes.io/token"}, "Kubernetes makes credentials of the cluster"),
    (
        {"metadata": {"annotations": {"kubernetes.io/service-account.name": "x"}}},
        "no template may set annotations that give an identity",
    ),
    ({"metadata": {"annotations": {"eks.amazonaws.com/role-arn": "x"}}}, "that give an identity"),
    ({"metadata": {"labels": {"syncret.io/managed": "false"}}}, "labels under syncret.io/ are"),
    ({"metadata": {"labels": {"x.syncret.io/y": "z"}}}, "labels under syncret.io/ are"),
    ({"metadata": {"labels": {"a b": "z"}}}, "the names of labels have at most 63 letters"),
    ({"metadata": {"annotations": {"-a": "z"}}}, "the names of annotations have at most 63"),
    ({"data": {"a/b": "x"}}, "the keys of data must be usable as keys of a Secret"),
    ({"data": {"..a": "x"}}, "the keys of data must be usable as keys of a Secret"),
    ({"mergePolicy": "Merge"}, "mergePolicy is about data that a template gives"),
    (
        {"mergePolicy": "Merge", "templateFrom": [literal("a: b", "Labels")]},
        "mergePolicy is about data that a template gives",
    ),
    ({"templateFrom": [{}]}, "an entry of templateFrom has one of configMap, secret and literal"),
    (
        {"templateFrom": [{**literal("a"), **config_map("a")}]},
        "an entry of templateFrom has one of configMap, secret and literal",
    ),
    ({"templateFrom": [{"configMap": {"name": "a"}}]}, "items: Required value"),
    ({"templateFrom": [config_map("a", name="A b")]}, "must be the name of a ConfigMap"),
    ({"templateFrom": [literal("a", "Spec")]}, 'supported values: "Data", "Labels", "Annotations"'),
    ({"engineVersion": "v2"}, "engineVersion"),
]
SHARED = [
    ("None", {"data": {"a": "b"}}, "template has no meaning with the creationPolicy None"),
    ("Merge", {"metadata": {"labels": {"a": "b"}}}, "a template gives labels and annotations only"),
    (
        "CreateOrMerge",
        {"templateFrom": [literal("a: b", "Annotations")]},
        "a template gives labels and annotations only",
    ),
    ("Merge", {"type": "kubernetes.io/tls"}, "type has no meaning with the creationPolicy Merge"),
]


@pytest.mark.parametrize(("policy", "spec", "says"), SHARED)
def test_what_only_an_owner_may_say(world: World, policy: str, spec: Body, says: str) -> None:
    target = {"creationPolicy": policy, "template": spec}
    with pytest.raises(ApiError) as refused:
        world.external_secret(dataFrom=placed(ALL, world), target=target)
    assert says in str(refused.value)


@pytest.mark.parametrize(("spec", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_what_the_api_server_refuses(world: World, spec: Body, says: str) -> None:
    with pytest.raises(ApiError) as refused:
        template(world, **spec)
    assert says in str(refused.value).replace("\\", "")
