"""Telling a person what is going on: one line per step, and a sign of life in the long ones."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TextIO

#: Seconds after which a step that is not done shows that it is alive, and between two signs where
#: lines cannot be rewritten.
_QUIET: Final = 2.0
_HEARTBEAT: Final = 15.0


class Step:
    """A step in progress. ``detail`` is shown beside it; set it as often as you like."""

    def __init__(self, text: str, estimate: float | None) -> None:
        self.text = text
        self.estimate = estimate
        self.detail = ""
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def line(self, width: int = 0) -> str:
        """The line that shows it is alive; ``width``: not longer than that."""
        elapsed = duration(self.seconds)
        if self.estimate:
            elapsed += f" of about {duration(self.estimate)}"
        text = f"{self.text}{f' ({self.detail})' if self.detail else ''}"
        room = width - len(f"… : {elapsed}")
        if width and len(text) > room:
            text = f"{text[: max(0, room - 1)]}…"
        return f"… {text}: {elapsed}"


class Progress:
    """Writes to a stream; rewrites its line in place on a terminal, adds lines elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._tty = self._stream.isatty()
        self._colour = self._tty and "NO_COLOR" not in os.environ
        #: What each step took, in order, for a table at the end.
        self.times: list[tuple[str, float]] = []

    def say(self, text: str = "") -> None:
        """A line of its own."""
        self._write(f"{text}\n")

    @contextmanager
    def step(
        self, text: str, *, done: Callable[[], str] | None = None, estimate: float | None = None
    ) -> Iterator[Step]:
        """A step; ``done`` words what was seen when it has ended well."""
        step = Step(text, estimate)
        ended = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(step, ended), daemon=True)
        ticker.start()
        try:
            yield step
        except BaseException:
            self._end(ended, ticker)
            self._write(f"{self._mark('✗', 31)} {step.text} ({duration(step.seconds)})\n")
            raise
        self._end(ended, ticker)
        self.times.append((text, step.seconds))
        said = done() if done is not None else (step.detail or text)
        self._write(f"{self._mark('✓', 32)} {said} ({duration(step.seconds)})\n")

    def _tick(self, step: Step, ended: threading.Event) -> None:
        wait = _QUIET
        while not ended.wait(wait):
            if self._tty:
                self._write(f"\r\x1b[2K{step.line(self._width())}")
                wait = 0.5
            else:
                self._write(f"{step.line()}\n")
                wait = _HEARTBEAT

    def _end(self, ended: threading.Event, ticker: threading.Thread) -> None:
        ended.set()
        ticker.join()
        if self._tty:
            self._write("\r\x1b[2K")

    def _width(self) -> int:
        """The most that fits on a line: one that wraps cannot be rewritten in place."""
        try:
            return max(0, os.get_terminal_size(self._stream.fileno()).columns - 1)
        except OSError:
            return 0

    def _mark(self, mark: str, colour: int) -> str:
        return f"\x1b[{colour}m{mark}\x1b[0m" if self._colour else mark

    def _write(self, text: str) -> None:
        # A reader who has gone away (`| head`, a closed terminal) must not end the work, and least
        # of all the clean-up.
        with suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
