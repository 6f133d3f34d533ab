"""Bodies and records for tests, with every value plainly fake."""

from typing import Any

from syncret.api.externalsecret import ExternalSecret, parse_external_secret


def external_secret_body(
    name: str = "db",
    *,
    namespace: str = "payments",
    uid: str = "uid-1",
    generation: int = 1,
    status: dict[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """An ExternalSecret as the API server gives it; keywords are fields of its spec."""
    body: dict[str, Any] = {
        "apiVersion": "syncret.io/v1alpha1",
        "kind": "ExternalSecret",
        "metadata": {"name": name, "namespace": namespace, "uid": uid, "generation": generation},
        "spec": {"secretStoreRef": {"name": "aws"}, **spec},
    }
    if status is not None:
        body["status"] = status
    return body


def external_secret(name: str = "db", **arguments: Any) -> ExternalSecret:
    """The record of :func:`external_secret_body`; without data it extracts ``app/db``."""
    if "data" not in arguments and "dataFrom" not in arguments:
        arguments["dataFrom"] = [{"extract": {"key": "app/db"}}]
    return parse_external_secret(external_secret_body(name, **arguments))
