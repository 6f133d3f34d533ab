"""What is counted of credentials that generators make."""

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

#: Outcomes of a renewal: renewed, lost (the lease is not there any more) or failed.
RENEWALS: Final = ("renewed", "lost", "failed")
REVOCATIONS: Final = ("revoked", "failed")

#: Of present credentials; of former ones, that somebody may still use or that are to be revoked.
LEASES: Final = ("active", "retired")


class CredentialMetrics:
    """Counts. Cheap to call, from the loop's thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.made = Counter(
            "syncret_generated",
            "Credentials that were made, by generator and reason: new, requested, age, lease_ends, "
            "expires, generator_changed or edited.",
            ["kind", "namespace", "generator", "reason"],
            registry=registry,
        )
        self.renewals = Counter(
            "syncret_lease_renewals",
            "Renewals of leases, by outcome: renewed, lost or failed.",
            ["outcome"],
            registry=registry,
        )
        self.revocations = Counter(
            "syncret_lease_revocations",
            "Revocations of leases, by outcome: revoked or failed.",
            ["outcome"],
            registry=registry,
        )
        self.leases = Gauge(
            "syncret_leases",
            "Leases that are kept alive (active), or whose credential was replaced (retired).",
            ["state"],
            registry=registry,
        )
        for outcome in RENEWALS:
            self.renewals.labels(outcome)
        for outcome in REVOCATIONS:
            self.revocations.labels(outcome)
        self._made: dict[tuple[str, str, str], set[str]] = {}

    def generated(self, generator: tuple[str, str, str], reason: str) -> None:
        """A credential was made. ``generator``: its kind, namespace and name."""
        self._made.setdefault(generator, set()).add(reason)
        self.made.labels(*generator, reason).inc()

    def lease_renewal(self, outcome: str) -> None:
        """A renewal ended: ``outcome`` is of RENEWALS."""
        self.renewals.labels(outcome).inc()

    def lease_revocation(self, outcome: str) -> None:
        """A revocation ended: ``outcome`` is of REVOCATIONS."""
        self.revocations.labels(outcome).inc()

    def forget(self, generator: tuple[str, str, str]) -> None:
        """The generator is gone, and its series with it."""
        for reason in self._made.pop(generator, ()):
            self.made.remove(*generator, reason)

    def watch_leases(self, count: Callable[[], Mapping[str, int]]) -> None:
        """Has the numbers of leases asked for at each scrape, by state."""
        for state in LEASES:
            self.leases.labels(state).set_function(lambda state=state: count()[state])  # type: ignore[misc]
