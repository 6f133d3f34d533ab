"""Where a pod on AWS gets its identity, as far as the SDK asks: EKS Pod Identity, and an instance.

Both speak HTTP on loopback here. The agent of EKS Pod Identity takes the pod's projected token and
answers with keys. An instance's metadata service (IMDSv2) gives a session token for a PUT, and with
that the name and the keys of the instance's role. The keys are made up at run time.
"""

import http.server
import json
import secrets
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

ROLE: Final = "node"
_ROLES: Final = "/latest/meta-data/iam/security-credentials/"


@dataclass
class Identities:
    """A running stand-in for both."""

    #: What the agent wants to be shown.
    token: str = field(default_factory=lambda: f"pod-token-{secrets.token_hex(8)}")
    #: Seconds that keys live.
    lifetime: float = 6 * 3600
    #: The access keys that were given out, in their order.
    given: list[str] = field(default_factory=list)
    #: Everything is refused.
    refuses: bool = False

    def __post_init__(self) -> None:
        self._session = secrets.token_hex(8)
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, headers: Any) -> tuple[int, str]:
        """Status and body."""
        if self.refuses:
            return 403, ""
        match method, path:
            case "GET", "/v1/credentials":
                right = headers.get("Authorization") == self.token
                return (200, self._keys("Token")) if right else (401, "")
            case "PUT", "/latest/api/token":
                return 200, self._session
            case "GET", _ if path.startswith(_ROLES):
                if headers.get("X-aws-ec2-metadata-token") != self._session:
                    return 401, ""
                return 200, self._keys("Token") if path == _ROLES + ROLE else ROLE
        return 404, ""

    def _keys(self, token: str) -> str:
        self.given.append(f"ASIAFAKE{secrets.token_hex(6).upper()}")
        until = datetime.now(UTC) + timedelta(seconds=self.lifetime)
        return json.dumps(
            {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "AccessKeyId": self.given[-1],
                "SecretAccessKey": secrets.token_hex(20),
                token: secrets.token_hex(20),
                "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "LastUpdated": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, identities: Identities) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.identities = identities


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        status, body = self.server.identities.answer(self.command, self.path, self.headers)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-aws-ec2-metadata-token-ttl-seconds", "21600")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_PUT = do_GET  # noqa: N815 - the name that http.server calls

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - inherited
        """Nothing: a test that fails says why."""
