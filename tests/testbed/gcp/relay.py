"""A TCP relay in front of the gRPC port, which fails where no server can: on the wire.

It reads the frames of HTTP/2 only as far as it must to find where an answer begins, so that a
connection is set up well before it breaks off or becomes slow.
"""

import asyncio
import contextlib
import socket
import struct
from typing import Final

from testbed.gcp.store import Store

_HEAD: Final = 9
_DATA, _HEADERS = 0, 1
_END_STREAM: Final = 1


class Relay:
    """Listens on ``port`` of loopback, and passes on to ``upstream``."""

    def __init__(self, store: Store, *, port: int, upstream: int) -> None:
        self._store = store
        self._port, self._upstream = port, upstream
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.close()
            return
        up = asyncio.create_task(_copy(reader, far_writer))
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._answer(far_reader, writer)
        up.cancel()
        for one in (writer, far_writer):
            one.close()

    async def _answer(self, far: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes frame after frame of the answers."""
        while True:
            head = await far.readexactly(_HEAD)
            frame = head + await far.readexactly(int.from_bytes(head[:3], "big"))
            fault = self._store.fault
            kind = fault.kind if fault is not None else ""
            # A failure has no data: its headers are the end of the stream.
            answers = head[3] == _DATA or (head[3] == _HEADERS and head[4] & _END_STREAM)
            if answers and fault is not None and kind == "trickles":
                for number in range(len(frame)):
                    writer.write(frame[number : number + 1])
                    await writer.drain()
                    await asyncio.sleep(fault.every)
            elif answers and kind == "reset":
                writer.write(frame[: _HEAD + 3])
                await writer.drain()
                _reset(writer)
                return
            else:
                writer.write(frame)
                await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection without the orderly end."""
    taken = writer.get_extra_info("socket")
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
