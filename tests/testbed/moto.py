"""AWS, as far as moto plays it: Secrets Manager and STS on a loopback port."""

import sys
import urllib.error
import urllib.request
from typing import Any

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
