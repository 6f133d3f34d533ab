"""Where a failure plays, and the steps that bring it about and mend it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contract.proxy import Action, Proxy
from integration import manifests
from integration.manifests import entry, remote
from integration.world import World


@dataclass(frozen=True)
class Site:
    """Where a case plays: its namespace, and AWS behind a proxy of its own."""

    world: World
    proxy: Proxy

    @property
    def shared(self) -> str:
        """The name of a ClusterSecretStore of the case's own."""
        return f"shared-{self.world.namespace}"

    def spec(self, *more: dict[str, Any], extract: tuple[str, ...] = (), **spec: Any) -> None:
        """The ExternalSecret: two values, and what the case adds."""
        self.world.external_secret(
            data=[*self.usual(), *more],
            extract=[remote(self.world.key(name)) for name in extract],
            **spec,
        )

    def usual(self) -> list[dict[str, Any]]:
        key = self.world.key
        return [entry("good", key("good")), entry("other", key("other"), "password")]

    def answer(self, action: Action | None) -> None:
        """What AWS answers to everything from now on; None: the truth."""
        self.proxy.rules = [] if action is None else [lambda _: action]

    def store(self, endpoint: str = "", **how: Any) -> None:
        """The store of the case, which is another generation if something differs."""
        self.world.apply(manifests.store(self.world.namespace, endpoint or self.proxy.url, **how))


Step = Callable[[Site], object]


@dataclass(frozen=True)
class Case:
    """One thing that goes wrong.

    Attributes:
        reason, message: Of the condition, the Event and, the reason, the metric.
        break_: Makes it so, after a good first sync.
        mend: Removes the cause.
        prepare: Makes the ExternalSecret; the usual one if not given.
        fresh: It is wrong from the beginning: there is no first sync, and no Secret of ours.
        meddles: Breaking it writes to the Secret.
    """

    name: str
    reason: str
    message: str
    break_: Step
    mend: Step
    prepare: Step = Site.spec
    fresh: bool = False
    meddles: bool = False


def foreign_secret(site: Site, **metadata: Any) -> None:
    site.world.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "app", "namespace": site.world.namespace, **metadata},
            "stringData": {"theirs": "untouched"},
        }
    )


def use_cluster_store(site: Site) -> None:
    admit(site, site.world.namespace)
    # Two watches have no order: an ExternalSecret seen first is told that there is no store.
    site.world.wait(
        lambda: site.world.ready(site.shared, "ClusterSecretStore"), "the store is known"
    )
    site.spec(secretStoreRef={"name": site.shared, "kind": "ClusterSecretStore"})


def admit(site: Site, *namespaces: str) -> None:
    site.world.apply(
        manifests.cluster_store(
            site.shared,
            site.proxy.url,
            credentials_in=site.world.namespace,
            namespaces=namespaces,
        )
    )


def own_credentials(site: Site) -> None:
    """A store with credentials that can be taken away: those of "aws" serve other cases."""
    site.world.apply(manifests.credentials(site.world.namespace, "mine"))


def other_secret_of(site: Site) -> None:
    """Another ExternalSecret has the target already."""
    site.world.external_secret(
        "first", data=[entry("k", site.world.key("good"))], target={"name": "app"}, interval="1h"
    )
    site.world.wait_ready("first")


def without_credentials(site: Site, *, keep: str = "") -> None:
    """The store names another Secret, which is not there, or has only one of the keys."""
    if keep:
        body = manifests.credentials(site.world.namespace, "mine")
        body["stringData"] = {keep: body["stringData"][keep]}
        site.world.apply(body)
    site.store(secret="mine")


def no_auth(site: Site) -> None:
    nothing = {"auth": None, "endpoint": None}
    site.world.patch("SecretStore", "aws", {"spec": {"provider": {"aws": nothing}}})


def too_large(site: Site) -> None:
    names = [f"large-{number}" for number in range(17)]
    for name in names:
        site.world.put(name, "x" * 65_536)
    site.spec(*(entry(name, site.world.key(name)) for name in names))


def extract_of(site: Site, document: dict[str, Any] | str) -> None:
    site.world.put("document", document)
    site.spec(extract=("document",))


def full(site: Site) -> None:
    """No Secret more than the credentials."""
    site.world.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "full", "namespace": site.world.namespace},
            "spec": {"hard": {"count/secrets": "1"}},
        }
    )
    site.world.wait(
        lambda: site.world.get("ResourceQuota", "full").get("status", {}).get("used"),
        "the quota is in force",
    )
    site.spec()
