"""``python -m testbed``: builds the binaries, or holds a cluster open for work by hand."""

import argparse
import signal
import sys

from testbed.binaries import CONTROL_PLANE, PROGRAMS, TOOLS, VAULT, BuildError, ensure
from testbed.cluster import CommandError, find_cluster
from testbed.moto import Moto
from testbed.processes import Processes, StartError
from testbed.progress import Progress


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m testbed", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    binaries = commands.add_parser("binaries", help="build what is missing in the user's cache")
    binaries.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PROGRAMS)}")
    path = commands.add_parser("path", help="print where a program is, building it if it is not")
    path.add_argument("name", choices=PROGRAMS)
    commands.add_parser("up", help="start a cluster and moto, until Ctrl-C")
    arguments = parser.parse_args()
    progress = Progress()
    try:
        if arguments.command == "binaries":
            unknown = [name for name in arguments.names if name not in PROGRAMS]
            if unknown:
                parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(PROGRAMS)}")
            ensure(arguments.names or [*CONTROL_PLANE, *TOOLS, *VAULT], progress=progress)
        elif arguments.command == "path":
            print(ensure([arguments.name], progress=progress)[arguments.name])
        else:
            _up(progress)
    except (BuildError, StartError, CommandError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _up(progress: Progress) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cluster = find_cluster(progress=progress)
    processes = Processes(cluster.directory / "logs")
    try:
        moto = Moto(processes)
        print(f"export KUBECONFIG={cluster.kubeconfig}")
        print(f"export AWS_ENDPOINT_URL={moto.endpoint}")
        print("Ctrl-C ends it.", flush=True)
        signal.pause()
    finally:
        processes.stop()
        cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
