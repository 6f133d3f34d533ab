"""Events of the objects we work for: one for each change of what there is to say.

A failing object is reconciled again and again; its Event is posted once, and again only when the
reason or the message is another. Posting is best effort and never in the way: a bounded queue, one
background task (so that a storm is posted one after the other, which is all the rate limit there
is a need for), failures counted and logged, nothing raised.

Refused: kopf's events (one request for each call, no deduplication) and the series of Event that
client-go keeps (a patch for each repetition; the metrics count those).
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from syncret.api.keys import ObjectKey
from syncret.clock import Clock
from syncret.constants import API_VERSION, FIELD_MANAGER, REPORTING_CONTROLLER
from syncret.errors import KubeAlreadyExists, KubeNotFound, SyncretError
from syncret.kube.client import KubeClient
from syncret.kube.resources import EVENTS

logger = logging.getLogger(__name__)

#: The API server's limits (pkg/apis/core/validation/events.go), in bytes.
MAX_NOTE: Final = 1024
MAX_FIELD: Final = 128
MAX_NAME: Final = 253

#: Objects whose last Event is remembered. An object that falls out may get the same Event again.
REMEMBERED: Final = 20_000

#: Events that wait for being posted. Beyond it they are dropped.
QUEUED: Final = 1_000

EventType = Literal["Normal", "Warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """The object that an Event regards. ``namespace`` is "" for cluster-scoped kinds."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, key: ObjectKey, uid: str) -> "ObjectRef":
        """An object of our own API group."""
        return cls(
            api_version=API_VERSION,
            kind=key.kind,
            namespace=key.namespace,
            name=key.name,
            uid=uid,
        )


class EventRecorder:
    """Posts Events in the background, between :meth:`start` and :meth:`close`.

    ``instance`` names this process among the replicas: the pod's name.
    """

    def __init__(self, kube: KubeClient, *, clock: Clock, instance: str) -> None:
        self._kube = kube
        self._clock = clock
        self._instance = _cut(instance, MAX_FIELD) or "unknown"
        self._last: OrderedDict[str, int] = OrderedDict()
        self._queue: asyncio.Queue[tuple[str, int, dict[str, Any]]] = asyncio.Queue(QUEUED)
        #: The last Event of each object that may or may not have been taken, and what it said.
        self._unsure: OrderedDict[str, tuple[int, dict[str, Any]]] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._last_number = 0
        self._failing: type[SyncretError] | None = None
        #: Events that were posted, that the API server did not take, and that found no room.
        self.posted = 0
        self.failed = 0
        self.dropped = 0

    def start(self) -> None:
        """Starts posting. Call it before kopf starts: kopf ends all tasks younger than itself."""
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._post_all(), name="events")

    def emit(
        self,
        ref: ObjectRef,
        *,
        type: EventType,  # noqa: A002 - the field's own name
        reason: str,
        message: str,
        action: str,
    ) -> None:
        """Queues an Event, unless the last one of the object said the same."""
        said = hash((type, reason, message))  # a hash: messages are long, and many are remembered
        if self._closed or self._last.get(ref.uid) == said:
            return
        event = self._once_more(ref.uid, said) or {
            **self._event(ref),
            "type": type,
            "reason": _cut(reason, MAX_FIELD),
            "action": _cut(action, MAX_FIELD),
            "note": _cut(message, MAX_NOTE),
        }
        try:
            self._queue.put_nowait((ref.uid, said, event))
        except asyncio.QueueFull:
            self._last.pop(ref.uid, None)
            self.dropped += 1
            return
        self._remember(ref.uid, said)

    def remember(
        self,
        uid: str,
        *,
        type: EventType,  # noqa: A002 - the field's own name
        reason: str,
        message: str,
    ) -> None:
        """Takes this for the last that was said of an object, unless more is known already.

        With it, what a condition said before a restart is not told a second time after it.
        """
        if uid not in self._last:
            self._remember(uid, hash((type, reason, message)))

    def forget(self, uid: str) -> None:
        """Drops what is remembered of an object that is gone."""
        self._last.pop(uid, None)
        self._unsure.pop(uid, None)

    async def close(self, *, timeout: float = 2.0) -> None:
        """Posts what is queued, for as long as the timeout lets it, and ends."""
        self._closed = True
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._queue.join()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self.dropped += self._queue.qsize()
        self._task = None

    async def _post_all(self) -> None:
        while True:
            uid, said, event = await self._queue.get()
            try:
                await self._post(uid, said, event)
            finally:
                self._queue.task_done()

    async def _post(self, uid: str, said: int, event: dict[str, Any]) -> None:
        try:
            await self._kube.create(
                EVENTS,
                event,
                namespace=event["metadata"]["namespace"],
                field_manager=FIELD_MANAGER,
                metadata_only=True,
            )
        except KubeAlreadyExists:
            pass  # its name is like no other's: it was taken, and the answer was lost
        except SyncretError as error:
            self.failed += 1
            if self._last.get(uid) == said:  # nothing else was said since
                del self._last[uid]  # so that the next round may try again
                self._unsure[uid] = (said, event)
                if len(self._unsure) > QUEUED:
                    self._unsure.popitem(last=False)
            # Once for each kind of failure: a namespace that is going away is nobody's problem.
            if type(error) is not self._failing and not isinstance(error, KubeNotFound):
                self._failing = type(error)
                logger.warning("Events are not posted: %s", error.message)
            return
        self.posted += 1
        self._failing = None

    def _once_more(self, uid: str, said: int) -> dict[str, Any] | None:
        """The Event that said so and may have been taken: under the same name it is not made
        twice."""
        before, event = self._unsure.pop(uid, (None, None))
        return event if before == said else None

    def _remember(self, uid: str, said: int) -> None:
        self._last[uid] = said
        self._last.move_to_end(uid)
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)

    def _event(self, ref: ObjectRef) -> dict[str, Any]:
        """What every Event of the object has."""
        wall = self._clock.wall()
        # Unique as client-go's names are, by time; the counter for two in one microsecond.
        self._last_number = max(int(wall * 1e6), self._last_number + 1)
        suffix = f".{self._last_number:x}"
        regarding = {
            "apiVersion": ref.api_version,
            "kind": ref.kind,
            "name": ref.name,
            "uid": ref.uid,
        }
        if ref.namespace:
            regarding["namespace"] = ref.namespace
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "name": ref.name[: MAX_NAME - len(suffix)].rstrip(".-") + suffix,
                # Where the API server wants the Events of what has no namespace.
                "namespace": ref.namespace or "default",
            },
            "eventTime": datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "regarding": regarding,
            "reportingController": REPORTING_CONTROLLER,
            "reportingInstance": self._instance,
        }


def _cut(text: str, limit: int) -> str:
    """The text in at most that many bytes of UTF-8, with an ellipsis where something is missing."""
    data = text.encode()
    if len(data) <= limit:
        return text
    return data[: limit - 3].decode(errors="ignore") + "…"
