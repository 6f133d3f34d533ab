"""Stores without a cloud on a real cluster: kubernetes, file, webhook and fake."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from integration.audit import Audit
from integration.conftest import StartAlone
from integration.manifests import API
from integration.world import World, Worlds
from testbed.jsonapi import TOKEN, JsonApi

Body = dict[str, Any]


def store(world: World, name: str, provider: Mapping[str, Any]) -> Body:
    return {
        "apiVersion": API,
        "kind": "SecretStore",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"provider": dict(provider)},
    }


def cluster_store(world: World, provider: Mapping[str, Any], *, suffix: str = "") -> Body:
    """Named as the namespace that it is for."""
    return {
        "apiVersion": API,
        "kind": "ClusterSecretStore",
        "metadata": {"name": f"{world.namespace}{suffix}"},
        "spec": {
            "provider": dict(provider),
            "conditions": [{"namespaces": [world.namespace]}],
        },
    }


def secret(namespace: str, name: str, **values: str) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": values,
    }


def reader(world: World, name: str, *, of: str = "") -> list[Body]:
    """A ServiceAccount of the test's namespace, which may get the Secrets of another one."""
    group = "rbac.authorization.k8s.io"
    account = {"name": name, "namespace": world.namespace}
    bodies: list[Body] = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}]
    if of:
        rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
        meta = {"name": world.namespace, "namespace": of}
        role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": meta, "rules": [rule]}
        binding = {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": world.namespace},
            "subjects": [{"kind": "ServiceAccount", **account}],
        }
        bodies += [role, binding]
    return bodies


@pytest.fixture
def elsewhere(worlds: Worlds) -> Iterator[World]:
    """Another namespace, with Secrets that are read."""
    other = worlds.new()
    yield other
    other.clear()


def test_secrets_of_another_namespace_are_read_with_the_rights_of_an_account(
    world: World, elsewhere: World, audit: Audit
) -> None:
    mark = audit.mark()
    elsewhere.apply(secret(elsewhere.namespace, "database", user="shop", password="first"))
    world.apply(
        *reader(world, "reader", of=elsewhere.namespace),
        *reader(world, "nobody"),
        *(
            store(
                world,
                name,
                {
                    "kubernetes": {
                        "remoteNamespace": elsewhere.namespace,
                        "auth": {"serviceAccount": {"name": name}},
                    }
                },
            )
            for name in ("reader", "nobody")
        ),
    )
    world.external_secret(
        "app",
        secretStoreRef={"name": "reader"},
        refreshInterval="1s",
        data=[
            {"secretKey": "PASSWORD", "remoteRef": {"key": "database", "property": "password"}},
            {"secretKey": "USER", "remoteRef": {"key": "database/user"}},
        ],
    )
    world.external_secret(
        "denied",
        secretStoreRef={"name": "nobody"},
        data=[{"secretKey": "PASSWORD", "remoteRef": {"key": "database/password"}}],
    )
    world.wait_data({"PASSWORD": b"first", "USER": b"shop"})
    elsewhere.apply(secret(elsewhere.namespace, "database", user="shop", password="second"))
    world.wait_data({"PASSWORD": b"second", "USER": b"shop"})

    grant = (
        f'grant the verb "get" on the resource "secrets" in namespace "{elsewhere.namespace}" to '
        'the ServiceAccount "nobody"'
    )
    told = world.wait_ready("denied", status="False", reason="AccessDenied")
    assert grant in told["message"]
    world.wait(lambda: world.ready("nobody", "SecretStore"), "the store is told of")
    ready = world.ready("nobody", "SecretStore")
    assert (ready["status"], ready["reason"]) == ("False", "AccessDenied")
    assert grant in ready["message"]
    assert world.ready("reader", "SecretStore")["status"] == "True"
    assert world.data("denied") is None

    account = f"system:serviceaccount:{world.namespace}:reader"
    read = {("get", "database")}
    assert {(r.verb, r.name) for r in audit.requests(mark, user=account) if r.name} == read
    own = audit.requests(mark)
    assert not [r for r in own if (r.namespace, r.name) == (elsewhere.namespace, "database")]
    assert "eyJ" not in world.operator.log, "a token would begin so"


def test_a_cluster_store_reads_with_the_account_of_each_namespace(
    world: World, elsewhere: World
) -> None:
    """The grant is RBAC: an account of the same name in another namespace has none."""
    elsewhere.apply(secret(elsewhere.namespace, "database", password="first"))
    one = cluster_store(
        world,
        {
            "kubernetes": {
                "remoteNamespace": elsewhere.namespace,
                "auth": {"serviceAccount": {"name": "reader"}},
            }
        },
    )
    one["spec"]["conditions"] = [{"namespaces": [world.namespace, elsewhere.namespace]}]
    world.apply(*reader(world, "reader", of=elsewhere.namespace), one)
    elsewhere.apply(*reader(elsewhere, "reader"))
    for place in (world, elsewhere):
        place.external_secret(
            "app",
            secretStoreRef={"name": world.namespace, "kind": "ClusterSecretStore"},
            data=[{"secretKey": "PASSWORD", "remoteRef": {"key": "database/password"}}],
        )
    world.wait_data({"PASSWORD": b"first"})
    elsewhere.wait_ready(status="False", reason="AccessDenied")


def test_values_of_the_store_itself(world: World) -> None:
    entries = [{"key": "greeting", "value": "hello"}]
    world.apply(store(world, "demo", {"fake": {"data": entries}}))
    world.external_secret(
        "app",
        secretStoreRef={"name": "demo"},
        refreshInterval="1h",
        data=[{"secretKey": "greeting", "remoteRef": {"key": "greeting"}}],
    )
    world.wait_data({"greeting": b"hello"})
    entries.append({"key": "greeting", "value": "hello again"})
    world.apply(store(world, "demo", {"fake": {"data": [{**entries[1], "version": "2"}]}}))
    world.wait_data({"greeting": b"hello again"})


def test_files_are_read_where_the_administrator_allows_it(
    lonely_world: World, alone: StartAlone, tmp_path: Path
) -> None:
    world = lonely_world
    (tmp_path / "in").mkdir()
    env = tmp_path / "in" / ".env"
    env.write_text("API_KEY='first'\n")
    (tmp_path / "out").write_text("not to be read")
    world.operator = alone(f"--file-store-roots={tmp_path / 'in'}")
    world.apply(
        cluster_store(world, {"file": {"path": str(env)}}),
        store(world, "own", {"file": {"path": str(env)}}),
        cluster_store(world, {"file": {"path": str(tmp_path / "out")}}, suffix="-outside"),
    )
    world.external_secret(
        "app",
        secretStoreRef={"name": world.namespace, "kind": "ClusterSecretStore"},
        refreshInterval="1s",
        dataFrom=[{"find": {"name": {"regexp": "^API_"}}}],
        data=None,
    )
    world.wait_data({"API_KEY": b"first"})
    env.write_text("API_KEY='second'\n")
    world.wait_data({"API_KEY": b"second"})

    world.wait(lambda: world.ready("own", "SecretStore"), "the namespace's store is told of")
    assert world.ready("own", "SecretStore")["reason"] == "StoreInvalid", "not its own files"

    def outside() -> Body:
        body = world.api.get("ClusterSecretStore", f"{world.namespace}-outside") or {}
        conditions: list[Body] = body.get("status", {}).get("conditions") or [{}]
        return conditions[0]

    world.wait(outside, "the other store is told of")
    assert outside()["reason"] == "StoreInvalid"
    assert "--file-store-roots" in outside()["message"]


def test_a_webhook_is_called_where_the_administrator_allows_it(
    lonely_world: World, alone: StartAlone
) -> None:
    world, api = lonely_world, JsonApi()
    try:
        api.put("production/database", "first")
        world.operator = alone(f"--webhook-hosts={api.url}")
        spec: Body = {
            "url": f"{api.url}/v1/secret?key={{{{ key }}}}",
            "headers": {"Authorization": "Bearer {{ secrets.token }}"},
            "secrets": [{"name": "token", "secretRef": {"name": "api", "key": "token"}}],
            "result": {"jsonPath": "$.value"},
            "notFoundStatus": 404,
        }
        elsewhere = {**spec, "url": spec["url"].replace("127.0.0.1", "localhost")}
        world.apply(
            secret(world.namespace, "api", token=TOKEN),
            store(world, "api", {"webhook": spec}),
            store(world, "elsewhere", {"webhook": elsewhere}),
        )
        world.external_secret(
            "app",
            secretStoreRef={"name": "api"},
            refreshInterval="1s",
            data=[{"secretKey": "PASSWORD", "remoteRef": {"key": "production/database"}}],
        )
        world.wait_data({"PASSWORD": b"first"})
        api.put("production/database", "second")
        world.wait_data({"PASSWORD": b"second"})
        world.wait(lambda: world.ready("elsewhere", "SecretStore"), "the other store is told of")
        ready = world.ready("elsewhere", "SecretStore")
        assert ready["reason"] == "StoreInvalid"
        assert "--webhook-hosts" in ready["message"]
        assert world.ready("api", "SecretStore")["status"] == "True"
        assert TOKEN not in world.operator.log
    finally:
        api.close()
