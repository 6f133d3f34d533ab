"""A small store of secrets with a JSON API over HTTP, as companies write them for themselves.

``GET /v1/secret?key=…&version=…`` with a bearer token gives ``{"key", "value", "version"}`` with an
ETag and Last-Modified, 304 if the ETag is still the same, and 404 with a JSON body for what is not
there. Versions count from 1.
"""

import hashlib
import http.server
import json
import threading
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

#: What the API accepts, plainly fake.
TOKEN: Final = "fake-token-of-the-json-api"


class JsonApi:
    """A running server, with its secrets."""

    def __init__(self) -> None:
        self.secrets: dict[str, list[tuple[str, float]]] = {}
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def put(self, key: str, value: str) -> str:
        """A new version; returns its number."""
        versions = self.secrets.setdefault(key, [])
        versions.append((value, time.time()))
        return str(len(versions))

    def delete(self, key: str) -> None:
        del self.secrets[key]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, api: JsonApi) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "the token is not known"})
        elif url.path != "/v1/secret":
            self._answer(404, {"error": "no such page"})
        else:
            self._secret(asked.get("key", ""), asked.get("version", ""))

    def _secret(self, key: str, version: str) -> None:
        versions = self.server.api.secrets.get(key, [])
        number = int(version) if version.isdigit() else len(versions) if not version else 0
        if not 1 <= number <= len(versions):
            self._answer(404, {"error": "not found"})
            return
        value, made = versions[number - 1]
        # As web frameworks do it: a hash of the body, so nothing to show to anybody.
        etag = f'"{hashlib.sha256(f"{number} {value}".encode()).hexdigest()}"'
        headers = {"ETag": etag, "Last-Modified": formatdate(made, usegmt=True)}
        if self.headers.get("If-None-Match") == etag:
            self._answer(304, None, headers)
            return
        self._answer(200, {"key": key, "value": value, "version": str(number)}, headers)

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status, HTTPStatus(status).phrase)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - inherited
        """Nothing: a test that fails says why."""
