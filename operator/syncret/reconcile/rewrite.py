"""The steps of ``dataFrom[].rewrite``: other keys for the values of one entry. Pure.

Each step works on what the one before it left. Two keys that become one are an error: which of
the two would stay is nothing that a manifest says.

``transform`` makes keys by a template; who renders it is passed in (:class:`Renderer`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from syncret.api.data import Merge, Regexp, Step, Transform
from syncret.constants import MAX_KEYS, MAX_RAW_BYTES
from syncret.errors import (
    DataError,
    DuplicateKey,
    InvalidKey,
    PriorityNotFound,
    SecretTooLarge,
    SpecInvalid,
    ValueNotJSON,
)
from syncret.patterns import compile_replacement
from syncret.reconcile.select import parse_object, text_of

#: Bytes of a key between two steps; a last one may shorten it.
_LONGEST: Final = 4096

#: Matches that the steps of one entry replace in all: at worst half a second of the event loop.
_MOST_MATCHES: Final = 4 * MAX_KEYS


class Renderer(Protocol):
    """Renders templates."""

    def render_each(
        self, template: str, variables: Sequence[Mapping[str, str]], *, path: str
    ) -> Sequence[str]:
        """The template's text for each set of variables.

        Raises SyncretError with a sentence on the template, which stands at ``path``.
        """
        ...


def rewrite(
    values: Mapping[str, bytes],
    steps: Sequence[Step],
    *,
    path: str,
    renderer: Renderer | None = None,
) -> dict[str, bytes]:
    """The values under the keys that the steps give them; ``path`` is that of the entry.

    Raises DataError.
    """
    now = dict(values)
    left = _MOST_MATCHES
    for number, step in enumerate(steps):
        here = f"{path}.rewrite[{number}]"
        check_size(now, path)
        match step:
            case Regexp():
                now, left = _replaced(now, step, here, left)
            case Merge():
                now = _merged(now, step, f"{here}.merge")
            case Transform():
                now = _transformed(now, step, f"{here}.transform", renderer)
    return now


def check_size(values: Mapping[str, bytes], path: str) -> None:
    """Raises SecretTooLarge for more than could ever become a Secret."""
    if len(values) > MAX_KEYS:
        raise SecretTooLarge(
            f"{path} gives {len(values)} keys, and at most {MAX_KEYS} are handled: select less, "
            "or divide it among several ExternalSecrets."
        )
    size = sum(map(len, values.values()))
    if size > MAX_RAW_BYTES:
        raise SecretTooLarge(
            f"{path} gives {size} bytes, and at most {MAX_RAW_BYTES} are handled: select less."
        )


def shown(key: str) -> str:
    """A key as messages show it: cut, and without what is not Unicode."""
    text = key if len(key) <= 80 else f"{key[:80]}…"
    return text.encode("utf-8", "replace").decode()


def _replaced(
    values: Mapping[str, bytes], step: Regexp, path: str, left: int
) -> tuple[dict[str, bytes], int]:
    """``left``: matches that may still be replaced; the second of the result is what is left."""
    replacement = compile_replacement(step.source, step.target, f"{path}.regexp")

    def rename(key: str) -> str:
        nonlocal left
        try:
            name, used = replacement.apply(key, limit=_LONGEST, matches=left)
        except InvalidKey as error:
            raise InvalidKey(
                f"{path}.regexp {error.message}: correct source and target, or select less."
            ) from None
        except UnicodeError:
            raise InvalidKey(
                f'{path}.regexp cannot be applied to the key "{shown(key)}", which is not '
                "Unicode: correct it in the store."
            ) from None
        left -= used
        return name

    return _renamed(values, {key: rename(key) for key in values}, path), left


def _transformed(
    values: Mapping[str, bytes], step: Transform, path: str, renderer: Renderer | None
) -> dict[str, bytes]:
    if renderer is None:
        raise SpecInvalid(f"{path} is not known to this version of Syncret.")

    names = renderer.render_each(
        step.template, [{"value": key} for key in values], path=f"{path}.template"
    )
    if any(len(name) > _LONGEST for name in names):
        raise InvalidKey(f"{path} gives a key of more than {_LONGEST} characters: correct it.")
    return _renamed(values, dict(zip(values, names, strict=True)), path)


def _renamed(values: Mapping[str, bytes], names: Mapping[str, str], path: str) -> dict[str, bytes]:
    renamed: dict[str, bytes] = {}
    origin: dict[str, str] = {}
    for key, name in names.items():
        if name in renamed:
            raise DuplicateKey(
                f'{path} turns both "{shown(origin[name])}" and "{shown(key)}" into '
                f'"{shown(name)}": make it tell them apart.'
            )
        renamed[name] = values[key]
        origin[name] = key
    return renamed


def _merged(values: Mapping[str, bytes], step: Merge, path: str) -> dict[str, bytes]:
    absent = [key for key in step.priority if key not in values]
    if absent and step.strict:
        raise PriorityNotFound(
            f'{path}.priority names "{shown(absent[0])}", which is not among the keys: correct '
            "it, or set priorityPolicy to IgnoreNotFound."
        )
    preferred = [key for key in dict.fromkeys(step.priority) if key in values]
    fields: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for key in (*sorted(values.keys() - set(preferred)), *preferred):
        for name, value in _parsed(values[key], key, path).items():
            if name in fields and step.refuse_conflicts and key not in preferred:
                raise DuplicateKey(
                    f'{path}: "{shown(origin[name])}" and "{shown(key)}" both have the field '
                    f'"{shown(name)}": name the one that wins under priority, or set '
                    "conflictPolicy to Ignore."
                )
            fields[name] = value
            origin[name] = key
    if step.strategy == "Extract":
        return {name: text_of(value) for name, value in fields.items() if value is not None}
    if step.into in values:
        raise DuplicateKey(
            f'{path}.into is "{shown(step.into)}", and there is a key of that name: choose another.'
        )
    return {**values, step.into: text_of(fields)}


def _parsed(value: bytes, key: str, path: str) -> dict[str, Any]:
    try:
        return parse_object(value)
    except DataError as error:
        raise ValueNotJSON(
            f'{path}: the value of "{shown(key)}" {error.message}: correct it in the store, or '
            "select others."
        ) from None
