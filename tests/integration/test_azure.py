"""Azure Key Vault read with a ServiceAccount of the namespace, whose token the API server made.

The stand-in of Entra ID proves that token as Azure does: by the issuer's public keys, its issuer,
audience and subject.
"""

import json
from collections.abc import Iterator

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contract.azurekv import CLIENT, AzureHarness, AzurePart
from integration import manifests
from integration.world import World, wait_until
from testbed.azureentra import AUDIENCE, TENANT, Federated
from testbed.cluster import Cluster

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


def test_a_namespace_reads_with_its_own_service_account(
    world: World, cluster: Cluster, azure: AzureHarness
) -> None:
    issuer, public_key = issuer_of(cluster)
    subject = f"system:serviceaccount:{world.namespace}:reader"
    azure.vault.set_secret("database-password", "first")
    azure.vault.set_secret("api-token", "token")
    spec = azure.spec(authType="WorkloadIdentity", serviceAccountRef={"name": "reader"})
    del spec["tenantId"]
    world.apply(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {
                "name": "reader",
                "namespace": world.namespace,
                "annotations": ANNOTATIONS,
            },
        },
        {
            "apiVersion": manifests.API,
            "kind": "SecretStore",
            "metadata": {"name": "azure", "namespace": world.namespace},
            "spec": {"provider": {"azurekv": spec}},
        },
    )
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
