"""What tests hold of the stand-in: starts the process and steers it."""

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from syncret.providers.base import SecretValue
from testbed.controlplane import free_ports
from testbed.processes import Processes, wait_for

#: Who has made the tokens of :class:`ClusterAccount`.
ISSUER: Final = "https://kubernetes.example"

PROJECT: Final = "demo-project"
PROJECT_NUMBER: Final = "123456789012"


class Gcp:
    """A running stand-in.

    ``endpoint``: Secret Manager, behind the relay. ``http``: where tokens are given out.
    """

    def __init__(self, processes: Processes) -> None:
        direct, relay, web = free_ports(3)
        self.endpoint = f"http://127.0.0.1:{relay}"
        self.http = f"http://127.0.0.1:{web}"
        command = [sys.executable, "-m", "testbed.gcp.server", *map(str, (direct, relay, web))]
        # Another Python, which knows nothing of how pytest finds the tests' own modules.
        paths = os.pathsep.join(path for path in sys.path if path)
        child = processes.start("gcp", command, env={**os.environ, "PYTHONPATH": paths})
        wait_for(self._answers, child, timeout=60, what="the stand-in of Google Cloud answers")

    def __getattr__(self, name: str) -> Any:
        """``gcp.put(…)`` calls ``Store.put`` in the process: see ``store.py``."""
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda **how: self._steer(name, how)

    def put(self, name: str, data: bytes, **how: Any) -> str:
        """Adds a version; returns its number."""
        return str(self._steer("put", {"name": name, "data": data.hex(), **how}))

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The requests that Secret Manager got, in their order."""
        return list(self._steer("seen", {})["requests"])

    @property
    def operations(self) -> list[str]:
        return list(self._steer("seen", {})["operations"])

    @property
    def logins(self) -> list[dict[str, Any]]:
        """The tokens that were asked for: of which endpoint, and with what."""
        return list(self._steer("seen", {})["logins"])

    @property
    def peak(self) -> int:
        """The most requests at one time."""
        return int(self._steer("seen", {})["peak"])

    def _steer(self, call: str, how: dict[str, Any]) -> Any:
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.http}/steer/{call}", data=json.dumps(how).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read())

    def _answers(self) -> bool:
        try:
            self._steer("count", {})
        except (urllib.error.URLError, OSError):
            return False
        return True


class Account:
    """A service account of Google, with a key that is made here and now."""

    def __init__(self, name: str = "reader") -> None:
        self.email = f"{name}@{PROJECT}.iam.gserviceaccount.com"
        self.key_id = f"key-of-{name}"
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public(self) -> str:
        return (
            self._key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    @property
    def private(self) -> str:
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    def key_file(self, token_uri: str, **changed: Any) -> bytes:
        """The file that ``gcloud iam service-accounts keys create`` writes."""
        content = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": self.key_id,
            "private_key": self.private,
            "client_email": self.email,
            "client_id": "100000000000000000001",
            "token_uri": token_uri,
            "universe_domain": "googleapis.com",
        }
        return json.dumps(content | changed).encode()


class ClusterAccount(Account):
    """A ServiceAccount of Kubernetes, with tokens signed here and now.

    The integration tests have real ones; this is for what only the other end decides. ``asked``:
    the audiences that tokens were asked for.
    """

    def __init__(self, namespace: str = "payments", name: str = "app") -> None:
        super().__init__(name)
        self.namespace, self.name = namespace, name
        self.annotations: Mapping[str, str] = {}
        self.asked: list[tuple[str, ...]] = []

    async def token(self, audiences: Sequence[str], *, seconds: int = 3600) -> SecretValue:
        self.asked.append(tuple(audiences))
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": list(audiences),
            "sub": f"system:serviceaccount:{self.namespace}:{self.name}",
            "iat": now,
            "exp": now + seconds,
        }
        signed = ".".join(_encoded(json.dumps(part)) for part in ({"alg": "RS256"}, claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return SecretValue(f"{signed}.{_encoded(signature)}".encode())


def _encoded(part: str | bytes) -> str:
    data = part.encode() if isinstance(part, str) else part
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
