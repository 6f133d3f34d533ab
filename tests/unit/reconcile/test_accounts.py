"""Tokens of ServiceAccounts: what is asked of the API server, and what is said when it refuses."""

import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from syncret.errors import (
    AccessDenied,
    KubeError,
    KubeForbidden,
    KubeInvalid,
    KubeNotFound,
    KubeUnavailable,
    ProviderError,
    ProviderUnavailable,
)
from syncret.kube.resources import Resource
from syncret.reconcile.accounts import Account

BODY = {
    "metadata": {
        "namespace": "payments",
        "name": "reader",
        "uid": "sa-1",
        "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/reader"},
    }
}


class Maker:
    """Makes tokens, or fails."""

    def __init__(self, failure: KubeError | None = None) -> None:
        self.failure = failure
        self.asked: list[tuple[str, str, str, str, Mapping[str, Any]]] = []

    async def create(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        field_manager: str,
    ) -> Mapping[str, Any]:
        assert field_manager == "syncret"
        self.asked.append((resource.plural, namespace, name, subresource, body["spec"]))
        if self.failure is not None:
            raise self.failure
        status = {"token": "not-a-real-token", "expirationTimestamp": "2026-01-02T03:04:05Z"}
        return {"status": status}


async def test_a_token_is_made_for_its_audiences_and_tells_when_it_expires() -> None:
    maker = Maker()
    account = Account(maker, BODY)
    token = await account.token(["sts.amazonaws.com"], seconds=900)
    assert token.reveal() == b"not-a-real-token"
    assert token.expires == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    spec = {"audiences": ["sts.amazonaws.com"], "expirationSeconds": 900}
    assert maker.asked == [("serviceaccounts", "payments", "reader", "token", spec)]


async def test_no_token_is_asked_for_that_the_api_server_finds_too_short() -> None:
    maker = Maker()
    await Account(maker, BODY).token([], seconds=1)
    assert maker.asked[0][-1] == {"expirationSeconds": 600}


@pytest.mark.parametrize(
    "audience",
    [
        "https://kubernetes.default.svc.cluster.local",
        "https://kubernetes.default.svc",
        "kubernetes.default",
    ],
)
async def test_no_token_is_made_that_could_be_used_at_the_api_server(audience: str) -> None:
    maker = Maker()
    with pytest.raises(AccessDenied, match="name the audience of the store"):
        await Account(maker, BODY).token(["vault", audience])
    assert maker.asked == []


@pytest.mark.parametrize(
    ("failure", "expected", "says"),
    [
        (KubeForbidden("no"), AccessDenied, '"create" on the resource "serviceaccounts/token"'),
        (KubeNotFound("no"), AccessDenied, "does not exist any more"),
        (KubeInvalid("no"), AccessDenied, "correct the audiences"),
        (KubeUnavailable("no"), ProviderUnavailable, "tried again"),
    ],
    ids=lambda case: case.__name__ if isinstance(case, type) else "",
)
async def test_a_refusal_says_what_to_do(
    failure: KubeError, expected: type[ProviderError], says: str
) -> None:
    with pytest.raises(expected, match=says) as raised:
        await Account(Maker(failure), BODY).token(["vault"])
    assert 'ServiceAccount "reader" in namespace "payments"' in raised.value.message
    assert raised.value.__context__ is None, "".join(traceback.format_exception(raised.value))


def test_another_annotation_or_another_uid_is_another_account() -> None:
    same = Account(Maker(), {**BODY, "other": "part"})
    other = Account(Maker(), {"metadata": {**BODY["metadata"], "annotations": {}}})
    again = Account(Maker(), {"metadata": {**BODY["metadata"], "uid": "sa-2"}})
    prints = {one.fingerprint for one in (Account(Maker(), BODY), same, other, again)}
    assert len(prints) == 3
