"""The target Secrets of ExternalSecrets: found, put right, and brought to what the store holds.

Between the decisions (:mod:`syncret.reconcile.ownership`) and the requests
(:mod:`syncret.reconcile.target`): what the cache knows, and what ``deletionPolicy`` makes of
missing keys.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from syncret.api.externalsecret import KIND, ExternalSecret, ExternalSecretStatus
from syncret.api.keys import ObjectKey
from syncret.api.secret import ManagedSecret
from syncret.cache import Cache
from syncret.digest import Digester
from syncret.errors import KubeConflict, KubeNotFound
from syncret.kube.client import KubeClient
from syncret.reconcile.assemble import Assembled
from syncret.reconcile.dualread import drop_previous
from syncret.reconcile.ownership import Exists, beyond_repair, in_shape, refuse_foreign
from syncret.reconcile.plan import holds_synced, stays
from syncret.reconcile.previous import Keeping, outdated, refuse_collisions
from syncret.reconcile.removal import remove_target
from syncret.reconcile.secretio import Change, Written
from syncret.reconcile.shape import PLAIN, Shape
from syncret.reconcile.target import not_there, read_target, repair_target, write_target

#: Times that a Secret is looked at anew because it changed while it was put right.
_ATTEMPTS: Final = 4


@dataclass(frozen=True, slots=True)
class Mended:
    """The Secret as it is known (None: there is none), and whether it is in order.

    ``change``: what had to be done; None: nothing.
    """

    secret: ManagedSecret | None
    in_order: bool
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Brought:
    """The Secret after a sync (None: there is to be none), and the digests of what is in it.

    ``left_out``: as of :class:`Written`.
    """

    secret: ManagedSecret | None
    digests: Mapping[str, bytes]
    change: Change
    left_out: tuple[str, ...] = ()


class Targets:
    """Reads and writes target Secrets, and keeps the cache in step."""

    def __init__(self, *, cache: Cache, kube: KubeClient, digester: Digester) -> None:
        self._cache = cache
        self._kube = kube
        self._digester = digester

    def get(self, external_secret: ExternalSecret) -> ManagedSecret | None:
        """The target Secret, as far as the cache knows it."""
        if not external_secret.policy.writes:
            return None
        return self._cache.secrets.get((external_secret.key.namespace, external_secret.target))

    def exists(self, namespace: str) -> Exists:
        """Whether the namespace has an ExternalSecret of a name."""

        def exists(name: str) -> bool:
            found = self._cache.external_secrets.get(ObjectKey(KIND, namespace, name))
            return found is not None and not found.deleting

        return exists

    def complete(
        self,
        external_secret: ExternalSecret,
        secret: ManagedSecret,
        *,
        said: Callable[[ExternalSecret], ExternalSecretStatus],
    ) -> bool:
        """Whether all that fill the Secret have filled it as they said, so that it may be used.

        Else a workload would be restarted with what somebody edited by hand, and once more when
        the one that it is of has put it right. ``said``: the status of an ExternalSecret.
        """
        if not holds_synced(secret, said(external_secret), self._digester):
            return False
        for name in secret.claims:
            other = self._cache.external_secrets.get(external_secret.key._replace(name=name))
            if other is None or other.key == external_secret.key:
                continue
            status = said(other)
            if status.secret_name == secret.name and not holds_synced(
                secret, status, self._digester
            ):
                return False
        return True

    async def mend(self, external_secret: ExternalSecret, status: ExternalSecretStatus) -> Mended:
        """Finds the Secret, and puts right what can be without the store.

        Raises SecretNotOwned, SecretNotThere, KubeError.
        """
        policy = external_secret.policy
        if not policy.writes:
            return Mended(None, in_order=True)
        exists = self.exists(external_secret.key.namespace)
        secret = self.get(external_secret)
        # Without its label the watch does not see it; nor one that others made, before we merge.
        if secret is None and (status.data_hash or policy.creation == "Merge"):
            secret = await self._read(external_secret)
            if secret is None and policy.creation == "Merge":
                raise not_there(external_secret)
        for attempt in range(_ATTEMPTS):
            if secret is None:
                return Mended(None, in_order=False)
            refuse_foreign(external_secret, secret, exists=exists)
            if (
                not holds_synced(secret, status, self._digester)
                or not stays(external_secret, status, secret)
                or beyond_repair(external_secret, secret, status.keys)
            ):
                return Mended(secret, in_order=False)
            if in_shape(external_secret, secret, status.keys):
                return Mended(secret, in_order=True)
            try:
                written = await repair_target(self._kube, external_secret, secret, status.keys)
            except (KubeConflict, KubeNotFound):
                if attempt == _ATTEMPTS - 1:
                    raise
                secret = await self._read(external_secret)
                continue
            self._remember(external_secret, written)
            return Mended(written.secret, in_order=True, change=written.change)
        raise AssertionError("unreachable")

    def refuse_missing(self, external_secret: ExternalSecret, assembled: Assembled) -> None:
        """Raises the first error of what is missing, if that is to leave the Secret as it is."""
        if assembled.required_missing and external_secret.policy.deletion == "Retain":
            raise assembled.required_missing[0].error

    def leaves_nothing(self, external_secret: ExternalSecret, assembled: Assembled) -> bool:
        """Whether there is to be no Secret."""
        policy = external_secret.policy
        gone = policy.deletion == "Delete" and bool(assembled.missing) and not assembled.data
        return gone or not policy.writes

    def left(
        self,
        external_secret: ExternalSecret,
        status: ExternalSecretStatus,
        secret: ManagedSecret | None,
    ) -> Brought:
        """The Secret that is in order, left as it is."""
        digests = secret.digests if secret is not None else {}
        if external_secret.policy.shared:
            digests = {key: digests[key] for key in status.keys}
        refuse_collisions(external_secret, digests)
        return Brought(secret, digests, Change.NONE)

    async def bring(
        self,
        external_secret: ExternalSecret,
        assembled: Assembled,
        *,
        known: ManagedSecret | None,
        shape: Shape = PLAIN,
        keeping: Keeping | None = None,
    ) -> Brought:
        """Writes what the store gave. ``known``: the Secret, where the cache does not have it.

        ``keeping``: what is known of a rotation.
        """
        policy = external_secret.policy
        refuse_collisions(external_secret, assembled.data)
        digests = self._digester.values(assembled.data)
        if not policy.writes:
            return Brought(None, digests, Change.NONE)
        known = self.get(external_secret) or known
        if self.leaves_nothing(external_secret, assembled):
            written = await remove_target(
                self._kube,
                self._digester,
                external_secret,
                name=external_secret.target,
                known=known,
            )
            self._remember(external_secret, written)
            return Brought(None, {}, written.change)
        written = await write_target(
            self._kube,
            self._digester,
            external_secret,
            known=known,
            data=assembled.data,
            shape=shape,
            keeping=keeping,
            exists=self.exists(external_secret.key.namespace),
        )
        self._remember(external_secret, written)
        return Brought(written.secret, digests, written.change, written.left_out)

    async def drop(
        self, external_secret: ExternalSecret, secret: ManagedSecret, *, now: float
    ) -> frozenset[str]:
        """Takes out the values from before a rotation whose time is over; returns their keys.

        Raises KubeError.
        """
        if not secret.previous.values or not outdated(external_secret, secret, now=now):
            return frozenset()
        written, gone = await drop_previous(
            self._kube, self._digester, external_secret, known=secret, now=now
        )
        if written.secret is not None:
            self._remember(external_secret, written)
        return gone

    async def _read(self, external_secret: ExternalSecret) -> ManagedSecret | None:
        return await read_target(
            self._kube,
            self._digester,
            external_secret,
            exists=self.exists(external_secret.key.namespace),
        )

    def _remember(self, external_secret: ExternalSecret, written: Written) -> None:
        """What was written is known before the watch tells of it, and never instead of it."""
        place = (external_secret.key.namespace, external_secret.target)
        secret = written.secret
        if secret is None:
            if written.change is Change.DELETED:
                self._cache.secrets.drop(place)
            return
        known = self._cache.secrets.get(place)
        if known is None or not secret.older_than(known):
            self._cache.secrets.put(place, secret)
