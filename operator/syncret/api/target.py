"""``spec.target``: how the Secret is made, shared, and left."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, cast, get_args

from syncret.api.rotation import parse_age
from syncret.errors import SpecInvalid

CreationPolicy = Literal["Owner", "Orphan", "Merge", "CreateOrMerge", "None"]
DeletionPolicy = Literal["Retain", "Delete", "Merge"]

_CREATION: Final = get_args(CreationPolicy)
_DELETION: Final = get_args(DeletionPolicy)


#: What is appended to a key for the value before, and how long that stays.
DEFAULT_SUFFIX: Final = "_previous"
DEFAULT_KEEP_FOR: Final = 86_400.0

_SUFFIX: Final = re.compile(r"[-._a-zA-Z0-9]{1,63}")


@dataclass(frozen=True, slots=True)
class KeepPrevious:
    """After a rotation, the value before stays under ``<key><suffix>`` for that many seconds."""

    suffix: str = DEFAULT_SUFFIX
    keep_for: float = DEFAULT_KEEP_FOR


@dataclass(frozen=True, slots=True)
class TargetPolicy:
    """The policies of the target.

    ``keeps``: Retain is said and not only the default, so what was written stays when the
    ExternalSecret goes.
    """

    creation: CreationPolicy = "Owner"
    deletion: DeletionPolicy = "Retain"
    keeps: bool = False
    immutable: bool = False
    previous: KeepPrevious | None = None

    @property
    def writes(self) -> bool:
        """Whether there is a Secret at all."""
        return self.creation != "None"

    @property
    def shared(self) -> bool:
        """Whether only some keys of the Secret are this ExternalSecret's."""
        return self.creation in {"Merge", "CreateOrMerge"}

    @property
    def owner_reference(self) -> bool:
        """Whether the Secret goes with the ExternalSecret, by Kubernetes' garbage collection."""
        return self.creation == "Owner" and not self.keeps


def parse_target(spec: Mapping[str, Any]) -> TargetPolicy:
    """The policies of a spec. Raises SpecInvalid for what the CRD's rules refuse."""
    target = spec.get("target") or {}
    creation, deletion = target.get("creationPolicy", "Owner"), target.get("deletionPolicy", "")
    immutable = bool(target.get("immutable"))
    if creation not in _CREATION:
        raise SpecInvalid(f"spec.target.creationPolicy must be one of {', '.join(_CREATION)}")
    if deletion and deletion not in _DELETION:
        raise SpecInvalid(f"spec.target.deletionPolicy must be one of {', '.join(_DELETION)}")
    if deletion == "Delete" and creation != "Owner":
        raise SpecInvalid(
            "spec.target.deletionPolicy Delete removes the whole Secret, so it needs the "
            "creationPolicy Owner"
        )
    if deletion and creation == "None":
        raise SpecInvalid(
            "spec.target.deletionPolicy has no meaning with the creationPolicy None: leave it out"
        )
    if immutable and creation not in {"Owner", "Orphan"}:
        raise SpecInvalid(
            "spec.target.immutable needs the creationPolicy Owner or Orphan: a shared Secret is "
            "not one ExternalSecret's to freeze"
        )
    return _policy(creation, deletion, immutable, _previous(target, creation, immutable))


def _previous(target: Mapping[str, Any], creation: str, immutable: bool) -> KeepPrevious | None:
    previous = target.get("previous")
    if previous is None:
        return None
    if immutable:
        raise SpecInvalid(
            "spec.target.previous needs a Secret that can be changed, because the value before "
            "could not be taken away again from an immutable one: leave one of the two out"
        )
    if creation == "None":
        raise SpecInvalid(
            "spec.target.previous has no meaning with the creationPolicy None: leave it out"
        )
    suffix = previous.get("suffix") or DEFAULT_SUFFIX
    if not _SUFFIX.fullmatch(suffix):
        raise SpecInvalid(
            'spec.target.previous.suffix must be letters, digits, "-", "_" and ".", 63 at most'
        )
    age = previous.get("keepFor")
    keep_for = parse_age(age, "spec.target.previous.keepFor") if age else DEFAULT_KEEP_FOR
    return KeepPrevious(suffix, keep_for)


@lru_cache(maxsize=64)
def _policy(
    creation: str, deletion: str, immutable: bool, previous: KeepPrevious | None
) -> TargetPolicy:
    """One record for all ExternalSecrets that say the same."""
    return TargetPolicy(
        creation=cast("CreationPolicy", creation),
        deletion=cast("DeletionPolicy", deletion or "Retain"),
        keeps=deletion == "Retain",
        immutable=immutable,
        previous=previous,
    )
