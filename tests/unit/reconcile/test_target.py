"""The target Secret on the API server: made, changed by what differs, never taken from others."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.apiserver import Call, FakeApiServer, Refusal, serving
from support.objects import external_secret, secret_body
from syncret.api.secret import ManagedSecret, parse_secret
from syncret.constants import MANAGED_LABEL, OWNER_ANNOTATION
from syncret.digest import Digester
from syncret.errors import (
    KubeConflict,
    KubeForbidden,
    KubeUnavailable,
    SecretImmutable,
    SecretNotOwned,
    SyncretError,
)
from syncret.kube.client import KubeClient
from syncret.kube.resources import Resource
from syncret.reconcile.ownership import refuse_foreign
from syncret.reconcile.secretio import Change, Written
from syncret.reconcile.target import write_target

DIGESTER = Digester(b"k" * 32)
RECORD = external_secret()
DATA = {"user": b"app", "password": b"hunter2-not-real"}


def _known(cluster: FakeApiServer) -> ManagedSecret | None:
    """What the watch has told of the Secret."""
    if not cluster.has("secrets", "payments", "db"):
        return None
    return parse_secret(cluster.get("secrets", "payments", "db"), DIGESTER)


async def _write(
    kube: KubeClient, known: ManagedSecret | None, data: Mapping[str, bytes] | None = None
) -> Written:
    return await write_target(
        kube, DIGESTER, RECORD, known=known, data=DATA if data is None else data
    )


async def test_it_is_made_with_label_and_owner(cluster: FakeApiServer, kube: KubeClient) -> None:
    written = await _write(kube, None)
    body = cluster.get("secrets", "payments", "db")
    assert cluster.secret("payments", "db") == DATA
    assert body["type"] == "Opaque"
    assert body["metadata"]["labels"] == {MANAGED_LABEL: "true"}
    assert body["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "syncret.io/v1alpha1",
            "kind": "ExternalSecret",
            "name": "db",
            "uid": "uid-1",
            "controller": True,
        }
    ]
    assert [entry["manager"] for entry in body["metadata"]["managedFields"]] == ["syncret"]
    assert written == Written(parse_secret(body, DIGESTER), Change.CREATED)


async def test_no_byte_comes_back(cluster: FakeApiServer, kube: KubeClient) -> None:
    await _write(kube, None)
    await _write(kube, _known(cluster), {**DATA, "user": b"other"})
    for value in cluster.get("secrets", "payments", "db")["data"].values():
        assert value.encode() not in cluster.answered
    assert b"resourceVersion" in cluster.answered


async def test_what_is_there_already_costs_no_request(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    await _write(kube, None)
    known, calls = _known(cluster), len(cluster.calls)
    assert known is not None
    assert await _write(kube, known) == Written(known, Change.NONE)
    assert len(cluster.calls) == calls


async def test_a_patch_changes_what_differs_and_removes_what_is_gone(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    cluster.put("secrets", secret_body("db", {"user": b"app", "password": b"old", "gone": b"x"}))
    theirs = {"metadata": {"annotations": {"theirs": "stays"}, "labels": {"theirs": "stays"}}}
    cluster.edit("secrets", "payments", "db", theirs)
    written = await _write(kube, _known(cluster))
    body = cluster.get("secrets", "payments", "db")
    assert cluster.secret("payments", "db") == DATA
    assert body["metadata"]["annotations"] == {"theirs": "stays", OWNER_ANNOTATION: "db"}
    assert body["metadata"]["labels"] == {MANAGED_LABEL: "true", "theirs": "stays"}
    assert written == Written(parse_secret(body, DIGESTER), Change.UPDATED)


async def test_only_what_differs_is_sent(kube: KubeClient) -> None:
    sent: list[Mapping[str, object]] = []

    class Recording:
        """The client, with an eye on what passes."""

        get, get_metadata = kube.get, kube.get_metadata
        create, delete = kube.create, kube.delete

        async def merge_patch(
            self,
            resource: Resource,  # noqa: ARG002 - the client's
            body: Mapping[str, Any],
            **_: Any,
        ) -> Mapping[str, Any]:
            sent.append(body)
            return {"metadata": {"resourceVersion": "9"}}

    known = parse_secret(
        secret_body("db", {**DATA, "password": b"old", "gone": b"x"}, version=8), DIGESTER
    )
    await write_target(Recording(), DIGESTER, RECORD, known=known, data=DATA)
    (body,) = sent
    assert body["data"] == {"password": b64encode(DATA["password"]).decode(), "gone": None}


async def test_a_label_that_is_missing_is_set_and_the_data_count_as_unchanged(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    cluster.put("secrets", secret_body("db", DATA, managed=False))
    written = await _write(kube, None)
    body = cluster.get("secrets", "payments", "db")
    assert body["metadata"]["labels"] == {MANAGED_LABEL: "true"}
    assert written == Written(parse_secret(body, DIGESTER), Change.NONE)


@pytest.mark.parametrize("owner", ["", "somebody"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
async def test_what_belongs_to_others_is_never_touched(
    cluster: FakeApiServer, kube: KubeClient, owner: str, known: bool
) -> None:
    theirs = cluster.put("secrets", secret_body("db", {"theirs": b"x"}, owner=owner))
    with pytest.raises(SecretNotOwned) as caught:
        await _write(kube, _known(cluster) if known else None)
    assert cluster.get("secrets", "payments", "db") == theirs
    assert ("belongs to another object" in caught.value.message) == bool(owner)
    assert "spec.target.name" in caught.value.message


def test_owned_is_who_controls_or_whom_the_annotation_names() -> None:
    def refuse(body: dict[str, Any]) -> None:
        secret = parse_secret({**secret_body(), "metadata": body}, DIGESTER)
        refuse_foreign(RECORD, secret, exists=lambda _: True)

    meta = secret_body()["metadata"]
    refuse(meta)
    refuse({**meta, "annotations": {}})
    refuse({**meta, "ownerReferences": []})
    mentioned = [{**meta["ownerReferences"][0], "controller": False}]
    for body in (
        {**meta, "annotations": {}, "ownerReferences": mentioned},
        {**meta, "annotations": {OWNER_ANNOTATION: "other"}, "ownerReferences": []},
        {**meta, "ownerReferences": [{**meta["ownerReferences"][0], "name": "x", "uid": "x"}]},
    ):
        with pytest.raises(SecretNotOwned):
            refuse(body)


async def test_taken_by_another_between_look_and_write(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    theirs = secret_body("db", {"theirs": b"x"}, owner="somebody")

    def meanwhile(_call: Call) -> None:
        cluster.put("secrets", theirs)

    cluster.intercept("POST", "secrets", meanwhile)
    with pytest.raises(SecretNotOwned):
        await _write(kube, None)
    assert cluster.secret("payments", "db") == {"theirs": b"x"}


async def test_changed_by_another_between_look_and_write(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    """The cache is behind: what is compared is read anew, and the other's key goes as well."""
    cluster.put("secrets", secret_body("db", {"user": b"old"}))
    known = _known(cluster)
    cluster.edit("secrets", "payments", "db", {"data": {"extra": "eA=="}})
    written = await _write(kube, known)
    assert cluster.secret("payments", "db") == DATA
    assert written == Written(
        parse_secret(cluster.get("secrets", "payments", "db"), DIGESTER), Change.UPDATED
    )


async def test_made_right_by_another_life_in_the_meantime(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    """The answer to the POST was lost with the process."""
    await _write(kube, None)
    before = cluster.get("secrets", "payments", "db")
    written = await _write(kube, None)
    assert written.change is Change.NONE
    assert cluster.get("secrets", "payments", "db") == before


async def test_deleted_in_the_meantime(cluster: FakeApiServer, kube: KubeClient) -> None:
    cluster.put("secrets", secret_body("db", {"user": b"old"}))
    known = _known(cluster)
    cluster.remove("secrets", "payments", "db")
    assert (await _write(kube, known)).change is Change.CREATED
    assert cluster.secret("payments", "db") == DATA


async def test_made_anew_by_another_in_the_meantime(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    cluster.put("secrets", secret_body("db", {"user": b"old"}))
    known = _known(cluster)
    cluster.remove("secrets", "payments", "db")
    cluster.put("secrets", secret_body("db", {"theirs": b"x"}, uid="secret-2", owner="somebody"))
    with pytest.raises(SecretNotOwned):
        await _write(kube, known)
    assert cluster.secret("payments", "db") == {"theirs": b"x"}


async def test_somebody_who_never_stops_wins_for_now(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    cluster.put("secrets", secret_body("db", {"user": b"old"}))
    count = 0

    def meanwhile(_call: Call) -> None:
        nonlocal count
        count += 1
        cluster.edit("secrets", "payments", "db", {"metadata": {"labels": {"n": str(count)}}})

    cluster.intercept("PATCH", "secrets", meanwhile, times=100)
    with pytest.raises(KubeConflict):
        await _write(kube, _known(cluster))
    assert cluster.secret("payments", "db") == {"user": b"old"}
    assert count == 4


async def test_three_conflicts_are_not_too_many(cluster: FakeApiServer, kube: KubeClient) -> None:
    cluster.put("secrets", secret_body("db", {"user": b"old"}))
    cluster.intercept("PATCH", "secrets", Refusal(409, "Conflict"), times=3)
    assert (await _write(kube, _known(cluster))).change is Change.UPDATED


@pytest.mark.parametrize("data", [{**DATA, "user": b"new"}, {"user": b"app"}])
async def test_an_immutable_secret_is_not_changed(
    cluster: FakeApiServer, kube: KubeClient, data: Mapping[str, bytes]
) -> None:
    before = cluster.put("secrets", secret_body("db", DATA, immutable=True))
    with pytest.raises(SecretImmutable, match="delete it"):
        await _write(kube, _known(cluster), data)
    assert cluster.get("secrets", "payments", "db") == before


async def test_an_immutable_secret_that_lost_its_label_gets_it_back(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    cluster.put("secrets", secret_body("db", DATA, immutable=True, managed=False))
    assert (await _write(kube, _known(cluster))).change is Change.NONE
    labels = cluster.get("secrets", "payments", "db")["metadata"]["labels"]
    assert labels == {MANAGED_LABEL: "true"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Refusal(500), KubeUnavailable), (Refusal(403, "Forbidden"), KubeForbidden)],
)
@pytest.mark.parametrize("verb", ["POST", "PATCH"])
async def test_a_refusal_leaves_the_secret_as_it_was(
    cluster: FakeApiServer, kube: KubeClient, verb: str, answer: Refusal, error: type[SyncretError]
) -> None:
    if verb == "PATCH":
        cluster.put("secrets", secret_body("db", {"user": b"old"}))
    before = dict(cluster.objects)
    cluster.intercept(verb, "secrets", answer)
    with pytest.raises(error, match=r"secrets|Secret") as caught:
        await _write(kube, _known(cluster))
    assert cluster.objects == before
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("there", [False, True], ids=["made", "patched"])
async def test_cancelled_at_the_write_it_is_done_or_not_done(
    cluster: FakeApiServer, kube: KubeClient, there: bool, after: bool
) -> None:
    old = {"user": b"old", "gone": b"x"}
    if there:
        cluster.put("secrets", secret_body("db", old))
    writing = asyncio.ensure_future(_write(kube, _known(cluster)))

    def cancel(_call: Call) -> Refusal:
        writing.cancel()
        return Refusal(500)

    cluster.intercept("PATCH" if there else "POST", "secrets", cancel, after=after)
    await asyncio.wait([writing])
    assert writing.cancelled()
    if after:
        assert cluster.secret("payments", "db") == DATA
    elif there:
        assert cluster.secret("payments", "db") == old
    else:
        assert cluster.objects == {}
    # The next life, with what its watch tells.
    done = Change.NONE if after else Change.UPDATED if there else Change.CREATED
    assert (await _write(kube, _known(cluster))).change is done
    assert cluster.secret("payments", "db") == DATA


_DATA = st.dictionaries(st.sampled_from(["a", "b", "c.d"]), st.binary(max_size=2), max_size=3)


@given(held=st.none() | _DATA, believed=st.none() | _DATA, wanted=_DATA)
@settings(max_examples=60, deadline=None)
def test_whatever_is_held_and_believed_the_secret_ends_as_wanted(
    held: dict[str, bytes] | None, believed: dict[str, bytes] | None, wanted: dict[str, bytes]
) -> None:
    """``believed`` is what a cache that is behind has of it."""

    async def scenario() -> None:
        async with serving() as cluster, aiohttp.ClientSession() as session:
            kube = KubeClient(session, cluster.url)
            if held is not None:
                cluster.put("secrets", secret_body("db", held))
            known = None
            if believed is not None and believed == held:
                known = _known(cluster)
            elif believed is not None:
                known = parse_secret(secret_body("db", believed, version=0), DIGESTER)
            written = await _write(kube, known, wanted)
            if written.secret == known:
                return  # what is believed is as wanted: the watch will tell otherwise
            assert cluster.secret("payments", "db") == wanted
            assert written.secret == _known(cluster)

    asyncio.run(scenario())
