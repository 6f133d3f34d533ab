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
from testbed.controlplane import free_ports
from testbed.gcp.handle import PROJECT, PROJECT_NUMBER, Account, Gcp
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


def principal(namespace: str, name: str = "reader") -> str:
    subject = f"system:serviceaccount:{namespace}:{name}"
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


def test_what_is_wrong_with_a_store_is_said(world: World, gcp: Gcp) -> None:
    """Each in a condition of its own, beside one that works."""
    namespace, key = world.namespace, f"{world.namespace}-db"
    gcp.put(key, b"value")
    person = Account("person")
    gcp.account(email=person.email, key=person.public, key_id=person.key_id)

    def at(endpoint: str, file: str = "key.json") -> dict[str, Any]:
        reference = {"secretAccessKeySecretRef": {"name": "google", "key": file}}
        return {"projectID": PROJECT, "endpoint": endpoint, "auth": {"secretRef": reference}}

    def by(name: str) -> dict[str, Any]:
        return at(gcp.endpoint) | {
            "stsEndpoint": gcp.http,
            "iamCredentialsEndpoint": gcp.http,
            "auth": {
                "workloadIdentityFederation": {
                    "serviceAccountRef": {"name": name},
                    "audience": AUDIENCE,
                }
            },
        }

    nowhere = f"http://127.0.0.1:{free_ports(1)[0]}"
    wrong: dict[str, tuple[dict[str, Any], str, str]] = {
        "nowhere": (at(nowhere), "ProviderUnavailable", "cannot be reached: check location"),
        "untrusted": (
            at(gcp.endpoint.replace("http:", "https:")),
            "ProviderUnavailable",
            "No trusted TLS connection",
        ),
        "not-it": (at(gcp.http), "ProviderRejected", "answered as Google does not"),
        "no-key": (at(gcp.endpoint, "none"), "CredentialsNotFound", 'has no key "none": add it'),
        "not-a-key": (at(gcp.endpoint, "bad"), "AccessDenied", "is not the key file of a service"),
        "no-account": (by("nobody"), "CredentialsNotFound", 'The ServiceAccount "nobody"'),
        "not-allowed": (
            by("acting"),
            "AccessDenied",
            f'grant roles/iam.workloadIdentityUser on it to "{principal(namespace, "acting")}"',
        ),
    }
    acting = account(namespace, "acting")
    acting["metadata"]["annotations"] = {"iam.gke.io/gcp-service-account": person.email}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "google", "namespace": namespace},
        "stringData": {
            "key.json": person.key_file(f"{gcp.http}/token").decode(),
            "bad": '{"type": "canary"}',
        },
    }
    world.apply(secret, acting, account(namespace))
    specs = {
        "good": at(gcp.endpoint),
        # An annotation is needed only to act as somebody else.
        "no-annotation": by("reader"),
    } | {name: spec for name, (spec, _, _) in wrong.items()}
    for name, spec in specs.items():
        body = store("SecretStore", name, gcp, namespace=namespace)
        world.apply(body | {"spec": {"provider": {"gcpsm": spec}}})
        world.external_secret(name, store=name, data=[entry("k", key)])
    for name in ("good", "no-annotation"):
        world.wait_data({"k": b"value"}, name)
    for name, (_, reason, sentence) in wrong.items():
        told = world.wait_ready(name, status="False", reason=reason)
        assert sentence in told["message"]
        said = world.wait(
            lambda name=name: world.ready(name, "SecretStore"),  # type: ignore[misc]
            f"the store {name} was checked",
        )
        assert (said["status"], said["reason"]) == ("False", reason)
        assert sentence in said["message"]
        assert "canary" not in told["message"] + said["message"]
        assert world.data(name) is None


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
