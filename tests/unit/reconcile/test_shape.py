"""What a Secret may have: types, data, labels and annotations."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncret.api.secret import OwnMetadata, metadata_annotation, parse_metadata
from syncret.constants import MAX_SECRET_BYTES, METADATA_ANNOTATION
from syncret.digest import Digester
from syncret.errors import InvalidKey, MetadataInvalid, SecretTooLarge, TypeMismatch
from syncret.reconcile.shape import Shape, check_data, check_metadata, check_type

VALUE = "hunter2 not real"
PREFIX = "kubernetes.io/"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("Opaque", {}),
        ("example.com/any", {"a": b"b"}),
        ("tls", {"tls.crt": b"x", "tls.key": b"y", "ca.crt": b""}),
        ("dockerconfigjson", {".dockerconfigjson": b'{"auths": {"r": {"auth": "eA=="}}}'}),
        ("dockercfg", {".dockercfg": b'{"r": {"auth": "eA=="}}'}),
        ("basic-auth", {"username": b"a"}),
        ("basic-auth", {"password": b"a"}),
        ("ssh-auth", {"ssh-privatekey": b"-----BEGIN OPENSSH PRIVATE KEY-----\n"}),
    ],
)
def test_data_that_fit_their_type(kind: str, data: Mapping[str, bytes]) -> None:
    check_type(kind if "/" in kind or kind == "Opaque" else PREFIX + kind, data)


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        ("tls", {"tls.crt": b"x"}, 'needs "tls.key"'),
        ("tls", {"tls.crt": b"", "tls.key": b"y"}, 'needs "tls.crt"'),
        ("dockerconfigjson", {}, 'needs ".dockerconfigjson"'),
        ("dockerconfigjson", {".dockerconfigjson": VALUE.encode()}, "is not a JSON object"),
        ("dockerconfigjson", {".dockerconfigjson": b"[]"}, "is not a JSON object"),
        ("dockerconfigjson", {".dockerconfigjson": b"{}"}, 'needs an object "auths"'),
        ("dockerconfigjson", {".dockerconfigjson": b'{"auths": {"r": 1}}'}, "has a registry whose"),
        ("dockercfg", {".dockercfg": b'{"r": "x"}'}, "has a registry whose value"),
        ("dockercfg", {".dockercfg": b"[" * 100_000}, "is not a JSON object"),
        ("basic-auth", {"username": b"", "other": b"x"}, 'needs "username" or "password"'),
        ("ssh-auth", {"ssh-privatekey": VALUE.encode()}, "is not a private key"),
    ],
)
def test_data_that_do_not(kind: str, data: Mapping[str, bytes], says: str) -> None:
    with pytest.raises(TypeMismatch) as refused:
        check_type(PREFIX + kind, data)
    assert says in refused.value.message
    assert PREFIX + kind in refused.value.message
    assert VALUE not in refused.value.message


@pytest.mark.parametrize("key", ["", ".", "..", "..a", "a b", "a/b", "ä", "x" * 254])
def test_keys_that_no_secret_has(key: str) -> None:
    with pytest.raises(InvalidKey):
        check_data({key: b""})


def test_a_secret_has_an_end() -> None:
    check_data({"a": bytes(MAX_SECRET_BYTES)})
    with pytest.raises(SecretTooLarge):
        check_data({"a": bytes(MAX_SECRET_BYTES), "b": b"x"})


@pytest.mark.parametrize("name", ["a", "A-b_c.d", "example.com/a", "a.b-c.d/x", "x" * 63])
def test_names_of_labels(name: str) -> None:
    check_metadata({name: "v"}, {name: VALUE})
    check_metadata({name: ""}, {})


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "a b", "x" * 64, "/a", "a/", "A.com/a", "a/b/c", "a\n", "a..b/c"]
)
def test_names_that_are_none(name: str) -> None:
    for labels, annotations in (({name: ""}, {}), ({}, {name: ""})):
        with pytest.raises(MetadataInvalid, match="a name that is none"):
            check_metadata(labels, annotations)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("syncret.io/managed", "Syncret's own"),
        ("x.syncret.io/y", "Syncret's own"),
        ("kubernetes.io/service-account.name", "gives an identity"),
        ("kubernetes.io/service-account.uid", "gives an identity"),
        ("eks.amazonaws.com/role-arn", "gives an identity"),
        ("iam.gke.io/gcp-service-account", "gives an identity"),
        ("azure.workload.identity/client-id", "gives an identity"),
    ],
)
def test_names_that_no_template_may_give(name: str, says: str) -> None:
    for labels, annotations in (({name: "x"}, {}), ({}, {name: "x"})):
        with pytest.raises(MetadataInvalid, match=says):
            check_metadata(labels, annotations)
    check_metadata({}, {"syncret.io.example.com/a": "x", "kubernetes.io/description": "x"})


@pytest.mark.parametrize("value", ["a b", "-a", "a-", "x" * 64, "a\n", "a/b", "ä"])
def test_values_that_no_label_has_are_not_quoted(value: str) -> None:
    with pytest.raises(MetadataInvalid) as refused:
        check_metadata({"a": value}, {})
    assert f'"{value}"' not in refused.value.message


def test_annotations_have_an_end() -> None:
    with pytest.raises(MetadataInvalid, match="bytes of annotations"):
        check_metadata({}, {"a": "x" * 250 * 1024})


NAMES = st.dictionaries(st.sampled_from("abc"), st.text(max_size=4), max_size=3)
DIGESTER = Digester(b"k" * 32)


def meta(labels: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, object]:
    return {"namespace": "n", "name": "s", "labels": labels, "annotations": annotations}


@given(labels=NAMES, annotations=NAMES, others=NAMES)
def test_what_is_written_is_known_again(
    labels: dict[str, str], annotations: dict[str, str], others: dict[str, str]
) -> None:
    digest = Shape(labels=labels, annotations=annotations).digest(DIGESTER, "n", "s")
    ours = metadata_annotation(labels, annotations, digest)
    theirs = {f"x{name}": value for name, value in others.items()}
    found = parse_metadata(
        meta({**theirs, **labels}, {**theirs, **annotations, METADATA_ANNOTATION: ours}), DIGESTER
    )
    assert found == OwnMetadata(
        tuple(sorted(labels)), tuple(sorted(annotations)), digest, intact=True
    )
    for name, value in labels.items():
        changed = {**labels, name: value + "!"}
        found = parse_metadata(meta(changed, {**annotations, METADATA_ANNOTATION: ours}), DIGESTER)
        assert found is not None
        assert not found.intact


@given(text=st.text(max_size=30))
def test_an_annotation_that_somebody_wrote(text: str) -> None:
    for said in (text, json.dumps(text), json.dumps([text]), json.dumps({"labels": [text, 1]})):
        found = parse_metadata(meta({}, {METADATA_ANNOTATION: said}), DIGESTER)
        assert found is not None
        assert not found.intact
    assert parse_metadata(meta({}, {}), DIGESTER) is None
