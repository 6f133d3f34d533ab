"""Writing the target Secret: created if it is not there, changed by exactly what differs.

Created with POST, which the API server refuses when the name is taken: a Secret that somebody else
made between our look and our write is never taken over. Changed with a merge patch that holds the
differing keys, null for keys that have to go, and the resourceVersion we compared with: if the
Secret changed meanwhile, the patch is refused and the comparison made anew. Both are one request,
so there is nothing half-written to find after a crash. Why not server-side apply: see
``docs/design/0001-writing-secrets.md``.

What Kubernetes never changes in place, the type and the data of an immutable Secret, is replaced:
deleted and made anew. Only where the Secret is ours as a whole, and after the API server was asked
whether it would take the new one. A process that dies in between leaves no Secret, which the next
start notices and makes.
"""

import base64
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from syncret.api.externalsecret import ExternalSecret
from syncret.api.previous import render_previous
from syncret.api.secret import ManagedSecret, parse_secret
from syncret.constants import (
    FIELD_MANAGER,
    MANAGED_LABEL,
    MANAGED_VALUE,
    PREVIOUS_ANNOTATION,
)
from syncret.digest import Digester
from syncret.errors import (
    KubeAlreadyExists,
    KubeNotFound,
    SecretImmutable,
    SecretNotThere,
    SecretTypeDiffers,
)
from syncret.kube.resources import SECRETS
from syncret.reconcile.dualread import values_before
from syncret.reconcile.ownership import (
    Exists,
    Marks,
    first_marks,
    is_whole_of,
    marks,
    references_after,
    refuse_claimed,
    refuse_foreign,
    unwanted,
    wanted_type,
)
from syncret.reconcile.previous import Keeping, Kept
from syncret.reconcile.secretio import (
    Change,
    SecretWriter,
    Written,
    after_patch,
    references_of,
    repeated,
    without_data,
)
from syncret.reconcile.shape import PLAIN, Own, Shape


@dataclass(frozen=True, slots=True)
class Goal:
    """What the Secret is to hold. ``type``: "" where any will do."""

    data: Mapping[str, bytes]
    digests: Mapping[str, bytes]
    type: str = ""
    #: None: labels and annotations of a template stay as they are.
    own: Own | None = None
    #: None: values from before a rotation stay as they are.
    keeping: Keeping | None = None

    def __repr__(self) -> str:
        return f"Goal({sorted(self.data)})"


async def write_target(
    kube: SecretWriter,
    digester: Digester,
    external_secret: ExternalSecret,
    *,
    known: ManagedSecret | None,
    data: Mapping[str, bytes],
    shape: Shape = PLAIN,
    type: str | None = None,  # noqa: A002 - the field's name
    keeping: Keeping | None = None,
    exists: Exists = lambda _: True,
) -> Written:
    """Brings the target Secret to ``data`` and ``shape``, or its keys in a shared one.

    ``known`` is what the cache has of it. ``type``: of the Secret; None: as the spec says, "":
    whatever it has. ``keeping``: whether the values before are kept. ``exists``: whether the
    namespace has an ExternalSecret of a name. Raises TargetError, KubeError; the Secret is then
    as it was.
    """
    kind = wanted_type(external_secret) if type is None else type
    own = None if external_secret.policy.shared else Own(shape, digester)
    goal = Goal(data, digester.values(data), kind, own, keeping)

    async def once(secret: ManagedSecret | None) -> Written:
        if secret is None and external_secret.policy.creation == "Merge":
            secret = await read_target(kube, digester, external_secret, exists=exists)
            if secret is None:
                raise not_there(external_secret)
        if secret is None:
            return await _create(kube, external_secret, goal)
        refuse_foreign(external_secret, secret, exists=exists)
        if external_secret.policy.shared:
            refuse_claimed(external_secret, secret, data, exists=exists)
        return await _change(kube, external_secret, secret, goal, digester)

    return await repeated(
        once,
        known,
        # The cache is behind, or the Secret has lost the label that the cache selects on.
        lambda: read_target(kube, digester, external_secret, exists=exists),
    )


async def repair_target(
    kube: SecretWriter,
    external_secret: ExternalSecret,
    secret: ManagedSecret,
    keys: Collection[str],
) -> Written:
    """Puts back what a Secret lost beside its values, and takes out keys that were put in.

    For a Secret that holds what it should under ``keys``. Raises KubeConflict if it changed.
    """
    goal = Goal({}, {key: secret.digests[key] for key in keys}, secret.type)
    return await _patch(
        kube, external_secret, secret, goal, gone=unwanted(external_secret, secret, keys)
    )


async def read_target(
    kube: SecretWriter,
    digester: Digester,
    external_secret: ExternalSecret,
    *,
    exists: Exists,
) -> ManagedSecret | None:
    """The Secret as the API server has it now.

    Raises SecretNotOwned for another's, before looking at its data.
    """
    try:
        body = await kube.get(
            SECRETS, namespace=external_secret.key.namespace, name=external_secret.target
        )
    except KubeNotFound:
        return None
    refuse_foreign(external_secret, parse_secret({**body, "data": None}, digester), exists=exists)
    return parse_secret(body, digester)


def not_there(external_secret: ExternalSecret) -> SecretNotThere:
    """That nobody has made the Secret which is merged into."""
    return SecretNotThere(
        f'The Secret "{external_secret.target}" does not exist, and the creationPolicy Merge does '
        "not make it: create it, or set CreateOrMerge."
    )


async def _create(
    kube: SecretWriter, external_secret: ExternalSecret, goal: Goal, *, dry_run: bool = False
) -> Written:
    meta = first_marks(external_secret, goal.data)
    given = goal.own.changes(meta["namespace"], meta["name"], None) if goal.own else None
    if given:
        meta["labels"] = {**given.labels, **meta["labels"]}
        meta["annotations"] = {**given.annotations, **meta["annotations"]}
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": meta,
        "type": goal.type or external_secret.template.type,
        "data": _encode(goal.data),
    }
    if external_secret.policy.immutable:
        body["immutable"] = True
    answer = await kube.create(
        SECRETS,
        body,
        namespace=external_secret.key.namespace,
        field_manager=FIELD_MANAGER,
        metadata_only=True,
        dry_run=dry_run,
    )
    body["metadata"] = {**body["metadata"], **answer["metadata"]}
    written = without_data(body, goal.digests, given.after if given else None)
    return Written(written, Change.CREATED)


async def _change(
    kube: SecretWriter,
    external_secret: ExternalSecret,
    secret: ManagedSecret,
    goal: Goal,
    digester: Digester,
) -> Written:
    gone = unwanted(external_secret, secret, goal.data)
    differs = gone or any(secret.digests.get(key) != digest for key, digest in goal.digests.items())
    if goal.type not in {"", secret.type}:
        if external_secret.policy.shared or not _replaceable(external_secret, secret):
            raise SecretTypeDiffers(
                f'The Secret "{secret.name}" has the type {secret.type} and is to have '
                f"{goal.type}, which Kubernetes does not change: delete the Secret if it may be "
                "made anew, or choose another spec.target.name."
            )
        return await _replace(kube, external_secret, secret, goal)
    if secret.immutable and differs:
        if not external_secret.policy.immutable or not _replaceable(external_secret, secret):
            raise SecretImmutable(
                f'The Secret "{secret.name}" is immutable and holds other data than the store: '
                "delete it, and it is made anew with the current data."
            )
        return await _replace(kube, external_secret, secret, goal)
    kept = Kept(after=secret.previous)
    before: Mapping[str, str] = {}
    if goal.keeping is not None:
        kept, before = await values_before(
            kube, digester, external_secret, secret, goal.data, goal.digests, goal.keeping
        )
    return await _patch(kube, external_secret, secret, goal, gone=gone, kept=kept, before=before)


def _replaceable(external_secret: ExternalSecret, secret: ManagedSecret) -> bool:
    """Whether deleting it harms nobody, and really deletes it.

    What was made immutable by hand is to stay as it is.
    """
    by_hand = secret.immutable and not external_secret.policy.immutable
    return (
        is_whole_of(external_secret, secret) and secret.labelled and not secret.held and not by_hand
    )


async def _replace(
    kube: SecretWriter, external_secret: ExternalSecret, secret: ManagedSecret, goal: Goal
) -> Written:
    # A quota, an admission policy, a permission: told before the old one is gone.
    with suppress(KubeAlreadyExists):
        await _create(kube, external_secret, goal, dry_run=True)
    await kube.delete(
        SECRETS,
        namespace=secret.namespace,
        name=secret.name,
        uid=secret.uid,
        resource_version=secret.resource_version,
    )
    return replace(await _create(kube, external_secret, goal), change=Change.REPLACED)


async def _patch(
    kube: SecretWriter,
    external_secret: ExternalSecret,
    secret: ManagedSecret,
    goal: Goal,
    *,
    gone: Collection[str],
    kept: Kept | None = None,
    before: Mapping[str, str] = MappingProxyType({}),
) -> Written:
    kept = kept if kept is not None else Kept(after=secret.previous)
    changed = {
        key: value
        for key, value in goal.data.items()
        if secret.digests.get(key) != goal.digests[key]
    }
    wanted = marks(external_secret, secret, goal.digests)
    freeze = external_secret.policy.immutable and not secret.immutable
    given = goal.own.changes(secret.namespace, secret.name, secret.metadata) if goal.own else None
    others = kept.after != secret.previous
    if not (changed or gone or wanted or freeze or given or others):
        return Written(secret, Change.NONE, left_out=kept.left_out)
    meta = await _metadata(kube, external_secret, secret, wanted)
    if given:
        meta["labels"] = {**given.labels, **meta.get("labels", {})}
        meta["annotations"] = {**given.annotations, **meta.get("annotations", {})}
    if others:
        said = render_previous(kept.after, namespace=secret.namespace, secret=secret.name)
        meta["annotations"] = {**meta.get("annotations", {}), PREVIOUS_ANNOTATION: said}
    body: dict[str, Any] = {"metadata": meta}
    dropped = kept.drop & secret.previous.values.keys()
    if changed or gone or before or dropped:
        none = dict.fromkeys(sorted({*gone, *dropped}))
        body["data"] = {**none, **_encode(changed), **before}
    if freeze:
        body["immutable"] = True
    answer = await kube.merge_patch(
        SECRETS,
        body,
        namespace=secret.namespace,
        name=secret.name,
        field_manager=FIELD_MANAGER,
        metadata_only=True,
    )
    left = {key: digest for key, digest in secret.digests.items() if key not in {*gone, *before}}
    written = after_patch(
        secret,
        answer["metadata"],
        {**left, **goal.digests},
        immutable=secret.immutable or freeze,
        previous=kept.after,
    )
    if given:
        written = replace(written, metadata=given.after)
    change = Change.UPDATED if changed or gone else Change.NONE
    return Written(written, change, left_out=kept.left_out)


async def _metadata(
    kube: SecretWriter, external_secret: ExternalSecret, secret: ManagedSecret, wanted: Marks
) -> dict[str, Any]:
    """The metadata of a patch, with its preconditions."""
    meta: dict[str, Any] = {"uid": secret.uid, "resourceVersion": secret.resource_version}
    if wanted.label:
        meta["labels"] = {MANAGED_LABEL: MANAGED_VALUE}
    if wanted.annotations:
        meta["annotations"] = dict(wanted.annotations)
    if wanted.references:
        references = await references_of(kube, secret)
        meta["ownerReferences"] = references_after(external_secret, references)
    return meta


def _encode(data: Mapping[str, bytes]) -> dict[str, str | None]:
    return {key: base64.b64encode(value).decode("ascii") for key, value in data.items()}
