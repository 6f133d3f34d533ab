"""The manifests of the demo, with what is known at run time only filled in."""

from pathlib import Path
from typing import Any, Final

import yaml

from testbed.moto import ACCESS_KEY, SECRET_KEY

FOLDER: Final = Path(__file__).parent / "manifests"

NAMESPACE: Final = "shop"
STORE: Final = "aws"
SECRET: Final = "database"  # noqa: S105 - a name; that of the ExternalSecret as well
DEPLOYMENT: Final = "api"
SELECTOR: Final = "app=api"
REPLICAS: Final = 2

Body = dict[str, Any]


def manifest(name: str) -> Body:
    """A file of the folder ``manifests``, as it stands there."""
    body: Body = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return body


def credentials() -> Body:
    """The access key that moto accepts."""
    body = manifest("credentials")
    body["stringData"] = {"access-key-id": ACCESS_KEY, "secret-access-key": SECRET_KEY}
    return body


def store(endpoint: str) -> Body:
    """The SecretStore, pointed at the moto server."""
    body = manifest("secretstore")
    body["spec"]["provider"]["aws"]["endpoint"] = endpoint
    return body
