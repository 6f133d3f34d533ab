"""Events of AWS in a queue, hooks: a change is in the Secret long before the interval is over."""

import json
import re
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration import events
from integration.conftest import HASTY
from integration.events import IDENTITY, SqsBed
from integration.manifests import entry
from integration.world import World, Worlds, wait_until
from syncret.sources.hooks import sign
from testbed.controlplane import free_ports
from testbed.moto import Moto
from testbed.operator import Operator
from testbed.processes import Processes


@dataclass
class Hooks:
    """Where hooks are listened for, and the key of ``ci``."""

    port: int
    key: bytes
    file: Path


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Hooks:
    file = tmp_path_factory.mktemp("hook") / "key"
    key = secrets.token_hex(16).encode()
    file.write_bytes(key + b"\n")
    return Hooks(free_ports(1)[0], key, file)


@pytest.fixture(scope="module")
def bed(moto: Moto, tmp_path_factory: pytest.TempPathFactory, hooks: Hooks) -> SqsBed:
    return SqsBed.make(
        moto,
        tmp_path_factory.mktemp("events"),
        hookAddress=f"127.0.0.1:{hooks.port}",
        sources=[{"name": "ci", "hook": {"secretFile": str(hooks.file)}}],
    )


@pytest.fixture(scope="module")
def listening(shared: Operator, processes: Processes, bed: SqsBed) -> Iterator[Operator]:
    """One operator for all tests here, in place of the shared one."""
    if shared.child is not None and shared.child.alive:
        shared.stop()
    operator = Operator(
        shared.cluster,
        processes,
        arguments=(*HASTY, f"--event-sources={bed.file}"),
        name="events",
        env=IDENTITY,
    )
    yield operator.start()
    operator.stop()


@pytest.fixture
def world(worlds: Worlds, listening: Operator) -> Iterator[World]:
    world = worlds.new("events")
    world.operator = listening
    yield world
    world.clear()


class Counted:
    """What was counted since the beginning of a test."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._before = operator.metrics()

    def events(self, result: str, source: str = "aws") -> float:
        labels = (("result", result), ("source", source))
        return self._since("syncret_events_total", labels)

    def reads(self) -> float:
        name = "syncret_provider_calls_total"
        now = self._operator.metrics()
        return sum(
            value - self._before.get((sample, labels), 0)
            for (sample, labels), value in now.items()
            if sample == name and ("outcome", "ok") in labels
        )

    def _since(self, name: str, labels: tuple[tuple[str, str], ...]) -> float:
        now = self._operator.metrics()
        return now.get((name, labels), 0) - self._before.get((name, labels), 0)


def drained(bed: SqsBed) -> None:
    wait_until(lambda: bed.left() == 0, "the queue is empty", tell=lambda: str(bed.left()))


def test_an_event_is_in_the_secret_at_once_and_its_message_gone(
    world: World, listening: Operator, bed: SqsBed
) -> None:
    world.put("k", {"password": "first"})
    world.put("other", "other")
    key = world.key("k")
    world.external_secret(data=[entry("k", key, "password")], interval="1h")
    world.external_secret("by-arn", data=[entry("k", events.arn(key)[:-7])], interval="1h")
    world.external_secret("other", data=[entry("k", world.key("other"))], interval="1h")
    world.external_secret(
        "found",
        interval="1h",
        dataFrom=[
            {
                "find": {"path": f"{world.namespace}/", "name": {"regexp": "k$"}},
                "rewrite": [{"regexp": {"source": ".*/", "target": ""}}],
            }
        ],
    )
    for name in ("app", "other", "found", "by-arn"):
        world.wait_ready(name, status="True")
    counted = Counted(listening)

    started = time.monotonic()
    bed.send(events.label_updated(key, world.put("k", {"password": "second"})))
    world.wait_data({"k": b"second"})
    print(f"event to Secret: {events.seconds_of(started):.2f} s")
    world.wait_data({"k": b'{"password": "second"}'}, "found")
    world.wait_data({"k": b'{"password": "second"}'}, "by-arn")
    drained(bed)
    assert world.data("other") == {"k": b"other"}
    assert counted.events("matched") == 1
    assert listening.metric("syncret_event_lag_seconds_count", source="aws") >= 1
    assert listening.metric("syncret_event_source_up", source="aws") == 1

    world.put("k", {"password": "third"})
    bed.send(events.put_by_cloudtrail(key))
    world.wait_data({"k": b"third"})


def test_a_storm_costs_few_reads_and_the_last_value_wins(
    world: World, listening: Operator, bed: SqsBed
) -> None:
    world.put("k", "first")
    world.external_secret(data=[entry("k", world.key("k"))], interval="1h")
    world.wait_ready()
    counted, started = Counted(listening), time.monotonic()
    same = events.label_updated(world.key("k"), "the-same")
    bed.send(*[same] * 100)
    bed.send(*(events.label_updated(world.key("k")) for _ in range(100)))
    version = world.put("k", "last")
    bed.send(events.label_updated(world.key("k"), version))
    world.wait_data({"k": b"last"})
    drained(bed)
    took = events.seconds_of(started)
    assert counted.events("duplicate") >= 99
    # One at once, and one more a second for as long as it lasts.
    assert counted.reads() <= took + 3, f"{took:.1f} s"
    print(f"201 messages in {took:.1f} s: {counted.reads():.0f} reads")

    # What the status names already is not read again.
    had, current = counted.reads(), counted.events("current")
    bed.send(events.label_updated(world.key("k"), version))
    wait_until(
        lambda: counted.events("current") == current + 1, "it is known to be there", tell=str
    )
    assert counted.reads() == had


def test_bad_messages_are_counted_and_told_of_once(
    world: World, listening: Operator, bed: SqsBed
) -> None:
    world.put("k", "first")
    world.external_secret(data=[entry("k", world.key("k"))], interval="1h")
    world.wait_ready()
    counted = Counted(listening)
    secret = secrets.token_hex(12)
    bed.send(
        "no json " + secret,
        json.dumps({"detail-type": "Secret Label Updated", "source": "aws.secretsmanager"}),
        json.dumps({"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}),
        events.label_updated("nobody/reads-this"),
        events.label_updated(world.key("k"), at="2001-01-01T00:00:00Z"),
        events.label_updated(world.key("k"), at="2999-01-01T00:00:00Z"),
        json.dumps([]),
        "[" * 20_000,
    )
    version = world.put("k", "second")
    bed.send(events.label_updated(world.key("k"), version))
    world.wait_data({"k": b"second"})
    wait_until(lambda: counted.events("malformed") >= 3, "all were looked at", tell=str)
    assert counted.events("ignored") == 1
    assert counted.events("unmatched") == 1
    assert counted.events("matched") >= 2
    told = [r for r in listening.log_records() if "is not an event" in str(r["message"])]
    assert len(told) == 1
    assert "knows: it " in str(told[0]["message"]), "it says what is wrong"
    assert sum("in the future" in str(r["message"]) for r in listening.log_records()) == 1
    assert secret not in listening.log
    # What cannot be read stays for a dead-letter queue; the rest is gone.
    wait_until(lambda: bed.left() == 3, "what can be read is gone", tell=lambda: str(bed.left()))


def test_a_queue_that_vanishes_is_told_of_once_and_taken_up_again(
    world: World, listening: Operator, bed: SqsBed
) -> None:
    world.put("k", "first")
    world.external_secret(data=[entry("k", world.key("k"))], interval="1h")
    world.external_secret("ticks", data=[entry("k", world.key("k"))], interval="1s")
    world.wait_ready()
    up = "syncret_event_source_up"
    wait_until(lambda: listening.metric(up, source="aws") == 1, "it is read", tell=str)
    bed.remove()
    wait_until(
        lambda: (
            (up, (("source", "aws"),)) in listening.metrics()
            and listening.metric(up, source="aws") == 0
        ),
        "it is missed",
        tell=str,
    )
    world.wait_refreshes("ticks", count=3)
    assert listening.is_ready()
    name = bed.url.rpartition("/")[2]
    bed.sqs.create_queue(QueueName=name)
    version = world.put("k", "second")
    bed.send(events.label_updated(world.key("k"), version))
    world.wait_data({"k": b"second"})
    told = [
        str(record["message"])
        for record in listening.log_records()
        if str(record["message"]).startswith(("No events", "The source"))
    ]
    assert [re.sub(r":.*", "", one, flags=re.DOTALL) for one in told] == [
        "No events are received; refreshes go on by the clock, and it is tried again",
        "The source of events works again",
    ]


def test_hooks(world: World, listening: Operator, hooks: Hooks) -> None:
    key, port = hooks.key, hooks.port
    world.put("k", "first")
    world.external_secret(data=[entry("k", world.key("k"))], interval="1h")
    world.wait_ready()
    counted = Counted(listening)
    store = {"kind": "SecretStore", "name": "aws", "namespace": world.namespace}
    body = json.dumps({"store": store, "keys": [world.key("k")]}).encode()

    def post(
        body: bytes,
        given: dict[str, str] | None = None,
        *,
        key: bytes = key,
        at: float = 0.0,
        name: str = "ci",
    ) -> tuple[int, str]:
        stamp = str(int(time.time() + at))
        headers = {
            "X-Syncret-Timestamp": stamp,
            "X-Syncret-Signature": sign(key, stamp, body),
            **(given or {}),
        }
        url = f"http://127.0.0.1:{port}/hooks/{name}"
        request = urllib.request.Request(url, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    wait_until(lambda: _listens(port), "hooks are listened for", tell=str)
    had = counted.reads()
    refused = (403, "refused\n")
    assert post(body, key=b"x" * 32) == refused
    assert post(body, at=-301) == refused
    assert post(body, at=310) == refused
    assert post(body, name="other") == refused
    assert post(body, {"X-Syncret-Signature": "v1=00"}) == refused
    assert post(b"x" * 70_000)[0] == 413
    assert post(b"[]")[0] == 400
    assert counted.reads() == had

    world.put("k", "second")
    stamp = str(int(time.time()))
    again = {
        "X-Syncret-Timestamp": stamp,
        "X-Syncret-Signature": sign(key, stamp, body),
    }
    assert post(body, again) == (202, '{"matched": 1}')
    world.wait_data({"k": b"second"})
    had = counted.reads()
    assert post(body, again) == refused, "one that was overheard"
    assert counted.reads() == had
    assert counted.events("refused", "ci") == 6
    assert counted.events("refused", "unknown") == 1

    other = secrets.token_hex(16).encode()
    hooks.file.write_bytes(other + b"\n")
    assert post(body) == refused, "the key was replaced"
    world.put("k", "third")
    assert post(body, key=other)[0] == 202
    world.wait_data({"k": b"third"})
    flood = [post(b"x", key=b"x" * 32)[0] for _ in range(300)]
    assert 429 in flood


def _listens(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
