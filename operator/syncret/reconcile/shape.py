"""The Secret as it is to be: type, labels, annotations, and whether its data fit. Pure.

Kubernetes would refuse most of what is refused here, with a message that may quote a value, and
would take the rest: a certificate that is none, for example, which only its users would notice.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from syncret.api.secret import OwnMetadata, metadata_annotation, metadata_digest
from syncret.api.template import DEFAULT_TYPE, refused_name
from syncret.constants import (
    MAX_ANNOTATIONS_BYTES,
    MAX_KEYS,
    MAX_SECRET_BYTES,
    MAX_SECRET_KEY_LENGTH,
    METADATA_ANNOTATION,
)
from syncret.digest import Digester
from syncret.errors import InvalidKey, MetadataInvalid, SecretTooLarge, TypeMismatch

_NAME: Final = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_PREFIX: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")
_SECRET_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")

TLS: Final = "kubernetes.io/tls"


@dataclass(frozen=True, slots=True)
class Shape:
    """Type and metadata. ``has_metadata``: the template gives some, if only none at this time."""

    type: str = DEFAULT_TYPE
    labels: Mapping[str, str] = field(default_factory=dict, repr=False)
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)
    has_metadata: bool = False

    def digest(self, digester: Digester, namespace: str, name: str) -> str:
        """What stands for labels and annotations."""
        return metadata_digest(
            digester, namespace, name, labels=self.labels, annotations=self.annotations
        )


PLAIN: Final = Shape()


@dataclass(frozen=True, slots=True)
class Given:
    """Labels and annotations to write, None for one that has to go; and what is then known."""

    labels: Mapping[str, str | None]
    annotations: Mapping[str, str | None]
    after: OwnMetadata | None


@dataclass(frozen=True, slots=True)
class Own:
    """The metadata that a template gives to a Secret."""

    shape: Shape
    digester: Digester

    def changes(self, namespace: str, name: str, before: OwnMetadata | None) -> Given | None:
        """What has to be written; None: nothing. ``before``: what a template gave until now."""
        shape = self.shape
        if before is None and not shape.has_metadata:
            return None
        digest = shape.digest(self.digester, namespace, name)
        after = OwnMetadata(tuple(shape.labels), tuple(shape.annotations), digest, intact=True)
        if before is not None and shape.has_metadata and before.same_as(after):
            return None
        labels: dict[str, str | None] = dict.fromkeys(before.labels if before else ())
        annotations: dict[str, str | None] = dict.fromkeys(before.annotations if before else ())
        if not shape.has_metadata:
            return Given(labels, {**annotations, METADATA_ANNOTATION: None}, None)
        said = metadata_annotation(shape.labels, shape.annotations, digest)
        return Given(
            {**labels, **shape.labels},
            {**annotations, **shape.annotations, METADATA_ANNOTATION: said},
            after,
        )


def check_data(data: Mapping[str, bytes]) -> None:
    """Raises InvalidKey or SecretTooLarge for data that no Secret can have."""
    for key in data:
        if (
            not _SECRET_KEY.fullmatch(key)
            or len(key) > MAX_SECRET_KEY_LENGTH
            or key == "."
            or key.startswith("..")
        ):
            raise InvalidKey(
                "spec.target.template gives a key that no Secret can have: at most "
                f'{MAX_SECRET_KEY_LENGTH} letters, digits, "-", "_" and ".", not beginning with '
                '"..".'
            )
    size = sum(len(value) for value in data.values())
    if size > MAX_SECRET_BYTES or len(data) > MAX_KEYS:
        raise SecretTooLarge(
            f"spec.target.template gives {len(data)} keys and {size} bytes, and a Secret holds at "
            f"most {MAX_SECRET_BYTES} bytes: make it smaller, or divide it among several "
            "ExternalSecrets."
        )


def check_metadata(labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
    """Raises MetadataInvalid. Names are shown only if they are such, values never."""
    for what, texts in (("labels", labels), ("annotations", annotations)):
        for name in texts:
            if not _qualified(name):
                raise MetadataInvalid(
                    f"spec.target.template gives {what} with a name that is none: a name has at "
                    'most 63 letters, digits, "-", "_" and ".", after a prefix such as '
                    '"example.com/", if any.'
                )
            if why := refused_name(name):
                raise MetadataInvalid(f'spec.target.template gives {what} "{name}", {why}.')
    for name, value in labels.items():
        if not _LABEL_VALUE.fullmatch(value):
            raise MetadataInvalid(
                f'spec.target.template gives the label "{name}" a value that no label can have: '
                'at most 63 letters, digits, "-", "_" and ".", beginning and ending with a letter '
                "or digit."
            )
    if sum(len(name) + len(value.encode()) for name, value in annotations.items()) > (
        MAX_ANNOTATIONS_BYTES
    ):
        raise MetadataInvalid(
            f"spec.target.template gives more than {MAX_ANNOTATIONS_BYTES} bytes of annotations: "
            "make them smaller."
        )


def _qualified(name: str) -> bool:
    prefix, slash, last = name.rpartition("/")
    if slash and not (len(prefix) <= 253 and _PREFIX.fullmatch(prefix)):
        return False
    return _NAME.fullmatch(last) is not None


def check_type(kind: str, data: Mapping[str, bytes]) -> None:
    """Raises TypeMismatch unless the data are what a Secret of that type needs.

    Whether what a TLS Secret has are a certificate and its key is for who can read them.
    """
    match kind:
        case "kubernetes.io/tls":
            _need(kind, data, "tls.crt", "a certificate in PEM")
            _need(kind, data, "tls.key", "its private key in PEM")
        case "kubernetes.io/dockerconfigjson":
            value = _need(kind, data, ".dockerconfigjson", 'JSON such as {"auths": {…}}')
            document = _object(kind, ".dockerconfigjson", value)
            if not isinstance(document.get("auths"), dict):
                raise TypeMismatch(
                    f'A Secret of the type {kind} needs an object "auths" in ".dockerconfigjson": '
                    "put the registries under it."
                )
            _registries(kind, ".dockerconfigjson", document["auths"])
        case "kubernetes.io/dockercfg":
            value = _need(kind, data, ".dockercfg", "JSON with a registry for each key")
            _registries(kind, ".dockercfg", _object(kind, ".dockercfg", value))
        case "kubernetes.io/basic-auth":
            if not data.get("username") and not data.get("password"):
                raise TypeMismatch(
                    f'A Secret of the type {kind} needs "username" or "password": add it to the '
                    "data, or choose another spec.target.template.type."
                )
        case "kubernetes.io/ssh-auth":
            value = _need(kind, data, "ssh-privatekey", "a private key")
            if b"PRIVATE KEY-----" not in value:
                raise TypeMismatch(
                    f'The "ssh-privatekey" of a Secret of the type {kind} is not a private key in '
                    "PEM or in OpenSSH's form: correct the value or the template."
                )


def _need(kind: str, data: Mapping[str, bytes], key: str, what: str) -> bytes:
    value = data.get(key)
    if not value:
        raise TypeMismatch(
            f'A Secret of the type {kind} needs "{key}", {what}: add it to the data, or choose '
            "another spec.target.template.type."
        )
    return value


def _object(kind: str, key: str, value: bytes) -> dict[str, Any]:
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise TypeMismatch(
            f'The "{key}" of a Secret of the type {kind} is not a JSON object: correct the value '
            "or the template (to_json quotes what it is made of)."
        )
    return document


def _registries(kind: str, key: str, registries: Mapping[str, Any]) -> None:
    if not all(isinstance(one, dict) for one in registries.values()):
        raise TypeMismatch(
            f'The "{key}" of a Secret of the type {kind} has a registry whose value is not a JSON '
            "object: correct the value or the template."
        )
