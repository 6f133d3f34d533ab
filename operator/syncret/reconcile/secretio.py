"""Requests about one Secret: what is asked of the client, and what is known after it.

A decision is made on a state of the Secret, and the request holds only for that state: if the
Secret changed meanwhile, it is read and the decision made anew (:func:`repeated`).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Protocol, TypeVar

from syncret.api.previous import Previous
from syncret.api.secret import ManagedSecret, OwnMetadata, parse_secret
from syncret.digest import Digester
from syncret.errors import KubeConflict, KubeNotFound
from syncret.kube.resources import SECRETS, Resource

T = TypeVar("T")

#: Times that a write is tried again because the Secret changed under it.
_ATTEMPTS: Final = 4

#: Nothing is digested where there is no data.
_NO_DIGESTER: Final = Digester(bytes(32))


class SecretWriter(Protocol):
    """What is needed of the Kubernetes client; answers are metadata only."""

    async def get(
        self, resource: Resource, *, name: str, namespace: str = ""
    ) -> Mapping[str, Any]: ...

    async def get_metadata(
        self, resource: Resource, *, name: str, namespace: str = ""
    ) -> Mapping[str, Any]: ...

    async def create(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        namespace: str = "",
        field_manager: str,
        metadata_only: bool = False,
        dry_run: bool = False,
    ) -> Mapping[str, Any]: ...

    async def merge_patch(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        name: str,
        namespace: str = "",
        field_manager: str,
        metadata_only: bool = False,
    ) -> Mapping[str, Any]: ...

    async def delete(
        self,
        resource: Resource,
        *,
        name: str,
        namespace: str = "",
        uid: str = "",
        resource_version: str = "",
    ) -> None: ...


class Change(Enum):
    """What a write did to the Secret's data."""

    CREATED = "created"
    UPDATED = "updated"
    REPLACED = "replaced"
    DELETED = "deleted"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Written:
    """The Secret as it is after the write (None: there is none), and what the write did.

    ``left_out``: keys whose value before a rotation was to be kept, and found no room.
    """

    secret: ManagedSecret | None
    change: Change
    left_out: tuple[str, ...] = ()


async def read_secret(
    kube: SecretWriter, digester: Digester, *, namespace: str, name: str
) -> ManagedSecret | None:
    """One of our Secrets as the API server has it now."""
    try:
        return parse_secret(await kube.get(SECRETS, namespace=namespace, name=name), digester)
    except KubeNotFound:
        return None


async def repeated(
    once: Callable[[ManagedSecret | None], Awaitable[T]],
    known: ManagedSecret | None,
    read: Callable[[], Awaitable[ManagedSecret | None]],
) -> T:
    """Decides and writes; anew, on what is there by then, if the Secret changed in between."""
    secret = known
    for attempt in range(_ATTEMPTS):
        try:
            return await once(secret)
        except (KubeConflict, KubeNotFound):
            if attempt == _ATTEMPTS - 1:
                raise
        secret = await read()
    raise AssertionError("unreachable")


def after_patch(
    secret: ManagedSecret,
    meta: Mapping[str, Any],
    digests: Mapping[str, bytes],
    *,
    immutable: bool,
    previous: Previous | None = None,
) -> ManagedSecret:
    """The record of what was patched, of whose data no body came back.

    ``previous``: the values before a rotation that it now has; None: those that it had.
    """
    known = {"namespace": secret.namespace, "name": secret.name, "uid": secret.uid}
    body = {"metadata": {**known, **meta}, "type": secret.type, "immutable": immutable}
    return replace(
        parse_secret(body, _NO_DIGESTER),
        digests=digests,
        metadata=secret.metadata,
        previous=secret.previous if previous is None else previous,
    )


def without_data(
    body: Mapping[str, Any], digests: Mapping[str, bytes], metadata: OwnMetadata | None = None
) -> ManagedSecret:
    """The record of a body that has no data, with the digests of what it holds.

    ``metadata``: what of its labels and annotations a template gave.
    """
    known = parse_secret({**body, "data": None}, _NO_DIGESTER)
    return replace(known, digests=digests, metadata=metadata)


async def references_of(kube: SecretWriter, secret: ManagedSecret) -> list[Mapping[str, Any]]:
    """The owner references of the Secret in the state that is known. A patch replaces them all."""
    body = await kube.get_metadata(SECRETS, namespace=secret.namespace, name=secret.name)
    meta = body["metadata"]
    if (meta["uid"], meta["resourceVersion"]) != (secret.uid, secret.resource_version):
        raise KubeConflict(f'The Secret "{secret.name}" has changed.')
    return list(meta.get("ownerReferences") or ())
