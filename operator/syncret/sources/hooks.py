"""Signed requests that tell of changes: ``POST /hooks/<name>``, for whatever has no queue.

The body names a store of ours and keys as specs have them::

    {"store": {"kind": "ClusterSecretStore", "name": "aws"}, "keys": ["production/database"]}

and the request carries when it was made and a signature over that and the body::

    X-Syncret-Timestamp: 1767225600
    X-Syncret-Signature: v1=<hex of HMAC-SHA256(key, "v1:" + timestamp + ":" + body)>

A request is refused if its time is more than :data:`WINDOW` seconds off or if its signature was
seen before, so that one that was overheard cannot be sent again. Who is refused learns nothing but
that: an unknown name, a wrong signature and an old one get the same answer. The listener is one of
its own, so that a NetworkPolicy and an Ingress reach this and nothing else. The secret may be
replaced in its file at any time; several lines are several keys, all of which are taken.

Refused: TLS here. A body has no secret in it and the signature stands for the sender; an Ingress
has the certificates already.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from syncret.api.keys import ObjectKey
from syncret.clock import Clock
from syncret.errors import SetupError, SyncretError
from syncret.sources.config import Hook
from syncret.sources.dispatch import Dispatcher
from syncret.sources.events import Event
from syncret.sources.names import Subject, System

logger = logging.getLogger(__name__)

#: Bytes of a body, and keys in it.
MAX_BODY: Final = 64 * 1024
MAX_KEYS: Final = 256

#: Seconds that the clocks of sender and operator may differ, the way of the request included.
WINDOW: Final = 300.0

#: Requests in a second that are looked at, of all hooks together, and how many at once.
RATE: Final = 50.0
BURST: Final = 100.0

#: Signatures that are remembered. More than RATE lets in within both sides of WINDOW.
_REMEMBERED: Final = 40_000

#: Bytes of a key below which it can be guessed.
MIN_KEY: Final = 16

#: Seconds that a body may take.
_SLOW: Final = 5.0

_STAMP: Final = re.compile(r"[0-9]{1,12}")
_SIGNATURE: Final = re.compile(r"v1=([0-9a-f]{64})")


class Refused(Exception):
    """The request is not believed. ``why`` is for our log alone, ``text`` for who sent it."""

    def __init__(self, why: str, status: int = 403, text: str = "refused") -> None:
        super().__init__(why)
        self.why, self.status, self.text = why, status, text


def sign(key: bytes, timestamp: str, body: bytes) -> str:
    """The value of X-Syncret-Signature."""
    digest = hmac.new(key, b"v1:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return f"v1={digest}"


class Verifier:
    """Tells whether a request is genuine and new. Pure but for what it remembers."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def verify(
        self, name: str, keys: list[bytes], headers: Mapping[str, str], body: bytes, *, wall: float
    ) -> None:
        """``keys``: those of the hook; none for one that there is not. Raises Refused."""
        stamp = headers.get("X-Syncret-Timestamp", "")
        given = headers.get("X-Syncret-Signature", "")
        if not _STAMP.fullmatch(stamp) or not _SIGNATURE.fullmatch(given):
            raise Refused("unsigned")
        # All are compared, and one where there is none: time tells neither names nor keys.
        genuine = [
            hmac.compare_digest(sign(key, stamp, body), given) for key in keys or [b"no such hook"]
        ]
        if not keys or not any(genuine):
            raise Refused("forged")
        if abs(wall - int(stamp)) > WINDOW:
            raise Refused("skewed")
        seen = f"{name} {given}"
        if seen in self._seen:
            raise Refused("replayed")
        self._seen[seen] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)


def parse_body(body: bytes) -> Event:
    """What a body says. Raises ValueError with what is wrong, which quotes nothing."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is no JSON") from None
    store = content.get("store") if isinstance(content, dict) else None
    keys = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(store, dict) or not isinstance(keys, list):
        raise ValueError(  # noqa: TRY004 - of a body, not of an argument
            'the body needs "store", an object, and "keys", a list'
        )
    kind, name = store.get("kind"), store.get("name")
    namespace = store.get("namespace") or ""
    if kind not in ("SecretStore", "ClusterSecretStore") or not isinstance(name, str):
        raise ValueError("store needs a kind, SecretStore or ClusterSecretStore, and a name")
    if not isinstance(namespace, str) or (kind == "SecretStore") != bool(namespace):
        raise ValueError("a SecretStore is named with its namespace, a ClusterSecretStore without")
    if not 1 <= len(keys) <= MAX_KEYS or not all(isinstance(k, str) and k for k in keys):
        raise ValueError(f"keys needs 1 to {MAX_KEYS} texts")
    key = ObjectKey(kind, namespace, name)
    return Event(tuple(Subject(System.STORE, (one,), store=key) for one in dict.fromkeys(keys)))


class HookServer:
    """Listens for hooks."""

    def __init__(
        self,
        address: str,
        hooks: Mapping[str, Hook],
        *,
        dispatcher: Dispatcher,
        metrics: Any,
        clock: Clock,
    ) -> None:
        self._address = address
        self._hooks = hooks
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._clock = clock
        self._verifier = Verifier()
        self._runner: web.AppRunner | None = None
        self._tokens, self._filled = BURST, clock.monotonic()
        self._told: set[tuple[str, str]] = set()

    async def start(self) -> None:
        """Starts to listen. Raises SetupError."""
        for name in self._hooks:
            if not self._keys(name):
                raise SetupError(
                    f"The secretFile of the hook {name} cannot be read, or has no line of at least "
                    f"{MIN_KEY} characters: mount the Secret with its key there."
                )
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/hooks/{name}", self._serve)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        host, _, port = self._address.rpartition(":")
        try:
            await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
        except (OSError, OverflowError):
            await runner.cleanup()
            raise SetupError(
                f"The operator cannot listen for hooks on {self._address}: correct hookAddress in "
                "the file of event sources."
            ) from None
        self._runner = runner

    async def stop(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._runner is None:
            raise RuntimeError("the server does not run")
        port: int = self._runner.addresses[0][1]
        return port

    async def _serve(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        source = name if name in self._hooks else "unknown"
        if not self._admit():
            return web.Response(
                status=429, text="too many requests\n", headers={"Retry-After": "1"}
            )
        try:
            event = await self._genuine(name, request)
        except Refused as refused:
            return self._refuse(source, refused)
        given = self._dispatcher.tell(source, event)
        try:
            await self._dispatcher.settle(given, hold=0.0)
        except SyncretError:
            return web.Response(status=503, text="try again\n", headers={"Retry-After": "5"})
        return web.json_response({"matched": given.matched}, status=202)

    async def _genuine(self, name: str, request: web.Request) -> Event:
        """What the request says, if it is to be believed. Raises Refused."""
        try:
            async with asyncio.timeout(_SLOW):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise Refused("too large", 413) from None
        except TimeoutError:
            raise Refused("slow", 408) from None
        wall = self._clock.wall()
        self._verifier.verify(name, self._keys(name), request.headers, body, wall=wall)
        try:
            return parse_body(body)
        except ValueError as error:
            raise Refused("malformed", 400, str(error)) from None

    def _keys(self, name: str) -> list[bytes]:
        """The keys of a hook as its file has them now; none if it cannot be read."""
        hook = self._hooks.get(name)
        if hook is None:
            return []
        try:
            lines = Path(hook.secret_file).read_bytes().splitlines()
        except OSError:
            return []
        return [line.strip() for line in lines if len(line.strip()) >= MIN_KEY]

    def _admit(self) -> bool:
        now = self._clock.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._filled) * RATE)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _refuse(self, source: str, refused: Refused) -> web.Response:
        self._metrics.event(source, "malformed" if refused.status == 400 else "refused")
        if (source, refused.why) not in self._told:
            self._told.add((source, refused.why))
            logger.warning(
                "A hook was refused (%s). Further ones are counted and not told of",
                refused.why,
                extra={"source": source},
            )
        return web.Response(status=refused.status, text=f"{refused.text}\n")
