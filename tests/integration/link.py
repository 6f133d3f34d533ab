"""The network between one operator and the API server: a TCP relay that can be cut or frozen.

It passes bytes on, TLS and all, so both sides are the real ones, and only this operator suffers.
"""

import json
import socket
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

_CHUNK = 65536


class Link:
    """A relay on a loopback port, and a ``kubeconfig`` like the given one that leads through it."""

    def __init__(self, original: Path) -> None:
        config = json.loads(original.read_text())
        cluster = config["clusters"][0]["cluster"]
        url = urlsplit(cluster["server"])
        assert url.hostname is not None
        assert url.port is not None
        self._upstream = (url.hostname, url.port)
        self._open: set[socket.socket] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._refuses = False
        self._server = socket.create_server(("127.0.0.1", 0))
        port = self._server.getsockname()[1]
        cluster["server"] = f"https://127.0.0.1:{port}"
        self.kubeconfig = original.with_name(f"link-{port}.kubeconfig")
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(json.dumps(config))
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Nothing is passed on any more, and nothing is closed."""
        self._flows.clear()

    def cut(self) -> None:
        """Every connection breaks, and no new one holds."""
        self._refuses = True
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """New connections hold again."""
        self._refuses = False

    def close(self) -> None:
        self._server.close()
        self.cut()
        self._flows.set()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                near, _ = self._server.accept()
                if self._refuses:
                    near.close()
                    continue
                far = socket.create_connection(self._upstream)
                self._open |= {near, far}
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self._flows.wait()
                target.sendall(data)
        for one in (source, target):
            self._open.discard(one)
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
