"""What is written down of credentials: read as it was written, and not believed otherwise."""

import base64
import json
from typing import Any

import pytest

from syncret.api.generated import (
    Credential,
    GeneratedState,
    HeldLease,
    Retired,
    data_key,
    digest_of_values,
    generator_key,
    generator_name,
    parse_generated,
    render_generated,
    secret_name,
)
from syncret.api.keys import ObjectKey
from syncret.constants import GENERATED_ANNOTATION, GENERATED_TYPE
from syncret.digest import Digester

DIGESTER = Digester(b"k" * 32)
VALUES = b'{"password":"not-real"}'
LEASE = HeldLease("database/creds/app/fake", 1800.0, 3600.0, 1000.0, renewable=True, holder="fake")
PLAIN = Credential("one", "spec", 900.0, digest_of_values(DIGESTER, "one", VALUES), "wish", 9000.0)
LEASED = Credential("two", "spec", 900.0, digest_of_values(DIGESTER, "two", VALUES), lease=LEASE)
STATE = GeneratedState(
    "payments",
    "db",
    "uid-1",
    "secret-1",
    "7",
    {"ClusterGenerator/all": LEASED, "Generator/db": PLAIN},
    (Retired("Generator/db", "zero", LEASE, 800.0, released=850.0),),
)


def body(state: GeneratedState = STATE, **meta: Any) -> dict[str, Any]:
    return {
        "type": GENERATED_TYPE,
        "metadata": {
            "name": state.name,
            "namespace": state.namespace,
            "uid": state.uid,
            "resourceVersion": state.resource_version,
            "annotations": {GENERATED_ANNOTATION: render_generated(state, DIGESTER)},
            "ownerReferences": [
                {
                    "apiVersion": "syncret.io/v1alpha1",
                    "kind": "ExternalSecret",
                    "name": "db",
                    "uid": "uid-1",
                    "controller": True,
                }
            ],
            **meta,
        },
        "data": {data_key(name): base64.b64encode(VALUES).decode() for name in state.credentials},
    }


def test_what_is_written_is_read() -> None:
    assert parse_generated(body(), DIGESTER) == STATE


def test_there_are_no_values_in_it() -> None:
    assert "not-real" not in render_generated(STATE, DIGESTER)


def test_it_is_for_the_secret_of_that_external_secret_alone() -> None:
    assert parse_generated(body() | {"type": "Opaque"}, DIGESTER) is None
    assert parse_generated(body(name="copy"), DIGESTER) is None
    assert parse_generated(body(ownerReferences=[]), DIGESTER) is None
    other = [{"kind": "Deployment", "apiVersion": "apps/v1", "uid": "uid-1", "controller": True}]
    assert parse_generated(body(ownerReferences=other), DIGESTER) is None


def test_other_values_are_noticed() -> None:
    edited = body()
    edited["data"]["generator.db"] = base64.b64encode(b"{}").decode()
    del edited["data"]["clustergenerator.all"]
    state = parse_generated(edited, DIGESTER)
    assert state is not None
    assert not state.credentials["Generator/db"].intact
    assert not state.credentials["ClusterGenerator/all"].intact


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        json.dumps({"seal": "x", "credentials": {"Generator/db": {}}, "retired": []}),
        render_generated(STATE, DIGESTER).replace("fake", "of-others"),
        render_generated(STATE, DIGESTER).replace('"retired":[', '"retired": [null,'),
        "[" * 100_000,
        "x" * 200_000,
    ],
)
def test_what_is_no_record_of_ours_says_nothing(text: str) -> None:
    state = parse_generated(body(annotations={GENERATED_ANNOTATION: text}), DIGESTER)
    assert state is not None
    assert (state.credentials, state.retired) == ({}, ())


def test_the_record_of_another_secret_says_nothing() -> None:
    elsewhere = render_generated(
        GeneratedState("payments", "db", "uid-2", credentials=STATE.credentials), DIGESTER
    )
    state = parse_generated(body(annotations={GENERATED_ANNOTATION: elsewhere}), DIGESTER)
    assert state is not None
    assert state.credentials == {}


def test_with_another_key_of_digests_only_what_is_not_leased_is_believed() -> None:
    state = parse_generated(body(), Digester(b"n" * 32))
    assert state is not None
    assert state.credentials == {"Generator/db": PLAIN}
    assert state.retired == ()


def test_how_generators_are_named() -> None:
    for key in (ObjectKey("Generator", "n", "db"), ObjectKey("ClusterGenerator", "", "db")):
        assert generator_key(generator_name(key), "n") == key
    assert generator_key("SecretStore/db", "n") is None
    assert secret_name("u") == "syncret-generated-u"
    assert data_key("Generator/db.one") == "generator.db.one"
    long = {data_key(f"ClusterGenerator/{'a' * 252}{end}") for end in "ab"}
    assert len(long) == 2
    assert all(len(key) <= 253 for key in long)


def test_which_state_is_the_newer_one() -> None:
    later = GeneratedState("payments", "db", "uid-1", "secret-1", "10")
    assert STATE.older_than(later)
    assert not later.older_than(STATE)
    assert not STATE.older_than(GeneratedState("payments", "db", "uid-1", "secret-2", "10"))
    assert not STATE.older_than(GeneratedState("payments", "db", "uid-1", "secret-1", "x"))
