"""The command line of ``syncret convert``."""

import argparse
import sys
from pathlib import Path
from typing import Final

from syncret import manifests
from syncret.convert.mapping import ESO, SERVED, convert
from syncret.convert.result import Result
from syncret.convert.writing import documents, summary

DESCRIPTION: Final = """\
Reads manifests of External Secrets Operator and writes those of Syncret. Templates are translated
from Go's text/template to Jinja. What has no exact equivalent is left out, or marked where it
differs, with the reason in a comment above the object and on the standard error; a store is
converted as a whole or not at all. Objects of other kinds are written as they are. Nothing that is
read is changed, and no value is printed on the standard error."""

EPILOG: Final = """\
exit codes: 0 all was converted exactly; 1 something has a remark; 2 wrong usage, or unreadable.

examples:
  syncret convert manifests/ -o converted/
  kubectl get externalsecret payments -o yaml | syncret convert -
  syncret convert --from-cluster -A > all.yaml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be said on the command line."""
    manifests.add_arguments(parser)
    parser.add_argument(
        "-o",
        "--output",
        default="-",
        metavar="DIR|-",
        help="a directory for files of the same names; the default is the standard output",
    )


def run(arguments: argparse.Namespace) -> int:
    """Converts; returns the exit code."""
    try:
        inputs = manifests.read(arguments, group=ESO, versions=SERVED)
    except manifests.Unreadable as error:
        return _failed(str(error))
    made = [(name, [convert(one) for one in found]) for name, found in inputs]
    results = [one for _, several in made for one in several]
    try:
        _write(made, results, arguments.output)
    except BrokenPipeError:
        raise  # nobody reads on, which is no mistake
    except OSError as error:
        return _failed(f"the output cannot be written: {error.strerror}")
    for line in summary(results):
        print(line, file=sys.stderr)
    return 1 if any(one.remarks for one in results) else 0


def _write(made: list[tuple[str, list[Result]]], results: list[Result], output: str) -> None:
    if output == "-":
        sys.stdout.write(documents(results))
        return
    names = [name for name, _ in made]
    if len(set(names)) < len(names):
        raise OSError(0, "two inputs have the same name: give the directory that holds them")
    for name, several in made:
        path = Path(output, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(documents(several), encoding="utf-8")


def _failed(message: str) -> int:
    print(f"syncret convert: {message}", file=sys.stderr)
    return 2
