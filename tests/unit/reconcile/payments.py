"""The small world that is reconciled here: its names, its secrets, and how to look at it."""

import json
from typing import Any, Final

from support.apiserver import Body, FakeApiServer
from support.objects import external_secret_body, secret_body, store_body, workload_body
from syncret.api.keys import ObjectKey
from syncret.constants import CHECKSUM_ANNOTATION

NAMESPACE: Final = "payments"
PASSWORD: Final = "hunter2-not-real"
NEW_PASSWORD: Final = "hunter3-not-real"
TOKEN: Final = "token-not-real"
KEY: Final = ObjectKey("ExternalSecret", NAMESPACE, "db")
STORE: Final = ObjectKey("SecretStore", NAMESPACE, "aws")


def populate(api: FakeApiServer) -> None:
    """One store with its credentials, one ExternalSecret, one Deployment that reads its Secret."""
    token = secret_body("token", {"token": TOKEN.encode()}, uid="token-1", owner="", managed=False)
    api.put("secrets", token)
    api.put("secretstores", store_body(credential={"name": "token", "key": "token"}))
    api.put("deployments", workload_body())
    api.put("externalsecrets", database())


def database(**arguments: Any) -> Body:
    """The ExternalSecret."""
    spec = {
        "dataFrom": [{"extract": {"key": "app/db"}}],
        "refreshInterval": "1m",
        "rollout": {"debounce": "0s"},
        **arguments,
    }
    return external_secret_body("db", **spec)


def remote(password: str = PASSWORD, **more: str) -> bytes:
    """What the store holds under app/db."""
    return json.dumps({"user": "app", "password": password, **more}).encode()


def status(api: FakeApiServer) -> Body:
    """What the ExternalSecret reports."""
    return dict(api.get("externalsecrets", NAMESPACE, "db").get("status") or {})


def ready(api: FakeApiServer) -> Body:
    """Its condition Ready."""
    return condition(api, "Ready")


def condition(api: FakeApiServer, kind: str) -> Body:
    """Its condition of that type; empty if it has none."""
    found = [one for one in status(api).get("conditions") or () if one["type"] == kind]
    assert len(found) < 2
    return dict(found[0]) if found else {}


def restarts(api: FakeApiServer, name: str = "api", plural: str = "deployments") -> int:
    """How often the pods of a workload were replaced: the template is all that changes here."""
    return int(api.get(plural, NAMESPACE, name)["metadata"]["generation"]) - 1


def checksum(api: FakeApiServer, name: str = "api", plural: str = "deployments") -> str:
    """Our annotation on its template, "" without."""
    template = api.get(plural, NAMESPACE, name)["spec"]["template"]
    return str(template["metadata"]["annotations"].get(CHECKSUM_ANNOTATION, ""))


def writes(api: FakeApiServer) -> int:
    """How many writes arrived, Events included."""
    return sum(call.writes for call in api.calls)


def outside(api: FakeApiServer) -> str:
    """All that the cluster holds, except for the data of Secrets."""
    return json.dumps(
        [
            {key: value for key, value in body.items() if key != "data"}
            for body in api.objects.values()
        ]
    )
