"""Leaving Secrets: those before a new ``target.name``, and the keys of one that is gone.

There is no finalizer. What an ExternalSecret made as a whole goes by Kubernetes' garbage
collection. What it merged into a Secret of others is recorded on that Secret, so the record of one
that is not there any more tells what has to go, at once or after a restart.

A former Secret is left once the new one holds the data, and not while a workload reads it: its next
pod would not start.
"""

from collections.abc import Callable
from typing import Final

from syncret.api.externalsecret import ExternalSecret
from syncret.api.keys import ObjectKey
from syncret.api.secret import ManagedSecret
from syncret.cache import Cache
from syncret.digest import Digester
from syncret.errors import SyncretError
from syncret.kube.client import KubeClient
from syncret.kube.resources import EXTERNAL_SECRETS
from syncret.reconcile.ownership import is_whole_of
from syncret.reconcile.removal import release_target, remove_target
from syncret.reconcile.secretio import Change, read_secret
from syncret.reconcile.telling import Teller
from syncret.worker import Backoff, Result

#: Seconds from a deletion to the removal of merged keys: a namespace that is deleted takes the
#: Secret with it in that time, and is not written to.
SETTLE: Final = 2.0


class Leaver:
    """Leaves Secrets."""

    def __init__(
        self,
        *,
        cache: Cache,
        kube: KubeClient,
        digester: Digester,
        teller: Teller,
        backoff: Backoff,
    ) -> None:
        self._cache = cache
        self._kube = kube
        self._digester = digester
        self._teller = teller
        self._backoff = backoff
        #: Failures to leave, by what is gone; 0: seen, and not yet tried.
        self._gone: dict[ObjectKey, int] = {}

    def is_there(self, key: ObjectKey) -> None:
        """An ExternalSecret of that name is there, again perhaps."""
        self._gone.pop(key, None)

    def forget_namespaces(self, theirs: Callable[[str], bool]) -> None:
        """Drops what is remembered of the namespaces that are another replica's from now on."""
        for key in [key for key in self._gone if theirs(key.namespace)]:
            del self._gone[key]

    async def leave_all(self, gone: ObjectKey) -> Result:
        """Takes the keys of an ExternalSecret that is gone out of every Secret."""
        secrets = self._cache.secrets.by("claim", (gone.namespace, gone.name))
        if not secrets:
            self._gone.pop(gone, None)
            return Result()
        if gone not in self._gone:
            self._gone[gone] = 0
            return Result(requeue_after=SETTLE)
        try:
            if await self._there_after_all(gone):
                self._gone[gone] += 1
                return Result(requeue_after=self._backoff.delay(self._gone[gone]))
            for secret in secrets:
                written = await release_target(
                    self._kube, self._digester, known=secret, owner=gone.name
                )
                self._remember(secret, written.secret)
                self._teller.keys_removed(gone, secret.name)
        except SyncretError as error:
            self._gone[gone] += 1
            self._teller.keys_not_removed(gone, error)
            delay = self._backoff.delay(self._gone[gone], at_least=error.retry_after)
            return Result(requeue_after=delay)
        self._gone.pop(gone, None)
        return Result()

    async def _there_after_all(self, gone: ObjectKey) -> bool:
        """Whether it is there, and the watch of ExternalSecrets is only behind that of Secrets."""
        pages = self._kube.list_pages(
            EXTERNAL_SECRETS, namespace=gone.namespace, metadata_only=True
        )
        async for page in pages:
            if any(item["metadata"]["name"] == gone.name for item in page.items):
                return True
        return False

    async def leave_former(
        self, external_secret: ExternalSecret, names: tuple[str, ...]
    ) -> tuple[tuple[str, ...], bool]:
        """Leaves the Secrets that were the target before; returns those left over.

        And whether one of them has to be tried again, instead of waiting for its readers.
        """
        kept: list[str] = []
        failed = False
        for name in names:
            try:
                change = await self._leave(external_secret, name)
            except SyncretError as error:
                failed, change = True, None
                self._teller.not_left(external_secret, name, error)
            if change is None:
                kept.append(name)
            elif change is not Change.NONE:
                self._teller.left(external_secret, name, change)
        return tuple(kept), failed

    async def _leave(self, external_secret: ExternalSecret, name: str) -> Change | None:
        """Leaves a former Secret; None while it has to stay, because a workload reads it.

        Raises KubeError.
        """
        place = (external_secret.key.namespace, name)
        policy = external_secret.policy
        secret = self._cache.secrets.get(place) or await read_secret(
            self._kube, self._digester, namespace=place[0], name=name
        )
        if secret is None:
            return Change.NONE
        if external_secret.key.name in secret.claims:
            written = await release_target(
                self._kube,
                self._digester,
                known=secret,
                owner=external_secret.key.name,
                external_secret=external_secret,
                retain=policy.keeps,
            )
        elif not is_whole_of(external_secret, secret):
            return Change.NONE
        elif policy.keeps or policy.creation == "Orphan":
            written = await release_target(
                self._kube,
                self._digester,
                known=secret,
                owner=external_secret.key.name,
                external_secret=external_secret,
            )
        elif any(self._cache.workloads.count(index, place) for index in ("secret", "pulls")):
            return None
        else:
            written = await remove_target(
                self._kube, self._digester, external_secret, name=name, known=secret
            )
        self._remember(secret, written.secret)
        return written.change

    def _remember(self, secret: ManagedSecret, after: ManagedSecret | None) -> None:
        place = (secret.namespace, secret.name)
        if after is None:
            self._cache.secrets.drop(place)
        else:
            self._cache.secrets.put(place, after)
