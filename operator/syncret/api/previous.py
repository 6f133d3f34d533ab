"""The values before a rotation that a Secret still has: ``syncret.io/previous-values``.

::

    {"of": "shop/app", "by": {"database": {
        "data": "<digest>",
        "keys": {"password_previous": {"since": "2026-09-21T14:31:12Z", "digest": "<digest>"}}}}}

Which keys of the Secret are such values, by the name of the ExternalSecret whose they are, since
when each is there, and a keyed digest of it, so that one that somebody changed is not taken for
what an application used before. ``data`` is a keyed digest of the keys that they stand beside: it
tells that nobody changed those either, also when the process ended before the status said so.

It is written together with the data, so nothing is lost when a process dies in between, and there
is no other place that remembers it. Reading is tolerant, since anybody may write annotations: what
is not an entry is no entry, and its key one of those that somebody added. As with
``syncret.io/merged-keys``, a copy of the Secret under another name has none.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import intern
from types import MappingProxyType
from typing import Any, Final

from syncret.clock import parse_rfc3339, rfc3339
from syncret.digest import Digester

#: Bytes of the annotation; all annotations of an object may have 256 KiB, and are not ours alone.
MAX_PREVIOUS: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class PreviousValue:
    """One value. ``since``: when it stopped being the current one, in wall seconds.

    ``present``: the digest of what the Secret has under that key, None if it has no such key.
    ``intact``: it is what was put there, as far as that can be told.
    """

    owner: str
    since: float
    digest: str
    present: bytes | None
    intact: bool


@dataclass(frozen=True, slots=True)
class Previous:
    """``values`` by key of the Secret; ``bases``: by owner, the digest of what they are beside."""

    values: Mapping[str, PreviousValue] = field(default_factory=dict)
    bases: Mapping[str, str] = field(default_factory=dict)

    def without(self, keys: frozenset[str]) -> "Previous":
        """The same without some of the values."""
        values = {key: value for key, value in self.values.items() if key not in keys}
        owners = {value.owner for value in values.values()}
        bases = {owner: base for owner, base in self.bases.items() if owner in owners}
        return Previous(values, bases) if values else NO_PREVIOUS

    def of(self, owner: str) -> frozenset[str]:
        """The keys whose values are those of one ExternalSecret."""
        return frozenset(key for key, value in self.values.items() if value.owner == owner)


NO_PREVIOUS: Final = Previous(MappingProxyType({}), MappingProxyType({}))


def previous_digest(
    digester: Digester, namespace: str, secret: str, *, key: str, value: bytes
) -> str:
    """What stands for one such value; ``value``: the digest that stands for it in memory."""
    return digester.publish(f"previous/{namespace}/{secret}", {key: value})


def parse_previous(
    text: str, *, namespace: str, secret: str, present: Mapping[str, bytes], digester: Digester
) -> Previous:
    """What the annotation of a Secret says; ``present``: the digests of all that it holds."""
    if not text or len(text) > MAX_PREVIOUS:
        return NO_PREVIOUS
    values: dict[str, PreviousValue] = {}
    bases: dict[str, str] = {}
    try:
        record = json.loads(text)
        if record["of"] != f"{namespace}/{secret}":
            return NO_PREVIOUS
        for owner, said in record["by"].items():
            bases[owner] = str(said["data"])
            for key, one in said["keys"].items():
                digest, held = str(one["digest"]), present.get(key)
                intact = held is not None and (
                    not digester.knows(digest)
                    or digest == previous_digest(digester, namespace, secret, key=key, value=held)
                )
                since = parse_rfc3339(str(one["since"]))
                values[intern(key)] = PreviousValue(owner, since, digest, held, intact)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return NO_PREVIOUS
    return Previous(values, bases) if values else NO_PREVIOUS


def render_previous(previous: Previous, *, namespace: str, secret: str) -> str | None:
    """The annotation's text, the same for the same values; None if there are none."""
    if not previous.values:
        return None
    by: dict[str, Any] = {}
    for key, value in sorted(previous.values.items()):
        own = by.setdefault(value.owner, {"data": previous.bases.get(value.owner, ""), "keys": {}})
        own["keys"][key] = {"since": rfc3339(value.since), "digest": value.digest}
    return json.dumps({"of": f"{namespace}/{secret}", "by": by}, separators=(",", ":"))
