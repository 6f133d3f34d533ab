"""Reading a provider's part of a store's spec, with the path of the field in every refusal.

The CRD refuses most of what is refused here. It is checked again because a store may have been
created under an older CRD, and because a field that this version does not know must not be passed
over: a newer CRD's ``role``, say, would silently leave a store with another identity than the one
that its author asked for.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from syncret.errors import SpecInvalid
from syncret.providers.base import SecretKeyRef

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


class Fields:
    """One object of a spec. Every field is asked for once; :meth:`done` refuses the others."""

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, Mapping):
            raise SpecInvalid(f"{path} must be an object.")
        self.path = path
        self._left = {str(name): item for name, item in value.items() if item is not None}

    def has(self, name: str) -> bool:
        return name in self._left

    def text(self, name: str, *, pattern: re.Pattern[str], limit: int, form: str) -> str:
        """A required text that matches the pattern as a whole; ``form`` says it in words."""
        value = self._take(name)
        if not isinstance(value, str) or len(value) > limit or not pattern.fullmatch(value):
            raise SpecInvalid(f"{self.path}.{name} must be {form}.")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """A required word out of a few."""
        value = self._take(name)
        if value not in choices:
            raise SpecInvalid(f"{self.path}.{name} must be {' or '.join(choices)}.")
        return str(value)

    def child(self, name: str) -> "Fields":
        """A required object."""
        return Fields(self._take(name), f"{self.path}.{name}")

    def secret_key(self, name: str, *, cluster_scoped: bool) -> SecretKeyRef:
        """A required selector of a key of a Secret.

        A namespaced store reaches its own namespace only, so there a ``namespace`` is an unknown
        field. In a cluster-scoped one, a selector without it means the namespace of whoever reads.
        """
        fields = self.child(name)
        reference = SecretKeyRef(
            name=fields.text("name", pattern=_NAME, limit=253, form="the name of a Secret"),
            key=fields.text("key", pattern=_KEY, limit=253, form="a key of that Secret"),
            namespace=fields.text(
                "namespace", pattern=_NAMESPACE, limit=63, form="the name of a namespace"
            )
            if cluster_scoped and fields.has("namespace")
            else "",
        )
        fields.done()
        return reference

    def done(self) -> None:
        """Refuses what was not asked for."""
        for name in self._left:
            raise SpecInvalid(f"{self.path}.{name} is not known to this version of Syncret.")

    def _take(self, name: str) -> Any:
        try:
            return self._left.pop(name)
        except KeyError:
            raise SpecInvalid(f"{self.path}.{name} is missing.") from None
