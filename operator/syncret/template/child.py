"""The child process: reads requests from its standard input and answers on its standard output.

Before the first request it gives up what it could do harm with: it cannot open a file or a socket,
start a process or a thread, write a file or leave a core; other processes of its user cannot look
into it. It was given no environment and no descriptors. Time and memory are limited by the kernel:
the signal that ends it has no handler that a template could keep from running.

It ends by itself when the operator is gone, and after a rendering that ran out of memory.
"""

import ctypes

# By name, because codecs are loaded when they are first asked for.
import encodings.ascii
import encodings.latin_1
import encodings.utf_16_be  # noqa: F401
import gc
import os
import resource
import signal
from datetime import datetime
from typing import Final

from syncret.template import frames
from syncret.template.problem import Keys
from syncret.template.sandbox import RenderingFailed, Sandbox
from syncret.template.work import answer

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38

#: Loads what libraries load at their first use, after which no file can be opened.
_WARM: Final = (
    "{{ a | b64encode }}{{ a | bcrypt(4) }}{{ a | regex_replace('a', 'b') }}{{ a | quote }}"
    "{{ {'a': [1, none]} | to_nice_yaml | from_yaml | to_json | from_json }}{{ 0 | date_format }}"
    "{{ a | wordwrap(2) }}{{ a | truncate(5) }}{{ a | sha256 }}{{ '%5.2f' | format(1.5) }}"
    "{{ a | urlencode | urldecode | xml_escape | title }}{{ '{:>3}'.format(a) }}"
)


def main() -> None:
    """Works until its standard input is closed."""
    sandbox = Sandbox()
    _warm(sandbox)
    gc.collect()
    gc.freeze()
    _confine()
    _write(frames.encode({"ready": True}))
    while True:
        header = _read(frames.HEADER.size)
        if header is None:
            return
        body = _read(frames.HEADER.unpack(header)[0])
        if body is None:
            return
        if not _serve(sandbox, body):
            return


def _serve(sandbox: Sandbox, body: bytes) -> bool:
    """Answers one request; whether the process is fit for another."""
    signal.setitimer(signal.ITIMER_PROF, frames.CPU_SECONDS)
    try:
        message = answer(sandbox, frames.decode(body))
        reply, fit = frames.encode(message), True
    except (MemoryError, RecursionError):
        reply, fit = frames.encode({"memory": True}), False
    except Exception:  # noqa: BLE001 - one request must not be able to end the process
        failed = {"entry": 0, "text": "cannot be rendered", "line": 0}
        reply, fit = frames.encode({"failed": failed}), True
    signal.setitimer(signal.ITIMER_PROF, 0)
    _write(reply)
    return fit


def _warm(sandbox: Sandbox) -> None:
    variables = {"a": "a b", "secrets": Keys()}
    sandbox.render(_WARM, variables, most=10_000)
    for text in ("{{ a | from_json }}", "{{ a | pkcs12_key }}", "{{ a | cert_info }}", "{{ b }}"):
        try:
            sandbox.render(text, variables, most=10_000)
        except RenderingFailed:
            continue
    datetime.now().astimezone().strftime("%c")


def _confine() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    memory = _memory() + frames.MEMORY_BYTES
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 3),
        (resource.RLIMIT_AS, memory),
    ):
        resource.setrlimit(limit, (most, most))


def _memory() -> int:
    """Bytes of address space that are used."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - Path would stay imported for it
        return int(file.read().split()[0]) * resource.getpagesize()


def _read(size: int) -> bytes | None:
    """So many bytes; None at the end of the input."""
    pieces: list[bytes] = []
    while size:
        piece = os.read(0, min(size, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


if __name__ == "__main__":
    main()
