"""Which error a failed answer becomes, and what its sentence says and does not say."""

from typing import Any

import pytest

from syncret.errors import (
    KubeAlreadyExists,
    KubeConflict,
    KubeError,
    KubeForbidden,
    KubeGone,
    KubeInvalid,
    KubeNotFound,
    KubeThrottled,
    KubeUnauthorized,
    KubeUnavailable,
)
from syncret.kube.failures import failure
from syncret.kube.resources import DEPLOYMENTS, EXTERNAL_SECRETS, SECRETS, Resource

CANARY = "hunter2-not-real"


def status(
    code: int, reason: str, message: str = "", *, details: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details or {},
    }


def error(
    code: int, body: dict[str, Any], *, resource: Resource = SECRETS, verb: str = "patch"
) -> KubeError:
    return failure(code, body, verb=verb, resource=resource, namespace="ns", name="a")


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (400, "BadRequest", KubeInvalid),
        (401, "Unauthorized", KubeUnauthorized),
        (403, "Forbidden", KubeForbidden),
        (404, "NotFound", KubeNotFound),
        (405, "MethodNotAllowed", KubeError),
        (409, "Conflict", KubeConflict),
        (409, "AlreadyExists", KubeAlreadyExists),
        (410, "Expired", KubeGone),
        (413, "RequestEntityTooLarge", KubeInvalid),
        (422, "Invalid", KubeInvalid),
        (429, "TooManyRequests", KubeThrottled),
        (500, "InternalError", KubeUnavailable),
        (503, "ServiceUnavailable", KubeUnavailable),
        (504, "Timeout", KubeUnavailable),
    ],
)
@pytest.mark.parametrize("with_body", [True, False])
def test_class_and_status(
    code: int, reason: str, expected: type[KubeError], with_body: bool
) -> None:
    if not with_body and reason == "AlreadyExists":
        expected = KubeConflict
    got = error(code, status(code, reason) if with_body else {})
    assert type(got) is expected
    assert got.status == code
    assert got.message.endswith((".", '"'))


def test_a_missing_permission_names_verb_and_resource() -> None:
    message = (
        'secrets "a" is forbidden: User "system:serviceaccount:x:y" cannot patch resource '
        '"secrets" in API group "" in the namespace "ns"'
    )
    got = error(403, status(403, "Forbidden", message))
    assert got.message == (
        'The operator may not patch secrets in namespace "ns": grant the verb "patch" on the '
        'resource "secrets" to its ServiceAccount.'
    )


def test_the_verb_and_subresource_are_those_the_authorizer_names() -> None:
    message = (
        'externalsecrets.syncret.io "a" is forbidden: User "u" cannot create resource '
        '"externalsecrets/status" in API group "syncret.io" in the namespace "ns"'
    )
    got = error(403, status(403, "Forbidden", message), resource=EXTERNAL_SECRETS)
    assert 'the verb "create"' in got.message
    assert '"externalsecrets.syncret.io/status"' in got.message


def test_admission_is_not_taken_for_a_missing_permission() -> None:
    going = status(
        403,
        "Forbidden",
        'secrets "a" is forbidden: unable to create new content in namespace ns because it is '
        "being terminated",
        details={"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]},
    )
    assert error(403, going).message == (
        'The namespace "ns" is being deleted: nothing is created in it.'
    )
    full = status(403, "Forbidden", 'secrets "a" is forbidden: exceeded quota: q, requested: …')
    assert "ResourceQuota" in error(403, full, verb="create").message
    hook = status(403, "Forbidden", f"admission webhook denied: value {CANARY}")
    assert "admission" in error(403, hook).message
    assert CANARY not in error(403, hook).message
    assert CANARY in error(403, hook, resource=DEPLOYMENTS).message


def test_what_does_not_exist_is_told_apart() -> None:
    gone = status(404, "NotFound", details={"kind": "secrets", "name": "a"})
    assert error(404, gone).message == 'Secret "a" in namespace "ns" does not exist.'
    no_namespace = status(404, "NotFound", details={"kind": "namespaces", "name": "ns"})
    assert error(404, no_namespace).message == 'The namespace "ns" does not exist.'
    no_crd = error(404, {}, resource=EXTERNAL_SECRETS)
    assert "install the CRDs" in no_crd.message


CAUSES = [
    {"reason": "FieldValueInvalid", "field": "metadata.labels", "message": f"bad: {CANARY}"},
    {"reason": "FieldValueRequired", "field": "type", "message": f"Required value: {CANARY}"},
]


def test_a_refused_secret_shows_fields_and_codes_only() -> None:
    body = status(422, "Invalid", f"Secret is invalid: {CANARY}", details={"causes": CAUSES})
    got = error(422, body)
    assert got.message == (
        'The API server refuses to patch Secret "a" in namespace "ns" as it is: metadata.labels '
        "(FieldValueInvalid); type (FieldValueRequired)."
    )
    bare = error(400, status(400, "BadRequest", f"illegal base64: {CANARY}"))
    assert CANARY not in bare.message
    assert "BadRequest" in bare.message


def test_a_refused_object_of_another_kind_says_why() -> None:
    many = [CAUSES[0] | {"field": f"metadata.labels{'x' * n}"} for n in range(6)]
    body = status(422, "Invalid", details={"causes": [CAUSES[0], *many]})
    got = error(422, body, resource=EXTERNAL_SECRETS)
    assert f"metadata.labels: bad: {CANARY}" in got.message
    assert "and 1 more" in got.message
    long = error(400, status(400, "BadRequest", "x" * 5000), resource=EXTERNAL_SECRETS)
    assert len(long.message) < 500


def test_the_uid_of_another_object_is_a_conflict() -> None:
    causes = [{"reason": "FieldValueInvalid", "field": "metadata.uid", "message": "immutable"}] * 2
    got = error(422, status(422, "Invalid", details={"causes": causes}))
    assert type(got) is KubeConflict
    assert got.message == (
        'Secret "a" in namespace "ns" has changed, or is another one by now (patch).'
    )


def test_fields_of_another_manager_are_named() -> None:
    causes = [{"reason": "FieldManagerConflict", "field": ".data.k", "message": f"is {CANARY}"}]
    got = error(409, status(409, "Conflict", details={"causes": causes}))
    assert got.message == (
        'Another field manager holds fields of Secret "a" in namespace "ns": .data.k.'
    )


@pytest.mark.parametrize(
    ("header", "details", "expected"),
    [
        ("3", {}, 3.0),
        ("", {"retryAfterSeconds": 7}, 7.0),
        ("2", {"retryAfterSeconds": 7}, 2.0),
        ("nonsense", {}, None),
        ("-1", {}, None),
        ("nan", {}, None),
        ("1e9", {}, None),
    ],
)
def test_retry_after(header: str, details: dict[str, Any], expected: float | None) -> None:
    got = failure(
        429,
        status(429, "TooManyRequests", details=details),
        verb="get",
        resource=SECRETS,
        retry_after=header,
    )
    assert got.retry_after == expected


@pytest.mark.parametrize(
    "body",
    [
        {"details": "text", "reason": 5},
        {"details": {"causes": {"a": 1}}},
        {"details": {"causes": ["x", None, {"field": None}]}},
        {"message": None, "details": None},
    ],
)
@pytest.mark.parametrize("code", [400, 403, 404, 409, 422, 429])
def test_a_body_of_any_shape_is_survived(body: dict[str, Any], code: int) -> None:
    assert error(code, body).status == code
