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
    parser.add_argument(
        "inputs", nargs="*", metavar="FILE|DIR|-", help="files, directories, or - for the input"
    )
    parser.add_argument("--from-cluster", action="store_true", help="read from the cluster")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-n", "--namespace", default="", help="the namespace that is read")
    where.add_argument(
        "-A",
        "--all-namespaces",
        action="store_true",
        help="all namespaces, and what belongs to none",
    )
    parser.add_argument(
        "--kubeconfig", default="", metavar="FILE", help="the kubeconfig for --from-cluster"
    )
    parser.add_argument("--context", default="", help="the context of it that is used")
    parser.add_argument(
        "-o",
        "--output",
        default="-",
        metavar="DIR|-",
        help="a directory for files of the same names; the default is the standard output",
    )


def run(arguments: argparse.Namespace) -> int:
    """Converts; returns the exit code."""
    if bool(arguments.inputs) == arguments.from_cluster:
        return _failed("name files or directories, or - for the standard input, or --from-cluster")
    if not arguments.from_cluster and (
        arguments.namespace or arguments.all_namespaces or arguments.kubeconfig or arguments.context
    ):
        return _failed("-n, -A, --kubeconfig and --context go with --from-cluster")
    try:
        if arguments.from_cluster:
            read = manifests.cluster(
                arguments.namespace,
                everywhere=arguments.all_namespaces,
                group=ESO,
                versions=SERVED,
                kubeconfig=arguments.kubeconfig,
                context=arguments.context,
            )
            inputs = [("cluster.yaml", read)]
        else:
            inputs = list(manifests.files(arguments.inputs))
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
