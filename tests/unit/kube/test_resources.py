"""Paths of resources, and names that must not become a path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from syncret.errors import KubeInvalid
from syncret.kube.resources import CLUSTER_SECRET_STORES, DEPLOYMENTS, EXTERNAL_SECRETS, SECRETS


def test_paths() -> None:
    assert SECRETS.path() == "/api/v1/secrets"
    assert SECRETS.path("ns") == "/api/v1/namespaces/ns/secrets"
    assert SECRETS.path("ns", "a") == "/api/v1/namespaces/ns/secrets/a"
    assert DEPLOYMENTS.path("ns", "a") == "/apis/apps/v1/namespaces/ns/deployments/a"
    assert (
        EXTERNAL_SECRETS.path("ns", "a", "status")
        == "/apis/syncret.io/v1alpha1/namespaces/ns/externalsecrets/a/status"
    )
    assert (
        CLUSTER_SECRET_STORES.path(name="aws")
        == "/apis/syncret.io/v1alpha1/clustersecretstores/aws"
    )


def test_names() -> None:
    assert (SECRETS.name, SECRETS.api_version) == ("secrets", "v1")
    assert (DEPLOYMENTS.name, DEPLOYMENTS.api_version) == ("deployments.apps", "apps/v1")


@pytest.mark.parametrize(
    ("namespace", "name", "subresource"),
    [("", "a", ""), ("ns", "", "status"), ("", "", "status")],
)
def test_a_path_of_the_wrong_shape_is_a_mistake(
    namespace: str, name: str, subresource: str
) -> None:
    with pytest.raises(ValueError, match=r"."):
        SECRETS.path(namespace, name, subresource)


def test_a_namespace_for_a_cluster_scoped_resource_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="cluster-scoped"):
        CLUSTER_SECRET_STORES.path("ns", "a")


@given(st.text(min_size=1))
def test_no_name_leads_out_of_its_path(name: str) -> None:
    try:
        path = SECRETS.path("ns", name)
    except (KubeInvalid, UnicodeEncodeError):
        return
    url = URL("http://127.0.0.1" + path)  # folds dots and decodes, as a server would
    assert url.path == f"/api/v1/namespaces/ns/secrets/{name}"
    assert not url.query_string
    assert not url.fragment


@pytest.mark.parametrize("name", ["..", ".", "a/../../b", "a%2Fb"])
def test_a_name_that_would_is_refused(name: str) -> None:
    with pytest.raises(KubeInvalid):
        SECRETS.path("ns", name)
    with pytest.raises(KubeInvalid):
        SECRETS.path(name)
