"""Being ended by a signal, at any moment, without leaving anything behind.

The default for SIGTERM and SIGHUP ends Python at once, and then no ``finally`` runs. Here every
signal that asks for the end is an exception in the main thread. What must not be cut in two (a
child that is started and written down, a clean-up) runs :func:`deferred`.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

_ASKING_FOR_THE_END: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked for the end. No Exception: nothing that handles errors may take it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def raise_interrupted() -> None:
    """From now on the first such signal raises :class:`Interrupted`; later ones do nothing.

    What follows the first one is the clean-up, which a second Ctrl-C would only leave half done.
    A signal that was ignored when we were started (``nohup``) stays so.
    """
    for number in _ASKING_FOR_THE_END:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)


@contextmanager
def deferred() -> Iterator[None]:
    """The block is not interrupted: a signal that arrives meanwhile has its effect afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled by the main thread only
        return
    arrived: list[int] = []
    former: dict[signal.Signals, Any] = {}
    try:
        for number in _ASKING_FOR_THE_END:
            former[number] = signal.getsignal(number)
            if callable(former[number]):
                signal.signal(number, lambda arriving, _: arrived.append(arriving))
        yield
    finally:
        for number, handler in former.items():
            if callable(handler):
                signal.signal(number, handler)
        for missed in arrived[:1]:
            signal.raise_signal(missed)


def _raise(number: int, _: FrameType | None) -> None:
    for each in _ASKING_FOR_THE_END:
        signal.signal(each, _nothing)  # not SIG_IGN, which children would inherit
    raise Interrupted(number)


def _nothing(_: int, __: FrameType | None) -> None:
    """The end is being made already."""
