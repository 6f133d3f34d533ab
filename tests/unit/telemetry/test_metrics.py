"""What a scrape shows after what was counted, and that the page for readers agrees with it."""

import re
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from syncret import __version__, errors
from syncret.telemetry.metrics import Metrics, wants_openmetrics

PAGE = Path(__file__).parents[3] / "docs" / "observability.md"
ALERTS = Path(__file__).parents[3] / "helm" / "syncret" / "files" / "alerts.yaml"
NOW = 1_700_000_000.25
STORE = ("SecretStore", "payments", "aws")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(wall=lambda: NOW)


def value(metrics: Metrics, sample_name: str, /, **labels: str) -> float | None:
    """A sample as a scrape shows it; None if it is not there."""
    found = [
        sample.value
        for family in parse_plain(metrics.render()[0].decode())
        for sample in family.samples
        if sample.name == sample_name and sample.labels == labels
    ]
    assert len(found) < 2
    return found[0] if found else None


def finish(
    metrics: Metrics, result: str, *, seconds: float = 0.2, reason: str | None = None
) -> None:
    metrics.sync_finished(
        namespace="payments", name="db", result=result, seconds=seconds, reason=reason
    )


def age(metrics: Metrics, **known: float | None) -> None:
    times: dict[str, float | None] = {
        "made": NOW - 100,
        "rotation_due": NOW + 1,
        "certificate_not_after": NOW + 2,
        "expires": NOW + 3,
    }
    metrics.set_times("payments", "db", **{**times, **known}, overdue=False, expiring=True)


THE_DB = {"namespace": "payments", "name": "db"}


def test_series_with_known_labels_are_there_before_anything_happens(metrics: Metrics) -> None:
    for result in ("changed", "unchanged", "failed"):
        assert value(metrics, "syncret_syncs_total", result=result) == 0
    for error in (errors.AccessDenied, errors.KeyNotFound, errors.KubeForbidden):
        assert value(metrics, "syncret_sync_failures_total", reason=error.reason) == 0


def test_a_sync_that_ended_well(metrics: Metrics) -> None:
    finish(metrics, "unchanged", seconds=0.2)
    assert value(metrics, "syncret_syncs_total", result="unchanged") == 1
    assert value(metrics, "syncret_syncs_total", result="changed") == 0
    assert value(metrics, "syncret_sync_duration_seconds_sum") == 0.2
    assert value(metrics, "syncret_sync_duration_seconds_bucket", le="0.1") == 0
    assert value(metrics, "syncret_sync_duration_seconds_bucket", le="0.25") == 1
    assert value(metrics, "syncret_externalsecret_ready", **THE_DB) == 1
    name = "syncret_externalsecret_last_success_timestamp_seconds"
    assert value(metrics, name, **THE_DB) == NOW


def test_a_failed_sync_keeps_the_time_of_the_last_good_one() -> None:
    times = iter([NOW, NOW + 60])
    metrics = Metrics(wall=lambda: next(times))
    finish(metrics, "changed")
    finish(metrics, "failed", reason=errors.Throttled.reason)
    finish(metrics, "failed", reason=errors.Throttled.reason)
    assert value(metrics, "syncret_syncs_total", result="failed") == 2
    assert value(metrics, "syncret_sync_failures_total", reason="Throttled") == 2
    assert value(metrics, "syncret_externalsecret_ready", **THE_DB) == 0
    name = "syncret_externalsecret_last_success_timestamp_seconds"
    assert value(metrics, name, **THE_DB) == NOW


def test_a_reason_that_the_tree_does_not_have_is_counted_too(metrics: Metrics) -> None:
    finish(metrics, "failed", reason="SomethingNew")
    assert value(metrics, "syncret_sync_failures_total", reason="SomethingNew") == 1


def test_a_failure_without_a_reason_is_not_lost(metrics: Metrics) -> None:
    finish(metrics, "failed")
    assert value(metrics, "syncret_sync_failures_total", reason="Error") == 1


def test_readiness_is_known_before_the_first_sync(metrics: Metrics) -> None:
    metrics.set_ready("payments", "db", False)
    assert value(metrics, "syncret_externalsecret_ready", **THE_DB) == 0
    name = "syncret_externalsecret_last_success_timestamp_seconds"
    assert value(metrics, name, **THE_DB) is None


def test_the_series_of_a_deleted_external_secret_go(metrics: Metrics) -> None:
    finish(metrics, "changed")
    metrics.secret_changed("payments", "db")
    metrics.set_ready("payments", "other", True)
    assert value(metrics, "syncret_secret_changes_total", **THE_DB) == 1
    metrics.forget_external_secret("payments", "db")
    metrics.forget_external_secret("payments", "db")  # a second time does no harm
    text = metrics.render()[0].decode()
    assert 'name="db"' not in text
    assert 'name="other"' in text
    assert value(metrics, "syncret_syncs_total", result="changed") == 1


def test_ages_and_expiries() -> None:
    now = [NOW]
    metrics = Metrics(wall=lambda: now[0])
    age(metrics, expires=None)
    name = "syncret_externalsecret"
    assert value(metrics, f"{name}_age_seconds", **THE_DB) == 100
    now[0] += 50
    assert value(metrics, f"{name}_age_seconds", **THE_DB) == 150, "it moves by itself"
    assert value(metrics, f"{name}_rotation_due_timestamp_seconds", **THE_DB) == NOW + 1
    not_after = f"{name}_certificate_not_after_timestamp_seconds"
    assert value(metrics, not_after, **THE_DB) == NOW + 2
    assert value(metrics, f"{name}_expires_timestamp_seconds", **THE_DB) is None
    assert value(metrics, f"{name}_rotation_overdue", **THE_DB) == 0
    assert value(metrics, f"{name}_expiring", **THE_DB) == 1
    now[0] = NOW - 1000
    assert value(metrics, f"{name}_age_seconds", **THE_DB) == 0, "clocks differ"
    metrics.forget_external_secret("payments", "db")
    assert 'name="db"' not in metrics.render()[0].decode()


def test_provider_calls(metrics: Metrics) -> None:
    for outcome, seconds in (("ok", 0.004), ("ok", 0.004), ("denied", 4.0)):
        metrics.provider_call(
            provider="aws",
            store=STORE,
            operation="GetSecretValue",
            outcome=outcome,
            seconds=seconds,
        )
    where = {"provider": "aws", "operation": "GetSecretValue"}
    store = {"kind": "SecretStore", "namespace": "payments", "store": "aws"}
    calls = partial(value, metrics, "syncret_provider_calls_total", **where, **store)
    assert calls(outcome="ok") == 2
    assert calls(outcome="denied") == 1
    bucket = "syncret_provider_call_duration_seconds_bucket"
    assert value(metrics, bucket, **where, le="0.005") == 2
    assert value(metrics, bucket, **where, le="5.0") == 3
    metrics.forget_store(STORE)
    assert calls(outcome="ok") is None


def test_rollouts(metrics: Metrics) -> None:
    metrics.rollout("Deployment", "rolled")
    metrics.rollout("Deployment", "failed")
    metrics.rollout("Deployment", "rolled")
    assert value(metrics, "syncret_rollouts_total", kind="Deployment", result="rolled") == 2
    assert value(metrics, "syncret_rollouts_total", kind="Deployment", result="failed") == 1


def test_the_queue_is_asked_at_each_scrape(metrics: Metrics) -> None:
    assert value(metrics, "syncret_queue_depth", lane="urgent") is None
    depth = {"urgent": 3, "delayed": 70}
    metrics.watch_queue(lambda: depth)
    assert value(metrics, "syncret_queue_depth", lane="urgent") == 3
    depth["urgent"] = 1
    assert value(metrics, "syncret_queue_depth", lane="urgent") == 1
    assert value(metrics, "syncret_queue_depth", lane="delayed") == 70


def test_two_operators_do_not_count_together_nor_into_the_global_registry(metrics: Metrics) -> None:
    other = Metrics()
    finish(other, "changed")
    assert value(metrics, "syncret_syncs_total", result="changed") == 0
    assert not [f for f in REGISTRY.collect() if f.name.startswith("syncret")]


def test_the_build_and_the_process_are_shown(metrics: Metrics) -> None:
    text = metrics.render()[0].decode()
    assert re.search(
        rf'^syncret_build_info{{.*version="{re.escape(__version__)}".*}} 1\.0$', text, re.MULTILINE
    )
    assert "process_resident_memory_bytes" in text
    assert "python_gc_collections_total" in text
    assert "_created" not in text


def test_both_formats_can_be_read_and_tell_the_same(metrics: Metrics) -> None:
    finish(metrics, "changed")
    metrics.secret_changed("payments", "db")
    metrics.provider_call(provider="aws", store=STORE, operation="X", outcome="ok", seconds=0.1)
    plain, plain_type = metrics.render()
    rich, rich_type = metrics.render(openmetrics=True)
    assert plain_type.startswith("text/plain; version=0.0.4")
    assert rich_type.startswith("application/openmetrics-text; version=1.0.0")

    def ours(families: object) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families  # type: ignore[attr-defined]
            if family.name.startswith("syncret")
            for sample in family.samples
        }

    read = ours(parse_plain(plain.decode()))
    assert read == ours(parse_openmetrics(rich.decode()))  # type: ignore[no-untyped-call]
    assert len(read) > 30


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text", True),
        (
            "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3",
            True,
        ),
        ("text/plain, Application/OpenMetrics-Text; version=bogus", True),
        ("application/openmetrics-text; q=0, text/plain", False),
        (";;,=,", False),
    ],
)
def test_the_format_is_negotiated(accept: str, wanted: bool) -> None:
    assert wants_openmetrics(accept) is wanted


def test_the_page_lists_every_metric_and_no_other(metrics: Metrics) -> None:
    """Name, type and labels, both ways."""
    metrics.watch_queue(lambda: {"urgent": 1})
    finish(metrics, "failed")
    finish(metrics, "changed")
    metrics.provider_call(provider="aws", store=STORE, operation="X", outcome="ok", seconds=0.1)
    metrics.rollout("Deployment", "rolled")
    metrics.rollout_ended("Deployment", 1.0)
    metrics.secret_changed("payments", "db")
    metrics.set_held("payments", "db", True)
    metrics.set_rolled_out("payments", "db", True)
    age(metrics)
    metrics.event_sources(["aws"])
    metrics.event_source_up("aws", True)
    metrics.credentials.generated(("Generator", "payments", "db"), "new")
    metrics.credentials.watch_leases(lambda: {"active": 1, "retired": 0})
    shown = {}
    for family in metrics.registry.collect():
        if not family.name.startswith("syncret"):
            continue
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert family.samples, f"{family.name} has to be counted once for this test"
        shown[family.name + suffix] = (family.type, labels)
    listed = {}
    for name, kind, labels in re.findall(
        r"^\| `(syncret_\w+)` \| (\w+) \| [^|]* \| ([^|]*) \|",
        PAGE.read_text("utf-8"),
        re.MULTILINE,
    ):
        listed[name] = (kind, set(re.findall(r"`(\w+)`", labels)))
    assert listed == shown


def test_a_generator_that_is_gone_has_no_series(metrics: Metrics) -> None:
    generator = ("Generator", "payments", "db")
    metrics.credentials.generated(generator, "new")
    metrics.credentials.generated(generator, "age")
    metrics.forget_store(generator)
    metrics.forget_store(generator)
    assert "db" not in metrics.render()[0].decode()


def test_what_the_page_asks_for_exists(metrics: Metrics) -> None:
    """The names in its PromQL, and in the alerts."""
    families = {family.name for family in metrics.registry.collect()}
    blocks = re.findall(r"```promql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in (*blocks, ALERTS.read_text("utf-8")):
        for name in re.findall(r"\bsyncret_\w+", block):
            assert re.sub(r"_(total|bucket|sum|count|info)$", "", name) in families, name
