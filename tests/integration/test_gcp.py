"""GCP Secret Manager by Workload Identity Federation: tokens that the API server really makes.

The other end verifies them with the keys that the cluster publishes, as Google does.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from integration.manifests import API, entry
from integration.world import World, Worlds
from testbed.cluster import Cluster, CommandError
from testbed.gcp.handle import PROJECT, PROJECT_NUMBER, Gcp
from testbed.processes import Processes

POOL = f"projects/{PROJECT_NUMBER}/locations/global/workloadIdentityPools/clusters"
AUDIENCE = f"//iam.googleapis.com/{POOL}/providers/blue"


@pytest.fixture(scope="module")
def google(processes: Processes) -> Gcp:
    return Gcp(processes)


@pytest.fixture
def gcp(google: Gcp, cluster: Cluster) -> Iterator[Gcp]:
    """A workload identity provider that knows the cluster's issuer and its keys."""
    google.clear()
    issuer = json.loads(cluster.kubectl("get", "--raw", "/.well-known/openid-configuration"))
    (key, *_) = json.loads(cluster.kubectl("get", "--raw", "/openid/v1/jwks"))["keys"]
    google.trust(
        audience=AUDIENCE,
        issuer=issuer["issuer"],
        key=pem(key),
        audiences=[AUDIENCE],
        principal=f"principal://iam.googleapis.com/{POOL}/subject/{{sub}}",
    )
    yield google
    google.release()
    google.clear()


def pem(key: dict[str, str]) -> str:
    """A key of a JWKS as PEM."""
    numbers = [
        int.from_bytes(base64.urlsafe_b64decode(key[part] + "=="), "big") for part in ("e", "n")
    ]
    public = rsa.RSAPublicNumbers(*numbers).public_key()
    return public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def account(namespace: str, name: str = "reader") -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}


def store(kind: str, name: str, gcp: Gcp, **more: Any) -> dict[str, Any]:
    """Reads as the ServiceAccount ``reader`` of its namespace, or of each that reads."""
    auth = {"serviceAccountRef": {"name": "reader"}, "audience": AUDIENCE}
    provider = {
        "projectID": PROJECT,
        "endpoint": gcp.endpoint,
        "stsEndpoint": gcp.http,
        "auth": {"workloadIdentityFederation": auth},
    }
    spec, metadata = more.pop("spec", {}), {"name": name, **more}
    return {
        "apiVersion": API,
        "kind": kind,
        "metadata": metadata,
        "spec": {"provider": {"gcpsm": provider}, **spec},
    }


def principal(namespace: str) -> str:
    subject = f"system:serviceaccount:{namespace}:reader"
    return f"principal://iam.googleapis.com/{POOL}/subject/{subject}"


def test_a_namespace_reads_as_its_own_service_account(world: World, gcp: Gcp) -> None:
    key = f"{world.namespace}-db"
    gcp.put(key, json.dumps({"password": "first"}).encode())
    gcp.grant(principal=principal(world.namespace))
    world.apply(
        account(world.namespace),
        store("SecretStore", "google", gcp, namespace=world.namespace),
    )
    world.external_secret(store="google", data=[entry("password", key, "password")])
    world.wait_ready()
    world.wait_data({"password": b"first"})

    gcp.put(key, json.dumps({"password": "second"}).encode())
    world.wait_data({"password": b"second"})
    world.wait_refreshes(count=3)

    (login,) = gcp.logins
    assert (login["endpoint"], login["audience"]) == ("sts", AUDIENCE)
    assert login["claims"]["sub"] == f"system:serviceaccount:{world.namespace}:reader"
    assert login["claims"]["aud"] == [AUDIENCE]
    assert login["claims"]["exp"] - login["claims"]["iat"] <= 600
    asked = [
        request["operation"] for request in gcp.requests if request["request"]["name"].find(key) > 0
    ]
    assert asked[0] == "AccessSecretVersion"
    assert asked.count("AccessSecretVersion") == 2, "an unchanged value is looked at for free"
    assert world.ready("google", "SecretStore")["status"] == "True"


def test_age_and_expiry_are_known_from_the_first_read(world: World, gcp: Gcp) -> None:
    key = f"{world.namespace}-ends"
    gcp.put(key, b"value")
    gcp.describe(name=key, expires_in=600)
    world.apply(
        account(world.namespace),
        store("SecretStore", "google", gcp, namespace=world.namespace),
    )
    world.external_secret(
        store="google",
        data=[entry("value", key)],
        interval="24h",
        rotation={"maxAge": "90d"},
    )
    world.wait_ready()
    told = world.wait(lambda: conditions(world, "RotationOverdue", "Expiring"), "it is told")
    assert told["RotationOverdue"]["reason"] == "InTime"
    assert told["Expiring"]["reason"] == "InTime", "the last third of its life has not begun"
    (source,) = world.status()["sources"]
    assert source["created"] < source["expires"]
    asked = [one["operation"] for one in gcp.requests if key in one["request"]["name"]]
    assert sorted(asked) == ["AccessSecretVersion", "GetSecret", "GetSecretVersion"]


def conditions(world: World, *kinds: str) -> dict[str, Any]:
    """The conditions by type, once all of those are there; until then none."""
    found = {one["type"]: one for one in world.status().get("conditions", ())}
    return found if all(kind in found for kind in kinds) else {}


def test_each_namespace_is_a_principal_of_its_own(worlds: Worlds, world: World, gcp: Gcp) -> None:
    """One ClusterSecretStore; who has no ServiceAccount, or no right, gets nothing."""
    name = f"google-{world.namespace}"
    key = f"{world.namespace}-shared"
    gcp.put(key, b"value")
    other, none = worlds.new("other"), worlds.new("none")
    try:
        gcp.grant(principal=principal(world.namespace))
        everybody: dict[str, Any] = {"conditions": [{"namespaceSelector": {}}]}
        world.apply(store("ClusterSecretStore", name, gcp, spec=everybody))
        reference = {"name": name, "kind": "ClusterSecretStore"}
        for one in (world, other, none):
            if one is not none:
                one.apply(account(one.namespace))
            one.external_secret(secretStoreRef=reference, data=[entry("value", key)])
        world.wait_ready()
        world.wait_data({"value": b"value"})
        denied = other.wait_ready(status="False", reason="AccessDenied")
        assert "grant roles/secretmanager.secretAccessor" in denied["message"]
        missing = none.wait_ready(status="False", reason="CredentialsNotFound")
        assert "reader" in missing["message"]
        assert (other.data(), none.data()) == (None, None)

        gcp.grant(principal=principal(other.namespace))
        other.wait_ready()
        none.apply(account(none.namespace))
        gcp.grant(principal=principal(none.namespace))
        none.wait_ready()
        subjects = {login["claims"]["sub"] for login in gcp.logins}
        assert subjects == {
            f"system:serviceaccount:{one.namespace}:reader" for one in (world, other, none)
        }
    finally:
        other.clear()
        none.clear()


REFERENCE = {"serviceAccountRef": {"name": "reader"}}
KEY = {"secretAccessKeySecretRef": {"name": "google", "key": "key.json"}}
CONFIG = {"credConfig": {"name": "google", "key": "config.json"}}


def by(**federation: Any) -> dict[str, Any]:
    return {"auth": {"workloadIdentityFederation": federation}}


@pytest.mark.parametrize(
    ("kind", "provider", "sentence"),
    [
        ("SecretStore", {"endpoint": "https://example.com"}, "an endpoint needs auth"),
        ("SecretStore", {"projectID": "Not A Project"}, "must be the id or the number"),
        ("SecretStore", {"auth": {}}, "name exactly one way to authenticate"),
        (
            "SecretStore",
            {"auth": {"workloadIdentity": REFERENCE, "secretRef": KEY}},
            "name exactly one way to authenticate",
        ),
        ("SecretStore", by(**REFERENCE), "audience: Required value"),
        ("SecretStore", by(**REFERENCE, audience="blue"), "must be the full name of a workload"),
        ("SecretStore", by(**CONFIG), "unknown field"),
        (
            "SecretStore",
            {"auth": {"workloadIdentity": {"serviceAccountRef": {"name": "a", "namespace": "b"}}}},
            "unknown field",
        ),
        (
            "SecretStore",
            {**by(**REFERENCE, audience=AUDIENCE), "endpoint": "https://example.com/path"},
            "without user name, password, path",
        ),
        ("SecretStore", {"secretVersionSelectionPolicy": "Newest"}, "Unsupported value"),
        (
            "ClusterSecretStore",
            by(**REFERENCE, **CONFIG, audience=AUDIENCE),
            "name exactly one of serviceAccountRef and credConfig",
        ),
        ("ClusterSecretStore", by(**REFERENCE), "audience goes with serviceAccountRef"),
        (
            "ClusterSecretStore",
            by(**REFERENCE, audience=AUDIENCE, externalTokenEndpoint="https://example.com/t"),
            "externalTokenEndpoint goes with credConfig",
        ),
    ],
)
def test_what_cannot_be_a_store_is_refused_with_a_sentence(
    installed: Cluster, kind: str, provider: dict[str, Any], sentence: str
) -> None:
    where = {"namespace": "default"} if kind == "SecretStore" else {}
    body = {
        "apiVersion": API,
        "kind": kind,
        "metadata": {"name": "refused", **where},
        "spec": {"provider": {"gcpsm": provider}},
    }
    with pytest.raises(CommandError, match=sentence):
        installed.kubectl(
            *("apply", "--dry-run=server", "--validate=strict", "-f", "-"), stdin=json.dumps(body)
        )
