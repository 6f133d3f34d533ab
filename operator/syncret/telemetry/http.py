"""The HTTP server: /metrics for Prometheus, /healthz and /readyz for the kubelet.

*Alive* is what a restart can mend: the event loop turns, and the workers are there. *Ready* is
whether the operator does its job: its checks also fail for what a restart cannot mend (a missing
permission, no answer from the API server), and say so in sentences.

Metrics are rendered in a thread of their own, because the series of fifty thousand ExternalSecrets
take longer than the loop may stand still; scrapes that come meanwhile share the text. Nothing here
is secret, and nothing can be changed through it, so there is neither TLS nor a login: a
NetworkPolicy is the place to say who may connect.

Refused: kopf's own liveness endpoint (one path, and an answer kept for ten seconds), and a server
in a thread (prometheus_client's), which would go on answering while the loop stands still.
"""

import asyncio
import errno
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiohttp import web

from syncret.errors import SetupError
from syncret.settings import Address
from syncret.telemetry.metrics import Metrics, wants_openmetrics

logger = logging.getLogger(__name__)

#: Tells what is wrong, a sentence for each problem; nothing if all is well.
Check = Callable[[], list[str]]

#: Seconds between two beats of the heart, and how late one may come. The latest of ten counts, so
#: that a probe every ten seconds misses none.
HEARTBEAT: Final = 1.0
MAX_LAG: Final = 5.0
_BEATS: Final = 10

#: Seconds that open connections get to end when the server stops.
_SHUTDOWN: Final = 1.0

_INDEX: Final = """Syncret

/metrics   metrics, for Prometheus
/healthz   200 if the process is alive; else 503 and what is wrong
/readyz    200 if it does its job; else 503 and what is wrong
"""


class HttpServer:
    """Serves metrics and probes. ``ready_checks`` and ``live_checks`` by the name of each."""

    def __init__(
        self,
        address: Address,
        *,
        metrics: Metrics,
        ready_checks: Mapping[str, Check],
        live_checks: Mapping[str, Check],
        max_lag: float = MAX_LAG,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._address = address
        self._metrics = metrics
        self._ready_checks = ready_checks
        self._live_checks = live_checks
        self._max_lag = max_lag
        self._heartbeat = heartbeat
        self._lags: deque[float] = deque([0.0], maxlen=_BEATS)
        self._beating: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._rendering: dict[bool, asyncio.Future[tuple[bytes, str]]] = {}

    async def start(self) -> None:
        """Starts to listen. Raises SetupError if the address cannot be used."""
        app = web.Application()
        app.on_response_prepare.append(_name_server)
        app.router.add_get("/", self._serve_index)
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get("/healthz", self._serve_health)
        app.router.add_get("/readyz", self._serve_readiness)
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN
        )
        await runner.setup()
        # None, not "": asyncio then listens on every address of both families.
        site = web.TCPSite(runner, self._address.host or None, self._address.port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise SetupError(_explain(self._address, error)) from None
        self._runner = runner
        self._beating = asyncio.create_task(self._beat(), name="heartbeat")
        logger.debug("Listening", extra={"address": str(Address(self._address.host, self.port))})

    async def stop(self) -> None:
        """Stops listening and ends what is being answered. May be called twice."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
            self._beating = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    def port(self) -> int:
        """The port that is listened on, also where the address leaves it open."""
        if self._runner is None:
            raise RuntimeError("the server does not run")
        port: int = self._runner.addresses[0][1]
        return port

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._heartbeat
            await asyncio.sleep(self._heartbeat)
            self._lags.append(max(0.0, loop.time() - due))
            self._metrics.event_loop_lag.set(max(self._lags))

    def _heart_problems(self) -> list[str]:
        if self._beating is None or self._beating.done():
            return ["The heartbeat of the event loop has ended; the process has to be restarted."]
        lag = max(self._lags)
        if lag > self._max_lag:
            return [f"The event loop was late by {lag:.1f} s; {self._max_lag:.1f} s are allowed."]
        return []

    async def _serve_index(self, _: web.Request) -> web.Response:
        return web.Response(text=_INDEX)

    async def _serve_health(self, _: web.Request) -> web.Response:
        return _verdict({"event loop": self._heart_problems, **self._live_checks})

    async def _serve_readiness(self, _: web.Request) -> web.Response:
        return _verdict(self._ready_checks)

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        openmetrics = wants_openmetrics(",".join(request.headers.getall("Accept", [])))
        rendering = self._rendering.get(openmetrics)
        if rendering is None:
            rendering = asyncio.get_running_loop().run_in_executor(
                self._thread, lambda: self._metrics.render(openmetrics=openmetrics)
            )
            self._rendering[openmetrics] = rendering
            rendering.add_done_callback(lambda _: self._rendering.pop(openmetrics))
        # aiohttp lets a handler end when its client is gone, so no scrape cancels the others'.
        body, content_type = await rendering
        response = web.Response(
            body=body, headers={"Content-Type": content_type}, zlib_executor=self._thread
        )
        response.enable_compression()
        return response


def _verdict(checks: Mapping[str, Check]) -> web.Response:
    problems = [problem for name, check in checks.items() for problem in _ask(name, check)]
    if problems:
        return web.Response(status=503, text="\n".join(problems) + "\n")
    return web.Response(text="ok\n")


def _ask(name: str, check: Check) -> list[str]:
    try:
        return check()
    except Exception as error:
        # Not alive or not ready either way: a check that cannot tell does not say "well".
        logger.exception("A check failed", extra={"check": name})
        return [f'The check "{name}" itself failed ({type(error).__name__}); see the log.']


async def _name_server(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "syncret"  # aiohttp's own names its version and Python's


def _explain(address: Address, error: OSError) -> str:
    elsewhere = "choose another with --http-address."
    if isinstance(error, socket.gaierror):
        return f"The host of {address} is unknown: correct --http-address."
    if error.errno == errno.EADDRINUSE:
        return f"The address {address} is in use: stop what listens there, or {elsewhere}"
    if error.errno == errno.EACCES:
        return f"The operator may not listen on {address}: {elsewhere}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is not an address of this machine: {elsewhere}"
    cause = os.strerror(error.errno) if error.errno and error.errno > 0 else type(error).__name__
    return f"The operator cannot listen on {address} ({cause}): {elsewhere}"
