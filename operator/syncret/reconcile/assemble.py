"""From what was fetched to the data of the target Secret. Pure.

``dataFrom`` comes first, in its order, then ``data``. Two entries that end under one key are an
error, never silently one of them. Messages name the entry by its path in the spec, the remote key
and the property, all of which the author of the manifest wrote; never a value.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from syncret.api.externalsecret import ExternalSecret, RemoteRef
from syncret.constants import MAX_SECRET_BYTES, MAX_SECRET_KEY_LENGTH
from syncret.errors import (
    DataError,
    DuplicateKey,
    InvalidKey,
    KeyNotFound,
    ProviderError,
    SecretTooLarge,
)
from syncret.providers.base import NotFound, Outcome, Ref, SecretValue
from syncret.reconcile.select import expand_properties, select_property

T = TypeVar("T")

_SECRET_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")


def refs_of(external_secret: ExternalSecret) -> tuple[Ref, ...]:
    """Every remote secret that the ExternalSecret reads, once, in the order of its spec."""
    remotes = (*external_secret.extract, *(entry.remote for entry in external_secret.data))
    return tuple(dict.fromkeys(Ref(remote.key, remote.version) for remote in remotes))


def assemble(external_secret: ExternalSecret, outcomes: Mapping[Ref, Outcome]) -> dict[str, bytes]:
    """The data that the target Secret is to have.

    Raises the first failure in the order of the spec: ProviderError as the store gave it,
    DataError with the entry's path.
    """
    data: dict[str, bytes] = {}
    origin: dict[str, str] = {}

    def add(key: str, value: bytes, path: str) -> None:
        if key in data:
            raise DuplicateKey(
                f'{path} and {origin[key]} both give the key "{key}": '
                "leave one of them out or rename it."
            )
        data[key] = value
        origin[key] = path

    for index, remote in enumerate(external_secret.extract):
        path = f"spec.dataFrom[{index}].extract"
        for key, value in _extract(external_secret, remote, outcomes, path).items():
            add(_checked(key, path), value, path)
    for index, entry in enumerate(external_secret.data):
        path = f"spec.data[{index}].remoteRef"
        value = _value(external_secret, entry.remote, outcomes, path)
        add(_checked(entry.secret_key, path), value, path)
    size = sum(len(value) for value in data.values())
    if size > MAX_SECRET_BYTES:
        raise SecretTooLarge(
            f"The data are {size} bytes and a Secret holds at most {MAX_SECRET_BYTES}: "
            "select properties, or divide them among several ExternalSecrets."
        )
    return data


def _extract(
    external_secret: ExternalSecret, remote: RemoteRef, outcomes: Mapping[Ref, Outcome], path: str
) -> dict[str, bytes]:
    value = _value(external_secret, remote, outcomes, path)
    return _located(expand_properties, value, remote, path)


def _value(
    external_secret: ExternalSecret, remote: RemoteRef, outcomes: Mapping[Ref, Outcome], path: str
) -> bytes:
    match outcomes[Ref(remote.key, remote.version)]:
        case SecretValue() as found:
            if not remote.property:
                return found.reveal()
            return _located(
                lambda value: select_property(value, remote.property), found.reveal(), remote, path
            )
        case NotFound(version_missing=True):
            raise KeyNotFound(
                f'{external_secret.store} has no version "{remote.version}" of '
                f'"{remote.key}" ({path}): correct the version, or leave it out for the current.'
            )
        case NotFound():
            raise KeyNotFound(
                f'{external_secret.store} has no "{remote.key}" ({path}): '
                "create it there, or correct the key."
            )
        case ProviderError() as error:
            raise error


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
            f"at most {MAX_SECRET_KEY_LENGTH}: select the properties one by one under shorter keys."
        )
    if not _SECRET_KEY.fullmatch(key) or key in {".", ".."} or key.startswith(".."):
        raise InvalidKey(
            f'{path} gives the key "{key[:80]}", and the key of a Secret consists of letters, '
            'digits, "-", "_" and ".": select the property under a key of that form.'
        )
    return key
