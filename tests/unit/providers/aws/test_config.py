"""``spec.provider.aws`` as a record, and what is refused."""

from typing import Any

import pytest

from syncret.errors import SpecInvalid
from syncret.providers.aws.config import Assume, AwsConfig, parse_config
from syncret.providers.base import SecretKeyRef, ServiceAccountRef

ROLE = "arn:aws:iam::111122223333:role/reader"
TAG = {"key": "team", "value": "payments"}
SIMPLE: dict[str, Any] = {"sessionTagsPolicy": "Simple"}


def selector(**more: str) -> dict[str, str]:
    return {"name": "aws-credentials", "key": "id", **more}


def spec(**changes: Any) -> dict[str, Any]:
    return {"service": "SecretsManager", "region": "eu-central-1", **changes}


def auth(**selectors: Any) -> dict[str, Any]:
    return {"secretRef": {f"{name}SecretRef": value for name, value in selectors.items()}}


FULL = auth(
    accessKeyID=selector(), secretAccessKey=selector(key="secret"), sessionToken=selector(key="t")
)


def test_the_least_that_is_needed() -> None:
    config = parse_config(spec(), cluster_scoped=True)
    assert config == AwsConfig(region="eu-central-1")
    assert str(config.place) == "AWS Secrets Manager in eu-central-1"
    assert config.ambient


def test_everything() -> None:
    config = parse_config(
        spec(endpoint="https://vpce.example:8443/x", auth=FULL), cluster_scoped=False
    )
    assert config.endpoint == "https://vpce.example:8443/x"
    assert dict(config.credentials) == {
        "accessKeyID": SecretKeyRef("aws-credentials", "id"),
        "secretAccessKey": SecretKeyRef("aws-credentials", "secret"),
        "sessionToken": SecretKeyRef("aws-credentials", "t"),
    }
    assert hash(config)


def test_the_session_token_may_be_left_out() -> None:
    config = parse_config(
        spec(auth=auth(accessKeyID=selector(), secretAccessKey=selector())), cluster_scoped=False
    )
    assert [name for name, _ in config.credentials] == ["accessKeyID", "secretAccessKey"]


def test_a_cluster_store_says_in_which_namespace() -> None:
    keys = auth(
        accessKeyID=selector(namespace="vault-9"), secretAccessKey=selector(namespace="vault-9")
    )
    config = parse_config(spec(auth=keys), cluster_scoped=True)
    assert dict(config.credentials)["accessKeyID"].namespace == "vault-9"


def test_a_cluster_store_may_leave_the_namespace_to_whoever_reads() -> None:
    config = parse_config(spec(auth=FULL), cluster_scoped=True)
    assert {one.namespace for _, one in config.credentials} == {""}


def test_a_role_and_how_it_is_assumed() -> None:
    config = parse_config(
        spec(
            service="ParameterStore",
            prefix="/payments/",
            role=ROLE,
            additionalRoles=[f"{ROLE}-1", f"{ROLE}-2"],
            externalID="customer-17",
            sessionTags=[TAG],
            transitiveTagKeys=["team"],
            sessionDuration="1h30m",
            **SIMPLE,
        ),
        cluster_scoped=True,
    )
    assert str(config.place) == "AWS Parameter Store in eu-central-1"
    assert (config.prefix, config.session_seconds) == ("/payments/", 5400)
    assert config.assume == Assume(
        roles=(f"{ROLE}-1", f"{ROLE}-2", ROLE),
        external_id="customer-17",
        tags=(("team", "payments"),),
        transitive=("team",),
        of_store=True,
    )
    assert config.ambient  # it begins with the operator's identity
    assert hash(config)


@pytest.mark.parametrize("namespace", ["", "payments"])
def test_a_service_account(namespace: str) -> None:
    reference = {"name": "reader", "audiences": ["more"]}
    if namespace:
        reference["namespace"] = namespace
    config = parse_config(
        spec(
            auth={"jwt": {"serviceAccountRef": reference}},
            endpoint="https://host",
            sessionDuration="2h",
        ),
        cluster_scoped=True,
    )
    assert config.references == {"serviceAccount": ServiceAccountRef("reader", namespace)}
    assert config.audiences == ("more",)
    assert not config.ambient


SECRET_REF = "spec.provider.aws.auth.secretRef"


@pytest.mark.parametrize(
    ("body", "cluster_scoped", "path"),
    [
        ({"region": "eu-central-1"}, True, "spec.provider.aws.service is missing"),
        (
            spec(service="CertificateManager"),
            True,
            "spec.provider.aws.service must be SecretsManager or ParameterStore",
        ),
        (spec(service=["SecretsManager"]), True, "spec.provider.aws.service must be"),
        ({"service": "SecretsManager"}, True, "spec.provider.aws.region is missing"),
        (spec(region=""), True, "spec.provider.aws.region must be"),
        (spec(region="eu-central-1.attacker.example"), True, "spec.provider.aws.region must be"),
        (spec(region="eu-central-1\n"), True, "spec.provider.aws.region must be"),
        (spec(region=7), True, "spec.provider.aws.region must be"),
        (spec(role="arn:aws:iam::1:role/r"), True, "spec.provider.aws.role must be the ARN"),
        (spec(role="reader"), True, "spec.provider.aws.role must be the ARN"),
        (spec(additionalRoles=[ROLE]), True, "spec.provider.aws.additionalRoles needs a role"),
        (spec(externalID="x-1"), True, "spec.provider.aws.externalID needs a role"),
        (spec(sessionTags=[TAG]), True, "spec.provider.aws.sessionTags needs a role"),
        (spec(sessionTagsPolicy="Simple"), True, "spec.provider.aws.sessionTagsPolicy needs"),
        (spec(sessionDuration="2h"), True, "spec.provider.aws.sessionDuration needs a role"),
        (spec(role=ROLE, sessionDuration="5m"), True, "spec.provider.aws.sessionDuration must be"),
        (spec(role=ROLE, sessionDuration="1d"), True, "spec.provider.aws.sessionDuration: "),
        (spec(role=ROLE, externalID="a b"), True, "spec.provider.aws.externalID must be"),
        (spec(role=ROLE, sessionTags=[TAG, TAG]), True, "spec.provider.aws.sessionTags has a key"),
        (
            spec(role=ROLE, sessionTags=[{**TAG, "key": "SYNCRETnamespace"}], **SIMPLE),
            True,
            "spec.provider.aws.sessionTags has a key twice",
        ),
        (spec(role=ROLE, sessionTags=[{"key": "k"}]), True, "spec.provider.aws.sessionTags[0].val"),
        (spec(prefix="a b"), True, "spec.provider.aws.prefix must be the beginning"),
        (
            spec(stsEndpoint="https://host"),
            False,
            "spec.provider.aws.stsEndpoint of a SecretStore needs",
        ),
        (
            spec(endpoint="https://host", role=ROLE),
            False,
            "spec.provider.aws.endpoint of a SecretStore needs",
        ),
        (spec(endpoint="ftp://host"), True, "spec.provider.aws.endpoint must be"),
        (spec(endpoint="https://user:pw@host"), True, "spec.provider.aws.endpoint must be"),
        (spec(endpoint="https://host/?q=1"), True, "spec.provider.aws.endpoint must be"),
        (spec(endpoint="https://host/#f"), True, "spec.provider.aws.endpoint must be"),
        (spec(endpoint="https://host:99999"), True, "spec.provider.aws.endpoint must be"),
        (spec(endpoint="https://"), True, "spec.provider.aws.endpoint must be"),
        (spec(endpoint="https://h/" + "a" * 2048), True, "spec.provider.aws.endpoint must be"),
        (spec(endpoint="https://host"), False, "spec.provider.aws.endpoint of a SecretStore needs"),
        (spec(auth={}), True, "spec.provider.aws.auth must have exactly one of secretRef, jwt"),
        (spec(auth={"jwt": {}}), True, "spec.provider.aws.auth.jwt.serviceAccountRef is missing"),
        (spec(auth={**FULL, "jwt": {}}), False, "spec.provider.aws.auth must have exactly one"),
        (
            spec(auth={"jwt": {"serviceAccountRef": {"name": "sa", "namespace": "other"}}}),
            False,
            "spec.provider.aws.auth.jwt.serviceAccountRef.namespace is not known",
        ),
        (spec(auth={"secretRef": {}}), True, f"{SECRET_REF}.accessKeyIDSecretRef is missing"),
        (
            spec(auth=auth(accessKeyID=selector())),
            False,
            f"{SECRET_REF}.secretAccessKeySecretRef is missing",
        ),
        (
            spec(auth=auth(accessKeyID=selector(namespace="A"), secretAccessKey=selector())),
            True,
            f"{SECRET_REF}.accessKeyIDSecretRef.namespace must be",
        ),
        (
            spec(auth=auth(accessKeyID=selector(namespace="other"), secretAccessKey=selector())),
            False,
            f"{SECRET_REF}.accessKeyIDSecretRef.namespace is not known",
        ),
        (
            spec(auth=auth(accessKeyID=selector(name="Upper"), secretAccessKey=selector())),
            False,
            f"{SECRET_REF}.accessKeyIDSecretRef.name must be",
        ),
        (
            spec(auth=auth(accessKeyID=selector(key="a/b"), secretAccessKey=selector())),
            False,
            f"{SECRET_REF}.accessKeyIDSecretRef.key must be",
        ),
        ("text", True, "spec.provider.aws must be an object"),
    ],
)
def test_what_is_refused_is_named_by_its_path(body: Any, cluster_scoped: bool, path: str) -> None:
    with pytest.raises(SpecInvalid) as raised:
        parse_config(body, cluster_scoped=cluster_scoped)
    assert raised.value.message.startswith(path)
    assert "pw" not in raised.value.message


def test_a_cluster_store_may_send_the_operators_identity_elsewhere() -> None:
    config = parse_config(spec(endpoint="http://127.0.0.1:5000"), cluster_scoped=True)
    assert config.endpoint == "http://127.0.0.1:5000"
