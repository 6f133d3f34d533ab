"""What a conversion found out: the object, and what is to be said about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about one field.

    ``lost``: it is not in the result. Otherwise it is, and differs in what the text says.
    ``original`` stands in a comment of the output, and in no message: it may hold a secret.
    """

    path: str
    text: str
    lost: bool = True
    original: Any = None


@dataclass(slots=True)
class Result:
    """One object; ``body`` is None where nothing of it can be converted."""

    source: Mapping[str, Any]
    body: Body | None = None
    remarks: list[Remark] = field(default_factory=list)
    untouched: bool = False

    @property
    def name(self) -> str:
        """The object as a person would name it."""
        metadata = self.source.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        where = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
        return f"{self.source.get('kind', '?')} {where}{metadata.get('name', '?')}"

    def lose(self, path: str, text: str, original: Any = None) -> None:
        """Says that a field has no equivalent."""
        self.remarks.append(Remark(path, text, lost=True, original=original))

    def note(self, path: str, text: str) -> None:
        """Says that a field is converted, with a difference."""
        remark = Remark(path, text, lost=False)
        if remark not in self.remarks:
            self.remarks.append(remark)
