"""Files for the contract suite: a directory with one file for each key, as volumes have them.

The other forms hold the same secrets in one file; ``test_file.py`` has what only they do.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from contract.harness import Ability, Fault, Identity, Lacks, Observations
from syncret.providers.base import Client
from syncret.providers.bounds import Bounds
from syncret.providers.file.provider import FileProvider

_LOCAL = "files of this machine neither hang nor throttle"
_ONE_FILE = "a file of a directory is taken as it is"
_NOBODY = "there is no login to a file system"


class FileHarness:
    """One test's directory under an allowed root."""

    name = "file"
    separator = "/"
    max_bytes = 1_048_576
    takes_binary = True
    missing_version = "1"
    credentials: tuple[str, ...] = ()
    lacks: ClassVar[Lacks] = {
        Ability.PINS: "a file has one version",
        Ability.TAGS: "files have none",
        Fault.THROTTLED: _LOCAL,
        Fault.HANGS: _LOCAL,
        Fault.TRICKLES: _LOCAL,
        Fault.RESET: _ONE_FILE,
        Fault.NOT_JSON: _ONE_FILE,
        Identity.UNKNOWN: _NOBODY,
        Identity.EXPIRED: _NOBODY,
    }

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.outside = directory / "outside"
        for one in (self.root / "store", self.outside):
            one.mkdir(parents=True)
        (self.root / "store" / "there").write_text("is one")
        self.path = self.root / "store"
        self.opened: list[Observations] = []

    def put(self, key: str, value: bytes) -> str:
        path = self.path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        new = self.outside / "new"
        new.write_bytes(value)
        new.rename(path)  # as a whole, as one should
        found = path.stat()
        return f"{found.st_mtime_ns:x}-{found.st_size:x}"

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        raise NotImplementedError

    def delete(self, key: str) -> None:
        (self.path / key).unlink()

    async def open(
        self,
        observe: Observations,
        *,
        identity: Identity = Identity.GOOD,  # noqa: ARG002 - the suite's
        reachable: bool = True,
        hasty: bool = False,  # noqa: ARG002 - the suite's
        path: Path | None = None,
        form: str = "Directory",
    ) -> Client:
        self.opened.append(observe)
        provider = FileProvider(Bounds.of(file_roots=[str(self.root)]))
        chosen = path or self.path
        if not reachable:
            chosen = self.root / "not-mounted"
        config = provider.parse({"path": str(chosen), "format": form}, cluster_scoped=True)
        return await provider.open(config, {}, observe=observe)

    def fail(self, fault: Fault | None, *, saying: str = "") -> None:
        """Not mounted any more, or something else in its place."""
        aside = self.root / "aside"
        if fault is not None:
            self.path.rename(aside)
        if fault is Fault.NOT_THE_STORE:
            self.path.write_text(saying)
        if fault is None and aside.exists():
            self.path.unlink(missing_ok=True)
            aside.rename(self.path)

    def deny(self, key: str) -> None:
        """It leads out of the root: modes do not keep root from reading."""
        target = self.outside / "denied"
        target.write_text("not to be read")
        path = self.path / key
        path.unlink()
        path.symlink_to(target)

    @property
    def requests(self) -> int:
        """The calls that were told of: a file system counts none."""
        return sum(len(observed.calls) for observed in self.opened)

    def close(self) -> None:
        shutil.rmtree(self.root.parent)
