"""Metrics that are read when they are scraped: those of each ExternalSecret, and of the queue.

The series of one ExternalSecret are one small record. A ``labels()`` child of prometheus_client has
a lock and a dictionary or two for each series: ten times the memory, for something that one thread
writes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_Times = tuple[float | None, float | None, float | None, float | None, bool | None, bool | None]


@dataclass(slots=True)
class _Record:
    """What is told of one ExternalSecret; None: not known since the start."""

    ready: bool | None = None
    last_success: float | None = None
    changes: int = 0
    held: bool | None = None
    rolled_out: bool | None = None
    #: When the oldest was made, and is to be rotated; when the first certificate, and the first
    #: value by what the store says, expires; whether it is overdue, and expires soon.
    times: _Times | None = None


class ExternalSecretSeries(Collector):
    """The series with an ExternalSecret's namespace and name."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._records: dict[tuple[str, str], _Record] = {}

    def record(self, namespace: str, name: str) -> _Record:
        key = namespace, name
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record()
        return record

    def knows(self, namespace: str, name: str) -> bool:
        return (namespace, name) in self._records

    def forget(self, namespace: str, name: str) -> None:
        self._records.pop((namespace, name), None)

    def collect(self) -> Iterator[Metric]:
        # Scrapes are rendered in a thread while the loop's writes: list() copies in one step.
        records = list(self._records.items())
        labels = ("namespace", "name")
        ready = GaugeMetricFamily(
            "syncret_externalsecret_ready",
            "Whether the ExternalSecret is in sync: 1 as its condition Ready is True, else 0.",
            labels=labels,
        )
        last_success = GaugeMetricFamily(
            "syncret_externalsecret_last_success_timestamp_seconds",
            "When the ExternalSecret was last found or made to be in sync, in seconds since 1970.",
            labels=labels,
        )
        changes = CounterMetricFamily(
            "syncret_secret_changes",
            "Times that the target Secret of the ExternalSecret was created or changed.",
            labels=labels,
        )
        held = GaugeMetricFamily(
            "syncret_externalsecret_refresh_held",
            "Whether a refresh is due and waits for a sync window: 1 or 0; only with syncWindows.",
            labels=labels,
        )
        rolled_out = GaugeMetricFamily(
            "syncret_externalsecret_rolled_out",
            "Whether every workload uses what the Secret holds: 1 as its condition RolledOut is "
            "True, else 0; only where workloads use it.",
            labels=labels,
        )
        times = _time_families(labels)
        for key, record in records:
            if record.rolled_out is not None:
                rolled_out.add_metric(key, float(record.rolled_out))
            if record.times is not None:
                made, *others = record.times
                age = None if made is None else max(0.0, self._wall() - made)
                for family, value in zip(times, (age, *others), strict=True):
                    if value is not None:
                        family.add_metric(key, float(value))
            if record.held is not None:
                held.add_metric(key, float(record.held))
            if record.ready is not None:
                ready.add_metric(key, float(record.ready))
            if record.last_success is not None:
                last_success.add_metric(key, record.last_success)
            changes.add_metric(key, record.changes)
        yield from (ready, last_success, changes, held, rolled_out, *times)


def _time_families(labels: tuple[str, ...]) -> list[GaugeMetricFamily]:
    """In the order of a record's times."""
    return [
        GaugeMetricFamily(f"syncret_externalsecret_{name}", text, labels=labels)
        for name, text in (
            (
                "age_seconds",
                "Seconds since the oldest of what is read was made; only with spec.rotation.",
            ),
            (
                "rotation_due_timestamp_seconds",
                "By when that is to be rotated, in seconds since 1970; only with spec.rotation.",
            ),
            (
                "certificate_not_after_timestamp_seconds",
                "When the first certificate in the Secret expires, in seconds since 1970.",
            ),
            (
                "expires_timestamp_seconds",
                "When the first of what is read expires, as the store says, in seconds since 1970.",
            ),
            ("rotation_overdue", "Whether it is to be rotated by now: 1 or 0."),
            ("expiring", "Whether something has expired or is about to: 1 or 0."),
        )
    ]


class QueueDepth(Collector):
    """The depth of the queue, asked for when it is scraped."""

    def __init__(self) -> None:
        self.depth: Callable[[], Mapping[str, int]] = dict

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "syncret_queue_depth",
            "Objects in the work queue, by lane: urgent, forced, periodic, delayed or running.",
            labels=("lane",),
        )
        for lane, depth in self.depth().items():
            family.add_metric((lane,), depth)
        yield family
