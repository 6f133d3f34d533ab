"""``syncret rotate`` and ``syncret incident``, on a real control plane with pods that roll."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.proxy import Action, Change, Proxy, Reply, Request
from integration.manifests import cluster_store, entry, env, workload
from integration.world import World, Worlds, wait_until
from syncret.constants import ROTATE_ANNOTATION
from testbed.moto import Moto
from testbed.operator import Operator


class RotationFunction(Proxy):
    """AWS, with what moto has not: a rotation function, which takes ``seconds``."""

    seconds = 1.0
    denied = False

    def __init__(self, moto: Moto) -> None:
        super().__init__(moto.endpoint)
        self._aws = moto.client("secretsmanager")
        self.tokens: list[str] = []

    def decide(self, request: Request) -> Action:
        if not request.headers.get("X-Amz-Target", "").endswith(".RotateSecret"):
            return Change()
        if self.denied:
            return Reply(400, b'{"__type": "AccessDeniedException", "Message": "no"}')
        asked = request.json
        token = asked["ClientRequestToken"]
        if token not in self.tokens:  # as AWS: the same token is the same rotation
            threading.Timer(self.seconds, self._rotate, (asked["SecretId"], token)).start()
        self.tokens.append(token)
        answer = {"ARN": "arn", "Name": asked["SecretId"], "VersionId": token}
        return Reply(200, json.dumps(answer).encode())

    def _rotate(self, name: str, token: str) -> None:
        value = json.dumps({"password": f"rotated-{len(self.tokens)}", "user": "shop"})
        self._aws.put_secret_value(SecretId=name, SecretString=value, ClientRequestToken=token)


@pytest.fixture
def aws(moto: Moto) -> Iterator[RotationFunction]:
    proxy = RotationFunction(moto)
    yield proxy
    proxy.close()


@pytest.fixture
def shop(worlds: Worlds, operator: Operator, aws: RotationFunction) -> Iterator[World]:
    world = worlds.new("shop", endpoint=aws.url)
    world.operator = operator
    yield world
    world.clear()


def syncret(
    world: World, *arguments: str, kubeconfig: str = ""
) -> subprocess.CompletedProcess[str]:
    config = kubeconfig or world.operator.cluster.kubeconfig
    return subprocess.run(
        [sys.executable, "-m", "syncret", *arguments, f"--kubeconfig={config}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def parsed(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


def limited(world: World, folder: Path, *rules: dict[str, list[str]]) -> str:
    """A kubeconfig of somebody who may do that in the namespace, and nothing else."""
    meta, rbac = {"name": "someone", "namespace": world.namespace}, "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", **meta}
    world.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": list(rules)},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "someone"},
            "subjects": [subject],
        },
    )
    path = f"/api/v1/namespaces/{world.namespace}/serviceaccounts/someone/token"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = world.api.request("POST", path, asked, "application/json")["status"]["token"]
    config = yaml.safe_load(Path(world.operator.cluster.kubeconfig).read_text())
    config["users"] = [{"name": one["name"], "user": {"token": token}} for one in config["users"]]
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return str(file)


def test_who_may_not_see_everything_is_told_so_in_words_for_a_person(
    world: World, tmp_path: Path
) -> None:
    world.put("db", "first")
    world.external_secret(data=[entry("k", world.key("db"))], interval="1h")
    world.workload("web", container=env("app", "k"))
    world.wait_ready()
    where = ("incident", "--store=aws", "-n", world.namespace, "--key", world.key("db"))
    config = limited(world, tmp_path)
    refused = syncret(world, *where, kubeconfig=config)
    assert refused.returncode == 1
    assert (
        f'You may not list externalsecrets in namespace "{world.namespace}": have the verb "list" '
        'on "externalsecrets.syncret.io" granted to you.'
    ) in refused.stderr
    assert syncret(world, "rotate", "app", *where[2:4], kubeconfig=config).returncode == 1

    config = limited(
        world,
        tmp_path,
        {
            "apiGroups": ["syncret.io"],
            "resources": ["externalsecrets", "secretstores"],
            "verbs": ["list"],
        },
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list"]},
    )
    told: list[str] = []

    def seen() -> bool:
        told[:] = [syncret(world, *where, kubeconfig=config).stdout]
        return "Deployment web reads k" in told[0]

    world.wait(seen, "the rights are given")
    assert "at least 0 pods with the old value: not all of the" in told[0]
    assert "Not seen: You may not list pods in namespace" in told[0]
    assert "secretstores" not in told[0], "no more is asked for than is needed"
    assert "The operator" not in told[0]
    done = syncret(world, *where, "--rotate", kubeconfig=config)
    assert done.returncode == 1
    assert "You may not patch externalsecrets" in done.stderr


def running(world: World, count: int) -> None:
    def there() -> bool:
        pods = world.api.list("Pod", world.namespace)
        return len(pods) == count and all(p["status"].get("phase") == "Running" for p in pods)

    world.wait(there, f"{count} pods run")


def test_rotate_follows_to_the_last_pod(shop: World, aws: RotationFunction) -> None:
    shop.put("db", {"password": "first", "user": "shop"})
    shop.external_secret(data=[entry("password", shop.key("db"), "password")], interval="1h")
    shop.wait_data({"password": b"first"})
    shop.workload("web", container=env("app", "password"))
    running(shop, 1)
    shop.wait_ready()

    done = syncret(shop, "rotate", "app", "-n", shop.namespace, "--output=json", "--timeout=90s")
    report = parsed(done)
    assert (done.returncode, report["outcome"]) == (0, "done"), done.stderr
    assert shop.data() == {"password": b"rotated-1"}
    assert len(aws.tokens) == 1
    told = [step["what"] for step in report["timeline"]]
    wanted = ["asked to rotate", "the store was asked", "the store has rotated", "the Secret was"]
    wanted += ["restart begun", "restarted and available"]
    found = [[n for n, what in enumerate(told) if what.startswith(one)] for one in wanted]
    assert all(found), told
    places = [numbers[0] for numbers in found]
    assert sorted(places[:2]) == places[:2], told
    assert sorted(places[3:]) == places[3:], told
    assert report["leftOver"] == []
    assert shop.status()["rotate"]["state"] == "Done"
    assert shop.generation("web") == 2

    aws.denied = True
    done = syncret(shop, "rotate", "app", "-n", shop.namespace, "--timeout=60s")
    assert done.returncode == 1
    assert "allow secretsmanager:RotateSecret on this secret" in done.stdout
    assert any(reason == "NotRotated" for _, reason, _ in shop.events())
    assert shop.data() == {"password": b"rotated-1"}

    assert syncret(shop, "rotate", "none", "-n", shop.namespace).returncode == 1
    assert syncret(shop, "rotate", "app", "--timeout=x").returncode == 2


def test_a_consumer_that_does_not_start_ends_it_and_names_who_is_left(
    shop: World, aws: RotationFunction
) -> None:
    shop.put("db", {"password": "first"})
    shop.external_secret(data=[entry("password", shop.key("db"), "password")], interval="1h")
    shop.wait_data({"password": b"first"})
    broken = workload(shop.namespace, "a", container=env("app", "password"))
    broken["spec"]["progressDeadlineSeconds"] = 3
    broken["spec"]["template"]["metadata"]["labels"]["testbed/breaks"] = "true"
    shop.apply(broken)
    shop.workload("b", container=env("app", "password"))
    running(shop, 2)
    shop.wait_ready()
    where = ("incident", "--store=aws", "-n", shop.namespace, "--key", shop.key("db"))

    done = syncret(shop, *where, "--rotate", "--output=json", "--timeout=90s")
    report = parsed(done)["rotation"]
    assert (done.returncode, report["outcome"]) == (1, "failed"), done.stderr
    assert 'Deployment "a" was restarted and did not become healthy' in report["reason"]
    assert report["seconds"] < 60, "it does not wait for what does not come"
    left = [f"Deployment {shop.namespace}/{name}" for name in "ab"]
    assert report["leftOver"] == left
    assert "the rollout has stopped" in done.stderr
    assert "not rolled out: Deployment" in syncret(shop, *where).stdout


def test_ctrl_c_prints_what_is_known_and_stops_nothing(shop: World, aws: RotationFunction) -> None:
    shop.put("db", {"password": "first"})
    for name in ("app", "other"):
        data = [entry("password", shop.key("db"), "password")]
        shop.external_secret(name, data=data, interval="1h")
        shop.wait_ready(name)
    aws.seconds = 5.0
    config = f"--kubeconfig={shop.operator.cluster.kubeconfig}"
    where = ("--store=aws", "-n", shop.namespace, "--key", shop.key("db"))
    command = (sys.executable, "-m", "syncret", "incident", *where, "--rotate", "-ojson", config)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        shop.wait(lambda: aws.tokens, "the store is asked")
        child.send_signal(signal.SIGINT)
        told = json.loads(child.communicate(timeout=60)[0])["rotation"]
    assert child.returncode == 130
    assert told["outcome"] == "interrupted"
    assert told["timeline"][0]["what"] == "asked to rotate"
    assert told["notAsked"] == [f"{shop.namespace}/other"]
    shop.wait_data({"password": b"rotated-1"})


def test_an_operator_that_dies_after_the_request_rotates_once(
    shop: World, aws: RotationFunction
) -> None:
    shop.put("db", {"password": "first"})
    shop.external_secret(data=[entry("password", shop.key("db"), "password")], interval="1h")
    shop.wait_data({"password": b"first"})
    aws.seconds = 3.0
    value = {ROTATE_ANNOTATION: f"by-hand:{shop.key('db')}"}
    shop.patch("ExternalSecret", "app", {"metadata": {"annotations": value}})
    wait_until(lambda: aws.tokens, "the store is asked", tell=str)
    shop.operator.kill()
    shop.operator.start()
    shop.wait(lambda: b"rotated" in (shop.data() or {})["password"], "it is rotated")
    shop.wait(lambda: shop.status().get("rotate", {}).get("state") == "Done", "it is done")
    assert len(set(aws.tokens)) == 1, "the same wish has the same token"

    value = {ROTATE_ANNOTATION: "1:not/read"}
    shop.patch("ExternalSecret", "app", {"metadata": {"annotations": value}})
    shop.wait(lambda: shop.status()["rotate"]["state"] == "Failed", "what is not read is refused")
    assert "not read here" in shop.status()["rotate"]["message"]


def test_incident_tells_who_consumes_a_secret_and_rotates_it_everywhere(
    worlds: Worlds, operator: Operator, aws: RotationFunction
) -> None:
    shops = [worlds.new("incident", endpoint=aws.url) for _ in range(2)]
    first, second = shops
    for world in shops:
        world.operator = operator
    name = f"{first.namespace}-aws"
    spaces = [one.namespace for one in shops]
    first.apply(cluster_store(name, aws.url, credentials_in=first.namespace, namespaces=spaces))
    first.put("db", {"password": "first", "user": "shop"})
    key = first.key("db")
    arn = str(first.aws.describe_secret(SecretId=key)["ARN"])
    store = {"name": name, "kind": "ClusterSecretStore"}
    for world, named in ((first, key), (second, arn[:-7])):
        data = [entry("password", named, "password"), entry("user", named, "user")]
        world.external_secret(data=data, interval="1h", secretStoreRef=store)
        world.external_secret("other", data=[entry("x", first.key("x"))], interval="1h")
        world.wait_data({"password": b"first", "user": b"shop"})
        world.workload("web", container=env("app", "password"))
        world.workload("unrelated", container=env("other", "x"))
    for world in shops:
        world.wait(
            lambda world=world: all(  # type: ignore[misc]
                world.get("Deployment", "web").get("status", {}).get("availableReplicas")
                for _ in [0]
            ),
            "web is available",
        )
    where = ("--store", f"ClusterSecretStore/{name}", "--key", arn)
    before = first.version("ExternalSecret", "app")
    told = parsed(syncret(first, "incident", *where, "--output=json"))
    assert first.version("ExternalSecret", "app") == before, "it only looks"
    assert [(one["namespace"], one["name"]) for one in told["externalSecrets"]] == [
        (world.namespace, "app") for world in shops
    ]
    for one in told["externalSecrets"]:
        assert [(c["kind"], c["name"], c["keys"]) for c in one["consumers"]] == [
            ("Deployment", "web", ["password"])
        ]
    assert told["podsWithOldValue"] == 0

    started = time.monotonic()
    done = syncret(first, "incident", *where, "--rotate", "--output=json", "--timeout=100s")
    report = parsed(done)
    assert done.returncode == 0, done.stderr + done.stdout
    print(f"incident: {time.monotonic() - started:.1f} s")
    for world in shops:
        assert world.data() == {"password": b"rotated-1", "user": b"shop"}
        assert world.generation("web") == 2
        assert world.generation("unrelated") == 1
    assert len(aws.tokens) == 1
    assert report["rotation"]["outcome"] == "done"
    assert report["podsWithOldValue"] == 0
    assert "first" not in done.stdout
    assert "rotated-1" not in done.stdout + done.stderr

    text = syncret(second, "incident", *where, "-n", second.namespace)
    assert f"ExternalSecret {second.namespace}/app (in sync)" in text.stdout
    assert first.namespace + "/app" not in text.stdout
    assert syncret(first, "incident", "--store", "aws", "--key", "x").returncode == 1
    assert syncret(first, "incident", "--store", "SecretStore/aws", "--key", "x").returncode == 2
    nobody = syncret(first, "incident", "--store", name, "--key", "nobody")
    assert "Nobody reads it through this store" in nobody.stdout
    for world in shops:
        world.clear()
