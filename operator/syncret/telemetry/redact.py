"""What of a log record may be rendered, whoever made it.

Secrets are kept out of logs where they are handled: a ``SecretValue`` prints as nothing, messages
are ours, foreign exceptions stop at their module. This is the belt to those braces:

- bytes are shown as their number, wherever they are in the arguments or the extra fields;
- an exception that is not ours is shown as its class and its frames, never by its text: the text
  of a decoder, a validator or an SDK quotes what it failed on;
- frames are named by module, line and function, without source text or local variables.

What it cannot see: a value that somebody formatted into a string beforehand.
"""

import math
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final

from syncret.errors import SyncretError

#: Deeper, an argument is shown as its type alone. Also ends what contains itself.
_MAX_DEPTH: Final = 6
#: Frames per exception, the innermost; exceptions per record.
_MAX_FRAMES: Final = 40
_MAX_EXCEPTIONS: Final = 12
#: Shorter texts are words like any other: to remove them would blank out half of the message.
_MIN_TEXT: Final = 3


class Hidden(str):
    """What stands for something that is not shown. Without quotes even under ``%r``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def scrub(value: Any, depth: int = 0) -> Any:
    """The value, or a copy of it, with bytes and foreign exceptions replaced."""
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return _scrub_one(value)
    if depth >= _MAX_DEPTH:
        return Hidden(f"<{type(value).__name__}>")
    if isinstance(value, dict):
        return {scrub(k, depth + 1): scrub(v, depth + 1) for k, v in value.items()}
    items = [scrub(item, depth + 1) for item in value]
    if isinstance(value, list):
        return items
    return tuple(items) if isinstance(value, tuple) else set(items)


def _scrub_one(value: Any) -> Any:
    match value:
        case bytes() | bytearray():
            return Hidden(f"<{len(value)} bytes>")
        case memoryview():
            return Hidden(f"<{value.nbytes} bytes>")
        case SyncretError():
            return Hidden(value.message)
        case BaseException():
            return Hidden(class_name(value))
    return value


def plain(value: Any) -> Any:
    """What was scrubbed, as JSON can say it."""
    match value:
        case float():
            return value if math.isfinite(value) else str(value)
        case str() | int() | None:
            return value
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case set() | frozenset():
            return sorted((plain(item) for item in value), key=str)
    return str(value)


def describe(error: BaseException) -> list[dict[str, Any]]:
    """The exception, then what it came from: type, our own message if it is ours, frames."""
    return [_describe_one(one) for one in _chain(error)]


def without_texts(message: str, error: BaseException) -> str:
    """The message without the texts of foreign exceptions, which libraries like to put into it."""
    for one in _chain(error):
        if isinstance(one, SyncretError):
            continue
        for text in (_safe(repr, one), _safe(str, one)):
            if len(text) >= _MIN_TEXT:
                message = message.replace(text, class_name(one))
    return message


def class_name(error: BaseException) -> str:
    """The name of the class, with its module unless it is built in."""
    cls = type(error)
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it was raised from or during, and the members of groups; bounded."""
    left: list[BaseException] = [error]
    seen: set[int] = set()
    while left and len(seen) < _MAX_EXCEPTIONS:
        one = left.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if one.__cause__ is not None:
            left.append(one.__cause__)
        elif one.__context__ is not None and not one.__suppress_context__:
            left.append(one.__context__)
        if isinstance(one, BaseExceptionGroup):
            left.extend(one.exceptions)


def _describe_one(error: BaseException) -> dict[str, Any]:
    described: dict[str, Any] = {"type": class_name(error)}
    if isinstance(error, SyncretError):
        described["message"] = error.message
    described["stack"] = list(_frames(error.__traceback__))[-_MAX_FRAMES:]
    return described


def _frames(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        frame = traceback.tb_frame
        module = frame.f_globals.get("__name__", "?")
        yield f"{module}:{traceback.tb_lineno} in {frame.f_code.co_name}"
        traceback = traceback.tb_next


def _safe(show: Any, error: BaseException) -> str:
    try:
        return str(show(error))
    except Exception:  # noqa: BLE001 - a foreign __str__ may do anything
        return ""
