"""What a reference names: a Secret, or one entry of it. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from syncret.errors import ProviderRejected
from syncret.providers.base import Ref

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PART: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")


@dataclass(frozen=True, slots=True)
class Key:
    """The Secret ``name``; ``part``: one key of its data, else all of them as JSON."""

    ref: Ref
    name: str
    part: str = ""

    @classmethod
    def parse(cls, ref: Ref) -> "Key | ProviderRejected":
        """The refusal is returned: it is one reference's outcome."""
        name, slash, part = ref.key.partition("/")
        if len(name) > 253 or not _NAME.fullmatch(name) or (slash and not _PART.fullmatch(part)):
            return ProviderRejected(
                f'The key "{ref.key[:200]}" is not usable: write the name of a Secret, or that, "/"'
                " and one of its keys."
            )
        if ref.version:
            return ProviderRejected(
                f'The version of "{ref.key[:200]}" cannot be chosen, because Kubernetes keeps only '
                "the current one of a Secret: leave remoteRef.version out."
            )
        return cls(ref, name, part)
