"""Every metric of Syncret, in a registry of its own.

One :class:`Metrics` is made by the composition root and passed to what counts, so that two
operators in one process (as in tests) do not count together. The metrics are described, for those
who read them, in docs/observability.md; a test holds the two together.

Global series whose labels are known exist from the start with 0: the first failure is then an
increase that an alert sees, instead of a series that appears with 1.

Refused: labels that anyone may fill (remote keys, messages), and failures counted by object *and*
reason, which is a series for each way in which something ever failed; the object's condition has
its reason.
"""

import platform
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.openmetrics import exposition as openmetrics_text

from syncret import __version__
from syncret.errors import SyncretError
from syncret.telemetry.collectors import ExternalSecretSeries, QueueDepth
from syncret.telemetry.credentials import CredentialMetrics

#: Content type of the text that every Prometheus reads.
PLAIN_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"

#: What became of an event of a store, or of a message that is none.
EVENT_RESULTS: Final = (
    "matched",
    "current",
    "unmatched",
    "ignored",
    "duplicate",
    "malformed",
    "refused",
)

SYNC_RESULTS: Final = ("changed", "unchanged", "failed")

#: Seconds. A sync that writes takes two requests to the API server; the last ones are retries.
_SYNC_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: Seconds. From a store in the same cluster to one that is waited for until the timeout.
_CALL_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

#: Seconds. From a Deployment of one small pod to a large StatefulSet.
_ROLLOUT_BUCKETS: Final = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


#: Seconds from the change in the store. Best-effort deliveries take minutes, a backlog hours.
_LAG_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)


class Metrics:
    """What the operator counts. Cheap to call; all but :meth:`render` from the loop's thread.

    ``wall`` tells the time since the epoch, in seconds.
    """

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        # A time of creation for each series would double their number in the plain text. The
        # switch is the library's and holds for the process; nothing else here uses the library.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._wall = wall
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

        self.build = Info("syncret_build", "Version of Syncret and of Python.", registry=registry)
        self.build.info({"version": __version__, "python": platform.python_version()})
        self.syncs = Counter(
            "syncret_syncs",
            "Syncs of ExternalSecrets that ended, by result: changed, unchanged or failed.",
            ["result"],
            registry=registry,
        )
        self.sync_failures = Counter(
            "syncret_sync_failures",
            "Failed syncs by reason, which is also the reason of the condition Ready.",
            ["reason"],
            registry=registry,
        )
        self.sync_duration = Histogram(
            "syncret_sync_duration_seconds",
            "Seconds from the start of a sync to its end, failed ones included.",
            buckets=_SYNC_BUCKETS,
            registry=registry,
        )
        self.provider_calls = Counter(
            "syncret_provider_calls",
            "Calls to external stores, by store, the store's own operation and outcome.",
            ["provider", "kind", "namespace", "store", "operation", "outcome"],
            registry=registry,
        )
        self.provider_call_duration = Histogram(
            "syncret_provider_call_duration_seconds",
            "Seconds that calls to external stores took, whatever their outcome.",
            ["provider", "operation"],
            buckets=_CALL_BUCKETS,
            registry=registry,
        )
        self.rollouts = Counter(
            "syncret_rollouts",
            "Rolling restarts, by kind of the workload and result: rolled, gone, failed, unhealthy "
            "or reverted.",
            ["kind", "result"],
            registry=registry,
        )
        self.rollout_duration = Histogram(
            "syncret_rollout_duration_seconds",
            "Seconds from a rolling restart's begin until all pods were replaced and available.",
            ["kind"],
            buckets=_ROLLOUT_BUCKETS,
            registry=registry,
        )
        self.rollouts_in_progress = Gauge(
            "syncret_rollouts_in_progress",
            "Workloads of the cluster that were restarted and are not available again yet.",
            registry=registry,
        )
        self.events = Counter(
            "syncret_events",
            "Events of stores that were received, by source and result: matched, current, "
            "unmatched, ignored, duplicate, malformed or refused.",
            ["source", "result"],
            registry=registry,
        )
        self.event_lags = Histogram(
            "syncret_event_lag_seconds",
            "Seconds from the time of an event to when its ExternalSecrets were queued.",
            ["source"],
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        self.event_sources_up = Gauge(
            "syncret_event_source_up",
            "Whether the source of events answers: 1 or 0; only on the replica that reads it.",
            ["source"],
            registry=registry,
        )
        self.event_loop_lag = Gauge(
            "syncret_event_loop_lag_seconds",
            "Seconds by which the event loop was late, the most of the last ten seconds.",
            registry=registry,
        )
        self.shards = Gauge(
            "syncret_shards",
            "Shards that this replica works on. Without shards: 1 while it leads, else 0.",
            registry=registry,
        )
        self.credentials = CredentialMetrics(registry)
        self.external_secrets = ExternalSecretSeries(wall)
        registry.register(self.external_secrets)
        self.queue_depth = QueueDepth()
        registry.register(self.queue_depth)

        self._syncs = {result: self.syncs.labels(result) for result in SYNC_RESULTS}
        self._failures = {reason: self.sync_failures.labels(reason) for reason in _reasons()}
        self._sources_up: set[str] = set()
        #: By kind, namespace and name of the store; then by provider, operation and outcome.
        self._calls: dict[tuple[str, str, str], dict[tuple[str, str, str], Counter]] = {}
        self._call_durations: dict[tuple[str, str], Histogram] = {}

    def sync_finished(
        self, *, namespace: str, name: str, result: str, seconds: float, reason: str | None = None
    ) -> None:
        """One sync ended: ``result`` is of SYNC_RESULTS, ``reason`` that of the error if failed.

        Also says whether the ExternalSecret is ready, and when it last was found in order.
        """
        self._syncs[result].inc()
        self.sync_duration.observe(seconds)
        if result == "failed":
            reason = reason or SyncretError.reason
            failures = self._failures.get(reason)
            if failures is None:
                failures = self._failures[reason] = self.sync_failures.labels(reason)
            failures.inc()
        else:
            self.external_secrets.record(namespace, name).last_success = self._wall()
        self.set_ready(namespace, name, result != "failed")

    def set_ready(self, namespace: str, name: str, ready: bool) -> None:
        """What the condition Ready says; for one that was read and not yet synced."""
        self.external_secrets.record(namespace, name).ready = ready

    def secret_changed(self, namespace: str, name: str) -> None:
        """The target Secret of that ExternalSecret was created or its data changed."""
        self.external_secrets.record(namespace, name).changes += 1

    def set_held(self, namespace: str, name: str, held: bool | None) -> None:
        """Whether a refresh is due and waits for a sync window; None for one without windows."""
        self.external_secrets.record(namespace, name).held = held

    def set_times(
        self,
        namespace: str,
        name: str,
        *,
        made: float | None,
        rotation_due: float | None,
        certificate_not_after: float | None,
        expires: float | None,
        overdue: bool | None,
        expiring: bool | None,
    ) -> None:
        """Age and expiry of what an ExternalSecret reads, in seconds since 1970; None: not known.

        ``made``: when the oldest of it was made.
        """
        times = (made, rotation_due, certificate_not_after, expires, overdue, expiring)
        self.external_secrets.record(namespace, name).times = (
            None if all(one is None for one in times) else times
        )

    def forget_external_secret(self, namespace: str, name: str) -> None:
        """The ExternalSecret is gone, and its series with it."""
        self.external_secrets.forget(namespace, name)

    def provider_call(
        self,
        *,
        provider: str,
        store: tuple[str, str, str],
        operation: str,
        outcome: str,
        seconds: float,
    ) -> None:
        """One call to an external store ended. ``store``: its kind, namespace and name."""
        known = self._calls.setdefault(store, {})
        calls = known.get((provider, operation, outcome))
        if calls is None:
            calls = self.provider_calls.labels(provider, *store, operation, outcome)
            known[provider, operation, outcome] = calls
        calls.inc()
        durations = self._call_durations.get((provider, operation))
        if durations is None:
            durations = self.provider_call_duration.labels(provider, operation)
            self._call_durations[provider, operation] = durations
        durations.observe(seconds)

    def forget_store(self, store: tuple[str, str, str]) -> None:
        """The store is gone, and its series with it."""
        self.credentials.forget(store)
        for provider, operation, outcome in self._calls.pop(store, {}):
            self.provider_calls.remove(provider, *store, operation, outcome)

    def rollout(self, kind: str, result: str) -> None:
        """A rolling restart was made ("rolled"), found nothing to restart ("gone"), or "failed".

        Of those that were made, some did not become healthy in time ("unhealthy"), or somebody put
        the former template back ("reverted").
        """
        self.rollouts.labels(kind, result).inc()

    def rollout_ended(self, kind: str, seconds: float) -> None:
        """All pods of a workload that was restarted are replaced and available."""
        self.rollout_duration.labels(kind).observe(seconds)

    def set_rolled_out(self, namespace: str, name: str, rolled_out: bool | None) -> None:
        """What the condition RolledOut says; None where no workload uses the Secret."""
        if rolled_out is not None or self.external_secrets.knows(namespace, name):
            self.external_secrets.record(namespace, name).rolled_out = rolled_out

    def watch_rollouts(self, in_progress: Callable[[], float]) -> None:
        """Has the number of workloads that roll asked for at each scrape."""
        self.rollouts_in_progress.set_function(in_progress)

    def event_sources(self, names: Iterable[str]) -> None:
        """The sources that there are: their series exist from now on."""
        for name in names:
            self.event_lags.labels(name)
            for result in EVENT_RESULTS:
                self.events.labels(name, result)

    def event(self, source: str, result: str) -> None:
        """An event was received: ``result`` is of EVENT_RESULTS."""
        self.events.labels(source, result).inc()

    def event_lag(self, source: str, seconds: float) -> None:
        """So long after its time an event was queued."""
        self.event_lags.labels(source).observe(seconds)

    def event_source_up(self, source: str, up: bool | None) -> None:
        """Whether a source answers; None: another replica reads it."""
        if up is not None:
            self.event_sources_up.labels(source).set(float(up))
            self._sources_up.add(source)
        elif source in self._sources_up:
            self._sources_up.discard(source)
            self.event_sources_up.remove(source)

    def watch_queue(self, depth: Callable[[], Mapping[str, int]]) -> None:
        """Has the queue asked for its depth by lane, at each scrape and from another thread."""
        self.queue_depth.depth = depth

    def watch_shards(self, held: Callable[[], int]) -> None:
        """Has the number of shards that are worked on asked for at each scrape."""
        self.shards.set_function(held)

    def render(self, *, openmetrics: bool = False) -> tuple[bytes, str]:
        """The text that Prometheus reads, and its content type. Safe in any thread."""
        if openmetrics:
            text: bytes = openmetrics_text.generate_latest(self.registry)  # type: ignore[no-untyped-call]
            return text, openmetrics_text.CONTENT_TYPE_LATEST
        return generate_latest(self.registry), PLAIN_TEXT


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header takes OpenMetrics.

    The library's own negotiation answers with a version that it copies from the header, whatever
    that is; ours knows the two formats that are written here.
    """
    for accepted in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in accepted.split(";"))
        refused = any(
            parameter in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for parameter in parameters
        )
        if media_type == "application/openmetrics-text" and not refused:
            return True
    return False


def _reasons() -> set[str]:
    """Every reason of the tree of errors, as far as it has been imported."""
    found, left = set(), [SyncretError]
    while left:
        error = left.pop()
        found.add(error.reason)
        left += error.__subclasses__()
    return found
