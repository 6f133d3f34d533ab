"""AWS as an ExternalSecret sees it: a namespace's own identity, and parameters.

The tokens are those of the real API server, which is asked whether it made them; moto gives the
session for them without a look.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest

from contract.aws_sts import role
from contract.proxy import Proxy
from integration import manifests
from integration.api import Api
from integration.audit import Audit
from integration.manifests import entry
from integration.world import World
from testbed.moto import Moto

Body = dict[str, Any]
BY_TOKEN = "AssumeRoleWithWebIdentity"


def store(world: World, name: str, proxy: Proxy, **aws: Any) -> Body:
    """A SecretStore of the namespace's own identity."""
    body = manifests.store(world.namespace, proxy.url, name=name)
    body["spec"]["provider"]["aws"] |= {"stsEndpoint": proxy.url, **aws}
    return body


def by_account(name: str = "reader") -> Body:
    return {"jwt": {"serviceAccountRef": {"name": name}}}


def account(world: World, name: str = "reader", **annotations: str) -> None:
    metadata = {"name": name, "namespace": world.namespace, "annotations": annotations}
    world.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


def logins(proxy: Proxy) -> list[dict[str, str]]:
    """What STS was asked for."""
    asked = [
        {name: values[0] for name, values in parse_qs(request.raw.decode()).items()}
        for request in list(proxy.requests)
        if "X-Amz-Target" not in request.headers
    ]
    return [one for one in asked if one.get("Action") == BY_TOKEN]


def review(api: Api, token: str, audience: str) -> Body:
    """What the API server says of a token for that audience."""
    answer = api.request(
        "POST",
        "/apis/authentication.k8s.io/v1/tokenreviews",
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        },
        "application/json",
    )
    status: Body = answer["status"]
    return status


def test_a_namespace_reads_as_the_role_of_its_own_service_account(
    world: World, proxy: Proxy, api: Api
) -> None:
    world.put("db", "first")
    account(world, **{"eks.amazonaws.com/role-arn": role("reader")})
    world.apply(store(world, "own", proxy, auth=by_account(), role=role("data")))
    world.external_secret(data=[entry("k", world.key("db"))], store="own", interval="1s")
    world.wait_data({"k": b"first"})
    world.put("db", "second")
    world.wait_data({"k": b"second"})
    world.wait_refreshes()

    (login,) = logins(proxy)  # however often it was read
    assert login["RoleArn"] == role("reader")
    token = login["WebIdentityToken"]
    said = review(api, token, "sts.amazonaws.com")
    assert said["authenticated"]
    assert said["audiences"] == ["sts.amazonaws.com"]
    assert said["user"]["username"] == f"system:serviceaccount:{world.namespace}:reader"
    assert not review(api, token, "https://kubernetes.default.svc").get("authenticated")
    assert token not in world.operator.log


def test_what_the_chart_grants_for_tokens_is_what_is_asked_for(
    world: World, proxy: Proxy, api: Api, audit: Audit
) -> None:
    """The operator has the chart's rights alone here; test_permissions looks at all the others."""
    mark = audit.mark()
    world.put("db", "first")
    account(world, **{"eks.amazonaws.com/role-arn": role("reader")})
    world.apply(store(world, "own", proxy, auth=by_account()))
    world.external_secret(data=[entry("k", world.key("db"))], store="own")
    world.wait_data({"k": b"first"})
    granted = {
        (group, resource, verb)
        for rule in (api.get("ClusterRole", "syncret-tokens") or {})["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    asked = {request.permission for request in audit.requests(mark) if request.allowed}
    assert {one for one in asked if one[1].startswith("serviceaccounts")} == granted


def test_an_account_without_a_role_is_told_and_then_works(world: World, proxy: Proxy) -> None:
    world.put("db", "value")
    world.apply(store(world, "own", proxy, auth=by_account()))
    world.wait(
        lambda: world.ready("own", "SecretStore").get("reason") == "CredentialsNotFound",
        "that the account is missing is told",
    )
    account(world)
    world.wait(
        lambda: (
            "eks.amazonaws.com/role-arn" in world.ready("own", "SecretStore").get("message", "")
        ),
        "that the annotation is missing is told",
    )
    account(world, **{"eks.amazonaws.com/role-arn": role("reader")})
    world.external_secret(data=[entry("k", world.key("db"))], store="own")
    world.wait_data({"k": b"value"})
    assert world.ready("own", "SecretStore")["status"] == "True"


@pytest.fixture
def ssm(moto: Moto) -> Iterator[Any]:
    client = moto.client("ssm")
    yield client
    client.close()


def test_parameters_with_versions_and_labels_and_levels(
    world: World, proxy: Proxy, ssm: Any
) -> None:
    level = f"/{world.namespace}"

    def put(name: str, value: str, kind: str = "SecureString") -> None:
        ssm.put_parameter(Name=f"{level}/{name}", Value=value, Type=kind, Overwrite=True)

    put("db/password", "one")
    put("db/password", "two")
    ssm.label_parameter_version(
        Name=f"{level}/db/password", ParameterVersion=1, Labels=["approved"]
    )
    put("api/key", "k1")
    put("api/hosts", "a,b", kind="StringList")
    world.apply(store(world, "parameters", proxy, service="ParameterStore", prefix=f"{level}/"))
    world.external_secret(
        store="parameters",
        data=[
            entry("now", "db/password"),
            entry("before", "db/password", version="1"),
            entry("approved", "db/password", version="approved"),
        ],
        dataFrom=[
            {
                "find": {"path": "api/"},
                "rewrite": [{"regexp": {"source": "api/", "target": ""}}],
            }
        ],
    )
    expected = {"now": b"two", "before": b"one", "approved": b"one", "key": b"k1", "hosts": b"a,b"}
    world.wait_data(expected)
    world.wait_ready()
    assert {source["version"] for source in world.status()["sources"]} >= {"1", "2"}

    put("db/password", "three")
    put("api/more", "m")
    world.wait_data({**expected, "now": b"three", "more": b"m"})

    before = len(proxy.requests)
    world.wait_refreshes()
    reads = [request.json for request in proxy.requests[before:] if b"Names" in request.raw]
    how = {read["WithDecryption"] for read in reads if f"{level}/api/key" in read["Names"]}
    assert how == {False}, "what is known is not decrypted again"
    ssm.delete_parameter(Name=f"{level}/api/more")
    world.wait_data({**expected, "now": b"three"})
