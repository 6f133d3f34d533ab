"""The chart as its users meet it: rendered, judged by a real API server, upgraded and removed."""

import json
import re
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from testbed.binaries import CONTROL_PLANE, ensure
from testbed.cluster import Cluster, CommandError
from testbed.controlplane import ControlPlane
from testbed.progress import Progress

CHART: Final = Path(__file__).resolve().parents[2] / "helm" / "syncret"
NAMESPACE: Final = "syncret"
_DELETED: Final = 120.0
CRDS: Final = {
    f"{plural}.syncret.io"
    for plural in (
        "clusterexternalsecrets",
        "clustergenerators",
        "clustersecretstores",
        "externalsecrets",
        "generators",
        "secretstores",
    )
}
_ROLE: Final = "arn:aws:iam::111122223333:role/"
_IDENTITY: Final = r"serviceAccount.annotations.eks\.amazonaws\.com/role-arn"

#: Values that together use every branch of the templates, by what they are about.
VALUES: Final[Mapping[str, Mapping[str, Any]]] = {
    "the defaults": {},
    "everything that can be added": {
        "image": {
            "repository": "registry.example.com:5000/team/syncret",
            "digest": "sha256:" + "0" * 64,
        },
        "imagePullSecrets": [{"name": "registry"}],
        "log": {"level": "debug", "format": "console"},
        "controllerClass": "blue",
        "secretStores": {"ambientCredentials": True},
        "fileStores": {"roots": ["/secrets-in", "/more"]},
        "webhooks": {"hosts": ["*.example.com", "http://[::1]:8080", "10.96.0.0/12"]},
        "metrics": {"service": {"annotations": {"a": "b"}, "labels": {"c": "d"}}},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": f"{_ROLE}syncret"}},
        "podAnnotations": {"example.com/team": "shop"},
        "podLabels": {"example.com/team": "shop"},
        "deploymentAnnotations": {"example.com/team": "shop"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 1,
                        "preference": {"matchExpressions": [{"key": "z", "operator": "Exists"}]},
                    }
                ]
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "syncret"}},
            }
        ],
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "events": {
            "sources": [
                {"name": "aws", "sqs": {"queueURL": "https://sqs/1/q", "region": "eu-central-1"}},
                {"name": "ci", "hook": {"secretFile": "/etc/hook/key"}},
            ],
            "hooks": {"service": {"enabled": True, "annotations": {"a": "b"}}},
        },
        "extraArgs": ["--retry-cap=10m"],
        "extraEnv": [{"name": "AWS_REGION", "value": "eu-central-1"}],
        "extraEnvFrom": [{"secretRef": {"name": "aws"}}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
    },
    "nothing that can be left out": {
        "replicas": 0,
        "crds": {"install": False},
        "metrics": {"service": {"enabled": False}},
        "serviceAccount": {"create": False, "name": "default"},
        "rbac": {"create": False, "aggregateToView": False, "aggregateToEdit": False},
        "resources": None,
    },
    "three replicas with a shard each": {"replicas": 3, "shards": 3, "leaseDuration": "10s"},
    "long names and IPv6": {
        "fullnameOverride": "a" * 63,
        "nameOverride": "b" * 63,
        "http": {"address": "::", "port": 9090},
    },
    "ids chosen by OpenShift": {
        "podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    },
}

#: What a person may mistype, and the words that tell him.
NONSENSE: Final = {
    "replica=1": "'replica' not allowed",
    "image.tagg=1.0": "at '/image': additional properties 'tagg' not allowed",
    "image=syncret": "at '/image': got string, want object",
    "image.digest=sha256:12": "at '/image/digest'",
    "replicas=-1": "at '/replicas': minimum",
    "shards=0": "at '/shards': minimum",
    "leaseDuration=15": "at '/leaseDuration': got number, want string",
    "workers=0": "at '/workers': minimum",
    "controllerClass=a class": "at '/controllerClass'",
    "log.level=verbose": "at '/log/level': value must be one of 'debug'",
    "http.port=70000": "at '/http/port': maximum",
    "crds.keep=maybe": "at '/crds/keep': got string, want boolean",
    "crds.keep=null": "at '/crds': missing property 'keep'",
    "livenessProbe.period=1": "at '/livenessProbe': additional properties 'period' not allowed",
    "podAnnotations.a=1": "at '/podAnnotations/a': got number, want string",
    "extraEnv={AWS_REGION}": "at '/extraEnv/0': got string, want object",
    "serviceAccount.create=false": "serviceAccount.name: name the ServiceAccount to use",
    "metrics.serviceMonitor.enabled=true,metrics.service.enabled=false": (
        "metrics.serviceMonitor.enabled: set metrics.service.enabled as well"
    ),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane of our own: what is in it are the releases of this file, and no CRDs."""
    tools = ensure(CONTROL_PLANE, progress=Progress())
    folder = tmp_path_factory.mktemp("chart")
    plane = ControlPlane.start(folder / "plane", binaries=tools)
    try:
        cluster = Cluster(
            kind="built",
            description="a control plane without nodes",
            kubeconfig=plane.kubeconfig,
            directory=folder,
            tools=tools,
            real_pods=False,
        )
        cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": NAMESPACE,
                    # What a pod template violates is told as a warning where it is applied.
                    "labels": {"pod-security.kubernetes.io/warn": "restricted"},
                },
            }
        )
        yield cluster
    finally:
        plane.stop()


@pytest.fixture
def release(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster without a release. CRDs of an earlier one may be there, as Helm keeps them."""
    # An API server that has served a CRD for a moment only may need a minute to delete it.
    deadline = time.monotonic() + _DELETED
    while ending := [crd for crd in crds(cluster) if "deletionTimestamp" in crd["metadata"]]:
        assert time.monotonic() < deadline, ending
        time.sleep(0.2)
    yield cluster
    if cluster.helm("list", "-n", NAMESPACE, "-q").strip():
        cluster.helm("uninstall", "syncret", "-n", NAMESPACE)


def render(cluster: Cluster, *arguments: str) -> str:
    return cluster.helm("template", "syncret", str(CHART), "--namespace", NAMESPACE, *arguments)


def upgrade(cluster: Cluster, *arguments: str) -> str:
    """Installs or upgrades the release; returns what Helm tells the person who does it."""
    return cluster.helm(
        *("upgrade", "--install", "syncret", str(CHART), "--namespace", NAMESPACE, *arguments)
    )


def crds(cluster: Cluster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cluster.kubectl("get", "crd", "-o", "json"))["items"]
    return found


def names(bodies: list[dict[str, Any]]) -> set[str]:
    return {body["metadata"]["name"] for body in bodies}


def deployment(cluster: Cluster) -> dict[str, Any]:
    body = cluster.get("deployment", "syncret", NAMESPACE)
    assert body is not None
    return body


def keep_an_external_secret(cluster: Cluster) -> None:
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all")
    reference = {"key": "production/database", "property": "password"}
    cluster.apply(
        {
            "apiVersion": "syncret.io/v1alpha1",
            "kind": "ExternalSecret",
            "metadata": {"name": "database", "namespace": "default"},
            "spec": {
                "refreshInterval": "1m",
                "secretStoreRef": {"name": "aws"},
                "data": [{"secretKey": "password", "remoteRef": reference}],
            },
        }
    )


def test_helm_finds_nothing_to_criticize(cluster: Cluster) -> None:
    cluster.helm("lint", "--strict", str(CHART))


@pytest.mark.parametrize("about", VALUES)
def test_the_api_server_accepts_what_is_rendered(
    cluster: Cluster, tmp_path: Path, about: str
) -> None:
    file = tmp_path / "values.json"
    file.write_text(json.dumps(VALUES[about]))
    rendered = render(cluster, "--values", str(file))
    assert "Deployment" in rendered
    # Field validation is strict, and a warning is an error: of the Pod Security level, for example.
    cluster.kubectl(
        *("apply", "--dry-run=server", "--warnings-as-errors", "-n", NAMESPACE, "-f", "-"),
        stdin=rendered,
    )


def test_a_pod_of_the_host_s_network_is_said_to_violate_the_level(cluster: Cluster) -> None:
    """The test above would see a violation."""
    rendered = render(cluster, "--set", "hostNetwork=true,crds.install=false")
    with pytest.raises(CommandError, match="warning"):
        cluster.kubectl(
            *("apply", "--dry-run=server", "--warnings-as-errors", "-n", NAMESPACE, "-f", "-"),
            stdin=rendered,
        )


def test_several_replicas_are_spread_and_go_one_at_a_time(cluster: Cluster) -> None:
    def kinds(*values: str) -> dict[str, dict[str, Any]]:
        bodies = yaml.safe_load_all(render(cluster, "--set", ",".join(values)))
        return {body["kind"]: body["spec"] for body in bodies if "spec" in body}

    one, two = kinds("replicas=1"), kinds("replicas=2", "shards=2", "leaseDuration=9s")
    pod = two["Deployment"]["template"]
    (spread,) = pod["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert two["PodDisruptionBudget"]["selector"] == two["Deployment"]["selector"]
    (container,) = pod["spec"]["containers"]
    assert {"--shards=2", "--lease-duration=9s", "--shutdown-grace=20s"} <= {*container["args"]}
    assert "PodDisruptionBudget" not in one
    assert "topologySpreadConstraints" not in one["Deployment"]["template"]["spec"]
    off = kinds("replicas=2", "podDisruptionBudget.enabled=false")
    assert "PodDisruptionBudget" not in off


def test_the_monitor_finds_the_service(cluster: Cluster) -> None:
    bodies = list(
        yaml.safe_load_all(render(cluster, "--set", "metrics.serviceMonitor.enabled=true"))
    )
    monitor, service = (
        next(body for body in bodies if body["kind"] == kind)
        for kind in ("ServiceMonitor", "Service")
    )
    wanted = monitor["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} == ports


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_is_refused_with_the_name_of_the_value(cluster: Cluster, value: str) -> None:
    with pytest.raises(CommandError, match=re.escape(NONSENSE[value])):
        render(cluster, "--set", value)


def test_a_value_without_a_value_is_refused_or_left_out(cluster: Cluster) -> None:
    """``null`` takes a default away: the rest must be whole, or the message must name the value."""
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    rendered: dict[str, list[str]] = {}
    refused: dict[str, str] = {}
    for path in _paths(values):
        try:
            text = render(cluster, "--set", f"{path}=null", "--show-only=templates/deployment.yaml")
        except CommandError as error:
            refused[path] = str(error)
        else:
            rendered[path] = list(_holes(yaml.safe_load(text)))
    assert len(rendered) > 10
    assert len(refused) > 10
    assert {path: holes for path, holes in rendered.items() if holes} == {}
    unclear = {
        path
        for path, said in refused.items()
        if f"missing property '{path.rpartition('.')[2]}'" not in said
    }
    assert unclear == set()


def test_the_package_has_the_crds(cluster: Cluster, tmp_path: Path) -> None:
    """files/crds is a symbolic link."""
    cluster.helm("package", str(CHART), "--destination", str(tmp_path))
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        packed = {Path(name).name for name in archive.getnames() if "/files/crds/" in name}
    assert packed == {file.name for file in (CHART / "files" / "crds").glob("*.yaml")} != set()


def test_an_upgrade_that_changes_nothing_restarts_nothing(release: Cluster) -> None:
    upgrade(release)
    before = deployment(release)
    told = upgrade(release, "--reset-then-reuse-values")
    assert "rollout status deployment/syncret" in told
    assert deployment(release)["metadata"]["generation"] == before["metadata"]["generation"]


def test_another_identity_makes_another_pod(release: Cluster) -> None:
    """A cloud's webhook gives a pod its identity when the pod is made."""
    upgrade(release)
    templates = [deployment(release)["spec"]["template"]]
    for role in ("syncret", "syncret-2"):
        upgrade(release, "--reset-then-reuse-values", "--set", f"{_IDENTITY}={_ROLE}{role}")
        templates.append(deployment(release)["spec"]["template"])
    account = release.get("serviceaccount", "syncret", NAMESPACE)
    assert account is not None
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] == f"{_ROLE}syncret-2"
    assert templates[0] != templates[1] != templates[2]


def test_crds_and_objects_outlive_the_release_and_are_taken_over_by_the_next(
    release: Cluster,
) -> None:
    assert "crds.keep is false" not in upgrade(release)
    keep_an_external_secret(release)
    said = release.helm("uninstall", "syncret", "-n", NAMESPACE)
    assert "externalsecrets.syncret.io" in said
    assert names(crds(release)) == CRDS
    assert not release.get("deployment", "syncret", NAMESPACE)

    upgrade(release)
    assert release.get("externalsecret", "database", "default")
    upgrade(release, "--set", "crds.install=false")
    assert names(crds(release)) == CRDS
    assert release.get("externalsecret", "database", "default")


def test_crds_of_no_release_are_taken_over_only_when_asked_for(release: Cluster) -> None:
    upgrade(release)
    keep_an_external_secret(release)
    release.helm("uninstall", "syncret", "-n", NAMESPACE)
    release.kubectl("label", "crd", "--all", "app.kubernetes.io/managed-by-")
    with pytest.raises(CommandError, match="invalid ownership metadata"):
        upgrade(release)
    upgrade(release, "--take-ownership")
    assert release.get("externalsecret", "database", "default")


def test_crds_that_are_not_to_be_kept_go_with_the_release_and_its_notes_say_so(
    release: Cluster,
) -> None:
    assert "deletes every\nExternalSecret" in upgrade(release, "--set", "crds.keep=false")
    assert names(crds(release)) == CRDS
    release.helm("uninstall", "syncret", "-n", NAMESPACE)
    assert [crd for crd in crds(release) if "deletionTimestamp" not in crd["metadata"]] == []


def _paths(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{name}.")


def _holes(body: Any, path: str = "") -> Iterator[str]:
    """Where something was to be put and is not."""
    match body:
        case dict():
            for name, value in body.items():
                yield from _holes(value, f"{path}/{name}")
        case list():
            for number, value in enumerate(body):
                yield from _holes(value, f"{path}/{number}")
        case None:
            yield path
        case str() if body == "" or body.endswith(("=", ":", "@")) or body.startswith(":"):
            yield f"{path}: {body}"
        case _:
            pass
