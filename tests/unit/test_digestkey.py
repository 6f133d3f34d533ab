"""The digest key: made once, never made anew over one that is broken."""

import base64
import logging
from typing import Any

import pytest

from support.apiserver import Call, FakeApiServer, Refusal
from syncret.constants import DIGEST_KEY_SECRET
from syncret.digestkey import load_or_create_digest_key
from syncret.errors import KubeForbidden, SetupError
from syncret.kube.client import KubeClient

NAMESPACE = "syncret-system"


def _body(data: dict[str, str] | None) -> dict[str, Any]:
    return {"metadata": {"name": DIGEST_KEY_SECRET, "namespace": NAMESPACE}, "data": data}


def _encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


async def test_it_is_made_once(
    cluster: FakeApiServer, kube: KubeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = await load_or_create_digest_key(kube, NAMESPACE)
    body = cluster.get("secrets", NAMESPACE, DIGEST_KEY_SECRET)
    assert len(key) == 32
    assert body["immutable"] is True
    assert cluster.secret(NAMESPACE, DIGEST_KEY_SECRET) == {"key": key}
    assert _encoded(key).encode() not in cluster.answered
    assert await load_or_create_digest_key(kube, NAMESPACE) == key
    assert cluster.get("secrets", NAMESPACE, DIGEST_KEY_SECRET) == body
    assert _encoded(key) not in caplog.text
    assert repr(key) not in caplog.text


async def test_two_are_never_the_same(cluster: FakeApiServer, kube: KubeClient) -> None:
    assert await load_or_create_digest_key(kube, "a") != await load_or_create_digest_key(kube, "b")


async def test_the_key_of_the_replica_that_was_faster_is_the_one(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    theirs = b"t" * 32

    def meanwhile(_call: Call) -> None:
        cluster.put("secrets", _body({"key": _encoded(theirs)}))

    cluster.intercept("POST", "secrets", meanwhile)
    assert await load_or_create_digest_key(kube, NAMESPACE) == theirs


@pytest.mark.parametrize(
    "data",
    [None, {}, {"other": _encoded(b"k" * 32)}, {"key": _encoded(b"k" * 31)}, {"key": ""}],
)
async def test_one_that_is_broken_is_told_and_not_replaced(
    cluster: FakeApiServer, kube: KubeClient, data: dict[str, str] | None
) -> None:
    body = cluster.put("secrets", _body(data))
    with pytest.raises(SetupError, match="restore it from a backup, or delete it"):
        await load_or_create_digest_key(kube, NAMESPACE)
    assert cluster.get("secrets", NAMESPACE, DIGEST_KEY_SECRET) == body


async def test_text_that_is_no_base64_is_broken_too(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    """The API server does not let it happen; a proxy before it may."""
    cluster.put("secrets", _body({}))
    for body in cluster.objects.values():
        body["data"] = {"key": "a"}
    with pytest.raises(SetupError, match="no usable"):
        await load_or_create_digest_key(kube, NAMESPACE)


async def test_a_permission_that_is_missing_is_told(
    cluster: FakeApiServer, kube: KubeClient
) -> None:
    cluster.intercept("GET", "secrets", Refusal(403, "Forbidden"))
    with pytest.raises(KubeForbidden):
        await load_or_create_digest_key(kube, NAMESPACE)
    assert cluster.objects == {}
