"""From what was fetched to the data of the target Secret. Pure.

``dataFrom`` comes first, in its order, then ``data``. What an entry of ``dataFrom`` gives is
rewritten, its keys are made usable, then its values are decoded. Two entries that end under one
key are an error, never silently one of them. Messages name the entry by its path in the spec, the
remote key and the property, all of which the author of the manifest wrote, and names of fields;
never a value.

What a store does not have is no failure here but part of the result: whether the Secret is written
without it is another's decision.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from syncret.api.data import DataFrom, Query, RemoteRef
from syncret.api.externalsecret import ExternalSecret, MissingEntry
from syncret.api.keys import ObjectKey
from syncret.constants import MAX_SECRET_BYTES, MAX_SECRET_KEY_LENGTH
from syncret.errors import (
    DataError,
    DuplicateKey,
    InvalidKey,
    KeyNotFound,
    PropertyNotFound,
    ProviderError,
    SecretTooLarge,
)
from syncret.providers.base import NotFound, Ref, SecretValue, Unchanged
from syncret.reconcile.decode import handle, usable_key
from syncret.reconcile.rewrite import Renderer, check_size, rewrite, shown
from syncret.reconcile.select import expand_properties, select_property
from syncret.reconcile.wanted import Fetched, ref_of

T = TypeVar("T")

_SECRET_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")


@dataclass(frozen=True, slots=True)
class Missing:
    """An entry that the store has nothing for: no such key, version or property, or none found.

    ``error`` says so, and what to do.
    """

    entry: MissingEntry
    optional: bool
    error: DataError


@dataclass(frozen=True, slots=True)
class Assembled:
    """The data of the Secret, without what is missing."""

    data: Mapping[str, bytes] = field(repr=False)
    missing: tuple[Missing, ...] = ()

    @property
    def required_missing(self) -> tuple[Missing, ...]:
        """What is missing and not optional."""
        return tuple(missing for missing in self.missing if not missing.optional)


class _Data:
    """The keys so far, and which entry gave each."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self._origin: dict[str, str] = {}

    def add(self, key: str, value: bytes, path: str) -> None:
        if key in self.values:
            raise DuplicateKey(
                f'{path} and {self._origin[key]} both give the key "{key}": '
                "leave one of them out or rename it."
            )
        self.values[key] = value
        self._origin[key] = path


def assemble(
    external_secret: ExternalSecret, fetched: Fetched, *, renderer: Renderer | None = None
) -> Assembled:
    """The data that the target Secret is to have.

    Raises the first failure in the order of the spec: ProviderError as the store gave it,
    DataError with the entry's path.
    """
    data = _Data()
    missing: list[Missing] = []
    for index, source in enumerate(external_secret.data_from):
        entry = f"spec.dataFrom[{index}]"
        try:
            for key, value in _many(source, fetched, entry, renderer).items():
                data.add(key, value, f"{entry}.{_kind(source)}")
        except (KeyNotFound, PropertyNotFound) as error:
            missing.append(_missing(entry, source.source, source.optional, error))
    for index, one in enumerate(external_secret.data):
        entry = f"spec.data[{index}]"
        path = f"{entry}.remoteRef"
        try:
            value = _value(one.store, one.remote, fetched, path)
        except (KeyNotFound, PropertyNotFound) as error:
            missing.append(_missing(entry, one.remote, one.optional, error))
            continue
        value = _located(partial(handle, handling=one.handling), value, one.remote, path)
        data.add(_checked(one.secret_key, path), value, path)
    size = sum(len(value) for value in data.values.values())
    if size > MAX_SECRET_BYTES:
        raise SecretTooLarge(
            f"The data are {size} bytes and a Secret holds at most {MAX_SECRET_BYTES}: "
            "select properties, or divide them among several ExternalSecrets."
        )
    return Assembled(data.values, tuple(missing))


def _kind(source: DataFrom) -> str:
    return "find" if isinstance(source.source, Query) else "extract"


def _missing(entry: str, source: RemoteRef | Query, optional: bool, error: DataError) -> Missing:
    remote = (source.key, source.property) if isinstance(source, RemoteRef) else ("", "")
    return Missing(MissingEntry(entry, *remote), optional, error.with_traceback(None))


def _many(
    source: DataFrom, fetched: Fetched, entry: str, renderer: Renderer | None
) -> dict[str, bytes]:
    """All that one entry of ``dataFrom`` gives, under keys that a Secret can have."""
    path = f"{entry}.{_kind(source)}"
    raw = (
        _found(source.store, source.source, fetched, path)
        if isinstance(source.source, Query)
        else _located(
            expand_properties,
            _value(source.store, source.source, fetched, path),
            source.source,
            path,
        )
    )
    check_size(raw, path)
    rewritten = rewrite(raw, source.rewrite, path=entry, renderer=renderer)
    data: dict[str, bytes] = {}
    origin: dict[str, str] = {}
    for key, value in rewritten.items():
        usable = _checked(usable_key(key, source.handling.conversion), path)
        if usable in data:
            raise DuplicateKey(
                f'{path} gives "{shown(origin[usable])}" and "{shown(key)}", which both become '
                f'the key "{usable}": rename one of them by rewrite, or set conversionStrategy '
                "to Unicode."
            )
        try:
            data[usable] = handle(value, source.handling)
        except DataError as error:
            raise type(error)(
                f'The value of "{shown(key)}" {error.message} ({path}): correct the value in the '
                "store, or how it is handled."
            ) from None
        origin[usable] = key
    return data


def _found(store: ObjectKey, query: Query, fetched: Fetched, path: str) -> dict[str, bytes]:
    values: dict[str, bytes] = {}
    for key in fetched.found[store, query]:
        match fetched.outcomes[store, Ref(key)]:
            case SecretValue() as found:
                values[key] = found.reveal()
            case ProviderError() as error:
                raise error
            case NotFound():  # it went between the search and the read, or holds nothing yet
                pass
    if not values:
        raise KeyNotFound(
            f"{store} has no secret that {path} finds: create one there, or correct what is "
            "looked for."
        )
    return values


def _value(store: ObjectKey, remote: RemoteRef, fetched: Fetched, path: str) -> bytes:
    match fetched.outcomes[store, ref_of(remote)]:
        case SecretValue() as found:
            if not remote.property:
                return found.reveal()
            return _located(
                lambda value: select_property(value, remote.property), found.reveal(), remote, path
            )
        case NotFound(version_missing=True) if not remote.version:
            raise KeyNotFound(
                f'{store} has "{remote.key}" without a current version ({path}): put a value into '
                "it, or see whether a rotation has ended well."
            )
        case NotFound(version_missing=True):
            raise KeyNotFound(
                f'{store} has no version "{remote.version}" of '
                f'"{remote.key}" ({path}): correct the version, or leave it out for the current.'
            )
        case NotFound():
            raise KeyNotFound(
                f'{store} has no "{remote.key}" ({path}): create it there, or correct the key.'
            )
        case ProviderError() as error:
            raise error
        case Unchanged():
            raise AssertionError("what is put together has been read")


def _located(read: Callable[[bytes], T], value: bytes, remote: RemoteRef, path: str) -> T:
    """Runs a selection, and says in its errors which entry and which remote secret it was."""
    try:
        return read(value)
    except DataError as error:
        raise type(error)(
            f'The value of "{remote.key}" {error.message} ({path}): '
            "correct the value in the store, or what is selected from it."
        ) from None


def _checked(key: str, path: str) -> str:
    if len(key) > MAX_SECRET_KEY_LENGTH:
        raise InvalidKey(
            f'{path} gives a key of {len(key)} characters, "{key[:40]}…"; the key of a Secret has '
            f"at most {MAX_SECRET_KEY_LENGTH}: select the properties one by one under shorter "
            "keys, or shorten them by rewrite."
        )
    if not _SECRET_KEY.fullmatch(key) or key in {".", ".."} or key.startswith(".."):
        raise InvalidKey(
            f'{path} gives the key "{shown(key)}", and the key of a Secret consists of letters, '
            'digits, "-", "_" and ".", and does not begin with "..": select the property under a '
            "key of that form, or change it by rewrite."
        )
    return key
