"""The provider ``file``: from a store's spec to an open client."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from syncret.errors import StoreInvalid
from syncret.providers.base import (
    CallObserver,
    Client,
    CredentialRef,
    SecretValue,
    ServiceAccount,
    StoreIdentity,
)
from syncret.providers.bounds import Bounds
from syncret.providers.calls import Calls, make_threads
from syncret.providers.file import reading
from syncret.providers.file.client import FileClient
from syncret.providers.file.config import PATH, FileConfig, parse_config


class FileProvider:
    """All stores of files. Off unless the administrator names directories."""

    name = "file"

    def __init__(self, bounds: Bounds, *, total: float = 30.0) -> None:
        """``total``: seconds for a whole fetch or check."""
        self._roots = bounds.file_roots
        self._threads = make_threads("file")
        self._total = total

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> FileConfig:  # noqa: ARG002
        return parse_config(spec)

    def credential_refs(self, config: FileConfig) -> Mapping[str, CredentialRef]:  # noqa: ARG002
        return {}

    def ambient(self, config: FileConfig) -> bool:  # noqa: ARG002 - the files are the operator's
        return True

    async def open(
        self,
        config: FileConfig,
        credentials: Mapping[str, SecretValue],  # noqa: ARG002 - it has none
        *,
        observe: CallObserver,
        accounts: Mapping[str, ServiceAccount] = MappingProxyType({}),  # noqa: ARG002
        store: StoreIdentity | None = None,  # noqa: ARG002
    ) -> Client:
        """Makes the client. Nothing is read yet. Raises StoreInvalid."""
        # As it is written: what links lead to is looked at when a file is opened.
        if not reading.allowed(Path(config.path), self._roots):
            raise StoreInvalid(
                f"{PATH}.path is in no directory that the operator may read: have the "
                "administrator add the directory to --file-store-roots (the chart's value "
                "fileStores.roots), or correct the path."
            )
        return FileClient(
            config,
            self._roots,
            calls=Calls(self._threads, observe=observe),
            timeout=self._total,
        )
