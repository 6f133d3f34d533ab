"""The command line of ``syncret rotate``."""

import argparse
import asyncio
import contextlib
import json
import sys
from typing import Final

from syncret.commands.driving import DONE, FAILED, INTERRUPTED, USAGE, Report, drive
from syncret.commands.looking import Scope, open_cluster
from syncret.commands.timeline import Step
from syncret.duration import parse_duration
from syncret.errors import SpecInvalid, SyncretError

DESCRIPTION: Final = """\
Has the store rotate what an ExternalSecret reads, where it can (AWS Secrets Manager, static roles
of Vault, generators), and follows the new value to the last pod: rotated, read, in the Secret,
rolled. It writes one annotation; the operator does the rest, also if this command is
interrupted."""

EPILOG: Final = """\
exit codes: 0 all pods have the new value; 1 failed; 2 wrong usage; 3 not done in time, or not all
of it could be seen; 130 interrupted by Ctrl-C.

examples:
  syncret rotate database -n shop
  syncret rotate database -n shop --key production/database --timeout 5m --output json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be said on the command line."""
    parser.add_argument("name", metavar="EXTERNALSECRET", help="the ExternalSecret")
    parser.add_argument(
        "--key", default="", help="only this key of the store, not all that it reads"
    )
    add_common(parser, timeout="10m", anywhere="the context's")


def add_common(parser: argparse.ArgumentParser, *, timeout: str, anywhere: str) -> None:
    """What both commands take. ``anywhere``: where it is looked without a namespace."""
    parser.add_argument(
        "-n", "--namespace", default="", help=f"the namespace; the default is {anywhere}"
    )
    parser.add_argument(
        "--timeout",
        default=timeout,
        metavar="DURATION",
        help=f"how long it is followed [default: {timeout}]",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json"),
        default="text",
        help="what is printed at the end",
    )
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help="the kubeconfig")
    parser.add_argument("--context", default="", help="the context of it that is used")


def run(arguments: argparse.Namespace) -> int:
    """Rotates; returns the exit code."""
    if not arguments.name:
        return failed("rotate", "EXTERNALSECRET: name one.", USAGE)
    try:
        timeout = parse_duration(arguments.timeout)
    except SpecInvalid as error:
        return failed("rotate", f"--timeout: {error.message}", USAGE)
    try:
        report = asyncio.run(_rotate(arguments, timeout))
    except SyncretError as error:
        return failed("rotate", error.message, FAILED)
    except KeyboardInterrupt:
        return failed("rotate", "interrupted", INTERRUPTED)
    if arguments.output == "json":
        print(json.dumps(report.body(), indent=2))
    else:
        print(ending(report))
    return report.code


async def _rotate(arguments: argparse.Namespace, timeout: float) -> Report:
    async with open_cluster(arguments.kubeconfig, arguments.context) as cluster:
        namespace = arguments.namespace or cluster.namespace
        scope = Scope(namespace=namespace, names=frozenset({arguments.name}), key=arguments.key)
        picture = await cluster.picture(scope, {})
        if not picture.readers:
            raise SpecInvalid(
                f"There is no ExternalSecret {namespace}/{arguments.name}: correct the name or -n."
            )
        return await drive(
            cluster,
            scope,
            {},
            rotates=picture.readers[0],
            key=arguments.key,
            timeout=timeout,
            say=say,
        )


def say(report: Report, step: Step) -> None:
    """Progress, for people; the result alone goes to the standard output."""
    # Whoever reads it may go (a pipe, a session); what is driven goes on all the same.
    with contextlib.suppress(OSError):
        print(line(report, step), file=sys.stderr, flush=True)


def line(report: Report, step: Step) -> str:
    """A step, with the seconds since the beginning."""
    return f"{step.time - report.started:7.1f} s  {step.about}: {step.what}"


def ending(report: Report) -> str:
    """The last sentence."""
    if report.state == "done":
        text = f"Done in {report.seconds:.0f} s."
        if report.left_over:
            text += (
                " Not restarted, because no key that they read has changed or their restarts are "
                "off: " + ", ".join(report.left_over) + "."
            )
        return text
    if report.state == "unseen":
        return (
            f"Rotated after {report.seconds:.0f} s, and not followed to the last pod: you may not "
            "list all of the workloads and pods. Look with somebody who may: "
            + "; ".join(report.picture.problems)
        )
    if report.state in {"late", "interrupted"}:
        how = "Not done" if report.state == "late" else "Interrupted"
        waiting = f"; waiting for {report.reason}" if report.reason else ""
        return f"{how} after {report.seconds:.0f} s{waiting}. It goes on.{_behind(report)}"
    return f"Failed after {report.seconds:.0f} s: {report.reason}{_behind(report)}"


def _behind(report: Report) -> str:
    """Who has not come along."""
    text = f" Pods with the old value: {', '.join(report.left_over)}." if report.left_over else ""
    if not report.unasked:
        return text
    return (
        f"{text} Not asked to read a new value, because there was none yet: ExternalSecret "
        + ", ".join(report.unasked)
        + ". When there is one, annotate them with syncret.io/force-sync, or run this again."
    )


def failed(command: str, message: str, code: int = DONE) -> int:
    """Says why, and returns the exit code."""
    print(f"syncret {command}: {message}", file=sys.stderr)
    return code
