"""``metadataPolicy: Fetch`` of references, and stores that name more than one identity."""

from typing import Any

import pytest

from syncret.convert.mapping import convert
from syncret.convert.result import Result


def converted(kind: str, spec: dict[str, Any]) -> Result:
    meta = {"name": "app", "namespace": "shop"}
    return convert(
        {"apiVersion": "external-secrets.io/v1", "kind": kind, "metadata": meta, "spec": spec}
    )


@pytest.mark.parametrize(
    ("there", "here", "said"),
    [
        ({"property": "labels.team"}, {"property": "team"}, "without labels: team"),
        ({"property": "labels"}, {}, "the labels are all that is read"),
        ({"property": "annotations.x"}, {"property": "annotations.x"}, "annotations are not read"),
        ({"property": "annotations"}, {"property": "annotations"}, "annotations are not read"),
        ({"property": "created_time"}, {"property": "created_time"}, "only tags, labels"),
        ({"property": "team"}, {"property": "team"}, ""),
        ({"property": "team", "version": "2"}, {"property": "team"}, "have no versions"),
        ({}, {}, "the tags, labels or custom metadata and nothing else"),
    ],
)
def test_what_is_fetched_of_metadata_is_converted_or_told(
    there: dict[str, str], here: dict[str, str], said: str
) -> None:
    fetch = {"key": "k", "metadataPolicy": "Fetch"}
    sources = {
        "data": [{"secretKey": "a", "remoteRef": fetch | there}],
        "dataFrom": [{"extract": fetch | there}],
    }
    made = converted("ExternalSecret", {"secretStoreRef": {"name": "s"}, **sources})
    assert made.body is not None
    assert made.body["spec"]["data"][0]["remoteRef"] == fetch | here
    assert made.body["spec"]["dataFrom"][0]["extract"] == fetch | here
    assert len(made.remarks) == (2 if said else 0)
    for remark in made.remarks:
        assert said in remark.text
        assert not remark.lost


def test_a_value_keeps_its_property() -> None:
    data = [{"secretKey": "a", "remoteRef": {"key": "k", "property": "labels.team"}}]
    made = converted("ExternalSecret", {"secretStoreRef": {"name": "s"}, "data": data})
    assert made.remarks == []
    assert made.body is not None
    assert made.body["spec"]["data"] == data


CLIENT = {"clientId": {"name": "a", "key": "id"}, "clientSecret": {"name": "a", "key": "secret"}}
KEY = {"secretAccessKeySecretRef": {"name": "a", "key": "key"}}
VAULT = {"vaultUrl": "https://shop.vault.azure.net", "tenantId": "shop.example.com"}


@pytest.mark.parametrize(
    ("provider", "left_out"),
    [
        (
            {"gcpsm": {"projectID": "shop-1234", "auth": {"secretRef": KEY}}},
            {"auth": {"workloadIdentity": {"serviceAccountRef": {"name": "a"}}}},
        ),
        (
            {"azurekv": VAULT | {"authSecretRef": CLIENT}},
            {"identityId": "00000000-0000-0000-0000-000000000000"},
        ),
        (
            {"azurekv": VAULT | {"authSecretRef": CLIENT, "authType": "ServicePrincipal"}},
            {"serviceAccountRef": {"name": "a"}},
        ),
    ],
)
def test_an_identity_that_did_nothing_is_left_out_and_told(
    provider: dict[str, dict[str, Any]], left_out: dict[str, Any]
) -> None:
    ((name, part),) = provider.items()
    auth = {**part.get("auth", {}), **left_out.get("auth", {})}
    given = {**part, **left_out, **({"auth": auth} if auth else {})}
    made = converted("SecretStore", {"provider": {name: given}})
    assert made.body is not None
    assert made.body["spec"]["provider"] == provider
    (remark,) = made.remarks
    assert "it did nothing" in remark.text


def test_what_syncret_refuses_in_a_store_is_told_before_it_is_applied() -> None:
    made = converted(
        "SecretStore", {"provider": {"gcpsm": {"projectID": "x", "auth": {"secretRef": KEY}}}}
    )
    assert made.body is not None
    (remark,) = made.remarks
    assert (
        "it has to be corrected before it is of use: spec.provider.gcpsm.projectID" in remark.text
    )
