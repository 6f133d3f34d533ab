"""Logging: one handler on the root, in one of two forms.

*json*: a line for each record, for collectors. *console*: columns for people. The fields are
described in docs/observability.md.

The chosen level is that of Syncret's own loggers. All others never go below WARNING, whatever is
chosen: at DEBUG botocore prints the bodies of answers, google's clients print payloads, and kopf
prints whole objects. That holds three times: the root and each known library have a level of their
own, and the handler drops what is below WARNING and not ours, should a library set its level
itself. What may be rendered of a record is decided by ``telemetry.redact``; for the same reason
the extra fields of foreign records are not shown.

Refused: structlog and the like (the standard library's ``extra=`` does it, and libraries log that
way anyhow); kopf's own logging set-up (it puts the root to DEBUG on request).
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from syncret.telemetry.redact import describe, plain, scrub, without_texts

#: The first part of the names of our own loggers; __main__ when started by ``python -m``.
_OURS: Final = ("syncret", "__main__")

#: The least level of libraries that we use.
_PINNED: Final = {
    "aiohttp": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    # At WARNING, asyncio's debug mode prints slow callbacks with their arguments.
    "asyncio": logging.ERROR,
    "azure": logging.WARNING,
    "boto3": logging.WARNING,
    "botocore": logging.WARNING,
    "google": logging.WARNING,
    "hvac": logging.WARNING,
    "kopf": logging.WARNING,
    # At WARNING, these print a whole watch event and the difference that a patch made.
    "kopf._cogs.clients.watching": logging.ERROR,
    "kopf.objects": logging.ERROR,
    "kubernetes": logging.WARNING,
    "s3transfer": logging.WARNING,
    "urllib3": logging.WARNING,
}

#: What every record has; the rest of its attributes came by ``extra=``.
_STANDARD: Final = frozenset(
    {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"}
)

_COLORS: Final = {"WARNING": "33", "ERROR": "31", "CRITICAL": "1;31", "DEBUG": "2"}

logger = logging.getLogger("syncret")


def configure(
    level: str, form: str, stream: TextIO | None = None, *, environ: Mapping[str, str] | None = None
) -> None:
    """Sets up the logging of the process; called again, it replaces what it set up.

    ``level``: debug, info, warning or error. ``form``: json, console, or auto, which is console
    if the stream is a terminal. ``stream``: stderr if not given.
    """
    stream = stream if stream is not None else sys.stderr
    environ = environ if environ is not None else os.environ
    terminal = stream.isatty()
    chosen = logging.getLevelNamesMapping()[level.upper()]
    handler = _Handler(stream)
    if form == "json" or (form == "auto" and not terminal):
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(ConsoleFormatter(colored=terminal and _wants_color(environ)))
    root = logging.getLogger()
    for former in [former for former in root.handlers if isinstance(former, _Handler)]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(max(chosen, logging.WARNING))
    for name, least in _PINNED.items():
        logging.getLogger(name).setLevel(max(chosen, least))
    for name in _OURS:
        logging.getLogger(name).setLevel(chosen)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    sys.unraisablehook = _log_unraisable


class JsonFormatter(logging.Formatter):
    """One JSON object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        error = _error(record)
        if error is not None:
            fields["exception"] = describe(error)
        for name, value in _extra(record).items():
            fields.setdefault(name, value)  # the record's own fields stay what they are
        line = json.dumps(fields, ensure_ascii=False, default=str)
        # A lone surrogate cannot be written; its escape means the same to a reader of JSON.
        return line.encode("utf-8", "backslashreplace").decode("utf-8")


class ConsoleFormatter(logging.Formatter):
    """Local time, level, logger, message, fields; exceptions below, indented."""

    def __init__(self, *, colored: bool) -> None:
        super().__init__()
        self._colored = colored

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).astimezone()
        time = f"{when:%H:%M:%S}.{when.microsecond // 1000:03d}"
        name = record.name.removeprefix("syncret.")
        message = _visible(_message(record))
        fields = " ".join(f"{key}={_quoted(value)}" for key, value in _extra(record).items())
        line = (
            f"{self._color('2', time)} "
            f"{self._color(_COLORS.get(record.levelname, ''), f'{record.levelname:<8}')} "
            f"{self._color('2', f'{name:<22}')} "
            f"{message:<50}  {self._color('2', fields)}"
        )
        error = _error(record)
        return "\n".join([line.rstrip(), *(_exception_lines(error) if error is not None else ())])

    def _color(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colored and code and text else text


class _Handler(logging.StreamHandler[TextIO]):
    """Writes what may be shown."""

    def filter(self, record: logging.LogRecord) -> Any:
        if record.levelno < logging.WARNING and not _is_ours(record):
            return False
        return super().filter(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base's name
        """Says which record was lost. The default would print its arguments."""
        error = sys.exc_info()[0]
        with suppress(OSError, ValueError):  # the stream itself is closed: there is nobody to tell
            self.stream.write(
                f"A log record of {record.name} ({record.filename}:{record.lineno}) could not be "
                f"written ({error.__name__ if error else 'unknown'}).\n"
            )


def _message(record: logging.LogRecord) -> str:
    """The message with its arguments, as far as they may be shown."""
    message = str(scrub(record.msg))
    if record.args:
        try:
            message = message % scrub(record.args)
        except Exception:  # noqa: BLE001 - a foreign __str__ may do anything
            message += " (the arguments do not fit)"
    if record.name == "py.warnings":
        return message.partition("\n")[0]  # then comes the line of source
    if record.name == "asyncio":
        # Then come the repr of the future, with its exception, and that of a callback's arguments.
        message = message.partition("\n")[0].partition("(")[0].rstrip()
    error = _error(record)
    return message if error is None else without_texts(message, error)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    if not _is_ours(record):
        return {}
    return {
        name: plain(scrub(value))
        for name, value in record.__dict__.items()
        if name not in _STANDARD
    }


def _error(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in _OURS


def _wants_color(environ: Mapping[str, str]) -> bool:
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _visible(text: str) -> str:
    """The text in one line, and unable to steer the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, str) and (not text or any(c in ' "=' for c in text)):
        text = json.dumps(text, ensure_ascii=False)
    return _visible(text)


def _exception_lines(error: BaseException) -> list[str]:
    lines = []
    for described in describe(error):
        message = described.get("message")
        lines.append(f"    {described['type']}{f': {_visible(message)}' if message else ''}")
        lines += [f"      {frame}" for frame in described["stack"]]
    return lines


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logger.critical("Ended by an unexpected error", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    logger.error("A thread ended by an unexpected error", exc_info=args.exc_value)


def _log_unraisable(args: Any) -> None:
    logger.error("An error where none can be raised", exc_info=args.exc_value)
