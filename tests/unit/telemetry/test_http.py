"""The server, asked as Prometheus and the kubelet ask it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from syncret.errors import SetupError
from syncret.settings import Address
from syncret.telemetry.http import Check, HttpServer
from syncret.telemetry.metrics import Metrics

LOCAL = Address("127.0.0.1", 0)


class Servers:
    """Starts servers, asks them, and stops them after the test."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.metrics = Metrics()
        self.running: list[HttpServer] = []

    async def start(
        self,
        address: Address = LOCAL,
        *,
        ready: dict[str, Check] | None = None,
        live: dict[str, Check] | None = None,
        max_lag: float = 60.0,
        heartbeat: float = 60.0,
    ) -> HttpServer:
        server = HttpServer(
            address,
            metrics=self.metrics,
            ready_checks=ready or {},
            live_checks=live or {},
            max_lag=max_lag,
            heartbeat=heartbeat,
        )
        await server.start()
        self.running.append(server)
        return server

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.running[-1].port}{path}"
        async with self.session.get(url, headers=headers) as response:
            return response.status, await response.text()


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    async with aiohttp.ClientSession() as session:
        servers = Servers(session)
        yield servers
        for server in servers.running:
            await server.stop()


async def test_metrics_as_prometheus_reads_them(servers: Servers) -> None:
    servers.metrics.rollout("Deployment", "rolled")
    server = await servers.start()
    url = f"http://127.0.0.1:{server.port}/metrics"
    line = 'syncret_rollouts_total{kind="Deployment",result="rolled"} 1.0'
    async with servers.session.get(url) as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert response.headers["Content-Encoding"] in {"gzip", "deflate"}
        assert line in await response.text()
    headers = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    async with servers.session.get(url, headers=headers) as response:
        assert response.content_type == "application/openmetrics-text"
        text = await response.text()
    assert line in text
    assert text.endswith("# EOF\n")
    async with servers.session.get(url, headers={"Accept-Encoding": "identity"}) as response:
        assert "Content-Encoding" not in response.headers
        assert line in await response.text()


async def test_scrapes_at_the_same_time_share_the_work_and_do_not_stop_the_loop(
    servers: Servers,
) -> None:
    asked = 0
    release = threading.Event()

    def depth() -> dict[str, int]:
        nonlocal asked
        asked += 1
        release.wait()
        return {"urgent": asked}

    await servers.start()
    servers.metrics.watch_queue(depth)
    scrapes = [asyncio.create_task(servers.get("/metrics")) for _ in range(5)]
    try:
        while not asked:
            assert (await servers.get("/readyz"))[0] == 200  # the loop turns meanwhile
        scrapes[0].cancel()  # one that is given up takes nothing from the others
        for _ in range(20):
            assert (await servers.get("/healthz"))[0] == 200
    finally:
        release.set()
    for scrape in scrapes[1:]:
        status, text = await scrape
        assert status == 200
        assert 'syncret_queue_depth{lane="urgent"} 1.0' in text
    status, text = await servers.get("/metrics")
    assert 'syncret_queue_depth{lane="urgent"} 2.0' in text


async def test_ready_is_what_every_check_says(servers: Servers) -> None:
    problems: list[str] = []
    await servers.start(
        ready={"watches": lambda: problems, "workers": lambda: ["Second."][: len(problems)]}
    )
    assert await servers.get("/readyz") == (200, "ok\n")
    problems.append("The first list of secrets is not complete.")
    assert await servers.get("/readyz") == (
        503,
        "The first list of secrets is not complete.\nSecond.\n",
    )
    assert await servers.get("/healthz") == (200, "ok\n")  # no restart mends this
    problems.clear()
    assert await servers.get("/readyz") == (200, "ok\n")


async def test_alive_is_what_the_live_checks_say(servers: Servers) -> None:
    await servers.start(live={"workers": lambda: ["worker-3 has ended."]})
    assert await servers.get("/healthz") == (503, "worker-3 has ended.\n")
    assert await servers.get("/readyz") == (200, "ok\n")


async def test_a_check_that_fails_itself_is_a_problem_and_told_without_its_text(
    servers: Servers,
) -> None:
    def broken() -> list[str]:
        raise RuntimeError("s3cr3t-canary")

    await servers.start(ready={"cache": broken, "other": lambda: ["Other."]})
    status, text = await servers.get("/readyz")
    assert status == 503
    assert text == 'The check "cache" itself failed (RuntimeError); see the log.\nOther.\n'


async def test_a_loop_that_stood_still_is_not_alive_until_it_turns_again(
    servers: Servers,
) -> None:
    await servers.start(heartbeat=0.02, max_lag=0.1)
    assert (await servers.get("/healthz"))[0] == 200
    time.sleep(0.2)  # noqa: ASYNC251 - this is the fault
    status, text = await servers.get("/healthz")
    assert status == 503
    assert text.startswith("The event loop was late by ")
    assert servers.metrics.registry.get_sample_value("syncret_event_loop_lag_seconds") > 0.1  # type: ignore[operator]
    while (await servers.get("/healthz"))[0] != 200:
        pass  # every answer is a turn


async def test_without_its_heartbeat_it_is_not_alive(servers: Servers) -> None:
    await servers.start()
    (heart,) = [task for task in asyncio.all_tasks() if task.get_name() == "heartbeat"]
    heart.cancel()
    await asyncio.wait([heart])
    status, text = await servers.get("/healthz")
    assert (status, text.split(";")[0]) == (503, "The heartbeat of the event loop has ended")


async def test_the_first_page_names_the_others_and_no_version(servers: Servers) -> None:
    server = await servers.start()
    async with servers.session.get(f"http://127.0.0.1:{server.port}/") as response:
        text = await response.text()
        assert response.headers["Server"] == "syncret"
    for path in ("/metrics", "/healthz", "/readyz"):
        assert path in text
        assert (await servers.get(path))[0] == 200
    assert (await servers.get("/nothing"))[0] == 404


async def test_nothing_can_be_written(servers: Servers) -> None:
    server = await servers.start()
    for path in ("/", "/metrics", "/healthz", "/readyz"):
        async with servers.session.post(f"http://127.0.0.1:{server.port}{path}") as response:
            assert response.status == 405


async def test_after_stop_nobody_listens_and_nothing_is_left(servers: Servers) -> None:
    before = asyncio.all_tasks()
    server = await servers.start()
    port = server.port
    await servers.get("/metrics")
    await server.stop()
    await server.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await servers.session.get(f"http://127.0.0.1:{port}/")
    with pytest.raises(RuntimeError, match="does not run"):
        _ = server.port
    assert asyncio.all_tasks() == before


async def test_an_address_in_use_is_told(servers: Servers) -> None:
    taken = Address("127.0.0.1", (await servers.start()).port)
    with pytest.raises(SetupError) as caught:
        await servers.start(taken)
    assert caught.value.message == (
        f"The address {taken} is in use: stop what listens there, or choose another with "
        "--http-address."
    )
    assert await servers.get("/readyz") == (200, "ok\n")


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.1", "192.0.2.1:0"),  # of RFC 5737: nobody's
        ("no-such-host.invalid", "The host of no-such-host.invalid:0 is unknown"),
    ],
)
async def test_an_address_that_is_not_ours_is_told(servers: Servers, host: str, said: str) -> None:
    with pytest.raises(SetupError) as caught:
        await servers.start(Address(host, 0))
    assert said in caught.value.message
    assert "--http-address" in caught.value.message
