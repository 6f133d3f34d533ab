"""Stores of GCP Secret Manager are carried over; what would be another identity is not."""

from typing import Any

import pytest

from syncret.convert.mapping import convert
from syncret.convert.result import Result
from syncret.providers.registry import parse_provider

AUDIENCE = (
    "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/blue"
)
KEY = {"secretRef": {"secretAccessKeySecretRef": {"name": "google", "key": "key.json"}}}
GKE = {
    "workloadIdentity": {
        "serviceAccountRef": {"name": "app", "audiences": ["x"]},
        "clusterLocation": "europe-west3",
        "clusterName": "blue",
        "clusterProjectID": "example-project",
    }
}
FEDERATION = {
    "workloadIdentityFederation": {
        "serviceAccountRef": {"name": "app"},
        "audience": AUDIENCE,
        "gcpServiceAccountEmail": "app@example-project.iam.gserviceaccount.com",
    }
}
CONFIG = {
    "workloadIdentityFederation": {
        "credConfig": {"name": "google", "key": "config.json", "namespace": "syncret"},
        "externalTokenEndpoint": "https://tokens.example.com/t",
    }
}


def converted(kind: str, auth: dict[str, Any] | None, **fields: Any) -> Result:
    provider = {"projectID": "example-project", **fields, **({"auth": auth} if auth else {})}
    namespaced = {"namespace": "shop"} if kind == "SecretStore" else {}
    spec: dict[str, Any] = {"provider": {"gcpsm": provider}}
    if kind == "ClusterSecretStore":
        spec["conditions"] = [{"namespaces": ["shop"]}]
    return convert(
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": kind,
            "metadata": {"name": "google", **namespaced},
            "spec": spec,
        }
    )


@pytest.mark.parametrize("kind", ["SecretStore", "ClusterSecretStore"])
@pytest.mark.parametrize("auth", [KEY, GKE, FEDERATION, None])
def test_a_store_is_carried_over_as_it_is(kind: str, auth: dict[str, Any] | None) -> None:
    more = {"location": "europe-west3", "secretVersionSelectionPolicy": "LatestOrFetch"}
    result = converted(kind, auth, **more)
    assert result.remarks == []
    assert result.body is not None
    provider = result.body["spec"]["provider"]
    assert provider["gcpsm"] == {
        "projectID": "example-project",
        **more,
        **({"auth": auth} if auth else {}),
    }
    parse_provider(provider, cluster_scoped=kind == "ClusterSecretStore")


def test_a_configuration_file_is_for_cluster_stores() -> None:
    result = converted("ClusterSecretStore", CONFIG)
    assert result.body is not None
    parse_provider(result.body["spec"]["provider"], cluster_scoped=True)
    refused = converted("SecretStore", CONFIG)
    assert refused.body is None
    assert any("credConfig" in remark.path for remark in refused.remarks)


def test_credentials_of_aws_are_not_carried_over() -> None:
    auth = {
        "workloadIdentityFederation": {
            "audience": AUDIENCE,
            "awsSecurityCredentials": {"region": "eu-central-1"},
        }
    }
    result = converted("ClusterSecretStore", auth)
    assert result.body is None
    assert any("awsSecurityCredentials" in remark.path for remark in result.remarks)
