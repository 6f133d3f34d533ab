"""The text of the annotation: what each Secret held when the pods of a workload were started. Pure.

::

    #7.9d4e1a02,cache=*.1f0c93aa.5b1e…,db=7d0e1c2b.1f0c93aa.90c4…
    │ │        │    │ │        └ digest of the values that are read
    │ │        │    │ └ id of the key it was made with (syncret.digest)
    │ │        │    └ which keys of the Secret are read ("*": all)
    │ │        └ name of the Secret
    │ └ of which workload: a hash of its uid
    └ number of the restart: higher than any before it

One entry per Secret and not one value for all, and a number that tells a new annotation from an old
one that somebody put back, or from that of a workload whose manifest was copied:
``docs/design/0002-rollout-checksums.md``.

The set of keys is a plain hash, because the names of the keys stand in the pod template anyway.
The values are digested under the operator's key only.

Reading is tolerant, since anybody may write annotations: what is not an entry is no entry. Writing
is stable (the same entries are the same text) and bounded.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from syncret.api.workload import ConsumedKeys
from syncret.digest import Digester

#: Characters of an annotation that we write, or read. All annotations of a template together may
#: have 256 KiB (apimachinery, TotalAnnotationSizeLimitB), and they are not ours alone. Room for
#: 200 Secrets with the longest names there can be.
MAX_LENGTH: Final = 64 * 1024

ALL_KEYS: Final = "*"
_SET_LENGTH = 8  # hex digits: two sets that a template had one after the other hardly collide

#: A DNS subdomain; of a ConfigMap with what tells it from a Secret (``reload.py``).
_NAME: Final = re.compile(r"(?:ConfigMap/)?[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_SEQUENCE: Final = re.compile(r"#([0-9]{1,15})\.([0-9a-f]{8})(?:,|$)")
_ENTRY: Final = re.compile(r"(?P<keys>\*|[0-9a-f]{8})\.(?P<digest>[0-9a-f]{8}\.[0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Entry:
    """What one Secret held for one workload: which keys were read, and the digest of them."""

    keys: str
    digest: str

    def __str__(self) -> str:
        return f"{self.keys}.{self.digest}"


def entry_for(
    digester: Digester,
    digests: Mapping[str, bytes],
    *,
    namespace: str,
    secret: str,
    consumed: ConsumedKeys,
) -> Entry:
    """The entry for what a Secret holds now; ``digests``: of its values, by key.

    A consumed key that the Secret does not have is part of it as absent: one that appears later
    makes another entry.
    """
    read = digests
    if consumed is not None:
        read = {key: digests[key] for key in consumed if key in digests}
    return Entry(
        keys=_key_set(consumed), digest=digester.publish(f"rollout/{namespace}/{secret}", read)
    )


def parse_entry(text: str) -> Entry | None:
    """The entry that a text is; None if it is none."""
    match = _ENTRY.fullmatch(text)
    return Entry(match["keys"], match["digest"]) if match else None


def sequence_of(annotation: str, uid: str) -> int:
    """The number of the restart that wrote an annotation; 0 if none of this workload's did."""
    match = _SEQUENCE.match(annotation)
    return int(match[1]) if match and match[2] == _short(uid) else 0


def parse(annotation: str) -> dict[str, Entry]:
    """The entries of an annotation, by the name of the Secret; of two for one Secret the last."""
    entries = {}
    if len(annotation) <= MAX_LENGTH:
        for part in annotation.split(","):
            name, _, text = part.strip().partition("=")
            entry = parse_entry(text)
            if entry is not None and _NAME.fullmatch(name):
                entries[name] = entry
    return entries


def render(entries: Mapping[str, Entry], *, needed: str, sequence: int, uid: str) -> str:
    """The annotation of a workload, with this number and these entries, sorted by name.

    ``needed`` names the Secret that the restart is for: its entry is always in. Others beyond the
    bound are left out from the end; their ExternalSecrets then go by the baseline in their status.
    """
    parts = {name: f"{name}={entry}" for name, entry in sorted(entries.items())}
    kept = [f"#{sequence}.{_short(uid)}"]
    room = MAX_LENGTH - len(parts[needed]) - len(kept[0]) - 1
    for name, part in parts.items():
        if name != needed:
            room -= len(part) + 1
            if room < 0:
                continue
        kept.append(part)
    return ",".join(kept)


def _short(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:8]


def _key_set(consumed: ConsumedKeys) -> str:
    if consumed is None:
        return ALL_KEYS
    # Keys of a Secret have no "/" (IsConfigMapKey), so no two sets run together.
    return hashlib.sha256("/".join(sorted(consumed)).encode()).hexdigest()[:_SET_LENGTH]
