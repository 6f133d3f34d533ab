"""Vault with Kubernetes auth, from zero: a ServiceAccount of the namespace is all that it takes.

Vault has the API server review each token, as it does in a cluster; the chart's rights make them.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from contract.proxy import Proxy
from integration import manifests
from integration.manifests import entry, remote
from integration.world import World, Worlds
from testbed.cluster import Cluster
from testbed.processes import Processes
from testbed.vault import KUBERNETES_PLUGIN, Vault

POLICY = """
path "secret/data/{{identity.entity.aliases.MOUNT.metadata.service_account_namespace}}/*" {
  capabilities = ["read"]
}
"""


@pytest.fixture(scope="module")
def vault(cluster: Cluster, installed: Cluster, processes: Processes) -> Iterator[Vault]:
    """Vault that trusts the cluster: each ServiceAccount may read what is under its namespace."""
    reviewer = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "vault", "namespace": "default"},
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "vault-reviews-tokens"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "system:auth-delegator",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "vault", "namespace": "default"}],
    }
    cluster.apply(reviewer, binding)
    vault = Vault(processes)
    vault.enable(KUBERNETES_PLUGIN, "kubernetes")
    config = json.loads(
        cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json")
    )
    authority = config["clusters"][0]["cluster"]["certificate-authority-data"]
    vault.call(
        "POST",
        "auth/kubernetes/config",
        {
            "kubernetes_host": cluster.server,
            "kubernetes_ca_cert": base64.b64decode(authority).decode(),
            "token_reviewer_jwt": cluster.kubectl(
                "create", "token", "vault", "--namespace=default"
            ).strip(),
        },
    )
    accessor = vault.call("GET", "sys/auth")["data"]["kubernetes/"]["accessor"]
    vault.policy("own-namespace", POLICY.replace("MOUNT", accessor))
    role = {
        "bound_service_account_names": ["app"],
        "bound_service_account_namespaces": ["*"],
        "audience": "vault",
        "token_policies": ["own-namespace"],
        "token_ttl": "1h",
    }
    vault.call("POST", "auth/kubernetes/role/app", role)
    yield vault
    vault.stop()
    cluster.kubectl("delete", "clusterrolebinding", "vault-reviews-tokens")
    cluster.kubectl("delete", "serviceaccount", "vault", "--namespace=default")


@pytest.fixture
def way(vault: Vault) -> Iterator[Proxy]:
    """What is asked of Vault."""
    proxy = Proxy(vault.address)
    yield proxy
    proxy.close()


def store(world: World, way: Proxy, account: str = "app", **auth: Any) -> dict[str, Any]:
    kubernetes = {"role": "app", "serviceAccountRef": {"name": account}, **auth}
    return {
        "apiVersion": manifests.API,
        "kind": "SecretStore",
        "metadata": {"name": "vault", "namespace": world.namespace},
        "spec": {
            "provider": {
                "vault": {"server": way.url, "path": "secret", "auth": {"kubernetes": kubernetes}}
            }
        },
    }


def account(world: World, name: str = "app") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": world.namespace},
    }


def put(vault: Vault, world: World, name: str, **fields: Any) -> None:
    vault.call("POST", f"secret/data/{world.namespace}/{name}", {"data": fields})


def logins(way: Proxy) -> int:
    return sum(one.path == "/v1/auth/kubernetes/login" for one in way.requests)


def test_a_service_account_reads_its_namespaces_secrets(
    vault: Vault, way: Proxy, world: World
) -> None:
    password = uuid4().hex
    put(vault, world, "db", username="app", password=password)
    world.apply(account(world), store(world, way))
    key = f"{world.namespace}/db"
    world.external_secret(
        store="vault", data=[entry("PASSWORD", key, "password")], extract=[remote(key)]
    )
    world.wait_ready()
    secret = password.encode()
    assert world.data() == {"username": b"app", "password": secret, "PASSWORD": secret}
    (source,) = world.status()["sources"]
    assert (source["key"], source["version"]) == (key, "1")
    world.wait(
        lambda: world.ready("vault", "SecretStore").get("status") == "True", "the store is Ready"
    )

    renewed = uuid4().hex
    put(vault, world, "db", username="app", password=renewed)
    secret = renewed.encode()
    world.wait_data({"username": b"app", "password": secret, "PASSWORD": secret})
    world.wait_refreshes(count=3)
    assert logins(way) == 1, "refreshes are no logins"
    operator = world.operator.log
    assert password not in operator
    assert renewed not in operator


def test_what_vault_does_not_give_is_told(
    vault: Vault, way: Proxy, world: World, worlds: Worlds
) -> None:
    other = worlds.new("other")
    put(vault, other, "db", password="x")
    world.apply(account(world), account(world, "stranger"), store(world, way))
    world.external_secret(store="vault", data=[entry("password", f"{other.namespace}/db")])
    denied = world.wait_ready(status="False", reason="AccessDenied")
    rule = f'path "secret/data/{other.namespace}/db" {{ capabilities = ["read"] }}'
    assert rule in denied["message"]

    def store_says(words: str) -> bool:
        return words in world.ready("vault", "SecretStore").get("message", "")

    world.apply(store(world, way, "stranger"))
    world.wait(
        lambda: store_says("refused the credentials of spec.provider.vault.auth.kubernetes"),
        "the role is not the stranger's",
    )
    world.apply(store(world, way, role="nobody"))
    world.wait(lambda: store_says("check that the role"), "there is no such role")
    world.apply(store(world, way, "nobody"))
    world.wait(lambda: store_says('The ServiceAccount "nobody"'), "there is no such account")
    other.clear()
