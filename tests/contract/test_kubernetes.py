"""What only Secrets of a cluster do: whole Secrets, RBAC, renewed tokens, lists of metadata."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contract.harness import Observations
from contract.kubernetes import NAMESPACE, READER, Cluster, KubernetesHarness
from contract.opened import bytes_of, fresh, story
from syncret.constants import BASE64_FIELD
from syncret.errors import AccessDenied, ProviderRejected
from syncret.providers.base import Client, NotFound, Query, Ref, SecretValue, Unchanged
from syncret.providers.bounds import Bounds, OwnCluster
from syncret.providers.kubernetes.client import GET, LIST, LIST_FROM
from syncret.providers.kubernetes.provider import KubernetesProvider
from syncret.reconcile.select import expand_properties, select_property


@pytest.fixture
def kubernetes(apiserver: Cluster) -> Iterator[KubernetesHarness]:
    harness = KubernetesHarness(apiserver)
    yield harness
    harness.close()


def data(**values: bytes) -> dict[str, Any]:
    return {"data": {name: base64.b64encode(value).decode() for name, value in values.items()}}


CA = {"type": "ConfigMap", "name": "other-cluster", "key": "ca.crt"}


def name() -> str:
    return fresh(separator=".")


class Account:
    """A ServiceAccount whose tokens the API server really makes."""

    namespace = NAMESPACE
    annotations: Mapping[str, str] = {}

    def __init__(self, cluster: Cluster, name: str = READER, *, seconds: float = 3600) -> None:
        self.name = name
        self._cluster = cluster
        self._seconds = seconds
        self.asked: list[tuple[tuple[str, ...], int]] = []
        #: Made up instead, while set.
        self.instead = b""

    async def token(self, audiences: Sequence[str], *, seconds: int = 3600) -> SecretValue:
        self.asked.append((tuple(audiences), seconds))
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{self.name}/token"
        made = self._cluster.create(path, {"spec": {"audiences": list(audiences)}})
        expires = datetime.now(UTC) + timedelta(seconds=self._seconds)
        return SecretValue(self.instead or made["status"]["token"].encode(), expires=expires)


async def by_account(
    harness: KubernetesHarness, account: Account, observe: Observations | None = None
) -> Client:
    """A store of the operator's own cluster, as a ServiceAccount."""
    own = OwnCluster(harness.proxy.url, harness.cluster.ca)
    provider = KubernetesProvider(Bounds(cluster=own))
    config = provider.parse(
        {"remoteNamespace": NAMESPACE, "auth": {"serviceAccount": {"name": account.name}}},
        cluster_scoped=False,
    )
    return await provider.open(
        config, {}, observe=observe or Observations(), accounts={"serviceAccount": account}
    )


async def test_a_whole_secret_is_an_object_of_texts(kubernetes: KubernetesHarness) -> None:
    key = name()
    kubernetes.write(key, data(username=b"app", password="höflich".encode(), empty=b""))
    client = await kubernetes.whole(Observations())
    value = bytes_of((await client.fetch([Ref(key)]))[Ref(key)])
    await client.close()
    assert json.loads(value) == {"username": "app", "password": "höflich", "empty": ""}
    assert value == value.strip()


async def test_entries_that_are_no_text_survive_as_bytes(kubernetes: KubernetesHarness) -> None:
    key, keystore = name(), b"\xfe\xed\xfe\xed\x00\xff"
    kubernetes.write(key, data(username=b"app", keystore=keystore))
    client = await kubernetes.whole(Observations())
    whole, entry, missing = Ref(key), Ref(f"{key}/keystore"), Ref(f"{key}/none")
    outcomes = await client.fetch([whole, entry, missing])
    await client.close()
    value = bytes_of(outcomes[whole])
    assert json.loads(value)["keystore"] == {BASE64_FIELD: base64.b64encode(keystore).decode()}
    # What the engine makes of it.
    assert expand_properties(value) == {"username": b"app", "keystore": keystore}
    assert select_property(value, "keystore") == keystore
    assert bytes_of(outcomes[entry]) == keystore
    assert outcomes[missing] == NotFound()


async def test_a_secret_is_read_once_whatever_is_wanted_of_it(
    kubernetes: KubernetesHarness,
) -> None:
    key = name()
    kubernetes.write(key, data(a=b"1", b=b"2"))
    kubernetes.tag(key, {"team": "payments"})
    client = await kubernetes.whole(Observations())
    refs = [Ref(f"{key}/a"), Ref(f"{key}/b"), Ref(key), Ref(key, metadata=True)]
    outcomes = await client.fetch(refs)
    await client.close()
    assert kubernetes.requests == 1
    assert [bytes_of(outcomes[ref]) for ref in refs[:2]] == [b"1", b"2"]
    first = outcomes[refs[0]]
    assert isinstance(first, SecretValue)
    assert first.tags == {"team": "payments"}


async def test_many_known_versions_are_compared_by_one_list(kubernetes: KubernetesHarness) -> None:
    kubernetes.namespace = fresh(separator="-")  # with few enough for one page
    kubernetes.cluster.namespace(kubernetes.namespace)
    token = kubernetes.cluster.reader(READER, ["get", "list"], namespace=kubernetes.namespace)
    keys = [name() for _ in range(LIST_FROM + 2)]
    versions = {Ref(key): kubernetes.write(key, data(a=b"1")) for key in keys}
    changed, gone, *same = versions
    kubernetes.write(changed.key, data(a=b"2"))
    kubernetes.delete(gone.key)
    observed = Observations()
    client = await kubernetes.whole(observed, token)
    outcomes = await client.fetch(list(versions), known=versions)
    await client.close()
    assert all(outcomes[ref] == Unchanged(versions[ref]) for ref in same)
    assert json.loads(bytes_of(outcomes[changed])) == {"a": "2"}
    assert outcomes[gone] == NotFound()
    assert sorted(observed.calls) == sorted([(LIST, "ok"), (GET, "ok"), (GET, "not_found")])
    asked = next(one for one in kubernetes.proxy.requests if "limit=" in one.path)
    assert "PartialObjectMetadataList" in asked.headers["Accept"], "no values come along"


async def test_who_may_not_list_reads_and_asks_once_only(kubernetes: KubernetesHarness) -> None:
    token = kubernetes.cluster.reader(f"getter-{fresh(separator='-')[-15:]}", ["get"])
    keys = [name() for _ in range(LIST_FROM)]
    versions = {Ref(key): kubernetes.write(key, data(a=b"1")) for key in keys}
    observed = Observations()
    client = await kubernetes.whole(observed, token)
    for _ in range(2):
        outcomes = await client.fetch(list(versions), known=versions)
        assert all(json.loads(bytes_of(one)) == {"a": "1"} for one in outcomes.values())
    await client.check()
    with pytest.raises(AccessDenied) as raised:
        await client.find(Query())
    await client.close()
    assert observed.calls.count((LIST, "denied")) == 2, "once for the list, once for the search"
    assert 'grant the verb "list" on the resource "secrets"' in raised.value.message


async def test_whoever_has_no_role_is_told_the_verb_and_the_resource(
    kubernetes: KubernetesHarness,
) -> None:
    account = f"nobody-{fresh(separator='-')[-15:]}"
    kubernetes.cluster.reader(account, [])
    key = name()
    kubernetes.write(key, data(a=b"1"))
    client = await by_account(kubernetes, Account(kubernetes.cluster, account))
    outcome = (await client.fetch([Ref(key)]))[Ref(key)]
    assert isinstance(outcome, AccessDenied)
    grant = (
        f'grant the verb "get" on the resource "secrets" in namespace "{NAMESPACE}" to the '
        f'ServiceAccount "{account}"'
    )
    assert grant in outcome.message
    assert key in outcome.message
    with pytest.raises(AccessDenied) as raised:
        await client.check()
    await client.close()
    assert grant in raised.value.message


async def test_a_token_is_made_once_and_for_this_cluster(kubernetes: KubernetesHarness) -> None:
    account = Account(kubernetes.cluster)
    key = name()
    kubernetes.write(key, data(a=b"1"))
    client = await by_account(kubernetes, account)
    for _ in range(3):
        await client.fetch([Ref(key)])
    await client.close()
    assert account.asked == [((), 3600)]


async def test_a_token_is_renewed_before_it_ends(kubernetes: KubernetesHarness) -> None:
    account = Account(kubernetes.cluster, seconds=60)  # always about to end
    key = name()
    kubernetes.write(key, data(a=b"1"))
    client = await by_account(kubernetes, account)
    await client.fetch([Ref(key)])
    await client.fetch([Ref(key)])
    assert len(account.asked) == 1, "never more than one in ten seconds"
    client._identity._made -= 20  # type: ignore[attr-defined]
    await client.fetch([Ref(key)])
    await client.close()
    assert len(account.asked) == 2


async def test_a_refused_token_is_replaced_at_once_if_it_is_not_new(
    kubernetes: KubernetesHarness,
) -> None:
    account = Account(kubernetes.cluster)
    account.instead = b"fake-token-of-an-account-that-was-made-anew"
    key = name()
    kubernetes.write(key, data(a=b"1"))
    observed = Observations()
    client = await by_account(kubernetes, account, observed)
    with pytest.raises(AccessDenied, match="refused the credentials") as raised:
        await client.fetch([Ref(key)])
    assert account.instead.decode() not in story(raised.value)
    account.instead = b""
    client._identity._made -= 20  # type: ignore[attr-defined]
    outcome = (await client.fetch([Ref(key)]))[Ref(key)]
    await client.close()
    assert isinstance(outcome, SecretValue)
    assert observed.outcomes == ["denied", "denied", "ok"]


@pytest.mark.parametrize(
    ("audience", "accepted"), [("https://kubernetes.default.svc", True), ("elsewhere", False)]
)
async def test_a_token_for_another_cluster_names_its_audience(
    kubernetes: KubernetesHarness, audience: str, accepted: bool
) -> None:
    """There is one cluster here, which plays the other one: what it takes for itself it accepts."""
    account = Account(kubernetes.cluster)
    provider = KubernetesProvider(Bounds())
    config = provider.parse(
        {
            "server": {"url": kubernetes.proxy.url, "caProvider": CA},
            "remoteNamespace": NAMESPACE,
            "auth": {"serviceAccount": {"name": READER, "audiences": [audience]}},
        },
        cluster_scoped=False,
    )
    key = name()
    kubernetes.write(key, data(a=b"1"))
    client = await provider.open(
        config,
        {"ca": SecretValue(kubernetes.cluster.ca)},
        observe=Observations(),
        accounts={"serviceAccount": account},
    )
    try:
        outcome: object = (await client.fetch([Ref(key)]))[Ref(key)]
    except AccessDenied as error:
        outcome = error
    await client.close()
    assert account.asked == [((audience,), 3600)]
    assert isinstance(outcome, SecretValue if accepted else AccessDenied)


async def test_a_client_certificate_says_who_reads(kubernetes: KubernetesHarness) -> None:
    cluster = kubernetes.cluster
    pair = cluster.plane.authority.client("reading", "suite", "system:masters")
    provider = KubernetesProvider(Bounds())
    reference = {"name": "any", "key": "any"}
    config = provider.parse(
        {
            "server": {"url": cluster.plane.server, "caBundle": cluster.ca.decode()},
            "remoteNamespace": NAMESPACE,
            "auth": {"cert": {"clientCert": reference, "clientKey": reference}},
        },
        cluster_scoped=False,
    )
    credentials = {
        "clientCert": SecretValue(pair.cert.read_bytes()),
        "clientKey": SecretValue(pair.key.read_bytes()),
    }
    key = name()
    kubernetes.write(key, data(a=b"1"))
    client = await provider.open(config, credentials, observe=Observations())
    await client.check()
    assert json.loads(bytes_of((await client.fetch([Ref(key)]))[Ref(key)])) == {"a": "1"}
    await client.close()
    other = cluster.plane.authority.client("other", "suite")
    wrong = {**credentials, "clientKey": SecretValue(other.key.read_bytes())}
    with pytest.raises(AccessDenied, match="certificate and key that belong together") as raised:
        await provider.open(config, wrong, observe=Observations())
    assert "BEGIN" not in story(raised.value)


async def test_a_kubeconfig_says_where_and_who(kubernetes: KubernetesHarness) -> None:
    cluster = kubernetes.cluster
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [
            {
                "name": "c",
                "cluster": {
                    "server": kubernetes.proxy.url,
                    "certificate-authority-data": base64.b64encode(cluster.ca).decode(),
                },
            }
        ],
        "users": [{"name": "u", "user": {"token": cluster.token}}],
    }
    provider = KubernetesProvider(Bounds())
    config = provider.parse(
        {
            "remoteNamespace": NAMESPACE,
            "auth": {"kubeconfig": {"secretRef": {"name": "any", "key": "any"}}},
        },
        cluster_scoped=False,
    )
    key = name()
    kubernetes.write(key, data(a=b"1"))
    given = {"kubeconfig": SecretValue(json.dumps(kubeconfig).encode())}
    client = await provider.open(config, given, observe=Observations())
    await client.check()
    assert json.loads(bytes_of((await client.fetch([Ref(key)]))[Ref(key)])) == {"a": "1"}
    await client.close()
    kubeconfig["users"] = [{"name": "u", "user": {"exec": {"command": "/bin/sh"}}}]
    given = {"kubeconfig": SecretValue(json.dumps(kubeconfig).encode())}
    with pytest.raises(AccessDenied, match="its user has the field exec"):
        await provider.open(config, given, observe=Observations())


async def test_a_version_cannot_be_chosen(kubernetes: KubernetesHarness) -> None:
    key = name()
    version = kubernetes.write(key, data(a=b"1"))
    client = await kubernetes.whole(Observations())
    ref = Ref(key, version)
    outcome = (await client.fetch([ref, Ref(key)]))[ref]
    await client.close()
    assert isinstance(outcome, ProviderRejected)
    assert "leave remoteRef.version out" in outcome.message


async def test_a_certificate_of_somebody_else_is_not_trusted(
    kubernetes: KubernetesHarness,
) -> None:
    provider = KubernetesProvider(Bounds(cluster=OwnCluster(kubernetes.proxy.url)))
    account = Account(kubernetes.cluster)
    config = provider.parse(
        {"remoteNamespace": NAMESPACE, "auth": {"serviceAccount": {"name": READER}}},
        cluster_scoped=False,
    )
    client = await provider.open(
        config, {}, observe=Observations(), accounts={"serviceAccount": account}
    )
    with pytest.raises(Exception, match="No trusted TLS connection"):
        await client.check()
    await client.close()
    assert kubernetes.requests == 0
