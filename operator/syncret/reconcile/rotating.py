"""Has the store rotate what an ExternalSecret reads, when its annotation asks for it.

Level-based like the rest: what was asked is in the annotation, what was done in the status. A
process that dies in between asks the store once more with the same token, which is no second
rotation. Until the new version has been read, the store is looked at again and again, because a
rotation takes its time there. A rotation that failed is told of and not tried again: a new value
of the annotation does that.
"""

import logging
import uuid
from typing import Final

from syncret.api.data import Query
from syncret.api.externalsecret import ExternalSecret, ExternalSecretStatus
from syncret.api.keys import ObjectKey
from syncret.api.rotate import RotationStatus
from syncret.clock import Clock, parse_rfc3339, rfc3339
from syncret.errors import SpecInvalid, SyncretError
from syncret.reconcile.reading import Reader
from syncret.reconcile.stores import StoreClients
from syncret.reconcile.telling import Teller, names
from syncret.reconcile.wanted import wanted_of

logger = logging.getLogger(__name__)

#: Seconds after which a rotation that did not give a new version has failed.
LIMIT: Final = 600.0

#: Seconds between two looks at the store meanwhile: at first, and at most.
_LOOK_FIRST: Final = 1.0
_LOOK_MOST: Final = 15.0

_NAMESPACE: Final = uuid.UUID("6f1c7c1e-6a53-4e1f-9d7c-3f0a5a0b5d10")


class Rotations:
    """Acts on the annotation."""

    def __init__(
        self, *, reader: Reader, stores: StoreClients, teller: Teller, clock: Clock
    ) -> None:
        self._reader = reader
        self._stores = stores
        self._teller = teller
        self._clock = clock

    async def begin(
        self, external_secret: ExternalSecret, status: ExternalSecretStatus
    ) -> RotationStatus | None:
        """What the status is to say before the store is read. Asks for a rotation if it is new."""
        request, told = external_secret.rotate, status.rotation
        if request is None or (told is not None and told.request == request.id):
            return told
        now = rfc3339(self._clock.wall())
        versions: list[tuple[str, str, str]] = []
        try:
            for store, key, former in self._wanted(external_secret, status):
                versions.append((key, await self._rotate(external_secret, store, key), former))
        except SyncretError as error:
            self._teller.not_rotated(external_secret, error)
            return RotationStatus(request.id, "Failed", now, error.message, tuple(versions))
        logger.info(
            "The store was asked to rotate",
            extra={**names(external_secret), "keys": len(versions)},
        )
        return RotationStatus(request.id, "Rotating", now, "", tuple(versions))

    def end(
        self, told: RotationStatus | None, status: ExternalSecretStatus
    ) -> RotationStatus | None:
        """What the status is to say after the store was read."""
        if told is None or told.state != "Rotating":
            return told
        read = {source.key: source.version for source in status.sources}
        late = [
            key
            for key, version, before in told.versions
            if read.get(key, "") != (version or None) and read.get(key, "") in {before, ""}
        ]
        if not late:
            return RotationStatus(told.request, "Done", told.time, "", told.versions)
        if self._clock.wall() - parse_rfc3339(told.time) < LIMIT:
            return told
        message = (
            f"The store was asked to rotate, and has no new version of {len(late)} of "
            f"{len(told.versions)} after {LIMIT / 60:.0f} minutes: see the log of the rotation "
            "function. When it has one, it is read with the next refresh."
        )
        return RotationStatus(told.request, "Failed", told.time, message, told.versions)

    def wait(self, told: RotationStatus | None) -> float | None:
        """Seconds until the store is to be looked at again because of it."""
        if told is None or told.state != "Rotating":
            return None
        passed = self._clock.wall() - parse_rfc3339(told.time)
        return min(_LOOK_MOST, max(_LOOK_FIRST, passed / 4))

    def _wanted(
        self, external_secret: ExternalSecret, status: ExternalSecretStatus
    ) -> list[tuple[ObjectKey, str, str]]:
        """Store, key and present version of what is to be rotated. Raises SyncretError."""
        self._reader.usable(external_secret)
        request = external_secret.rotate
        versions = {source.key: source.version for source in status.sources}
        wanted: dict[tuple[ObjectKey, str], None] = {}
        for store, one in wanted_of(external_secret).items():
            for ref in one.refs:
                if not ref.metadata:
                    wanted[store, ref.key] = None
        searching = [
            one.store for one in external_secret.data_from if isinstance(one.source, Query)
        ]
        named = {key for _, key in wanted}
        for source in status.sources if searching else ():
            if source.key not in named:
                wanted[searching[0], source.key] = None
        found = [
            (store, key, versions.get(key, ""))
            for store, key in wanted
            if request is not None and request.key in {"", key}
        ]
        if not found:
            raise SpecInvalid(
                "The annotation syncret.io/rotate names a key that is not read here: name one of "
                "status.sources, or none for all."
            )
        return found

    async def _rotate(self, external_secret: ExternalSecret, store: ObjectKey, key: str) -> str:
        request = external_secret.rotate
        assert request is not None  # noqa: S101 - asked for by begin() alone
        wish = f"{external_secret.uid}/{request.id}/{store}/{key}"
        usable = self._reader.usable(external_secret)[store]
        async with self._stores.use(usable, namespace=external_secret.key.namespace) as reads:
            return await reads.rotate(key, token=str(uuid.uuid5(_NAMESPACE, wish)))
