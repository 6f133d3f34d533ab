"""Which store an ExternalSecret may use, and which keys of it. Pure.

Asked before any call, and again before what was read is written: a right that was taken away
meanwhile counts.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from syncret.api.keys import ObjectKey
from syncret.api.selector import Namespace
from syncret.api.store import Store, may_read
from syncret.errors import (
    KeyNotAllowed,
    NamespaceUnknown,
    StoreInvalid,
    StoreNotAllowed,
    StoreNotFound,
)


def usable_store(
    stores: Mapping[ObjectKey, Store] | Any,
    key: ObjectKey,
    namespace: Namespace,
    *,
    named_in: str = "spec.secretStoreRef",
) -> Store:
    """The store that an ExternalSecret of that namespace refers to, in ``named_in``.

    Raises StoreNotFound, StoreInvalid, StoreNotAllowed or NamespaceUnknown.
    """
    store: Store | None = stores.get(key)
    if store is None:
        raise StoreNotFound(f"{key} does not exist: create it, or correct {named_in}.")
    if store.foreign:
        raise StoreInvalid(
            f"{key} is another operator's (spec.controller): name stores of one operator in one "
            "ExternalSecret."
        )
    if store.problem:
        raise StoreInvalid(f"{key} cannot be used: {store.problem}")
    match store.admits(namespace):
        case None:
            raise NamespaceUnknown(
                f'{key} admits namespaces by their labels, and those of "{namespace.name}" are not '
                'known yet: if this lasts, grant the operator the verbs "list" and "watch" on the '
                'resource "namespaces".'
            )
        case False:
            raise StoreNotAllowed(
                f'{key} does not admit the namespace "{namespace.name}": ask its owner to add the '
                "namespace to spec.conditions, or use another store."
            )
    return store


def refuse_keys(store: Store, namespace: Namespace, keys: Iterable[str]) -> None:
    """Raises KeyNotAllowed for the first key that the namespace may not read."""
    for key in keys:
        if not may_read(store, namespace, key):
            raise KeyNotAllowed(
                f'{store.key} does not let the namespace "{namespace.name}" read "{key}": ask its '
                "owner to add the key to spec.conditions[].remoteKeys, or read another key."
            )
