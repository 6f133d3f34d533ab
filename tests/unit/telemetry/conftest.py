"""Logging is the process's: every test that sets it up gives back what it found."""

import io
import logging
import sys
import threading
from collections.abc import Iterator

import pytest


class Stream(io.StringIO):
    """A stream in memory that may claim to be a terminal."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def terminal() -> Stream:
    return Stream(terminal=True)


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Puts back handlers, levels and hooks."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    before = {name: _level(name) for name in logging.root.manager.loggerDict}
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(before.get(name, logging.NOTSET))
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


def _level(name: str) -> int:
    known = logging.root.manager.loggerDict[name]
    return known.level if isinstance(known, logging.Logger) else logging.NOTSET
