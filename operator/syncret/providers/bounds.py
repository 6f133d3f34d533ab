"""What the administrator allows providers whose stores name files or addresses of their own.

Everything here is closed by default. A store is an object of the cluster, and whoever may create
one must not thereby read the operator's files, or make it talk to whatever its pod can reach.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from syncret.providers.hosts import Hosts
from syncret.providers.web import trust


@dataclass(frozen=True, slots=True)
class OwnCluster:
    """The API server of the cluster that we run in, without an identity to it.

    Its trust is made anew for each store, and never the operator's own TLS context: that may hold
    a client certificate, which the API server takes for who we are whatever token comes along.
    """

    url: str
    ca: bytes = field(default=b"", repr=False)
    tls_server_name: str = ""
    proxy: str = ""

    def trust(self, *, cert: bytes = b"", key: bytes = b"") -> ssl.SSLContext | None:
        """None where it is not spoken to by TLS. Raises ValueError."""
        ca = self.ca or None
        return trust(ca, cert=cert, key=key) if self.url.startswith("https:") else None


@dataclass(frozen=True, slots=True)
class Bounds:
    """``file_roots``: the directories that stores of files may read; ``webhook_hosts``: what stores
    of webhooks may call. ``cluster``: None where it is not known.

    ``digest_key``: under which what a store tells of a value may be digested for a status; the same
    after a restart. Empty: each process has its own.
    """

    file_roots: tuple[Path, ...] = ()
    webhook_hosts: Hosts = Hosts()  # noqa: RUF009 - frozen
    cluster: OwnCluster | None = None
    digest_key: bytes = field(default=b"", repr=False)

    @classmethod
    def of(
        cls,
        *,
        file_roots: Sequence[str] = (),
        webhook_hosts: Sequence[str] = (),
        cluster: OwnCluster | None = None,
        digest_key: bytes = b"",
    ) -> "Bounds":
        """From the texts of the settings. Raises SpecInvalid."""
        return cls(
            # As they are written in stores, and as the files in them are when they are open: in
            # most images /var/run is a link.
            file_roots=tuple(
                dict.fromkeys(
                    path for root in file_roots for path in (Path(root), Path(root).resolve())
                )
            ),
            webhook_hosts=Hosts.parse(webhook_hosts),
            cluster=cluster,
            digest_key=digest_key,
        )


#: Nothing is allowed.
CLOSED: Final = Bounds()
