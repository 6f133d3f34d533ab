"""Secret bytes are in the target Secret and nowhere else, in no form, at DEBUG as well.

A value made for one test is looked for in everything that the cluster and the operator tell. Half
of the tests make Syncret fail on it, because errors are where values like to escape.
"""

import base64
import hashlib
import json
import secrets
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from contract.aws import error_reply
from contract.proxy import Proxy, Reply
from integration import manifests
from integration.audit import Audit
from integration.conftest import StartAlone
from integration.manifests import entry, env, env_from, remote
from integration.world import World, Worlds
from testbed.cluster import Cluster


@dataclass(frozen=True)
class Canary:
    """A value that nothing else in the world contains, with what escapes and encodings like.

    ``token`` is the part that survives JSON and URLs as it is.
    """

    token: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def value(self) -> str:
        return f'c@n/ry+ "{self.token}" & <ü>%'

    def forms(self) -> dict[str, str]:
        """What to look for; every form but the hashes is found within longer texts as well."""
        data = self.value.encode()
        forms = {
            "itself": self.token,
            "url-encoded": urllib.parse.quote(self.value),
            "hex": self.token.encode().hex(),
            "base64 url-safe": base64.urlsafe_b64encode(data).decode().rstrip("="),
            "reversed": self.token[::-1],
        }
        for shift in range(3):  # base64 has a value in three forms, by what is before it
            padded = base64.b64encode(b"x" * shift + self.token.encode()).decode()
            forms[f"base64 at {shift}"] = padded[4 if shift else 0 : -4]
        for name in ("md5", "sha1", "sha256", "sha512", "blake2b"):
            for what in (data, self.token.encode(), base64.b64encode(data)):
                digest = hashlib.new(name, what)
                forms[f"{name} {len(what)}"] = digest.hexdigest()[:16]
                forms[f"{name} {len(what)} base64"] = base64.b64encode(digest.digest()).decode()[
                    :16
                ]
        return forms

    def found_in(self, text: str) -> list[str]:
        return [name for name, form in self.forms().items() if form in text]


@dataclass
class Telltale:
    """Everything that the cluster and the operator tell."""

    world: World
    cluster: Cluster

    def objects(self) -> Iterator[tuple[str, str]]:
        """Every object of the cluster, by its kind and name, as JSON."""
        kinds = self.cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()
        body = json.loads(self.cluster.kubectl("get", ",".join(kinds), "-A", "-o", "json"))
        for item in body["items"]:
            meta = item["metadata"]
            place = f"{item['kind']} {meta.get('namespace', '')}/{meta['name']}"
            yield place, json.dumps(item, ensure_ascii=False)

    def where(self, canary: Canary) -> dict[str, list[str]]:
        """Where the canary was found, and in which form."""
        places = dict(self.objects())
        places["the log"] = self.world.operator.log
        for page in ("/metrics", "/healthz", "/readyz"):
            places[page] = self.world.operator.probe(page)[1]
        return {place: found for place, text in places.items() if (found := canary.found_in(text))}

    def secrets(self, *names: str) -> set[str]:
        return {f"Secret {self.world.namespace}/{name}" for name in names}


@pytest.fixture
def telltale(lonely_world: World, alone: StartAlone, installed: Cluster) -> Telltale:
    """An operator in asyncio's debug mode, which prints what it can get hold of."""
    lonely_world.operator = alone(env={"PYTHONASYNCIODEBUG": "1"})
    return Telltale(lonely_world, installed)


def test_a_canary_is_found_where_it_is_looked_for(telltale: Telltale) -> None:
    """Else the other tests could not fail."""
    canary = Canary()
    data = canary.value.encode()
    for text in (
        canary.value,
        json.dumps({"value": canary.value}),
        repr(data),
        urllib.parse.quote(canary.value),
        base64.b64encode(data).decode(),
        base64.b64encode(b"a" + data + b"b").decode(),
        base64.b64encode(b"ab" + data).decode(),
        data.hex(),
        hashlib.sha256(data).hexdigest(),
        hashlib.sha256(base64.b64encode(data)).hexdigest(),
    ):
        assert canary.found_in(text), text
    assert not canary.found_in(Canary().value)


def test_of_a_value_that_is_synced(telltale: Telltale, audit: Audit) -> None:
    world, canary, after = telltale.world, Canary(), Canary()
    world.put("plain", canary.value)
    world.put("document", {"field": canary.value, "deep": [{"er": canary.value}]})
    world.put("binary", b"\xff" + canary.value.encode())
    world.workload("reader", container=env_from("app"))
    world.workload("one", container=env("app", "plain"), kind="StatefulSet")
    world.external_secret(
        data=[
            entry("plain", world.key("plain")),
            entry("inner", world.key("document"), "deep.0.er"),
            entry("binary", world.key("binary")),
        ],
        extract=[remote(world.key("document"))],
    )
    world.wait_ready()
    world.wait(lambda: world.status().get("rollout"), "the readers are known")
    world.put("plain", after.value)
    world.wait(lambda: world.generation("one", "StatefulSet") == 2, "the readers are restarted")
    world.patch("Secret", "app", {"stringData": {"plain": "drift"}})
    world.wait(lambda: (world.data() or {}).get("plain") == after.value.encode(), "restored")
    world.settle()

    for each in (canary, after):
        assert set(telltale.where(each)) == telltale.secrets("app")
        assert each.found_in(audit.log.read_text()) == []


def break_json(world: World, canary: Canary) -> None:
    world.put("v", f'{{"password": "{canary.token}", ')
    world.external_secret(data=[entry("k", world.key("v"), "password")])


def no_object(world: World, canary: Canary) -> None:
    world.put("v", json.dumps([canary.value]))
    world.external_secret(extract=[remote(world.key("v"))])


def bytes_where_json_is_wanted(world: World, canary: Canary) -> None:
    world.put("v", b"\xfe\xff" + canary.value.encode())
    world.external_secret(data=[entry("k", world.key("v"), "password")])


def no_such_property(world: World, canary: Canary) -> None:
    world.put("v", {"other": canary.value})
    world.external_secret(data=[entry("k", world.key("v"), "password")])


def an_invalid_key(world: World, canary: Canary) -> None:
    world.put("v", {"..key": canary.value})
    world.external_secret(extract=[remote(world.key("v"))])


def not_base64(world: World, canary: Canary) -> None:
    world.put("v", f"{canary.value}!")
    reference = {"key": world.key("v"), "decodingStrategy": "Base64"}
    world.external_secret(data=[{"secretKey": "k", "remoteRef": reference}])


def a_null_byte(world: World, canary: Canary) -> None:
    world.put("v", {"k": f"{canary.value}\0"})
    world.external_secret(extract=[{"key": world.key("v"), "nullBytePolicy": "Fail"}])


def a_merge_that_conflicts(world: World, canary: Canary) -> None:
    for name in ("v", "w"):
        world.put(name, {"k": canary.value})
    find = {"find": {"path": world.key("")}, "rewrite": [{"merge": {}}]}
    world.external_secret(dataFrom=[find])


def a_merge_of_what_is_no_json(world: World, canary: Canary) -> None:
    world.put("v", '{"k": "' + canary.value)
    find = {"find": {"path": world.key("")}, "rewrite": [{"merge": {}}]}
    world.external_secret(dataFrom=[find])


def a_duplicate(world: World, canary: Canary) -> None:
    world.put("v", {"k": canary.value})
    world.external_secret(data=[entry("k", world.key("v"))], extract=[remote(world.key("v"))])


def too_large(world: World, canary: Canary) -> None:
    world.put("v", canary.value + "x" * 60_000)
    world.external_secret(data=[entry(f"k{n}", world.key("v")) for n in range(20)])


def a_foreign_secret(world: World, canary: Canary) -> None:
    world.put("v", canary.value)
    world.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "app", "namespace": world.namespace},
        }
    )
    world.external_secret(data=[entry("k", world.key("v"))])


FAILING = (
    break_json,
    no_object,
    bytes_where_json_is_wanted,
    no_such_property,
    an_invalid_key,
    not_base64,
    a_null_byte,
    a_merge_that_conflicts,
    a_merge_of_what_is_no_json,
    a_duplicate,
    too_large,
    a_foreign_secret,
)


def test_of_values_that_syncret_fails_on(telltale: Telltale, worlds: Worlds, audit: Audit) -> None:
    """All of them at once, each in a namespace of its own."""
    sites = [(worlds.new(), Canary(), fail) for fail in FAILING]
    for world, canary, fail in sites:
        world.operator = telltale.world.operator
        fail(world, canary)
    for world, _, _ in sites:
        world.wait_ready(status="False")
        world.wait_retried()

    log = audit.log.read_text()
    for world, canary, fail in sites:
        assert telltale.where(canary) == {}, fail.__name__
        assert canary.found_in(log) == [], fail.__name__
        world.clear()


def test_of_a_value_that_the_api_server_refuses_and_quotes(telltale: Telltale) -> None:
    """An admission rule of the cluster has the value in what it says to us."""
    world, canary = telltale.world, Canary()
    policy = f"refuse-{world.namespace}"
    world.apply(
        *manifests.refusing(
            policy,
            world.namespace,
            group="",
            resources=["secrets"],
            message="'no: ' + string(object.data.password)",
        )
    )
    probe = {"metadata": {"labels": {"x": "y"}}, "stringData": {"password": "p"}}
    world.wait_refused("Secret", "aws", probe)
    world.put("v", canary.value)
    world.external_secret(data=[entry("password", world.key("v"))])

    ready = world.wait_ready(status="False", reason="Forbidden")

    assert ready["message"] == (
        f'An admission rule of the cluster refused to create Secret "app" in namespace '
        f'"{world.namespace}" (Forbidden): see the cluster\'s admission policies and webhooks.'
    )
    world.wait(world.events, "it is told")
    world.wait_retried()
    assert telltale.where(canary) == {}


@pytest.mark.parametrize("status", [200, 400, 403, 500])
def test_of_a_value_that_aws_quotes(
    telltale: Telltale, proxy: Proxy, audit: Audit, status: int
) -> None:
    world, canary = telltale.world, Canary()
    if status == 200:  # half an answer
        answer = Reply(200, f'{{"SecretString": "{canary.token}'.encode())
    else:
        answer = error_reply("SomeException", status=status, message=canary.value)
    proxy.rules = [lambda _: answer]
    world.apply(manifests.store(world.namespace, proxy.url))
    world.external_secret(data=[entry("k", world.key("v"))])

    world.wait_ready(status="False")
    world.wait_retried()
    world.wait(world.events, "it is told")

    assert telltale.where(canary) == {}
    assert canary.found_in(audit.log.read_text()) == []


@pytest.mark.parametrize("ending", ["", "ü"], ids=["usable", "unusable"])
def test_of_the_credentials(telltale: Telltale, audit: Audit, ending: str) -> None:
    world, canary = telltale.world, Canary()
    world.apply(manifests.credentials(world.namespace, "mine", key=canary.token + ending))
    world.apply(manifests.store(world.namespace, world.endpoint, name="own", secret="mine"))
    world.put("k", "v")
    world.external_secret(data=[entry("k", world.key("k"))], store="own")

    world.wait_ready(status="False" if ending else "True")
    world.wait(lambda: world.events("own", "SecretStore"), "it is told")

    assert set(telltale.where(canary)) == telltale.secrets("mine")
    assert canary.found_in(audit.log.read_text()) == []
