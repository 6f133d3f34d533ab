"""Which stores may be used, and what they are opened with: the trust boundary is the namespace."""

import pytest

from support.apiserver import FakeApiServer, Refusal
from support.objects import secret_body
from support.provider import MemoryProvider
from syncret.api.keys import ObjectKey
from syncret.api.selector import Namespace
from syncret.api.store import Store
from syncret.errors import (
    CredentialsNotFound,
    KubeForbidden,
    SpecInvalid,
    StoreInvalid,
    StoreNotAllowed,
    StoreNotFound,
)
from syncret.reconcile.access import usable_store
from syncret.reconcile.stores import StoreClients
from unit.reconcile.opened import STORE, Make, store, used


@pytest.mark.parametrize(
    ("broken", "says"),
    [("missing", "does not exist: create it"), ("other key", 'has no key "token": add it')],
)
async def test_credentials_that_are_missing(
    clients: StoreClients, cluster: FakeApiServer, provider: MemoryProvider, broken: str, says: str
) -> None:
    if broken == "missing":
        cluster.remove("secrets", "payments", "token")
    else:
        cluster.edit("secrets", "payments", "token", {"data": {"token": None, "else": "eA=="}})
    with pytest.raises(CredentialsNotFound, match=says) as caught:
        await used(clients)
    assert 'Secret "token" in namespace "payments"' in caught.value.message
    assert provider.clients == []
    if broken == "missing":
        cluster.put("secrets", secret_body("token", {"token": b"x"}))
    else:
        cluster.edit("secrets", "payments", "token", {"data": {"token": "eA=="}})
    clients.is_well(STORE)
    assert (await used(clients)).credentials == {"token": b"x"}


async def test_a_secret_without_data_has_no_key(
    clients: StoreClients, cluster: FakeApiServer
) -> None:
    cluster.edit("secrets", "payments", "token", {"data": None})
    with pytest.raises(CredentialsNotFound, match="has no key"):
        await used(clients)


async def test_a_permission_that_is_missing_is_not_a_missing_secret(
    clients: StoreClients, cluster: FakeApiServer
) -> None:
    cluster.intercept("GET", "secrets", Refusal(403, "Forbidden"))
    with pytest.raises(KubeForbidden):
        await used(clients)


async def test_a_secret_store_never_takes_credentials_of_another_namespace(
    clients: StoreClients, cluster: FakeApiServer, provider: MemoryProvider
) -> None:
    """The CRD has no such field; a body that has it is read as if it had not."""
    theirs = secret_body("theirs", {"token": b"theirs"}, namespace="other", uid="secret-2")
    cluster.put("secrets", theirs)
    curious = store(credential={"name": "theirs", "key": "token", "namespace": "other"})
    with pytest.raises(CredentialsNotFound, match='in namespace "payments"'):
        await used(clients, curious)
    assert provider.clients == []


async def test_a_cluster_store_takes_them_from_where_it_says(
    clients: StoreClients, cluster: FakeApiServer
) -> None:
    theirs = secret_body("theirs", {"token": b"theirs"}, namespace="other", uid="secret-2")
    cluster.put("secrets", theirs)
    reference = {"name": "theirs", "key": "token", "namespace": "other"}
    client = await used(clients, store(namespace="", credential=reference))
    assert client.credentials == {"token": b"theirs"}


async def test_the_operators_own_identity_is_not_for_secret_stores(
    make: Make, provider: MemoryProvider
) -> None:
    bare, cluster_wide = store(credential=None), store(credential=None, namespace="")
    with pytest.raises(StoreInvalid, match="names no credentials"):
        await used(make(), bare)
    assert provider.clients == []
    assert (await used(make(), cluster_wide)).credentials == {}
    assert (await used(make(ambient=True), bare)).credentials == {}


async def test_a_store_of_no_known_kind(clients: StoreClients) -> None:
    with pytest.raises(SpecInvalid):
        await used(clients, Store(STORE.key, uid="x", generation=1, provider={"other": {}}))


def test_which_store_may_beused() -> None:
    cluster_wide = store(namespace="", namespaces=("payments",))
    stores = {STORE.key: STORE, cluster_wide.key: cluster_wide}
    assert usable_store(stores, STORE.key, Namespace("payments")) is STORE
    assert usable_store(stores, cluster_wide.key, Namespace("payments")) is cluster_wide
    with pytest.raises(StoreNotAllowed, match='"other"'):
        usable_store(stores, cluster_wide.key, Namespace("other"))
    with pytest.raises(StoreNotAllowed):
        usable_store(stores, STORE.key, Namespace("other"))
    with pytest.raises(StoreNotFound, match="SecretStore payments/nothing does not exist"):
        usable_store(stores, ObjectKey("SecretStore", "payments", "nothing"), Namespace("payments"))


def test_a_cluster_store_without_conditions_is_usable_nowhere() -> None:
    everywhere = store(namespace="")
    with pytest.raises(StoreNotAllowed):
        usable_store({everywhere.key: everywhere}, everywhere.key, Namespace("payments"))
