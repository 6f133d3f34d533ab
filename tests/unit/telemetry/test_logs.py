"""What a reader of the log sees, and what he never sees."""

import asyncio
import gc
import json
import logging
import secrets
import sys
import threading
import warnings
from typing import Any

import pytest

from syncret.errors import AccessDenied
from syncret.providers.base import SecretValue
from syncret.settings import LOG_FORMATS, LOG_LEVELS
from syncret.telemetry import logs

pytestmark = pytest.mark.usefixtures("logging_restored")

LIBRARIES = [
    "aiohttp.access",
    "azure.core.pipeline.policies.http_logging_policy",
    "boto3",
    "botocore",
    "botocore.parsers",
    "google.auth",
    "hvac",
    "kopf",
    "kopf.objects",
    "kopf._cogs.clients.api",
    "urllib3.connectionpool",
    "asyncio",
    "some.other.library",
]

ours = logging.getLogger("syncret.reconcile.sync")


@pytest.fixture
def canary() -> str:
    """A value that no output may hold."""
    return secrets.token_hex(16)


def lines(stream: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def the_line(stream: Any) -> dict[str, Any]:
    found = lines(stream)
    assert len(found) == 1
    return found[0]


def test_a_record_as_json(stream: Any) -> None:
    logs.configure("info", "json", stream)
    ours.info("Secret %s", "created", extra={"namespace": "payments", "object": "db", "keys": 2})
    line = the_line(stream)
    time = line.pop("time")
    assert line == {
        "level": "info",
        "logger": "syncret.reconcile.sync",
        "message": "Secret created",
        "namespace": "payments",
        "object": "db",
        "keys": 2,
    }
    assert stream.getvalue().startswith('{"time": ')
    assert len(time) == len("2024-01-02T03:04:05.678Z")
    assert time.endswith("Z")


def test_the_time_is_utc_with_milliseconds(stream: Any) -> None:
    record = logging.makeLogRecord({"name": "syncret.x", "msg": "m", "created": 1700000000.25})
    shown = json.loads(logs.JsonFormatter().format(record))
    assert shown["time"] == "2023-11-14T22:13:20.250Z"
    record.created = 1700000000.0
    assert json.loads(logs.JsonFormatter().format(record))["time"] == "2023-11-14T22:13:20.000Z"


def test_one_record_is_one_line_of_valid_json(stream: Any) -> None:
    logs.configure("debug", "json", stream)
    ours.info(
        "a\nb \ud800 ü",
        extra={"n": float("nan"), "nested": {1: {"x", "y"}, "t": (1, None)}, "o": object},
    )
    line = the_line(stream)
    assert line["message"] == "a\nb \ud800 ü"
    assert line["n"] == "nan"
    assert line["nested"] == {"1": ["x", "y"], "t": [1, None]}
    assert stream.getvalue().encode("utf-8")


def test_extra_fields_do_not_replace_the_records_own(stream: Any) -> None:
    logs.configure("info", "json", stream)
    ours.info("real", extra={"level": "fake", "time": "fake", "logger": "fake", "reason": "kept"})
    line = the_line(stream)
    assert (line["level"], line["logger"], line["reason"]) == ("info", ours.name, "kept")
    assert line["time"] != "fake"


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_the_level_is_that_of_our_own_loggers(stream: Any, level: str) -> None:
    logs.configure(level, "json", stream)
    for name in LOG_LEVELS:
        ours.log(logging.getLevelNamesMapping()[name.upper()], "x")
    assert [line["level"] for line in lines(stream)] == list(LOG_LEVELS[LOG_LEVELS.index(level) :])


@pytest.mark.parametrize("form", LOG_FORMATS)
@pytest.mark.parametrize("level", LOG_LEVELS)
@pytest.mark.parametrize("name", LIBRARIES)
def test_no_option_reaches_what_libraries_say_below_warning(
    stream: Any, canary: str, name: str, level: str, form: str
) -> None:
    logs.configure(level, form, stream)
    library = logging.getLogger(name)
    assert not library.isEnabledFor(logging.INFO)
    library.debug("Response body: %s", canary)
    library.info("Response body: %s", canary)
    logging.getLogger().debug(canary)
    assert stream.getvalue() == ""


def test_a_library_that_turns_its_debugging_on_by_itself_is_not_heard(
    stream: Any, canary: str
) -> None:
    logs.configure("debug", "json", stream)
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger("botocore").setLevel(logging.DEBUG)
    logging.getLogger("botocore.parsers").debug("Response body: %s", canary)
    assert stream.getvalue() == ""


def test_warnings_of_libraries_are_heard_without_their_extra_fields(
    stream: Any, canary: str
) -> None:
    logs.configure("info", "json", stream)
    logging.getLogger("google.auth").warning("Slow", extra={"httpResponse": canary})
    line = the_line(stream)
    assert (line["logger"], line["message"]) == ("google.auth", "Slow")
    assert canary not in stream.getvalue()


def test_at_level_error_libraries_are_no_louder_than_we_are(stream: Any) -> None:
    logs.configure("error", "json", stream)
    logging.getLogger("botocore").warning("x")
    logging.getLogger("some.other.library").warning("x")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("name", ["kopf.objects", "kopf._cogs.clients.watching"])
def test_kopf_does_not_print_objects_in_warnings(stream: Any, canary: str, name: str) -> None:
    logs.configure("debug", "json", stream)
    logging.getLogger(name).warning("Ignoring an unsupported event type: %s", canary)
    logging.getLogger(name).error("Still heard")
    assert the_line(stream)["message"] == "Still heard"


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_foreign_exception_is_shown_without_its_text(stream: Any, canary: str, form: str) -> None:
    logs.configure("info", form, stream)
    try:
        int(canary + "x")
    except ValueError as error:
        error.add_note(canary)
        ours.exception("Not synced: %s", error)
        logging.getLogger("kopf").exception(f"Throttling due to an error: {error!r} {error}")  # noqa: G004, TRY401
    shown = stream.getvalue()
    assert canary not in shown
    assert "Not synced: ValueError" in shown
    assert "Throttling due to an error: ValueError" in shown
    assert f"{__name__}:" in shown
    assert "in test_a_foreign_exception_is_shown_without_its_text" in shown
    assert "int(" not in shown  # no source either


def test_our_exception_is_shown_with_its_message_and_what_it_came_from(
    stream: Any, canary: str
) -> None:
    logs.configure("info", "json", stream)
    error = AccessDenied("Grant the permission.")
    error.__cause__ = RuntimeError(canary)
    ours.error("Failed", exc_info=error)
    first, second = the_line(stream)["exception"]
    assert (first["type"], first["message"]) == (
        "syncret.errors.AccessDenied",
        "Grant the permission.",
    )
    assert second["type"] == "RuntimeError"
    assert "message" not in second
    assert canary not in stream.getvalue()


def test_the_members_of_a_group_are_shown(stream: Any, canary: str) -> None:
    logs.configure("info", "json", stream)
    group = ExceptionGroup(canary, [ValueError(canary), AccessDenied("Ours.")])
    ours.error("Several", exc_info=group)
    types = [described["type"] for described in the_line(stream)["exception"]]
    assert types == ["ExceptionGroup", "ValueError", "syncret.errors.AccessDenied"]
    assert canary not in stream.getvalue()


def test_exceptions_that_caused_each_other_come_to_an_end(stream: Any) -> None:
    logs.configure("info", "json", stream)
    one, other = ValueError("x"), KeyError("y")
    one.__cause__, other.__cause__ = other, one
    ours.error("Circle", exc_info=one)
    assert len(the_line(stream)["exception"]) == 2


@pytest.mark.parametrize("form", ["json", "console"])
def test_bytes_are_shown_as_their_number(stream: Any, canary: str, form: str) -> None:
    logs.configure("info", form, stream)
    data = canary.encode()
    nested = {"data": [data, {"deep": (bytearray(data), memoryview(data))}], data: {data}}
    ours.info("%s %r %s %s", data, data, nested, [SecretValue(data)])
    ours.info("%(a)s", {"a": data}, extra={"field": data, "nested": nested})
    ours.info("as extra", extra={"value": SecretValue(data)})
    ours.info(data)
    assert canary not in stream.getvalue()
    assert "<32 bytes> <32 bytes> {'data': [<32 bytes>, {'deep': (<32 bytes>, <32 bytes>)}]" in (
        stream.getvalue()
    )
    assert "SecretValue(…)" in stream.getvalue()


def test_what_is_nested_without_end_is_cut(stream: Any, canary: str) -> None:
    logs.configure("info", "json", stream)
    endless: list[Any] = [canary.encode()]
    endless.append(endless)
    ours.info("x", extra={"endless": endless})
    assert "<list>" in stream.getvalue()
    assert canary not in stream.getvalue()


def test_arguments_that_do_not_fit_are_not_printed_anywhere(
    stream: Any, canary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger().handlers.clear()  # pytest's raises what logging would only print
    logs.configure("info", "json", stream)
    ours.info("%d things", canary)
    assert the_line(stream)["message"] == "%d things (the arguments do not fit)"
    shown = capsys.readouterr()
    assert canary not in stream.getvalue() + shown.err + shown.out


def test_a_record_that_cannot_be_rendered_is_reported_without_its_contents(
    stream: Any, canary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError(canary)

    logs.configure("info", "json", stream)
    ours.info("x", extra={"broken": Broken(), "value": canary})
    shown = capsys.readouterr()
    assert stream.getvalue().startswith("A log record of syncret.reconcile.sync (test_logs.py:")
    assert canary not in stream.getvalue() + shown.err + shown.out


async def test_an_exception_that_nobody_awaited(stream: Any, canary: str) -> None:
    logs.configure("debug", "json", stream)

    async def fail() -> None:
        raise ValueError(canary)

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    line = the_line(stream)
    assert line["message"] == "Task exception was never retrieved"
    assert line["exception"][0]["type"] == "ValueError"
    assert canary not in stream.getvalue()


async def test_a_failed_callback(stream: Any, canary: str) -> None:
    logs.configure("debug", "json", stream)
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def fail(value: str) -> None:
        loop.call_soon(done.set)
        raise ValueError(value)

    loop.call_soon(fail, canary)
    await done.wait()
    assert the_line(stream)["message"].startswith("Exception in callback")
    assert canary not in stream.getvalue()


async def test_asyncios_debug_mode_tells_nothing(stream: Any, canary: str) -> None:
    logs.configure("debug", "json", stream)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    done = asyncio.Event()
    loop.call_soon(lambda _value: done.set(), canary)
    await done.wait()
    await asyncio.sleep(0)
    loop.set_debug(False)
    assert stream.getvalue() == ""  # "Executing <Handle … with its arguments> took 0.1 seconds"


def test_what_ends_the_process_or_a_thread_is_logged_without_its_text(
    stream: Any, canary: str
) -> None:
    logs.configure("info", "json", stream)

    def fail() -> None:
        raise ValueError(canary)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    in_thread, in_main = lines(stream)
    assert in_thread["message"] == "A thread ended by an unexpected error"
    assert (in_main["level"], in_main["exception"][0]["type"]) == ("critical", "ValueError")
    assert canary not in stream.getvalue()


def test_warnings_become_records(stream: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logs.configure("info", "json", stream)
        warnings.warn("careful", stacklevel=1)
        logging.captureWarnings(False)
    line = the_line(stream)
    assert line["logger"] == "py.warnings"
    assert line["message"].endswith("UserWarning: careful")


def test_configured_twice_it_tells_once(stream: Any, terminal: Any) -> None:
    logs.configure("debug", "json", terminal)
    logs.configure("info", "json", stream)
    ours.debug("x")
    ours.info("x")
    assert len(lines(stream)) == 1
    assert terminal.getvalue() == ""


def test_auto_is_json_where_nobody_reads_along(stream: Any) -> None:
    logs.configure("info", "auto", stream)
    ours.info("x")
    assert the_line(stream)["message"] == "x"


def test_auto_is_columns_and_colors_on_a_terminal(terminal: Any) -> None:
    logs.configure("info", "auto", terminal, environ={"TERM": "xterm"})
    ours.warning("Not synced", extra={"namespace": "payments"})
    shown = terminal.getvalue()
    assert "\x1b[33mWARNING" in shown
    assert "Not synced" in shown
    assert "namespace=payments" in shown


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colors_can_be_refused(terminal: Any, environ: dict[str, str]) -> None:
    logs.configure("info", "auto", terminal, environ=environ)
    ours.warning("Not synced")
    assert "WARNING" in terminal.getvalue()
    assert "\x1b" not in terminal.getvalue()


def test_an_empty_no_color_refuses_nothing(terminal: Any) -> None:
    logs.configure("info", "console", terminal, environ={"NO_COLOR": ""})
    ours.warning("x")
    assert "\x1b" in terminal.getvalue()


def test_the_console_without_a_terminal_has_no_colors(stream: Any) -> None:
    logs.configure("info", "console", stream, environ={})
    ours.info("One", extra={"reason": "Throttled", "text": "two words", "n": 3, "none": ""})
    ours.info("Two longer")
    first, second = stream.getvalue().splitlines()
    assert "\x1b" not in first
    assert first.endswith('reason=Throttled text="two words" n=3 none=""')
    assert second.endswith("Two longer")
    assert first.index("One") == second.index("Two")


def test_nothing_in_a_record_can_steer_the_terminal(terminal: Any) -> None:
    logs.configure("info", "console", terminal, environ={"NO_COLOR": "1"})
    ours.info("a\x1b[2J\nb", extra={"name_": "c\x07\nd"})
    shown = terminal.getvalue()
    assert shown.count("\n") == 1
    assert "\x1b" not in shown
    assert "\x07" not in shown
