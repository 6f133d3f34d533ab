"""Reading a provider's part of a store's spec, with the path of the field in every refusal.

The CRD refuses most of what is refused here. It is checked again because a store may have been
created under an older CRD, and because a field that this version does not know must not be passed
over: a newer CRD's ``role``, say, would silently leave a store with another identity than the one
that its author asked for.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from syncret.errors import SpecInvalid
from syncret.providers.base import ConfigMapKeyRef, SecretKeyRef, ServiceAccountRef

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_AUDIENCE: Final = re.compile(r"[!-~]+")
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

    def optional(
        self, name: str, *, pattern: re.Pattern[str], limit: int, form: str, default: str = ""
    ) -> str:
        """The same, or the default where it is left out."""
        if not self.has(name):
            return default
        return self.text(name, pattern=pattern, limit=limit, form=form)

    def texts(
        self, name: str, *, pattern: re.Pattern[str], limit: int, form: str
    ) -> tuple[str, ...]:
        """A list of texts that each match the pattern; empty where it is left out."""
        values = self._left.pop(name, ())
        if not isinstance(values, Sequence) or isinstance(values, str):
            raise SpecInvalid(f"{self.path}.{name} must be a list.")
        for index, value in enumerate(values):
            if not isinstance(value, str) or len(value) > limit or not pattern.fullmatch(value):
                raise SpecInvalid(f"{self.path}.{name}[{index}] must be {form}.")
        return tuple(values)

    def mapping(self, name: str, *, limit: int) -> dict[str, str]:
        """An object of texts of at most ``limit`` characters; empty where it is left out."""
        values = self._left.pop(name, {})
        if not isinstance(values, Mapping):
            raise SpecInvalid(f"{self.path}.{name} must be an object.")
        for key, value in values.items():
            if not isinstance(value, str) or len(value) > limit:
                raise SpecInvalid(
                    f"{self.path}.{name}.{key} must be a text of at most {limit} characters."
                )
        return dict(values)

    def choice(self, name: str, choices: tuple[str, ...], *, default: str | None = None) -> str:
        """A word out of a few; required without a default."""
        if default is not None and not self.has(name):
            return default
        value = self._take(name)
        if value not in choices:
            raise SpecInvalid(f"{self.path}.{name} must be {' or '.join(choices)}.")
        return str(value)

    def one_of(self, names: tuple[str, ...]) -> str:
        """Which of some fields is there: exactly one may be."""
        there = [name for name in names if self.has(name)]
        if len(there) != 1:
            found = f"has {' and '.join(there)}" if there else "has none"
            raise SpecInvalid(
                f"{self.path} must have exactly one of {', '.join(names)}; it {found}."
            )
        return there[0]

    def flag(self, name: str, *, default: bool = False) -> bool:
        """True or false."""
        value = self._left.pop(name, default)
        if not isinstance(value, bool):
            raise SpecInvalid(f"{self.path}.{name} must be true or false.")
        return value

    def integer(self, name: str, *, at_least: int, at_most: int, default: int) -> int:
        """A whole number within bounds."""
        value = self._left.pop(name, default)
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or not at_least <= value <= at_most
        ):
            raise SpecInvalid(
                f"{self.path}.{name} must be a whole number from {at_least} to {at_most}."
            )
        return value

    def child(self, name: str) -> "Fields":
        """A required object."""
        return Fields(self._take(name), f"{self.path}.{name}")

    def children(self, name: str) -> "list[Fields]":
        """A list of objects; empty where it is left out."""
        values = self._left.pop(name, ())
        if not isinstance(values, Sequence) or isinstance(values, str):
            raise SpecInvalid(f"{self.path}.{name} must be a list.")
        return [Fields(value, f"{self.path}.{name}[{n}]") for n, value in enumerate(values)]

    def secret_key(self, name: str, *, cluster_scoped: bool) -> SecretKeyRef:
        """A required selector of a key of a Secret.

        A namespaced store reaches its own namespace only, so there a ``namespace`` is an unknown
        field. In a cluster-scoped one, a selector without it means the namespace of whoever reads.
        """
        fields = self.child(name)
        reference = SecretKeyRef(
            name=fields.text("name", pattern=_NAME, limit=253, form="the name of a Secret"),
            key=fields.text("key", pattern=_KEY, limit=253, form="a key of that Secret"),
            namespace=fields.namespace(cluster_scoped=cluster_scoped),
        )
        fields.done()
        return reference

    def config_map_key(self, name: str, *, cluster_scoped: bool) -> ConfigMapKeyRef:
        """A required selector of a key of a ConfigMap; its namespace as in :meth:`secret_key`."""
        fields = self.child(name)
        reference = ConfigMapKeyRef(
            name=fields.text("name", pattern=_NAME, limit=253, form="the name of a ConfigMap"),
            key=fields.text("key", pattern=_KEY, limit=253, form="a key of that ConfigMap"),
            namespace=fields.namespace(cluster_scoped=cluster_scoped),
        )
        fields.done()
        return reference

    def service_account(
        self, name: str, *, cluster_scoped: bool
    ) -> tuple[ServiceAccountRef, tuple[str, ...]]:
        """A required reference to a ServiceAccount, and the audiences that it lists.

        Its namespace as in :meth:`secret_key`.
        """
        fields = self.child(name)
        reference = ServiceAccountRef(
            name=fields.text("name", pattern=_NAME, limit=253, form="the name of a ServiceAccount"),
            namespace=fields.namespace(cluster_scoped=cluster_scoped),
        )
        audiences = fields.texts(
            "audiences", pattern=_AUDIENCE, limit=1024, form="an audience, without blanks"
        )
        fields.done()
        return reference, audiences

    def done(self) -> None:
        """Refuses what was not asked for."""
        for name in self._left:
            raise SpecInvalid(f"{self.path}.{name} is not known to this version of Syncret.")

    def namespace(self, *, cluster_scoped: bool) -> str:
        """The ``namespace`` of a selector, "" where it is left out or no field."""
        if not cluster_scoped:
            return ""  # done() refuses the field
        return self.optional(
            "namespace", pattern=_NAMESPACE, limit=63, form="the name of a namespace"
        )

    def _take(self, name: str) -> Any:
        try:
            return self._left.pop(name)
        except KeyError:
            raise SpecInvalid(f"{self.path}.{name} is missing.") from None
