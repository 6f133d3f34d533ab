"""The process: ``python -m testbed.gcp.server GRPC RELAY HTTP``, three ports of loopback."""

import asyncio
import sys
from typing import Any

import grpc
import uvloop
from aiohttp import web

from testbed.gcp.issuer import Issuer
from testbed.gcp.relay import Relay
from testbed.gcp.service import SecretManager
from testbed.gcp.store import Store


async def main(grpc_port: int, relay_port: int, http_port: int) -> None:
    """Serves until it is ended."""
    store = Store()
    service = SecretManager(store)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((service.handler(),))
    if server.add_insecure_port(f"127.0.0.1:{grpc_port}") != grpc_port:
        raise SystemExit(f"Port {grpc_port} is taken.")
    await server.start()
    relay = Relay(store, port=relay_port, upstream=grpc_port)
    await relay.start()

    def steering(name: str) -> Any:
        return getattr(store, name)

    names = [name for name in dir(store) if not name.startswith("_") and callable(steering(name))]
    calls = {name: steering(name) for name in names}
    runner = web.AppRunner(Issuer(store, steering=calls | {"release": service.release}).app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", http_port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*(int(port) for port in sys.argv[1:4])))
