"""The command line: ``syncret run``, the commands for people, and ``syncret version``."""

import argparse
import asyncio
import atexit
import gc
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NoReturn

from syncret import __version__, settings
from syncret.errors import SyncretError
from syncret.telemetry import logs


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code: 0, 1 for a failure that was told, 2 for bad usage."""
    parser = argparse.ArgumentParser(
        prog="syncret",
        description="Projects secrets from cloud stores into Kubernetes Secrets, follows their "
        "rotation, and rolls what uses them.",
    )
    parser.add_argument("--version", action="version", version=f"syncret {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run", help="run the operator", description="Runs the operator until SIGTERM or Ctrl-C."
    )
    settings.add_arguments(run)
    tools = {
        "convert": "write manifests of External Secrets Operator as Syncret's",
        "cost": "compute what the calls to the stores cost in a month",
        "rotate": "have the store rotate a secret, and follow it to the last pod",
        "incident": "tell who consumes a secret; rotate it, and follow that",
    }
    for name, short in tools.items():
        tool = commands.add_parser(
            name, help=short, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name in (sys.argv[1:] if argv is None else argv):
            command = _tool(name)
            tool.description, tool.epilog = command.DESCRIPTION, command.EPILOG
            command.add_arguments(tool)
    commands.add_parser("version", help="print the version")
    arguments = parser.parse_args(argv)
    if arguments.command == "version":
        print(f"syncret {__version__}")
        return 0
    if arguments.command in tools:
        return _for_people(_tool(arguments.command).run, arguments)
    return _run(settings.from_args(arguments, os.environ, parser=run))


def _for_people(run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Runs a command that prints; 130 after Ctrl-C, 141 if nobody reads on (``| head``)."""
    try:
        code = run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # What is left in the buffer would fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


def _tool(name: str) -> ModuleType:
    """The module of a command that the operator does not need, imported when it is asked for."""
    where = f"commands.{name}" if name in {"rotate", "incident"} else f"{name}.command"
    return importlib.import_module(f"syncret.{where}")


def _run(chosen: settings.Settings) -> int:
    logs.configure(chosen.log_level, chosen.log_format, sys.stderr)
    # Imported here: --help and version need neither kopf nor the client (a second of start-up).
    from syncret import app

    # Most objects of a fleet live long, and few are in cycles: collect less often than by default.
    gc.set_threshold(10_000, 50, 50)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(app.run(chosen))
        except SyncretError as error:
            logging.getLogger(__name__).critical(
                "%s", error.message, extra={"reason": error.reason}
            )
            return 1
        except KeyboardInterrupt:
            return 130
    return 0


def program() -> NoReturn:
    """Runs a command as the whole of the process, and ends it.

    At once if threads are left, which Python would wait for. Everything was stopped in order, or a
    defect is about to end it: what is left is in calls of an SDK that nobody waits for any more. A
    thread cannot be interrupted, and a store that hangs would outlast the pod's grace.
    """
    try:
        code = main()
    except Exception:  # noqa: BLE001 - told as the interpreter would, which then waits for threads
        sys.excepthook(*sys.exc_info())
        code = 1
    if any(not one.daemon and one is not threading.main_thread() for one in threading.enumerate()):
        # Files that hold a kubeconfig's keys are removed, and the log is written.
        atexit._run_exitfuncs()  # noqa: SLF001 - the only way to have both
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on every platform; asyncio's own loop does as well, slower
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    program()
