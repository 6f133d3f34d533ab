"""Taking away what was written: a whole Secret, or what one ExternalSecret has in a shared one."""

from functools import partial
from typing import Any

from syncret.api.externalsecret import ExternalSecret
from syncret.api.secret import ManagedSecret
from syncret.constants import FIELD_MANAGER, MANAGED_LABEL
from syncret.digest import Digester
from syncret.kube.resources import SECRETS
from syncret.reconcile.ownership import is_whole_of, release
from syncret.reconcile.secretio import (
    Change,
    SecretWriter,
    Written,
    after_patch,
    read_secret,
    references_of,
    repeated,
)


async def remove_target(
    kube: SecretWriter,
    digester: Digester,
    external_secret: ExternalSecret,
    *,
    name: str,
    known: ManagedSecret | None,
) -> Written:
    """Deletes a Secret that is ours as a whole; anything else is left as it is."""

    async def once(secret: ManagedSecret | None) -> Written:
        if secret is None or not is_whole_of(external_secret, secret):
            return Written(secret, Change.NONE)
        await kube.delete(
            SECRETS,
            namespace=secret.namespace,
            name=secret.name,
            uid=secret.uid,
            resource_version=secret.resource_version,
        )
        return Written(None, Change.DELETED)

    read = partial(read_secret, kube, digester, namespace=external_secret.key.namespace, name=name)
    return await repeated(once, known if known is not None else await read(), read)


async def release_target(
    kube: SecretWriter,
    digester: Digester,
    *,
    known: ManagedSecret,
    owner: str,
    retain: bool | None = None,
    external_secret: ExternalSecret | None = None,
) -> Written:
    """Takes out of a Secret what the ExternalSecret ``owner`` has in it: its keys and its marks.

    The result has the Secret while it stays one of ours.

    ``retain``: see :func:`release`. ``external_secret``: the one, as long as it is there; its owner
    reference goes as well.
    """

    async def once(secret: ManagedSecret | None) -> Written:
        if secret is None:
            return Written(None, Change.NONE)
        plan = release(secret, owner, retain=retain)
        referred = external_secret is not None and secret.owner_uid == external_secret.uid
        if not plan.annotations and not referred:
            return Written(secret, Change.NONE)
        meta: dict[str, Any] = {
            "uid": secret.uid,
            "resourceVersion": secret.resource_version,
            "annotations": dict(plan.annotations),
        }
        if not plan.watched:
            meta["labels"] = {MANAGED_LABEL: None}
        if referred and external_secret is not None:
            meta["ownerReferences"] = [
                reference
                for reference in await references_of(kube, secret)
                if reference.get("uid") != external_secret.uid
            ]
        body: dict[str, Any] = {"metadata": meta}
        if plan.keys:
            body["data"] = dict.fromkeys(sorted(plan.keys))
        answer = await kube.merge_patch(
            SECRETS,
            body,
            namespace=secret.namespace,
            name=secret.name,
            field_manager=FIELD_MANAGER,
            metadata_only=True,
        )
        change = Change.UPDATED if plan.keys else Change.NONE
        kept = {key: digest for key, digest in secret.digests.items() if key not in plan.keys}
        left = after_patch(
            secret,
            answer["metadata"],
            kept,
            immutable=secret.immutable,
            previous=secret.previous.without(secret.previous.of(owner)),
        )
        return Written(left if plan.watched else None, change)

    read = partial(read_secret, kube, digester, namespace=known.namespace, name=known.name)
    return await repeated(once, known, read)
