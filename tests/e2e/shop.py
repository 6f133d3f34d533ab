"""The scenario: a shop whose pods read a database password that lives in AWS."""

from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from e2e.environment import REPOSITORY, Environment
from testbed.cluster import CommandError
from testbed.moto import ACCESS_KEY, REGION, SECRET_KEY, DatabaseSecret
from testbed.readiness import pods, staying, wait_for_rollout
from testbed.waiting import wait_until

OPERATOR_NAMESPACE: Final = "syncret"
NAMESPACE: Final = "shop"
DEPLOYMENT: Final = "api"
SECRET: Final = "database"
SELECTOR: Final = f"app={DEPLOYMENT}"
REPLICAS: Final = 2
PORT: Final = 8080
_FILE: Final = "/etc/database/password"
_TIMEOUT: Final = 120.0
_RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass
class Shop:
    """The shop in a running environment."""

    environment: Environment

    def __post_init__(self) -> None:
        self._database = DatabaseSecret(self.environment.secrets_manager)

    @property
    def password(self) -> str:
        """What AWS holds now."""
        return self._database.password

    def open(self) -> None:
        """Installs the operator, and the shop until its pods are Ready."""
        cluster = self.environment.cluster
        self._database.create()
        cluster.apply(_namespace(OPERATOR_NAMESPACE), _namespace(NAMESPACE))
        self._install_operator()
        cluster.apply(_credentials(), _store(self.environment.endpoint), _external_secret())
        wait_until(lambda: self.secret() == self.password, "the Secret appears")
        cluster.apply(_deployment(self.environment), _service())
        self.wait_for_rollout()

    def rotate(self) -> str:
        """Puts a new password in AWS; returns it."""
        self._database.rotate()
        return self.password

    def secret(self) -> str | None:
        """The password that the Secret in the cluster holds."""
        data = self.environment.cluster.secret(SECRET, NAMESPACE)
        return data["password"] if data else None

    def deployment(self) -> dict[str, Any]:
        body = self.environment.cluster.get("deployment", DEPLOYMENT, NAMESPACE)
        assert body is not None
        return body

    def pods(self) -> set[str]:
        """The names of the shop's pods that are not on their way out."""
        return staying(pods(self.environment.cluster, NAMESPACE, SELECTOR))

    def seen_by(self, pod: str) -> dict[str, str]:
        """The password as the pod's program was started with it, and as the pod's file has it."""
        kubectl = self.environment.cluster.kubectl
        logged = dict(
            line.split("=", 1)
            for line in kubectl("logs", "-n", NAMESPACE, pod).splitlines()
            if "=" in line
        )
        now = kubectl("exec", "-n", NAMESPACE, pod, "--", "cat", _FILE)
        return {"env": logged["env"], "file at start": logged["file"], "file now": now.strip()}

    def all_seen(self) -> dict[str, str]:
        """What a pod sees when it sees the current password everywhere."""
        return dict.fromkeys(("env", "file at start", "file now"), self.password)

    def wait_for_rollout(self) -> None:
        """Until the Deployment is rolled out and its former pods are gone."""
        wait_for_rollout(self.environment.cluster, NAMESPACE, DEPLOYMENT, SELECTOR)

    def operator_pod(self) -> str:
        """The name of the operator's pod."""
        selector = "app.kubernetes.io/name=syncret"
        (pod,) = pods(self.environment.cluster, OPERATOR_NAMESPACE, selector)
        name: str = pod["metadata"]["name"]
        return name

    def operator_logs(self) -> str:
        return self.environment.cluster.kubectl(
            "logs", "-n", OPERATOR_NAMESPACE, self.operator_pod(), timeout=60
        )

    def replace_operator(self) -> None:
        """Deletes the operator's pod and waits until its successor is Ready."""
        former = self.operator_pod()
        self.environment.cluster.kubectl("delete", "pod", "-n", OPERATOR_NAMESPACE, former)
        self._wait_for_operator()
        assert self.operator_pod() != former

    def metrics(self) -> dict[str, float]:
        """The operator's metrics page: the sums of its series, by name of the sample."""
        path = (
            f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{self.operator_pod()}:8080/proxy/metrics"
        )
        page = self.environment.cluster.kubectl("get", "--raw", path)
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return sums

    def everything_but_secrets(self) -> str:
        """What the cluster and the operator tell about the shop, the Secrets left out."""
        kubectl = self.environment.cluster.kubectl
        kinds = "externalsecrets,secretstores,deployments,replicasets,pods,events,configmaps"
        return "\n".join(
            (
                kubectl("get", kinds, "-n", NAMESPACE, "-o", "json"),
                kubectl("get", "pods,events,configmaps", "-n", OPERATOR_NAMESPACE, "-o", "json"),
                self.operator_logs(),
            )
        )

    def situation(self) -> str:
        """What a person would look at first when something is not as it should be."""
        questions = (
            ("get", "pods,externalsecrets,secretstores", "-A", "-o", "wide"),
            ("get", "events", "-A"),
            ("logs", "-n", OPERATOR_NAMESPACE, "deployment/syncret", "--tail=200"),
        )
        answers = []
        for question in questions:
            try:
                answers.append(self.environment.cluster.kubectl(*question))
            except CommandError as error:
                answers.append(str(error))
        return "\n".join(answers)

    def _install_operator(self) -> None:
        image = self.environment.operator_image
        repository, _, tag = image.rpartition(":")
        values = {
            "image.repository": repository,
            "image.tag": tag,
            "image.pullPolicy": "Never",
            "log.level": "debug",
            "dnsPolicy": self.environment.dns_policy,
        }
        self.environment.cluster.helm(
            *("install", "syncret", str(REPOSITORY / "helm" / "syncret")),
            *("--namespace", OPERATOR_NAMESPACE),
            *(f"--set={name}={value}" for name, value in values.items()),
        )
        self._wait_for_operator()

    def _wait_for_operator(self) -> None:
        self.environment.cluster.kubectl(
            *("rollout", "status", "-n", OPERATOR_NAMESPACE, "deployment/syncret"),
            f"--timeout={_TIMEOUT:.0f}s",
            timeout=_TIMEOUT + 10,
        )


def _namespace(name: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": _RESTRICTED}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _credentials() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "aws", "namespace": NAMESPACE},
        "stringData": {"id": ACCESS_KEY, "key": SECRET_KEY},
    }


def _store(endpoint: str) -> dict[str, Any]:
    keys = {
        "accessKeyIDSecretRef": {"name": "aws", "key": "id"},
        "secretAccessKeySecretRef": {"name": "aws", "key": "key"},
    }
    aws = {
        "service": "SecretsManager",
        "region": REGION,
        "endpoint": endpoint,
        "auth": {"secretRef": keys},
    }
    return {
        "apiVersion": "syncret.io/v1alpha1",
        "kind": "SecretStore",
        "metadata": {"name": "aws", "namespace": NAMESPACE},
        "spec": {"provider": {"aws": aws}},
    }


def _external_secret() -> dict[str, Any]:
    reference = {"key": DatabaseSecret.NAME, "property": "password"}
    return {
        "apiVersion": "syncret.io/v1alpha1",
        "kind": "ExternalSecret",
        "metadata": {"name": SECRET, "namespace": NAMESPACE},
        "spec": {
            "refreshInterval": "2s",
            "secretStoreRef": {"name": "aws"},
            "data": [{"secretKey": "password", "remoteRef": reference}],
        },
    }


def _deployment(environment: Environment) -> dict[str, Any]:
    """Two pods that read the password as environment and as a file, and say so at their start.

    They serve something else, and go on for a moment when they are to end: until everybody knows.
    """
    program = (
        'echo "env=$PASSWORD"',
        f'echo "file=$(cat {_FILE})"',
        "echo open > /srv/index.html",
        f"exec httpd -f -p {PORT} -h /srv",
    )
    container = {
        "name": "api",
        "image": environment.busybox_image,
        "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", "; ".join(program)],
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "2"]}}},
        "ports": [{"containerPort": PORT}],
        "env": [
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "password"}}}
        ],
        "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "database", "mountPath": _FILE.rpartition("/")[0]},
            {"name": "page", "mountPath": "/srv"},
        ],
    }
    pod = {
        "metadata": {"labels": {"app": DEPLOYMENT}},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [container],
            "dnsPolicy": environment.dns_policy,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": 4,
            "volumes": [
                {"name": "database", "secret": {"secretName": SECRET}},
                {"name": "page", "emptyDir": {}},
            ],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DEPLOYMENT, "namespace": NAMESPACE},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": DEPLOYMENT}},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": pod,
        },
    }


def _service() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": DEPLOYMENT, "namespace": NAMESPACE},
        "spec": {"selector": {"app": DEPLOYMENT}, "ports": [{"port": PORT}]},
    }
