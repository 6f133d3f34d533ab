"""The small world with a generator, and how to look at what it made."""

import base64
import json
from typing import Any, Final

from support.apiserver import Body, FakeApiServer
from support.generator import generator_body
from support.objects import external_secret_body, workload_body
from unit.reconcile.payments import NAMESPACE

HOUR: Final = 3600.0
STATE: Final = "syncret-generated-uid-1"


def generated(**spec: Any) -> Body:
    """An ExternalSecret that has a credential made."""
    spec = {
        "secretStoreRef": None,
        "dataFrom": [{"sourceRef": {"generatorRef": {"name": "maker"}}}],
        "refreshInterval": "1h",
        "rollout": {"debounce": "0s"},
        **spec,
    }
    return external_secret_body("db", **{key: one for key, one in spec.items() if one is not None})


def populate(api: FakeApiServer, **spec: Any) -> None:
    """A generator, an ExternalSecret that uses it, and a Deployment that reads its Secret."""
    api.put("generators", generator_body())
    api.put("deployments", workload_body())
    api.put("externalsecrets", generated(**spec))


def values(api: FakeApiServer, name: str = "db") -> dict[str, str]:
    """What a Secret holds."""
    data = api.get("secrets", NAMESPACE, name)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def annotation(api: FakeApiServer, name: str = STATE) -> Body:
    """What is known besides the values."""
    text = api.get("secrets", NAMESPACE, name)["metadata"]["annotations"]["syncret.io/generated"]
    return dict(json.loads(text))


def events(api: FakeApiServer) -> list[Body]:
    """The Events that were posted."""
    return [body for place, body in api.objects.items() if place.plural == "events"]
