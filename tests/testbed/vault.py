"""A real Vault on loopback: a development server, in memory, unsealed from the start.

It listens three times: without TLS, with TLS (a client certificate is asked for and may be left
out), and with TLS where a client certificate is demanded. Auth with Kubernetes and AWS are the
plugins that Vault itself ships; they are found where development servers look for plugins.

Vault is under the Business Source License. It is built from its published module and run by tests
alone; nothing of it is shipped.
"""

import contextlib
import json
import os
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from testbed.binaries import VAULT, ensure
from testbed.controlplane import free_ports
from testbed.pki import Authority
from testbed.processes import Processes, wait_for
from testbed.progress import Progress
from testbed.waiting import wait_until

#: The plugins' names in Vault's catalog, where "kubernetes" and "aws" would be the built-in ones.
KUBERNETES_PLUGIN = "vault-plugin-auth-kubernetes"
AWS_PLUGIN = "vault-plugin-auth-aws"
#: Databases as the database engine knows them.
POSTGRES_PLUGIN = "postgresql-database-plugin"


# Vault runs plugins as processes of its own, and leaves them behind when it is killed. So beside
# each there is a shell that looks whether Vault is still there, and the plugin still itself.
_PLUGIN = """#!/bin/sh
vault=$PPID plugin=$$
(
  sleep 1
  while kill -0 $vault && [ /proc/$plugin/exe -ef "{program}" ]; do sleep 1; done
  [ /proc/$plugin/exe -ef "{program}" ] && kill -9 $plugin
) </dev/null >/dev/null 2>&1 &
exec "{program}" "$@"
"""


class VaultError(Exception):
    """Vault refused a request of the test itself; the text is what it said."""


class Vault:
    """A running Vault. ``token`` is its root token, made up at run time."""

    def __init__(
        self, processes: Processes, *, name: str = "vault", databases: Sequence[str] = ()
    ) -> None:
        """Builds it where it is not in the cache. Raises BuildError or StartError.

        ``databases``: the plugins of databases that it is to have.
        """
        tools = ensure([*VAULT, *databases], progress=Progress(sys.stderr))
        folder = processes.logs / name
        plugins = folder / "plugins"
        plugins.mkdir(parents=True)
        for plugin in databases or (KUBERNETES_PLUGIN, AWS_PLUGIN):
            (plugins / plugin).write_text(_PLUGIN.format(program=tools[plugin]))
            (plugins / plugin).chmod(0o755)
        self.authority = Authority(folder / "pki")
        plain, tls, mutual = free_ports(3)
        self.address = f"http://127.0.0.1:{plain}"
        self.tls_address = f"https://localhost:{tls}"
        self.mutual_address = f"https://localhost:{mutual}"
        self.token = f"root-{secrets.token_hex(8)}"
        settings = folder / "listeners.hcl"
        settings.write_text(self._listeners(tls, mutual))
        self._child = processes.start(
            name,
            [
                *(str(tools["vault"]), "server", "-dev", "-dev-no-store-token"),
                f"-dev-root-token-id={self.token}",
                f"-dev-listen-address=127.0.0.1:{plain}",
                f"-dev-plugin-dir={plugins}",
                f"-config={settings}",
            ],
            env={**os.environ, "HOME": str(folder), "VAULT_ADDR": self.address},
        )
        wait_for(self._is_ready, self._child, timeout=60, what="Vault is unsealed")

    def stop(self) -> None:
        """Ends it before the other processes do."""
        self._child.stop()

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """The answer to a request below ``/v1/``, as the root; raises VaultError."""
        request = urllib.request.Request(  # noqa: S310 - an address of our own
            f"{self.address}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": self.token if token is None else token},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                content = answer.read()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            raise VaultError(f"{method} {path}: {error.code} {said}") from None
        return json.loads(content) if content else {}

    def mount(self, path: str, *, version: int = 2) -> None:
        """Mounts a key/value engine."""
        self.call("POST", f"sys/mounts/{path}", {"type": "kv", "options": {"version": version}})
        if version == 2:
            # The engine answers 400 until it has upgraded itself, which takes a moment.
            wait_until(lambda: self._answers(f"{path}/config"), "the engine answers", timeout=30)

    def enable(self, method: str, path: str) -> None:
        """Mounts an auth method."""
        self.call("POST", f"sys/auth/{path}", {"type": method})

    def policy(self, name: str, rules: str) -> None:
        """Makes a policy of HCL rules."""
        self.call("PUT", f"sys/policies/acl/{name}", {"policy": rules})

    def make_token(self, **how: Any) -> str:
        """A token, as auth/token/create takes it."""
        made = self.call("POST", "auth/token/create", how)
        return str(made["auth"]["client_token"])

    def _listeners(self, tls: int, mutual: int) -> str:
        pair = self.authority.server("server")
        common = f"""
              tls_cert_file = "{pair.cert}"
              tls_key_file = "{pair.key}"
        """
        return f"""
            listener "tcp" {{
              address = "127.0.0.1:{tls}"
              {common}
            }}
            listener "tcp" {{
              address = "127.0.0.1:{mutual}"
              {common}
              tls_require_and_verify_client_cert = true
              tls_client_ca_file = "{self.authority.ca}"
            }}
        """

    def _is_ready(self) -> bool:
        with contextlib.suppress(urllib.error.URLError, OSError):
            url = f"{self.address}/v1/sys/health"
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310
                return self._answers("secret/config")
        return False

    def _answers(self, path: str) -> bool:
        with contextlib.suppress(VaultError):
            self.call("GET", path)
            return True
        return False
