"""Reading files of allowed directories, and no others. Blocks: runs in threads.

Where a path leads is decided on the file that was opened, not on its name: between a look at a
symbolic link and the opening, the link may have become another. The kubelet's volumes are made of
links (``key -> ..data/key -> ..2026_11_26/key``), so links as such are fine; leaving is not.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

#: Bytes of a file. The data of a Secret are at most one MiB.
MAX_BYTES: Final = 4 * 1024 * 1024

_TOO_LARGE: Final = f"is larger than {MAX_BYTES} bytes: correct the path, or divide the file"

#: Never read, whatever the settings say: here are the operator's own credentials and memory.
FORBIDDEN: Final = tuple(
    Path(one)
    for one in (
        "/proc",
        "/sys",
        "/dev",
        "/run/secrets/kubernetes.io",
        "/run/secrets/eks.amazonaws.com",
        "/run/secrets/azure",
        "/run/secrets/tokens",
        "/var/run/secrets/kubernetes.io",
        "/var/run/secrets/eks.amazonaws.com",
        "/var/run/secrets/azure",
        "/var/run/secrets/tokens",
    )
)

#: Files of a directory that a search looks at.
MOST_FILES: Final = 10_000


class Outside(Exception):
    """A path leads out of the allowed directories."""


class Unfit(Exception):
    """Not a file that is read; the message follows its name, and says what to do."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds, and since when. ``version``: time and size, never a hash of a secret."""

    version: str
    modified: float
    data: bytes = field(default=b"", repr=False)


def allowed(path: Path, roots: Sequence[Path]) -> bool:
    """Whether a path without links is in one of the roots."""
    return any(path.is_relative_to(root) for root in roots) and not any(
        path.is_relative_to(one) for one in FORBIDDEN
    )


def read(path: Path, roots: Sequence[Path], *, look_only: bool = False) -> Content:
    """A file. ``look_only``: without its data. Raises OSError, Outside, Unfit."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not allowed(_opened(descriptor, path), roots):
            raise Outside
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Unfit("is not a file: correct the path or the format")
        if found.st_size > MAX_BYTES:
            raise Unfit(_TOO_LARGE)
        version = f"{found.st_mtime_ns:x}-{found.st_size:x}"
        if look_only:
            return Content(version, found.st_mtime)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise Unfit(_TOO_LARGE)
        return Content(version, found.st_mtime, data)
    finally:
        os.close(descriptor)


def names(directory: Path, roots: Sequence[Path]) -> list[str]:
    """The files under a directory, relative to it, sorted. Raises OSError, Outside, Unfit.

    Names that begin with ".." are the kubelet's own, and no key can say one that is not UTF-8.
    Links to directories are not followed: they could lead in a circle.
    """
    if not allowed(directory.resolve(), roots):
        raise Outside
    found: list[str] = []
    pending = [directory]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("..") or not _is_text(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                elif entry.is_file() and allowed(Path(entry.path).resolve(), roots):
                    found.append(str(Path(entry.path).relative_to(directory)))
                if len(found) + len(pending) > MOST_FILES:
                    raise Unfit(f"has more than {MOST_FILES} files: name a directory with fewer")
    return sorted(found)


def is_empty(directory: Path, roots: Sequence[Path]) -> bool:
    """Whether a directory has nothing in it. Raises OSError, Outside."""
    if not allowed(directory.resolve(), roots):
        raise Outside
    with os.scandir(directory) as entries:
        return next(iter(entries), None) is None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _opened(descriptor: int, path: Path) -> Path:
    """Where the opened file is."""
    link = Path(f"/proc/self/fd/{descriptor}")
    if link.is_symlink():  # Linux
        return Path(os.readlink(link))  # noqa: PTH115 - not resolved once more
    return path.resolve()
