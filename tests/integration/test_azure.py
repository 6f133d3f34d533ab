"""Azure Key Vault read with a ServiceAccount of the namespace, whose token the API server made.

The stand-in of Entra ID proves that token as Azure does: by the issuer's public keys, its issuer,
audience and subject.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from contract.azurekv import CLIENT, SECRET, AzureHarness, AzurePart
from contract.azurelogins import Certificate
from integration import manifests
from integration.world import World, wait_until
from testbed.azureentra import AUDIENCE, TENANT, Federated
from testbed.cluster import Cluster
from testbed.controlplane import free_ports

ANNOTATIONS = {
    "azure.workload.identity/client-id": CLIENT,
    "azure.workload.identity/tenant-id": TENANT,
}


@pytest.fixture
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureHarness]:
    harness = AzureHarness(AzurePart(tmp_path_factory.mktemp("azure")))
    yield harness
    harness.close()


def issuer_of(cluster: Cluster) -> tuple[str, bytes]:
    """The issuer of the cluster's ServiceAccounts, and its public key, as OIDC publishes them."""
    found = json.loads(cluster.kubectl("get", "--raw", "/.well-known/openid-configuration"))
    (key, *_) = json.loads(cluster.kubectl("get", "--raw", "/openid/v1/jwks"))["keys"]
    pem = jwt.PyJWK(key).key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return str(found["issuer"]), pem


def reader(namespace: str) -> dict[str, Any]:
    """A ServiceAccount that says which application it is to Entra ID."""
    meta = {"name": "reader", "namespace": namespace, "annotations": ANNOTATIONS}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}


def store(namespace: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": manifests.API,
        "kind": "SecretStore",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"provider": {"azurekv": spec}},
    }


def test_a_namespace_reads_with_its_own_service_account(
    world: World, cluster: Cluster, azure: AzureHarness
) -> None:
    issuer, public_key = issuer_of(cluster)
    subject = f"system:serviceaccount:{world.namespace}:reader"
    azure.vault.set_secret("database-password", "first")
    azure.vault.set_secret("api-token", "token")
    spec = azure.spec(authType="WorkloadIdentity", serviceAccountRef={"name": "reader"})
    del spec["tenantId"]
    world.apply(reader(world.namespace), store(world.namespace, "azure", spec))
    # Nobody trusts the ServiceAccount yet: the store says what to add.
    said = wait_until(
        lambda: world.ready("azure", "SecretStore").get("message", ""), "the store was checked"
    )
    assert "no federated credential of the application has the issuer" in said

    azure.entra.apps[CLIENT].federated.append(Federated(issuer, subject, public_key))
    for name, key in (("one", "database-password"), ("two", "api-token")):
        world.external_secret(
            name,
            data=[manifests.entry("k", key)],
            secretStoreRef={"name": "azure"},
            interval="1s",
        )
    wait_until(lambda: world.data("one") == {"k": b"first"}, "the secret was read")
    wait_until(lambda: world.data("two") == {"k": b"token"}, "the other one was read")
    azure.vault.set_secret("database-password", "second")
    wait_until(lambda: world.data("one") == {"k": b"second"}, "the rotation was followed")
    assert world.ready("azure", "SecretStore")["status"] == "True"

    login = azure.entra.logins[-1]
    assert (login.form, login.claims["sub"]) == ("federated", subject)
    assert (login.claims["iss"], login.claims["aud"]) == (issuer, [AUDIENCE])
    assert azure.entra.granted == [CLIENT], "one token for the check and all reads"


def test_a_certificate_becomes_a_tls_secret_of_whoever_reads(
    world: World, cluster: Cluster, azure: AzureHarness
) -> None:
    """From PFX and from PEM, beside CER and the public key; by a store of all namespaces."""
    issuer, public_key = issuer_of(cluster)
    subject = f"system:serviceaccount:{world.namespace}:reader"
    azure.entra.apps[CLIENT].federated.append(Federated(issuer, subject, public_key))
    one, other = Certificate(), Certificate()
    pfx = base64.b64encode(one.pfx).decode()
    azure.vault.set_certificate("pfx", one.certificate, pfx, "application/x-pkcs12")
    azure.vault.set_certificate(
        "pem", other.certificate, other.pem.decode(), "application/x-pem-file"
    )
    azure.vault.set_key("signing")
    name = f"azure-{world.namespace}"
    spec = azure.spec(authType="WorkloadIdentity", serviceAccountRef={"name": "reader"})
    world.apply(
        reader(world.namespace),
        {
            "apiVersion": manifests.API,
            "kind": "ClusterSecretStore",
            "metadata": {"name": name},
            "spec": {
                "provider": {"azurekv": spec},
                "conditions": [{"namespaces": [world.namespace]}],
            },
        },
    )
    reference = {"name": name, "kind": "ClusterSecretStore"}

    def tls(target: str, entry: dict[str, Any], certificate: str, key: str) -> None:
        template = {"type": "kubernetes.io/tls", "data": {"tls.crt": certificate, "tls.key": key}}
        world.external_secret(
            target,
            data=[{"secretKey": "bundle", **entry}],
            secretStoreRef=reference,
            target={"template": template},
        )

    tls(
        "from-pfx",
        {"remoteRef": {"key": "pfx", "decodingStrategy": "Base64"}},
        "{{ bundle | pkcs12_certs }}",
        "{{ bundle | pkcs12_key }}",
    )
    tls(
        "from-pem",
        {"remoteRef": {"key": "pem"}},
        "{{ bundle | pem_filter('CERTIFICATE') }}",
        "{{ bundle | pem_filter('PRIVATE KEY') }}",
    )
    world.external_secret(
        "public",
        data=[manifests.entry("cer", "cert/pfx"), manifests.entry("jwk", "key/signing")],
        secretStoreRef=reference,
    )
    for target, expected in (("from-pfx", one), ("from-pem", other)):
        world.wait_ready(target)
        made = world.data(target)
        assert made is not None
        assert world.get("Secret", target)["type"] == "kubernetes.io/tls"
        certificate = x509.load_pem_x509_certificate(made["tls.crt"])
        assert certificate == expected.certificate
        key = load_pem_private_key(made["tls.key"], None)
        assert key.public_key() == certificate.public_key()
    world.wait_ready("public")
    public = world.data("public")
    assert public is not None
    assert public["cer"] == one.der
    assert json.loads(public["jwk"])["kty"] == "RSA"


def test_what_is_wrong_with_a_store_is_said(world: World, azure: AzureHarness) -> None:
    """Each in a condition of its own, beside one that works."""
    azure.vault.set_secret("database-password", "value")
    ours = azure.spec()
    untrusted = {name: value for name, value in ours.items() if name != "caBundle"}
    pods = {name: value for name, value in ours.items() if name != "tenantId"} | {
        "authType": "WorkloadIdentity"
    }

    def by(secret: str) -> dict[str, Any]:
        names = {"clientId": "id", "clientSecret": secret}
        return {"authSecretRef": {k: {"name": "azure", "key": v} for k, v in names.items()}}

    nowhere = f"https://127.0.0.1:{free_ports(1)[0]}"
    wrong: dict[str, tuple[dict[str, Any], str, str]] = {
        "nowhere": (
            ours | by("secret") | {"vaultUrl": nowhere},
            "ProviderUnavailable",
            "cannot be reached: check the address",
        ),
        "untrusted": (
            untrusted | by("secret"),
            "ProviderUnavailable",
            "No trusted TLS connection",
        ),
        "no-key": (ours | by("none"), "CredentialsNotFound", 'has no key "none": add it'),
        "wrong-secret": (ours | by("wrong"), "AccessDenied", "the client secret is wrong"),
        "no-account": (
            pods | {"serviceAccountRef": {"name": "nobody"}},
            "CredentialsNotFound",
            'The ServiceAccount "nobody"',
        ),
        "no-annotation": (
            pods | {"serviceAccountRef": {"name": "reader"}},
            "AccessDenied",
            "annotate it with azure.workload.identity/client-id",
        ),
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "azure", "namespace": world.namespace},
        "stringData": {"id": CLIENT, "secret": SECRET, "wrong": "canary"},
    }
    plain = reader(world.namespace)
    del plain["metadata"]["annotations"]
    world.apply(secret, plain)
    specs = {"good": ours | by("secret")} | {name: spec for name, (spec, _, _) in wrong.items()}
    for name, spec in specs.items():
        world.apply(store(world.namespace, name, spec))
        world.external_secret(name, store=name, data=[manifests.entry("k", "database-password")])
    world.wait_data({"k": b"value"}, "good")
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
