"""Streams to log to."""

import io

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
