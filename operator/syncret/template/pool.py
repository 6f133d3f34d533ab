"""The operator's side: child processes that render, one request at a time each.

None runs before the first template or certificate is met. Whoever wants to render waits for a free
one, without holding up the event loop; the time that a rendering may take begins when it has one. A
child that is killed or ends is replaced at the next request: what it was working on fails, and
nothing else. Two at most, so one template that takes all of its time leaves a way past it.
"""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from syncret.errors import RendererUnavailable, SyncretError, TemplateInvalid, TemplateTooExpensive
from syncret.template import frames

logger = logging.getLogger(__name__)

#: Children at most.
SIZE: Final = 2

#: Seconds by the clock after which a child is killed. Its own limit, of CPU time, comes first; this
#: one is for a child that gets no CPU, or has been stopped.
PATIENCE: Final = 10.0

#: Seconds that a child may take to start.
_START: Final = 60.0

#: Seconds that a request may wait for a child; the error path tries again.
_QUEUE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A template to render: ``path`` is where it stands, as messages say it.

    ``pairs``: what it gives is a YAML mapping. ``private``: its text is secret.
    """

    path: str
    text: str = field(repr=False)
    pairs: bool = False
    private: bool = False


class Pool:
    """Renders. All failures are SyncretErrors, and none has a value in its message."""

    def __init__(self, *, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._free: list[_Child] = []
        self._all: set[_Child] = set()
        self._slots = asyncio.Semaphore(SIZE)
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Of the children that run."""
        return [child.pid for child in self._all]

    async def render(
        self, entries: Sequence[Entry], values: Mapping[str, bytes], *, seed: bytes
    ) -> list[str | list[tuple[str, str]]]:
        """The text of each entry, or its keys and values. ``seed``: what salts are made from."""
        outputs = await self._ask(
            {
                "op": "render",
                "seed": seed.hex(),
                "values": _texts(values),
                "entries": [{"text": one.text, "pairs": one.pairs} for one in entries],
            },
            entries,
        )
        return [
            one if isinstance(one, str) else [(key, value) for key, value in one] for one in outputs
        ]

    async def render_each(
        self, path: str, template: str, variables: Sequence[Mapping[str, str]]
    ) -> list[str]:
        """The text of one template for each set of variables."""
        outputs = await self._ask(
            {"op": "each", "text": template, "each": [dict(one) for one in variables]},
            [Entry(path, template)],
        )
        return [str(one) for one in outputs]

    async def check_tls(self, *, certificate: bytes, key: bytes) -> None:
        """Raises TemplateInvalid unless the one is a certificate and the other its private key."""
        values = _texts({"certificate": certificate, "key": key})
        await self._ask(
            {"op": "tls", "values": values}, [Entry("tls.crt", ""), Entry("tls.key", "")]
        )

    async def dates(self, values: Mapping[str, bytes]) -> dict[str, tuple[int, int]]:
        """From when and until when certificates are valid, in seconds since 1970, by key.

        Raises TemplateTooExpensive, RendererUnavailable.
        """
        found = await self._ask({"op": "dates", "values": _texts(values)}, [Entry("The data", "")])
        return {str(key): (int(begins), int(ends)) for key, begins, ends in found}

    async def close(self) -> None:
        """Ends the children."""
        self._closed = True
        for child in list(self._all):
            await self._discard(child)

    async def _ask(self, request: Mapping[str, Any], entries: Sequence[Entry]) -> list[Any]:
        frame = frames.encode(request)
        if len(frame) > frames.MAX_FRAME:
            raise TemplateTooExpensive(
                f"{_where(entries)} is given more than {frames.MAX_FRAME} bytes: select less."
            )
        async with self._child() as child:
            try:
                async with asyncio.timeout(self._patience):
                    answer = await child.ask(frame)
            except TimeoutError:
                raise _too_long(entries) from None
            except (EOFError, OSError, ValueError):
                raise await child.why_it_ended(entries) from None
        if "memory" in answer:
            raise _too_much(entries)
        if "failed" in answer:
            raise _failed(answer["failed"], entries)
        return list(answer["outputs"])

    @asynccontextmanager
    async def _child(self) -> AsyncIterator["_Child"]:
        """A child for one request. It is ended unless the request was answered."""
        try:
            async with asyncio.timeout(_QUEUE):
                await self._slots.acquire()
        except TimeoutError:
            raise RendererUnavailable(
                "Too many templates wait to be rendered; it is tried again."
            ) from None
        try:
            child = self._free.pop() if self._free else await self._start()
            try:
                yield child
            finally:
                if child.fit and not self._closed:
                    self._free.append(child)
                else:
                    await self._discard(child)
        finally:
            self._slots.release()

    async def _start(self) -> "_Child":
        if self._closed:
            raise RendererUnavailable("The operator is stopping.")
        child = await _Child.start()
        self._all.add(child)
        try:
            async with asyncio.timeout(_START):
                await child.receive()
        except (TimeoutError, EOFError, OSError, ValueError):
            await self._discard(child)
            raise RendererUnavailable(
                "The process that renders templates does not start: look at the memory and the "
                "process limits of the operator's pod; it is tried again."
            ) from None
        except BaseException:
            await self._discard(child)
            raise
        child.fit = True
        return child

    async def _discard(self, child: "_Child") -> None:
        self._all.discard(child)
        if child in self._free:
            self._free.remove(child)
        await child.kill()


class _Child:
    """One process. ``fit``: it waits for a request."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.fit = False

    @classmethod
    async def start(cls) -> "_Child":
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                # Isolated: neither environment nor working directory say what is imported.
                *("-I", "-B", "-m", "syncret.template.child"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # a traceback may show a value
                env={},
                cwd="/",
                close_fds=True,
                start_new_session=True,  # a terminal's Ctrl-C is for the operator
            )
        except OSError:
            raise RendererUnavailable(
                "The process that renders templates cannot be started: look at the memory and the "
                "process limits of the operator's pod; it is tried again."
            ) from None
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, frame: bytes) -> dict[str, Any]:
        """The answer. Until it is there, and after "memory", the child is not fit."""
        self.fit = False
        if self._process.stdin is None:
            raise EOFError
        self._process.stdin.write(frame)
        await self._process.stdin.drain()
        answer = await self.receive()
        self.fit = "memory" not in answer
        return answer

    async def receive(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise EOFError
        header = await self._process.stdout.readexactly(frames.HEADER.size)
        (size,) = frames.HEADER.unpack(header)
        if size > frames.MAX_FRAME:
            raise ValueError
        answer = frames.decode(await self._process.stdout.readexactly(size))
        if isinstance(answer, dict):
            return answer
        raise ValueError

    async def why_it_ended(self, entries: Sequence[Entry]) -> SyncretError:
        """The error of a request during which the process ended."""
        await self.kill()
        if self._process.returncode == -signal.SIGPROF:
            return _too_long(entries)
        return _too_much(entries)

    async def kill(self) -> None:
        """Ends it, if it has not ended, and waits for that."""
        self.fit = False
        with contextlib.suppress(ProcessLookupError):
            if self._process.returncode is None:
                # Where it has ended by itself, that is what is seen.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self._process.wait()
                        return
                self._process.kill()
        await asyncio.shield(self._process.wait())


def _texts(values: Mapping[str, bytes]) -> dict[str, str]:
    return {key: value.decode("utf-8", "surrogateescape") for key, value in values.items()}


def _where(entries: Sequence[Entry]) -> str:
    if len(entries) == 1:
        return entries[0].path
    return f"{entries[0].path} and the templates after it" if entries else "The template"


def _too_long(entries: Sequence[Entry]) -> TemplateTooExpensive:
    return TemplateTooExpensive(
        f"{_where(entries)} took more than {frames.CPU_SECONDS:g} s to render and was stopped: "
        "make loops shorter, or divide it among several ExternalSecrets."
    )


def _too_much(entries: Sequence[Entry]) -> TemplateTooExpensive:
    return TemplateTooExpensive(
        f"{_where(entries)} took more than {frames.MEMORY_BYTES // 1024 // 1024} MiB of memory to "
        "render and was stopped: make what it builds smaller."
    )


def _failed(failed: Mapping[str, Any], entries: Sequence[Entry]) -> TemplateInvalid:
    entry = entries[failed["entry"]]
    line = f", line {failed['line']}," if failed["line"] else ""
    if entry.private:
        return TemplateInvalid(
            f"{entry.path}{line} cannot be rendered; what is wrong is not said, because the "
            "template is secret: correct it there."
        )
    return TemplateInvalid(f"{entry.path}{line} {failed['text']}.")
