"""``spec.provider.file`` as a record."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from syncret.errors import SpecInvalid
from syncret.providers.fields import Fields

PATH: Final = "spec.provider.file"

FORMATS: Final = ("Directory", "Env", "JSON", "YAML")

_PATH: Final = re.compile(r"/[^\x00-\x1f\x7f]*")
_SUFFIXES: Final = {".json": "JSON", ".yaml": "YAML", ".yml": "YAML", ".env": "Env"}


@dataclass(frozen=True, slots=True)
class FileConfig:
    """Which file or directory, and how it is read: "Directory" is one file for each key."""

    path: PurePosixPath
    format: str

    @property
    def place(self) -> str:
        """What messages call the store."""
        kind = "directory" if self.format == "Directory" else "file"
        return f'The {kind} "{self.path}"'


def parse_config(spec: Mapping[str, Any]) -> FileConfig:
    """The record. Raises SpecInvalid with the field's path."""
    fields = Fields(spec, PATH)
    form = 'an absolute path without ".." and control characters'
    path = PurePosixPath(fields.text("path", pattern=_PATH, limit=4096, form=form))
    if ".." in path.parts:
        raise SpecInvalid(f"{PATH}.path must be {form}.")
    given = fields.choice("format", FORMATS, default="") if fields.has("format") else ""
    fields.done()
    return FileConfig(path, given or _usual(path))


def _usual(path: PurePosixPath) -> str:
    """The format that a name says, as ``.env``, ``app.env``, ``.env.local``, ``app.json`` do."""
    if path.name == ".env" or path.name.startswith(".env."):
        return "Env"
    return _SUFFIXES.get(path.suffix, "Directory")
