"""What generators made for an ExternalSecret, kept in a Secret beside its target.

The Secret is the truth: it is asked before anything is made, because a cache that is behind, or
another replica's work, would otherwise cost a second credential. It is also there before anything
is made, so that a namespace that is going, or a missing permission, costs none.

What is begun is brought to its end: a reader that gives up in between leaves the making to itself,
and the next one waits for it. What cannot be written down is revoked.
"""

import asyncio
import base64
import contextlib
import logging
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from syncret.api.externalsecret import ExternalSecret
from syncret.api.generated import (
    Credential,
    GeneratedState,
    data_key,
    digest_of_values,
    parse_generated,
    render_generated,
    secret_name,
)
from syncret.cache import Cache
from syncret.clock import Clock
from syncret.constants import (
    FIELD_MANAGER,
    GENERATED_ANNOTATION,
    GENERATED_TYPE,
    MANAGED_LABEL,
    MANAGED_VALUE,
)
from syncret.digest import Digester
from syncret.errors import (
    GeneratedNotKept,
    KubeAlreadyExists,
    KubeConflict,
    KubeError,
    KubeNotFound,
    ProviderTimeout,
    SyncretError,
)
from syncret.generators.base import Generated, GeneratorClient
from syncret.kube.resources import SECRETS
from syncret.reconcile.generating import Why, replaced, without
from syncret.reconcile.ownership import owner_reference
from syncret.reconcile.secretio import SecretWriter
from syncret.reconcile.wishes import Wish, held, packed

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Times that a write is tried because the Secret changed under it, or the API server failed.
_ATTEMPTS: Final = 4

#: Seconds before what was made is tried to be written down once more.
_PAUSE: Final = 0.5

#: Seconds after which the making of a credential is given up, whoever waits for it.
_LONGEST: Final = 60.0


class GeneratedMetrics(Protocol):
    """What is counted here."""

    def generated(self, generator: tuple[str, str, str], reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _There:
    """The Secret as the API server has it now."""

    state: GeneratedState
    data: Mapping[str, str]


class Kept:
    """The Secrets with what was made."""

    def __init__(
        self,
        *,
        cache: Cache,
        kube: SecretWriter,
        digester: Digester,
        clock: Clock,
        metrics: GeneratedMetrics,
    ) -> None:
        self._cache = cache
        self._kube = kube
        self._digester = digester
        self._clock = clock
        self._metrics = metrics
        #: By the uid of the ExternalSecret.
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def now(self) -> float:
        """In whole seconds, as times are written down."""
        return float(int(self._clock.wall()))

    def known(self, external_secret: ExternalSecret) -> GeneratedState | None:
        """What is known of it without asking."""
        return self._cache.generated.get(external_secret.uid)

    def good(self, wish: Wish) -> Credential | None:
        """The credential that is kept and will do, as far as is known without asking."""
        state = self.known(wish.external_secret)
        credential = state.credentials.get(wish.name) if state is not None else None
        return credential if wish.why_new(credential, now=self.now()) is None else None

    async def obtain(self, wish: Wish, client: GeneratorClient) -> tuple[Credential, bytes]:
        """The credential that is kept, with its values as a JSON object; made if it has to be.

        Raises ProviderError or KubeError. Whoever is cancelled leaves what is begun to end.
        """
        return await self._to_its_end(self._obtain(wish, client))

    async def change(
        self, state: GeneratedState, change: Callable[[GeneratedState], GeneratedState]
    ) -> GeneratedState | None:
        """Changes what is written besides the values; None if the Secret is not there any more.

        ``change`` is applied to what is there, perhaps more than once. Raises SyncretError.
        """
        return await self._to_its_end(self._change(state, change))

    async def remove(self, state: GeneratedState) -> None:
        """Deletes the Secret, if it is as it is known. Raises KubeError."""
        with contextlib.suppress(KubeNotFound):
            await self._kube.delete(
                SECRETS,
                name=state.name,
                namespace=state.namespace,
                uid=state.uid,
                resource_version=state.resource_version,
            )
        self._cache.generated.drop(state.owner_uid)

    async def close(self) -> None:
        """Ends what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(work, name="generated")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # told by who waited for it, if anybody still did

    def _lock(self, owner_uid: str) -> asyncio.Lock:
        lock = self._locks.get(owner_uid)
        if lock is None:
            if len(self._locks) > len(self._tasks) + 64:  # most are of what was done long ago
                self._locks = {uid: one for uid, one in self._locks.items() if one.locked()}
            lock = self._locks[owner_uid] = asyncio.Lock()
        return lock

    async def _obtain(self, wish: Wish, client: GeneratorClient) -> tuple[Credential, bytes]:
        async with self._lock(wish.external_secret.uid):
            there = await self._there_or_new(wish.external_secret)
            credential = there.state.credentials.get(wish.name)
            why = wish.why_new(credential, now=self.now())
            if why is None and credential is not None:
                return credential, _values(wish, there)
            return await self._make(wish, client, there, why or Why.NEW)

    async def _make(
        self, wish: Wish, client: GeneratorClient, there: _There, why: Why
    ) -> tuple[Credential, bytes]:
        key = wish.external_secret.key
        names = {"kind": key.kind, "namespace": key.namespace, "object": key.name}
        names["generator"] = wish.name
        try:
            async with asyncio.timeout(_LONGEST):
                made = await client.generate(owner=f"{key.namespace}/{key.name}")
        except TimeoutError:
            raise ProviderTimeout(
                f"{wish.generator} did not answer within {_LONGEST:g} s: see whether what it asks "
                "can be reached."
            ) from None
        data = packed(made)
        mine = self._credential(wish, made, data)
        try:
            credential, data = await self._keep(wish, mine, data, there)
        except SyncretError as error:
            await _give_back(client, made, names)
            raise GeneratedNotKept(
                f"{wish.generator} made a credential that could not be written down, and was "
                f"given up: {error.message}"
            ) from None
        if credential is not mine:
            await _give_back(client, made, names)
            return credential, data
        self._metrics.generated(wish.generator, why.value)
        logger.info("A credential was made (%s)", why.value, extra=names)
        return credential, data

    def _credential(self, wish: Wish, made: Generated, data: bytes) -> Credential:
        now = self.now()
        identity = uuid.uuid4().hex[:16]
        return Credential(
            id=identity,
            spec=wish.spec,
            made=float(int(made.created.timestamp())) if made.created is not None else now,
            digest=digest_of_values(self._digester, identity, data),
            request=wish.request,
            expires=float(int(made.expires.timestamp())) if made.expires is not None else 0.0,
            lease=held(made.lease, now=now) if made.lease is not None else None,
        )

    async def _keep(
        self, wish: Wish, mine: Credential, data: bytes, there: _There
    ) -> tuple[Credential, bytes]:
        """Writes it down. What somebody else has written down meanwhile goes before it."""
        before = there.state.credentials.get(wish.name)
        values = {data_key(wish.name): base64.b64encode(data).decode()}
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                wanted = replaced(there.state, wish.name, mine, now=self.now())
                await self._write(there.state, wanted, values)
            except (KubeConflict, KubeNotFound):
                if attempt == _ATTEMPTS:
                    raise
                there = await self._there_or_new(wish.external_secret)
                other = there.state.credentials.get(wish.name)
                if other is not None and other != before and self._will_do(wish, other):
                    return other, _values(wish, there)
            except KubeError:
                if attempt == _ATTEMPTS:
                    raise
                await asyncio.sleep(_PAUSE)
            else:
                return mine, data
        raise AssertionError("unreachable")

    def _will_do(self, wish: Wish, credential: Credential) -> bool:
        return wish.why_new(credential, now=self.now()) is None

    async def _change(
        self, state: GeneratedState, change: Callable[[GeneratedState], GeneratedState]
    ) -> GeneratedState | None:
        async with self._lock(state.owner_uid):
            state = self._cache.generated.get(state.owner_uid) or state
            for attempt in range(1, _ATTEMPTS + 1):
                wanted = change(state)
                if wanted.says_the_same_as(state):
                    return state
                gone = state.credentials.keys() - wanted.credentials.keys()
                try:
                    return await self._write(
                        state, wanted, dict.fromkeys(sorted(map(data_key, gone)))
                    )
                except KubeNotFound:
                    there = None
                except KubeConflict:
                    if attempt == _ATTEMPTS:
                        raise
                    there = await self._get(state.namespace, state.name)
                if there is None:
                    return None
                state = there.state
        raise AssertionError("unreachable")

    async def _write(
        self, known: GeneratedState, wanted: GeneratedState, data: Mapping[str, str | None]
    ) -> GeneratedState:
        """Patches the Secret, if it is as it is known. Raises KubeError."""
        body: dict[str, Any] = {
            "metadata": {
                "uid": known.uid,
                "resourceVersion": known.resource_version,
                "labels": {MANAGED_LABEL: MANAGED_VALUE},
                "annotations": {GENERATED_ANNOTATION: render_generated(wanted, self._digester)},
            }
        }
        if data:
            body["data"] = dict(data)
        answer = await self._kube.merge_patch(
            SECRETS,
            body,
            name=known.name,
            namespace=known.namespace,
            field_manager=FIELD_MANAGER,
            metadata_only=True,
        )
        version = answer["metadata"]["resourceVersion"]
        return self._remember(replace(wanted, resource_version=version))

    async def _there_or_new(self, external_secret: ExternalSecret) -> _There:
        """The Secret, created if there is none. Raises GeneratedNotKept, KubeError."""
        namespace, name = external_secret.key.namespace, secret_name(external_secret.uid)
        there = await self._get(namespace, name)
        if there is not None:
            return there
        state = GeneratedState(namespace, external_secret.key.name, external_secret.uid)
        lost = self._cache.lost.get(external_secret.uid)
        if lost is not None:  # what was leased with the one that somebody deleted is not forgotten
            state = replace(without(lost, (), now=self.now()), uid="", resource_version="")
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": GENERATED_TYPE,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {MANAGED_LABEL: MANAGED_VALUE},
                "annotations": {GENERATED_ANNOTATION: render_generated(state, self._digester)},
                "ownerReferences": [owner_reference(external_secret)],
            },
        }
        try:
            created = await self._kube.create(
                SECRETS, body, namespace=namespace, field_manager=FIELD_MANAGER
            )
        except KubeAlreadyExists:
            there = await self._get(namespace, name)
            if there is None:
                raise
            return there
        meta = created["metadata"]
        known = replace(state, uid=meta["uid"], resource_version=meta["resourceVersion"])
        return _There(self._remember(known), {})

    async def _get(self, namespace: str, name: str) -> _There | None:
        try:
            body = await self._kube.get(SECRETS, namespace=namespace, name=name)
        except KubeNotFound:
            return None
        state = parse_generated(body, self._digester)
        if state is None:
            raise GeneratedNotKept(
                f'The Secret "{name}" is in the way: what generators make for this ExternalSecret '
                "is kept under that name. Delete it."
            )
        return _There(self._remember(state), dict(body.get("data") or {}))

    def _remember(self, state: GeneratedState) -> GeneratedState:
        """What is known by now is known before the watch tells of it."""
        known = self._cache.generated.get(state.owner_uid)
        if known is None or not state.older_than(known):
            self._cache.generated.put(state.owner_uid, state)
            self._cache.lost.drop(state.owner_uid)
        return state


async def _give_back(client: GeneratorClient, made: Generated, names: Mapping[str, str]) -> None:
    """Revokes what nobody will ever know of, as far as that is possible."""
    if made.lease is None:
        return
    try:
        await client.revoke(made.lease)
    except SyncretError as error:
        logger.warning(
            "A credential that was not kept lives on until its lease ends: %s",
            error.message,
            extra={**names, "reason": error.reason},
        )


def _values(wish: Wish, there: _There) -> bytes:
    return base64.b64decode(there.data.get(data_key(wish.name)) or "")
