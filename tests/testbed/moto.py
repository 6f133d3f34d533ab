"""AWS, as far as moto plays it: Secrets Manager and STS on a loopback port."""

import json
import secrets
import sys
import urllib.error
import urllib.request
from typing import Any, Final

from testbed.controlplane import free_ports
from testbed.processes import Processes, wait_for

#: What moto accepts, plainly fake.
ACCESS_KEY = "AKIAFAKEFAKEFAKEFAKE"
SECRET_KEY = "fake-secret-access-key"
REGION = "eu-central-1"


class Moto:
    """A running moto server."""

    def __init__(self, processes: Processes, *, host: str = "127.0.0.1") -> None:
        (port,) = free_ports(1)
        self.endpoint = f"http://{host}:{port}"
        child = processes.start(
            "moto", [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)]
        )
        wait_for(self._answers, child, timeout=60, what="moto answers")

    def client(self, service: str) -> Any:
        """A boto3 client of it."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/moto-api/", timeout=2):  # noqa: S310
                return True
        except (urllib.error.URLError, OSError):
            return False


class DatabaseSecret:
    """A database's credentials in Secrets Manager. The passwords are made up at run time."""

    NAME: Final = "production/database"
    USER: Final = "shop"

    def __init__(self, client: Any) -> None:
        self._client = client
        #: What was put last.
        self.password = ""

    def create(self) -> str:
        """Makes the secret; returns the id of its version."""
        content = self._renewed()
        version: str = self._client.create_secret(Name=self.NAME, SecretString=content)["VersionId"]
        return version

    def rotate(self) -> str:
        """Puts a new password; returns the id of the new version."""
        content = self._renewed()
        answer = self._client.put_secret_value(SecretId=self.NAME, SecretString=content)
        version: str = answer["VersionId"]
        return version

    def held(self) -> str:
        """The password, read from Secrets Manager."""
        content = self._client.get_secret_value(SecretId=self.NAME)["SecretString"]
        password: str = json.loads(content)["password"]
        return password

    def _renewed(self) -> str:
        self.password = secrets.token_hex(16)
        return json.dumps({"username": self.USER, "password": self.password})
