"""A Vault with the database engine, and a PostgreSQL whose users it makes and rotates."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from contract.vault import VaultHarness
from testbed.binaries import VAULT, ensure
from testbed.postgres import Postgres, programs
from testbed.processes import Processes
from testbed.progress import Progress
from testbed.vault import POSTGRES_PLUGIN, Vault, VaultError

CREATE = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"


@dataclass
class Database:
    """Both, already acquainted."""

    vault: Vault
    postgres: Postgres

    def static_role(self, **how: Any) -> str:
        """A user of PostgreSQL and the static role of Vault for it; both have the same name."""
        name = f"app-{uuid4().hex[:12]}"
        self.postgres.sql(f"CREATE ROLE \"{name}\" WITH LOGIN PASSWORD 'first'")
        role = {"db_name": "shop", "username": name, "rotation_period": "24h", **how}
        self.vault.call("POST", f"database/static-roles/{name}", role)
        return name

    def role(self, **how: Any) -> str:
        """A role whose users are made when they are asked for; the path of its credentials."""
        name = f"role-{uuid4().hex[:12]}"
        role = {"db_name": "shop", "creation_statements": [CREATE], **how}
        self.vault.call("POST", f"database/roles/{name}", role)
        return f"database/creds/{name}"

    def policy(self, *rules: str) -> str:
        """A policy of rules like ``read database/creds/*``; its name."""
        name = f"rules-{uuid4().hex[:12]}"
        pairs = (rule.split() for rule in rules)
        text = "\n".join(
            f'path "{path}" {{ capabilities = ["{capability}"] }}' for capability, path in pairs
        )
        self.vault.policy(name, text)
        return name

    def approle(self, *rules: str, **token: Any) -> tuple[str, str]:
        """A role for programs: its id and a secret. ``token``: what its tokens are like."""
        call = self.vault.call
        if "approle/" not in call("GET", "sys/auth")["data"]:
            self.vault.enable("approle", "approle")
        role = f"auth/approle/role/r-{uuid4().hex[:12]}"
        call("POST", role, {"token_policies": [self.policy(*rules)], **token})
        role_id = call("GET", f"{role}/role-id")["data"]["role_id"]
        return role_id, call("POST", f"{role}/secret-id")["data"]["secret_id"]

    def left(self, lease: str) -> float:
        """Seconds that Vault says a lease has; 0 if there is none."""
        try:
            looked = self.vault.call("POST", "sys/leases/lookup", {"lease_id": lease})
        except VaultError:
            return 0.0
        return float(looked["data"]["ttl"])


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest, processes: Processes) -> Iterator[Database]:
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    wanted: Sequence[str] = (*VAULT, POSTGRES_PLUGIN)
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        ensure(wanted, progress=Progress(sys.stderr))
    postgres = Postgres(processes, found=found)
    try:
        vault = Vault(processes, name="vault-database", databases=[POSTGRES_PLUGIN])
        _acquaint(vault, postgres)
        yield Database(vault, postgres)
        vault.stop()
    finally:
        postgres.stop()


def _acquaint(vault: Vault, postgres: Postgres) -> None:
    vault.call("POST", "sys/mounts/database", {"type": "database"})
    url = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{postgres.port}/postgres"
    vault.call(
        "POST",
        "database/config/shop",
        {
            "plugin_name": POSTGRES_PLUGIN,
            "allowed_roles": "*",
            "connection_url": f"{url}?sslmode=disable",
            "username": "root",
            "password": postgres.password,
        },
    )


@pytest.fixture
def vault(database: Database) -> Iterator[VaultHarness]:
    """In the place of the Vault that has no database."""
    harness = VaultHarness(database.vault)
    yield harness
    harness.close()
