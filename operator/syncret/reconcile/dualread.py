"""Values from before a rotation in the cluster: copied within the Secret, and taken away on time.

They are read from the Secret just before they are written to it again, in a request that holds only
for the state they were read in. They are kept nowhere else: neither in memory nor in a status.
"""

from collections.abc import Mapping
from functools import partial

from syncret.api.externalsecret import ExternalSecret
from syncret.api.previous import render_previous
from syncret.api.secret import ManagedSecret
from syncret.constants import FIELD_MANAGER, MAX_SECRET_BYTES, PREVIOUS_ANNOTATION
from syncret.digest import Digester
from syncret.errors import KubeConflict
from syncret.kube.resources import SECRETS
from syncret.reconcile.ownership import is_whole_of
from syncret.reconcile.previous import Keeping, Kept, outdated, plan_previous, without_taken
from syncret.reconcile.secretio import (
    Change,
    SecretWriter,
    Written,
    after_patch,
    read_secret,
    repeated,
)


async def values_before(
    kube: SecretWriter,
    digester: Digester,
    external_secret: ExternalSecret,
    secret: ManagedSecret,
    data: Mapping[str, bytes],
    digests: Mapping[str, bytes],
    keeping: Keeping,
) -> tuple[Kept, Mapping[str, str]]:
    """What becomes of the values before when the Secret gets ``data``; and those to be kept.

    The latter as the API has them, in base64. Raises KubeError: KubeConflict if the Secret is not
    in the state that is known any more.
    """
    kept = plan_previous(external_secret, secret, digests, keeping, digester=digester)
    if not kept.take:
        return kept, {}
    body = await kube.get(SECRETS, namespace=secret.namespace, name=secret.name)
    meta, held = body["metadata"], body.get("data") or {}
    if (meta["uid"], meta["resourceVersion"]) != (secret.uid, secret.resource_version):
        raise KubeConflict(f'The Secret "{secret.name}" has changed.')
    before = {name: held[key] for name, key in kept.take.items()}
    size = sum(len(value) for value in data.values()) + sum(
        len(value) * 3 // 4
        for key, value in {**held, **before}.items()
        if key not in data and key not in kept.drop
    )
    if size > MAX_SECRET_BYTES:
        return without_taken(kept), {}
    return kept, before


async def drop_previous(
    kube: SecretWriter,
    digester: Digester,
    external_secret: ExternalSecret,
    *,
    known: ManagedSecret,
    now: float,
) -> tuple[Written, frozenset[str]]:
    """Takes out of a Secret the values before that have to go by now; returns their keys as well.

    Raises KubeError. An immutable Secret, and one that is another's, is left as it is.
    """

    async def once(secret: ManagedSecret | None) -> tuple[Written, frozenset[str]]:
        if secret is None or secret.immutable or not _is_ours(external_secret, secret):
            return Written(secret, Change.NONE), frozenset()
        gone = outdated(external_secret, secret, now=now)
        if not gone:
            return Written(secret, Change.NONE), frozenset()
        kept = Kept(secret.previous.without(gone), {}, gone - secret.digests.keys())
        said = render_previous(kept.after, namespace=secret.namespace, secret=secret.name)
        answer = await kube.merge_patch(
            SECRETS,
            {
                "metadata": {
                    "uid": secret.uid,
                    "resourceVersion": secret.resource_version,
                    "annotations": {PREVIOUS_ANNOTATION: said},
                },
                "data": dict.fromkeys(sorted(kept.drop)),
            },
            namespace=secret.namespace,
            name=secret.name,
            field_manager=FIELD_MANAGER,
            metadata_only=True,
        )
        written = after_patch(
            secret,
            answer["metadata"],
            secret.digests,
            immutable=secret.immutable,
            previous=kept.after,
        )
        return Written(written, Change.UPDATED), gone

    read = partial(
        read_secret, kube, digester, namespace=external_secret.key.namespace, name=known.name
    )
    return await repeated(once, known, read)


def _is_ours(external_secret: ExternalSecret, secret: ManagedSecret) -> bool:
    if external_secret.policy.shared:
        return external_secret.key.name in secret.claims
    return is_whole_of(external_secret, secret)
