"""The operator as a process: its pages, its log, how it starts and how it ends."""

import base64
import re
import signal
import urllib.error
import urllib.request
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from contract.proxy import Proxy, Trickle
from integration import manifests
from integration.conftest import StartAlone
from integration.manifests import entry, env
from integration.world import World, leases
from testbed.cluster import Cluster
from testbed.controlplane import free_ports
from testbed.kubeconfig import write_kubeconfig
from testbed.operator import REPOSITORY, Operator
from testbed.pki import Authority

OBSERVABILITY: Final = REPOSITORY / "docs" / "observability.md"
KEY: Final = "syncret-digest-key"


def documented_metrics() -> dict[str, tuple[str, str, set[str]]]:
    """Type, unit and labels of every metric, as the documentation has them."""
    rows = re.findall(
        r"^\| `(syncret_\w+)` \| (\w+) \| ([^|]+) \| ([^|]+) \|",
        OBSERVABILITY.read_text(),
        re.MULTILINE,
    )
    return {
        name: (kind, unit.strip(), set(re.findall(r"`(\w+)`", labels)))
        for name, kind, unit, labels in rows
    }


def test_the_metrics_are_those_of_the_documentation(world: World) -> None:
    world.put("k", "v")
    world.workload("reader", container=env("app", "k"))
    new_year = {"kind": "Deny", "schedule": "0 0 1 1 *", "duration": "1m"}
    world.external_secret(
        data=[entry("k", world.key("k"))], syncWindows=[new_year], rotation={"class": "database"}
    )
    world.wait_ready()
    world.put("k", "w")
    world.wait(lambda: world.generation("reader") == 2, "the reader is restarted")

    families = {
        family.name: family
        for family in text_string_to_metric_families(world.operator.probe("/metrics")[1])
        if family.name.startswith("syncret_")
    }
    documented = documented_metrics()
    # Prometheus' text has a counter without its suffix, and an info as a gauge.
    assert {name.removesuffix("_total") for name in documented} == set(families)
    for name, (kind, unit, labels) in documented.items():
        family = families[name.removesuffix("_total")]
        assert family.documentation, name
        assert family.type == {"info": "gauge"}.get(kind, kind), name
        # Nothing expires here, and no store tells of events: those have no series, and a unit test
        # for their labels.
        if family.samples:
            assert {label for s in family.samples for label in s.labels} - {"le"} == labels, name
        if unit.startswith("seconds"):
            assert name.endswith("_seconds"), name
        if kind == "counter":
            assert {sample.name for sample in family.samples} <= {name}


def test_the_metrics_count_what_happened(world: World) -> None:
    def counts() -> dict[str, float]:
        metric = world.operator.metric
        return {
            "changed": metric("syncret_syncs_total", result="changed"),
            "unchanged": metric("syncret_syncs_total", result="unchanged"),
            "rolled": metric("syncret_rollouts_total", kind="Deployment", result="rolled"),
            "timed": metric("syncret_sync_duration_seconds_count"),
            "calls": metric(
                "syncret_provider_calls_total",
                provider="aws",
                kind="SecretStore",
                namespace=world.namespace,
                store="aws",
                operation="GetSecretValue",
                outcome="ok",
            ),
        }

    before = counts()
    world.put("k", "v")
    world.workload("reader", container=env("app", "k"))
    world.external_secret(data=[entry("k", world.key("k"))])
    world.wait_ready()
    world.settle()
    world.put("k", "w")
    world.wait(lambda: world.generation("reader") == 2, "the reader is restarted")
    world.wait_refreshes()

    after = counts()
    grown = {name: after[name] - before[name] for name in before}
    assert grown["changed"] >= 2
    assert grown["unchanged"] >= 2
    assert grown["rolled"] >= 1
    assert grown["timed"] >= grown["changed"] + grown["unchanged"]
    assert grown["calls"] >= 4
    labels = {"namespace": world.namespace, "name": "app"}
    assert world.operator.metric("syncret_secret_changes_total", **labels) == 2
    assert world.operator.metric("syncret_externalsecret_ready", **labels) == 1


def test_the_pages_answer_as_documented(operator: Operator) -> None:
    assert operator.probe("/healthz")[0] == 200
    assert operator.probe("/readyz")[0] == 200
    assert operator.probe("/nothing")[0] == 404
    request = urllib.request.Request(
        f"http://127.0.0.1:{operator.port}/metrics",
        headers={"Accept": "application/openmetrics-text; version=1.0.0"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - loopback
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        assert answer.read().endswith(b"# EOF\n")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{operator.port}/metrics", data=b"x", timeout=5)
    assert refused.value.code == 405


def test_every_line_of_the_log_is_a_record_with_the_documented_fields(world: World) -> None:
    world.put("k", "v")
    world.external_secret(data=[entry("k", world.key("k"))])
    world.external_secret("broken", data=[entry("k", world.key("absent"))])
    world.wait_ready()
    world.wait_ready("broken", status="False")

    records = world.operator.log_records()
    for record in records:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(record["time"]))
        assert record["level"] in {"debug", "info", "warning", "error", "critical"}
        assert record["logger"]
        assert record["message"]
    mine = [record for record in records if record.get("namespace") == world.namespace]
    (created,) = [r for r in mine if str(r["message"]).startswith("Secret created")]
    expected = {"level": "info", "kind": "ExternalSecret", "object": "app", "secret": "app"}
    assert expected.items() <= created.items()
    failed = [r for r in mine if r["level"] == "warning"]
    assert failed
    for record in failed:
        assert (record["object"], record["reason"]) == ("broken", "KeyNotFound")
    assert not [r for r in records if r["level"] in {"error", "critical"} or "exception" in r]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_signal_ends_it_well(alone: StartAlone, number: signal.Signals) -> None:
    operator = alone()

    operator.running.signal(number)

    assert operator.running.process.wait(30) == 0
    assert operator.log_records()[-1]["message"] == "Stopped"
    assert operator.probe("/healthz")[0] == 0


def test_a_stop_while_a_store_hangs_breaks_nothing_off_and_the_next_start_ends_it_once(
    lonely_world: World, alone: StartAlone, proxy: Proxy
) -> None:
    """The answers grow for ever, which no timeout of the SDK's ends: its threads never end."""
    world = lonely_world
    operator = world.operator = alone("--shutdown-grace=1s")
    old = [f"old-{number}" for number in range(4)]
    new = [f"new-{number}" for number in range(4)]

    def put(value: str) -> dict[str, bytes]:
        for half in ("a", "b"):
            world.put(half, value)
        return {"a": value.encode(), "b": value.encode()}

    def external_secret(name: str) -> None:
        world.external_secret(name, data=[entry(half, world.key(half)) for half in ("a", "b")])

    def lines(text: str) -> dict[str, int]:
        return {name: len(world.records(text, name)) for name in (*old, *new)}

    world.apply(manifests.store(world.namespace, proxy.url))
    first = put("first")
    world.workload("reader", container=env(old[0], "a"))
    for name in old:
        external_secret(name)
    for name in old:
        world.wait_data(first, name)
    world.wait(lambda: world.status(old[0]).get("rollout"), "the reader is known")
    proxy.rules = [lambda _: Trickle(0.2)]
    asked = len(proxy.requests)
    second = put("second")
    for name in new:
        external_secret(name)
    world.wait(lambda: len(proxy.requests) > asked, "the store is asked")

    operator.running.signal(signal.SIGTERM)

    assert operator.running.process.wait(60) == 0
    *_, abandoned, stopped = operator.log_records()
    assert str(abandoned["message"]).startswith("Some syncs did not end in the grace period")
    assert stopped["message"] == "Stopped"
    assert [world.data(name) for name in (*old, *new)] == [first] * 4 + [None] * 4
    assert world.generation("reader") == 1

    proxy.rules = []
    operator.start()

    for name in (*old, *new):
        world.wait_data(second, name)
    world.wait(lambda: world.generation("reader") == 2, "the reader is restarted")
    for name in (old[0], new[0]):
        world.settle(name)
    assert lines("Secret updated") == dict.fromkeys(old, 1) | dict.fromkeys(new, 0)
    assert lines("Secret created") == dict.fromkeys((*old, *new), 1)
    assert world.generation("reader") == 2


def test_what_has_begun_is_brought_to_its_end(
    lonely_world: World, alone: StartAlone, proxy: Proxy
) -> None:
    world = lonely_world
    operator = world.operator = alone()
    world.put("k", "v")
    asked: list[str] = []

    def slowly(_: object) -> None:
        asked.append("")
        proxy.wait_released(1)

    proxy.rules = [slowly]
    world.apply(manifests.store(world.namespace, proxy.url))
    world.external_secret(data=[entry("k", world.key("k"))])
    world.wait(lambda: asked, "the store is asked")
    if world.data() is not None:
        pytest.fail("the moment was missed")

    assert operator.stop() == 0

    assert world.data() == {"k": b"v"}
    assert world.ready()["status"] == "True"


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--retry-base=never", '--retry-base: "never" is not a duration: write numbers with'),
        ("--workers=0", '--workers: "0" is not a whole number from 4 to 1024'),
        ("--log-level=loud", '--log-level: "loud" is none of debug, info, warning, error'),
        ("--no-such-flag", "unrecognized arguments: --no-such-flag"),
        ("--http-address=nowhere", '--http-address: "nowhere" is not an address: write host:port'),
    ],
)
def test_a_bad_flag_is_refused_with_a_sentence(alone: StartAlone, flag: str, sentence: str) -> None:
    operator = alone(flag, ready=False)

    assert operator.running.process.wait(30) == 2
    assert sentence in operator.log
    assert "Traceback" not in operator.log


def test_an_api_server_that_cannot_be_reached_is_told(
    alone: StartAlone, installed: Cluster
) -> None:
    authority = Authority(installed.directory / "elsewhere")
    kubeconfig = write_kubeconfig(
        installed.directory / "elsewhere" / "kubeconfig",
        server=f"https://127.0.0.1:{free_ports(1)[0]}",
        ca=authority.ca,
        token="fake",
    )

    operator = alone(f"--kubeconfig={kubeconfig}", ready=False)

    assert operator.running.process.wait(30) == 1
    *_, last = operator.log_records()
    assert (last["level"], last["reason"]) == ("critical", "KubernetesUnavailable")
    assert last["message"] == (
        f"The API server cannot be reached, or broke the connection (get secrets syncret/{KEY})."
    )


def test_a_port_that_is_taken_is_told(alone: StartAlone) -> None:
    first = alone()

    second = alone(f"--http-address=127.0.0.1:{first.port}", ready=False)

    assert second.running.process.wait(30) == 1
    *_, last = second.log_records()
    assert last["level"] == "critical"
    assert f"127.0.0.1:{first.port}" in str(last["message"])


def test_the_digest_key_is_made_once_and_its_loss_restarts_nothing(
    lonely_world: World, alone: StartAlone
) -> None:
    world = lonely_world
    world.apply(*leases(world.api, "syncret", world.namespace, account="syncret"))
    operator = world.operator = alone(env={"POD_NAMESPACE": world.namespace})
    secret = world.get("Secret", KEY)
    assert secret["immutable"] is True
    assert len(base64.b64decode(secret["data"]["key"])) == 32
    world.put("k", "first")
    world.workload("reader", container=env("app", "k"))
    world.external_secret(data=[entry("k", world.key("k"))])
    world.wait_ready()
    world.wait(lambda: world.status().get("rollout"), "the reader is known")
    before = world.status()
    version = world.version("Secret", "app")

    assert operator.stop() == 0
    operator.start()
    assert world.get("Secret", KEY) == secret
    assert operator.stop() == 0
    world.delete("Secret", KEY)
    operator.start()

    world.wait(lambda: world.status()["dataHash"] != before["dataHash"], "a new key is in use")
    world.settle()
    assert world.get("Secret", KEY)["data"] != secret["data"]
    assert world.version("Secret", "app") == version
    assert world.generation("reader") == 1
    world.put("k", "second")
    world.wait(lambda: world.generation("reader") == 2, "a change is noticed as before")


@pytest.mark.parametrize(
    "data", [{}, {"key": "c2hvcnQ="}, {"other": "x" * 64}], ids=["empty", "short", "other"]
)
def test_a_digest_key_that_cannot_be_used_is_told(
    lonely_world: World, alone: StartAlone, data: dict[str, str]
) -> None:
    world = lonely_world
    world.api.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": KEY, "namespace": world.namespace},
            "data": data,
        }
    )

    operator = alone(env={"POD_NAMESPACE": world.namespace}, ready=False)

    assert operator.running.process.wait(30) == 1
    *_, last = operator.log_records()
    assert (last["level"], last["reason"]) == ("critical", "SetupError")
    assert last["message"] == (
        f'The Secret "{KEY}" in namespace "{world.namespace}" has no usable "key": restore it '
        "from a backup, or delete it and a new key is made (changes that happened while Syncret "
        "was stopped are then not noticed)."
    )
    assert world.get("Secret", KEY).get("data", {}) == data
