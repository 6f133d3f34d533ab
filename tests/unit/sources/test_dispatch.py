"""From a message to those whom it concerns."""

import json
from typing import Any

import pytest

from support.clock import FakeClock
from support.objects import external_secret_body
from syncret.api.externalsecret import parse_external_secret
from syncret.api.keys import ObjectKey
from syncret.api.store import parse_store
from syncret.cache import Cache
from syncret.errors import KubeForbidden, KubeNotFound
from syncret.hints import Hints
from syncret.sources.dispatch import Dispatcher, Given
from syncret.sources.events import Malformed
from syncret.telemetry.metrics import Metrics
from unit.sources.shapes import LABEL_UPDATED, REGION

SYNCED = {
    "syncedGeneration": 1,
    "conditions": [{"type": "Ready", "status": "True", "reason": "Synced", "message": ""}],
}


class Api:
    """Takes patches, or refuses them."""

    def __init__(self) -> None:
        self.patched: list[tuple[str, str]] = []
        self.error: Exception | None = None

    async def merge_patch(self, *_: Any, namespace: str, name: str, **__: Any) -> None:
        if self.error:
            raise self.error
        self.patched.append((namespace, name))


class Bed:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cache = Cache(by_word=True)
        self.metrics = Metrics()
        self.metrics.event_sources(["aws"])
        self.api = Api()
        self.asked: list[ObjectKey] = []
        self.mine = {"shop"}
        self.hints = Hints(self.clock, enqueue=lambda key, _: self.asked.append(key))
        self.dispatcher = Dispatcher(
            cache=self.cache,
            hints=self.hints,
            kube=self.api,  # type: ignore[arg-type]
            metrics=self.metrics,
            clock=self.clock,
            works_on=lambda namespace: namespace in self.mine,
        )
        for namespace in ("shop", "team"):
            self.store(namespace)

    def store(self, namespace: str, name: str = "aws", **aws: str) -> None:
        provider = {"aws": {"service": "SecretsManager", "region": REGION, **aws}}
        meta = {"name": name, "namespace": namespace, "uid": f"{namespace}-{name}"}
        record = parse_store("SecretStore", {"metadata": meta, "spec": {"provider": provider}})
        self.cache.stores.put(record.key, record)

    def reader(self, name: str, *, namespace: str = "shop", **spec: Any) -> ObjectKey:
        status = spec.pop("status", SYNCED)
        record = parse_external_secret(
            external_secret_body(name, namespace=namespace, status=status, **spec)
        )
        self.cache.external_secrets.put(record.key, record)
        return record.key

    def take(self, message: Any = LABEL_UPDATED) -> Given:
        return self.dispatcher.take("aws", json.dumps(message))

    def counted(self, result: str) -> float:
        return (
            self.metrics.registry.get_sample_value(
                "syncret_events_total", {"source": "aws", "result": result}
            )
            or 0.0
        )


@pytest.fixture
def bed() -> Bed:
    return Bed()


def entry(key: str) -> list[dict[str, Any]]:
    return [{"secretKey": "k", "remoteRef": {"key": key}}]


def find(**query: Any) -> list[dict[str, Any]]:
    return [{"find": query}]


def test_exactly_the_readers_are_asked(bed: Bed) -> None:
    by_name = bed.reader("a", data=entry("production/database"))
    by_extract = bed.reader("b", dataFrom=[{"extract": {"key": "production/database"}}])
    by_search = bed.reader("c", dataFrom=find(name={"regexp": "^production/"}))
    by_tags = bed.reader("d", dataFrom=find(tags={"team": "x"}))
    bed.reader("e", data=entry("other/database"))
    bed.reader("f", dataFrom=find(path="staging/"))
    bed.store("shop", "elsewhere", region="us-east-1")
    bed.reader("g", secretStoreRef={"name": "elsewhere"}, data=entry("production/database"))
    bed.reader("h", secretStoreRef={"name": "gone"}, data=entry("production/database"))
    given = bed.take()
    assert {key for key, _ in given.hints} == {by_name, by_extract, by_search, by_tags}
    assert sorted(bed.asked) == sorted({by_name, by_extract, by_search, by_tags})
    assert (bed.counted("matched"), given.matched) == (1, 4)


def test_a_key_behind_the_prefix_of_its_store_is_found(bed: Bed) -> None:
    bed.store("shop", "prefixed", prefix="production/data")
    key = bed.reader("a", secretStoreRef={"name": "prefixed"}, data=entry("base"))
    assert [hint for hint, _ in bed.take().hints] == [key]


def test_who_has_that_version_already_is_left_alone(bed: Bed) -> None:
    source = {"key": "production/database", "version": "v-2"}
    bed.reader("a", data=entry("production/database"), status={**SYNCED, "sources": [source]})
    assert bed.take() == Given()
    assert bed.counted("current") == 1
    failing = [{"type": "Ready", "status": "False", "reason": "x", "message": ""}]
    again = bed.reader(
        "b",
        data=entry("production/database"),
        status={**SYNCED, "sources": [source], "conditions": failing},
    )
    assert [key for key, _ in bed.take({**LABEL_UPDATED, "id": "2"}).hints] == [again]


def test_a_message_that_comes_twice_is_one(bed: Bed) -> None:
    bed.reader("a", data=entry("production/database"))
    bed.take()
    assert bed.take() == Given()
    assert (bed.counted("matched"), bed.counted("duplicate")) == (1, 1)


def test_what_concerns_nobody_is_counted(bed: Bed) -> None:
    bed.reader("a", data=entry("other"))
    assert bed.take() == Given()
    assert bed.take({"id": "x"}) == Given()
    with pytest.raises(Malformed):
        bed.dispatcher.take("aws", "no json")
    counts = [bed.counted(one) for one in ("unmatched", "ignored", "malformed", "matched")]
    assert counts == [1, 1, 1, 0]


async def test_the_namespaces_of_another_replica_are_told_by_an_annotation(bed: Bed) -> None:
    theirs = bed.reader("a", namespace="team", data=entry("production/database"))
    given = bed.take()
    assert given == Given((), (theirs,), 1)
    bed.api.error = KubeForbidden("no")
    with pytest.raises(KubeForbidden):
        await bed.dispatcher.settle(given)
    bed.api.error = None
    given = bed.take()
    assert given.notes == (theirs,), "it was not done, so it is no duplicate"
    await bed.dispatcher.settle(given)
    assert bed.api.patched == [("team", "a")]
    bed.api.error = KubeNotFound("gone")
    await bed.dispatcher.settle(Given((), (theirs._replace(name="gone"),)))


def test_time_decides_nothing_but_the_lag(bed: Bed) -> None:
    bed.reader("a", data=entry("production/database"))
    for number, time in enumerate(("2999-01-01T00:00:00Z", "2001-01-01T00:00:00Z", None, 3)):
        assert bed.take({**LABEL_UPDATED, "id": str(number), "time": time}).matched == 1
    value = bed.metrics.registry.get_sample_value
    assert value("syncret_event_lag_seconds_count", {"source": "aws"}) == 2
