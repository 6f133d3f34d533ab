"""Which parameters are read together, and which part of an answer is whose. Pure.

A parameter is named by its name or by its ARN; a version or a label is written behind it, after a
colon. GetParameters answers without an order: each parameter comes with its name, its ARN and what
it was selected by, and what is not there is listed as it was asked for. Names and ARNs never share
a batch: a parameter of another account may have the name that a reference of this account asks for.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from syncret.errors import ProviderRejected
from syncret.providers.aws.arns import is_arn
from syncret.providers.base import NotFound, Ref

#: The most names that AWS accepts in one GetParameters.
BATCH: Final = 10

# What AWS documents of names. Something else is read alone: one name that AWS finds malformed makes
# it refuse the whole batch.
_NAME: Final = re.compile(r"/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_ARN: Final = re.compile(r"arn:[a-z0-9-]+:ssm:[a-z0-9-]+:[0-9]{12}:parameter(/[A-Za-z0-9_.-]+)+")
_MAX_NAME: Final = 2048
_SELECTOR: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def asked_as(ref: Ref) -> str:
    """What GetParameters is asked for; raises ProviderRejected for what it cannot be asked for."""
    if ":" in ref.key and not is_arn(ref.key):
        raise ProviderRejected(
            f'The key "{ref.key[:200]}" is not the name of a parameter: a version or a label is '
            "given as remoteRef.version."
        )
    if not ref.version:
        return ref.key
    if not _SELECTOR.fullmatch(ref.version):
        raise ProviderRejected(
            f'The version "{ref.version[:80]}" is not usable: it is the number of a version, or a '
            'label of up to 100 letters, digits, "_", "." and "-".'
        )
    return f"{ref.key}:{ref.version}"


def batches(refs: Mapping[str, Ref], *, apart: Iterable[str] = ()) -> list[tuple[str, ...]]:
    """What is asked for in one call each. ``apart``: what has kept its company from being read."""
    groups: dict[str, list[str]] = {"names": [], "arns": []}
    alone = set(apart)
    found: list[tuple[str, ...]] = []
    for name, ref in refs.items():
        pattern = _ARN if is_arn(ref.key) else _NAME
        if name in alone or len(name) > _MAX_NAME or not pattern.fullmatch(ref.key):
            found.append((name,))
        else:
            groups["arns" if is_arn(ref.key) else "names"].append(name)
    for names in groups.values():
        found += [tuple(names[start : start + BATCH]) for start in range(0, len(names), BATCH)]
    return found


def answered_by(names: Sequence[str], entry: Mapping[str, Any]) -> str:
    """Which of the names a parameter of an answer was asked for by; "" if that is not clear."""
    selector = str(entry.get("Selector") or "").removeprefix(":")
    behind = f":{selector}" if selector else ""
    for found in (entry.get("Name"), entry.get("ARN")):
        if found and f"{found}{behind}" in names:
            return f"{found}{behind}"
    return names[0] if len(names) == 1 else ""  # AWS may leave out or add a leading "/"


def answered(
    names: Sequence[str], entries: Iterable[Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """The parameters of an answer by what they were asked for.

    Without the two that look like the answer to one name, as versions of one parameter do where
    the server leaves out what it selected them by: they are read singly then.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        found.setdefault(answered_by(names, entry), []).append(entry)
    return {name: those[0] for name, those in found.items() if name and len(those) == 1}


def version_of(entry: Mapping[str, Any]) -> str:
    """The number of the version, by which a reference may name it."""
    return str(entry.get("Version") or "")


def created(entry: Mapping[str, Any]) -> datetime | None:
    """When this version was made, where AWS says it."""
    found = entry.get("LastModifiedDate")
    return found if isinstance(found, datetime) else None


def is_encrypted(entry: Mapping[str, Any]) -> bool:
    return entry.get("Type") == "SecureString"


def missing(ref: Ref, *, known: bool) -> NotFound:
    """A reference that is not there. ``known``: the parameter itself is."""
    return NotFound(version_missing=bool(ref.version) and known)


def tagged_as(key: str) -> str:
    """How ListTagsForResource names a parameter, which it knows by its name only.

    In an ARN, "/" stands between "parameter" and the name, and is part of a name with levels.
    """
    if not is_arn(key):
        return key
    name = key.split(":parameter/", 1)[-1]
    return f"/{name}" if "/" in name else name
