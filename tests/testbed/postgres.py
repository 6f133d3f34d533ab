"""A real PostgreSQL on loopback, in a folder of its own: Debian's package ``postgresql``.

It refuses to run as root, so there it runs as the user that the package makes.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from testbed.controlplane import free_ports
from testbed.processes import Processes, wait_for

#: Where Debian keeps the programs that are on no PATH.
_DEBIAN: Final = Path("/usr/lib/postgresql")
_PROGRAMS: Final = ("initdb", "postgres", "psql")
_USER: Final = "postgres"

Programs = dict[str, str]


def programs() -> Programs | None:
    """The paths of what is needed, None if PostgreSQL is not installed."""
    folders = [str(path) for path in sorted(_DEBIAN.glob("*/bin"), reverse=True)]
    path = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
    found = {name: shutil.which(name, path=path) for name in _PROGRAMS}
    return {name: one for name, one in found.items() if one} if all(found.values()) else None


class SqlError(Exception):
    """PostgreSQL refused; the text is what it said."""


class Postgres:
    """A running server. ``password`` is that of the superuser ``root``, made at run time."""

    def __init__(self, processes: Processes, *, found: Programs) -> None:
        """Raises StartError."""
        self._psql = found["psql"]
        self.password = secrets.token_urlsafe(12)
        self._folder = Path(tempfile.mkdtemp(prefix="syncret-postgres-"))
        lead: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self._folder, _USER, _USER)
            # The kernel forgets that a child is to die with us when its user changes.
            user = [f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "--pdeathsig=KILL"]
            lead = ["setpriv", *user]
        (self.port,) = free_ports(1)
        secret = self._folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)  # in a folder that nobody else may enter
        data = self._folder / "data"
        subprocess.run(
            [
                *(*lead, found["initdb"], f"--pgdata={data}", "--username=root"),
                *(f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync", "--no-locale"),
                "--encoding=UTF8",
            ],
            check=True,
            capture_output=True,
        )
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "30",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._child = processes.start(
            "postgres", [*lead, found["postgres"], "-D", str(data), *options]
        )
        wait_for(self._answers, self._child, timeout=60, what="PostgreSQL answers")

    def sql(self, statement: str, *, user: str = "root", password: str = "") -> str:
        """What a statement gives, as psql prints it bare. Raises SqlError, as for a login that is
        refused."""
        done = subprocess.run(
            [
                *(self._psql, "--no-psqlrc", "--no-password", "--tuples-only", "--no-align"),
                *("--host=127.0.0.1", f"--port={self.port}", f"--username={user}"),
                *("--dbname=postgres", "--command", statement),
            ],
            env={"PATH": os.defpath, "PGPASSWORD": password or self.password},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise SqlError(done.stderr)
        return done.stdout.strip()

    def lets_in(self, user: str, password: str) -> bool:
        """Whether a user can log in and is who it says."""
        with contextlib.suppress(SqlError):
            return self.sql("SELECT current_user", user=user, password=password) == user
        return False

    def stop(self) -> None:
        """Ends it, whoever is still connected."""
        self._child.signal(signal.SIGINT)
        self._child.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        with contextlib.suppress(SqlError):
            return self.sql("SELECT 1") == "1"
        return False
