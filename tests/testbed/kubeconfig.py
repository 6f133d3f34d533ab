"""Kubeconfig files."""

import json
from pathlib import Path
from typing import Any

from testbed.pki import Pair


def write_kubeconfig(
    path: Path, *, server: str, ca: Path, client: Pair | None = None, token: str = ""
) -> Path:
    """A kubeconfig with one context, for a client certificate or a token."""
    user: dict[str, Any] = {"token": token} if token else {}
    if client is not None:
        user = {"client-certificate": str(client.cert), "client-key": str(client.key)}
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "testbed",
        "clusters": [
            {"name": "testbed", "cluster": {"server": server, "certificate-authority": str(ca)}}
        ],
        "users": [{"name": "testbed", "user": user}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "testbed"}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(body, indent=1))  # JSON is YAML
    return path
