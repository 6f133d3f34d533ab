"""The story: a password goes from AWS into a Deployment, is rotated, and arrives again.

Each step ends with what was seen: in the cluster, in AWS, on the metrics page. A value is never
shown, only a fingerprint of it under a key that lives as long as the run.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from demo import declared, seen
from demo.declared import DEPLOYMENT, NAMESPACE, REPLICAS, SECRET, SELECTOR, STORE
from demo.footprint import crd_names
from demo.stage import Stage
from testbed.moto import DatabaseSecret
from testbed.operator import install_chart
from testbed.processes import StartError
from testbed.progress import Progress
from testbed.readiness import pods, staying, wait_for_rollout, watched
from testbed.waiting import wait_until

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample of the metrics page, what it must be (None: any number), and what that means."""

    name: str
    labels: dict[str, str]
    wanted: int | None
    meaning: str

    def __str__(self) -> str:
        labels = ",".join(f'{key}="{text}"' for key, text in self.labels.items())
        return f"{self.name}{{{labels}}}"


_DATABASE: Final = {"namespace": NAMESPACE, "name": SECRET}
_ROLLED: Final = {"kind": "Deployment", "result": "rolled"}
_SAMPLES: Final = (
    Sample("syncret_syncs_total", {"result": "changed"}, 2, "syncs that wrote the Secret"),
    Sample("syncret_syncs_total", {"result": "unchanged"}, None, "syncs with nothing to write"),
    Sample("syncret_syncs_total", {"result": "failed"}, 0, "failed syncs"),
    Sample("syncret_secret_changes_total", _DATABASE, 2, "changes of its data: creation, rotation"),
    Sample("syncret_rollouts_total", _ROLLED, 1, "rolling restarts"),
)


class StoryError(Exception):
    """Something was seen that must not be; the text says what."""


@dataclass
class Story:
    """Tells it, and measures. ``times``: what the rotation took, for the table at the end."""

    stage: Stage
    progress: Progress
    times: list[tuple[str, float]] = field(default_factory=list)
    _passwords: set[str] = field(default_factory=set, repr=False)
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def __post_init__(self) -> None:
        self._cluster = self.stage.cluster
        self._database = DatabaseSecret(self.stage.moto.client("secretsmanager"))

    def tell(self) -> None:
        """All of it. Raises StoryError, and the errors of what it uses."""
        say = self.progress.say
        say("\n1. Syncret is installed")
        self._install()
        self._start_operator()
        say("\n2. A secret in AWS becomes a Secret in Kubernetes (demo/manifests)")
        self._create_in_aws()
        self._declare_store()
        self._declare_external_secret()
        say("\n3. A Deployment uses the Secret")
        self._deploy()
        self._wait_until_known()
        say("\n4. The password is rotated in AWS")
        self._rotate()
        say("\n5. What the operator tells about it, and what it does not")
        self._read_metrics()
        self._look_for_leaks()

    def _install(self) -> None:
        values = () if self.stage.footprint.crds else ("crds.install=false",)
        with self.progress.step("installing the CRDs and the chart with Helm", estimate=4) as step:
            install_chart(self._cluster, *values)
            names = crd_names()
            self._cluster.kubectl("wait", "--for=condition=Established", "crd", *names)
            (release,) = json.loads(self._cluster.helm("list", "-n", "syncret", "-o", "json"))
            if release["status"] != "deployed":
                raise StoryError(f"Helm says that the release is {release['status']}.")
            served = ", ".join(name.partition(".")[0] for name in names)
            step.detail = (
                f'Helm has deployed the release "{release["name"]}"; the API server serves {served}'
            )

    def _start_operator(self) -> None:
        operator = self.stage.operator
        with self.progress.step("starting the operator", estimate=4) as step:
            operator.start()
            rights = seen.rights(operator)
            step.detail = (
                f"the operator is ready: process {operator.running.process.pid} on this machine; "
                f"the API server knows it as {rights.user}"
            )
        self.progress.say(
            "  may it do everything: "
            f"{_yes(rights.everything)}; may it delete Secrets: {_yes(rights.delete_secrets)}"
        )
        if rights.everything:
            raise StoryError("The operator has an administrator's rights, not the chart's.")

    def _create_in_aws(self) -> None:
        with self.progress.step("creating the secret in AWS") as step:
            version = self._database.create()
            step.detail = self._aws_line(version)

    def _declare_store(self) -> None:
        with self.progress.step("declaring the SecretStore") as step:
            self._cluster.apply(declared.manifest("namespace"))
            self._cluster.apply(declared.credentials(), declared.store(self.stage.moto.endpoint))
            message = self._ready("secretstore", STORE)
            step.detail = f'SecretStore "{STORE}" is Ready: {message}'

    def _declare_external_secret(self) -> None:
        with self.progress.step("declaring the ExternalSecret") as step:
            self._cluster.apply(declared.manifest("externalsecret"))
            self._until(self._secret_is_current, "the Secret holds the password of AWS")
            step.detail = f'Secret "{SECRET}" has appeared; {self._secret_line()}'
        message = self._ready("externalsecret", SECRET)
        self.progress.say(f'  ExternalSecret "{SECRET}" is Ready: {message}')

    def _deploy(self) -> None:
        with self.progress.step("creating the Deployment") as step:
            self._cluster.apply(declared.manifest("deployment"))
            wait_for_rollout(self._cluster, NAMESPACE, DEPLOYMENT, SELECTOR)
            ready = seen.deployment(self._cluster)["status"].get("readyReplicas", 0)
            if ready != REPLICAS:
                raise StoryError(f"{ready} of {REPLICAS} replicas are Ready.")
            step.detail = f'Deployment "{DEPLOYMENT}": {ready} of {REPLICAS} replicas are Ready'

    def _wait_until_known(self) -> None:
        with self.progress.step("waiting until Syncret knows the Deployment") as step:
            self._until(
                lambda: seen.is_known_consumer(self._cluster),
                "the ExternalSecret's status names the Deployment",
            )
            step.detail = f'Syncret has found out that "{DEPLOYMENT}" uses the Secret'

    def _rotate(self) -> None:
        former = staying(pods(self._cluster, NAMESPACE, SELECTOR))
        generation = self._generation()
        with watched(self._cluster, NAMESPACE, SELECTOR, wanted=REPLICAS) as ready:
            with self.progress.step("rotating the password in AWS") as step:
                version = self._database.rotate()
                rotated = time.monotonic()
                step.detail = self._aws_line(version)
            with self.progress.step("waiting for the Secret to follow") as step:
                self._until(self._secret_is_current, "the Secret holds the new password of AWS")
                self._took("from the rotation in AWS to the new Secret", rotated)
                step.detail = f"the Secret has followed; {self._secret_line()}"
            with self.progress.step("waiting for the Deployment to roll") as step:
                self._until(lambda: self._generation() > generation, "the pod template changes")
                wait_for_rollout(self._cluster, NAMESPACE, DEPLOYMENT, SELECTOR)
                self._took("from the rotation in AWS to the end of the rollout", rotated)
                new = staying(pods(self._cluster, NAMESPACE, SELECTOR))
                self._until(lambda: ready.names == new, "the watch has come to the same end")
                step.detail = (
                    f"the Deployment has rolled: {len(new - former)} new pods are Ready, "
                    f"{len(former - new)} former ones are gone"
                )
        if new & former:
            raise StoryError(f"Not replaced: {', '.join(sorted(new & former))}.")
        course = ", ".join(map(str, ready.course))
        self.progress.say(f"  Ready pods meanwhile, as a watch saw them: {course}")
        if min(ready.counts) < REPLICAS:
            raise StoryError(f"There were fewer Ready pods than the {REPLICAS} that are wanted.")
        self.progress.say(f"  never fewer than the {REPLICAS} that are wanted")

    def _read_metrics(self) -> None:
        operator = self.stage.operator
        with self.progress.step("reading the metrics page") as step:
            values = [operator.metric(each.name, **each.labels) for each in _SAMPLES]
            step.detail = f"http://127.0.0.1:{operator.port}/metrics tells the same"
        width = max(len(str(each)) for each in _SAMPLES)
        wrong = []
        for each, value in zip(_SAMPLES, values, strict=True):
            self.progress.say(f"    {each!s:<{width}} {value:.0f}  {each.meaning}")
            if each.wanted is not None and value != each.wanted:
                wrong.append(f"{each} is {value:.0f} and not {each.wanted}")
        if wrong:
            raise StoryError(f"The metrics do not tell what was seen: {'; '.join(wrong)}.")

    def _look_for_leaks(self) -> None:
        operator = self.stage.operator
        with self.progress.step("looking for the passwords where they must not be") as step:
            log = operator.log
            places = {
                f"the operator's log ({len(log.splitlines())} lines, level debug)": log,
                "its metrics page": operator.probe("/metrics")[1],
                f'the objects and Events of the namespace "{NAMESPACE}", other than Secrets': (
                    seen.everything_but_secrets(self._cluster)
                ),
            }
            for place, text in places.items():
                for password in self._passwords:
                    if password in text or base64.b64encode(password.encode()).decode() in text:
                        raise StoryError(f"A password is in {place}.")
            step.detail = "neither the first nor the second password is in any of these"
        for place in places:
            self.progress.say(f"    {place}")

    def _held(self) -> str:
        """The password that AWS holds."""
        password = self._database.held()
        self._passwords.add(password)
        return password

    def _secret_is_current(self) -> bool:
        return seen.password(self._cluster) == self._held()

    def _aws_line(self, version: str) -> str:
        return (
            f'AWS holds "{DatabaseSecret.NAME}", version {version[:8]}; '
            f"its password has the fingerprint {self._fingerprint(self._held())}"
        )

    def _secret_line(self) -> str:
        password = seen.password(self._cluster)
        same = "the same as" if password == self._held() else "another one than"
        return f"its password is {same} in AWS: fingerprint {self._fingerprint(password)}"

    def _fingerprint(self, value: str) -> str:
        return hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()[:8]

    def _generation(self) -> int:
        return int(seen.deployment(self._cluster)["metadata"]["generation"])

    def _ready(self, kind: str, name: str) -> str:
        """Waits until the condition Ready is True; returns its message."""
        return self._until(
            lambda: seen.ready_message(self._cluster, kind, name), f'the {kind} "{name}" is Ready'
        )

    def _until(self, true: Callable[[], T], what: str) -> T:
        """Waits for what the operator is to bring about, as long as it runs."""
        operator = self.stage.operator.running

        def looked() -> T:
            if not operator.alive:
                raise StartError(f"The operator has ended by itself before this was seen: {what}.")
            return true()

        return wait_until(looked, what, timeout=60)

    def _took(self, what: str, begun: float) -> None:
        self.times.append((what, time.monotonic() - begun))


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"
