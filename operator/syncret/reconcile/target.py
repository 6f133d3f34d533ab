"""Writing the target Secret: created if it is not there, changed by exactly what differs.

Created with POST, which the API server refuses when the name is taken: a Secret that somebody else
made between our look and our write is never taken over. Changed with a merge patch that holds the
differing keys, null for keys that have to go, and the resourceVersion we compared with: if the
Secret changed meanwhile, the patch is refused and the comparison made anew. Both are one request,
so there is nothing half-written to find after a crash. Why not server-side apply: see
``docs/design/0001-writing-secrets.md``.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Protocol

from syncret.api.externalsecret import ExternalSecret
from syncret.api.secret import ManagedSecret, controller_uid, parse_secret
from syncret.constants import API_VERSION, FIELD_MANAGER, MANAGED_LABEL, MANAGED_VALUE
from syncret.digest import Digester
from syncret.errors import KubeConflict, KubeNotFound, SecretImmutable, SecretNotOwned
from syncret.kube.resources import SECRETS, Resource

#: Times that a write is tried again because the Secret changed under it.
_ATTEMPTS: Final = 4


class SecretWriter(Protocol):
    """What is needed of the Kubernetes client; answers are metadata only."""

    async def get(
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


class Change(Enum):
    """What a write did to the Secret's data."""

    CREATED = "created"
    UPDATED = "updated"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Written:
    """The Secret as it is after the write, and what the write did."""

    secret: ManagedSecret
    change: Change


def refuse_foreign(external_secret: ExternalSecret, secret: ManagedSecret) -> None:
    """Raises SecretNotOwned unless this ExternalSecret controls the Secret."""
    if secret.owner_uid != external_secret.uid:
        _refuse(external_secret, owned=bool(secret.owner_uid))


def _refuse(external_secret: ExternalSecret, *, owned: bool) -> None:
    owner = "belongs to another object" if owned else "was not made by this ExternalSecret"
    raise SecretNotOwned(
        f'The Secret "{external_secret.target}" {owner} and was left as it is: choose another '
        "spec.target.name in a new ExternalSecret, or delete that Secret if nothing needs it."
    )


async def write_target(
    kube: SecretWriter,
    digester: Digester,
    external_secret: ExternalSecret,
    *,
    known: ManagedSecret | None,
    data: Mapping[str, bytes],
) -> Written:
    """Brings the target Secret to ``data``.

    ``known`` is what the cache has of it. Raises SecretNotOwned, SecretImmutable, KubeError; the
    Secret is then as it was.
    """
    digests = digester.values(data)
    secret = known
    for attempt in range(_ATTEMPTS):
        try:
            if secret is None:
                return await _create(kube, external_secret, data, digests)
            refuse_foreign(external_secret, secret)
            if secret.digests == digests and secret.labelled:
                return Written(secret, Change.NONE)
            return await _patch(kube, secret, data, digests)
        except (KubeConflict, KubeNotFound):
            if attempt == _ATTEMPTS - 1:
                raise
        # The cache is behind, or the Secret has lost the label that the cache selects on.
        secret = await _read(kube, digester, external_secret)
    raise AssertionError("unreachable")


async def _create(
    kube: SecretWriter,
    external_secret: ExternalSecret,
    data: Mapping[str, bytes],
    digests: Mapping[str, bytes],
) -> Written:
    namespace, name = external_secret.key.namespace, external_secret.target
    answer = await kube.create(
        SECRETS,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {MANAGED_LABEL: MANAGED_VALUE},
                "ownerReferences": [_owner_reference(external_secret)],
            },
            "type": "Opaque",
            "data": _encode(data),
        },
        namespace=namespace,
        field_manager=FIELD_MANAGER,
        metadata_only=True,
    )
    meta = answer["metadata"]
    secret = ManagedSecret(
        namespace=namespace,
        name=name,
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        owner_uid=external_secret.uid,
        digests=digests,
    )
    return Written(secret, Change.CREATED)


async def _patch(
    kube: SecretWriter,
    secret: ManagedSecret,
    data: Mapping[str, bytes],
    digests: Mapping[str, bytes],
) -> Written:
    changed = {key: value for key, value in data.items() if secret.digests.get(key) != digests[key]}
    gone = dict.fromkeys(secret.digests.keys() - data.keys())
    if secret.immutable and (changed or gone):
        raise SecretImmutable(
            f'The Secret "{secret.name}" is immutable and holds other data than the store: '
            "delete it, and it is made anew with the current data."
        )
    answer = await kube.merge_patch(
        SECRETS,
        {
            "metadata": {
                "uid": secret.uid,
                "resourceVersion": secret.resource_version,
                "labels": {MANAGED_LABEL: MANAGED_VALUE},
            },
            "data": {**_encode(changed), **gone},
        },
        namespace=secret.namespace,
        name=secret.name,
        field_manager=FIELD_MANAGER,
        metadata_only=True,
    )
    written = replace(
        secret,
        resource_version=answer["metadata"]["resourceVersion"],
        digests=digests,
        labelled=True,
    )
    return Written(written, Change.UPDATED if changed or gone else Change.NONE)


async def _read(
    kube: SecretWriter, digester: Digester, external_secret: ExternalSecret
) -> ManagedSecret | None:
    """The Secret as the API server has it now; raises SecretNotOwned before looking at its data."""
    try:
        body = await kube.get(
            SECRETS, namespace=external_secret.key.namespace, name=external_secret.target
        )
    except KubeNotFound:
        return None
    owner = controller_uid(body["metadata"])
    if owner != external_secret.uid:
        _refuse(external_secret, owned=bool(owner))
    return parse_secret(body, digester)


def _owner_reference(external_secret: ExternalSecret) -> dict[str, Any]:
    # Without blockOwnerDeletion: it would need a permission on the finalizers subresource on
    # clusters that check it, and only serves foreground deletion.
    return {
        "apiVersion": API_VERSION,
        "kind": external_secret.key.kind,
        "name": external_secret.key.name,
        "uid": external_secret.uid,
        "controller": True,
    }


def _encode(data: Mapping[str, bytes]) -> dict[str, str | None]:
    return {key: base64.b64encode(value).decode("ascii") for key, value in data.items()}
