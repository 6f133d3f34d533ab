"""The command line of ``syncret cost``."""

import argparse
import sys
from typing import Final

from syncret import manifests
from syncret.api.keys import ObjectKey
from syncret.constants import GROUP, VERSION
from syncret.cost.estimate import estimate
from syncret.cost.fleet import fleet_of
from syncret.cost.report import as_json, as_text

DESCRIPTION: Final = """\
Computes from manifests what the calls to the stores cost in a month, beside what External Secrets
Operator would make of the same manifests. Those of External Secrets Operator are read as well. No
store is asked for anything, and no value is read."""

EPILOG: Final = """\
exit codes: 0 all was counted; 1 something has a remark; 2 wrong usage, or unreadable.

examples:
  syncret cost manifests/
  helm template my-app | syncret cost -
  syncret cost --from-cluster -A --namespaces 40"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be said on the command line."""
    manifests.add_arguments(parser)
    parser.add_argument(
        "--found",
        type=_count,
        default=10,
        metavar="N",
        help="how many secrets each search (dataFrom.find) finds; default 10",
    )
    parser.add_argument(
        "--namespaces",
        type=_count,
        default=10,
        metavar="N",
        help="how many namespaces a selector of a ClusterExternalSecret selects; default 10",
    )
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="the form; default text"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the estimate; returns the exit code."""
    try:
        inputs = manifests.read(arguments, group=GROUP, versions=(VERSION,))
    except manifests.Unreadable as error:
        return _failed(str(error))
    documents = [one for _, found in inputs for one in found]
    fleet = fleet_of(documents, namespaces=arguments.namespaces)
    lines = estimate(fleet, found=arguments.found)
    remarks = [
        *fleet.remarks,
        *(_unpriced(line.store) for line in lines if fleet.lacks(fleet.store(line.store))),
    ]
    if fleet.external_secrets:
        json = arguments.output == "json"
        sys.stdout.write(as_json(lines, remarks) if json else as_text(lines))
    for remark in remarks:
        print(remark, file=sys.stderr)
    if not fleet.external_secrets:
        return _failed("there is no ExternalSecret to count in what was read")
    return 1 if remarks else 0


def _unpriced(store: ObjectKey) -> str:
    return (
        f"{store} is not among the manifests that were read, so what its calls cost is not known: "
        "give the file that has it as well, or use --from-cluster."
    )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:7]) > 100_000:
        raise argparse.ArgumentTypeError("must be a number from 0 to 100000")
    return int(text)


def _failed(message: str) -> int:
    print(f"syncret cost: {message}", file=sys.stderr)
    return 2
