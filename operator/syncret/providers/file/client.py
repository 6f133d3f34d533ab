"""An open file or directory.

There is no login and no quota here, and yet most of a store's ways to fail: a volume that is not
mounted, a file that is half written. Neither may look like secrets that were deleted, so a file or
a directory that is empty or not there is a store that cannot be read, and only a key that is not in
it is a key that is not found.
"""

import asyncio
import errno
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from syncret.errors import AccessDenied, ProviderError, ProviderRejected, ProviderUnavailable
from syncret.providers.base import (
    NOTHING_KNOWN,
    Found,
    Known,
    Limits,
    NotFound,
    Outcome,
    Query,
    Ref,
    SecretValue,
    Unchanged,
)
from syncret.providers.calls import Calls
from syncret.providers.fetching import Fetching
from syncret.providers.file import formats, reading
from syncret.providers.file.config import FileConfig
from syncret.providers.file.reading import Content, Outside, Unfit
from syncret.providers.outcomes import outcome_word
from syncret.providers.web import CredentialsRefused, timed_out

T = TypeVar("T")

#: A file system takes far more; these keep the work in pieces.
LIMITS: Final = Limits(batch=100, concurrency=4, rate=200.0)

READ: Final = "ReadFile"
LIST: Final = "ListDirectory"

#: Seconds that a file must have been left alone for its time and size to prove that it is the same:
#: two writes of one size within a tick of the file system's clock cannot be told apart.
SETTLED: Final = 2.0

_PARSERS: Final[Mapping[str, Callable[[str], dict[str, bytes]]]] = {
    "Env": formats.env,
    "JSON": formats.json_object,
    "YAML": formats.yaml_mapping,
}


class FileClient:
    """An open store."""

    def __init__(
        self,
        config: FileConfig,
        roots: Sequence[Path],
        *,
        calls: Calls,
        timeout: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.limits = LIMITS
        self._config = config
        self._path = Path(config.path)
        self._roots = roots
        self._calls = calls
        self._timeout = timeout
        self._wall = wall

    async def fetch(
        self, refs: Collection[Ref], *, known: Known = NOTHING_KNOWN
    ) -> Mapping[Ref, Outcome]:
        fetch = Fetching(fatal=CredentialsRefused)
        wanted = []
        for ref in dict.fromkeys(refs):
            refused = self._refused(ref)
            if refused is not None:
                fetch.add(ref, refused)
            else:
                wanted.append(ref)
        if wanted:
            read = self._directory if self._config.format == "Directory" else self._file
            try:
                async with asyncio.timeout(self._timeout):
                    found = await self._calls.run(
                        READ, partial(read, tuple(wanted), dict(known)), outcome=_word
                    )
            except TimeoutError:
                found = timed_out(self._config.place)
            if isinstance(found, ProviderError):
                fetch.end(found)
            for ref, outcome in ({} if isinstance(found, ProviderError) else found or {}).items():
                fetch.add(ref, outcome)
        return fetch.result(refs)

    async def find(self, query: Query, *, page: str = "") -> Found:  # noqa: ARG002 - there is one
        found: Sequence[str] | ProviderError | None
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._calls.run(LIST, self._names)
        except TimeoutError:
            found = timed_out(self._config.place)
        if isinstance(found, ProviderError):
            raise found
        return Found(tuple(name for name in found or () if query.matches(name, {})))

    async def check(self) -> None:
        """Reads the file, or looks into the directory."""
        found: object
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._calls.run(LIST, self._names)
        except TimeoutError:
            found = timed_out(self._config.place)
        if isinstance(found, ProviderError):
            raise found

    async def close(self) -> None:
        """Nothing is held open."""

    def _refused(self, ref: Ref) -> ProviderRejected | None:
        place = self._config.place
        if ref.metadata:
            return ProviderRejected(f"{place} has no tags: leave metadataPolicy out.")
        if ref.version:
            return ProviderRejected(f"{place} has one version only: leave remoteRef.version out.")
        if self._config.format == "Directory" and not _is_key(ref.key):
            return ProviderRejected(
                f'The key "{ref.key[:200]}" is not usable: write the path of a file in the '
                'directory, without a "/" at its beginning and without "..".'
            )
        return None

    # What runs in threads. They return failures instead of raising them: see providers/calls.py.

    def _file(self, refs: tuple[Ref, ...], known: Mapping[Ref, str]) -> "_Outcomes | ProviderError":
        looked = self._looked(self._path, look_only=True)
        if isinstance(looked, ProviderError):
            return looked
        if self._settled(looked) and all(known.get(ref) == looked.version for ref in refs):
            return _Outcomes({ref: Unchanged(looked.version) for ref in refs})
        content = self._looked(self._path)
        if isinstance(content, ProviderError):
            return content
        values = self._parsed(content)
        if isinstance(values, ProviderError):
            return values
        return _Outcomes(
            {
                ref: _value(values[ref.key], content) if ref.key in values else NotFound()
                for ref in refs
            }
        )

    def _directory(
        self, refs: tuple[Ref, ...], known: Mapping[Ref, str]
    ) -> "_Outcomes | ProviderError":
        found = _Outcomes()
        missing = False
        for ref in refs:
            path = self._path / ref.key
            try:
                version = known.get(ref)
                if version:
                    looked = reading.read(path, self._roots, look_only=True)
                    if looked.version == version and self._settled(looked):
                        found[ref] = Unchanged(version)
                        continue
                content = reading.read(path, self._roots)
                found[ref] = _value(content.data, content)
            except (FileNotFoundError, NotADirectoryError):
                missing = True
                found[ref] = NotFound()
            except (OSError, Outside, Unfit) as error:
                if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                    found[ref] = NotFound()  # no file can have that name
                    continue
                found[ref] = self._problem(error, f'The file "{ref.key[:200]}" in {self._inside}')
        if missing:  # of a directory that is there, and has something in it
            problem = self._checked()
            if problem is not None:
                return problem
        return found

    def _names(self) -> "Sequence[str] | ProviderError":
        if self._config.format == "Directory":
            problem = self._checked()
            if problem is not None:
                return problem
            try:
                return reading.names(self._path, self._roots)
            except (OSError, Outside, Unfit) as error:
                return self._problem(error, self._config.place)
        content = self._looked(self._path)
        values = content if isinstance(content, ProviderError) else self._parsed(content)
        return values if isinstance(values, ProviderError) else sorted(values)

    def _checked(self) -> ProviderError | None:
        try:
            empty = reading.is_empty(self._path, self._roots)
        except (OSError, Outside) as error:
            return self._problem(error, self._config.place)
        if empty:
            return ProviderUnavailable(
                f"{self._config.place} is empty, which is not taken for secrets that are missing: "
                "check that what belongs there is mounted."
            )
        return None

    def _looked(self, path: Path, *, look_only: bool = False) -> Content | ProviderError:
        try:
            return reading.read(path, self._roots, look_only=look_only)
        except (OSError, Outside, Unfit) as error:
            return self._problem(error, self._config.place)

    def _parsed(self, content: Content) -> dict[str, bytes] | ProviderError:
        place = self._config.place
        if not content.data.strip():
            return ProviderUnavailable(
                f"{place} is empty, which is not taken for secrets that are missing: check that it "
                "was written to its end."
            )
        try:
            return _PARSERS[self._config.format](content.data.decode("utf-8-sig"))
        except UnicodeDecodeError:
            why = "it is not UTF-8"
        except formats.Malformed as error:
            why = str(error)
        return ProviderUnavailable(f"{place} cannot be read as {self._config.format}: {why}.")

    def _problem(self, error: Exception, what: str) -> ProviderError:
        match error:
            case Outside():
                return AccessDenied(
                    f"{what} leads out of the directories that the operator may read: keep it and "
                    "what its links lead to inside (--file-store-roots)."
                )
            case Unfit():
                return ProviderRejected(f"{what} {error}.")
            case FileNotFoundError():
                return ProviderUnavailable(
                    f"{what} does not exist: mount or create it, or correct the path."
                )
            case PermissionError():
                return AccessDenied(
                    f"{what} may not be read by the operator's user: correct its owner or mode."
                )
            case IsADirectoryError() | NotADirectoryError():
                return ProviderRejected(
                    f"{what} is a file where a directory is needed, or the other way round: "
                    "correct the path or the format."
                )
        return ProviderUnavailable(
            f"{what} cannot be read: it is tried again; if it lasts, check the volume."
        )

    def _settled(self, content: Content) -> bool:
        return self._wall() - content.modified > SETTLED

    @property
    def _inside(self) -> str:
        return self._config.place[:1].lower() + self._config.place[1:]


class _Outcomes(dict[Ref, Outcome]):
    """Outcomes by reference. They show no secret, and neither does this."""


def _word(result: object) -> str:
    if isinstance(result, dict):
        failed = [one for one in result.values() if isinstance(one, ProviderError | NotFound)]
        return outcome_word(failed[0]) if len(failed) == len(result) else "ok"
    return outcome_word(result)


def _value(data: bytes, content: Content) -> SecretValue:
    modified = datetime.fromtimestamp(content.modified, UTC)
    return SecretValue(data, version=content.version, created=modified)


def _is_key(key: str) -> bool:
    parts = key.split("/")
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return (
        len(key) <= 4096
        and "\0" not in key
        and all(part and part != "." and not part.startswith("..") for part in parts)
    )
