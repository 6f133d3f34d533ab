"""``spec.provider.gcpsm`` becomes a record, or is refused with the path of the field."""

from typing import Any

import pytest

from syncret.errors import SpecInvalid
from syncret.providers.base import ConfigMapKeyRef, SecretKeyRef, ServiceAccountRef
from syncret.providers.gcp.config import (
    IAM,
    STS,
    ClusterIdentity,
    Federation,
    GcpConfig,
    KeyFile,
    parse_config,
)
from syncret.providers.registry import parse_provider

AUDIENCE = (
    "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/blue"
)
KEY = {"secretRef": {"secretAccessKeySecretRef": {"name": "google", "key": "key.json"}}}
FEDERATION = {
    "workloadIdentityFederation": {"serviceAccountRef": {"name": "app"}, "audience": AUDIENCE}
}


def parse(cluster_scoped: bool = False, **fields: Any) -> GcpConfig:
    return parse_config(fields, cluster_scoped=cluster_scoped)


def test_nothing_is_needed() -> None:
    config = parse()
    assert config == GcpConfig()
    assert config.references == {}
    assert config.place == "GCP Secret Manager"
    assert config.target == ("secretmanager.googleapis.com:443", True)
    assert (config.sts, config.iam) == (STS, IAM)


def test_a_location_has_an_endpoint_of_its_own() -> None:
    config = parse(projectID="p1", location="europe-west3")
    assert config.target == ("secretmanager.europe-west3.rep.googleapis.com:443", True)
    assert config.place == "GCP Secret Manager of the project p1 in europe-west3"


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        (
            "https://secretmanager-vpc.p.googleapis.com",
            ("secretmanager-vpc.p.googleapis.com:443", True),
        ),
        ("https://127.0.0.1:8443", ("127.0.0.1:8443", True)),
        ("http://localhost", ("localhost:80", False)),
        ("http://[::1]:9000", ("[::1]:9000", False)),
    ],
)
def test_an_endpoint_is_a_host_and_a_port(endpoint: str, target: tuple[str, bool]) -> None:
    assert parse(endpoint=endpoint, auth=KEY).target == target


def test_each_way_to_authenticate_names_what_it_needs() -> None:
    assert parse(auth=KEY).references == {"secretAccessKey": SecretKeyRef("google", "key.json")}
    cluster = parse(
        auth={
            "workloadIdentity": {
                "serviceAccountRef": {"name": "app", "audiences": ["x"]},
                "clusterLocation": "europe-west3",
                "clusterName": "blue",
                "clusterProjectID": "p1",
            }
        }
    )
    assert cluster.auth == ClusterIdentity(
        ServiceAccountRef("app"), ("x",), "europe-west3", "blue", "p1"
    )
    assert cluster.references == {"serviceAccount": ServiceAccountRef("app")}
    federation = parse(auth=FEDERATION)
    assert federation.auth == Federation(account=ServiceAccountRef("app"), audience=AUDIENCE)
    config = {"name": "google", "key": "c.json", "namespace": "ns"}
    configured = parse(
        cluster_scoped=True, auth={"workloadIdentityFederation": {"credConfig": config}}
    )
    assert configured.references == {"credConfig": ConfigMapKeyRef("google", "c.json", "ns")}
    assert isinstance(parse(auth=KEY).auth, KeyFile)


def test_an_audience_may_be_written_as_a_url() -> None:
    auth = {
        "workloadIdentityFederation": {
            "serviceAccountRef": {"name": "app"},
            "audience": f"https:{AUDIENCE}",
        }
    }
    parsed = parse(auth=auth).auth
    assert isinstance(parsed, Federation)
    assert parsed.audience == AUDIENCE


@pytest.mark.parametrize("name", ["endpoint", "stsEndpoint", "iamCredentialsEndpoint"])
def test_the_operators_identity_goes_elsewhere_only_by_a_cluster_store(name: str) -> None:
    fields: dict[str, Any] = {name: "https://example.com"}
    with pytest.raises(SpecInvalid, match=r"needs spec\.provider\.gcpsm\.auth"):
        parse(**fields)
    parse(cluster_scoped=True, **fields)
    parse(auth=KEY, **fields)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"projectID": "Has Blanks"}, "projectID"),
        ({"location": "europe west"}, "location"),
        ({"location": "x.evil.example/"}, "location"),
        ({"secretVersionSelectionPolicy": "Newest"}, "secretVersionSelectionPolicy"),
        ({"endpoint": "https://user:pw@example.com", "auth": KEY}, "endpoint"),
        ({"endpoint": "https://example.com/path", "auth": KEY}, "endpoint"),
        ({"endpoint": "https://example.com:99999", "auth": KEY}, "endpoint"),
        ({"endpoint": "ftp://example.com", "auth": KEY}, "endpoint"),
        ({"auth": {}}, "auth must have exactly one"),
        ({"auth": KEY | FEDERATION}, "auth must have exactly one"),
        ({"auth": {"secretRef": {}}}, "auth.secretRef.secretAccessKeySecretRef is missing"),
        ({"auth": {"workloadIdentity": {}}}, "auth.workloadIdentity.serviceAccountRef"),
        ({"unknown": 1}, "unknown is not known"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(SpecInvalid, match=f"^spec.provider.gcpsm.{path}"):
        parse(**fields)


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"audience": "blue"}, "audience must be the full name"),
        ({"audience": None}, "audience is missing"),
        ({"gcpServiceAccountEmail": "someone@example.com"}, "gcpServiceAccountEmail"),
        ({"credConfig": {"name": "n", "key": "k"}}, "credConfig is not known"),
        ({"externalTokenEndpoint": "https://example.com"}, "externalTokenEndpoint is not known"),
        ({"awsSecurityCredentials": {}}, "awsSecurityCredentials is not known"),
    ],
)
def test_a_wrong_field_of_a_federation_is_named(changed: dict[str, Any], path: str) -> None:
    fields = FEDERATION["workloadIdentityFederation"] | changed
    auth = {"workloadIdentityFederation": fields}
    with pytest.raises(SpecInvalid, match=f"auth.workloadIdentityFederation.{path}"):
        parse(auth=auth)


def test_what_the_operators_pod_holds_is_for_cluster_stores() -> None:
    auth = {"workloadIdentityFederation": {"credConfig": {"name": "google", "key": "c.json"}}}
    with pytest.raises(SpecInvalid, match="workloadIdentityFederation"):
        parse(auth=auth)


def test_the_registry_knows_it_and_its_ambient_identity() -> None:
    provider, config = parse_provider({"gcpsm": {"projectID": "p1"}}, cluster_scoped=True)
    assert provider.name == "gcpsm"
    assert provider.ambient(config)
    _, keyed = parse_provider({"gcpsm": {"auth": KEY}}, cluster_scoped=False)
    assert not provider.ambient(keyed)
